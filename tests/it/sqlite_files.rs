//! SQLite's files beside the database: journals, locks and temporary files.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::command::unprivileged;
use crate::harness::process::{command, configured_folder};
use crate::harness::{Call, Deployment, TestServer, begin, sqlite_url};

/// More bytes than the kernel's buffers hold.
const MANY: &str = "select n, printf('%0200d', n) as text from numbers where :user = 'alice'";
const ENDLESS: &str = "with recursive i(n) as (select 1 union all select n + 1 from i) \
                       select count(*) as n from i, numbers where :user = 'alice'";

/// A database file with a journal mode.
fn numbers(journal: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.db");
    let created = Connection::open(&file).unwrap().execute_batch(&format!(
        "pragma journal_mode = {journal};
         create table numbers (n integer primary key);
         with recursive i(n) as (select 1 union all select n + 1 from i where n < 200000) insert into numbers select n from i;
         create table notes (note text)"
    ));
    created.unwrap();
    (folder, file)
}

fn serve(file: &Path, lock_max: Duration) -> TestServer {
    let exports = vec![("many.sql", MANY), ("endless.sql", ENDLESS)];
    let mut deployment = Deployment::over(sqlite_url(file), exports);
    deployment.sqlite_lock_max = lock_max;
    deployment.start()
}

/// Commits a write as the application does; returns how long it had to wait.
fn write(file: &Path) -> Duration {
    let application = Connection::open(file).unwrap();
    application.busy_timeout(Duration::from_secs(20)).unwrap();
    let start = Instant::now();
    application
        .execute("insert into notes values ('sold')", [])
        .unwrap();
    start.elapsed()
}

#[test]
fn without_a_write_ahead_log_a_stalled_reader_keeps_writers_waiting_for_a_limited_time() {
    let (_folder, file) = numbers("delete");
    let server = serve(&file, Duration::from_secs(2));
    let mut stalled = begin(&server.link(json!({"export": "many", "format": "csv"})));
    stalled.read_exact(&mut [0; 1000]).unwrap();
    let waited = write(&file);
    assert!(
        waited > Duration::from_millis(500),
        "the reader held no lock"
    );
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    let mut rest = Vec::new();
    let ended = stalled.read_to_end(&mut rest);
    assert!(ended.is_err(), "a truncated file ended in good order");
}

#[test]
fn without_a_write_ahead_log_a_query_without_rows_is_504_after_that_time() {
    let (_folder, file) = numbers("delete");
    let server = serve(&file, Duration::from_secs(1));
    let url = server.link(json!({"export": "endless", "format": "csv"}));
    let answer = Call::new("GET", url).send();
    assert_eq!(answer.problem(), (504, "export-too-slow".into()));
    assert!(write(&file) < Duration::from_millis(500));
}

#[test]
fn with_a_write_ahead_log_neither_waits_for_the_other() {
    let (_folder, file) = numbers("wal");
    let server = serve(&file, Duration::from_secs(1));
    let mut slow = begin(&server.link(json!({"export": "many", "format": "csv"})));
    slow.read_exact(&mut [0; 1000]).unwrap();
    assert!(write(&file) < Duration::from_millis(500));
    // Longer than the limit, which does not apply.
    std::thread::sleep(Duration::from_millis(1500));
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        let mut buffer = [0; 65_536];
        let count = slow.read(&mut buffer).unwrap();
        assert!(count > 0, "a truncated file");
        rest.extend_from_slice(&buffer[..count]);
    }
    assert!(String::from_utf8_lossy(&rest).contains("200000,"));
}

#[test]
fn a_fast_download_without_a_write_ahead_log_is_complete() {
    let (_folder, file) = numbers("delete");
    let server = serve(&file, Duration::from_secs(60));
    let rows = server
        .download(json!({"export": "many", "format": "csv"}))
        .rows();
    assert_eq!(rows.len(), 200_001);
    assert_eq!(
        server
            .download(json!({"export": "many", "format": "csv", "length": "exact"}))
            .rows()
            .len(),
        200_001
    );
}

/// Runs `rowlink check` as a user who may not write to the folder.
fn check_unprivileged(folder: &Path, file: &Path) -> Output {
    let configured = command(folder);
    let rowlink = Path::new(configured.get_program());
    let variables = configured.get_envs();
    let mut check = unprivileged(rowlink);
    check
        .arg("check")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .env("ROWLINK_DATABASE_URL", sqlite_url(file));
    check.output().unwrap()
}

/// Lets everyone read a folder and the files in it, and nobody but root write.
fn make_readable(folder: &Path) {
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => make_readable(&path),
            false => mode(&path, 0o444),
        }
    }
    mode(folder, 0o555);
}

#[test]
#[ignore = "needs setpriv: make test"]
fn a_write_ahead_log_in_a_read_only_folder_prevents_the_start_with_the_reason() {
    let (folder, file) = numbers("wal");
    let configuration = configured_folder(&[("many.sql", MANY)]);
    make_readable(folder.path());
    make_readable(configuration.path());
    let checked = check_unprivileged(configuration.path(), &file);
    let error = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(2), "{error}");
    for part in ["database `default`", "numbers.db-shm", "write-ahead log"] {
        assert!(error.contains(part), "{error}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    Connection::open(&file)
        .unwrap()
        .execute_batch("pragma journal_mode = delete")
        .unwrap();
    make_readable(folder.path());
    let checked = check_unprivileged(configuration.path(), &file);
    let warning = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{warning}");
    assert!(
        warning.contains("warning: database `default`: no write-ahead log"),
        "{warning}"
    );
}

#[test]
#[ignore = "needs root: make test"]
fn large_sorts_need_a_folder_for_temporary_files_or_memory() {
    let (folder, file) = numbers("delete");
    let sorted =
        "select n, printf('%0200d', n) as text from numbers where :user = 'alice' order by -n";
    let configuration = configured_folder(&[("sorted.sql", sorted)]);
    make_readable(folder.path());
    make_readable(configuration.path());
    let configured = command(configuration.path());
    let rowlink = Path::new(configured.get_program());
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        // A namespace in which these folders cannot be written to.
        let script = "for folder in /tmp /var/tmp; do mount --bind $folder $folder && \
                      mount -o remount,bind,ro $folder || exit 9; done; exec \"$@\"";
        let unprivileged = unprivileged(rowlink);
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(unprivileged.get_program())
            .args(unprivileged.get_args())
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(
                configured
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("ROWLINK_DATABASE_URL", sqlite_url(&file))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    };
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let export = ["export", "sorted", "--format", "csv", "--user", "alice"];
    let memory = [("ROWLINK_SQLITE_SORTS", "memory")];
    let warned = run(&["check"], &[]);
    assert!(
        text(&warned).contains("no writable folder for temporary files"),
        "{}",
        text(&warned)
    );
    let failed = run(&export, &[]);
    assert!(!failed.status.success());
    assert!(text(&failed).contains("temporary"), "{}", text(&failed));
    let silent = run(&["check"], &memory);
    assert!(!text(&silent).contains("temporary"), "{}", text(&silent));
    let exported = run(&export, &memory);
    assert!(exported.status.success(), "{}", text(&exported));
    assert_eq!(
        String::from_utf8_lossy(&exported.stdout).lines().count(),
        200_001
    );
}
