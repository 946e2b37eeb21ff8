//! Missing, invalid and locked SQLite files, and special values.

use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Call, Deployment, TestServer, sample_database, sqlite_url, wait_for};

const ALL: (&str, &str) = ("all.sql", "select id from orders where user_id = :user");

fn start_error(database: &Path) -> String {
    let errors = Deployment::over(sqlite_url(database), vec![ALL]).errors();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("database `default`: "));
    errors[0].clone()
}

#[test]
fn a_missing_invalid_or_locked_file_prevents_the_start_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = start_error(&folder.path().join("missing.db"));
    assert!(
        missing.contains("unable to open database file"),
        "{missing}"
    );
    assert!(
        !folder.path().join("missing.db").exists(),
        "a file was created"
    );

    let foreign = folder.path().join("foreign.db");
    fs::write(
        &foreign,
        "this is not a database, whatever its name says".repeat(100),
    )
    .unwrap();
    let foreign = start_error(&foreign);
    assert!(foreign.contains("file is not a database"), "{foreign}");

    let database = sample_database(folder.path());
    let lock = Connection::open(&database).unwrap();
    lock.execute_batch("begin exclusive").unwrap();
    let locked = start_error(&database);
    assert!(locked.contains("database is locked"), "{locked}");
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_missing_or_locked_database_gives_503_until_it_is_available_again() {
    let folder = tempfile::tempdir().unwrap();
    let database = sample_database(folder.path());
    let server = TestServer::over(&database, vec![ALL]);
    let url = server.link(json!({"export": "all", "format": "csv"}));
    let ready = || server.call("GET", "/readyz").send().status;
    assert_eq!(
        (Call::new("GET", url.clone()).send().status, ready()),
        (200, 200)
    );

    let away = folder.path().join("away.db");
    fs::rename(&database, &away).unwrap();
    let answer = Call::new("GET", url.clone()).send();
    assert_eq!(answer.problem(), (503, "database-unavailable".into()));
    assert_eq!(answer.header("retry-after"), "2");
    // The answer of the last second may be used again.
    wait_for("a replica that is not ready", SOON, || ready() == 503);
    assert_eq!(server.call("GET", "/healthz").send().status, 200);

    fs::rename(&away, &database).unwrap();
    let lock = Connection::open(&database).unwrap();
    lock.execute_batch("begin exclusive").unwrap();
    assert_eq!(
        Call::new("GET", url.clone()).send().problem(),
        (503, "database-unavailable".into())
    );
    lock.execute_batch("rollback").unwrap();
    assert_eq!(Call::new("GET", url).send().status, 200);
    wait_for("a replica that is ready", SOON, || ready() == 200);
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_reader_does_not_block_a_writer_and_reads_one_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let database = sample_database(folder.path());
    let writer = Connection::open(&database).unwrap();
    writer.execute_batch("pragma journal_mode = wal").unwrap();
    let server = TestServer::over(&database, vec![ALL]);
    let url = server.link(json!({"export": "all", "format": "csv"}));
    writer
        .execute_batch("begin immediate; delete from orders")
        .unwrap();
    assert_eq!(Call::new("GET", url.clone()).send().rows().len(), 7);
    writer.execute_batch("commit").unwrap();
    assert_eq!(Call::new("GET", url).send().rows().len(), 1);
}

#[test]
fn text_that_is_not_utf_8_fails_the_download() {
    let server = TestServer::with_exports(vec![
        (
            "bad.sql",
            "select :user as user, cast(x'ff' as text) as broken",
        ),
        ("blob.sql", "select :user as user, x'00ff' as bytes"),
    ]);
    let url = server.link(json!({"export": "bad", "format": "csv"}));
    assert_eq!(
        Call::new("GET", url).send().problem(),
        (500, "export-failed".into())
    );
    let blob = server.download(json!({"export": "blob", "format": "csv"}));
    assert_eq!(blob.text(), "user,bytes\r\nalice,00ff\r\n");
}

#[test]
fn an_empty_blob_is_a_row_and_not_null() {
    let sql = "select x'' as data where :user = 'alice' union all select null";
    let server = TestServer::with_exports(vec![
        ("blob.sql", sql),
        ("two.sql", "select :user as user, x'' as a, null as b"),
    ]);
    let text = |export: &str| {
        server
            .download(json!({"export": export, "format": "csv"}))
            .text()
    };
    assert_eq!(text("blob"), "data\r\n\"\"\r\n\"\"\r\n");
    assert_eq!(text("two"), "user,a,b\r\nalice,\"\",\r\n");
}
