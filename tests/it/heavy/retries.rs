//! Downloads that break in browsers and download managers, which try again in their own ways: `make e2e`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::BreakingProxy;
use crate::harness::command::run;
use crate::harness::object_store::ObjectStore;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::replicas::Replicas;
use crate::harness::{Call, Stop, tool};

/// Connections end after so many bytes.
const LIMIT: u64 = 1_000_000;
/// The most presses of Retry.
const PRESSES_MAX: u64 = 12;

#[derive(Debug, Clone, Copy)]
enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    const ALL: [Browser; 2] = [Browser::Chromium, Browser::Firefox];

    /// Downloads a URL and presses Retry until the file is complete; returns how often, and the file.
    fn download(self, url: &str, folder: &Path) -> (u64, PathBuf) {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser");
        let mut command = match self {
            Browser::Chromium => Command::new("node"),
            Browser::Firefox => Command::new(tool("venv").join("bin/python")),
        };
        command.arg(match self {
            Browser::Chromium => scripts.join("retry_in_chromium.mjs"),
            Browser::Firefox => scripts.join("retry_in_firefox.py"),
        });
        command.arg(url).arg(folder).arg(PRESSES_MAX.to_string());
        let printed = run(command.arg(tool("browser"))).stdout;
        let ended: Value = serde_json::from_slice(&printed).unwrap();
        assert_eq!(ended["error"], Value::Null, "{self:?}: {ended}");
        let files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let [file] = &files[..] else {
            panic!("{self:?}: one file, without partial ones: {files:?}");
        };
        (ended["presses"].as_u64().unwrap(), file.clone())
    }
}

/// Panics unless the integrity line of a file matches.
fn check(file: &Path) {
    let rowlink = env!("CARGO_BIN_EXE_rowlink");
    run(Command::new(rowlink).arg("check-file").arg(file));
}

/// Returns how many downloads a log has that were continued.
fn continued(log: &str) -> usize {
    let lines = log.lines().filter(|line| line.contains("download ended"));
    lines.filter(|line| line.contains("resumed_from")).count()
}

const RANDOM_ROWS: &str = "/*---\nformats = ['csv', 'ndjson']\n---*/\n\
    with recursive m(i) as (select 1 union all select i + 1 from m where i < 60000)
    select i as n, hex(randomblob(30)) as word from m where :user = 'alice'";
const SAME_ROWS: &str =
    "with recursive m(i) as (select 1 union all select i + 1 from m where i < 60000)
    select i as n, printf('%x%x%x', i * 2654435761 & 0xffffffff, i * 2246822519 & 0xffffffff,
        i * 3266489917 & 0xffffffff) as word from m where :user = 'alice' order by i";

#[test]
#[ignore = "needs Firefox and a driver of downloads: make e2e"]
fn the_retry_of_browsers_continues_files_that_are_kept_or_have_an_exact_length() {
    for browser in Browser::ALL {
        for is_kept in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_str().unwrap();
            let mut variables = vec![("ROWLINK_LOG_FORMAT", "json")];
            if is_kept {
                variables.extend([
                    ("ROWLINK_SPOOL_DIR", path),
                    ("ROWLINK_SPOOL_BYTES", "100000000"),
                    ("ROWLINK_SPOOL_KEEP_SECONDS", "600"),
                ]);
            }
            let exports = [("random.sql", RANDOM_ROWS), ("same.sql", SAME_ROWS)];
            let rowlink = Rowlink::serve_with(&exports, &variables);
            let request = match is_kept {
                // With a content coding, and rows that another query would not return.
                true => {
                    json!({"export": "random", "format": "csv", "end_line": true, "expires_in": 600})
                }
                false => {
                    json!({"export": "same", "format": "csv", "end_line": true, "length": "exact", "expires_in": 600})
                }
            };
            let port = rowlink.origin().rsplit_once(':').unwrap().1;
            let proxy = BreakingProxy::before(port.parse().unwrap());
            proxy.limit.store(LIMIT, Ordering::SeqCst);
            let downloads = tempfile::tempdir().unwrap();
            let url = proxy.through(&rowlink.link(request));
            let (presses, file) = browser.download(&url, downloads.path());
            check(&file);
            let (log, kind) = (rowlink.stop(), if is_kept { "kept" } else { "exact" });
            let count = continued(&log);
            println!("{browser:?}, {kind}: {presses} presses, {count} continued");
            assert!(count >= 1, "{browser:?}, {kind}: {log}");
        }
    }
}

