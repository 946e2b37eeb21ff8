//! The commands, run as processes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rowlink::auth::ApiKeys;
use rowlink_link::Keyring;
use serde_json::json;

use crate::harness::command::{free_port, run};
use crate::harness::process::{Demo, Rowlink, command, configured_folder, send_signal};
use crate::harness::{Call, exports, wait_for};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_command_has_a_help_text() {
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["demo", "--help"],
        &["check", "--help"],
        &["check-file", "--help"],
        &["replace", "--help"],
        &["revoke", "--help"],
        &["ready", "--help"],
        &["init", "--help"],
        &["tables", "--help"],
        &["new", "--help"],
        &["links", "--help"],
        &["keygen", "--help"],
        &["export", "--help"],
        &["sign", "--help"],
        &["verify", "--help"],
        &["mcp", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_rowlink"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success() && stdout(&output).contains("Usage: rowlink"));
    }
}

#[test]
fn ready_probes_the_server_with_the_same_environment() {
    let port = free_port();
    let bind = format!("0.0.0.0:{port}");
    let metrics = format!("127.0.0.1:{}", free_port());
    let folder = configured_folder(&exports());
    let ask = |variables: &[(&str, &str)]| {
        let mut command = command(folder.path());
        let output = command
            .arg("ready")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), stderr(&output))
    };
    let apart = [
        ("ROWLINK_BIND", bind.as_str()),
        ("ROWLINK_METRICS_BIND", metrics.as_str()),
    ];
    assert_eq!(ask(&apart).0, Some(2), "no server runs");
    let rowlink = Rowlink::serve_with(&exports(), &apart);
    assert_eq!(ask(&apart), (Some(0), String::new()));
    assert_eq!(ask(&apart[..1]), (Some(0), String::new()));
    drop(rowlink);
    let draining = [&apart[..], &[("ROWLINK_DRAIN_DELAY_SECONDS", "60")]].concat();
    let rowlink = Rowlink::serve_with(&exports(), &draining);
    rowlink.terminate();
    wait_for("the drain", Duration::from_secs(10), || {
        ask(&draining) == (Some(2), "rowlink: not ready: status 503\n".to_owned())
    });
}

#[test]
fn keygen_prints_a_key_line_that_is_accepted() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rowlink"))
            .arg("keygen")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (status, line, _) = run(&["--id", "2026a"]);
    assert_eq!(status, Some(0));
    assert_eq!(
        Keyring::parse(&line).unwrap().key_ids().next(),
        Some("2026a")
    );
    assert_ne!(run(&[]).1, run(&[]).1);
    assert_eq!(run(&["--id", "not an id"]).0, Some(2));

    let (status, file, printed) = run(&["--api-key", "cron"]);
    assert_eq!(status, Some(0));
    assert!(
        printed.contains("rlk_") && !file.contains("rlk_") && ApiKeys::parse(&file).is_ok(),
        "{file}"
    );
}

#[test]
fn check_succeeds_for_a_valid_configuration() {
    let folder = configured_folder(&crate::harness::exports());
    let output = command(folder.path()).arg("check").output().unwrap();
    assert_eq!(
        stdout(&output),
        "configuration, exports (5) and databases are valid\n",
        "{}",
        stderr(&output)
    );
    assert!(output.status.success());
}

#[test]
fn check_reports_each_error_with_file_and_line() {
    let folder = configured_folder(&[
        ("good.sql", "select 1 as n, :user as u"),
        ("everyone.sql", "-- all of it\nselect * from orders"),
        ("typo.sql", "/*---\ntitel = 'x'\n---*/\nselect :user"),
    ]);
    let output = command(folder.path()).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("rowlink: everyone.sql:2: every caller would get every row"),
        "{text}"
    );
    assert!(
        text.contains("rowlink: typo.sql:2: unknown field `titel`"),
        "{text}"
    );
    assert!(!text.contains("good.sql"), "{text}");
}

