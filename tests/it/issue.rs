//! `POST /v1/links` and the catalog listing.

use rowlink::auth::ApiKeys;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{API_KEY, Call, TestServer, token, token_for};

#[test]
fn a_link_carries_the_user_the_filters_and_an_expiry_in_seconds() {
    let server = TestServer::start();
    let answer = server.issue(json!({
        "export": "orders", "format": "csv",
        "filters": {"from": "2026-01-01", "status": ["paid", "refunded"], "limit": 50},
        "expires_in": 120, "filename": "Bestellungen März",
    }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let url = body["url"].as_str().unwrap();
    for part in [
        &format!("{}/v1/exports/orders.csv?", server.origin),
        "from=2026-01-01",
        "status=paid&status=refunded",
        "limit=50",
        "rl_user=alice",
        &format!("rl_issued={}", server.now()),
        &format!("rl_expires={}", server.now() + 120),
        "rl_key=t1",
        "rl_filename=Bestellungen%20M%C3%A4rz",
        "&rl_signature=",
    ] {
        assert!(url.contains(part), "{part} is not in {url}");
    }
    assert_eq!(body["expires_in"], 120);
    assert_eq!(body["expires_at"], "2026-01-31T10:02:00Z");
    assert_eq!(body["filename"], "Bestellungen März.csv");
    assert_eq!(
        body["content_type"],
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(body["methods"], json!(["GET", "HEAD"]));
    assert!(url.contains(&format!("rl_link={}", body["link_id"].as_str().unwrap())));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[test]
fn a_default_is_pinned_into_the_link() {
    let server = TestServer::start();
    let url = server
        .link(json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}}));
    assert!(url.contains("limit=100"), "{url}");
}

#[test]
fn null_means_absent() {
    let server = TestServer::start();
    let with_nulls = json!({
        "export": "orders", "format": "csv", "filters": {"from": "2026-01-01", "status": null},
        "expires_in": null, "filename": null, "columns": null, "csv": null, "xlsx": null,
        "ndjson": null, "json": null, "tsv": null,
        "timezone": null, "language": null, "user": null,
    });
    let url = server.link(with_nulls);
    assert!(
        !url.contains("status") && !url.contains("rl_columns"),
        "{url}"
    );
}

#[test]
fn all_field_errors_are_reported_together() {
    let server = TestServer::start();
    let answer = server.issue(json!({
        "export": "orders", "format": "csv",
        "filters": {"from": "yesterday", "status": ["paid", "stolen"], "limit": 1000, "colour": "red", "x": {}},
        "expires_in": 3601, "filename": "a/b", "columns": ["id", "secret", "id"],
        "csv": {"delimiter": "x", "quote": "'"}, "colour": 1,
        "xlsx": {"compact": "a bit"}, "ndjson": {"large_numbers": "no"}, "timezone": "Europe/Atlantis",
    }));
    assert_eq!(answer.problem(), (422, "invalid-values".into()));
    let mut fields = answer.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "colour",
            "columns",
            "columns",
            "csv.delimiter",
            "csv.quote",
            "expires_in",
            "filename",
            "filters.colour",
            "filters.from",
            "filters.limit",
            "filters.status",
            "filters.x",
            "ndjson.large_numbers",
            "timezone",
            "xlsx.compact",
        ]
    );
    let text = answer.text();
    for hint in [
        "2026-01-31",
        "pending, paid, refunded",
        "1 to 3600 seconds",
        "unknown column `secret`",
        "Europe/Berlin",
    ] {
        assert!(text.contains(hint), "{hint} is not in {text}");
    }
}

#[test]
fn a_missing_required_field_is_named() {
    let server = TestServer::start();
    let answer = server.issue(json!({"export": "orders", "format": "csv"}));
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["filters.from".to_owned()])
    );
    let answer = server.issue(json!({}));
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["export".to_owned()])
    );
    // Only rows need a format, and only the export tells whether it has rows.
    let answer = server.issue(json!({"export": "orders"}));
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["format".to_owned()])
    );
}

