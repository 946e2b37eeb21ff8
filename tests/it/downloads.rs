//! `GET` and `HEAD /v1/exports/{export}.csv`.

use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Call, Deployment, TestServer, sqlite_url, token, token_for};

fn orders() -> Value {
    json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}})
}

#[test]
fn a_link_needs_no_header_and_gives_only_the_rows_of_its_user() {
    let server = TestServer::start();
    let answer = server.download(orders());
    assert_eq!(
        answer.text(),
        "id,created_at,status,Amount (EUR),note\r\n\
         1,2026-01-05T10:00:00Z,paid,12.5,plain\r\n\
         2,2026-01-06T10:00:00Z,pending,,\"with \"\"quotes\"\", commas\"\r\n\
         4,2026-01-08T10:00:00Z,refunded,0.1,\"two\r\nlines 🎁\"\r\n\
         5,2026-01-09T10:00:00Z,paid,1e+21,'=1+1\r\n\
         6,2026-01-10T10:00:00Z,paid,3.0,\"\"\r\n\
         7,2026-01-11T10:00:00Z,paid,4.0,\r\n"
    );
}

#[test]
fn exactly_the_signed_filters_are_applied() {
    let server = TestServer::start();
    let ids = |filters: Value| -> Vec<String> {
        let answer =
            server.download(json!({"export": "orders", "format": "csv", "filters": filters}));
        answer
            .rows()
            .into_iter()
            .skip(1)
            .map(|row| row[0].clone())
            .collect()
    };
    assert_eq!(ids(json!({"from": "2026-01-08"})), ["4", "5", "6", "7"]);
    assert_eq!(
        ids(json!({"from": "2026-01-01", "status": "pending"})),
        ["2"]
    );
    assert_eq!(
        ids(json!({"from": "2026-01-01", "status": ["pending", "refunded"]})),
        ["2", "4"]
    );
    assert_eq!(ids(json!({"from": "2026-01-01", "limit": 1})), ["1"]);
}

