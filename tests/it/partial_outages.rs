//! A server serves what it can: exports without their database, with errors, and in new versions while it runs.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::command::free_port;
use crate::harness::mariadb::{self, MariaDb};
use crate::harness::postgres::Cluster;
use crate::harness::process::{FAR_FUTURE, Rowlink, command, configured_folder};
use crate::harness::{Answer, Call, begin_with, is_whole, sqlite_url, token_for, wait_for};

const ANSWERS: &str = "select 'yes' as answer where :user = 'alice'";
/// More bytes than the kernel's buffers hold.
const MANY: &str = "with recursive i(n) as (select 1 union all select n + 1 from i where n < 100000) \
                    select n, printf('%0200d', n) as text from i where :user = 'alice'";

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join("exports").join(name)
}

/// Replaces a file by a rename.
fn replace(folder: &Path, name: &str, text: &str) {
    let part = folder.join("part");
    fs::write(&part, text).unwrap();
    fs::rename(part, file(folder, name)).unwrap();
}

fn soon(what: &str, condition: impl FnMut() -> bool) {
    wait_for(what, Duration::from_secs(20), condition);
}

fn issue(rowlink: &Rowlink, export: &str) -> Answer {
    rowlink.issue(json!({"export": export, "format": "csv"}))
}

/// Downloads an export over a new link; returns its CSV.
fn download(rowlink: &Rowlink, export: &str) -> String {
    let link = rowlink.link_in(&issue(rowlink, export));
    let answer = Call::new("GET", link).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn get(rowlink: &Rowlink, path: &str) -> Answer {
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE}));
    let url = format!("{}{path}", rowlink.origin());
    Call::new("GET", url).bearer(&token).send()
}

fn listed(rowlink: &Rowlink) -> Vec<String> {
    let exports = get(rowlink, "/v1/exports").json();
    let names = exports["exports"].as_array().unwrap().iter();
    names
        .map(|export| export["name"].as_str().unwrap().to_owned())
        .collect()
}

fn columns(rowlink: &Rowlink, export: &str) -> usize {
    let shown = get(rowlink, &format!("/v1/exports/{export}")).json();
    shown["columns"].as_array().unwrap().len()
}

fn ready(rowlink: &Rowlink) -> (u16, Value) {
    let answer = get(rowlink, "/readyz");
    (answer.status, answer.json())
}

fn metrics(rowlink: &Rowlink) -> String {
    get(rowlink, "/metrics").text()
}

