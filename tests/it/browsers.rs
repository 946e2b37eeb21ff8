//! Browsers: error pages, CORS, content codings and the names of saved files.

use std::io::Read as _;
use std::process::Command;

use flate2::read::GzDecoder;
use rowlink::http::HttpConfig;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Call, TestServer, begin, browse, is_whole, token, unchunked};

const NAVIGATION: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn server(http_config: HttpConfig) -> TestServer {
    TestServer::with(|deployment| deployment.http_config = http_config)
}

fn orders() -> serde_json::Value {
    json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}})
}

#[test]
fn a_navigation_gets_an_error_page_and_other_requests_get_problem_json() {
    let server = server(HttpConfig {
        return_url: Some("https://shop.example.com/?a=1&b=2".into()),
        ..HttpConfig::default()
    });
    let link = server.link(orders());
    server.set_clock(server.now() + 72);
    let ask = |accept: &str| {
        Call::new("GET", link.clone())
            .header("accept", accept)
            .send()
    };
    let page = ask(NAVIGATION);
    assert_eq!(page.status, 410);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("vary"), "Accept, Accept-Language");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let text = page.text();
    assert!(
        text.contains("<h1>This download link expired 12 seconds ago</h1>"),
        "{text}"
    );
    assert!(
        text.contains("<p>Go back and press Export again.</p>"),
        "{text}"
    );
    assert!(
        text.contains(
            "href=\"https://shop.example.com/?a=1&amp;b=2&amp;export=orders&amp;format=csv&amp;filter.from=2026-01-01&amp;"
        ),
        "{text}"
    );
    assert!(text.contains("<code>410 link-expired</code>"), "{text}");
    assert!(text.contains(page.header("x-request-id")), "{text}");
    assert!(
        !text.contains("<script") && !text.contains("rl_signature"),
        "{text}"
    );
    for accept in [
        "*/*",
        "application/json",
        "text/html;q=0.5, application/json",
        "text/plain",
    ] {
        assert_eq!(
            ask(accept).problem(),
            (410, "link-expired".into()),
            "{accept}"
        );
    }
    let nowhere = server
        .call("GET", "/nowhere")
        .header("accept", "application/problem+json");
    assert_eq!(nowhere.send().status, 404);
}

#[test]
#[ignore = "needs curl: make test"]
fn only_listed_origins_get_cors_headers() {
    let server = server(HttpConfig {
        cors_origins: vec!["https://shop.example.com".into()],
        ..HttpConfig::default()
    });
    let preflight = |origin: &str| {
        let url = format!("{}/v1/links", server.origin);
        let run = Command::new("curl")
            .args([
                "-s",
                "-i",
                "-X",
                "OPTIONS",
                "-H",
                &format!("Origin: {origin}"),
            ])
            .args(["-H", "Access-Control-Request-Method: POST"])
            .args([
                "-H",
                "Access-Control-Request-Headers: authorization,baggage,content-type,sentry-trace",
                &url,
            ])
            .output();
        String::from_utf8(run.unwrap().stdout)
            .unwrap()
            .to_lowercase()
    };
    let good = preflight("https://shop.example.com");
    assert!(good.starts_with("http/1.1 204"), "{good}");
    assert!(good.contains("access-control-allow-origin: https://shop.example.com\r\n"));
    assert!(good.contains("access-control-allow-methods: get, head, post\r\n"));
    let allowed =
        "access-control-allow-headers: authorization,baggage,content-type,sentry-trace\r\n";
    assert!(good.contains(allowed), "{good}");
    assert!(good.contains("access-control-max-age: 7200\r\n"));
    assert!(!good.contains("allow-credentials"), "{good}");
    for origin in [
        "https://shop.example.com.evil.example",
        "http://shop.example.com",
        "null",
        "*",
    ] {
        let refused = preflight(origin);
        assert!(refused.starts_with("http/1.1 405"), "{origin}: {refused}");
        assert!(!refused.contains("access-control"), "{origin}: {refused}");
    }

    let ask = |origin: &'static str, answer: Call| answer.header("origin", origin).send();
    let listed = "https://shop.example.com";
    let readable = |answer: &Answer| answer.headers.contains_key("access-control-allow-origin");
    let issued = ask(
        listed,
        server
            .call("POST", "/v1/links")
            .bearer(&token(server.now()))
            .json(&orders()),
    );
    assert!(readable(&issued) && issued.header("vary").contains("Origin"));
    let refused = ask(listed, server.call("POST", "/v1/links").json(&orders()));
    assert!(
        refused.status == 401 && readable(&refused),
        "scripts must be able to read errors"
    );
    let file = ask(listed, Call::new("GET", server.link(orders())));
    let exposed = file.header("access-control-expose-headers");
    assert!(exposed.contains("Content-Disposition") && exposed.contains("Rowlink-Link-Id"));
    assert!(!readable(&ask(
        "https://evil.example",
        Call::new("GET", server.link(orders()))
    )));
    assert!(!readable(&ask(listed, server.call("GET", "/healthz"))));
    let same_origin = Call::new("GET", server.link(orders())).send();
    assert!(
        !readable(&same_origin)
            && same_origin
                .headers
                .get_all("vary")
                .iter()
                .any(|it| it == "Origin")
    );
}

