//! No text makes a parser panic.

use proptest::prelude::*;
use rowlink::auth::{ApiKeys, JwtRules};
use rowlink::catalog::Catalog;

use crate::harness::{hs256_issuer, sqlite, wait};
use rowlink::config::Config;
use rowlink::service::LinkRequest;
use rowlink_link::{FileName, Keyring};

/// Generates text with the parts of a catalog file in any order.
fn catalog_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/*---\n".to_owned()),
        Just("---*/\n".to_owned()),
        Just("[filters.a]\ntype = 'text'\n".to_owned()),
        Just("title = 'ü'\n".to_owned()),
        Just("select ".to_owned()),
        Just(":user".to_owned()),
        Just(":claim.org".to_owned()),
        Just(":a, ::b, 'it''s :c' ".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\r\n".to_owned()),
        "[ -~\n\téß€😀]{0,8}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn catalog_files_never_panic(text in catalog_text()) {
        let catalog = Catalog::parse([("x.sql", text.as_str())], &sqlite());
        let lines = text.matches('\n').count() + 1;
        for found in catalog.errors() {
            prop_assert!((1..=lines).contains(&found.error.line), "{found} of {lines} lines");
        }
        prop_assert!(catalog.errors().is_empty() == catalog.get("x").is_some());
    }

    #[test]
    fn statements_never_panic(sql in "[a-z :.'\"é()?1-]{0,30}") {
        let text = format!("select :user, {sql}");
        let catalog = Catalog::parse([("x.sql", text.as_str())], &sqlite());
        if let Some(export) = catalog.get("x") {
            // Everything but placeholders is unchanged.
            let mut back = export.sheets[0].statement.sql.clone();
            for (index, variable) in export.sheets[0].statement.variables.iter().enumerate().rev() {
                back = back.replace(&format!("?{}", index + 1), &variable.to_string());
            }
            prop_assert!(text.starts_with(&back) || text.contains('?'), "{back}");
        }
    }

    #[test]
    fn keys_and_tokens_never_panic(text in "([a-z0-9:,#=.\\[\\]\"' -]|\n|é){0,60}") {
        let _ = Keyring::parse(&text);
        let _ = ApiKeys::parse(&text);
        let verifier = hs256_issuer(JwtRules::default());
        prop_assert!(wait(verifier.verify(&text, 0)).is_err());
    }

    #[test]
    fn file_names_never_panic(name in any::<String>()) {
        if let Ok(parsed) = FileName::parse(name.clone()) {
            prop_assert!(parsed.with_extension("csv").starts_with(&name));
        }
    }

    #[test]
    fn requests_never_panic(text in "([a-z0-9:,{}\\[\\]\"e.+-]|\"filters\":|\"csv\":){0,60}") {
        if let Ok(body) = serde_json::from_str(&text) {
            let _ = LinkRequest::from_json(body);
        }
    }

    #[test]
    fn environment_variables_never_panic(value in any::<String>(), name in "[A-Z_]{0,20}") {
        for name in [name.as_str(), "BIND", "PUBLIC_URL", "DATABASE_URL", "SIGNING_KEYS", "LOG"] {
            let variable = (format!("ROWLINK_{name}").into(), value.clone().into());
            prop_assert!(Config::from_env([variable]).is_err());
        }
    }
}