#[test]
fn every_download_header_is_present() {
    let server = TestServer::start();
    let mut request = orders();
    request["filename"] = json!("Bestellungen \"März\" 100%");
    let issued = server.issue(request).json();
    let answer = Call::new("GET", issued["url"].as_str().unwrap()).send();
    for (name, value) in [
        ("content-type", "text/csv; charset=utf-8; header=present"),
        (
            "content-disposition",
            "attachment; filename=\"Bestellungen _M_rz_ 100_.csv\"; \
             filename*=UTF-8''Bestellungen%20%22M%C3%A4rz%22%20100%25.csv",
        ),
        ("cache-control", "private, no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-robots-tag", "noindex"),
        ("x-accel-buffering", "no"),
        ("rowlink-link-id", issued["link_id"].as_str().unwrap()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    for name in ["set-cookie", "etag", "last-modified", "server"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
}

#[test]
fn a_small_file_has_a_length_and_a_large_one_has_chunks() {
    let server = TestServer::start();
    let small = server.download(orders());
    assert_eq!(small.header("content-length"), small.body.len().to_string());
    let large =
        server.download(json!({"export": "numbers", "format": "csv", "filters": {"n": 100_000}}));
    assert_eq!(large.header("transfer-encoding"), "chunked");
    assert_eq!(large.rows().len(), 100_001);
}

#[test]
fn an_empty_result_is_a_header_line_or_an_empty_file() {
    let server = TestServer::start();
    let mut request = orders();
    request["filters"]["from"] = json!("2030-01-01");
    assert_eq!(
        server.download(request.clone()).text(),
        "id,created_at,status,Amount (EUR),note\r\n"
    );
    request["csv"] = json!({"header": false});
    let empty = server.download(request);
    assert_eq!(
        (empty.text().as_str(), empty.header("content-length")),
        ("", "0")
    );
    assert_eq!(
        empty.header("content-type"),
        "text/csv; charset=utf-8; header=absent"
    );
}

#[test]
fn columns_and_csv_options_come_from_the_link() {
    let server = TestServer::start();
    let mut request = orders();
    request["columns"] = json!(["note", "amount"]);
    request["csv"] = json!({"delimiter": ";", "bom": true, "decimal_comma": true, "formula_guard": false, "null": "NULL"});
    request["filters"]["limit"] = json!(5);
    assert_eq!(
        server.download(request).text(),
        "\u{feff}note;Amount (EUR)\r\nplain;12,5\r\n\"with \"\"quotes\"\", commas\";NULL\r\n\
         \"two\r\nlines 🎁\";0,1\r\n=1+1;1e+21\r\n\"\";3,0\r\n"
    );
}

#[test]
fn options_of_the_export_apply_unless_the_link_overrides_them() {
    let server = TestServer::start();
    let echo = |csv: Value| {
        server.download(json!({"export": "echo", "format": "csv", "columns": ["text"], "csv": csv, "filters": {"text": "=x"}})).text()
    };
    assert_eq!(echo(json!({})), "text\r\n=x\r\n");
    assert_eq!(echo(json!({"formula_guard": true})), "text\r\n'=x\r\n");
}

#[test]
fn each_filter_is_bound_with_its_type_and_a_list_as_a_sorted_array() {
    let server = TestServer::start();
    let answer = server.download(json!({"export": "types", "format": "csv", "filters": {
        "a_text": "a b", "an_integer": -5, "a_decimal": "2.50", "a_boolean": true,
        "a_date": "2026-02-28", "a_timestamp": "2026-01-01T01:00:00.5+01:00",
        "a_uuid": "0198C2F4-6F3A-7CC1-9B2E-0242AC120002", "integers": [3, 1, 2],
    }}));
    assert_eq!(
        answer.rows()[1],
        [
            "alice",
            "a b",
            "-5",
            "2.5",
            "1",
            "2026-02-28",
            "2026-01-01T00:00:00.500Z",
            "0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
            "[1,2,3]",
            "real",
        ]
    );
    let nothing = server.download(json!({"export": "types", "format": "csv"}));
    assert_eq!(
        nothing.rows()[1],
        ["alice", "", "", "", "", "", "", "", "", "null"]
    );
}

#[test]
fn head_gives_the_headers_and_runs_no_query() {
    let server = TestServer::start();
    // This query fails in its first row, so a HEAD that ran it would fail.
    let url = server
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1, "fail_at": 1}}));
    assert_eq!(
        Call::new("GET", url.clone()).send().problem(),
        (500, "export-failed".into())
    );
    let head = Call::new("HEAD", url.clone()).send();
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-disposition"),
        "attachment; filename=\"numbers.csv\"; filename*=UTF-8''numbers.csv"
    );
    assert!(!head.headers.contains_key("content-length"));
}

#[test]
fn a_prefetch_or_an_embedded_link_runs_no_query_and_issues_no_link() {
    let server = TestServer::start();
    let link = server.link(orders());
    let (path, _) = link.split_once('?').unwrap();
    let plain = format!("{path}?from=2026-01-01");
    let token = token(server.now());
    let send = |url: &str, name, value| {
        let call = Call::new("GET", url).bearer(&token);
        call.header(name, value).send()
    };
    for url in [plain, link] {
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            let answer = send(&url, name, value);
            assert_eq!(answer.problem(), (503, "prefetch-refused".into()), "{name}");
        }
        for destination in [
            "image", "script", "style", "font", "audio", "video", "object", "embed",
        ] {
            let answer = send(&url, "sec-fetch-dest", destination);
            let expected = (403, "embedding-refused".into());
            assert_eq!(answer.problem(), expected, "{destination}");
        }
        for destination in ["document", "iframe", "empty"] {
            let answer = send(&url, "sec-fetch-dest", destination);
            assert!(answer.status < 400, "{destination}: {}", answer.text());
        }
    }
}

#[test]
fn a_range_that_starts_later_is_refused_and_one_from_the_start_gives_the_whole_file() {
    let server = TestServer::start();
    let url = server.link(orders());
    for range in [
        "bytes=1-",
        "bytes=-5",
        "bytes=0-1,5-9",
        "bytes=100-200",
        "Bytes=100-",
    ] {
        let answer = Call::new("GET", url.clone()).header("range", range).send();
        assert_eq!(
            answer.problem(),
            (400, "range-not-supported".into()),
            "{range}"
        );
    }
    let whole = Call::new("GET", url.clone()).send().body;
    for range in ["bytes=0-", "bytes=0-99", "rows=5-9"] {
        let answer = Call::new("GET", url.clone()).header("range", range).send();
        assert_eq!((answer.status, &answer.body), (200, &whole), "{range}");
    }
}

