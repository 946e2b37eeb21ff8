//! The documents say what is true.

use std::collections::BTreeSet;

use rowlink::config::{Config, PREFIX};
use rowlink::format::CsvOptions;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const EXPORTS: &str = include_str!("../../docs/exports.md");
const POSTGRESQL: &str = include_str!("../../docs/postgresql.md");
const SIGNED_LINK: &str = include_str!("../../docs/signed-link.md");

/// The words of a text that match, without their Markdown.
fn words(text: &str, matches: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let separators = |c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c));
    let words = text
        .split(separators)
        .map(|word| word.trim_end_matches('.'));
    words
        .filter(|word| matches(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_variable_of_the_readme_is_one_that_is_read() {
    let named = words(README, |word| word.starts_with(PREFIX) && word != PREFIX);
    assert!(named.len() > 10, "{named:?}");
    // Nonsense in all of them: each is either a fault or read, and none is unknown.
    let nonsense = named.iter().map(|name| (name.into(), "=".into()));
    let faults = Config::from_env(nonsense).err().unwrap();
    let fine = [
        "ROWLINK_EXPORTS_DIR",
        "ROWLINK_JWT_ISSUER",
        "ROWLINK_JWT_AUDIENCE",
    ];
    for name in named.iter().filter(|name| !fine.contains(&name.as_str())) {
        let known = faults
            .iter()
            .any(|fault| fault.variable.starts_with(name.as_str()));
        assert!(known, "{name} is not read: {faults:?}");
    }
}

#[test]
fn every_csv_option_is_documented() {
    for option in CsvOptions::NAMES {
        assert!(EXPORTS.contains(&format!("| `{option}` |")), "{option}");
    }
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, text) in [
        ("", README),
        ("docs", EXPORTS),
        ("docs", POSTGRESQL),
        ("docs", SIGNED_LINK),
        ("", include_str!("../../ARCHITECTURE.md")),
        ("", include_str!("../../CONTRIBUTING.md")),
    ] {
        let targets = text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().unwrap();
            assert!(root.join(folder).join(file).exists(), "{target}");
        }
    }
}

#[test]
fn the_example_of_the_specification_is_a_vector() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
    let links = vectors["links"].as_array().unwrap();
    let plain = links.iter().find(|case| case["name"] == "plain").unwrap();
    for field in ["path", "canonical_query", "signature"] {
        let value = plain[field].as_str().unwrap();
        assert!(SIGNED_LINK.contains(value), "{field}");
    }
    assert!(SIGNED_LINK.contains(vectors["keys"][0].as_str().unwrap()));

    let valid = links
        .iter()
        .filter(|case| case["outcome"] == "valid")
        .count();
    let counts = format!("{valid} valid and {} invalid links", links.len() - valid);
    assert!(SIGNED_LINK.contains(&counts), "{counts}");
}
