//! Unsigned URLs with a credential redirect to a signed link.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use rowlink::http::HttpConfig;
use serde_json::json;

use crate::harness::command::run;
use crate::harness::process::{FAR_FUTURE, PUBLIC_URL, Rowlink};
use crate::harness::{API_KEY, Answer, Call, TestServer, exports, token, token_for};

const PLAIN: &str = "/v1/exports/orders.csv?from=2026-01-01";

fn server(http_config: HttpConfig) -> TestServer {
    TestServer::with(|deployment| deployment.http_config = http_config)
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    answer.header("location").to_owned()
}

#[test]
fn an_unsigned_url_with_a_credential_redirects_to_a_signed_link() {
    let server = server(HttpConfig::default());
    let token = token(server.now());
    let plain = format!("{PLAIN}&status=paid&status=refunded");
    for method in ["GET", "HEAD"] {
        let signed = location(&server.call(method, &plain).bearer(&token).send());
        assert!(
            signed.contains("rl_user=alice") && signed.contains("&status=paid&status=refunded")
        );
        let by_post = server.download(json!({
            "export": "orders", "format": "csv",
            "filters": {"from": "2026-01-01", "status": ["paid", "refunded"]},
        }));
        assert_eq!(Call::new("GET", signed).send().text(), by_post.text());
    }
    let workbook = server
        .call("GET", "/v1/exports/orders.xlsx?from=2026-01-01")
        .bearer(&token);
    assert!(location(&workbook.send()).contains("/v1/exports/orders.xlsx?"));
    let no_query = server.call("GET", "/v1/exports/types.csv").bearer(&token);
    assert!(location(&no_query.send()).contains("/v1/exports/types.csv?rl_expires="));
}

#[test]
fn an_unsigned_url_is_refused_like_the_same_post() {
    let server = server(HttpConfig::default());
    let token = token(server.now());
    let ask = |target: &str| server.call("GET", target).bearer(&token).send();
    assert_eq!(ask("/v1/exports/orders.csv").fields(), ["filters.from"]);
    assert_eq!(
        ask(&format!("{PLAIN}&from=2026-01-02")).fields(),
        ["filters.from"]
    );
    assert_eq!(
        ask(&format!("{PLAIN}&nothing=1")).fields(),
        ["filters.nothing"]
    );
    assert_eq!(
        ask("/v1/exports/none.csv").problem(),
        (404, "unknown-export".into())
    );
    assert_eq!(
        ask("/v1/exports/orders.pdf").problem(),
        (404, "unknown-format".into())
    );
    assert_eq!(
        ask(&format!("{PLAIN}&x=%zz")).problem(),
        (400, "malformed-link".into())
    );
    // Any reserved parameter makes it a signed link.
    assert_eq!(
        ask(&format!("{PLAIN}&rl_user=bob")).problem(),
        (400, "malformed-link".into())
    );
    assert_eq!(
        ask(&format!("{PLAIN}&rl%5Fuser=bob")).problem(),
        (400, "malformed-link".into())
    );
    let no_scope = token_for(&json!({"sub": "alice", "exp": server.now() + 60}));
    let refused = server.call("GET", PLAIN).bearer(&no_scope).send();
    assert_eq!(refused.problem(), (403, "export-not-allowed".into()));
    let anonymous = server.call("GET", PLAIN).send();
    assert_eq!(anonymous.problem(), (401, "credential-missing".into()));
    let no_user = server.call("GET", PLAIN).bearer(API_KEY).send();
    assert_eq!(no_user.fields(), ["user"]);
}

#[test]
fn a_token_is_accepted_in_the_configured_cookie_or_parameter() {
    let server = server(HttpConfig {
        jwt_cookie: Some("session".into()),
        jwt_query_param: Some("access_token".into()),
        ..HttpConfig::default()
    });
    let token = token(server.now());
    let with_cookie = |cookie: String| server.call("GET", PLAIN).header("cookie", cookie).send();
    location(&with_cookie(format!("theme=dark; session={token}; a=b")));
    location(&with_cookie(format!("session=\"{token}\"")));
    assert_eq!(with_cookie(format!("Session={token}")).status, 401);
    assert_eq!(
        with_cookie(format!("x{token}=1; session2={token}")).status,
        401
    );
    assert_eq!(
        with_cookie("session=nonsense".into()).problem().1,
        "credential-refused"
    );
    let listed = server
        .call("GET", "/v1/exports")
        .header("cookie", format!("session={token}"));
    assert_eq!(listed.send().status, 200);

    let in_query = server
        .call("GET", &format!("{PLAIN}&access_token={token}"))
        .send();
    let signed = location(&in_query);
    assert!(
        !signed.contains("access_token") && !signed.contains(&token),
        "{signed}"
    );
    let elsewhere = server
        .call("GET", &format!("/v1/exports?access_token={token}"))
        .send();
    assert_eq!(elsewhere.status, 401);

    // The header takes precedence over the parameter.
    let both = server
        .call("GET", &format!("{PLAIN}&access_token={token}"))
        .bearer("nonsense")
        .send();
    assert_eq!(both.problem(), (401, "credential-refused".into()));
}

