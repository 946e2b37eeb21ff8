//! Small changes to a signed URL: accepted only if it decodes to the same pairs.

use std::collections::BTreeMap;

use rowlink_link::{
    ClientAddr, DownloadPath, Keyring, Link, LinkError, Revocations, Seal, UserId, VerifiedLink,
    Verifier, sign,
};
use uuid::Uuid;

use crate::harness::SIGNING_KEY;

const NOW: u64 = 1_769_853_600;

fn links() -> Vec<Link> {
    let values = [
        "2026-01-01",
        "",
        "a b",
        "ä&=%",
        "🎁",
        "0",
        "x=y",
        "'; --",
        "~-._",
        "%2F",
    ];
    let users = ["42", "alice@example.com", "ü", "0", "a b"];
    let mut links = Vec::new();
    for value in values {
        for user in users {
            links.push(Link {
                export: "orders".into(),
                format: Some("csv".into()),
                user: UserId::parse(user).unwrap(),
                id: Uuid::from_u128(links.len() as u128),
                issued: NOW,
                expires: NOW + 60,
                conditions: Default::default(),
                filename: None,
                claims: BTreeMap::from([("org_id".into(), "7".into())]),
                reveal: vec!["email".into(), "phone".into()],
                options: BTreeMap::from([("csv.bom".into(), "true".into())]),
                filters: vec![
                    ("from".into(), value.into()),
                    ("status".into(), "paid".into()),
                ],
            });
        }
    }
    links
}

/// Signs a link; every second one is sealed.
fn signed(link: &Link, keyring: &Keyring) -> String {
    let is_odd = link.id.as_u128() % 2 == 1;
    let seal = if is_odd { Seal::Sealed } else { Seal::Open };
    let signed = sign(link.clone(), keyring, seal).unwrap();
    signed.path_and_query().to_owned()
}

fn verify(keyring: &Keyring, export: &str, query: &str) -> Result<VerifiedLink, LinkError> {
    let verifier = Verifier {
        keyring,
        revocations: &Revocations::default(),
        ttl_seconds_max: 3600,
    };
    // The server has no route for any other name.
    let Some(path) = DownloadPath::new(export, "csv") else {
        return Err(LinkError::BadSignature);
    };
    verifier.verify(path, query, NOW, ClientAddr::Unchecked)
}

/// Returns the pairs of a query as decoded by `serde_urlencoded`, sorted.
fn pairs(query: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs.sort();
    pairs
}

/// Returns the number of variants, and of those accepted although they decode to other pairs.
fn wrongly_accepted(original: &str, variants: impl Iterator<Item = String>) -> (usize, usize) {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let accepts = |query: &str| verify(&keyring, "orders", query).is_ok();
    assert!(accepts(original));
    let expected = pairs(original);
    let (mut tried, mut wrong) = (0, 0);
    for variant in variants.filter(|variant| variant != original) {
        tried += 1;
        if accepts(&variant) && pairs(&variant) != expected {
            wrong += 1;
        }
    }
    (tried, wrong)
}

fn try_all(variants_of: impl Fn(&str) -> Vec<String>) {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let (mut tried, mut wrong) = (0, 0);
    for link in links() {
        let url = signed(&link, &keyring);
        let query = url.split_once('?').unwrap().1;
        let (more, bad) = wrongly_accepted(query, variants_of(query).into_iter());
        tried += more;
        wrong += bad;
    }
    println!("{tried} variants of 50 links, {wrong} wrongly accepted");
    assert!(tried > 0);
    assert_eq!(wrong, 0);
}

#[test]
#[ignore = "takes seconds: make test"]
fn no_single_byte_can_be_changed() {
    try_all(|query| {
        let mut variants = Vec::new();
        for index in 0..query.len() {
            for byte in 0..=127u8 {
                let mut bytes = query.as_bytes().to_vec();
                bytes[index] = byte;
                variants.push(String::from_utf8(bytes).unwrap());
            }
        }
        variants
    });
}

#[test]
fn no_byte_can_be_inserted_or_removed() {
    try_all(|query| {
        let mut variants = Vec::new();
        for index in 0..query.len() {
            variants.push(format!("{}{}", &query[..index], &query[index + 1..]));
            for inserted in ["&", "=", "%", "+", "0", "a", "%00", "\0", "ä", "%C3%A4"] {
                variants.push(format!("{}{inserted}{}", &query[..index], &query[index..]));
            }
        }
        variants
    });
}

#[test]
fn no_link_can_be_truncated() {
    try_all(|query| {
        let from_start = (0..query.len()).map(|end| query[..end].to_owned());
        let from_end = (1..query.len()).map(|start| query[start..].to_owned());
        from_start.chain(from_end).collect()
    });
}

#[test]
fn no_parameter_can_be_duplicated_dropped_or_renamed() {
    try_all(|query| {
        let parameters: Vec<&str> = query.split('&').collect();
        let mut variants = Vec::new();
        for (index, parameter) in parameters.iter().enumerate() {
            let (name, value) = parameter.split_once('=').unwrap();
            let mut with = |replacement: &[&str]| {
                let mut changed = parameters.clone();
                changed.splice(index..=index, replacement.iter().copied());
                variants.push(changed.join("&"));
            };
            with(&[]);
            with(&[parameter, parameter]);
            with(&[&parameter.to_uppercase()]);
            with(&[&format!("x{parameter}")]);
            with(&[&format!("{value}={name}")]);
            with(&[&format!("{name}[]={value}")]);
            with(&[parameter, &format!("{name}=")]);
        }
        variants
    });
}

#[test]
fn no_byte_of_the_path_can_be_changed() {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let mut tried = 0;
    for link in links() {
        let url = signed(&link, &keyring);
        let query = url.split_once('?').unwrap().1;
        let accepts = |export: &str| verify(&keyring, export, query).is_ok();
        assert!(accepts("orders"));
        for index in 0.."orders".len() {
            for byte in 0..=127u8 {
                let mut export = b"orders".to_vec();
                export[index] = byte;
                let export = String::from_utf8(export).unwrap();
                assert!(
                    !accepts(&export) || export == "orders",
                    "{export:?} was accepted"
                );
                tried += 1;
            }
        }
        assert!(!accepts("order") && !accepts("orderss") && !accepts("") && !accepts("x/orders"));
    }
    println!("{tried} other paths, 0 accepted");
}

#[test]
fn parameters_may_come_in_any_order() {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    for link in links() {
        let url = signed(&link, &keyring);
        let mut parameters: Vec<&str> = url.split_once('?').unwrap().1.split('&').collect();
        for _ in 0..parameters.len() {
            parameters.rotate_left(1);
            let query = parameters.join("&");
            let verified = verify(&keyring, "orders", &query).unwrap();
            assert_eq!(verified.link().user, link.user);
            parameters.reverse();
            let query = parameters.join("&");
            assert!(verify(&keyring, "orders", &query).is_ok());
            parameters.reverse();
        }
    }
}