#[test]
fn a_number_keeps_every_digit_or_is_refused() {
    let server = TestServer::start();
    let issue = |number: &str| {
        let body =
            format!(r#"{{"export":"types","format":"csv","filters":{{"a_decimal":{number}}}}}"#);
        let call = server
            .call("POST", "/v1/links")
            .bearer(&token(server.now()));
        call.body(body).send()
    };
    let url = issue("-0.1234567890123456789012345").json()["url"].to_string();
    assert!(
        url.contains("a_decimal=-0.1234567890123456789012345&"),
        "{url}"
    );
    assert_eq!(
        issue("-0.12345678901234567890123456789").fields(),
        ["filters.a_decimal"]
    );
    assert_eq!(issue("1e400").fields(), ["filters.a_decimal"]);
}

#[test]
fn an_unknown_export_or_format_is_not_found() {
    let server = TestServer::start();
    let answer = server.issue(json!({"export": "salaries", "format": "csv"}));
    assert_eq!(answer.problem(), (404, "unknown-export".into()));
    let answer = server.issue(json!({"export": "orders", "format": "pdf"}));
    assert_eq!(answer.problem(), (404, "unknown-format".into()));
}

#[test]
fn a_time_to_live_out_of_range_is_refused_not_clamped() {
    let server = TestServer::start();
    for ttl in [
        json!(0),
        json!(-1),
        json!(3601),
        json!(1e300),
        json!(1.5),
        json!("60"),
        json!([60]),
        json!(true),
    ] {
        let answer = server.issue(json!({"export": "echo", "format": "csv", "expires_in": ttl}));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["expires_in".to_owned()]),
            "{ttl}"
        );
    }
    for ttl in [1, 3600] {
        let answer = server.issue(json!({"export": "echo", "format": "csv", "expires_in": ttl}));
        assert_eq!(answer.json()["expires_in"], ttl);
    }
}

#[test]
fn the_user_comes_from_the_credential() {
    let server = TestServer::start();
    let request = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}, "user": "bob"});
    let answer = server.issue(request.clone());
    assert_eq!(answer.problem(), (403, "may-not-act-for-others".into()));

    let answer = server.issue_with(API_KEY, request);
    assert!(
        answer.json()["url"]
            .as_str()
            .unwrap()
            .contains("rl_user=bob")
    );

    let answer = server.issue_with(
        API_KEY,
        json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}}),
    );
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["user".to_owned()])
    );
}

#[test]
fn a_user_id_that_is_empty_or_has_control_characters_is_refused() {
    let server = TestServer::start();
    for user in [
        json!(""),
        json!("a\nb"),
        json!("\u{7f}"),
        json!("u".repeat(257)),
        json!(42),
        json!(["bob"]),
    ] {
        let answer = server.issue_with(API_KEY, json!({
            "export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}, "user": user,
        }));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["user".to_owned()]),
            "{user}"
        );
    }
}