#[test]
fn other_cookies_may_be_anything_and_each_of_the_configured_name_is_tried() {
    let config = HttpConfig {
        jwt_cookie: Some("session".into()),
        ..HttpConfig::default()
    };
    let server = TestServer::with(|deployment| deployment.http_config = config);
    let token = token(server.now());
    let status = |cookies: &[u8]| {
        let head = format!("GET {PLAIN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: ");
        let request = [head.as_bytes(), cookies, b"\r\n\r\n"];
        let mut stream = TcpStream::connect(server.origin.trim_start_matches("http://")).unwrap();
        stream.write_all(&request.concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    let session = format!("session={token}");
    for other in [
        "name=J\u{fc}rgen".as_bytes(),
        b"name=J\xfcrgen",
        b"\xff",
        b"=",
        b"session=",
        b"session=old; a",
    ] {
        let before = [other, b"; ", session.as_bytes()].concat();
        let after = [session.as_bytes(), b"; ", other].concat();
        assert_eq!(
            (status(&before).as_str(), status(&after).as_str()),
            ("303", "303"),
            "{other:?}"
        );
    }
    assert_eq!(status(b"session=a; session=b"), "401");
    assert_eq!(status(b"session=J\xfcrgen"), "401");
}

#[test]
fn a_cookie_is_refused_if_a_page_of_another_site_has_sent_the_request() {
    let server = server(HttpConfig {
        jwt_cookie: Some("session".into()),
        cors_origins: vec!["https://shop.example.com".into()],
        ..HttpConfig::default()
    });
    let token = token(server.now());
    let send = |method: &'static str, headers: &[(&'static str, &str)]| {
        let target = if method == "POST" { "/v1/links" } else { PLAIN };
        let mut call = server.call(method, target);
        call = call.header("cookie", format!("session={token}"));
        for (name, value) in headers {
            call = call.header(name, *value);
        }
        let body = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}});
        let answer = match method {
            "POST" => call.json(&body).send(),
            _ => call.send(),
        };
        match answer.status {
            200 | 303 => "accepted".to_owned(),
            _ => answer.problem().1,
        }
    };
    let site = "sec-fetch-site";
    let navigate = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let clicked = [
        navigate[0],
        navigate[1],
        ("sec-fetch-user", "?1"),
        (site, "cross-site"),
    ];
    let own_origin = server.origin.clone();
    for (headers, expected) in [
        (vec![], "accepted"),
        (vec![(site, "same-origin")], "accepted"),
        (vec![(site, "none")], "accepted"),
        (vec![("origin", own_origin.as_str())], "accepted"),
        (
            vec![(site, "cross-site"), ("origin", "https://shop.example.com")],
            "accepted",
        ),
        (clicked.to_vec(), "accepted"),
        (
            vec![(site, "cross-site"), ("sec-fetch-dest", "image")],
            "embedding-refused",
        ),
        (
            vec![(site, "cross-site"), ("sec-fetch-dest", "script")],
            "embedding-refused",
        ),
        (
            vec![
                (site, "cross-site"),
                navigate[0],
                ("sec-fetch-dest", "iframe"),
            ],
            "cross-site",
        ),
        (
            vec![(site, "cross-site"), navigate[0], navigate[1]],
            "cross-site",
        ),
        (
            vec![("origin", "https://elsewhere.example.com")],
            "cross-site",
        ),
        (vec![("origin", "null")], "cross-site"),
        (
            vec![("origin", "https://shop.example.com.evil.example")],
            "cross-site",
        ),
        (
            vec![(site, "same-site"), ("origin", "https://other.example.com")],
            "cross-site",
        ),
    ] {
        assert_eq!(send("GET", &headers), expected, "{headers:?}");
    }
    let json = ("content-type", "application/json; charset=utf-8");
    assert_eq!(send("POST", &[json]), "accepted");
    assert_eq!(
        send("POST", &[json, ("origin", own_origin.as_str())]),
        "accepted"
    );
    assert_eq!(
        send("POST", &[json, ("origin", "https://elsewhere.example.com")]),
        "cross-site"
    );
    for form in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(send("POST", &[("content-type", form)]), "malformed-request");
    }
    // A header is no cookie: a page of another site cannot set it.
    let bearer = server.call("GET", PLAIN).bearer(&token);
    location(&bearer.header(site, "cross-site").send());
}

