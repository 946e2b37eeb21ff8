//! What the page of a refused download offers: another attempt, a new link, and the application with the same file.

use std::thread;
use std::time::Duration;

use rowlink::config::revocations_file;
use rowlink::http::HttpConfig;
use rowlink::service::QuotaLimits;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::harness::{
    Answer, Call, TestServer, UNLIMITED, browse, metric, token, token_for, wait_for,
};
use crate::operators::hold;

const PLAIN: &str = "/v1/exports/orders.csv?from=2026-01-01";
const RETURN_URL: &str = "https://shop.example.com/orders";

/// Serves a deployment whose users have a cookie, and an application to go back to.
fn server() -> TestServer {
    TestServer::with(|deployment| {
        deployment.http_config = HttpConfig {
            jwt_cookie: Some("session".into()),
            return_url: Some(RETURN_URL.into()),
            ..HttpConfig::default()
        };
    })
}

fn orders(more: Value) -> Value {
    let mut request = json!({
        "export": "orders", "format": "csv",
        "filters": {"from": "2026-01-01", "status": ["paid", "refunded"]},
    });
    let fields = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

fn open_page(url: &str) -> Answer {
    Call::new("GET", url).header("accept", "text/html").send()
}

/// Returns the target of a button, if the page has it.
fn target(page: &Answer, button: &str) -> Option<String> {
    let text = page.text();
    let (before, _) = text.split_once(&format!("\">{button}</a>"))?;
    let (_, href) = before.rsplit_once("href=\"")?;
    Some(href.replace("&amp;", "&"))
}

fn again(page: &Answer) -> Option<String> {
    target(page, "Try again")
}

fn back(page: &Answer) -> String {
    target(page, "Back to the application").unwrap_or_default()
}

#[test]
fn an_expired_link_is_tried_again_by_a_plain_link_with_its_filters() {
    let server = server();
    let expected = server.download(orders(json!({}))).text();
    let link = server.link(orders(json!({})));
    server.set_clock(server.now() + 7200);
    let page = open_page(&link);
    assert_eq!(page.status, 410);
    let href = again(&page).expect("a button");
    assert_eq!(
        href,
        "?from=2026-01-01&limit=100&status=paid&status=refunded"
    );
    assert!(!page.text().contains("rl_") && !page.text().contains("http-equiv"));
    let plain = Url::parse(&link).unwrap().join(&href).unwrap();
    let session = format!("session={}", token(server.now()));
    let click = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let mut call = Call::new("GET", plain).header("cookie", session);
    for (name, value) in click {
        call = call.header(name, value);
    }
    let redirect = call.send();
    assert_eq!(redirect.status, 303, "{}", redirect.text());
    let file = Call::new("GET", redirect.header("location")).send();
    assert_eq!(file.text(), expected);
}

#[test]
fn a_new_link_is_offered_only_for_the_same_file() {
    let server = server();
    let new_link = "?from=2026-01-01&limit=100&status=paid&status=refunded";
    let file = "export=orders&format=csv";
    let filters =
        "&filter.from=2026-01-01&filter.limit=100&filter.status=paid&filter.status=refunded";
    let with_filters = format!("{RETURN_URL}?{file}{filters}");
    let hidden = format!("{RETURN_URL}?{file}");
    let cases = [
        (json!({}), Some(new_link), &with_filters),
        (json!({"length": "exact"}), Some(new_link), &with_filters),
        (json!({"filename": "x"}), Some(new_link), &with_filters),
        // A plain link has no columns.
        (json!({"columns": ["id"]}), None, &with_filters),
        (json!({"csv": {"delimiter": ";"}}), None, &with_filters),
        (json!({"seal": true}), None, &hidden),
    ];
    let links = cases.map(|(more, retry, back)| {
        let link = server.link(orders(more));
        (link, retry, back)
    });
    server.set_clock(server.now() + 7200);
    for (link, retry, expected) in links {
        let page = open_page(&link);
        assert_eq!(page.status, 410);
        assert_eq!(again(&page).as_deref(), retry, "{link}");
        assert_eq!(back(&page), **expected, "{link}");
    }
}

#[test]
fn a_page_offers_another_attempt_only_if_it_can_succeed() {
    let server = server();
    let link = server.link(orders(json!({})));
    let forged = link.replace("rl_user=alice", "rl_user=bob");
    let page = open_page(&forged);
    assert_eq!((page.status, again(&page)), (403, None));
    assert_eq!(back(&page), RETURN_URL, "what a forged link says");

    let elsewhere = server.link(orders(json!({"ip": "192.0.2.0/24"})));
    let page = open_page(&elsewhere);
    assert_eq!(page.status, 403);
    assert!(again(&page).is_some_and(|href| href.starts_with("?from=")));

    let early = server.link(orders(json!({"not_before": "2026-01-31T10:00:30Z"})));
    let page = open_page(&early);
    assert_eq!((page.status, again(&page)), (403, Some(String::new())));

    let other_scope = token_for(&json!({"sub": "alice", "exp": server.now() + 60}));
    let ask = |target: &str, token: &str| {
        let call = server.call("GET", target).header("accept", "text/html");
        call.bearer(token).send()
    };
    let page = ask(PLAIN, &other_scope);
    assert_eq!((page.status, again(&page)), (403, None));
    assert_eq!(back(&page), RETURN_URL);
    let token = token(server.now());
    for target in ["/v1/exports/none.csv", "/v1/exports/orders.pdf"] {
        let page = ask(target, &token);
        assert_eq!((page.status, again(&page)), (404, None), "{target}");
        assert_eq!(back(&page), RETURN_URL, "{target}");
    }
    // Its values can be changed in the application.
    let page = ask("/v1/exports/orders.csv?from=soon", &token);
    assert_eq!((page.status, again(&page)), (422, None));
    let wrong = "export=orders&format=csv&filter.from=soon";
    assert_eq!(back(&page), format!("{RETURN_URL}?{wrong}"));

    let watermark = revocations_file::parse("issued_before = 2100-01-01T00:00:00Z").unwrap();
    server.state.service.set_revocations(watermark);
    let page = open_page(&link);
    assert_eq!(page.status, 410);
    assert!(again(&page).is_some_and(|href| href.starts_with("?from=")));
}

#[test]
fn without_cookies_the_application_is_the_only_way_to_a_new_link() {
    let server = TestServer::start();
    let link = server.link(orders(json!({})));
    server.set_clock(server.now() + 7200);
    let page = open_page(&link);
    assert_eq!((page.status, again(&page)), (410, None));
    assert_eq!(back(&page), "");
}

#[test]
fn only_the_page_of_a_signed_link_reloads_itself_after_the_wait() {
    let server = TestServer::with(|deployment| {
        deployment.http_config.jwt_query_param = Some("access_token".into());
        deployment.http_config.return_url = Some(RETURN_URL.into());
        deployment.limits = QuotaLimits {
            downloads_per_user: 0,
            links_per_second: 2,
            ..UNLIMITED
        };
    });
    for more in [json!({}), json!({"seal": true})] {
        let page = open_page(&server.link(orders(more)));
        assert_eq!((page.status, again(&page)), (429, Some(String::new())));
        assert_eq!(page.header("retry-after"), "2");
        let text = page.text();
        let refresh = "<meta http-equiv=\"refresh\" content=\"5\">";
        assert!(
            text.contains(refresh) && text.contains("role=\"timer\""),
            "{text}"
        );
    }
    let token = token(server.now());
    let plain = format!("{}{PLAIN}&access_token={token}", server.origin);
    let page = open_page(&plain);
    assert_eq!((page.status, again(&page)), (429, Some(String::new())));
    let text = page.text();
    assert!(
        !text.contains("http-equiv") && text.contains("role=\"timer\""),
        "{text}"
    );
    assert!(!text.contains(&token), "{text}");
    let file = "export=orders&format=csv&filter.from=2026-01-01";
    assert_eq!(back(&page), format!("{RETURN_URL}?{file}"));
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_page_counts_down_reloads_itself_and_downloads_once_there_is_capacity() {
    let server = TestServer::with(|deployment| {
        deployment.stall_max = Duration::from_secs(600);
        deployment.limits = QuotaLimits {
            downloads: 1,
            ..UNLIMITED
        };
    });
    let numbers = |n: u64| json!({"export": "numbers", "format": "csv", "filters": {"n": n}});
    let file = hex::encode(Sha256::digest(server.download(numbers(5)).body));
    let url = server.link(numbers(5));
    for reduced_motion in ["no-preference", "reduce"] {
        wait_for(
            "the end of other downloads",
            Duration::from_secs(10),
            || server.state.service.downloads() == 0,
        );
        let refused = "rowlink_requests_refused_total{route=\"/v1/exports/{export}.{format}\",code=\"replica-limit\"}";
        let before = metric(&server.origin, refused);
        let held = hold(&server, &server.link(numbers(9_000_000)));
        let task = json!({"url": url, "reducedMotion": reduced_motion});
        let seen = thread::scope(|scope| {
            let browser = scope.spawn(|| browse(&json!({"reloading": task})));
            // The second one is by the page itself.
            wait_for("a reload", Duration::from_secs(60), || {
                metric(&server.origin, refused) >= before + 2
            });
            drop(held);
            browser.join().unwrap()
        });
        assert_eq!(seen["status"], 503, "{seen}");
        let timer =
            "This page tries again in 5 seconds. You can close it when the download begins.";
        assert_eq!(seen["timer"], timer);
        let numbers: Vec<u64> = serde_json::from_value(seen["numbers"].clone()).unwrap();
        let counts_down = numbers.len() > 1 && numbers.is_sorted_by(|one, next| one > next);
        assert_eq!(counts_down, reduced_motion == "no-preference", "{seen}");
        assert!(seen["requests"].as_u64().unwrap() >= 3, "{seen}");
        assert_eq!(
            (&seen["name"], &seen["sha256"], &seen["failure"]),
            (&json!("numbers.csv"), &json!(file), &Value::Null)
        );
        let console = seen["console"].to_string();
        assert!(!console.contains("Security Policy"), "{console}");
    }
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_click_on_the_page_of_an_expired_link_downloads_the_file_by_a_new_link() {
    let server = server();
    let expected = hex::encode(Sha256::digest(server.download(orders(json!({}))).body));
    let link = server.link(orders(json!({})));
    server.set_clock(server.now() + 7200);
    let cookie = json!({"name": "session", "value": token(server.now())});
    let seen = browse(&json!({"renewed": {"url": link, "cookie": cookie}}));
    let file = json!({"status": 410, "name": "orders.csv", "sha256": expected, "failure": null});
    assert_eq!(seen, file);
}
