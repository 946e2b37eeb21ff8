//! Random links, valid or corrupted, in random encodings: both implementations must agree on each.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::thread;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rowlink_link::{
    ClientAddr, Conditions, FileName, Keyring, Link, Network, Revocations, Scope, Seal, SplitUrl,
    UserId, Verifier, generate_child, sign,
};
use serde_json::json;
use uuid::Uuid;

use crate::vectors::{keyring, outcome, vectors};

const NOW: u64 = 1_769_853_600;
const SCOPES: [&str; 5] = [
    "export=orders",
    "user=ab",
    "user_prefix=a",
    "claim.org=7&user_prefix=a",
    "export=orders&reveal=email",
];

/// A link and the changes made to its URL.
#[derive(Debug, Clone)]
struct Plan {
    link: Link,
    scope: Option<&'static str>,
    is_sealed: bool,
    /// Alternative encodings of characters, by byte offset in their pair.
    encodings: Vec<(usize, u8)>,
    rotation: usize,
    corruption: Option<(usize, char)>,
    now: u64,
    client: IpAddr,
}

prop_compose! {
    fn any_link()(
        user in "[^\\p{Cc}]{1,12}",
        is_in_scope in any::<bool>(),
        id in any::<u128>(),
        ttl_seconds in 1..4000u64,
        not_before in option(NOW - 50..NOW + 50),
        network in option(select(vec!["192.0.2.7", "192.0.2.0/24", "::/0", "2001:db8::/32"])),
        rows_max in option(1..1_000_000u64),
        resume_seconds in option(1..5_000u64),
        (is_document, single_use, confirm) in any::<(bool, bool, bool)>(),
        bind in option(any::<[u8; 32]>()),
        reason in option("[^\\p{Cc}]{1,12}"),
        filename in option("[a-zäöü][a-zäöü 1-9&=%+]{0,12}[a-zäöü]"),
        claims in prop::collection::btree_map("org|[A-Za-z0-9_]{1,6}", "7|[^\\p{Cc}]{1,6}", 0..3),
        reveal in select(vec![vec![], vec![], vec!["email"], vec!["ü b", "email"]]),
        options in prop::collection::btree_map("columns|csv\\.[a-z]{1,6}", "[^\0]{0,9}", 0..3),
        filters in prop::collection::vec(("[^\0r][^\0]{0,6}", "[^\0]{0,12}"), 0..5),
    ) -> Link {
        Link {
            export: "orders".into(),
            format: (!is_document).then(|| "csv".into()),
            user: UserId::parse(if is_in_scope { format!("a{user}") } else { user }).unwrap(),
            id: Uuid::from_u128(id),
            issued: NOW,
            expires: NOW + ttl_seconds,
            conditions: Conditions {
                not_before,
                network: network.map(|text| Network::parse(text).unwrap()),
                rows_max,
                bytes_max: None,
                resume_seconds,
                single_use,
                confirm,
                bind,
                reason,
            },
            filename: filename.map(|name| FileName::parse(name).unwrap()),
            claims: BTreeMap::from_iter(claims),
            reveal: reveal.into_iter().map(str::to_owned).collect(),
            options: BTreeMap::from_iter(options),
            filters,
        }
    }
}

fn option<T: std::fmt::Debug>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, some)
}

prop_compose! {
    fn any_plan()(
        link in any_link(),
        scope in option(select(SCOPES.to_vec())),
        is_sealed in prop::bool::weighted(0.3),
        encodings in prop::collection::vec((0..400usize, any::<u8>()), 0..6),
        rotation in 0..12usize,
        corruption in option((0..400usize, select(vec!['&', '=', '%', '+', '0', 'a', 'Z', '\u{e4}', '_', '.']))),
        now in select(vec![NOW, NOW, NOW, NOW - 30, NOW - 31, NOW + 40, NOW + 3999]),
        client in select(vec!["192.0.2.7", "192.0.2.9", "2001:db8::1", "::1"]),
    ) -> Plan {
        Plan { link, scope, is_sealed, encodings, rotation, corruption, now, client: client.parse().unwrap() }
    }
}