#[test]
fn cors_allows_credentials_only_with_a_configured_cookie() {
    let server = server(HttpConfig {
        cors_origins: vec!["https://shop.example.com".into()],
        jwt_cookie: Some("session".into()),
        ..HttpConfig::default()
    });
    let answer = server
        .call("GET", "/v1/exports")
        .header("origin", "https://shop.example.com")
        .send();
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
}

#[test]
fn a_csv_is_sent_in_the_preferred_coding_and_decodes_to_the_same_bytes() {
    let server = TestServer::start();
    let get = |accept: Option<&str>, request: serde_json::Value| {
        let call = Call::new("GET", server.link(request));
        match accept {
            Some(accept) => call.header("accept-encoding", accept).send(),
            None => call.send(),
        }
    };
    let plain = get(None, orders());
    let coding = |answer: &Answer| match answer.headers.get("content-encoding") {
        Some(value) => value.to_str().unwrap().to_owned(),
        None => "none".to_owned(),
    };
    assert_eq!(
        (coding(&plain).as_str(), plain.header("vary")),
        ("none", "Accept-Encoding")
    );
    for (accept, expected) in [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, zstd;q=0.5", "gzip"),
        ("gzip;q=0, *;q=0.1", "zstd"),
        ("*", "zstd"),
        ("br", "none"),
        ("identity", "none"),
        ("gzip;q=0", "none"),
        ("", "none"),
    ] {
        let answer = get(Some(accept), orders());
        assert_eq!(coding(&answer), expected, "{accept}");
        assert_eq!(decode(&answer.body, expected), plain.body, "{accept}");
    }
    let workbook = json!({"export": "orders", "format": "xlsx", "filters": {"from": "2026-01-01"}});
    assert_eq!(coding(&get(Some("gzip, zstd"), workbook)), "none");
    let head = Call::new("HEAD", server.link(orders()))
        .header("accept-encoding", "gzip")
        .send();
    assert_eq!(coding(&head), "none");
}

fn decode(body: &[u8], coding: &str) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut text = Vec::new();
            GzDecoder::new(body).read_to_end(&mut text).unwrap();
            text
        }
        "zstd" => zstd::decode_all(body).unwrap(),
        _ => body.to_vec(),
    }
}

#[test]
#[ignore = "needs curl: make test"]
fn curl_and_gzip_decode_a_long_download_and_detect_a_truncated_one() {
    let server = TestServer::start();
    let numbers = |n: u64, fail_at: Option<u64>| {
        server.link(
            json!({"export": "numbers", "format": "csv", "filters": {"n": n, "fail_at": fail_at}}),
        )
    };
    let curl = |url: &str| {
        let run = Command::new("curl")
            .args(["-s", "-H", "Accept-Encoding: gzip", url])
            .output();
        let run = run.unwrap();
        (run.status.code(), run.stdout)
    };
    let (code, body) = curl(&numbers(200_000, None));
    assert_eq!(code, Some(0));
    let text = decode(&body, "gzip");
    assert!(text.ends_with(b"\r\n200000,,row 200000 of alice\r\n"));
    let (code, body) = curl(&numbers(200_000, Some(150_000)));
    assert_eq!(code, Some(56), "curl accepts a truncated file");
    let mut part = Vec::new();
    assert!(
        GzDecoder::new(body.as_slice())
            .read_to_end(&mut part)
            .is_err(),
        "gzip accepts a truncated file"
    );
}

#[test]
fn the_first_rows_of_a_slow_query_arrive_compressed_before_the_query_ends() {
    // The third row takes longer than any test.
    let slow = "with recursive n(i) as (select 1 union all select i + 1 from n) \
                select i as id, :user as user from n where i < 3 or i > 1e15";
    let server = TestServer::with_exports(vec![("slow.sql", slow)]);
    let url = server.link(json!({"export": "slow", "format": "csv"}));
    let mut stream = crate::harness::begin_with(&url, "Accept-Encoding: gzip\r\n");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended");
        answer.extend_from_slice(&buffer[..count]);
        let (coded, _) = unchunked(&answer);
        let mut text = Vec::new();
        let _ = GzDecoder::new(coded.as_slice()).read_to_end(&mut text);
        if text == b"id,user\r\n1,alice\r\n2,alice\r\n" {
            break;
        }
    }
    assert!(!is_whole(&answer));
    drop(begin(&url));
}

