//! Sealed links, conditions of links, and child keys.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rowlink::catalog::Catalog;
use rowlink::http::HttpConfig;
use rowlink_link::{Keyring, Link, Scope, Seal, UserId, generate_child, sign};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::harness::process::Rowlink;
use crate::harness::{
    API_KEY, Answer, Call, SIGNING_KEY, TestServer, begin, exports, is_whole, sqlite, token_for,
    unchunked,
};

fn orders(more: Value) -> Value {
    let mut request = json!({
        "export": "orders", "format": "csv", "filename": "Geheim",
        "filters": {"from": "2026-01-01", "status": ["paid", "refunded"]},
        "columns": ["id", "amount"],
    });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn numbers(last: u64, more: Value) -> Value {
    let mut request = json!({"export": "numbers", "format": "csv", "filters": {"n": last}});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn get(url: &str) -> Answer {
    Call::new("GET", url).send()
}

/// Returns the names of a link's parameters.
fn names(url: &str) -> Vec<&str> {
    let query = url.split_once('?').unwrap().1;
    let pairs = query.split('&');
    pairs.map(|pair| pair.split_once('=').unwrap().0).collect()
}

const ENVELOPE: [&str; 6] = [
    "rl_expires",
    "rl_issued",
    "rl_key",
    "rl_link",
    "rl_sealed",
    "rl_signature",
];

#[test]
fn a_sealed_link_hides_its_contents_and_gives_the_same_file() {
    let server = TestServer::start();
    for format in ["csv", "xlsx", "ndjson", "json", "tsv"] {
        let open = server.link(orders(json!({"format": format})));
        let sealed = server.link(orders(json!({"format": format, "seal": true})));
        assert!(open.contains("alice") && open.contains("Geheim") && open.contains("refunded"));
        assert_eq!(names(&sealed), ENVELOPE);

        let (by_open, by_sealed) = (get(&open), get(&sealed));
        assert_eq!((by_open.status, by_sealed.status), (200, 200));
        if format != "xlsx" {
            assert_eq!(by_open.text(), by_sealed.text());
        }
        for header in ["content-disposition", "content-type"] {
            assert_eq!(by_open.header(header), by_sealed.header(header));
        }
        assert_eq!(Call::new("HEAD", &sealed).send().status, 200);
        let later = server.link(orders(json!({"format": format, "seal": true})));
        assert_eq!(sealed.len(), later.len(), "only the nonce may differ");
    }
    let answer = server.issue(orders(json!({"seal": "yes"})));
    assert_eq!(answer.fields(), ["seal"]);
}

#[test]
fn an_export_or_the_configuration_can_seal_every_link() {
    let export = "/*---\nseal = true\n---*/\nselect :user as owner";
    let server = TestServer::with_exports(vec![("secret.sql", export)]);
    let url = server.link(json!({"export": "secret", "format": "csv"}));
    assert_eq!(names(&url), ENVELOPE);
    assert_eq!(get(&url).rows(), [["owner"], ["alice"]]);

    let always = Rowlink::serve_with(&exports(), &[("ROWLINK_SEAL", "always")]);
    let url = always.link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1}}));
    assert_eq!(names(&url), ENVELOPE);
}