/// Forwards connections at `port` to a database at another one: the end of an outage.
fn bring_back(port: u16, database: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", database)).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(std::net::Shutdown::Write);
            });
            thread::spawn(move || io::copy(&mut &server, &mut &client));
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn a_server_starts_in_an_outage_of_some_databases_and_serves_their_exports_when_they_are_back() {
    let (postgres, mariadb) = (Cluster::shared(), MariaDb::shared());
    postgres.database(
        "outage",
        "create table facts (n int); insert into facts values (1)",
    );
    mariadb.database(
        "outage",
        "create table facts (n int); insert into facts values (2)",
    );
    let (postgres_port, mariadb_port) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.db");
    let databases = format!(
        "pg=postgres://postgres@127.0.0.1:{postgres_port}/outage?sslmode=disable,my={},late={}",
        mariadb::url_at(mariadb_port, "outage"),
        sqlite_url(&late),
    );
    let export = |database: &str| {
        format!(
            "/*---\ndatabase = \"{database}\"\n---*/\nselect n from facts where :user = 'alice'"
        )
    };
    let (pg, my, late_export) = (export("pg"), export("my"), export("late"));
    let rowlink = Rowlink::serve_with(
        &[
            ("here.sql", ANSWERS),
            ("pg.sql", &pg),
            ("pg_too.sql", &pg),
            ("my.sql", &my),
            ("late.sql", &late_export),
        ],
        &[("ROWLINK_DATABASES", &databases)],
    );
    assert_eq!(download(&rowlink, "here"), "answer\r\nyes\r\n");
    for name in ["pg", "pg_too", "my", "late"] {
        let answer = issue(&rowlink, name);
        assert_eq!(
            answer.problem(),
            (503, "export-unavailable".into()),
            "{name}"
        );
        assert!(!answer.header("retry-after").is_empty());
        let shown = get(&rowlink, &format!("/v1/exports/{name}"));
        assert_eq!(
            shown.problem(),
            (503, "export-unavailable".into()),
            "{name}"
        );
    }
    assert_eq!(
        issue(&rowlink, "gone").problem(),
        (404, "unknown-export".into())
    );
    assert_eq!(listed(&rowlink), ["here"]);
    let (status, body) = ready(&rowlink);
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["silent_databases"], json!(["late", "my", "pg"]));
    assert_eq!(body["failed_exports"].as_array().unwrap().len(), 4);
    let gauge =
        r#"rowlink_failed_exports{export="my",code="database-unavailable",serves="nothing"} 1"#;
    assert!(metrics(&rowlink).contains(gauge), "{}", metrics(&rowlink));

    bring_back(postgres_port, postgres.port());
    bring_back(mariadb_port, mariadb.port());
    let created = Connection::open(&late).unwrap();
    created
        .execute_batch("create table facts (n int); insert into facts values (3)")
        .unwrap();
    soon("all exports", || listed(&rowlink).len() == 5);
    assert_eq!(download(&rowlink, "pg_too"), "n\r\n1\r\n");
    assert_eq!(download(&rowlink, "my"), "n\r\n2\r\n");
    assert_eq!(download(&rowlink, "late"), "n\r\n3\r\n");
    soon("no silent database", || {
        ready(&rowlink).1 == json!({"status": "ready"})
    });
    assert!(!metrics(&rowlink).contains("failed_exports{"));
    let log = rowlink.stop();
    assert_eq!(log.matches("database `pg`:").count(), 1, "{log}");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_replica_is_not_ready_while_no_export_can_be_served() {
    let port = free_port();
    let url = format!("postgres://postgres@127.0.0.1:{port}/not_ready?sslmode=disable");
    let rowlink = Rowlink::serve_with(&[("a.sql", ANSWERS)], &[("ROWLINK_DATABASE_URL", &url)]);
    let (status, body) = ready(&rowlink);
    assert_eq!(
        (status, &body["code"]),
        (503, &json!("database-unavailable"))
    );
    Cluster::shared().database("not_ready", "");
    bring_back(port, Cluster::shared().port());
    soon("readiness", || ready(&rowlink).0 == 200);
    assert_eq!(download(&rowlink, "a"), "answer\r\nyes\r\n");
}

