//! Invalid requests.

use serde_json::json;

use crate::harness::{Call, TestServer, token};

fn post(server: &TestServer, body: impl Into<Vec<u8>>) -> (u16, String) {
    server
        .call("POST", "/v1/links")
        .bearer(&token(server.now()))
        .body(body)
        .send()
        .problem()
}

#[test]
fn a_body_that_is_not_json_is_malformed() {
    let server = TestServer::start();
    let malformed = (400, "malformed-json".to_owned());
    for body in [
        "",
        "{",
        "export=orders&format=csv",
        "{'export': 'orders'}",
        "{\"export\": \"orders\",}",
        "\u{feff}{}",
        "{} {}",
        "NaN",
    ] {
        assert_eq!(post(&server, body), malformed, "{body:?}");
    }
    assert_eq!(
        post(&server, b"{\"export\": \"\xff\"}".as_slice()),
        malformed
    );
    let deep = format!(
        "{{\"filters\": {}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(post(&server, deep), malformed);
}

#[test]
fn json_that_is_not_an_object_is_invalid() {
    let server = TestServer::start();
    for body in ["[]", "1", "\"orders\"", "null", "true"] {
        assert_eq!(
            post(&server, body),
            (422, "invalid-values".to_owned()),
            "{body}"
        );
    }
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    let server = TestServer::start();
    let answer = server.issue(json!({
        "export": 1, "format": ["csv"], "filters": [1], "expires_in": "60", "filename": 5,
        "columns": "id", "csv": true, "user": {},
    }));
    let mut fields = answer.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "columns",
            "csv",
            "expires_in",
            "export",
            "filename",
            "filters",
            "format",
            "user"
        ]
    );
}

#[test]
fn each_filter_type_refuses_invalid_values() {
    let server = TestServer::start();
    for (filter, value) in [
        ("a_text", json!("ABC")),
        ("a_text", json!("far too long a text")),
        ("a_text", json!("a\u{0}")),
        ("a_text", json!(["a", "b"])),
        ("an_integer", json!("one")),
        ("an_integer", json!(1.5)),
        ("an_integer", json!(-6)),
        ("an_integer", json!("9223372036854775808")),
        ("a_decimal", json!("9.51")),
        ("a_decimal", json!("1e1")),
        ("a_decimal", json!(true)),
        ("a_boolean", json!("yes")),
        ("a_boolean", json!(1)),
        ("a_date", json!("2019-12-31")),
        ("a_date", json!("2026-02-30")),
        ("a_date", json!("01.02.2026")),
        ("a_timestamp", json!("2026-01-01")),
        ("a_timestamp", json!("2026-01-01T00:00:00")),
        ("a_uuid", json!("not-a-uuid")),
        ("integers", json!([1, "x"])),
        ("integers", json!([])),
        ("integers", json!([[1]])),
        ("integers", json!(vec![1; 101])),
    ] {
        let answer =
            server.issue(json!({"export": "types", "format": "csv", "filters": {filter: value}}));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![format!("filters.{filter}")]),
            "{value}"
        );
    }
}

#[test]
fn bodies_urls_and_headers_over_the_limit_are_refused() {
    let server = TestServer::start();
    assert_eq!(
        post(&server, vec![b' '; 65_537]),
        (413, "body-too-long".to_owned())
    );
    assert_eq!(
        post(&server, vec![b' '; 65_536]),
        (400, "malformed-json".to_owned())
    );

    let target = format!("/v1/exports/orders.csv?{}", "x".repeat(4096));
    assert_eq!(
        server.call("GET", &target).send().problem(),
        (414, "url-too-long".into())
    );
    let long = server
        .call("GET", "/healthz")
        .header("x-long", "x".repeat(20_000))
        .send();
    assert_eq!(long.problem(), (431, "header-too-long".into()));
}

#[test]
fn unknown_methods_and_paths_are_refused() {
    let server = TestServer::start();
    for (method, target, allow) in [
        ("GET", "/v1/links", "POST"),
        ("DELETE", "/v1/exports/orders.csv", "GET, HEAD, POST"),
        ("POST", "/v1/exports/orders.csv?rl_user=1", "GET, HEAD"),
        ("PUT", "/v1/exports", "GET"),
        ("PATCH", "/v1/exports/orders", "GET"),
        ("POST", "/healthz", "GET"),
    ] {
        let answer = server.call(method, target).send();
        assert_eq!(
            answer.problem(),
            (405, "method-not-allowed".into()),
            "{method} {target}"
        );
        assert_eq!(answer.header("allow"), allow);
    }
    for target in [
        "/",
        "/v2/links",
        "/v1/exports/a/b",
        "/v1/exports/orders.csv/",
        "/v1/links/",
        "/.env",
    ] {
        assert_eq!(
            server.call("GET", target).send().problem(),
            (404, "unknown-path".into()),
            "{target}"
        );
    }
    for target in [
        "/v1/exports/orders.pdf",
        "/v1/exports/orders.",
        "/v1/exports/.csv",
        "/v1/exports/..csv",
        "/v1/exports/or%20ders.csv",
    ] {
        assert_eq!(
            server.call("GET", target).send().problem(),
            (404, "unknown-format".into()),
            "{target}"
        );
    }
}

#[test]
fn a_malformed_link_is_refused_and_its_parameter_named() {
    let server = TestServer::start();
    let url = server.link(json!({"export": "echo", "format": "csv", "filters": {"text": "x"}}));
    for (from, to, hint) in [
        ("rl_user=alice", "rl_user=", "rl_user"),
        ("&rl_signature=", "&rl_signature=x", "rl_signature"),
        ("text=x", "text=%zz", "text: a bad %HH escape"),
        ("&rl_key=t1", "", "rl_key: is missing"),
        (
            "&rl_key=t1",
            "&rl_key=t1&rl_region=eu",
            "rl_region: unknown reserved parameter",
        ),
    ] {
        let answer = Call::new("GET", url.replace(from, to)).send();
        assert_eq!(answer.problem(), (400, "malformed-link".into()));
        assert!(
            answer.json()["detail"].as_str().unwrap().contains(hint),
            "{}",
            answer.text()
        );
    }
    let bare = server.call("GET", "/v1/exports/orders.csv").send();
    assert_eq!(bare.problem(), (401, "credential-missing".into()));
}
