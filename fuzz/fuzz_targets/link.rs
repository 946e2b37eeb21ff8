//! No query makes the verifier panic, and none is accepted that no key made.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rowlink::format::Format;
use rowlink::link::{Keyring, Revocations, Verifier, generate};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::parse(&generate("k").expect("randomness")).expect("a key")
});

fuzz_target!(|query: &str| {
    let verifier = Verifier {
        keyring: &KEYRING,
        revocations: &Revocations::default(),
        ttl_seconds_max: 3600,
    };
    assert!(verifier.verify("orders", Format::Csv, query, 1_769_853_600).is_err());
    let _ = Verifier::inspect("orders", Format::Xlsx, query);
});