#[test]
fn check_reports_errors_that_only_the_database_detects() {
    let folder = configured_folder(&[
        (
            "column.sql",
            "select 1 as n,\n :user as u,\n missing\nfrom orders",
        ),
        (
            "twice.sql",
            "select id, id from orders where user_id = :user",
        ),
        (
            "label.sql",
            "/*---\n[columns.x]\nlabel = 'X'\n---*/\nselect id from orders where user_id = :user",
        ),
        (
            "write.sql",
            "delete from orders where user_id = :user returning id",
        ),
        (
            "bare.sql",
            "select id from orders where user_id = :user and status = ?",
        ),
    ]);
    let output = command(folder.path()).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for error in [
        "column.sql:3: no such column: missing",
        "twice.sql:1: two columns are named `id`",
        "label.sql:2: [columns.x], but the query has no such column",
        "write.sql:1: expected a read-only query",
        "bare.sql:1: `?`: unsupported placeholder; expected `:name`",
    ] {
        assert!(text.contains(error), "{error} is not in {text}");
    }
}

#[test]
fn an_invalid_configuration_names_every_variable_and_exits_with_2() {
    let folder = configured_folder(&[("a.sql", "select :user as u")]);
    let output = command(folder.path())
        .arg("serve")
        .env("ROWLINK_BIND", "nowhere")
        .env("ROWLINK_SIGNING_KEYS", "k1:c2VjcmV0LXZhbHVl")
        .env("ROWLINK_DEFAULT_TTL_SECONDS", "soon")
        .env_remove("ROWLINK_PUBLIC_URL")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for variable in [
        "ROWLINK_BIND",
        "ROWLINK_PUBLIC_URL",
        "ROWLINK_SIGNING_KEYS",
        "ROWLINK_DEFAULT_TTL_SECONDS",
    ] {
        assert!(
            text.contains(&format!("rowlink: {variable}: ")),
            "{variable} is not in {text}"
        );
    }
    assert!(!text.contains("c2VjcmV0"), "a secret is in {text}");
}

#[test]
fn a_hidden_copy_of_an_export_is_no_export() {
    let folder = configured_folder(&[
        ("good.sql", "select :user as u"),
        (".good.sql", "select nothing"),
    ]);
    let output = command(folder.path()).arg("check").output().unwrap();
    assert_eq!(
        stdout(&output),
        "configuration, exports (1) and databases are valid\n"
    );
}