impl Plan {
    /// Returns the path and query as the server receives them.
    fn url(&self, parent: &Keyring) -> String {
        let child = self.scope.and_then(|text| {
            let scope = Scope::parse(text).unwrap();
            let key = generate_child(parent, "2026b", &scope).unwrap();
            // The parent key signs links outside the scope.
            scope.check(&self.link).ok()?;
            Some(Keyring::parse(&key).unwrap())
        });
        let seal = if self.is_sealed {
            Seal::Sealed
        } else {
            Seal::Open
        };
        let signer = child.as_ref().unwrap_or(parent);
        let signed = sign(self.link.clone(), signer, seal).unwrap();
        let (path, query) = signed.path_and_query().split_once('?').unwrap();
        let mut pairs: Vec<String> = query.split('&').map(|pair| self.reencode(pair)).collect();
        let rotation = self.rotation % pairs.len();
        pairs.rotate_left(rotation);
        let mut query = pairs.join("&");
        if let Some((offset, character)) = self.corruption {
            let offset = (offset % query.len()..)
                .find(|at| query.is_char_boundary(*at))
                .unwrap();
            query.insert(offset, character);
        }
        format!("{path}?{query}")
    }

    /// Re-encodes some characters of a pair without changing its meaning.
    fn reencode(&self, pair: &str) -> String {
        let mut encoded = String::new();
        let mut rest = pair;
        while let Some(character) = rest.chars().next() {
            let is_escape = character == '%';
            let (this, after) = rest.split_at(if is_escape { 3 } else { 1 });
            let how = self.encodings.iter().find(|(at, _)| *at == encoded.len());
            match (how, this) {
                (None, _) | (_, "=") => encoded += this,
                (Some(_), "%20") => encoded.push('+'),
                (Some((_, how)), _) if is_escape && how % 2 == 0 => encoded += &this.to_lowercase(),
                (Some(_), _) if is_escape => encoded += this,
                (Some(_), _) => encoded += &format!("%{:02x}", this.as_bytes()[0]),
            }
            rest = after;
        }
        encoded
    }
}

fn write_lines(mut stdin: ChildStdin, lines: Vec<String>) {
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
}

/// Compares both implementations; returns the number of links per outcome.
pub fn compare(count: usize, seed: u8) -> BTreeMap<&'static str, usize> {
    let vectors = vectors();
    let keyring = keyring(&vectors);
    let verifier = Verifier {
        keyring: &keyring,
        revocations: &Revocations::default(),
        ttl_seconds_max: vectors["ttl_seconds_max"].as_u64().unwrap(),
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut outcomes = BTreeMap::new();
    let plans: Vec<Plan> = (0..count)
        .map(|_| any_plan().new_tree(&mut runner).unwrap().current())
        .collect();
    let urls: Vec<String> = plans.iter().map(|plan| plan.url(&keyring)).collect();
    let lines = plans.iter().zip(&urls).map(|(plan, url)| {
        let (path, query) = url.split_once('?').unwrap();
        let client = plan.client.to_string();
        json!({"path": path, "query": query, "now": plan.now, "client": client}).to_string()
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/verify_lines.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, lines) = (python.stdin.take().unwrap(), lines.collect());
    let writer = thread::spawn(move || write_lines(stdin, lines));
    let results = BufReader::new(python.stdout.take().unwrap()).lines();
    for ((plan, url), result) in plans.iter().zip(&urls).zip(results) {
        let result = result.unwrap();
        let (expected, canonical) = result.split_once('\t').unwrap();
        let SplitUrl { path, query, .. } = SplitUrl::parse(url).unwrap();
        let client = ClientAddr::At(Some(plan.client));
        let verified = verifier.verify(path, query, plan.now, client);
        let found = outcome(&verified.map(|verified| verified.link().clone()));
        assert_eq!(found, expected, "{url}\n{plan:?}");
        if found != "malformed-link" {
            let inspection = verifier.inspect(path, query).unwrap();
            let signed_query = inspection.string_to_sign.lines().last().unwrap();
            assert_eq!(signed_query, canonical, "{url}");
        }
        *outcomes.entry(found).or_default() += 1;
    }
    writer.join().unwrap();
    assert!(python.wait().unwrap().success());
    assert_eq!(outcomes.values().sum::<usize>(), count);
    outcomes
}

#[test]
#[ignore = "needs Python: make test"]
fn two_implementations_agree_on_random_links() {
    let outcomes = compare(4000, 1);
    println!("{outcomes:?}");
    for each in [
        "valid",
        "malformed-link",
        "bad-signature",
        "link-expired",
        "link-not-yet-valid",
        "wrong-address",
    ] {
        assert!(
            outcomes.get(each).is_some_and(|count| *count > 20),
            "{each}: {outcomes:?}"
        );
    }
}
