//! `tests/vectors/links.json`, made by an independent implementation in Python.

use std::process::Command;

use rowlink::link::{ClientAddr, Keyring, Link, LinkError, Revocations, Seal, Verifier, sign};
use serde_json::Value;

pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/links.json")).unwrap()
}

pub fn text<'v>(case: &'v Value, field: &str) -> &'v str {
    case[field].as_str().unwrap()
}

pub fn keyring(vectors: &Value) -> Keyring {
    let keys: Vec<&str> = vectors["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    Keyring::parse(&keys.join("\n")).unwrap()
}

pub fn verify_case(vectors: &Value, case: &Value) -> Result<Link, LinkError> {
    let file = text(case, "path").strip_prefix("/v1/exports/").unwrap();
    let (export, format) = file.rsplit_once('.').unwrap();
    let verifier = Verifier {
        keyring: &keyring(vectors),
        revocations: &Revocations::default(),
        ttl_seconds_max: vectors["ttl_seconds_max"].as_u64().unwrap(),
    };
    let verified = verifier.verify(
        export,
        format.parse().unwrap(),
        text(case, "query"),
        case["now"].as_u64().unwrap(),
        ClientAddr::At(Some(text(case, "client").parse().unwrap())),
    )?;
    Ok(verified.link().clone())
}

pub fn outcome(result: &Result<Link, LinkError>) -> &'static str {
    match result {
        Ok(_) => "valid",
        Err(LinkError::Malformed(_)) => "malformed-link",
        Err(LinkError::BadSignature) => "bad-signature",
        Err(LinkError::NotYetValid { .. }) => "link-not-yet-valid",
        Err(LinkError::WrongAddress) => "wrong-address",
        Err(LinkError::OutsideScope(_)) => "outside-scope",
        Err(LinkError::Revoked) => "link-revoked",
        Err(LinkError::LivesTooLong { .. }) => "link-lives-too-long",
        Err(LinkError::Expired { .. }) => "link-expired",
    }
}

#[test]
fn every_vector_has_the_outcome_of_the_second_implementation() {
    let vectors = vectors();
    for case in vectors["links"].as_array().unwrap() {
        let result = verify_case(&vectors, case);
        assert_eq!(
            outcome(&result),
            text(case, "outcome"),
            "{}",
            text(case, "name")
        );
        if let Ok(link) = result {
            assert_eq!(link.user.as_str(), text(case, "user"));
            let filters: Vec<(String, String)> =
                serde_json::from_value(case["filters"].clone()).unwrap();
            assert_eq!(link.filters, filters, "{}", text(case, "name"));
        }
    }
}

#[test]
fn a_link_is_signed_byte_for_byte_like_the_second_implementation() {
    let vectors = vectors();
    let mut signed = 0;
    for case in vectors["links"].as_array().unwrap() {
        // Links under the older key or a child key verify, but only the first key signs. Each box has its own nonce.
        let query = text(case, "query");
        if text(case, "outcome") != "valid"
            || !query.contains("rl_key=2026b")
            || ["rl_scope", "rl_sealed"]
                .iter()
                .any(|name| query.contains(name))
        {
            continue;
        }
        let link = verify_case(&vectors, case).unwrap();
        let expected = format!(
            "{}?{}&rl_signature={}",
            text(case, "path"),
            text(case, "canonical_query"),
            text(case, "signature")
        );
        assert_eq!(
            sign(&link, &keyring(&vectors), Seal::Open),
            Ok(expected),
            "{}",
            text(case, "name")
        );
        signed += 1;
    }
    assert!(signed >= 60, "{signed}");
}

#[test]
#[ignore = "needs Python: make test"]
fn the_second_implementation_still_generates_these_vectors() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/make_links.py");
    let made = Command::new("python3")
        .args([script, "--check"])
        .status()
        .unwrap();
    assert!(made.success());
}