#[test]
fn scopes_and_allow_lists_are_enforced_and_hide_exports() {
    let server = TestServer::start();
    let unscoped = token_for(&json!({"sub": "alice", "exp": server.now() + 60}));
    let request = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}});
    let answer = server.issue_with(&unscoped, request);
    assert_eq!(answer.problem(), (403, "export-not-allowed".into()));
    assert!(
        answer.text().contains("needs the scope `orders:read`"),
        "{}",
        answer.text()
    );
    let answer = server.issue_with(
        API_KEY,
        json!({"export": "echo", "format": "csv", "user": "bob"}),
    );
    assert_eq!(answer.problem(), (403, "export-not-allowed".into()));

    let listed = |token: &str| -> Vec<String> {
        let answer = server.call("GET", "/v1/exports").bearer(token).send();
        let exports = answer.json()["exports"].as_array().unwrap().clone();
        exports
            .iter()
            .map(|export| export["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        listed(&token(server.now())),
        ["by_org", "echo", "numbers", "orders", "types"]
    );
    assert_eq!(listed(&unscoped), ["by_org", "echo", "numbers", "types"]);
    assert_eq!(listed(API_KEY), ["by_org", "orders"]);
    let hidden = server
        .call("GET", "/v1/exports/orders")
        .bearer(&unscoped)
        .send();
    assert_eq!(hidden.problem(), (404, "unknown-export".into()));
}

#[test]
fn claims_are_pinned_from_the_credential_and_a_missing_one_is_named() {
    let server = TestServer::start();
    let request = json!({"export": "by_org", "format": "csv"});
    let answer = server.issue(request.clone());
    assert_eq!(answer.problem(), (403, "claim-missing".into()));
    assert!(answer.text().contains("`org_id`"));

    let token = token_for(&json!({"sub": "alice", "exp": server.now() + 60, "org_id": 8}));
    let answer = server.issue_with(&token, request);
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    assert!(url.contains("rl_claim.org_id=8"), "{url}");
    let rows = Call::new("GET", url).send().rows();
    assert_eq!(
        rows,
        [
            ["id", "user_id"],
            ["4", "alice"],
            ["5", "alice"],
            ["6", "alice"],
            ["7", "alice"]
        ]
    );
}

#[test]
fn an_export_is_described_with_its_filters_and_columns() {
    let server = TestServer::start();
    let answer = server
        .call("GET", "/v1/exports/orders")
        .bearer(&token(server.now()))
        .send();
    let export = answer.json();
    assert_eq!(export["title"], "Orders");
    assert_eq!(
        export["formats"],
        json!(["csv", "xlsx", "ndjson", "json", "tsv"])
    );
    assert_eq!(
        export["columns"][3],
        json!({"name": "amount", "label": "Amount (EUR)"})
    );
    assert_eq!(
        export["filters"][1],
        json!({
            "name": "status", "type": "text", "required": false, "list": true,
            "values": ["pending", "paid", "refunded"],
        })
    );
    assert_eq!(
        export["filters"][2],
        json!({
            "name": "limit", "type": "integer", "required": false, "list": false,
            "min": "1", "max": "100", "default": ["100"],
        })
    );
    let missing = server
        .call("GET", "/v1/exports/nothing")
        .bearer(&token(server.now()))
        .send();
    assert_eq!(missing.problem(), (404, "unknown-export".into()));
}

#[test]
fn a_link_that_would_be_too_long_is_refused_at_issue() {
    let server = TestServer::start();
    let issue = |length: usize| {
        server.issue(
            json!({"export": "echo", "format": "csv", "filters": {"text": "x".repeat(length)}}),
        )
    };
    let answer = issue(4096);
    assert_eq!(answer.problem(), (422, "link-too-long".into()));

    let shortest = issue(0).json()["url"].as_str().unwrap().len();
    let fits = issue(4096 - shortest);
    let url = fits.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(url.len(), 4096);
    assert_eq!(Call::new("GET", url).send().status, 200);
    assert_eq!(
        issue(4097 - shortest).problem(),
        (422, "link-too-long".into())
    );
}

#[test]
fn an_export_offers_the_formats_listed_in_its_file() {
    let export = "/*---\nformats = ['ndjson', 'csv']\n---*/\nselect :user as owner";
    let server = TestServer::with_exports(vec![("it.sql", export)]);
    let described = server
        .call("GET", "/v1/exports/it")
        .bearer(&token(server.now()))
        .send();
    assert_eq!(described.json()["formats"], json!(["ndjson", "csv"]));
    let lines = server.download(json!({"export": "it", "format": "ndjson"}));
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.text(), "{\"owner\":\"alice\"}\n");
    for format in ["xlsx", "pdf"] {
        let refused = server.issue(json!({"export": "it", "format": format}));
        assert_eq!(refused.problem(), (404, "unknown-format".into()));
        assert!(
            refused.text().contains("the formats are ndjson, csv"),
            "{}",
            refused.text()
        );
    }
}

