//! Links with a reason, and exports that require one.

use rowlink_link::{Keyring, Link, Seal, UserId, sign};
use serde_json::{Value, json};

use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{Call, SIGNING_KEY, TestServer, exports, token};

const REQUIRED: &str = "/*---\nreason = \"required\"\n---*/\nselect :user as owner";
const OPTIONAL: &str = "select :user as owner";

fn server() -> TestServer {
    TestServer::with_exports(vec![("required.sql", REQUIRED), ("optional.sql", OPTIONAL)])
}

fn request(export: &str, more: Value) -> Value {
    let mut request = json!({"export": export, "format": "csv"});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

#[test]
fn a_reason_is_signed_into_the_link_and_shown_by_its_inspection() {
    let server = server();
    for export in ["required", "optional"] {
        for seal in [false, true] {
            let more = json!({"reason": "Ticket 4711: Größe", "seal": seal});
            let url = server.link(request(export, more));
            let is_readable = url.contains("rl_reason=Ticket%204711%3A%20Gr%C3%B6%C3%9Fe");
            assert_eq!(is_readable, !seal, "{url}");
            let answer = Call::new("GET", &url).send();
            assert_eq!(answer.rows(), [["owner"], ["alice"]]);
            let inspect = server.call("POST", "/v1/links/inspect");
            let inspect = inspect.bearer(&token(server.now()));
            let report = inspect.json(&json!({"url": url})).send().json();
            assert_eq!(report["valid"], true, "{report}");
            assert_eq!(report["link"]["reason"], "Ticket 4711: Größe");
        }
    }
    let changed = server.link(request("optional", json!({"reason": "a"})));
    let changed = changed.replace("rl_reason=a", "rl_reason=b");
    let refused = Call::new("GET", changed).send().problem();
    assert_eq!(refused, (403, "bad-signature".into()));
    for bad in [json!(7), json!(""), json!("a\nb"), json!("ü".repeat(201))] {
        for export in ["required", "optional"] {
            let answer = server.issue(request(export, json!({"reason": bad})));
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["reason".into()])
            );
        }
    }
    server.link(request("optional", json!({"reason": "🎁".repeat(200)})));
}

#[test]
fn an_export_that_requires_a_reason_neither_issues_nor_follows_a_link_without_one() {
    let server = server();
    for more in [json!({}), json!({"reason": null})] {
        let answer = server.issue(request("required", more));
        assert_eq!(answer.problem(), (422, "invalid-values".into()));
        assert_eq!(answer.fields(), ["reason"]);
    }
    server.link(request("optional", json!({})));

    let plain = server.call("GET", "/v1/exports/required.csv");
    let plain = plain.bearer(&token(server.now())).send();
    assert_eq!((plain.status, plain.fields()), (422, vec!["reason".into()]));

    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let user = UserId::parse("alice").unwrap();
    for reason in [None, Some("ticket 4711".to_owned())] {
        for seal in [Seal::Open, Seal::Sealed] {
            let mut link = Link::new("required", "csv", user.clone(), server.now(), 60);
            link.conditions.reason = reason.clone();
            let signed = sign(link, &keyring, seal).unwrap();
            for method in ["GET", "HEAD"] {
                let answer = server.call(method, signed.path_and_query()).send();
                let expected = if reason.is_some() { 200 } else { 422 };
                assert_eq!(answer.status, expected, "{method} {reason:?}");
                if reason.is_none() && method == "GET" {
                    assert_eq!(answer.problem().1, "invalid-values");
                    assert_eq!(answer.fields(), ["reason"]);
                }
            }
        }
    }
}

#[test]
fn the_list_of_exports_tells_which_ones_require_a_reason() {
    let server = server();
    let list = server.call("GET", "/v1/exports");
    let list = list.bearer(&token(server.now())).send().json();
    let found: Vec<(&Value, &Value)> = list["exports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|export| (&export["name"], &export["reason"]))
        .collect();
    let expected = [
        (&json!("optional"), &json!("optional")),
        (&json!("required"), &json!("required")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_commands_take_a_reason_and_refuse_a_missing_one() {
    let folder = configured_folder(&[("required.sql", REQUIRED)]);
    let run = |arguments: &[&str]| {
        let mut command = command(folder.path());
        command
            .args(arguments)
            .args(["required", "--user", "alice"]);
        let output = command.current_dir(folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    for arguments in [&["sign", "--exports", "exports"][..], &["export"]] {
        let (is_done, _, errors) = run(arguments);
        assert!(
            !is_done && errors.starts_with("rowlink: reason: is required"),
            "{errors}"
        );
        let with = |reason: &str| run(&[arguments, &["--reason", reason]].concat());
        let (is_done, _, errors) = with("a\nb");
        assert!(!is_done && errors.contains("200 characters"), "{errors}");
        let (is_done, out, errors) = with("ticket 4711");
        assert!(is_done, "{errors}");
        assert!(
            out.contains("rl_reason=ticket%204711") || out.contains("alice"),
            "{out}"
        );
    }
    let (_, url, _) = run(&["sign", "--reason", "ticket 4711"]);
    let output = command(folder.path()).args(["verify", url.trim()]).output();
    let report = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(report.contains("\nreason        ticket 4711\n"), "{report}");
}

#[test]
fn both_audit_lines_have_the_reason() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_LOG_FORMAT", "json")]);
    let request = json!({"export": "numbers", "format": "csv", "filters": {"n": 2}, "reason": "ticket \"4711\""});
    assert_eq!(Call::new("GET", rowlink.link(request)).send().status, 200);
    let without = json!({"export": "numbers", "format": "csv", "filters": {"n": 2}});
    rowlink.link(without);
    let log = rowlink.stop();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reasons = |message: &str| -> Vec<&Value> {
        let lines = lines.iter().filter(|line| line["message"] == message);
        lines.map(|line| &line["reason"]).collect()
    };
    let expected = json!("ticket \"4711\"");
    assert_eq!(reasons("link issued"), [&expected, &Value::Null]);
    assert_eq!(reasons("download ended"), [&expected]);
}
