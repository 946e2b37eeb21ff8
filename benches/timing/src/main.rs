//! Tests that verification takes constant time: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant
//! time?" (2017). Two classes of links are verified in random order and their times compared by Welch's t-test.
//! An absolute t below 10 means no measurable difference. `early_exit` is a control with a known timing leak.

use std::hint::black_box;

use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main};
use rand::RngExt as _;
use rowlink_link::{
    ClientAddr, DownloadPath, Keyring, Link, Revocations, Seal, UserId, Verifier, generate, sign,
};

const NOW: u64 = 1_769_853_600;
const RUNS: usize = 200_000;

/// Returns the query of a valid link and the offset of its signature.
fn good_query(keyring: &Keyring) -> (String, usize) {
    let link = Link {
        export: "orders".into(),
        format: Some("csv".into()),
        user: UserId::parse("42").expect("a user id"),
        id: uuid::Uuid::nil(),
        issued: NOW,
        expires: NOW + 60,
        conditions: Default::default(),
        filename: None,
        claims: Default::default(),
        reveal: Vec::new(),
        options: Default::default(),
        filters: vec![("from".into(), "2026-01-01".into())],
    };
    let signed = sign(link, keyring, Seal::Open).expect("signed");
    let (_, query) = signed.path_and_query().split_once('?').expect("a query");
    let signature = query.find("rl_signature=").expect("a signature") + "rl_signature=".len();
    (query.to_owned(), signature)
}

fn keyring() -> Keyring {
    Keyring::parse(&generate("k1").expect("randomness")).expect("a fresh key")
}

/// Verifies two classes of forged links in random order.
fn compare(runner: &mut CtRunner, rng: &mut BenchRng, keyring: &Keyring, forged: [&str; 2]) {
    let revocations = Revocations::default();
    let verifier = Verifier {
        keyring,
        revocations: &revocations,
        ttl_seconds_max: 3600,
    };
    let path = DownloadPath::new("orders", "csv").expect("a path");
    // One buffer for both classes, and a choice without a branch: addresses and the processor's memory
    // of branches affect times.
    let mut query = forged[0].as_bytes().to_vec();
    for _ in 0..RUNS {
        let chosen = usize::from(rng.random::<bool>());
        query.copy_from_slice(forged[chosen].as_bytes());
        let query = str::from_utf8(&query).expect("a query is ASCII");
        runner.run_one([Class::Left, Class::Right][chosen].clone(), || {
            let verified = verifier.verify(path, black_box(query), NOW, ClientAddr::At(None));
            black_box(verified.is_ok())
        });
    }
}

/// Returns the query with another hex digit at `at`: a letter for a letter, or a decimal digit for one,
/// because the decoder of hex branches on that. It reads nothing secret.
fn with_another_digit(query: &str, at: usize) -> String {
    let digit = match query.as_bytes()[at] {
        digit @ (b'9' | b'f') => digit - 1,
        digit => digit + 1,
    };
    let mut other = query.to_owned();
    other.replace_range(at..=at, str::from_utf8(&[digit]).expect("a digit is ASCII"));
    other
}

fn first_or_last_digit_is_wrong(runner: &mut CtRunner, rng: &mut BenchRng) {
    let keyring = keyring();
    let (query, signature) = good_query(&keyring);
    let first = with_another_digit(&query, signature);
    let last = with_another_digit(&query, query.len() - 1);
    compare(runner, rng, &keyring, [&first, &last]);
}

fn key_is_known_or_not(runner: &mut CtRunner, rng: &mut BenchRng) {
    let keyring = keyring();
    let (query, signature) = good_query(&keyring);
    let known = with_another_digit(&query, signature);
    let unknown = known.replace("rl_key=k1", "rl_key=k9");
    compare(runner, rng, &keyring, [&known, &unknown]);
}

/// Measures the timing leak of a comparison that stops at the first difference.
fn early_exit(runner: &mut CtRunner, rng: &mut BenchRng) {
    let good = [b'0'; 4096];
    let (mut first, mut last) = (good, good);
    (first[0], last[4095]) = (b'1', b'1');
    for _ in 0..RUNS {
        let (class, guess) = if rng.random() {
            (Class::Left, &first)
        } else {
            (Class::Right, &last)
        };
        runner.run_one(class, || {
            black_box(good.iter().zip(black_box(guess)).all(|(a, b)| a == b))
        });
    }
}

ctbench_main!(
    first_or_last_digit_is_wrong,
    key_is_known_or_not,
    early_exit
);