#[test]
fn inspection_shows_sealed_contents_only_to_authorized_callers() {
    let server = TestServer::start();
    let url = server.link(orders(
        json!({"seal": true, "max_rows": 9, "ip": "192.0.2.0/24"}),
    ));
    let now = server.now();
    let inspect = |token: &str, url: &str| {
        let call = server.call("POST", "/v1/links/inspect").bearer(token);
        let answer = call.json(&json!({"url": url})).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let token = |user: &str| {
        token_for(&json!({"sub": user, "exp": now + 3600, "scope": "orders:read other"}))
    };
    for token in [token("alice"), API_KEY.to_owned()] {
        let report = inspect(&token, &url);
        assert_eq!(report["valid"], true, "{report}");
        assert_eq!(report["link"]["user"], "alice");
        assert_eq!(report["link"]["max_rows"], 9);
        assert_eq!(report["link"]["ip"], "192.0.2.0/24");
        assert_eq!(report["link"]["sealed"], true);
    }
    let report = inspect(&token("bob"), &url);
    assert_eq!(report["valid"], true);
    assert_eq!(report["link"]["user"], Value::Null);
    assert_eq!(report["link"]["filters"], json!([]));
    assert!(!report.to_string().contains("alice") && !report.to_string().contains("refunded"));

    // The reason for the refusal would reveal the contents.
    let later = "2026-01-31T10:00:30Z";
    let request = orders(json!({"seal": true, "not_before": later}));
    let answer = server.issue(request).json();
    let later = answer["url"].as_str().unwrap();
    let report = inspect(&token("bob"), later);
    assert_eq!(report["code"], "link-not-yet-valid");
    assert_eq!(
        (&report["detail"], &report["errors"]),
        (&Value::Null, &Value::Null)
    );
    assert!(
        inspect(&token("alice"), later)["detail"]
            .as_str()
            .unwrap()
            .contains("30 s")
    );
    // An API key without access to the export.
    let other = server.link(json!({"export": "echo", "format": "csv", "seal": true}));
    assert_eq!(inspect(API_KEY, &other)["link"]["user"], Value::Null);
    assert_eq!(inspect(&token("alice"), &other)["link"]["user"], "alice");

    let changed = url.replace("rl_sealed=", "rl_sealed=A");
    let report = inspect(&token("alice"), &changed);
    assert_eq!(report["code"], "bad-signature");
    assert_eq!(report["link"]["user"], Value::Null);
}

#[test]
fn a_link_works_only_from_its_network_whatever_the_client_claims() {
    let from = |server: &TestServer, network: &str, forwarded: &str| {
        let url = server.link(orders(json!({"ip": network})));
        let call = Call::new("GET", url).header("x-forwarded-for", forwarded);
        let answer = call.send();
        match answer.status {
            200 => "200".to_owned(),
            _ => answer.problem().1,
        }
    };
    let direct = TestServer::start();
    assert_eq!(from(&direct, "127.0.0.1", "192.0.2.7"), "200");
    assert_eq!(from(&direct, "192.0.2.7", "192.0.2.7"), "wrong-address");

    let behind = TestServer::with(|deployment| {
        deployment.http_config = HttpConfig {
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            ..HttpConfig::default()
        };
    });
    assert_eq!(from(&behind, "192.0.2.0/24", "192.0.2.7"), "200");
    assert_eq!(
        from(&behind, "192.0.2.7", "192.0.2.7, 198.51.100.1"),
        "wrong-address"
    );
    assert_eq!(from(&behind, "127.0.0.1", "192.0.2.7"), "wrong-address");
    assert_eq!(from(&behind, "2001:db8::/32", "2001:db8::7"), "200");
    for hidden in ["", "unknown", "192.0.2.7, unknown", "127.0.0.2"] {
        assert_eq!(
            from(&behind, "127.0.0.0/8", hidden),
            "wrong-address",
            "{hidden:?}"
        );
        assert_eq!(
            from(&behind, "192.0.2.7", hidden),
            "wrong-address",
            "{hidden:?}"
        );
    }
    for bad in [json!("here"), json!("192.0.2.7/24"), json!(7)] {
        assert_eq!(direct.issue(orders(json!({"ip": bad}))).fields(), ["ip"]);
    }
}

#[test]
fn a_link_can_become_valid_later() {
    let server = TestServer::start();
    let (now, expires_in) = (server.now(), 600);
    let request =
        |not_before: &str| orders(json!({"not_before": not_before, "expires_in": expires_in}));
    let url = server.link(request("2026-01-31T11:05:00+01:00"));
    assert_eq!(get(&url).problem(), (403, "link-not-yet-valid".into()));
    server.set_clock(now + 299);
    assert_eq!(get(&url).problem(), (403, "link-not-yet-valid".into()));
    server.set_clock(now + 300);
    assert_eq!(get(&url).status, 200);
    server.set_clock(now);
    for bad in [
        "2026-01-31T10:10:00Z",
        "tomorrow",
        "1769853600",
        "1969-01-01T00:00:00Z",
    ] {
        assert_eq!(server.issue(request(bad)).fields(), ["not_before"], "{bad}");
    }
}

#[test]
fn a_small_file_over_the_limits_of_its_link_is_refused() {
    let server = TestServer::start();
    for format in ["csv", "xlsx", "ndjson", "json", "tsv"] {
        let size = get(&server.link(numbers(10, json!({"format": format}))))
            .body
            .len();
        // A workbook contains the id of its link, whose compressed size varies.
        let slack = if format == "xlsx" { 20 } else { 0 };
        for (limit, fits) in [
            (json!({"max_rows": 10}), true),
            (json!({"max_rows": 9}), false),
            (json!({"max_bytes": size + slack}), true),
            (json!({"max_bytes": size - 1 - slack}), false),
            (json!({"max_rows": 9, "seal": true}), false),
        ] {
            let mut request = numbers(10, limit.clone());
            request["format"] = json!(format);
            let answer = get(&server.link(request));
            if fits {
                assert_eq!(answer.status, 200, "{limit}");
            } else {
                assert_eq!(answer.problem(), (422, "file-too-large".into()), "{limit}");
            }
        }
    }
    // With an exact length the size is known before the first byte.
    for limit in [json!({"max_bytes": 10}), json!({"max_rows": 9_999})] {
        let mut exact = numbers(10_000, limit);
        exact["length"] = json!("exact");
        let refused = get(&server.link(exact)).problem();
        assert_eq!(refused, (422, "file-too-large".into()));
    }
    for (name, bad) in [
        ("max_rows", json!(0)),
        ("max_rows", json!("10")),
        ("max_bytes", json!(1.5)),
    ] {
        let answer = server.issue(numbers(10, json!({name: bad})));
        assert_eq!(answer.fields(), [name]);
    }
}

#[test]
fn a_large_file_over_the_limits_of_its_link_is_visibly_truncated() {
    let server = TestServer::start();
    for format in ["csv", "xlsx", "ndjson", "json", "tsv"] {
        for (limit, value) in [("max_rows", 100_000), ("max_bytes", 400_000)] {
            let mut answer = Vec::new();
            let mut request = numbers(400_000, json!({limit: value}));
            request["format"] = json!(format);
            let mut stream = begin(&server.link(request));
            stream
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            // A reset is as visible as a missing final chunk.
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{format} {limit}");
            assert!(!is_whole(&answer), "{format} {limit}");
            let (file, _) = unchunked(&answer);
            let rows = file.iter().filter(|byte| **byte == b'\n').count();
            // The rows of a workbook are compressed.
            assert!(
                format == "xlsx" || limit != "max_rows" || rows <= value,
                "{rows}"
            );
            assert!(
                limit != "max_bytes" || file.len() <= value,
                "{}",
                file.len()
            );
        }
    }
    let enough = numbers(400_000, json!({"max_rows": 400_000}));
    assert_eq!(get(&server.link(enough)).rows().len(), 400_001);
}

const SCOPE: &str = "export=numbers&user_prefix=tenant7%3A";

fn child_key() -> String {
    let parent = Keyring::parse(SIGNING_KEY).unwrap();
    let scope = Scope::parse(SCOPE).unwrap();
    generate_child(&parent, "t1", &scope).unwrap().to_string()
}

fn link(export: &str, user: &str, now: u64) -> Link {
    Link {
        export: export.into(),
        format: Some("csv".into()),
        user: UserId::parse(user).unwrap(),
        id: Uuid::nil(),
        issued: now,
        expires: now + 60,
        conditions: Default::default(),
        filename: None,
        claims: Default::default(),
        reveal: Vec::new(),
        options: Default::default(),
        filters: vec![("n".into(), "3".into())],
    }
}

/// Signs a link; returns its path and query.
fn target_of(link: Link, keyring: &Keyring, seal: Seal) -> String {
    let signed = sign(link, keyring, seal).unwrap();
    signed.path_and_query().to_owned()
}

/// Returns the target of a link that a child key signed outside its scope.
pub fn link_outside_its_scope(now: u64) -> String {
    let key = child_key();
    let inside = link("numbers", "tenant7:alice", now);
    let inside = target_of(inside, &Keyring::parse(&key).unwrap(), Seal::Open);
    let outside = inside.replace("rl_user=tenant7%3Aalice", "rl_user=bob");
    let (path, query) = outside.split_once('?').unwrap();
    let query = query.rsplit_once("&rl_signature=").unwrap().0;
    let secret = BASE64.decode(key.split(':').nth(1).unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("ROWLINK1-HMAC-SHA256\n{path}\n{query}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!("{path}?{query}&rl_signature={signature}")
}

#[test]
fn a_child_key_signs_only_inside_its_scope() {
    let server = TestServer::start();
    let now = server.now();
    let child = Keyring::parse(&child_key()).unwrap();
    let inside = link("numbers", "tenant7:alice", now);
    for seal in [Seal::Open, Seal::Sealed] {
        let target = target_of(inside.clone(), &child, seal);
        let answer = server.call("GET", &target).send();
        assert_eq!(answer.rows().len(), 4, "{}", answer.text());
        assert!(sign(link("numbers", "tenant8:alice", now), &child, seal).is_err());
        assert!(sign(link("orders", "tenant7:alice", now), &child, seal).is_err());
    }
    let target = target_of(inside, &child, Seal::Open);
    let wider = target.replace("tenant7", "tenant8");
    let answer = server.call("GET", &wider).send();
    assert_eq!(answer.problem(), (403, "bad-signature".into()));
    let answer = server.call("GET", &link_outside_its_scope(now)).send();
    assert_eq!(answer.problem(), (403, "outside-scope".into()));
}

#[test]
fn an_export_limits_its_links_and_downloads() {
    let numbers = "with recursive i(n) as (select 1 union all select n + 1 from i) \
                   select n from i where :user <> '' limit :n";
    let export = |limits: &str| {
        format!(
            "/*---\n[limits]\n{limits}\n[filters.n]\ntype = 'integer'\nrequired = true\n---*/\n{numbers}"
        )
    };
    let (rows, bytes, ttl, seconds) = (
        export("max_rows = 5"),
        export("max_bytes = 20"),
        export("max_ttl_seconds = 30"),
        export("max_seconds = 1"),
    );
    let server = TestServer::with_exports(vec![
        ("rows.sql", &rows),
        ("bytes.sql", &bytes),
        ("ttl.sql", &ttl),
        ("seconds.sql", &seconds),
    ]);
    let request =
        |export: &str, n: u32| json!({"export": export, "format": "csv", "filters": {"n": n}});
    for (export, fits, too_many) in [("rows", 5, 6), ("bytes", 5, 50)] {
        assert_eq!(get(&server.link(request(export, fits))).status, 200);
        let refused = get(&server.link(request(export, too_many)));
        assert_eq!(
            refused.problem(),
            (422, "file-too-large".into()),
            "{export}"
        );
    }
    // The smaller limit counts.
    let mut small = request("rows", 4);
    small["max_rows"] = json!(3);
    assert_eq!(get(&server.link(small)).problem().0, 422);

    assert_eq!(server.issue(request("ttl", 1)).json()["expires_in"], 30);
    let mut long = request("ttl", 1);
    long["expires_in"] = json!(31);
    let refused = server.issue(long);
    assert_eq!(refused.fields(), ["expires_in"]);
    assert!(refused.text().contains("expected 1 to 30 seconds"));
    let mut link = Link::new("ttl", "csv", UserId::parse("a").unwrap(), server.now(), 31);
    link.filters.push(("n".into(), "1".into()));
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let signed = sign(link, &keyring, Seal::Open).unwrap();
    let answer = server.call("GET", signed.path_and_query()).send();
    assert_eq!(answer.problem(), (403, "link-lives-too-long".into()));

    let mut endless = Vec::new();
    let link = server.link(request("seconds", 2_000_000_000));
    let read = begin(&link).read_to_end(&mut endless);
    assert!(read.is_err() || !is_whole(&endless));
    for wrong in ["max_rows = 0", "max_rows = 'many'", "max_row = 5"] {
        let sql = export(wrong);
        let errors = Catalog::parse([("x.sql", sql.as_str())], &sqlite());
        let errors: Vec<String> = errors.errors().iter().map(ToString::to_string).collect();
        assert!(errors[0].starts_with("x.sql:3: "), "{wrong}: {errors:?}");
    }
}
