//! `rowlink init`: a first configuration, and the command that serves it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Call, sample_database};
use crate::shell::{Run, run_with_input};

/// Returns a folder with the sample database.
fn folder_with_database() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sample_database(folder.path());
    folder
}

/// Runs `rowlink init` in a folder, with the database by its relative path.
fn init(folder: &Path, arguments: &[&str]) -> Run {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.env_clear().current_dir(folder).stdin(Stdio::null());
    rowlink.env("ROWLINK_DATABASE_URL", "sqlite:sample.db");
    rowlink.arg("init").args(arguments).output().unwrap().into()
}

const FIRST: [&str; 6] = [
    "--from",
    "orders",
    "--user-column",
    "user_id",
    "--user",
    "bob",
];

#[test]
fn init_writes_what_its_next_command_serves() {
    let folder = folder_with_database();
    let made = init(folder.path(), &[&["my shop"], &FIRST[..]].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    let shop = folder.path().join("my shop");
    for name in [
        "environment",
        "signing-keys",
        "api-keys.toml",
        "database-url",
    ] {
        let mode = fs::metadata(shop.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (_, token) = made.err.split_once("shown once: ").unwrap();
    let token = token.trim();
    assert!(token.starts_with("rlk_") && !made.out.contains(token));
    let signing_key = fs::read_to_string(shop.join("signing-keys")).unwrap();
    let secret = signing_key.trim().split_once(':').unwrap().1;
    assert!(!made.out.contains(secret) && !made.err.contains(secret));

    let next = made
        .out
        .lines()
        .find_map(|line| line.strip_prefix("Next: "))
        .unwrap();
    let server = Server::start(next, folder.path());
    let issue = |body: Value| {
        let url = format!("{}/v1/links", server.origin);
        Call::new("POST", url).bearer(token).json(&body).send()
    };
    let answer = issue(json!({"export": "orders", "format": "csv", "columns": ["id", "user_id"]}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:8080/"), "{url}");
    let url = url.replacen("http://127.0.0.1:8080", &server.origin, 1);
    assert_eq!(
        Call::new("GET", url).send().text(),
        "id,user_id\r\n3,bob\r\n"
    );
    let other = issue(json!({"export": "orders", "format": "csv", "user": "alice"}));
    assert_eq!(other.status, 403, "{}", other.text());
}

/// A server that a line of a shell has started, on a free port.
struct Server {
    child: Child,
    origin: String,
}

impl Server {
    fn start(line: &str, folder: &Path) -> Server {
        let program = Path::new(env!("CARGO_BIN_EXE_rowlink"));
        let mut child = Command::new("/bin/sh")
            // Without `exec` the shell would stay, and the server outlive it.
            .args(["-ec", &line.replace("rowlink serve", "exec rowlink serve")])
            .env_clear()
            .env("PATH", program.parent().unwrap())
            // What a shell may have set before.
            .env("ROWLINK_DATABASE_URL", "sqlite:/nonexistent")
            .env("ROWLINK_BIND", "127.0.0.1:0")
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("listening address=") {
            assert!(log.read_line(&mut text).unwrap() > 0, "{text}");
        }
        let address = text.rsplit("listening address=").next().unwrap().trim();
        let origin = format!("http://{address}");
        // Keeps the pipe open.
        std::thread::spawn(move || log.lines().for_each(drop));
        Server { child, origin }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_leaves_nothing_behind_when_something_is_missing_or_wrong() {
    let folder = folder_with_database();
    let none = init(folder.path(), &["shop"]);
    assert_eq!(none.status, Some(2));
    for option in ["--from", "--user-column", "--user"] {
        let expected = format!("rowlink: {option}: is required without a terminal");
        assert!(none.err.contains(&expected), "{}", none.err);
    }
    let cases: [(&[&str], &str); 4] = [
        (
            &["--from", "nope", "--for-all-users"],
            "--from: unknown table `nope`",
        ),
        (
            &["--from", "orders", "--user-column", "x", "--user", "1"],
            "unknown column `x`",
        ),
        (
            &[
                "--from",
                "orders",
                "--for-all-users",
                "--database",
                "sqlite:gone.db",
            ],
            "database unavailable",
        ),
        (
            &[
                "--from",
                "orders",
                "--for-all-users",
                "--database",
                "oracle:x",
            ],
            "--database: expected sqlite:PATH",
        ),
    ];
    for (more, error) in cases {
        let refused = init(folder.path(), &[&["shop"], more].concat());
        assert_eq!(refused.status, Some(2), "{more:?}");
        assert!(
            refused.err.contains(error),
            "{error} is not in {}",
            refused.err
        );
        assert!(refused.out.is_empty(), "{}", refused.out);
    }
    let unset = run_with_input(&["init", "shop", "--from", "orders", "--for-all-users"], "");
    assert!(
        unset.err.contains("--database: is required"),
        "{}",
        unset.err
    );
    let entries = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(entries, 1, "more than the database is left");
}

#[test]
fn init_never_writes_into_a_folder_with_files_and_fills_an_empty_one() {
    let folder = folder_with_database();
    let shop = folder.path().join("shop");
    fs::create_dir(&shop).unwrap();
    let made = init(folder.path(), &[&["shop"], &FIRST[..]].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    let before = fs::read_to_string(shop.join("signing-keys")).unwrap();
    let refused = init(folder.path(), &[&["shop"], &FIRST[..]].concat());
    assert_eq!(refused.status, Some(2));
    assert!(
        refused.err.contains("shop: is not empty"),
        "{}",
        refused.err
    );
    assert_eq!(
        fs::read_to_string(shop.join("signing-keys")).unwrap(),
        before
    );
}
