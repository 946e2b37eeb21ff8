//! Revocation of single links: what a server refuses, and `rowlink revoke`.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rowlink::config::revocations_file;
use rowlink_link::{Revocations, parse_query};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::process::Rowlink;
use crate::harness::{Call, SIGNING_KEY, TestServer, exports, token, wait_for};

fn numbers(more: Value) -> Value {
    let mut request = json!({"export": "numbers", "format": "csv", "filters": {"n": 3}});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// Returns the id of the link in a URL.
fn id_of(url: &str) -> Uuid {
    let query = parse_query(url.split_once('?').unwrap().1).unwrap();
    let id = query.iter().find(|(name, _)| name == "rl_link");
    id.unwrap().1.parse().unwrap()
}

#[test]
fn a_revoked_link_is_refused_wherever_it_is_used_and_others_of_its_user_work() {
    let server = TestServer::start();
    let (open, other) = (
        server.link(numbers(json!({}))),
        server.link(numbers(json!({}))),
    );
    let sealed = server.link(numbers(json!({"seal": true})));
    let measured = numbers(json!({"length": "exact", "resume_seconds": 60}));
    let resumed = server.link(measured);
    let tag = Call::new("GET", &resumed).send().header("etag").to_owned();
    let confirmed = server.link(numbers(json!({"confirm": true})));
    let links = [&open, &sealed, &resumed, &confirmed];
    let entries = links.map(|link| format!("{} = 2026-01-31T10:01:00Z\n", id_of(link)));
    let file = format!("[links]\n{}", entries.concat());
    let revocations = revocations_file::parse(&file).unwrap();
    server.state.service.set_revocations(revocations);

    let refused = (410, "link-revoked".to_owned());
    let token = token(server.now());
    for link in links {
        assert_eq!(Call::new("GET", link).send().problem(), refused);
        assert_eq!(Call::new("HEAD", link).send().status, 410);
        for path in ["/v1/links/status", "/v1/links/cancel"] {
            let answer = server.call("POST", path).json(&json!({"url": link})).send();
            assert_eq!(answer.problem(), refused, "{path}");
        }
        let inspect = server.call("POST", "/v1/links/inspect").bearer(&token);
        let found = inspect.json(&json!({"url": link})).send().json();
        assert_eq!(
            (&found["valid"], &found["code"]),
            (&json!(false), &json!("link-revoked"))
        );
    }
    assert_eq!(Call::new("POST", &confirmed).send().problem(), refused);
    let rest = Call::new("GET", &resumed).header("range", "bytes=1-");
    let rest = rest.header("if-range", tag).send();
    assert_eq!(rest.problem(), refused);
    // A holder of no key learns nothing about ids.
    let forged = open.replace("rl_user=alice", "rl_user=bob");
    let forged = Call::new("GET", forged).send();
    assert_eq!(forged.problem(), (403, "bad-signature".into()));
    assert_eq!(Call::new("GET", &other).send().status, 200);
}

struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A file of revocations in a folder of its own.
struct Revoked {
    folder: TempDir,
}

impl Revoked {
    fn new(text: &str) -> Revoked {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("revocations.toml"), text).unwrap();
        Revoked { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn parsed(&self) -> Revocations {
        revocations_file::parse(&self.text()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
        command.arg("revoke").args(arguments);
        configure(&mut command, &self.path());
        command
    }

    fn revoke(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }

    fn revoke_from(&self, input: &str) -> Said {
        let mut child = self.command(&["-"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }
}

fn configure(command: &mut Command, file: &Path) {
    command
        .env_clear()
        .env("ROWLINK_REVOCATIONS_FILE", file)
        .env("ROWLINK_SIGNING_KEYS", SIGNING_KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

const FIRST: &str = "0198c2f4-6f3a-7cc1-9b2e-0242ac120001";
const SECOND: &str = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002";

#[test]
fn an_edit_keeps_comments_and_mode_and_reports_what_it_removes() {
    let text = format!(
        "# Ask Ann.\n[links]\n# mailed\n{FIRST} = 2026-01-31T10:00:00Z\n\n[users]\n\"42\" = 2100-01-01T00:00:00Z # left\n# end\n"
    );
    let file = Revoked::new(&text);
    fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
    let said = file.revoke(&[SECOND, "--expires", "2100-02-01T00:00:00Z"]);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    let removed = format!("link {FIRST}: entry removed; it expired at 2026-01-31T10:00:00Z\n");
    let added = format!("link {SECOND}: revoked; entry kept until 2100-02-01T00:00:00Z\n");
    assert!(said.out.starts_with(&(added + &removed)), "{}", said.out);
    let expected = text.replace(
        &format!("# mailed\n{FIRST} = 2026-01-31T10:00:00Z"),
        &format!("{SECOND} = 2100-02-01T00:00:00Z"),
    );
    assert_eq!(file.text(), expected);
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    // An entry is never made shorter, and a later watermark stays.
    file.revoke(&[SECOND, "--expires", "2099-01-01T00:00:00Z"]);
    file.revoke(&["--user", "42"]);
    assert_eq!(file.text(), expected);
    let left = fs::read_dir(file.folder.path()).unwrap().count();
    assert_eq!(left, 1, "a temporary file is left");
}

#[test]
fn the_links_of_a_user_or_a_key_are_revoked_until_now() {
    let file = Revoked::new("");
    let now = || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
    };
    let before = now();
    assert_eq!(file.revoke(&["--user", "ann o'neill"]).status, Some(0));
    assert_eq!(file.revoke(&["--key", "2026a"]).status, Some(0));
    assert_eq!(file.revoke(&[FIRST]).status, Some(0));
    let (found, after) = (file.parsed(), now());
    // A link that was issued in this second is revoked too.
    for at in [found.users["ann o'neill"], found.keys["2026a"]] {
        assert!((before + 1..=after + 1).contains(&at), "{at}");
    }
    let year = 366 * 86_400;
    assert!(found.links[&FIRST.parse::<Uuid>().unwrap()] > before + year);
}

#[test]
fn what_cannot_be_revoked_is_an_error_and_changes_nothing() {
    let text = format!("[links]\n{FIRST} = 2026-01-31T10:00:00Z\n");
    let file = Revoked::new(&text);
    let server = TestServer::start();
    let url = server.link(numbers(json!({})));
    let forged = url.replace("rl_expires=1", "rl_expires=2");
    let signature = url.rsplit('=').next().unwrap();
    for (arguments, named) in [
        (&[][..], "ID|URL"),
        (&["42"], "expected the id of a link"),
        (&[SECOND, "--user", "42"], "--user"),
        (&["--user", "42", "--key", "k"], "--key"),
        (&["--user", ""], "--user"),
        (&["--key", "a b"], "--key"),
        (&[SECOND, "--expires", "soon"], "--expires"),
        (
            &[SECOND, "--expires", "9999999999999"],
            "before the year 10000",
        ),
        (&[&url, "--expires", "2100-01-01T00:00:00Z"], "--expires"),
        (&[&forged], "the signature does not match"),
        (
            &[SECOND, "--file", "/nonexistent/file"],
            "/nonexistent/file",
        ),
    ] {
        let said = file.revoke(arguments);
        assert_eq!(
            (said.status, said.out.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(said.err.contains(named), "{arguments:?}: {}", said.err);
        assert!(!said.err.contains(signature), "a secret: {}", said.err);
        assert_eq!(file.text(), text, "{arguments:?}");
    }
    // All lines, or none.
    let said = file.revoke_from(&format!("{SECOND}\n\nx\n"));
    assert_eq!(said.status, Some(2));
    assert!(
        said.err.contains("standard input: line 3: expected"),
        "{}",
        said.err
    );
    assert_eq!(file.revoke_from("\n").status, Some(2));
    assert_eq!(file.text(), text);

    let mut without_keys = file.command(&[&url]);
    let said: Said = without_keys
        .env_remove("ROWLINK_SIGNING_KEYS")
        .output()
        .unwrap()
        .into();
    assert!(
        said.err.contains("ROWLINK_SIGNING_KEYS: is required"),
        "{}",
        said.err
    );
    let mut without_file = file.command(&[SECOND]);
    let said: Said = without_file
        .env_remove("ROWLINK_REVOCATIONS_FILE")
        .output()
        .unwrap()
        .into();
    assert!(
        said.err.contains("ROWLINK_REVOCATIONS_FILE: is required"),
        "{}",
        said.err
    );

    let invalid = Revoked::new("[users]\n42 = soon\n");
    let said = invalid.revoke(&[SECOND]);
    assert_eq!(said.status, Some(2));
    assert!(
        said.err.contains("revocations.toml: line 2: "),
        "{}",
        said.err
    );
    assert_eq!(invalid.text(), "[users]\n42 = soon\n");
}

#[test]
fn commands_that_run_at_the_same_time_all_keep_their_entries() {
    let file = Revoked::new("# entries\n");
    let lock = File::open(file.path()).unwrap();
    lock.lock().unwrap();
    let ids: Vec<Uuid> = (1..=8).map(Uuid::from_u128).collect();
    let start = |id: &Uuid| file.command(&[&id.to_string()]).spawn().unwrap();
    let mut commands: Vec<Child> = ids.iter().map(start).collect();
    // A command that does not wait for the lock would have ended before one that takes none.
    assert!(file.command(&["--help"]).output().unwrap().status.success());
    let is_waiting = |child: &mut Child| child.try_wait().unwrap().is_none();
    assert!(commands.iter_mut().all(is_waiting));
    assert_eq!(file.text(), "# entries\n");
    drop(lock);
    for command in commands {
        let said: Said = command.wait_with_output().unwrap().into();
        assert_eq!(said.status, Some(0), "{}", said.err);
    }
    let found = file.parsed().links;
    assert!(
        ids.iter().all(|id| found.contains_key(id)),
        "{}",
        file.text()
    );
    assert!(file.text().starts_with("# entries\n"));
}

#[test]
fn a_command_that_is_stopped_while_it_writes_leaves_the_old_file() {
    let text = format!("[links]\n{FIRST} = 2100-01-31T10:00:00Z\n");
    let file = Revoked::new(&text);
    // No file may grow: the first byte of the new one is refused, by a signal that ends the process or by an error.
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -c 0; ulimit -f 0; exec \"$0\" revoke \"$1\""]);
    limited.args([env!("CARGO_BIN_EXE_rowlink"), SECOND]);
    configure(&mut limited, &file.path());
    let stopped = limited.output().unwrap();
    assert!(!stopped.status.success());
    assert_eq!(file.text(), text);
    // Its lock ended with it.
    assert_eq!(file.revoke(&[SECOND]).status, Some(0));
    assert_eq!(file.parsed().links.len(), 2);
}

#[test]
fn a_running_server_refuses_a_link_soon_after_it_was_revoked() {
    let file = Revoked::new("# none\n");
    let path = file.path();
    let variables = [("ROWLINK_REVOCATIONS_FILE", path.to_str().unwrap())];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let link = |more| rowlink.link(numbers(more));
    let (by_url, by_id, other) = (
        link(json!({"seal": true})),
        link(json!({})),
        link(json!({})),
    );
    let status = |link: &str| Call::new("GET", link).send().status;
    assert_eq!([&by_url, &by_id].map(|link| status(link)), [200, 200]);
    let said = file.revoke_from(&format!("{by_url}\n{}\n", id_of(&by_id)));
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(!said.out.contains("rl_signature"), "{}", said.out);
    wait_for("the revocation", Duration::from_secs(10), || {
        status(&by_url) == 410 && status(&by_id) == 410
    });
    assert_eq!(status(&other), 200);
    // The entry of a URL ends with the link.
    let found = file.parsed().links;
    let issued_for = |link: &str| found[&id_of(link)];
    assert!(issued_for(&by_url) < issued_for(&by_id));
}
