//! File sizes: the estimate with a link, and the exact `Content-Length`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use rowlink::config::revocations_file;

use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{Call, Deployment, Stop, TestServer, sqlite_url, wait_for};

const ROWS: usize = 100_000;

/// A database with the table `lines`: columns `n`, `at` and `word`, and [`ROWS`] rows.
struct Lines {
    name: &'static str,
    url: String,
    file: PathBuf,
    _folder: TempDir,
}

impl Lines {
    fn both(database: &'static str) -> [Lines; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lines.db");
        let connection = Connection::open(&file).unwrap();
        let made = connection.execute_batch(&format!(
            "pragma journal_mode = wal; create table lines (n integer, at text, word text);
             create index lines_n on lines (n);
             with recursive i(n) as (select 1 union all select n + 1 from i where n < {ROWS})
             insert into lines select n, '2026-01-31T10:00:00Z', 'word ' || n from i"
        ));
        made.unwrap();
        let sqlite = Lines {
            name: "SQLite",
            url: sqlite_url(&file),
            file,
            _folder: folder,
        };
        // Statistics from every row, because those of a sample vary between runs; and none by
        // autovacuum, which would take a sample between two estimates.
        let sql = format!(
            "create table lines (n int, at timestamptz, word text) with (autovacuum_enabled = false);
             create index lines_n on lines (n);
             insert into lines select n, '2026-01-31T10:00:00Z', 'word ' || n from generate_series(1, {ROWS}) as n;
             set default_statistics_target = 10000;
             analyze lines"
        );
        let postgres = Lines {
            name: "PostgreSQL",
            url: Cluster::shared().database(database, &sql),
            file: PathBuf::from(database),
            _folder: tempfile::tempdir().unwrap(),
        };
        [sqlite, postgres]
    }

    fn execute(&self, sql: &str) {
        match self.name {
            "SQLite" => Connection::open(&self.file)
                .unwrap()
                .execute_batch(sql)
                .unwrap(),
            _ => drop(Cluster::shared().psql(self.file.to_str().unwrap(), sql)),
        }
    }

    fn serve(&self) -> TestServer {
        let lines = "select n, at, word from lines where :user = 'alice' and n <= :to";
        let lines =
            format!("/*---\n[filters.to]\ntype = 'integer'\nrequired = true\n---*/\n{lines}");
        Deployment::over(self.url.clone(), vec![("lines.sql", &lines)]).start()
    }
}

fn request(to: usize) -> Value {
    json!({"export": "lines", "format": "csv", "filters": {"to": to}, "length": "exact"})
}

