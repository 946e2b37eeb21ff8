//! Prints the microseconds to verify a valid link and to reject a forged one. Each is the best of many rounds, which
//! excludes other load on the machine.

use std::hint::black_box;
use std::time::Instant;

use rowlink_link::{
    ClientAddr, DownloadPath, Keyring, Link, Revocations, Seal, UserId, Verifier, generate, sign,
};

const NOW: u64 = 1_769_853_600;
const ROUNDS: u32 = 200;
const LINKS: u32 = 1000;

fn main() {
    let keyring = Keyring::parse(&generate("k1").expect("randomness")).expect("a fresh key");
    let revocations = Revocations::default();
    let verifier = Verifier {
        keyring: &keyring,
        revocations: &revocations,
        ttl_seconds_max: 3600,
    };
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
    let signed = sign(link, &keyring, Seal::Open).expect("signed");
    let (_, good) = signed.path_and_query().split_once('?').expect("a query");
    let forged = good.replace("rl_user=42", "rl_user=43");
    let path = DownloadPath::new("orders", "csv").expect("a path");
    for (what, query, is_good) in [("good", good, true), ("forged", &forged, false)] {
        let microseconds = (0..ROUNDS).map(|_| {
            let begun = Instant::now();
            for _ in 0..LINKS {
                let query = black_box(query);
                let verified = verifier.verify(path, query, NOW, ClientAddr::At(None));
                assert_eq!(black_box(verified).is_ok(), is_good);
            }
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(LINKS)
        });
        println!("{what} {:.3}", microseconds.fold(f64::INFINITY, f64::min));
    }
}
