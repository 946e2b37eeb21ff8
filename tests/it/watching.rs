//! What people watch: `rowlink serve --watch` while they edit exports, and `rowlink links` for the audit log.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{Call, exports, wait_for};

/// A process whose output is collected. It is killed when this is dropped.
struct Watched {
    child: Child,
    text: Arc<Mutex<String>>,
}

impl Watched {
    /// Collects what `output` takes from the process.
    fn spawn<R: Read + Send + 'static>(
        command: &mut Command,
        output: impl FnOnce(&mut Child) -> R,
    ) -> Watched {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(output(&mut child)).lines();
        let text = Arc::new(Mutex::new(String::new()));
        let shared = text.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *shared.lock().unwrap() += &(line + "\n");
            }
        });
        Watched { child, text }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits until the output has this text so many times.
    fn wait(&self, expected: &str, times: usize) {
        let start = std::time::Instant::now();
        while self.text().matches(expected).count() < times {
            let is_late = start.elapsed() > Duration::from_secs(20);
            assert!(
                !is_late,
                "{expected} is not {times} times in {}",
                self.text()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WITH_FILTER: &str = "/*---\n[filters.status]\ntype = 'text'\n---*/\nselect id from orders\n\
     where user_id = :user and (:status is null or status = :status)";

#[test]
fn an_author_sees_each_error_with_file_and_line_and_when_all_is_right_again() {
    let folder = configured_folder(&[(
        "orders.sql",
        "select id,\n totl\nfrom orders where user_id = :user",
    )]);
    let mut serve = command(folder.path());
    serve
        .args(["serve", "--watch"])
        .env("ROWLINK_BIND", "127.0.0.1:0");
    serve.stderr(Stdio::piped());
    let watched = Watched::spawn(&mut serve, |child| child.stderr.take().unwrap());
    let file = folder.path().join("exports/orders.sql");
    let shown = file.display();
    // It starts although no export can be served.
    watched.wait("listening", 1);
    watched.wait(&format!("{shown}:2: no such column: totl"), 1);

    fs::write(&file, WITH_FILTER).unwrap();
    watched.wait("rowlink: serving orders\n", 1);
    watched.wait("rowlink: all exports are valid again\n", 1);

    fs::write(&file, "/*---\ntitel = 'x'\n---*/\nselect :user").unwrap();
    watched.wait(&format!("{shown}:2: unknown field `titel`"), 1);
    watched.wait(
        "rowlink: with errors, so not served as they are: orders\n",
        2,
    );

    // Written in place and without its filter: its author has meant that.
    fs::write(&file, "select id from orders where user_id = :user").unwrap();
    watched.wait("rowlink: serving orders\n", 2);
    watched.wait("rowlink: all exports are valid again\n", 2);
    let text = watched.text();
    assert!(!text.contains("written in place"), "{text}");
    assert!(
        !text.contains("rowlink::cli::reload_exports"),
        "told twice: {text}"
    );
}

#[test]
fn watch_and_strict_exclude_each_other() {
    let folder = configured_folder(&exports());
    let refused = command(folder.path())
        .args(["serve", "--watch", "--strict"])
        .output();
    assert_eq!(refused.unwrap().status.code(), Some(2));
}

/// Runs `rowlink links` over a text; returns its lines and its standard error.
fn links(text: &str, arguments: &[&str]) -> (Vec<String>, String) {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.arg("links").args(arguments).env_clear();
    rowlink
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = rowlink.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    let out = String::from_utf8(output.stdout).unwrap();
    (out.lines().map(str::to_owned).collect(), err)
}

#[test]
fn the_log_of_a_server_becomes_a_table_of_links_and_downloads() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_LOG_FORMAT", "json")]);
    let answer = rowlink.issue(json!({"export": "numbers", "format": "csv", "filters": {"n": 3}}));
    let id = answer.json()["link_id"].as_str().unwrap().to_owned();
    let url = rowlink.link_in(&answer);
    assert_eq!(Call::new("GET", url).send().status, 200);
    let log = rowlink.stop();

    let (lines, err) = links(&log, &[]);
    assert_eq!(err, "", "{log}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        header,
        [
            "TIME", "EVENT", "USER", "EXPORT", "ROWS", "BYTES", "DURATION", "OUTCOME", "LINK"
        ]
    );
    let expected: [(&String, &[&str]); 2] = [
        (&lines[1], &["issued", "alice", "numbers.csv"]),
        (
            &lines[2],
            &["download", "alice", "numbers.csv", "3", "complete"],
        ),
    ];
    for (line, words) in expected {
        let found: Vec<&str> = line.split_whitespace().collect();
        assert!(words.iter().all(|word| found.contains(word)), "{line}");
        assert!(line.ends_with(&id), "{line}");
    }
    assert_eq!(links(&log, &["--failed"]).0.len(), 1);
    assert_eq!(links(&log, &["--user", "bob"]).0.len(), 1);
    let filters = ["-", "--user", "alice", "--export", "numbers"];
    assert_eq!(links(&log, &filters).0.len(), 3);
    let (lines, err) = links(&format!("INFO text\n{log}\u{0}"), &[]);
    assert_eq!(lines.len(), 3);
    assert!(
        err.starts_with("rowlink: 2 lines are left out: no JSON"),
        "{err}"
    );
}

fn ended(user: &str) -> String {
    let line = json!({
        "timestamp": "2026-11-27T10:00:00Z", "message": "download ended", "target": "rowlink::http::audit",
        "user": user, "export": "orders", "format": "csv", "outcome": "stalled",
    });
    format!("{line}\n")
}

fn append(path: &Path, text: &str) {
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_followed_log_goes_on_when_it_grows_and_when_it_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    append(&log, &ended("user-1"));
    let mut follow = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    follow
        .env_clear()
        .arg("links")
        .arg(&log)
        .args(["--follow", "--failed"]);
    follow.stdout(Stdio::piped());
    let watched = Watched::spawn(&mut follow, |child| child.stdout.take().unwrap());
    watched.wait("user-1", 1);
    let line = ended("user-2");
    let (start, rest) = line.split_at(20);
    append(&log, start);
    append(&log, rest);
    watched.wait("user-2", 1);

    fs::rename(&log, folder.path().join("audit.log.1")).unwrap();
    append(&log, &ended("user-3"));
    watched.wait("user-3", 1);

    // `copytruncate`. The next line is written when the file was found to be shorter, or is the shorter file.
    File::create(&log).unwrap();
    let mut written = 0;
    wait_for("a line after truncation", Duration::from_secs(20), || {
        if written == 0 || !watched.text().contains("user-4") {
            written += 1;
            append(&log, &ended("user-4"));
            thread::sleep(Duration::from_millis(300));
        }
        watched.text().contains("user-4")
    });
    let text = watched.text();
    for (user, count) in [("user-1", 1), ("user-2", 1), ("user-3", 1)] {
        assert_eq!(text.matches(user).count(), count, "{text}");
    }
}