#[test]
#[ignore = "takes seconds: make test"]
fn exports_with_errors_are_503_until_their_file_or_their_database_is_right() {
    let rowlink = Rowlink::serve(&[
        ("good.sql", ANSWERS),
        (
            "broken.sql",
            "/*---\ntitel = \"Orders\"\n---*/\nselect 1 as n",
        ),
        ("not a name.sql", ANSWERS),
        ("early.sql", "select n from migrated where :user = 'alice'"),
    ]);
    let with_scope =
        "/*---\nscope = \"other\"\n---*/\nselect n from migrated where :user = 'alice'";
    replace(rowlink.folder(), "secret.sql", with_scope);
    soon("the refusal", || {
        issue(&rowlink, "secret").problem().0 == 403
    });
    assert_eq!(
        get(&rowlink, "/v1/exports/secret").problem().1,
        "unknown-export"
    );
    fs::remove_file(file(rowlink.folder(), "secret.sql")).unwrap();
    soon("its end", || issue(&rowlink, "secret").problem().0 == 404);
    for name in ["broken", "early"] {
        assert_eq!(
            issue(&rowlink, name).problem(),
            (503, "export-unavailable".into()),
            "{name}"
        );
    }
    let failed = &ready(&rowlink).1["failed_exports"];
    let expected = |name| json!({"export": name, "code": "invalid-export", "serves": "nothing"});
    assert_eq!(
        *failed,
        json!([
            expected("broken"),
            expected("early"),
            expected("not a name")
        ])
    );

    let database = Connection::open(rowlink.folder().join("sample.db")).unwrap();
    database
        .execute_batch("create table migrated (n int); insert into migrated values (7)")
        .unwrap();
    replace(rowlink.folder(), "broken.sql", ANSWERS);
    fs::remove_file(file(rowlink.folder(), "not a name.sql")).unwrap();
    soon("no failed exports", || {
        ready(&rowlink).1 == json!({"status": "ready"})
    });
    assert_eq!(download(&rowlink, "broken"), "answer\r\nyes\r\n");
    assert_eq!(download(&rowlink, "early"), "n\r\n7\r\n");
    let log = rowlink.stop();
    for cause in [
        "broken.sql:2: unknown field `titel`",
        "early.sql:1: no such table: migrated",
    ] {
        assert_eq!(log.matches(cause).count(), 1, "{cause}: {log}");
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn exports_change_while_the_server_runs_and_a_faulty_version_keeps_the_previous_one() {
    let rowlink = Rowlink::serve(&[("a.sql", ANSWERS), ("b.sql", ANSWERS)]);
    let old_link = rowlink.link_in(&issue(&rowlink, "a"));
    let answer_of_b = rowlink.link_in(&issue(&rowlink, "b"));

    let renamed = "select 'yes' as reply where :user = 'alice'";
    replace(rowlink.folder(), "a.sql", renamed);
    replace(rowlink.folder(), "new.sql", ANSWERS);
    fs::remove_file(file(rowlink.folder(), "b.sql")).unwrap();
    soon("the new exports", || listed(&rowlink) == ["a", "new"]);
    assert_eq!(download(&rowlink, "a"), "reply\r\nyes\r\n");
    assert_eq!(
        Call::new("GET", &old_link).send().text(),
        "reply\r\nyes\r\n"
    );
    let removed = Call::new("GET", &answer_of_b).send();
    assert_eq!(removed.problem(), (404, "unknown-export".into()));

    replace(
        rowlink.folder(),
        "a.sql",
        "select 'no' as reply from no_such_table where :user = 'alice'",
    );
    let count = "rowlink_reloads_failed_total{what=\"exports\"} 1";
    soon("the failed reload", || metrics(&rowlink).contains(count));
    assert_eq!(download(&rowlink, "a"), "reply\r\nyes\r\n");
    let failed = json!([{"export": "a", "code": "invalid-export", "serves": "previous"}]);
    assert_eq!(ready(&rowlink).1["failed_exports"], failed);

    // Without any file the folder may not be mounted.
    for name in ["a.sql", "new.sql"] {
        fs::remove_file(file(rowlink.folder(), name)).unwrap();
    }
    let count = "rowlink_reloads_failed_total{what=\"exports\"} 2";
    soon("the second failure", || metrics(&rowlink).contains(count));
    assert_eq!(listed(&rowlink), ["a", "new"]);
    let log = rowlink.stop();
    assert!(log.contains("no such table: no_such_table"), "{log}");
    assert!(log.contains("removed exports exports=\"b\""), "{log}");
}

#[test]
#[ignore = "takes seconds: make test"]
fn sighup_describes_all_exports_again() {
    let rowlink = Rowlink::serve(&[
        ("a.sql", "select * from t where :user = 'alice'"),
        ("b.sql", ANSWERS),
    ]);
    let database = Connection::open(rowlink.folder().join("sample.db")).unwrap();
    database.execute_batch("create table t (n int)").unwrap();
    soon("the export", || listed(&rowlink).len() == 2);
    database.execute_batch("alter table t add m text").unwrap();
    assert_eq!(columns(&rowlink, "a"), 1);
    rowlink.reload();
    soon("the new column", || columns(&rowlink, "a") == 2);

    database
        .execute_batch("alter table t rename to moved")
        .unwrap();
    rowlink.reload();
    let fails = || ready(&rowlink).1["failed_exports"][0]["export"] == "a";
    soon("the failure", fails);
    // Longer than until the next attempt.
    thread::sleep(Duration::from_secs(6));
    assert!(fails(), "a failed description was forgotten");
    let back = "alter table moved rename to t; alter table t add k text";
    database.execute_batch(back).unwrap();
    soon("the next column", || columns(&rowlink, "a") == 3);
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_file_that_lost_a_part_while_it_was_written_in_place_is_refused_until_it_is_renamed() {
    let whole = "select 1 as n where :user = 'alice'\n and :claim.tenant = '7'\n and 1 = 1";
    let rowlink = Rowlink::serve(&[("a.sql", whole), ("b.sql", ANSWERS)]);
    let path = file(rowlink.folder(), "a.sql");
    let failed = |count: u32| {
        let line = format!("rowlink_reloads_failed_total{{what=\"exports\"}} {count}");
        soon("the refusal", || metrics(&rowlink).contains(&line));
        assert_eq!(issue(&rowlink, "a").problem().1, "claim-missing");
    };
    fs::write(&path, whole.rsplit_once('\n').unwrap().0).unwrap();
    failed(1);
    // Neither a further change of the file nor one of another file makes it complete.
    fs::write(&path, "select 2 as n where :user = 'alice'").unwrap();
    failed(2);
    replace(
        rowlink.folder(),
        "b.sql",
        "select 'no' as answer where :user = 'alice'",
    );
    soon("the other export", || {
        download(&rowlink, "b") == "answer\r\nno\r\n"
    });
    assert_eq!(issue(&rowlink, "a").problem().1, "claim-missing");
    replace(
        rowlink.folder(),
        "a.sql",
        "select 2 as n where :user = 'alice'",
    );
    soon("the renamed file", || issue(&rowlink, "a").status == 200);
    let log = rowlink.stop();
    for lost in ["its end", "`:claim.tenant`"] {
        assert!(
            log.contains(&format!("a.sql:1: written in place without {lost};")),
            "{log}"
        );
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_table_that_is_locked_does_not_delay_the_changes_of_other_exports() {
    let postgres = Cluster::shared();
    let url = postgres.database("locked", "create table t (n int)");
    let rowlink = Rowlink::serve_with(
        &[
            ("locked.sql", "select n from t where :user = 'alice'"),
            ("withdrawn.sql", ANSWERS),
        ],
        &[("ROWLINK_DATABASE_URL", &url)],
    );
    thread::scope(|scope| {
        let lock = "begin; lock table t in access exclusive mode; select pg_sleep(16)";
        scope.spawn(|| postgres.psql("locked", lock));
        let waiting = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 't'::regclass";
        soon("the lock", || postgres.psql("locked", waiting) == "1");
        replace(
            rowlink.folder(),
            "locked.sql",
            "select n + 1 as n from t where :user = 'alice'",
        );
        fs::remove_file(file(rowlink.folder(), "withdrawn.sql")).unwrap();
        let withdrawn = wait_for("the withdrawal", Duration::from_secs(8), || {
            issue(&rowlink, "withdrawn").problem().0 == 404
        });
        assert!(withdrawn < Duration::from_secs(8), "{withdrawn:?}");
        // The previous version meanwhile: its links can be issued.
        assert_eq!(issue(&rowlink, "locked").status, 200);
    });
    soon("the new version", || {
        ready(&rowlink).1 == json!({"status": "ready"})
    });
    let log = rowlink.stop();
    assert!(
        log.contains("locked.sql:1: the database did not describe it within 10 s"),
        "{log}"
    );
}

#[test]
fn a_running_download_keeps_the_version_of_its_export() {
    let rowlink = Rowlink::serve(&[("a.sql", MANY)]);
    let link = rowlink.link_in(&issue(&rowlink, "a"));
    let mut slow = begin_with(&link, "Connection: close\r\n");
    let mut answer = vec![0; 1000];
    io::Read::read_exact(&mut slow, &mut answer).unwrap();
    replace(rowlink.folder(), "a.sql", ANSWERS);
    soon("the new version", || columns(&rowlink, "a") == 1);
    io::Read::read_to_end(&mut slow, &mut answer).unwrap();
    assert!(is_whole(&answer));
    assert!(String::from_utf8_lossy(&answer).contains(&format!("100000,{:0200}", 100_000)));
}

#[test]
fn a_start_fails_if_no_export_could_ever_be_served_or_if_all_are_required() {
    let fails = |exports: &[(&str, &str)], arguments: &[&str]| -> Output {
        let folder = configured_folder(exports);
        let mut rowlink = command(folder.path());
        rowlink.args(arguments).env("ROWLINK_BIND", "127.0.0.1:0");
        rowlink.output().unwrap()
    };
    let broken = ("broken.sql", "select :user as n from no_such_table");
    let output = fails(&[broken], &["serve"]);
    assert_eq!(output.status.code(), Some(2));
    let output = fails(&[broken, ("good.sql", ANSWERS)], &["serve", "--strict"]);
    assert_eq!(output.status.code(), Some(2));
    let output = fails(&[broken, ("good.sql", ANSWERS)], &["check"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("broken.sql:1: no such table: no_such_table"),
        "{error}"
    );
}
