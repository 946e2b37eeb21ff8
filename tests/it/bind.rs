//! Links that work only in the browser that has requested them.

use std::collections::BTreeMap;

use rowlink::http::HttpConfig;
use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use rowlink_link::{Conditions, Keyring, Link, Seal, UserId, sign};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::harness::object_store::ObjectStore;
use crate::harness::process::{FAR_FUTURE, Rowlink};
use crate::harness::{
    Answer, Call, SIGNING_KEY, TestServer, browse, exports, metric, token, token_for, wait_for,
};

fn numbers(more: Value) -> Value {
    let mut request = json!({
        "export": "numbers", "format": "csv", "filters": {"n": 3}, "bind": "cookie",
    });
    let fields = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

/// A link, and the cookie that its response sets.
struct Bound {
    url: String,
    cookie: String,
}

/// Requests a link, from a browser that has this cookie.
fn request(server: &TestServer, more: Value, cookie: Option<&str>) -> Bound {
    let call = server
        .call("POST", "/v1/links")
        .bearer(&token(server.now()));
    let call = match cookie {
        Some(cookie) => call.header("cookie", cookie),
        None => call,
    };
    let answer = call.json(&numbers(more)).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (cookie, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=7200; Path=/; HttpOnly; SameSite=Lax");
    Bound {
        url: answer.json()["url"].as_str().unwrap().to_owned(),
        cookie: cookie.to_owned(),
    }
}

fn value(cookie: &str) -> &str {
    cookie.strip_prefix("rowlink-browser=").unwrap()
}

fn open(method: &'static str, url: &str, cookie: &str) -> Answer {
    Call::new(method, url).header("cookie", cookie).send()
}

fn wrong_browser() -> (u16, String) {
    (403, "wrong-browser".into())
}

#[test]
fn a_link_works_only_with_the_cookie_that_its_response_has_set() {
    let server = TestServer::start();
    for seal in [false, true] {
        let bound = request(&server, json!({"seal": seal}), None);
        let other = request(&server, json!({}), None);
        assert_ne!(bound.cookie, other.cookie);
        assert!(!bound.url.contains(value(&bound.cookie)));
        let both = format!("theme=dark; {}; {}", other.cookie, bound.cookie);
        for cookies in [&bound.cookie, &both] {
            let file = open("GET", &bound.url, cookies);
            assert_eq!((file.status, file.rows().len()), (200, 4));
            assert_eq!(open("HEAD", &bound.url, cookies).status, 200);
        }
        let hash = hex::encode(Sha256::digest(value(&bound.cookie)));
        let as_value = format!("rowlink-browser={hash}");
        let renamed = bound
            .cookie
            .replace("rowlink-browser", "__Host-rowlink-browser");
        let longer = format!("{}A", bound.cookie);
        for cookies in [
            "",
            "rowlink-browser=",
            &other.cookie,
            &as_value,
            &renamed,
            &longer,
        ] {
            let refused = open("GET", &bound.url, cookies);
            assert_eq!(refused.problem(), wrong_browser(), "{cookies}");
            assert_eq!(open("HEAD", &bound.url, cookies).status, 403);
        }
        assert_eq!(
            Call::new("GET", &bound.url).send().problem(),
            wrong_browser()
        );
    }
    let page = request(&server, json!({}), None).url;
    let page = Call::new("GET", page).header("accept", "text/html").send();
    let advice = "Open the link in the browser in which you requested it";
    assert!(
        page.status == 403 && page.text().contains(advice),
        "{}",
        page.text()
    );
}

#[test]
fn a_browser_keeps_its_cookie_and_the_link_has_its_hash() {
    let server = TestServer::start();
    let first = request(&server, json!({}), None);
    let second = request(&server, json!({}), Some(&first.cookie));
    assert_eq!(first.cookie, second.cookie);
    let hash = hex::encode(Sha256::digest(value(&first.cookie)));
    for bound in [&first, &second] {
        assert!(
            bound.url.contains(&format!("&rl_bind={hash}&")),
            "{}",
            bound.url
        );
        assert_eq!(open("GET", &bound.url, &first.cookie).status, 200);
    }
    // Not one that a page or another application has set.
    for bad in ["rowlink-browser=x", &first.cookie[..58], "other=1"] {
        let bound = request(&server, json!({}), Some(bad));
        assert_eq!(value(&bound.cookie).len(), 43);
        assert_ne!(bound.cookie, first.cookie);
    }
}

#[test]
fn a_cookie_is_set_only_for_a_link_that_is_bound() {
    let server = TestServer::start();
    let has_cookie = |answer: &Answer| answer.headers.contains_key("set-cookie");
    for more in [
        json!({"bind": null}),
        json!({"bind": null, "confirm": true}),
    ] {
        let answer = server.issue(numbers(more));
        assert_eq!((answer.status, has_cookie(&answer)), (200, false));
    }
    for wrong in [
        json!("ip"),
        json!("COOKIE"),
        json!(true),
        json!("0".repeat(64)),
    ] {
        let answer = server.issue(numbers(json!({"bind": wrong})));
        assert_eq!(answer.fields(), ["bind"]);
        let message = answer.json()["errors"][0]["message"].clone();
        assert_eq!(message, "expected `cookie`");
        assert!(!has_cookie(&answer));
    }
    let refused = server.issue(numbers(json!({"filters": {}})));
    assert_eq!(refused.fields(), ["filters.n"]);
    assert!(!has_cookie(&refused));
    let unknown = server.issue(numbers(json!({"rl_bind": "x"})));
    let message = unknown.json()["errors"][0]["message"].to_string();
    assert_eq!(message.matches("bind").count(), 1, "{message}");
}

#[test]
fn a_bound_link_may_need_confirmation_too() {
    let server = TestServer::start();
    for seal in [false, true] {
        let bound = request(&server, json!({"confirm": true, "seal": seal}), None);
        let page = |cookie: &str| {
            let call = Call::new("GET", &bound.url).header("cookie", cookie);
            call.header("accept", "text/html").send()
        };
        let shown = page(&bound.cookie);
        assert!(shown.status == 200 && shown.text().contains("<form"));
        let refused = page("");
        assert!(refused.status == 403 && !refused.text().contains("<form"));
        assert_eq!(open("POST", &bound.url, &bound.cookie).rows().len(), 4);
        assert_eq!(open("POST", &bound.url, "").problem(), wrong_browser());
    }
}

#[test]
fn a_download_is_continued_only_in_the_same_browser() {
    let server = TestServer::start();
    let bound = request(&server, json!({"length": "exact"}), None);
    let file = open("GET", &bound.url, &bound.cookie);
    let part = |cookie: &str| {
        let call = Call::new("GET", &bound.url).header("cookie", cookie);
        let call = call.header("range", "bytes=5-");
        call.header("if-range", file.header("etag")).send()
    };
    assert_eq!(part(&bound.cookie).body, file.body[5..]);
    assert_eq!(part("").problem(), wrong_browser());
}

#[test]
fn a_back_end_can_bind_a_link_to_a_cookie_of_its_own() {
    let server = TestServer::start();
    let link = Link {
        export: "numbers".into(),
        format: Some("csv".into()),
        user: UserId::parse("alice").unwrap(),
        id: Uuid::nil(),
        issued: server.now(),
        expires: server.now() + 60,
        conditions: Conditions {
            bind: Some(Sha256::digest("a random text").into()),
            ..Conditions::default()
        },
        filename: None,
        claims: BTreeMap::new(),
        reveal: Vec::new(),
        options: BTreeMap::new(),
        filters: vec![("n".into(), "3".into())],
    };
    let signed = sign(link, &Keyring::parse(SIGNING_KEY).unwrap(), Seal::Open).unwrap();
    let url = format!("{}{}", server.origin, signed.path_and_query());
    let file = open("GET", &url, "rowlink-browser=a random text");
    assert_eq!((file.status, file.rows().len()), (200, 4));
    assert_eq!(
        open("GET", &url, "rowlink-browser=a random").problem(),
        wrong_browser()
    );
}

#[test]
fn over_https_the_cookie_is_for_this_host_only_and_no_log_has_it() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_LOG", "trace")]);
    let issued = rowlink.issue(numbers(json!({})));
    let (cookie, attributes) = issued.header("set-cookie").split_once("; ").unwrap();
    let value = cookie.strip_prefix("__Host-rowlink-browser=").unwrap();
    assert!(
        attributes.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{attributes}"
    );
    let url = rowlink.link_in(&issued);
    assert_eq!(open("GET", &url, cookie).status, 200);
    let without_prefix = cookie.trim_start_matches("__Host-");
    assert_eq!(open("GET", &url, without_prefix).problem(), wrong_browser());
    let again = rowlink.origin().to_owned() + "/v1/links";
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE}));
    let again = Call::new("POST", again)
        .bearer(&token)
        .header("cookie", cookie);
    let again = again.json(&numbers(json!({}))).send();
    assert!(again.header("set-cookie").contains(value));
    let log = rowlink.stop();
    assert!(
        log.contains("wrong-browser") && !log.contains(value),
        "{log}"
    );
}

