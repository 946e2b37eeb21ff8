//! No query makes the verifier panic, and no unsigned query is accepted. A parsed scope keeps its text.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rowlink_link::{ClientAddr, DownloadPath, Keyring, Revocations, Scope, Verifier, generate};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::parse(&generate("k").expect("randomness")).expect("a key")
});

fuzz_target!(|query: &str| {
    let verifier = Verifier {
        keyring: &KEYRING,
        revocations: &Revocations::default(),
        ttl_seconds_max: 3600,
    };
    let client = ClientAddr::At(None);
    let path = DownloadPath::new("orders", "csv").expect("a path");
    assert!(verifier.verify(path, query, 1_769_853_600, client).is_err());
    let inspected = verifier.inspect(path, query);
    assert!(!inspected.is_ok_and(|it| it.signature_valid));
    if let Ok(scope) = Scope::parse(query) {
        assert_eq!(scope.as_str(), query);
    }
});