/// Returns a query of this many rows, whose first one differs in length each time.
fn nondeterministic(rows: usize) -> String {
    format!(
        "with recursive i(n) as (select 1 union all select n + 1 from i where n < {rows})
         select n, case when n = 1 then hex(randomblob(abs(random()) % 30000)) end as noise from i where :user = 'alice'"
    )
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_exact_length_is_sent_while_the_table_grows() {
    for lines in Lines::both("sizes_exact") {
        let server = lines.serve();
        let (stopped, inserted) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let inserting = scope.spawn(|| {
                while !stopped.load(Ordering::SeqCst) {
                    lines.execute("insert into lines values (1, '2026-01-31T10:00:00Z', 'late')");
                    inserted.fetch_add(1, Ordering::SeqCst);
                }
            });
            let _stop = Stop(&stopped);
            // Repeats until rows were inserted during a download.
            while !inserting.is_finished() {
                let before = inserted.load(Ordering::SeqCst);
                let answer = Call::new("GET", server.link(request(ROWS)))
                    .header("accept-encoding", "gzip, zstd")
                    .send();
                let during = inserted.load(Ordering::SeqCst) - before;
                assert_eq!(answer.status, 200, "{}: {}", lines.name, answer.text());
                assert_eq!(
                    answer.header("content-length"),
                    answer.body.len().to_string()
                );
                assert!(answer.headers.get("content-encoding").is_none());
                assert!(answer.rows().len() > ROWS);
                if during > 1 {
                    break;
                }
            }
        });
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_exact_length_includes_the_integrity_line_and_works_for_small_and_empty_files() {
    for lines in Lines::both("sizes_small") {
        let server = lines.serve();
        for to in [0, 3, 50_000] {
            let mut with_end = request(to);
            with_end["end_line"] = json!(true);
            let answer = server.download(with_end);
            assert_eq!(
                answer.header("content-length"),
                answer.body.len().to_string()
            );
            let mut plain = request(to);
            plain["length"] = Value::Null;
            let plain = server.download(plain).body;
            assert!(answer.body.starts_with(&plain), "{}", lines.name);
            assert!(answer.text()[plain.len()..].starts_with(&format!("#rowlink-end,rows={to},")));
        }
        let head = Call::new("HEAD", server.link(request(3))).send();
        assert_eq!(head.status, 200);
    }
}

#[test]
#[ignore = "needs curl: make test"]
fn a_nondeterministic_query_is_refused_or_visibly_truncated() {
    let (one, many) = (nondeterministic(1), nondeterministic(10_000));
    let server = TestServer::with_exports(vec![("one.sql", &one), ("many.sql", &many)]);
    let link =
        |export: &str| server.link(json!({"export": export, "format": "csv", "length": "exact"}));
    let answer = Call::new("GET", link("one")).send();
    assert_eq!(answer.problem(), (500, "not-repeatable".into()));
    let run = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", &link("many")])
        .output();
    let run = run.unwrap();
    assert_eq!(
        run.status.code(),
        Some(56),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn length_accepts_only_exact() {
    let server = TestServer::start();
    let ask = |format: &str, length: Value| {
        let filters = json!({"n": 1});
        server.issue(
            json!({"export": "numbers", "format": format, "filters": filters, "length": length}),
        )
    };
    for length in [json!("about"), json!(true)] {
        assert_eq!(ask("csv", length).fields(), ["length"]);
    }
    assert_eq!(ask("csv", Value::Null).status, 200);
    let ndjson = json!({"export": "numbers", "format": "ndjson", "filters": {"n": 9_000}});
    let whole = server.download(ndjson.clone()).body;
    let mut exact = ndjson;
    exact["length"] = json!("exact");
    let answer = server.download(exact);
    assert_eq!(answer.header("content-length"), whole.len().to_string());
    assert_eq!(answer.body, whole);
    let link = server.link(
        json!({"export": "numbers", "format": "csv", "filters": {"n": 1}, "length": "exact"}),
    );
    let other = link.replace("rl_length=exact&", "");
    assert_eq!(
        Call::new("GET", other).send().problem(),
        (403, "bad-signature".into())
    );
}

/// Requests a link with an estimate; returns its URL, and the estimated rows, bytes and method.
fn estimate(server: &TestServer, mut request: Value) -> (String, Value) {
    request["estimate"] = json!(true);
    let answer = server.issue(request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let estimate = json!([
        answer["estimated_rows"],
        answer["estimated_bytes"],
        answer["estimated_by"]
    ]);
    (answer["url"].as_str().unwrap().to_owned(), estimate)
}

#[test]
fn a_counted_estimate_includes_the_integrity_line() {
    let server = TestServer::start();
    let request =
        json!({"export": "numbers", "format": "csv", "filters": {"n": 3}, "end_line": true});
    let (url, estimated) = estimate(&server, request);
    let file = Call::new("GET", url).send();
    assert_eq!(estimated, json!([3, file.body.len(), "count"]));
}

#[test]
fn a_revoked_user_gets_no_estimate() {
    let server = TestServer::start();
    let file = "[users]\nalice = 2100-01-01T00:00:00Z";
    let revocations = revocations_file::parse(file).unwrap();
    server.state.service.set_revocations(revocations);
    let request = json!({"export": "numbers", "format": "csv", "filters": {"n": 3}});
    let (_, estimated) = estimate(&server, request);
    assert_eq!(estimated, json!([null, null, null]));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_estimate_comes_from_the_planner_or_else_a_count() {
    for lines in Lines::both("sizes_estimate") {
        let server = lines.serve();
        let mut csv_request = request(1234);
        csv_request["length"] = Value::Null;
        let (url, estimate_of_csv) = estimate(&server, csv_request.clone());
        let file = Call::new("GET", url).send();
        let near = |seen: &Value, real: usize| {
            let (seen, real) = (seen.as_f64().unwrap(), real as f64);
            assert!(
                (seen / real - 1.0).abs() < 0.2,
                "{}: {seen} for {real}",
                lines.name
            );
        };
        near(&estimate_of_csv[0], 1234);
        near(&estimate_of_csv[1], file.body.len());
        if lines.name == "SQLite" {
            assert_eq!(estimate_of_csv, json!([1234, file.body.len(), "count"]));
        } else {
            assert_eq!(estimate_of_csv[2], "planner");
        }
        csv_request["format"] = json!("ndjson");
        let (url, of_ndjson) = estimate(&server, csv_request.clone());
        near(&of_ndjson[1], Call::new("GET", url).send().body.len());
        csv_request["format"] = json!("xlsx");
        let (_, of_workbook) = estimate(&server, csv_request);
        assert_eq!(of_workbook[0], estimate_of_csv[0]);
        assert_eq!(
            of_workbook[1],
            Value::Null,
            "the compressed size is unknown"
        );
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn counting_stops_in_time_and_an_unreachable_database_still_gives_a_link() {
    let endless = "with recursive i(n) as (select 1 union all select n + 1 from i) select n from i where :user = 'alice'";
    let silent = "with recursive i(n) as (select 1 union all select n + 1 from i) select count(*) as n from i where :user = 'alice'";
    let secret = "/*---\nestimate = false\n---*/ select 1 as one where :user = 'alice'";
    let exports = vec![
        ("endless.sql", endless),
        ("silent.sql", silent),
        ("secret.sql", secret),
    ];
    let server = TestServer::with(|deployment| {
        deployment.exports = exports;
        deployment.estimate_max = Duration::from_secs(5);
    });
    let begun = Instant::now();
    let (_, many) = estimate(&server, json!({"export": "endless", "format": "csv"}));
    assert!(many[0].as_u64().unwrap() > 100, "{many}");
    assert_eq!(many[2], "partial-count");
    let (_, none) = estimate(&server, json!({"export": "silent", "format": "csv"}));
    assert_eq!(none, json!([null, null, null]));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let (_, none) = estimate(&server, json!({"export": "secret", "format": "csv"}));
    assert_eq!(
        none,
        json!([null, null, null]),
        "the export disables estimates"
    );

    let plain = server
        .issue(json!({"export": "endless", "format": "csv"}))
        .json();
    assert!(plain.get("estimated_rows").is_none(), "{plain}");
    let wrong = server.issue(json!({"export": "endless", "format": "csv", "estimate": "yes"}));
    assert_eq!(wrong.fields(), ["estimate"]);

    let cluster = Cluster::start();
    let url = cluster.database("gone", "");
    let server = Deployment::over(
        url,
        vec![("one.sql", "select 1 as one where :user = 'alice'")],
    )
    .start();
    cluster.control(&["stop", "-m", "immediate"]);
    let (_, none) = estimate(&server, json!({"export": "one", "format": "csv"}));
    assert_eq!(none, json!([null, null, null]));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_estimate_that_waits_for_a_lock_is_cancelled_and_blocks_no_download() {
    let url = Cluster::shared().database(
        "sizes_lock",
        "create table locked (n int); create table free (n int)",
    );
    let exports = vec![
        ("locked.sql", "select n from locked where :user = 'alice'"),
        ("free.sql", "select n from free where :user = 'alice'"),
    ];
    let mut deployment = Deployment::over(url, exports);
    deployment.connections = 1;
    deployment.estimate_max = Duration::from_secs(2);
    let server = deployment.start();
    let cluster = Cluster::shared();
    let mut lock_holder = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", &cluster.url("sizes_lock")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let lock = b"begin; lock table locked in access exclusive mode;\n";
    lock_holder.stdin.as_mut().unwrap().write_all(lock).unwrap();
    // Only this table: other tests lock theirs in the same cluster.
    let locks = "select count(*) from pg_locks where relation = 'locked'::regclass and granted \
                 and mode = 'AccessExclusiveLock' and database = (select oid from pg_database where datname = current_database())";
    wait_for("the lock", Duration::from_secs(10), || {
        cluster.psql("sizes_lock", locks) != "0"
    });
    thread::scope(|scope| {
        let locked = json!({"export": "locked", "format": "csv"});
        let waiting = scope.spawn(|| estimate(&server, locked).1);
        wait_for("the planner", Duration::from_secs(10), || {
            cluster.running("sizes_lock") == 1
        });
        let free = server.download(json!({"export": "free", "format": "csv"}));
        assert_eq!((free.status, free.text().as_str()), (200, "n\r\n"));
        assert_eq!(waiting.join().unwrap(), json!([null, null, null]));
    });
    wait_for("the end of the query", Duration::from_secs(5), || {
        cluster.running("sizes_lock") == 0
    });
    drop(lock_holder.stdin.take());
    lock_holder.wait().unwrap();
}

#[test]
#[ignore = "needs curl: make test"]
fn the_last_byte_of_an_exact_length_is_sent_after_the_query_ends() {
    // The query runs on for long after its last row.
    let tail = "with recursive i(n) as (select 1 union all select n + 1 from i where n < 2000000)
                select n from i where n < 4 and :user = 'alice'";
    let rowlink = Rowlink::serve(&[("tail.sql", tail)]);
    let url = rowlink.link(json!({"export": "tail", "format": "csv", "length": "exact"}));
    // curl disconnects as soon as it has `Content-Length` bytes.
    let run = Command::new("curl")
        .args(["-sS", "-i", &url])
        .output()
        .unwrap();
    let answer = String::from_utf8(run.stdout).unwrap();
    assert!(
        answer.contains("content-length: 12\r\n") && answer.ends_with("n\r\n1\r\n2\r\n3\r\n"),
        "{answer}"
    );
    let log = rowlink.stop();
    assert!(log.contains("outcome=\"complete\""), "{log}");
}