#[test]
#[ignore = "needs Firefox and a driver of downloads: make e2e"]
fn the_retry_of_browsers_never_joins_two_files_of_three_replicas_while_rows_change() {
    let cluster = Cluster::shared();
    let url = cluster.database(
        "e2e_retries",
        "create table things as select n, md5(n::text) || md5((-n)::text) as word
             from generate_series(1, 50000) n;
         alter table things add primary key (n);",
    );
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let variables = folders.each_ref().map(|folder| {
        vec![
            ("ROWLINK_DATABASE_URL", url.clone()),
            (
                "ROWLINK_SPOOL_DIR",
                folder.path().to_str().unwrap().to_owned(),
            ),
            ("ROWLINK_SPOOL_BYTES", "100000000".to_owned()),
            ("ROWLINK_SPOOL_KEEP_SECONDS", "600".to_owned()),
        ]
    });
    let export = "select n, word from things where :user = 'alice' order by n";
    let replicas = Replicas::start_with(&[("things.sql", export)], variables);
    let nginx = Proxy::nginx(&replicas.ports, Protocol::Http1);
    let port = nginx.origin().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = BreakingProxy::before(port);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let n = getrandom::u64().unwrap() % 50_000 + 1;
                let change = format!("update things set word = md5(random()::text) where n = {n}");
                cluster.psql("e2e_retries", &change);
                thread::sleep(Duration::from_secs(3));
            }
        });
        for browser in Browser::ALL {
            for length in [json!("exact"), Value::Null] {
                let request = json!({
                    "export": "things", "format": "csv", "length": length, "end_line": true, "expires_in": 600
                });
                let link = proxy.through(&nginx.issue(&request).unwrap());
                let downloads = tempfile::tempdir().unwrap();
                // Two breaks, then the network is better.
                proxy.limit.store(LIMIT, Ordering::SeqCst);
                let limit = proxy.limit.clone();
                let better = scope.spawn(move || {
                    thread::sleep(Duration::from_secs(8));
                    limit.store(u64::MAX, Ordering::SeqCst);
                });
                let (presses, file) = browser.download(&link, downloads.path());
                better.join().unwrap();
                check(&file);
                println!("{browser:?}, three replicas, length {length}: {presses} presses");
            }
        }
    });
}

#[test]
#[ignore = "needs Firefox and a driver of downloads: make e2e"]
fn the_retry_of_browsers_continues_a_prepared_file_at_the_store() {
    for (browser, bucket) in Browser::ALL.into_iter().zip(["chromium", "firefox"]) {
        let store = ObjectStore::seaweedfs();
        let port = store.origin().rsplit_once(':').unwrap().1.parse().unwrap();
        let proxy = BreakingProxy::before(port);
        let folder = tempfile::tempdir().unwrap();
        let mut variables = store.bucket(bucket);
        let endpoint = variables
            .iter_mut()
            .find(|(name, _)| name == "AWS_ENDPOINT_URL");
        endpoint.unwrap().1 = format!("http://127.0.0.1:{}", proxy.port);
        let variables = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let spool = [
            ("ROWLINK_LOG_FORMAT", "json"),
            ("ROWLINK_SPOOL_DIR", folder.path().to_str().unwrap()),
            ("ROWLINK_SPOOL_BYTES", "100000000"),
        ];
        let variables: Vec<_> = variables.chain(spool).collect();
        let export = format!("/*---\n[store]\nmode = 'always'\n---*/\n{SAME_ROWS}");
        let rowlink = Rowlink::serve_with(&[("same.sql", &export)], &variables);
        let request = json!({
            "export": "same", "format": "csv", "end_line": true, "prepare": true, "expires_in": 600
        });
        let link = rowlink.link(request);
        let question = json!({"url": link, "wait": 25});
        let status = Call::new("POST", format!("{}/v1/links/status", rowlink.origin()));
        assert_eq!(status.json(&question).send().json()["state"], "ready");
        proxy.limit.store(LIMIT, Ordering::SeqCst);
        let downloads = tempfile::tempdir().unwrap();
        let (presses, file) = browser.download(&link, downloads.path());
        check(&file);
        let log = rowlink.stop();
        let redirected = log.matches("\"served_by\":\"redirect\"").count();
        println!("{browser:?}, at the store: {presses} presses, {redirected} redirects");
        // No connection to the store lasts for the whole file, so it was continued there.
        assert!(redirected >= 1, "{browser:?}: {log}");
        assert!(
            !log.contains("\"served_by\":\"store\""),
            "{browser:?}: {log}"
        );
    }
}

#[test]
#[ignore = "needs aria2: make e2e"]
fn aria2_gets_a_whole_file_or_says_that_it_has_none() {
    let rowlink = Rowlink::serve(&[("same.sql", SAME_ROWS)]);
    let port = rowlink.origin().rsplit_once(':').unwrap().1;
    let proxy = BreakingProxy::before(port.parse().unwrap());
    for connections in ["1", "4"] {
        for limit in [u64::MAX, LIMIT] {
            proxy.limit.store(limit, Ordering::SeqCst);
            let request = json!({
                "export": "same", "format": "csv", "end_line": true, "length": "exact", "expires_in": 600
            });
            let url = proxy.through(&rowlink.link(request));
            let folder = tempfile::tempdir().unwrap();
            let mut aria2 = Command::new("aria2c");
            aria2.current_dir(folder.path()).args([
                "--no-conf=true",
                "--quiet=true",
                "--max-tries=3",
                "--retry-wait=1",
                "--min-split-size=1M",
                "--out=same.csv",
            ]);
            aria2.args([
                "--split",
                connections,
                "--max-connection-per-server",
                connections,
            ]);
            let status = aria2.arg(&url).status().unwrap();
            let is_marked = folder.path().join("same.csv.aria2").exists();
            println!(
                "aria2, {connections} connections, limit {limit}: {status}, marked as incomplete: {is_marked}"
            );
            match status.success() {
                true => check(&folder.path().join("same.csv")),
                false => assert!(is_marked || !folder.path().join("same.csv").exists()),
            }
            assert_eq!(status.success(), limit == u64::MAX);
        }
    }
}
