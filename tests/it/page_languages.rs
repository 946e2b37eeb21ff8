//! The language of pages for people: by `Accept-Language`, else English. Programs get the same in every language.

use rowlink::service::QuotaLimits;
use serde_json::json;

use crate::harness::process::Demo;
use crate::harness::{Answer, Call, TestServer, UNLIMITED, browse, token};

const NAVIGATION: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// What a browser in Austria sends.
const GERMAN: &str = "de-AT,de;q=0.9,en;q=0.5";

fn orders(server: &TestServer) -> String {
    server.link(json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}}))
}

fn open_page(url: &str, languages: &str) -> Answer {
    let call = Call::new("GET", url).header("accept", NAVIGATION);
    call.header("accept-language", languages).send()
}

/// Checks that a page is in a language, and has these texts.
fn assert_page(page: &Answer, language: &str, texts: &[&str]) {
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("content-language"), language);
    assert_eq!(page.header("vary"), "Accept, Accept-Language");
    let html = page.text();
    let start = format!("<!doctype html>\n<html lang=\"{language}\">");
    assert!(html.starts_with(&start), "{html}");
    let (_, main) = html.split_once("<main>").unwrap();
    assert!(!main.contains('{'), "a placeholder in {main}");
    for text in texts {
        assert!(main.contains(text), "no {text} in {main}");
    }
}

#[test]
fn an_error_page_is_in_the_language_that_the_browser_prefers() {
    let server = TestServer::start();
    let link = orders(&server);
    server.set_clock(server.now() + 72);
    let german = [
        "<h1>Dieser Download-Link ist vor 12 Sekunden abgelaufen</h1>",
        "<p>Gehen Sie zurück und exportieren Sie erneut.</p>",
        "nennen Sie dem Betreiber dies: <code>410 link-expired</code>, Anfrage <code>",
    ];
    let english = [
        "<h1>This download link expired 12 seconds ago</h1>",
        "<p>Go back and press Export again.</p>",
    ];
    let page = open_page(&link, GERMAN);
    assert_eq!(page.status, 410);
    assert_page(&page, "de", &german);
    for (languages, language) in [
        ("fr-CA, de;q=0.2", "de"),
        ("DE-ch", "de"),
        ("en, de;q=0.9", "en"),
        ("fr", "en"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("", "en"),
    ] {
        let texts = match language {
            "de" => &german[..],
            _ => &english,
        };
        let translated = open_page(&link, languages);
        assert_eq!(translated.status, 410, "{languages}");
        assert_page(&translated, language, texts);
        let policy = translated.header("content-security-policy");
        assert_eq!(policy, page.header("content-security-policy"));
    }
    let without = Call::new("GET", &link).header("accept", NAVIGATION).send();
    assert_page(&without, "en", &english);
}

#[test]
fn programs_get_the_same_in_every_language() {
    let server = TestServer::start();
    let link = orders(&server);
    let ask = |method: &'static str, url: &str| {
        let plain = Call::new(method, url).send();
        let german = Call::new(method, url).header("accept-language", GERMAN);
        (plain, german.send())
    };
    let (plain, german) = ask("GET", &link);
    assert_eq!((german.status, &german.body), (200, &plain.body));
    let (_, head) = ask("HEAD", &link);
    assert_eq!(head.status, 200);
    server.set_clock(server.now() + 72);
    let (plain, problem) = ask("GET", &link);
    let title = "The link expired; ask for a new one";
    assert_eq!(plain.json()["title"], title);
    assert_eq!(problem.json()["title"], title);
    let (_, refused) = ask("HEAD", &link);
    assert_eq!(refused.status, 410);
    for answer in [&german, &head] {
        assert_eq!(answer.header("vary"), "Accept-Encoding");
    }
    for answer in [&problem, &refused] {
        assert_eq!(answer.header("vary"), "Accept");
    }
    for answer in [german, head, problem, refused] {
        assert!(!answer.headers.contains_key("content-language"));
    }
}

