//! The documents say what is true.

use std::collections::BTreeSet;

use rowlink::config::{KNOWN, PREFIX};
use rowlink::format::CsvOptions;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const EXPORTS: &str = include_str!("../../docs/exports.md");
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
fn the_readme_names_every_variable_and_no_other() {
    let named = words(README, |word| word.starts_with(PREFIX) && word != PREFIX);
    let mut known: BTreeSet<String> = KNOWN.iter().map(|name| format!("{PREFIX}{name}")).collect();
    // Said once for all secrets: "add `_FILE` to the name".
    known.retain(|name| named.contains(name) || !name.ends_with("_FILE"));
    assert_eq!(named, known);
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
        ("docs", SIGNED_LINK),
        ("", include_str!("../../ARCHITECTURE.md")),
        ("", include_str!("../../CONTRIBUTING.md")),
    ] {
        let targets = text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        for target in targets.filter(|target| !target.starts_with("http")) {
            assert!(root.join(folder).join(target).exists(), "{target}");
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
