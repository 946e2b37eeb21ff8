//! Commands without a server: `sign`, `verify`, `keygen`, `export`, `completions` and `man`.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rowlink_link::{Keyring, Link, Seal, UserId, sign};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::command::run;
use crate::harness::process::{PUBLIC_URL, Rowlink, command, configured_folder, send_signal};
use crate::harness::{Call, SIGNING_KEY, exports, read_workbook, wait_for};
use crate::vectors::{text, vectors};

struct Run {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command with only a key and a public URL in its environment.
fn with_key(key: &str, arguments: &[&str]) -> Run {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.args(arguments).env_clear();
    rowlink.env("ROWLINK_SIGNING_KEYS", key);
    rowlink.env("ROWLINK_PUBLIC_URL", PUBLIC_URL);
    rowlink.output().unwrap().into()
}

/// Runs a command with a key and this standard input.
fn with_input(key: &str, arguments: &[&str], input: &str) -> Run {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.args(arguments).env_clear();
    rowlink.env("ROWLINK_SIGNING_KEYS", key);
    rowlink
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut rowlink = rowlink.spawn().unwrap();
    let mut stdin = rowlink.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    rowlink.wait_with_output().unwrap().into()
}

/// Runs a command with a complete configuration, in its folder.
fn within(folder: &Path, arguments: &[&str]) -> Run {
    let output = command(folder).args(arguments).current_dir(folder).output();
    output.unwrap().into()
}

fn folder() -> TempDir {
    configured_folder(&exports())
}

#[test]
fn a_link_signed_offline_downloads_the_file() {
    let server = Rowlink::serve(&exports());
    let download = |arguments: &[&str]| {
        let signed = with_key(SIGNING_KEY, &[&["sign"], arguments].concat());
        assert_eq!(signed.status, Some(0), "{}", signed.err);
        let target = signed
            .out
            .trim()
            .strip_prefix(PUBLIC_URL)
            .unwrap()
            .to_owned();
        Call::new("GET", format!("{}{target}", server.origin())).send()
    };
    let orders = download(&[
        "orders",
        "--user",
        "alice",
        "--filter",
        "from=2026-01-01",
        "--filter",
        "status=paid",
        "--filter",
        "status=refunded",
        "--columns",
        "id,amount",
        "--option",
        "csv.delimiter=;",
        "--filename",
        "März",
        "--ip",
        "127.0.0.0/8",
        "--max-rows",
        "100",
        "--expires-in",
        "600",
    ]);
    assert_eq!(orders.status, 200, "{}", orders.text());
    assert!(
        orders.text().starts_with("id;Amount (EUR)\r\n"),
        "{}",
        orders.text()
    );
    assert!(
        orders
            .header("content-disposition")
            .contains("M%C3%A4rz.csv")
    );
    let by_org = download(&["by_org", "--user", "x", "--claim", "org_id=7", "--seal"]);
    assert_eq!(by_org.status, 200, "{}", by_org.text());
    let workbook = download(&[
        "numbers", "--user", "x", "--format", "xlsx", "--filter", "n=3",
    ]);
    assert!(workbook.body.starts_with(b"PK"));
    let later = [
        "numbers",
        "--user",
        "x",
        "--filter",
        "n=3",
        "--not-before",
        "2199-01-01T00:00:00Z",
    ];
    let refused = with_key(SIGNING_KEY, &[&["sign"], &later[..]].concat());
    assert_eq!(
        refused.err,
        "rowlink: not_before: expected a time before the link expires\n"
    );
}

#[test]
fn sign_with_exports_refuses_what_the_server_would_refuse() {
    let folder = folder();
    let refused = |arguments: &[&str]| {
        let signed = within(
            folder.path(),
            &[&["sign", "--exports", "exports"], arguments].concat(),
        );
        assert_eq!((signed.status, signed.out.as_str()), (Some(2), ""));
        signed.err
    };
    let errors = refused(&[
        "orders",
        "--user",
        "alice",
        "--filter",
        "status=lost",
        "--filter",
        "x=1",
        "--option",
        "csv.bom=perhaps",
        "--expires-in",
        "99999",
    ]);
    for field in [
        "filters.x: unknown",
        "filters.status: ",
        "filters.from: is required",
        "csv.bom: ",
        "expires_in: ",
    ] {
        assert!(errors.contains(&format!("rowlink: {field}")), "{errors}");
    }
    assert!(refused(&["none", "--user", "alice"]).contains("unknown export `none`"));
    assert!(refused(&["by_org", "--user", "alice"]).contains("claims.org_id: is required"));
    let claims = refused(&[
        "numbers", "--user", "a", "--filter", "n=1", "--claim", "org_id=7",
    ]);
    assert!(claims.contains("claims.org_id: unknown claim"), "{claims}");
    for bad in [
        &["orders", "--user", ""][..],
        &["orders", "--user", "a", "--filter", "from"],
        &["orders", "--user", "a", "--option", "user=b"],
        &["orders", "--user", "a", "--ip", "10.0.0.1/8"],
        &["orders", "--user", "a", "--max-rows", "0"],
        &["orders", "--user", "a", "--format", "pdf"],
        &["orders", "--user", "a", "--filename", "../x"],
    ] {
        assert!(refused(bad).starts_with("error: invalid value"));
    }
    for (field, bad) in [
        (
            "filters.rl_user",
            &["orders", "--user", "a", "--filter", "rl_user=bob"][..],
        ),
        ("filters.", &["orders", "--user", "a", "--filter", "=x"]),
        ("claims.org", &["orders", "--user", "a", "--claim", "org="]),
        ("export", &["a/b", "--user", "a"]),
    ] {
        let signed = with_key(SIGNING_KEY, &[&["sign"], bad].concat());
        assert!(
            signed.err.starts_with(&format!("rowlink: {field}: ")),
            "{}",
            signed.err
        );
    }
    let long = "x".repeat(5000);
    let signed = with_key(
        SIGNING_KEY,
        &["sign", "a", "--user", "a", "--filter", &format!("f={long}")],
    );
    assert!(
        signed.err.contains("the link would have 5"),
        "{}",
        signed.err
    );
    let unset = Command::new(env!("CARGO_BIN_EXE_rowlink"))
        .args(["sign", "a", "--user", "a"])
        .env_clear()
        .output();
    assert_eq!(
        Run::from(unset.unwrap()).err,
        "rowlink: ROWLINK_SIGNING_KEYS: is required\n"
    );
}

#[test]
#[ignore = "takes seconds: make test"]
fn verify_gives_the_expected_reason_for_every_vector() {
    let vectors = vectors();
    let keys: Vec<&str> = vectors["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap())
        .collect();
    let keys = keys.join(",");
    let (mut refused, mut valid) = (0, 0);
    for case in vectors["links"].as_array().unwrap() {
        let (name, outcome, query) = (
            text(case, "name"),
            text(case, "outcome"),
            text(case, "query"),
        );
        let url = format!("{PUBLIC_URL}{}?{query}", text(case, "path"));
        let at = case["now"].to_string();
        let how = ["verify", "--at", &at, "--from", text(case, "client"), "-"];
        let said = with_input(&keys, &how, &url);
        if outcome == "valid" {
            valid += 1;
            assert_eq!((said.status, said.err.as_str()), (Some(0), ""), "{name}");
            assert!(said.out.ends_with("\nvalid\n"), "{name}: {}", said.out);
            assert!(
                said.out.contains(text(case, "canonical_query")),
                "{name}: {}",
                said.out
            );
        } else {
            refused += 1;
            assert_eq!((said.status, said.err.as_str()), (Some(1), ""), "{name}");
            let last = said.out.lines().last().unwrap();
            assert!(
                last.contains(&format!("refused: {outcome}: ")),
                "{name}: {}",
                said.out
            );
        }
    }
    assert!(valid > 100 && refused > 300, "{valid} {refused}");
}

#[test]
fn verify_refuses_a_genuine_link_that_no_server_has_a_format_or_option_for() {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    for (format, option, expected) in [
        (
            "doc",
            "csv.bom",
            "format        refused: unknown-format: unknown format; expected one of csv, ",
        ),
        (
            "csv",
            "csv.delimter",
            "options       refused: invalid-values: csv.delimter: unknown option",
        ),
        ("csv", "csv.bom", "valid"),
    ] {
        let now = 1_769_853_600;
        let mut link = Link::new("orders", format, UserId::parse("a").unwrap(), now, 60);
        link.options.insert(option.into(), "true".into());
        let signed = sign(link, &keyring, Seal::Open).unwrap();
        let how = ["verify", "--at", "1769853601", signed.path_and_query()];
        let said = with_key(SIGNING_KEY, &how);
        let last = said.out.lines().last().unwrap();
        assert!(last.starts_with(expected), "{}", said.out);
        assert_eq!(said.status == Some(0), expected == "valid");
    }
}

#[test]
fn verify_checks_the_export_of_a_link_if_it_has_the_exports() {
    let folder = configured_folder(&exports());
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let now = 1_769_853_600;
    for (export, filter, claim, expected) in [
        ("numbers", ("n", "3"), None, "valid"),
        (
            "numbers",
            ("n", "many"),
            None,
            "export        refused: invalid-values: filters.n: expected a 64-bit integer",
        ),
        (
            "numbers",
            ("m", "3"),
            None,
            "export        refused: invalid-values: filters.m: unknown filter",
        ),
        (
            "gone",
            ("n", "3"),
            None,
            "export        refused: unknown-export: gone",
        ),
        (
            "by_org",
            ("n", "3"),
            None,
            "export        refused: invalid-values: filters.n: unknown filter",
        ),
        (
            "numbers",
            ("n", "3"),
            Some("org_id"),
            "export        refused: invalid-values: claims.org_id: unknown claim",
        ),
    ] {
        let mut link = Link::new(export, "csv", UserId::parse("a").unwrap(), now, 60);
        link.filters.push((filter.0.into(), filter.1.into()));
        link.claims
            .extend(claim.map(|name| (name.to_owned(), "7".to_owned())));
        let signed = sign(link, &keyring, Seal::Open).unwrap();
        let how = ["verify", "--at", "1769853601", signed.path_and_query()];
        let unchecked = within(folder.path(), &how);
        assert!(
            unchecked
                .out
                .contains("export        filters and options not checked"),
            "{}",
            unchecked.out
        );
        assert!(unchecked.out.ends_with("\nvalid\n"));
        let checked = within(
            folder.path(),
            &[&how[..], &["--exports", "exports"]].concat(),
        );
        let last = checked.out.lines().last().unwrap();
        assert!(last.starts_with(expected), "{}", checked.out);
        assert_eq!(checked.status == Some(0), expected == "valid");
    }
}

#[test]
fn verify_prints_the_text_of_a_refusal_unchanged() {
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let now = 1_769_853_600;
    let link = Link::new("orders", "csv", UserId::parse("a").unwrap(), now, 9_999_999);
    let signed = sign(link, &keyring, Seal::Open).unwrap();
    let how = ["verify", "--at", "1769853601", signed.path_and_query()];
    let said = with_key(SIGNING_KEY, &how).out;
    let expected = "refused: link-lives-too-long: the link's lifetime is 9999999 s; ";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn sign_refuses_an_option_that_no_format_has() {
    for option in ["csv.delimter=;", "doc.bom=true", "bom=true"] {
        let how = ["sign", "orders", "--user", "a", "--option", option];
        let said = with_key(SIGNING_KEY, &how);
        assert_eq!((said.status, said.out.as_str()), (Some(2), ""));
        assert!(said.err.contains("--option"), "{}", said.err);
    }
}

#[test]
fn verify_escapes_control_characters() {
    let escape = "%1b%5d0;x%07";
    for (url, shows_it) in [
        (
            format!("https://x/v1/exports/orders.csv?rl_{escape}=1"),
            false,
        ),
        (
            with_key(
                SIGNING_KEY,
                &[
                    "sign",
                    "orders",
                    "--user",
                    "a",
                    "--filter",
                    "\u{1b}[2J\nsignature     ok=x",
                ],
            )
            .out,
            true,
        ),
    ] {
        let said = with_key(SIGNING_KEY, &["verify", url.trim()]).out;
        assert_eq!(said.contains("\\u{1b}"), shows_it, "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
        assert!(said.matches("\nsignature     ok").count() <= 1, "{said}");
    }
    let long = format!("https://x/v1/exports/orders.csv?a={}", "x".repeat(4096));
    assert!(
        with_key(SIGNING_KEY, &["verify", &long])
            .out
            .contains("expected at most 4096 bytes")
    );
}

#[test]
fn verify_reads_a_link_from_standard_input() {
    let signed = with_key(
        SIGNING_KEY,
        &[
            "sign", "orders", "--user", "alice", "--seal", "--filter", "note=a b",
        ],
    );
    let said = with_input(SIGNING_KEY, &["verify", "-"], &signed.out).out;
    assert!(
        said.contains("user          alice\n") && said.contains("filter        note=a b"),
        "{said}"
    );
    assert!(
        said.contains("address       not checked: no --from\n"),
        "{said}"
    );
}

#[test]
fn a_child_key_signs_only_for_its_scope() {
    let child =
        |arguments: &[&str]| with_key(SIGNING_KEY, &[&["keygen", "--child"], arguments].concat());
    let made = child(&[
        "--export",
        "numbers",
        "--export",
        "orders",
        "--user-prefix",
        "tenant7:",
    ]);
    let key = made.out.trim();
    assert!(
        key.starts_with("t1:")
            && key.ends_with(":export=numbers&export=orders&user_prefix=tenant7%3A"),
        "{key}"
    );
    let sign = |user: &str| with_key(key, &["sign", "numbers", "--user", user, "--filter", "n=3"]);
    assert_eq!(
        sign("tenant8:bob").err,
        "rowlink: the link is outside the scope of the signing key: user\n"
    );
    let server = Rowlink::serve(&exports());
    let signed = sign("tenant7:bob").out;
    let target = signed.trim().strip_prefix(PUBLIC_URL).unwrap();
    let answer = Call::new("GET", format!("{}{target}", server.origin())).send();
    assert!(
        answer.text().contains("row 3 of tenant7:bob"),
        "{}",
        answer.text()
    );

    assert!(child(&[]).err.contains("--child: expected a scope"));
    assert!(
        child(&["--export", "a", "--id", "t2"])
            .err
            .contains("unknown parent key `t2`")
    );
    assert!(
        child(&["--user-prefix", "\n"])
            .err
            .contains("expected scope values")
    );
    let prefix = child(&["--user-prefix", "tenant7"]);
    assert!(prefix.err.contains("`tenant7` would include `tenant70`"));
    let for_alice = child(&["--user", "alice"]).out;
    let sign = |user: &str| with_key(for_alice.trim(), &["sign", "numbers", "--user", user]);
    assert!(sign("alice").out.contains("rl_scope=user%3Dalice"));
    assert!(
        sign("alice2")
            .err
            .ends_with("scope of the signing key: user\n")
    );
    let grandchild = with_key(key, &["keygen", "--child", "--export", "numbers"]);
    assert!(
        grandchild.err.contains("not a child key"),
        "{}",
        grandchild.err
    );
}

#[test]
#[ignore = "needs Python packages: make test"]
fn export_writes_the_same_file_as_a_download() {
    let folder = folder();
    let dir = folder.path();
    let server = Rowlink::serve(&exports());
    let numbers = json!({"export": "numbers", "format": "csv", "filters": {"n": 2_000}});
    let over_http = Call::new("GET", server.link(numbers)).send().text();
    let ask = ["export", "numbers", "--user", "alice", "--filter", "n=2000"];
    let to_stdout = within(dir, &ask);
    assert_eq!((to_stdout.status, to_stdout.err.as_str()), (Some(0), ""));
    assert_eq!(to_stdout.out, over_http);

    fs::write(dir.join("numbers.csv"), "what was there before").unwrap();
    let to_file = within(dir, &[&ask[..], &["-o", "numbers.csv"]].concat());
    assert_eq!(to_file.out, "");
    assert!(
        to_file.err.contains("numbers.csv: 2,000 rows, "),
        "{}",
        to_file.err
    );
    assert_eq!(
        fs::read_to_string(dir.join("numbers.csv")).unwrap(),
        over_http
    );

    let workbook = [&ask[..], &["--format", "xlsx", "--output", "book.xlsx"]].concat();
    assert_eq!(within(dir, &workbook).status, Some(0));
    let read = read_workbook(&fs::read(dir.join("book.xlsx")).unwrap());
    assert_eq!(
        read["openpyxl"]["sheets"][0]["rows"]
            .as_array()
            .unwrap()
            .len(),
        2_001
    );

    let by_org = within(
        dir,
        &["export", "by_org", "--user", "x", "--claim", "org_id=7"],
    );
    assert!(by_org.out.lines().count() > 1, "{}", by_org.err);
}

#[test]
fn an_export_has_no_url_whose_length_would_limit_its_values() {
    let sql = "/*---\n[filters.id]\ntype = 'uuid'\nlist = true\n---*/\n\
        select value from json_each(:id) where :user = 'a'";
    let folder = configured_folder(&[("ids.sql", sql)]);
    let ids: Vec<String> = (1..=101).map(|n| Uuid::from_u128(n).to_string()).collect();
    let export = |count: usize| {
        let filters = ids[..count].iter().map(|id| format!("--filter=id={id}"));
        let mut arguments = vec!["export".to_owned(), "ids".to_owned(), "--user=a".to_owned()];
        arguments.extend(filters);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        within(folder.path(), &arguments)
    };
    let exported = export(100);
    assert_eq!(exported.out.lines().count(), 101, "{}", exported.err);
    assert!(exported.out.ends_with(&format!("{}\r\n", ids[99])));
    assert!(
        export(101).err.contains("filters.id: "),
        "more than the limit"
    );
}

#[test]
fn a_failed_export_leaves_no_file_and_keeps_an_existing_one() {
    let folder = configured_folder(&[&exports()[..], &[("broken.sql", "select nothing")]].concat());
    let dir = folder.path();
    fs::write(dir.join("kept.csv"), "kept").unwrap();
    let before = fs::read_dir(dir).unwrap().count();
    let fails = [
        "export",
        "numbers",
        "--user",
        "a",
        "--filter",
        "n=90000",
        "--filter",
        "fail_at=80000",
    ];
    let failed = within(dir, &[&fails[..], &["-o", "kept.csv"]].concat());
    assert_eq!(failed.status, Some(3));
    assert!(failed.err.contains("malformed JSON"), "{}", failed.err);
    assert_eq!(fs::read_to_string(dir.join("kept.csv")).unwrap(), "kept");
    assert_eq!(fs::read_dir(dir).unwrap().count(), before);

    let refused = |arguments: &[&str]| within(dir, &[&["export"], arguments].concat()).err;
    assert!(refused(&["numbers", "--user", "a"]).contains("filters.n: is required"));
    assert!(refused(&["none", "--user", "a"]).contains("unknown export `none` in "));
    let unpinned = [
        "numbers", "--user", "a", "--filter", "n=1", "--claim", "org_id=7",
    ];
    assert!(refused(&unpinned).contains("claims.org_id: unknown claim"));
    assert!(refused(&["../x", "--user", "a"]).contains("unknown export `../x` in "));
    assert!(refused(&["by_org", "--user", "a"]).contains("claims.org_id: is required"));
    assert!(
        refused(&[
            "numbers", "--user", "a", "--filter", "n=1", "-o", "no/x.csv"
        ])
        .contains("no/x.csv: No such file or directory")
    );
}

/// Returns an export command that runs longer than any test.
fn endless_export(dir: &Path) -> Command {
    let mut rowlink = command(dir);
    let export = [
        "export",
        "numbers",
        "--user",
        "a",
        "--filter",
        "n=2000000000",
    ];
    rowlink.args(export).current_dir(dir);
    rowlink
}

#[test]
fn an_interrupted_export_leaves_no_file() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let folder = folder();
        let dir = folder.path();
        let before = fs::read_dir(dir).unwrap().count();
        let mut child = endless_export(dir)
            .args(["-o", "never.csv"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let parts = || {
            let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
            files
                .filter(|path| path.extension().is_some_and(|it| it == "part"))
                .count()
        };
        wait_for("the first rows", Duration::from_secs(20), || parts() == 1);
        send_signal(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(3), "{signal}");
        assert_eq!(fs::read_dir(dir).unwrap().count(), before, "{signal}");
    }
}

#[test]
fn an_export_into_a_stalled_pipe_can_be_stopped() {
    let folder = folder();
    let mut export = endless_export(folder.path());
    let mut child = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut first = [0; 4];
    pipe.read_exact(&mut first).unwrap();
    send_signal(&child, "-TERM");
    wait_for("its end", Duration::from_secs(20), || {
        child.try_wait().unwrap().is_some()
    });
    drop(pipe);
}

#[test]
fn an_export_into_a_pipe_without_a_reader_can_be_stopped() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    run(Command::new("mkfifo").arg(&pipe));
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut export = endless_export(folder.path());
        let mut child = export.args(["-o", "pipe"]).spawn().unwrap();
        // The handler is installed before the pipe is opened.
        wait_for("the handler", Duration::from_secs(20), || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let caught = status.unwrap_or_default();
            let caught = caught
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:\t"));
            let caught = u64::from_str_radix(caught.unwrap_or("0"), 16).unwrap();
            // SIGHUP, SIGINT and SIGTERM are 1, 2 and 15.
            [1, 2, 15]
                .iter()
                .all(|signal| caught & (1 << (signal - 1)) != 0)
        });
        send_signal(&child, signal);
        let mut code = None;
        wait_for("its end", Duration::from_secs(20), || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        assert_eq!(code.unwrap().code(), Some(3), "{signal}");
    }
}

#[test]
fn an_export_tells_whether_it_had_begun_and_what_it_has_written() {
    let folder = configured_folder(&exports());
    let ask = |arguments: &[&str]| {
        within(
            folder.path(),
            &[&["export", "numbers", "--user", "a"], arguments].concat(),
        )
    };
    let nowhere = ask(&["--filter", "n=1", "-o", "/nope/x.csv"]);
    assert_eq!(nowhere.status, Some(2));
    assert!(
        nowhere
            .err
            .contains("/nope/x.csv: No such file or directory"),
        "{}",
        nowhere.err
    );
    let wrong = ask(&["--filter", "n=many"]);
    assert_eq!(wrong.status, Some(2));
    assert!(
        wrong.err.contains("filters.n: expected a 64-bit integer"),
        "{}",
        wrong.err
    );
    let failed = ask(&[
        "--filter",
        "n=90000",
        "--filter",
        "fail_at=80000",
        "-o",
        "file.csv",
    ]);
    assert_eq!(failed.status, Some(3), "{}", failed.err);
    assert!(!folder.path().join("file.csv").exists());
    let written = ask(&["--filter", "n=3", "-o", "file.csv"]);
    assert_eq!(written.status, Some(0));
    assert!(
        written.err.contains("file.csv: 3 rows, "),
        "{}",
        written.err
    );
}

#[test]
fn an_export_keeps_symlinks_file_modes_and_devices() {
    let folder = folder();
    let dir = folder.path();
    let export = |to: &str| {
        within(
            dir,
            &[
                "export", "numbers", "--user", "a", "--filter", "n=3", "-o", to,
            ],
        )
    };
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    fs::write(dir.join("secret.csv"), "").unwrap();
    fs::set_permissions(dir.join("secret.csv"), Permissions::from_mode(0o600)).unwrap();
    symlink("secret.csv", dir.join("current.csv")).unwrap();
    assert_eq!(export("current.csv").status, Some(0));
    assert!(fs::read_link(dir.join("current.csv")).is_ok());
    assert!(
        fs::read_to_string(dir.join("secret.csv"))
            .unwrap()
            .contains("row 3 of a")
    );
    assert_eq!(mode("secret.csv"), 0o600);
    assert_eq!(export("new.csv").status, Some(0));
    assert_eq!(mode("new.csv") & 0o600, 0o600);

    assert_eq!(export("/dev/null").status, Some(0));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert!(export("/dev/stdout").out.contains("row 3 of a"));
    let refused = export("exports").err;
    assert!(refused.contains("exports: is a directory"), "{refused}");
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let commands = [
        "serve",
        "demo",
        "check",
        "ready",
        "init",
        "tables",
        "new",
        "links",
        "export",
        "check-file",
        "sign",
        "verify",
        "keygen",
        "audit",
        "replace",
        "revoke",
        "mcp",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = with_key(SIGNING_KEY, &["completions", shell]).out;
        assert!(
            commands.iter().all(|command| script.contains(command)),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(
        with_key(SIGNING_KEY, &["man", dir.to_str().unwrap()]).status,
        Some(0)
    );
    let rowlink = fs::read_to_string(dir.join("rowlink.1")).unwrap();
    for command in commands {
        let page = fs::read_to_string(dir.join(format!("rowlink-{command}.1"))).unwrap();
        assert!(
            page.contains(".SH OPTIONS") && rowlink.contains(&command.replace('-', "\\-")),
            "{command}"
        );
    }
    assert!(
        with_key(SIGNING_KEY, &["man", "/nonexistent"])
            .err
            .contains("/nonexistent")
    );
}

#[test]
fn a_language_is_signed_as_it_is_usually_spelled() {
    let sign = |language: &str| {
        let arguments = ["sign", "a", "--user", "a", "--language", language];
        with_key(SIGNING_KEY, &arguments)
    };
    let signed = sign("de-at");
    assert_eq!(signed.status, Some(0), "{}", signed.err);
    assert!(signed.out.contains("&rl_language=de-AT&"), "{}", signed.out);
    let refused = sign("xx-!");
    assert_ne!(refused.status, Some(0), "{}", refused.out);
    assert!(
        refused.err.contains("expected a language tag"),
        "{}",
        refused.err
    );
}