#[test]
fn invalid_fields_are_marked_as_english_on_a_german_page() {
    let server = TestServer::start();
    let token = token(server.now());
    let ask = |languages: &str| {
        let call = server.call("GET", "/v1/exports/orders.csv?from=soon");
        let call = call.bearer(&token).header("accept", NAVIGATION);
        call.header("accept-language", languages).send()
    };
    let page = ask(GERMAN);
    assert_eq!(page.status, 422);
    let texts = [
        "<h1>Einige Werte passen nicht</h1>",
        "<ul lang=\"en\">\n<li><code>filters.from</code>: ",
        "ändern Sie diese Werte",
    ];
    assert_page(&page, "de", &texts);
    let texts = ["<ul>\n<li><code>filters.from</code>: "];
    assert_page(&ask("en"), "en", &texts);
}

#[test]
fn a_page_that_counts_down_is_in_the_language_of_the_browser() {
    let server = TestServer::with(|deployment| {
        deployment.limits = QuotaLimits {
            downloads_per_user: 0,
            ..UNLIMITED
        };
    });
    let page = open_page(&orders(&server), GERMAN);
    assert_eq!(page.status, 429);
    let texts = [
        "<h1>Ein Limit ist erreicht</h1>",
        "<p role=\"timer\">Diese Seite versucht es in <span class=\"wait\"><span>5</span></span> Sekunden erneut.",
        ">Erneut versuchen</a>",
    ];
    assert_page(&page, "de", &texts);
}

#[test]
fn the_page_that_asks_for_confirmation_is_in_the_language_of_the_browser() {
    let server = TestServer::start();
    let link = |format: &str| {
        server.link(json!({
            "export": "orders", "format": format, "filters": {"from": "2026-01-01"},
            "confirm": true, "expires_in": 600, "filename": "<b>{left}",
        }))
    };
    let page = open_page(&link("csv"), GERMAN);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-language"), "de");
    assert_eq!(page.header("vary"), "Accept, Accept-Language");
    let html = page.text();
    for expected in [
        "<html lang=\"de\">",
        "<h1>Diese Datei herunterladen?</h1>",
        // What a link says is neither HTML nor a placeholder.
        "&lt;b&gt;{left}.csv</bdi></strong><br>CSV</p>",
        ">Herunterladen</button>",
        "noch 10 Minuten gültig, bis <time datetime=\"2026-01-31T10:10:00Z\">31.01.2026, 10:10 Uhr (UTC)</time>",
    ] {
        assert!(html.contains(expected), "no {expected} in {html}");
    }
    let workbook = open_page(&link("xlsx"), GERMAN).text();
    assert!(
        workbook.contains("<br>Excel-Arbeitsmappe</p>"),
        "{workbook}"
    );
    let english = open_page(&link("xlsx"), "fr");
    assert_eq!(english.header("content-language"), "en");
    let html = english.text();
    assert!(html.contains("<br>Excel workbook</p>"), "{html}");
}

#[test]
fn a_link_that_names_a_language_decides_that_of_its_page() {
    let server = TestServer::start();
    // Whether the parameter is known: the signature does not cover it.
    let url = format!("{}&rl_language=de", orders(&server));
    let page = open_page(&url, "en");
    assert!(page.status >= 400, "{}", page.status);
    assert_page(&page, "de", &["Gehen Sie zurück"]);
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_demo_is_in_the_language_of_the_browser() {
    let demo = Demo::start();
    let seen = browse(&json!({"demo_in": {"origin": demo.origin(), "locale": "de-AT"}}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(
        (&seen["language"], &seen["title"], &seen["name"]),
        (&json!("de"), &json!("Rowlink-Demo"), &json!("orders.csv"))
    );
    assert_eq!(
        seen["buttons"],
        json!(["Exportieren", "Link wird erstellt …", "Exportieren"])
    );
    let started = seen["started"].as_str().unwrap();
    assert!(
        started.starts_with("Ihr Browser lädt orders.csv"),
        "{started}"
    );
    let estimate = seen["estimate"].as_str().unwrap();
    assert!(estimate.contains(" Zeilen, "), "{estimate}");
    assert_eq!(seen["overflows"], false);
    demo.stop();
}