#[test]
fn scripts_of_another_origin_may_send_the_cookie_only_where_credentials_are_allowed() {
    for jwt_cookie in [None, Some("session".to_owned())] {
        let server = TestServer::with(|deployment| {
            deployment.http_config = HttpConfig {
                cors_origins: vec!["https://shop.example.com".into()],
                jwt_cookie: jwt_cookie.clone(),
                ..HttpConfig::default()
            };
        });
        let call = server
            .call("POST", "/v1/links")
            .bearer(&token(server.now()));
        let call = call.header("origin", "https://shop.example.com");
        let answer = call.json(&numbers(json!({}))).send();
        assert!(answer.headers.contains_key("set-cookie"));
        let allows = answer
            .headers
            .contains_key("access-control-allow-credentials");
        assert_eq!(allows, jwt_cookie.is_some());
    }
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_bound_link_leads_to_no_url_that_works_in_every_browser() {
    let variables = ObjectStore::seaweedfs().bucket("bind");
    let store = StoreUrl::parse(&variables[0].1).unwrap();
    let store = store.connect(variables).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sql = "/*---\n[store]\nmode = 'always'\nreuse_seconds = 300\n---*/\nselect 1 as n where :user = 'alice'";
    let server = TestServer::with(|deployment| {
        deployment.exports = vec![("numbers.sql", sql)];
        deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 20));
        deployment.store = Some(store);
    });
    let bound = request(&server, json!({"filters": {}, "prepare": true}), None);
    wait_for("the upload", std::time::Duration::from_secs(60), || {
        let uploads =
            "rowlink_uploads_total{export=\"numbers\",format=\"csv\",outcome=\"complete\"} ";
        metric(&server.origin, uploads) == 1
    });
    let file = open("GET", &bound.url, &bound.cookie);
    assert_eq!((file.status, file.rows().len()), (200, 2));
    assert_eq!(open("GET", &bound.url, "").problem(), wrong_browser());
    let unbound = json!({"export": "numbers", "format": "csv"});
    assert_eq!(Call::new("GET", server.link(unbound)).send().status, 303);
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn chromium_keeps_the_cookie_and_another_browser_is_refused() {
    let server = TestServer::start();
    let requests = [
        numbers(json!({})),
        numbers(json!({"seal": true})),
        numbers(json!({"confirm": true})),
    ];
    let expected = server.download(numbers(json!({"bind": null}))).body;
    let expected = hex::encode(Sha256::digest(expected));
    let task = json!({
        "origin": server.origin, "token": token(server.now()), "requests": requests,
    });
    let seen = browse(&json!({"bound": task}));
    let file = json!({"name": "numbers.csv", "sha256": expected, "failure": null});
    assert_eq!(seen["files"], json!([file, file, file]));
    let advice = "Open the link in the browser in which you requested it";
    for page in seen["refused"].as_array().unwrap() {
        assert_eq!(page["status"], 403, "{page}");
        assert!(page["text"].as_str().unwrap().contains(advice), "{page}");
    }
    assert_eq!(seen["cookies"], json!(["rowlink-browser"]));
    assert_eq!(seen["scripts"], "");
}