#[test]
#[ignore = "needs Chromium, Node and curl: make test"]
fn chromium_and_curl_save_files_under_their_names() {
    let server = TestServer::start();
    let names = [
        (
            "Bestellungen März",
            "Bestellungen März.csv",
            "Bestellungen M_rz.csv",
        ),
        ("注文 2026", "注文 2026.csv", "__ 2026.csv"),
        ("דוח", "דוח.csv", "___.csv"),
        ("sales 🚀.csv", "sales 🚀.csv", "sales _.csv"),
        ("100%25 of it's", "100%25 of it's.csv", "100_25 of it's.csv"),
        ("a;b=c, d", "a;b=c, d.csv", "a;b=c, d.csv"),
        ("say \"hello\"", "say _hello_.csv", "say _hello_.csv"),
        (
            "invoice.pdf.exe",
            "invoice.pdf.exe.csv",
            "invoice.pdf.exe.csv",
        ),
    ];
    let link = |name: &str| {
        let mut request = orders();
        request["filename"] = json!(name);
        server.link(request)
    };
    let expected = hex::encode(Sha256::digest(server.download(orders()).body));
    let urls: Vec<String> = names.iter().map(|(name, _, _)| link(name)).collect();
    let saved = browse(&json!({"downloads": urls}));
    for ((name, by_chromium, by_curl), saved) in names.iter().zip(saved.as_array().unwrap()) {
        assert_eq!(saved["name"], *by_chromium, "{name}");
        assert_eq!(saved["sha256"], expected, "{name}");
        assert_eq!(saved["failure"], json!(null), "{name}");
        let folder = tempfile::tempdir().unwrap();
        let run = Command::new("curl")
            .args(["-sOJ", &link(name)])
            .current_dir(folder.path())
            .status();
        assert!(run.unwrap().success());
        assert!(
            folder.path().join(by_curl).exists(),
            "{name}: {:?}",
            folder.path().read_dir().unwrap().next()
        );
    }
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn an_error_page_fits_a_phone_in_light_and_dark_mode_and_loads_nothing_else() {
    let server = server(HttpConfig {
        return_url: Some("https://shop.example.com/".into()),
        ..HttpConfig::default()
    });
    let url = server.link(orders());
    server.set_clock(server.now() + 3 * 3600);
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(320, "light"), (1280, "dark")] {
        let seen = browse(&json!({"page": {"url": url, "width": width, "colorScheme": scheme}}));
        assert_eq!(
            (&seen["status"], &seen["overflows"]),
            (&json!(410), &json!(false)),
            "{seen}"
        );
        assert_eq!(seen["heading"], "This download link expired 2 hours ago");
        assert!(
            seen["text"]
                .as_str()
                .unwrap()
                .contains("Back to the application")
        );
        let back = seen["back"].as_str().unwrap();
        let file = "?export=orders&format=csv&filter.from=2026-01-01&filter.limit=100";
        assert_eq!(back, format!("https://shop.example.com/{file}"));
        assert_eq!(
            (&seen["requests"], &seen["scripts"]),
            (&json!(["/v1/exports/orders.csv"]), &json!(0))
        );
        // The console has the status and any violation of the page's Content-Security-Policy.
        let console = seen["console"].as_array().unwrap();
        let is_violation =
            |line: &&serde_json::Value| line.as_str().unwrap().contains("Security Policy");
        assert_eq!(
            console.iter().filter(is_violation).count(),
            0,
            "{console:?}"
        );
        assert_ne!(seen["background"], seen["color"]);
        backgrounds.push(seen["background"].clone());
    }
    assert_ne!(
        backgrounds[0], backgrounds[1],
        "light and dark mode have the same background"
    );
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn an_error_page_leads_back_to_a_page_of_the_same_site_only() {
    let server = server(HttpConfig::default());
    let url = server.link(orders());
    server.set_clock(server.now() + 3600);
    // A port is no part of a site.
    let other_port = TestServer::start();
    let same_site = format!("{}/healthz", other_port.origin);
    let cross_site = same_site.replace("127.0.0.1", "localhost");
    let same_origin = format!("{}/healthz", server.origin);
    for (from, back) in [
        (Some(&same_origin), json!(same_origin)),
        // Browsers do not tell other origins the path.
        (Some(&same_site), json!(format!("{}/", other_port.origin))),
        (Some(&cross_site), json!(null)),
        (None, json!(null)),
    ] {
        let task = json!({"url": url, "from": from, "width": 390, "colorScheme": "light"});
        let seen = browse(&json!({ "page": task }));
        assert_eq!(
            (&seen["status"], &seen["back"]),
            (&json!(410), &back),
            "{from:?}"
        );
        let text = seen["text"].as_str().unwrap();
        assert_eq!(
            text.contains("open the application"),
            back.is_null(),
            "{text}"
        );
    }
}