#[test]
fn a_link_to_a_format_removed_from_its_export_is_refused() {
    let all = "select :user as owner";
    let csv = "/*---\nformats = ['csv']\n---*/\nselect :user as owner";
    let link = TestServer::with_exports(vec![("it.sql", all)])
        .link(json!({"export": "it", "format": "xlsx"}));
    let later = TestServer::with_exports(vec![("it.sql", csv)]);
    let (_, target) = link.split_once("/v1/").unwrap();
    let refused = later.call("GET", &format!("/v1/{target}")).send();
    assert_eq!(refused.problem(), (404, "unknown-format".into()));
}

#[test]
fn a_key_sets_the_claims_that_its_file_names_and_no_others() {
    let server = TestServer::start();
    let keys = |settings: &str| {
        let hash = hex::encode(Sha256::digest("rlk_tenants"));
        ApiKeys::parse(&format!("[keys.tenants]\nsha256 = '{hash}'\n{settings}"))
    };
    let settings =
        "act_for_others = true\nclaims = { org_id = '7' }\nclaims_from_requests = ['org_id']";
    server
        .state
        .authenticator
        .set_api_keys(keys(settings).unwrap());
    let issue = |export: &str, claims: Value| {
        let request = json!({"export": export, "format": "csv", "user": "alice", "claims": claims});
        server.issue_with("rlk_tenants", request)
    };
    for (claims, expected) in [
        (json!({"org_id": "8"}), "rl_claim.org_id=8"),
        (json!({"org_id": 8}), "rl_claim.org_id=8"),
        (json!({}), "rl_claim.org_id=7"),
        (json!(null), "rl_claim.org_id=7"),
    ] {
        let issued = issue("by_org", claims.clone());
        assert_eq!(issued.status, 200, "{claims}: {}", issued.text());
        let url = issued.json()["url"].as_str().unwrap().to_owned();
        assert!(url.contains(expected), "{claims}: {url}");
        assert_eq!(Call::new("GET", url).send().status, 200);
    }
    let other = issue("by_org", json!({"org_id": "8", "role": "admin"}));
    assert_eq!(other.problem(), (403, "may-not-set-claim".into()));
    assert_eq!(
        issue("numbers", json!({"org_id": "8"})).fields(),
        ["claims.org_id"]
    );
    for wrong in [
        json!({"org_id": 1.5}),
        json!({"org_id": ["8"]}),
        json!({"org_id": "a\u{0}"}),
    ] {
        assert_eq!(issue("by_org", wrong).fields(), ["claims.org_id"]);
    }
    let by_token = json!({"export": "by_org", "format": "csv", "claims": {"org_id": "8"}});
    assert_eq!(
        server.issue(by_token).problem(),
        (403, "may-not-set-claim".into())
    );
    for refused in [
        "user = 'a'\nclaims_from_requests = ['org_id']",
        "act_for_others = true\nclaims_from_requests = ['a b']",
    ] {
        assert!(keys(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_file_name_can_have_the_values_of_filters() {
    let sql = "/*---
filename = 'orders {from} {status}'
[filters.from]
type = 'date'
[filters.status]
type = 'text'
list = true
default = ['open', 'paid']
---*/
select :user as u, :from as f, :status is null as s";
    let server = TestServer::with_exports(vec![("it.sql", sql)]);
    for (request, expected) in [
        (
            json!({"filters": {"from": "2026-01-01", "status": "a/b"}}),
            "orders 2026-01-01 a_b.csv",
        ),
        (json!({}), "orders open-paid.csv"),
        (json!({"filename": "mine"}), "mine.csv"),
    ] {
        let mut all = json!({"export": "it", "format": "csv"});
        for (name, value) in request.as_object().unwrap() {
            all[name] = value.clone();
        }
        let issued = server.issue(all).json();
        assert_eq!(issued["filename"], expected);
        let saved = Call::new("GET", issued["url"].as_str().unwrap()).send();
        let disposition = saved.header("content-disposition").to_owned();
        assert!(
            disposition.contains(&format!("filename=\"{expected}\"")),
            "{disposition}"
        );
    }
}
