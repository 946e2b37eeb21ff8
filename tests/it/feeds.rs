//! Links that live long: an export's table `[feed]`.

use std::io::Write as _;
use std::process::Stdio;

use rowlink::catalog::Catalog;
use rowlink_link::{Conditions, Keyring, Link, Network, Seal, UserId, sign};
use serde_json::{Value, json};

use crate::harness::process::{command, configured_folder};
use crate::harness::{Answer, Call, SIGNING_KEY, TestServer, sqlite};

const DAY: u64 = 86_400;

const FEED: &str = "/*---\n[feed]\nmax_ttl = '90d'\nrequires = ['sealed', 'ip', 'max_rows']\n---*/\n\
                    select 1 as n where :user <> ''";

fn request(more: &Value) -> Value {
    let mut request = json!({"export": "feed", "format": "csv"});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn get(url: &str) -> Answer {
    Call::new("GET", url).send()
}

fn server() -> TestServer {
    let plain = "select 1 as n where :user <> ''";
    TestServer::with_exports(vec![("feed.sql", FEED), ("plain.sql", plain)])
}

#[test]
fn a_request_for_a_long_lifetime_names_each_condition_that_it_lacks() {
    let server = server();
    let issue = |more: Value| server.issue(request(&more));
    assert_eq!(issue(json!({"expires_in": 3600})).status, 200);
    assert_eq!(issue(json!({})).json()["expires_in"], 60);
    let lacking = issue(json!({"expires_in": 3601}));
    assert_eq!(lacking.fields(), ["seal", "ip", "max_rows"]);
    assert!(
        lacking
            .text()
            .contains("because `expires_in` is more than 3600 seconds")
    );
    let all = json!({"expires_in": 90 * DAY, "seal": true, "ip": "127.0.0.1", "max_rows": 5});
    for (field, value) in [
        ("seal", json!(false)),
        ("ip", Value::Null),
        ("ip", json!("0.0.0.0/0")),
        ("max_rows", Value::Null),
        ("expires_in", json!(90 * DAY + 1)),
        ("resume_seconds", json!(3601)),
    ] {
        let mut some = all.clone();
        some[field] = value;
        assert_eq!(issue(some).fields(), [field]);
    }
    let mut once = all.clone();
    once["single_use"] = json!(true);
    assert!(issue(once).fields().contains(&"single_use".to_owned()));
    // Another export keeps the maximum of the deployment.
    let mut other = request(&all);
    other["export"] = json!("plain");
    assert_eq!(server.issue(other).fields(), ["expires_in"]);

    let link = server.link(request(&all));
    let now = server.now();
    for days in [0, 30, 89] {
        server.set_clock(now + days * DAY);
        assert_eq!(get(&link).rows(), [["n"], ["1"]], "after {days} days");
    }
    server.set_clock(now + 90 * DAY);
    assert_eq!(get(&link).problem(), (410, "link-expired".into()));
}

#[test]
fn a_long_link_that_was_signed_elsewhere_needs_every_condition_too() {
    let server = server();
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let all = || Conditions {
        network: Network::parse("127.0.0.1").ok(),
        rows_max: Some(5),
        ..Conditions::default()
    };
    let open = |export: &str, days: u64, conditions: Conditions, seal| {
        let user = UserId::parse("a").unwrap();
        let mut link = Link::new(export, "csv", user, server.now(), days * DAY);
        link.conditions = conditions;
        let signed = sign(link, &keyring, seal).unwrap();
        server.call("GET", signed.path_and_query()).send()
    };
    assert_eq!(open("feed", 90, all(), Seal::Sealed).status, 200);
    let mut no_network = all();
    no_network.network = None;
    let mut any_network = all();
    any_network.network = Network::parse("0.0.0.0/0").ok();
    let mut no_rows = all();
    no_rows.rows_max = None;
    let mut once = all();
    once.single_use = true;
    let mut resumed = all();
    resumed.resume_seconds = Some(3601);
    for (export, days, conditions, seal, detail) in [
        (
            "feed",
            90,
            all(),
            Seal::Open,
            "3600 s are allowed here for a link that is not sealed",
        ),
        ("feed", 90, no_network, Seal::Sealed, "without `ip`"),
        ("feed", 90, any_network, Seal::Sealed, "without `ip`"),
        ("feed", 90, no_rows, Seal::Sealed, "without `max_rows`"),
        ("feed", 90, once, Seal::Sealed, "with `single_use`"),
        (
            "feed",
            91,
            all(),
            Seal::Sealed,
            "at most 7776000 s are allowed here",
        ),
        (
            "feed",
            90,
            resumed,
            Seal::Sealed,
            "at most 3600 s are allowed here",
        ),
        (
            "plain",
            90,
            all(),
            Seal::Sealed,
            "at most 3600 s are allowed here",
        ),
    ] {
        let answer = open(export, days, conditions, seal);
        let text = answer.text();
        assert_eq!(
            answer.problem(),
            (403, "link-lives-too-long".into()),
            "{detail}"
        );
        assert!(text.contains(detail), "{text}");
    }
}

#[test]
fn a_feed_needs_a_lifetime_and_conditions_and_has_no_stored_files() {
    let errors = |settings: &str| -> Vec<String> {
        let sql = format!("/*---\n{settings}\n---*/\nselect 1 as n where :user <> ''");
        let catalog = Catalog::parse([("x.sql", sql.as_str())], &sqlite());
        catalog.errors().iter().map(ToString::to_string).collect()
    };
    let sealed = "requires = ['sealed']";
    assert!(errors(&format!("[feed]\nmax_ttl = '12h'\n{sealed}")).is_empty());
    for (settings, named) in [
        (
            format!("[feed]\nmax_ttl = '3w'\n{sealed}"),
            "`max_ttl`: expected hours or days",
        ),
        (
            format!("[feed]\nmax_ttl = '400d'\n{sealed}"),
            "at most 366d",
        ),
        (format!("[feed]\n{sealed}"), "max_ttl"),
        ("[feed]\nmax_ttl = '90d'".to_owned(), "requires"),
        (
            "[feed]\nmax_ttl = '90d'\nrequires = []".to_owned(),
            "at least one condition",
        ),
        (
            "[feed]\nmax_ttl = '90d'\nrequires = ['confirm']".to_owned(),
            "confirm",
        ),
        (
            format!("[feed]\nmax_ttl = '90d'\n{sealed}\n[store]\nmode = 'auto'"),
            "[feed]: unsupported with [store]",
        ),
    ] {
        let errors = errors(&settings);
        assert_eq!(errors.len(), 1, "{settings}: {errors:?}");
        assert!(errors[0].contains(named), "{settings}: {errors:?}");
    }
    let never = format!("[feed]\nmax_ttl = '90d'\n{sealed}\n[store]\nmode = 'never'");
    assert!(errors(&never).is_empty());
}

#[test]
fn the_commands_know_a_feed_by_its_export() {
    let folder = configured_folder(&[("feed.sql", FEED)]);
    let run = |arguments: &[&str], input: &str| {
        let mut command = command(folder.path());
        command.current_dir(folder.path()).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that fails early does not read it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let long = [
        "sign",
        "feed",
        "--user",
        "a",
        "--expires-in",
        "86400",
        "--max-rows",
        "5",
    ];
    let conditions = ["--ip", "192.0.2.7", "--seal"];
    let exports = ["--exports", "exports"];
    let (status, url, _) = run(&[&long[..], &conditions, &exports].concat(), "");
    assert_eq!(status, Some(0));
    let (status, _, error) = run(&[&long[..], &exports].concat(), "");
    assert_eq!(status, Some(2));
    assert!(
        error.contains("ip: expected an address") && error.contains("seal: expected true"),
        "{error}"
    );
    let (status, _, error) = run(&[&long[..], &conditions].concat(), "");
    assert_eq!(status, Some(2));
    assert!(
        error.contains("expires_in: expected 1 to 3600 seconds"),
        "{error}"
    );

    let (status, said, _) = run(&[&["verify", "-"][..], &exports].concat(), &url);
    assert_eq!(status, Some(0), "{said}");
    let (status, said, _) = run(&["verify", "-"], &url);
    assert_eq!(status, Some(1));
    assert!(said.contains("refused: link-lives-too-long"), "{said}");
}
