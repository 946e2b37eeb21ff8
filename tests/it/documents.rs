//! The documents match the code.

use std::collections::BTreeSet;

use rowlink::config::{Config, PREFIX};
use rowlink::format::Format;
use serde_json::Value;

use crate::harness::SIGNING_KEY;

const README: &str = include_str!("../../README.md");
const EXPORTS: &str = include_str!("../../docs/exports.md");
const POSTGRESQL: &str = include_str!("../../docs/postgresql.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const CALLERS: &str = include_str!("../../docs/callers.md");
const BROWSERS: &str = include_str!("../../docs/browsers.md");
const SIGNED_LINK: &str = include_str!("../../docs/signed-link.md");

/// Returns the matching words of a text, without Markdown.
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
fn every_documented_variable_is_read_and_every_variable_is_documented() {
    let documents = [
        README,
        CONFIGURATION,
        CALLERS,
        BROWSERS,
        EXPORTS,
        POSTGRESQL,
    ]
    .concat();
    let named = words(&documents, |word| {
        word.starts_with(PREFIX) && word != PREFIX
    });
    let base = [
        ("ROWLINK_PUBLIC_URL", "https://shop.example.com"),
        ("ROWLINK_DATABASE_URL", "sqlite:shop.db"),
        ("ROWLINK_SIGNING_KEYS", SIGNING_KEY),
        (
            "ROWLINK_JWT_HS256_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
    ];
    for name in &named {
        // An invalid value may be an error, but its variable must not be unknown.
        let mut variables: Vec<_> = base.iter().filter(|(known, _)| known != name).collect();
        let invalid = (name.as_str(), "=");
        variables.push(&invalid);
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let errors = Config::from_env(variables).err().unwrap_or_default();
        let unknown = errors
            .iter()
            .find(|error| error.message.contains("unknown"));
        assert_eq!(unknown, None);
    }
    let fields = include_str!("../../src/config/mod.rs")
        .split("\nvariables! {\n")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .unwrap();
    let read = fields
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let read: Vec<String> = read
        .map(|(field, _)| format!("{PREFIX}{}", field.to_uppercase()))
        .collect();
    assert!(read.len() > 40, "{read:?}");
    for name in read {
        // `X_FILE` is documented once for all secrets.
        let is_secret_file = name
            .strip_suffix("_FILE")
            .is_some_and(|secret| named.contains(secret));
        assert!(
            named.contains(&name) || is_secret_file,
            "{name} is not documented"
        );
    }
}

#[test]
fn every_format_and_each_of_its_options_is_documented() {
    for format in Format::ALL {
        assert!(EXPORTS.contains(&format!("`.{format}`")), "{format}");
        for option in format.definition().options {
            let name = option.name;
            assert!(EXPORTS.contains(&format!("`{name}`")), "{format}.{name}");
        }
    }
}

#[test]
fn the_examples_of_the_specification_are_test_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/links.json")).unwrap();
    let links = vectors["links"].as_array().unwrap();
    for name in ["plain", "sealed", "child key for users"] {
        let case = links.iter().find(|case| case["name"] == name).unwrap();
        let hidden = (name == "sealed").then_some("contents");
        for field in ["path", "canonical_query", "signature"]
            .into_iter()
            .chain(hidden)
        {
            let value = case[field].as_str().unwrap();
            assert!(SIGNED_LINK.contains(value), "{name}: {field}");
        }
    }
    assert!(SIGNED_LINK.contains(vectors["keys"][0].as_str().unwrap()));

    let valid = links
        .iter()
        .filter(|case| case["outcome"] == "valid")
        .count();
    let counts = format!("{valid} valid and {} invalid links", links.len() - valid);
    assert!(SIGNED_LINK.contains(&counts), "{counts}");
}

#[test]
fn the_stated_rust_version_is_the_newest_that_a_dependency_needs() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = |text: &str| -> Vec<u32> {
        let parts = text.split('.').map(|part| part.parse().unwrap());
        parts.chain([0, 0]).take(3).collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    let needed = packages.filter_map(|package| Some(version(package["rust_version"].as_str()?)));
    let stated = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(needed.max(), Some(version(stated)));
    assert!(README.contains(&format!("Rust {stated} or newer")));
}