#[test]
fn a_link_is_valid_until_the_second_it_expires() {
    let server = TestServer::start();
    let issued = server.now();
    let url = server.link(orders());
    let at = |now: u64| {
        server.set_clock(now);
        let answer = Call::new("GET", url.clone()).send();
        if answer.status == 200 {
            (200, String::new())
        } else {
            answer.problem()
        }
    };
    assert_eq!(at(issued + 59).0, 200);
    assert_eq!(at(issued + 60), (410, "link-expired".into()));
    assert_eq!(at(issued + 61), (410, "link-expired".into()));
    assert_eq!(at(issued - 30).0, 200);
    assert_eq!(at(issued - 31), (403, "link-not-yet-valid".into()));
}

#[test]
fn an_unknown_key_gives_the_same_response_as_a_bad_signature() {
    let server = TestServer::start();
    let url = server.link(orders());
    let last = url.chars().last().unwrap();
    let forged = format!(
        "{}{}",
        &url[..url.len() - 1],
        if last == '0' { '1' } else { '0' }
    );
    let unknown = url.replace("rl_key=t1", "rl_key=t2");
    let answer = |url: String| {
        let answer = Call::new("GET", url).send();
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.status, body)
    };
    let (status, body) = answer(forged);
    assert_eq!(
        (status, body["code"].as_str()),
        (403, Some("bad-signature"))
    );
    assert_eq!(answer(unknown), (status, body));
}

#[test]
fn any_replica_with_the_key_serves_the_link_even_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::harness::sample_database(folder.path());
    let old = "t0:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
    let keys = crate::harness::SIGNING_KEY;
    let replica = |keys| {
        let mut deployment = Deployment::over(sqlite_url(&database), crate::harness::exports());
        deployment.keys = keys;
        deployment.start()
    };
    let (before, during, after) = (
        replica(old),
        replica(&format!("{keys},{old}")),
        replica(keys),
    );
    let on = |server: &TestServer, url: &str| {
        let target = &url[url.find("/v1").unwrap()..];
        server.call("GET", target).send().status
    };
    let old_link = before.link(orders());
    assert!(old_link.contains("rl_key=t0"));
    assert_eq!(on(&during, &old_link), 200);
    assert_eq!(on(&after, &old_link), 403);
    let new_link = during.link(orders());
    assert!(new_link.contains("rl_key=t1"));
    assert_eq!(on(&after, &new_link), 200);
    assert_eq!(on(&before, &new_link), 403);
}

#[test]
fn a_claim_that_the_export_does_not_pin_is_refused_and_never_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let database = crate::harness::sample_database(folder.path());
    let new = "select id from orders where user_id = :user and org_id = :claim.org_id";
    let old = "select id from orders where user_id = :user";
    let [new, old] = [new, old].map(|sql| TestServer::over(&database, vec![("mine.sql", sql)]));
    let token = token_for(&json!({"sub": "alice", "exp": new.now() + 60, "org_id": "7"}));
    let issued = new.issue_with(&token, json!({"export": "mine", "format": "csv"}));
    let url = issued.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(
        Call::new("GET", url.clone()).send().rows(),
        [["id"], ["1"], ["2"]]
    );
    let answer = Call::new("GET", url.replace(&new.origin, &old.origin)).send();
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["claims.org_id".to_owned()])
    );
}

#[test]
fn the_order_of_a_lists_values_in_the_url_changes_nothing() {
    let server = TestServer::start();
    let url =
        server.link(json!({"export": "types", "format": "csv", "filters": {"integers": [1, 2]}}));
    let swapped = url.replace("integers=1&integers=2", "integers=2&integers=1");
    assert_ne!(url, swapped);
    let body = |url: String| Call::new("GET", url).send().text();
    assert_eq!(body(url), body(swapped));
}