#[test]
fn a_reload_that_is_requested_while_the_server_starts_does_not_end_it() {
    // A database that accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/db", silent.local_addr().unwrap());
    let folder = configured_folder(&[("it.sql", "select :user as u")]);
    let mut child = command(folder.path())
        .arg("serve")
        .env("ROWLINK_DATABASE_URL", url)
        .spawn()
        .unwrap();
    let _connection = silent.accept().unwrap();
    send_signal(&child, "-HUP");
    // Ends only by the second signal, whose handler is not installed yet.
    send_signal(&child, "-TERM");
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_folder_without_exports_is_an_error() {
    let folder = configured_folder(&[]);
    let output = command(folder.path()).arg("check").output().unwrap();
    assert!(stderr(&output).contains("expected at least one .sql file"));
    let output = command(folder.path())
        .arg("check")
        .env("ROWLINK_EXPORTS_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(stderr(&output).contains("cannot read /nonexistent"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_log_of_a_server_holds_no_signature_token_or_filter_value() {
    let rowlink = Rowlink::serve_with(&crate::harness::exports(), &[("ROWLINK_LOG", "trace")]);
    let url = rowlink
        .link(json!({"export": "echo", "format": "csv", "filters": {"text": "a-private-value"}}));
    let signature = url.rsplit('=').next().unwrap().to_owned();
    assert_eq!(Call::new("GET", url.clone()).send().status, 200);
    assert_eq!(
        Call::new("GET", url.replace("private", "changed"))
            .send()
            .status,
        403
    );
    let log = rowlink.stop();
    assert!(
        log.contains("link issued") && log.contains("download ended"),
        "{log}"
    );
    for secret in [
        signature.as_str(),
        "a-private-value",
        "eyJ",
        "0123456789abcdef",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
#[ignore = "needs Bash and curl: make test"]
fn the_commands_that_the_demo_prints_work_when_pasted() {
    let demo = Demo::start();
    let script: Vec<&str> = demo
        .welcome()
        .lines()
        .filter(|line| line.starts_with("  "))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let pasted = run(Command::new("bash")
        .args(["-ec", &script.join("\n")])
        .current_dir(folder.path()));
    demo.stop();

    let printed = stdout(&pasted);
    assert!(printed.starts_with("http://127.0.0.1:"), "{printed}");
    let mut reader = csv::Reader::from_path(folder.path().join("orders.csv")).unwrap();
    assert_eq!(reader.headers().unwrap().get(5), Some("Amount (EUR)"));
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 135_543);
    assert!(
        records
            .iter()
            .all(|record| &record[4] == "paid" && &record[1] >= "2026-01-01")
    );
}

/// Replaces a file by a text; returns the error.
fn replace(kind: &str, file: &Path, text: &str, arguments: &[&str]) -> Result<(), String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rowlink"))
        .args(["replace", kind])
        .arg(file)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let error = stderr(&output);
    match output.status.code() {
        Some(0) if error.is_empty() => Ok(()),
        code => {
            assert_eq!(code, Some(2), "{error}");
            Err(error)
        }
    }
}

const FIRST: &str = "first:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
const SECOND: &str = "second:YTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

#[test]
fn replace_refuses_what_is_invalid_or_has_lost_something_and_keeps_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let keys = file("signing-keys");
    let both = format!("{SECOND}{FIRST}");
    replace("signing-keys", &keys, &both, &[]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        mode(&keys),
        0o600,
        "a new file is readable only by its owner"
    );
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o640)).unwrap();
    for (text, named) in [
        ("", "key"),
        ("first:AAAA", "`first`"),
        (SECOND, "without the key `first` as it was; add --drop"),
        (&both[..both.len() - 9], "first"),
    ] {
        let error = replace("signing-keys", &keys, text, &[]).unwrap_err();
        assert!(
            error.contains("signing-keys: ") && error.contains(named),
            "{text:?}: {error}"
        );
        assert!(!error.contains("MDEyMzQ1"), "a secret: {error}");
        assert_eq!(fs::read_to_string(&keys).unwrap(), both);
    }
    replace("signing-keys", &keys, SECOND, &["--drop"]).unwrap();
    assert_eq!(
        (fs::read_to_string(&keys).unwrap().as_str(), mode(&keys)),
        (SECOND, 0o640)
    );

    let revocations = file("revocations.toml");
    let watermark = "[users]\n42 = 2026-11-22T10:00:00Z\n";
    replace("revocations", &revocations, watermark, &[]).unwrap();
    let error = replace("revocations", &revocations, "", &[]).unwrap_err();
    assert!(error.contains("the revocation of `42`"), "{error}");
    let error = replace("revocations", &revocations, "\n[users]\n42 = soon\n", &[]).unwrap_err();
    assert!(
        error.contains("line 3") || error.contains("revocations.toml: 3"),
        "{error}"
    );

    let api_keys = file("api-keys.toml");
    let one = format!(
        "[keys.a]\nsha256 = '{}'\nuser = 'x'\nexports = ['orders']\n",
        "0".repeat(64)
    );
    replace("api-keys", &api_keys, &one, &[]).unwrap();
    let cut = one.split("exports").next().unwrap();
    let error = replace("api-keys", &api_keys, cut, &[]).unwrap_err();
    assert!(error.contains("the key `a` as it was"), "{error}");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        3,
        "a temporary file is left"
    );
}

#[test]
fn a_running_server_uses_a_replaced_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    replace("signing-keys", &keys, FIRST, &[]).unwrap();
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_SIGNING_KEYS", ""),
            ("ROWLINK_SIGNING_KEYS_FILE", keys.to_str().unwrap()),
        ],
    );
    let signed_by = |key: &str| {
        let request = json!({"export": "numbers", "format": "csv", "filters": {"n": 1}});
        rowlink.link(request).contains(&format!("rl_key={key}&"))
    };
    assert!(signed_by("first"));
    replace("signing-keys", &keys, SECOND, &["--drop"]).unwrap();
    rowlink.reload();
    wait_for("the new key", Duration::from_secs(5), || {
        signed_by("second")
    });
}