#[test]
fn tokens_in_cookies_and_parameters_are_ignored_by_default() {
    let server = server(HttpConfig::default());
    let token = token(server.now());
    let cookie = server
        .call("GET", PLAIN)
        .header("cookie", format!("session={token}"));
    assert_eq!(cookie.send().status, 401);
    let parameter = server.call("GET", &format!("{PLAIN}&access_token={token}"));
    assert_eq!(parameter.send().status, 401);
}

#[test]
#[ignore = "needs curl: make test"]
fn curl_downloads_with_one_command_and_the_log_has_no_token_signature_or_value() {
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_JWT_QUERY_PARAM", "access_token"),
            ("ROWLINK_PUBLIC_URL", "http://127.0.0.1:9"),
        ],
    );
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
    let folder = tempfile::tempdir().unwrap();
    // The public URL has another port, which curl maps to the server.
    let address = rowlink.origin().trim_start_matches("http://");
    let curl = |url: &str, header: &str| {
        run(Command::new("curl")
            .args([
                "-sSLOJ",
                "--fail",
                "--connect-to",
                &format!("127.0.0.1:9:{address}"),
            ])
            .args(["-H", header, url])
            .current_dir(folder.path()));
    };
    let plain = format!("{}{PLAIN}&status=paid", rowlink.origin());
    curl(&plain, &format!("Authorization: Bearer {token}"));
    let text = std::fs::read_to_string(folder.path().join("orders.csv")).unwrap();
    assert!(text.starts_with("id,") && text.ends_with("\r\n"), "{text}");
    std::fs::remove_file(folder.path().join("orders.csv")).unwrap();
    curl(&format!("{plain}&access_token={token}"), "X-Nothing: 1");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("orders.csv")).unwrap(),
        text
    );

    let log = rowlink.stop();
    assert!(log.contains("tokens are accepted in the query"), "{log}");
    assert!(
        log.contains("link issued") && log.contains("download ended"),
        "{log}"
    );
    assert!(log.contains("filters=\"from,status,"), "{log}");
    for secret in [token.as_str(), "rl_signature", "2026-01-01", PUBLIC_URL] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[test]
fn a_damaged_link_is_no_plain_link() {
    let server = server(HttpConfig::default());
    let request = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}});
    let link = server.link(request);
    let (_, target) = link.split_once("/v1/").unwrap();
    let (path, query) = target.split_once('?').unwrap();
    let pairs: Vec<&str> = query.split('&').collect();
    for separator in ["&amp;", "&#38;", "\\u0026", ";", "%26", "%2526", " "] {
        let damaged = pairs.join(separator);
        // A filter may come first, and then no name has the prefix.
        for query in [
            damaged.clone(),
            format!("from=2026-01-01{separator}{damaged}"),
        ] {
            let target = format!("/v1/{path}?{}", query.replace(' ', "%20"));
            let answer = server
                .call("GET", &target)
                .header("accept", "text/html")
                .send();
            assert_eq!(answer.status, 400, "{target}: {}", answer.text());
            let page = answer.text();
            assert!(page.contains("malformed-link"), "{target}: {page}");
            assert!(page.contains("was changed before it came here"), "{page}");
        }
    }
}

#[test]
fn an_empty_field_of_a_form_is_as_left_out_where_it_is_no_value() {
    let server = TestServer::with_exports(vec![(
        "it.sql",
        "/*---
[filters.from]
type = 'date'
[filters.total]
type = 'integer'
default = 7
[filters.status]
type = 'text'
list = true
values = ['open', 'paid']
[filters.note]
type = 'text'
[filters.must]
type = 'integer'
required = true
---*/
select :user as u, :from as f, :total as t, :status is null as s, :note as n, :must as m",
    )]);
    let token = token(server.now());
    let ask = |query: &str| {
        let target = format!("/v1/exports/it.csv?{query}");
        server
            .call("GET", &target)
            .bearer(&token)
            .header("accept", "text/html")
            .send()
    };
    let url = location(&ask("from=&total=&status=&note=&must=1"));
    let file = Call::new("GET", url).send();
    assert_eq!(file.rows()[1], ["alice", "", "7", "1", "", "1"]);
    assert!(
        file.text().contains(",\"\",1\r\n"),
        "an empty text is a value"
    );
    let posted = json!({"export": "it", "format": "csv", "filters": {"from": "", "must": 60.0}});
    assert_eq!(server.download(posted).rows()[1][5], "60");
    let refused = ask("from=&must=");
    assert_eq!(refused.status, 422);
    assert!(
        refused
            .text()
            .contains("<code>filters.must</code>: is required"),
        "{}",
        refused.text()
    );
    let wrong = ask("from=soon&must=1");
    assert!(
        wrong
            .text()
            .contains("<code>filters.from</code>: expected a date"),
        "{}",
        wrong.text()
    );
}
