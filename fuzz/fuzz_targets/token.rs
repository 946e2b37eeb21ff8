//! No unsigned token is accepted, and no token makes the authenticator panic.
#![no_main]

use std::sync::LazyLock;

use futures_executor::block_on;
use libfuzzer_sys::fuzz_target;
use rowlink::auth::{Authenticator, JwtKey, JwtRules, JwtVerifier};

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let issuer = |name: &str| {
        let rules = JwtRules {
            issuer: Some(name.to_owned()),
            ..JwtRules::default()
        };
        let secret = b"a secret that the fuzzer does not know".to_vec();
        JwtVerifier::new(JwtKey::Secret(secret.into()), rules).expect("an issuer")
    };
    Authenticator::new(vec![issuer("https://a"), issuer("https://b")], None)
});

fuzz_target!(|token: &str| {
    assert!(block_on(AUTHENTICATOR.authenticate(token, 0)).is_err());
});
