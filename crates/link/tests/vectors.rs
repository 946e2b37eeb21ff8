//! The specification's test vectors, made by an independent implementation in Python, run against the
//! public API.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rowlink_link::{
    ClientAddr, Keyring, Link, LinkError, Revocations, Seal, SplitUrl, Verifier, sign,
};
use serde_json::Value;

fn vectors() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/links.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn text<'v>(case: &'v Value, field: &str) -> &'v str {
    case[field].as_str().unwrap()
}

fn keyring(vectors: &Value) -> Keyring {
    let keys = vectors["keys"].as_array().unwrap();
    let keys: Vec<&str> = keys.iter().map(|key| key.as_str().unwrap()).collect();
    Keyring::parse(&keys.join("\n")).unwrap()
}

fn verify(vectors: &Value, case: &Value) -> Result<Link, LinkError> {
    let verifier = Verifier {
        keyring: &keyring(vectors),
        revocations: &Revocations::default(),
        ttl_seconds_max: vectors["ttl_seconds_max"].as_u64().unwrap(),
    };
    let url = format!("{}?{}", text(case, "path"), text(case, "query"));
    // A raw `#` or `?` in a query is malformed, and no part of a URL's query.
    let SplitUrl { path, .. } = SplitUrl::parse(&url).unwrap();
    let client = ClientAddr::At(Some(text(case, "client").parse().unwrap()));
    let now = case["now"].as_u64().unwrap();
    let verified = verifier.verify(path, text(case, "query"), now, client)?;
    Ok(verified.into_link())
}

#[test]
fn every_vector_has_the_outcome_that_another_implementation_expects() {
    let vectors = vectors();
    let cases = vectors["links"].as_array().unwrap();
    assert!(cases.len() >= 560);
    for case in cases {
        let name = text(case, "name");
        let result = verify(&vectors, case);
        let outcome = result.as_ref().err().map_or("valid", LinkError::code);
        assert_eq!(outcome, text(case, "outcome"), "{name}");
        if let Ok(link) = result {
            let path = match &link.format {
                Some(format) => format!("/v1/exports/{}.{format}", link.export),
                None => format!("/v1/files/{}", link.export),
            };
            assert_eq!(path, text(case, "path"), "{name}");
            assert_eq!(link.user.as_str(), text(case, "user"));
            let filters: Vec<(String, String)> =
                serde_json::from_value(case["filters"].clone()).unwrap();
            assert_eq!(link.filters, filters, "{name}");
        }
    }
}

#[test]
fn a_link_is_signed_byte_for_byte_as_by_another_implementation() {
    let vectors = vectors();
    let mut signed = 0;
    for case in vectors["links"].as_array().unwrap() {
        // Only the first key signs. Each sealed link has its own nonce.
        let query = text(case, "query");
        let others = ["rl_scope", "rl_sealed"]
            .iter()
            .any(|it| query.contains(it));
        if text(case, "outcome") != "valid" || !query.contains("rl_key=2026b") || others {
            continue;
        }
        let link = verify(&vectors, case).unwrap();
        let (path, canonical) = (text(case, "path"), text(case, "canonical_query"));
        let expected = format!(
            "{path}?{canonical}&rl_signature={}",
            text(case, "signature")
        );
        let made = sign(link, &keyring(&vectors), Seal::Open).unwrap();
        assert_eq!(made.path_and_query(), expected, "{}", text(case, "name"));
        signed += 1;
    }
    assert!(signed >= 60, "{signed}");
}

type Change = dyn Fn(&mut Link);

#[test]
fn what_no_verifier_would_accept_is_not_signed() {
    let vectors = vectors();
    let valid = vectors["links"].as_array().unwrap().iter();
    let case = valid
        .clone()
        .find(|case| text(case, "name") == "plain")
        .unwrap();
    let link = verify(&vectors, case).unwrap();
    let broken = |change: &Change| {
        let mut link = link.clone();
        change(&mut link);
        sign(link, &keyring(&vectors), Seal::Open)
            .map(|signed| signed.path_and_query().to_owned())
            .map_err(|error| error.to_string())
    };
    assert!(broken(&|_| ()).is_ok());
    let changes: [(&Change, &str); 10] = [
        (
            &|link| link.export = "a/b".into(),
            "expected the names of an export and a format",
        ),
        (
            &|link| link.format = Some("CSV".into()),
            "expected the names of an export and a format",
        ),
        (&|link| link.expires = link.issued, "rl_expires: "),
        (&|link| link.expires = 10_000_000_000, "rl_expires: "),
        (&|link| link.conditions.rows_max = Some(0), "rl_max_rows: "),
        (
            &|link| drop(link.claims.insert("a-b".into(), "7".into())),
            "rl_claim.a-b: ",
        ),
        (&|link| link.reveal = vec!["a,b".into()], "rl_reveal: "),
        (&|link| link.reveal = vec!["".into()], "rl_reveal: "),
        (
            &|link| drop(link.options.insert("user".into(), "7".into())),
            "rl_user: ",
        ),
        (
            &|link| link.filters.push(("rl_user".into(), "7".into())),
            "rl_user: ",
        ),
    ];
    for (change, expected) in changes {
        let error = broken(change).expect_err(expected);
        assert!(error.starts_with(expected), "{error} / {expected}");
    }
}

#[test]
fn every_entity_tag_is_that_of_another_implementation() {
    let vectors = vectors();
    let keyring = keyring(&vectors);
    let cases = vectors["entity_tags"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let url = format!("{}?{}", text(case, "path"), text(case, "query"));
        let SplitUrl { path, query, .. } = SplitUrl::parse(&url).unwrap();
        let client = ClientAddr::At(Some(text(case, "client").parse().unwrap()));
        let (now, entity_tag) = (case["now"].as_u64().unwrap(), text(case, "entity_tag"));
        let verifier = Verifier {
            keyring: &keyring,
            revocations: &Revocations::default(),
            ttl_seconds_max: vectors["ttl_seconds_max"].as_u64().unwrap(),
        };
        let resumption = verifier.verify_resumption(path, query, now, client, entity_tag);
        let resumption = resumption.unwrap();
        let sha256 = resumption.file_id.unwrap();
        assert_eq!(hex::encode(sha256), text(case, "sha256"));
        assert_eq!(resumption.link.entity_tag(&keyring, sha256), entity_tag);
    }
}
