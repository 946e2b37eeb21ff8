//! Authentication by JSON Web Tokens and API keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rowlink::auth::{AuthError, Caller, JwtRules};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{JWT_SECRET, TestServer, hs256_issuer, token, wait};

const NOW: u64 = 1_769_853_600;

/// Returns a token with any header, signed with HS256.
fn sign(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(input.as_bytes());
    format!(
        "{input}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

fn verify(header: Value, claims: Value) -> Result<Caller, AuthError> {
    let verifier = hs256_issuer(JwtRules::default());
    wait(verifier.verify(&sign(&header, &claims, JWT_SECRET), NOW))
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

#[test]
fn a_valid_token_gives_user_scopes_and_claims() {
    let claims = json!({"sub": "42", "exp": NOW + 1, "scope": "a:b c", "org_id": 7, "eu": true, "deep": {}, "x": 1.5});
    let caller = verify(hs256(), claims).unwrap();
    assert_eq!(caller.user.unwrap().as_str(), "42");
    assert_eq!(caller.scopes.into_iter().collect::<Vec<_>>(), ["a:b", "c"]);
    assert_eq!(
        (
            caller.claims["org_id"].as_str(),
            caller.claims["eu"].as_str()
        ),
        ("7", "true")
    );
    assert!(!caller.claims.contains_key("deep") && !caller.claims.contains_key("x"));
    assert!(!caller.acts_for_others);

    let caller = verify(
        hs256(),
        json!({"sub": "42", "exp": NOW, "scope": ["a", "b c"]}),
    )
    .unwrap();
    assert_eq!(caller.scopes.into_iter().collect::<Vec<_>>(), ["a", "b c"]);
}

#[test]
fn a_scope_claim_of_another_form_grants_nothing_and_refuses_nothing() {
    for odd in [
        json!(null),
        json!(1),
        json!(true),
        json!({"orders": "read"}),
        json!([1]),
        json!([{"id": 7}, "a"]),
        json!(""),
    ] {
        for claim in ["scope", "scp", "permissions"] {
            let claims = json!({"sub": "42", "exp": NOW + 60, claim: odd, "roles": ["x"]});
            let caller = verify(hs256(), claims).unwrap();
            assert!(caller.scopes.is_empty(), "{claim}: {odd}");
        }
    }
    let claims =
        json!({"sub": "42", "exp": NOW + 60, "scope": {"x": 1}, "scp": ["a"], "permissions": null});
    let scopes = verify(hs256(), claims).unwrap().scopes;
    assert_eq!(scopes.into_iter().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn times_are_checked_with_thirty_seconds_of_leeway() {
    let accepts = |claims: Value| verify(hs256(), claims).is_ok();
    assert!(accepts(json!({"sub": "u", "exp": NOW - 29})));
    assert!(!accepts(json!({"sub": "u", "exp": NOW - 30})));
    assert!(accepts(
        json!({"sub": "u", "exp": NOW + 60, "nbf": NOW + 30})
    ));
    assert!(!accepts(
        json!({"sub": "u", "exp": NOW + 60, "nbf": NOW + 31})
    ));
}

#[test]
fn missing_claims_and_claims_of_the_wrong_type_are_refused() {
    for claims in [
        json!({"sub": "u"}),
        json!({"exp": NOW + 60}),
        json!({"sub": "", "exp": NOW + 60}),
        json!({"sub": 42, "exp": NOW + 60}),
        json!({"sub": ["u"], "exp": NOW + 60}),
        json!({"sub": "a\nb", "exp": NOW + 60}),
        json!({"sub": "u", "exp": (NOW + 60).to_string()}),
        json!({"sub": "u", "exp": null}),
        json!({"sub": "u", "exp": NOW + 60, "nbf": "0"}),
        json!({"sub": "u", "exp": NOW + 60, "aud": "another service"}),
        json!([]),
    ] {
        assert!(
            verify(hs256(), claims.clone()).is_err(),
            "{claims} was accepted"
        );
    }
}

#[test]
fn headers_with_a_key_or_another_algorithm_are_refused() {
    let claims = json!({"sub": "u", "exp": NOW + 60});
    let jwk = json!({"kty": "oct", "k": "AAAA", "alg": "HS256"});
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS384"}),
        json!({"alg": "RS256"}),
        json!({"alg": "hs256"}),
        json!({}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "jku": "https://example.com/keys"}),
        json!({"alg": "HS256", "jwk": jwk}),
        json!({"alg": "HS256", "x5u": "https://example.com/cert"}),
        json!({"alg": "HS256", "x5c": ["MIIB"]}),
    ] {
        assert!(
            verify(header.clone(), claims.clone()).is_err(),
            "{header} was accepted"
        );
    }
}

#[test]
fn a_token_without_a_valid_signature_is_refused() {
    let verifier = hs256_issuer(JwtRules::default());
    let claims = json!({"sub": "u", "exp": NOW + 60});
    let good = sign(&hs256(), &claims, JWT_SECRET);
    assert!(wait(verifier.verify(&good, NOW)).is_ok());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let other = sign(
        &hs256(),
        &json!({"sub": "admin", "exp": NOW + 60}),
        JWT_SECRET,
    );
    for bad in [
        sign(&hs256(), &claims, b"another secret of at least 32 bytes"),
        sign(&hs256(), &claims, b""),
        format!("{input}."),
        input.to_owned(),
        format!("{input}.{signature}x"),
        format!("{}.{signature}", other.rsplit_once('.').unwrap().0),
        good[1..].to_owned(),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert!(
            wait(verifier.verify(&bad, NOW)).is_err(),
            "{bad} was accepted"
        );
    }
}

#[test]
fn issuer_and_audience_are_required_once_configured() {
    let verifier = hs256_issuer(JwtRules {
        issuer: Some("https://id".into()),
        audience: Some("rowlink".into()),
        ..JwtRules::default()
    });
    let accepts =
        |claims: Value| wait(verifier.verify(&sign(&hs256(), &claims, JWT_SECRET), NOW)).is_ok();
    let exp = NOW + 60;
    assert!(accepts(
        json!({"sub": "u", "exp": exp, "iss": "https://id", "aud": "rowlink"})
    ));
    assert!(accepts(
        json!({"sub": "u", "exp": exp, "iss": "https://id", "aud": ["x", "rowlink"]})
    ));
    assert!(!accepts(
        json!({"sub": "u", "exp": exp, "iss": "https://id", "aud": "x"})
    ));
    assert!(!accepts(
        json!({"sub": "u", "exp": exp, "iss": "https://id"})
    ));
    assert!(!accepts(
        json!({"sub": "u", "exp": exp, "iss": "https://ID", "aud": "rowlink"})
    ));
    assert!(!accepts(json!({"sub": "u", "exp": exp, "aud": "rowlink"})));
}

#[test]
fn without_a_credential_nothing_is_issued_or_listed() {
    let server = TestServer::start();
    for (method, target) in [
        ("POST", "/v1/links"),
        ("GET", "/v1/exports"),
        ("GET", "/v1/exports/orders"),
    ] {
        let call = || server.call(method, target);
        let answer = call().send();
        assert_eq!(answer.problem(), (401, "credential-missing".into()));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        for value in [
            "Bearer",
            "Basic dTpw",
            "Bearer nonsense",
            "Bearer ",
            "Token abc",
        ] {
            assert_eq!(
                call().header("authorization", value).send().status,
                401,
                "{value}"
            );
        }
        let expired = call().bearer(&token(server.now() - 7200)).send();
        assert_eq!(expired.problem(), (401, "credential-refused".into()));
        assert_eq!(
            expired.header("www-authenticate"),
            "Bearer error=\"invalid_token\""
        );
        let lower_case = call()
            .header("authorization", format!("bearer {}", token(server.now())))
            .send();
        assert_ne!(lower_case.status, 401);
    }
}