#[test]
fn the_path_is_matched_without_decoding() {
    let server = TestServer::start();
    let url = server.link(orders());
    for (from, to) in [
        ("orders.csv", "order%73.csv"),
        ("orders.csv", "orders%2Ecsv"),
        ("orders.csv", "orders.CSV"),
        ("orders.csv", "orders.csv.csv"),
    ] {
        let answer = Call::new("GET", url.replace(from, to)).send();
        assert!(
            [403, 404].contains(&answer.status),
            "{to}: {}",
            answer.status
        );
    }
    for path in ["/v%31/exports", "/v1/%65xports", "/v1/exports%2F"] {
        let answer = Call::new("GET", url.replace("/v1/exports", path)).send();
        assert_eq!(answer.status, 404, "{path}");
    }
    let both = url.replace("/v1/exports/orders.csv", "/v%31/exports/orders%2Ecsv");
    assert_eq!(Call::new("GET", both).send().status, 404);
    let other = Call::new("GET", url.replace("orders.csv", "echo.csv")).send();
    assert_eq!(other.problem(), (403, "bad-signature".into()));
}

#[test]
fn errors_have_a_request_id_and_no_database_details() {
    let server = TestServer::start();
    let url = server
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1, "fail_at": 1}}));
    let answer = Call::new("GET", url).send();
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
    let text = answer.text().to_lowercase();
    for word in ["json(", "malformed json", "sqlite", "select", "sql"] {
        assert!(!text.contains(word), "{word} is in {text}");
    }
}

#[test]
fn a_credential_does_not_replace_a_signature() {
    let server = TestServer::start();
    let answer = server
        .call(
            "GET",
            "/v1/exports/orders.csv?from=2026-01-01&rl_user=alice",
        )
        .bearer(&token(server.now()))
        .send();
    assert_eq!(answer.problem(), (400, "malformed-link".into()));
}

#[test]
fn check_file_verifies_the_integrity_line_and_a_workbook_has_none() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_rowlink"))
            .arg("check-file")
            .arg(&path)
            .output();
        let run = run.unwrap();
        let output = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        (
            run.status.code(),
            output.replace(&format!("{}", path.display()), name),
        )
    };
    for n in [1, 3, 200_000] {
        let filters = json!({"n": n});
        let request = json!({"export": "numbers", "format": "csv", "filters": filters});
        let mut with_line = request.clone();
        with_line["end_line"] = json!(true);
        let (plain, proved) = (
            server.download(request).body,
            server.download(with_line).body,
        );
        let hash = hex::encode(Sha256::digest(&plain));
        let expected = format!("#rowlink-end,rows={n},sha256={hash}\r\n");
        assert_eq!(proved, [&plain, expected.as_bytes()].concat());
        assert_eq!(
            check("whole.csv", &proved),
            (Some(0), format!("whole.csv: complete, {n} rows\n"))
        );
        assert_eq!(check("cut.csv", &proved[..plain.len()]).0, Some(2));
        let lines =
            json!({"export": "numbers", "format": "ndjson", "filters": {"n": n}, "end_line": true});
        let lines = server.download(lines).body;
        assert_eq!(
            check("whole.ndjson", &lines),
            (Some(0), format!("whole.ndjson: complete, {n} rows\n"))
        );
        let start = lines[..lines.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n');
        let (rows, end) = lines.split_at(start.unwrap() + 1);
        let end: Value = serde_json::from_slice(end).unwrap();
        let hash = hex::encode(Sha256::digest(rows));
        assert_eq!(end, json!({"rowlink_end": {"rows": n, "sha256": hash}}));
        assert_eq!(check("cut.ndjson", rows).0, Some(2));
        let mut changed = proved.clone();
        changed[1] ^= 1;
        let (code, said) = check("changed.csv", &changed);
        assert!(
            code == Some(2) && said.starts_with("rowlink: changed.csv: the content does not match"),
            "{said}"
        );
    }
    assert_eq!(check("other.csv", b"id\r\n").0, Some(2));
    let request =
        json!({"export": "numbers", "format": "xlsx", "filters": {"n": 1}, "end_line": true});
    assert_eq!(server.issue(request).fields(), ["end_line"]);
    let request =
        json!({"export": "numbers", "format": "csv", "filters": {"n": 1}, "end_line": "yes"});
    assert_eq!(server.issue(request).fields(), ["end_line"]);
    let link = server
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1}, "end_line": true}));
    let without = link.replace("rl_end_line=true&", "");
    assert_eq!(
        Call::new("GET", without).send().problem(),
        (403, "bad-signature".into())
    );
}
