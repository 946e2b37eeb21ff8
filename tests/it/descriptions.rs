//! The connections over which databases describe exports: few, closed at the end, and without state of the one before.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{Deployment, TestServer, wait_for};

const LOG_CONNECTIONS: &str = "log_connections = on";

/// A table that only its owner may read.
const SCHEMA: &str = "
    create table orders as select n, 'alice' as owner from generate_series(1, 9) n;
    create role stranger nologin;
";

const ORDERS: &str = "select n from orders where owner = :user";
/// Without the privilege to read `orders`.
const BY_STRANGER: &str = "/*---\nrole = 'stranger'\n---*/\nselect 1 as n where :user <> ''";
/// The server divides when it plans the query, which aborts the transaction of the description.
const DIVISION: &str = "select 1 / 0 as n where :user <> ''";

/// Returns exports of which each would fail with the role or in the transaction of the one before.
fn forty_files() -> Vec<(String, String)> {
    let statements = [BY_STRANGER, ORDERS, DIVISION, ORDERS, ORDERS];
    let file = |index: usize| {
        let sql = statements[index % statements.len()];
        (format!("e{index:02}.sql"), sql.to_owned())
    };
    (0..40).map(file).collect()
}

fn deployment<'a>(url: &str, files: &'a [(String, String)]) -> Deployment<'a> {
    let files = files.iter();
    let files = files.map(|(name, text)| (name.as_str(), text.as_str()));
    Deployment::over(url.to_owned(), files.collect())
}

fn serve(url: &str, files: &[(String, String)]) -> TestServer {
    deployment(url, files).start()
}

/// Returns the log of a server that has no connection of Rowlink any more. Panics if connections stay.
fn log_after_the_end(cluster: &Cluster) -> String {
    wait_for(
        "the end of the connections",
        Duration::from_secs(10),
        || connections(cluster, "") == 0,
    );
    fs::read_to_string(cluster.path().join("log")).unwrap()
}

/// Returns the number of Rowlink's connections to the database `described`.
fn connections(cluster: &Cluster, condition: &str) -> usize {
    let count = format!(
        "select count(*) from pg_stat_activity \
         where datname = 'described' and application_name <> 'psql' {condition}"
    );
    cluster.psql("postgres", &count).parse().unwrap()
}

/// Returns how many connections Rowlink has opened to the database `described`.
fn opened(log: &str) -> usize {
    let is_opened = |line: &&str| {
        line.contains("connection authorized")
            && line.contains("database=described")
            && !line.contains("application_name=psql")
    };
    log.lines().filter(is_opened).count()
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn postgresql_describes_forty_exports_over_four_connections_and_none_stays() {
    let cluster = Cluster::start_with(LOG_CONNECTIONS);
    let url = cluster.database("described", SCHEMA);
    let server = serve(&url, &forty_files());
    let log = log_after_the_end(&cluster);
    assert!((1..=4).contains(&opened(&log)), "{log}");
    assert!(!log.contains("unexpected EOF"), "{log}");
    assert_eq!(server.state.service.count(), 40);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn exports_that_cannot_be_described_do_not_affect_the_others() {
    let cluster = Cluster::start_with(LOG_CONNECTIONS);
    let url = cluster.database("described", SCHEMA);
    let mut files = forty_files();
    files[16].1 = "select missing from orders where owner = :user".into();
    files[17].1 = BY_STRANGER.replace("stranger", "nobody_here");
    files[18].1 = BY_STRANGER.replace("1 as n", "n from orders");
    let errors = deployment(&url, &files).errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, (file, named)) in errors.iter().zip([
        ("e16.sql", "missing"),
        ("e17.sql", "nobody_here"),
        ("e18.sql", "permission denied"),
    ]) {
        assert!(error.starts_with(file) && error.contains(named), "{error}");
    }
    let log = log_after_the_end(&cluster);
    // A connection without the settings of its export is closed.
    assert!((1..=5).contains(&opened(&log)), "{log}");
    assert!(!log.contains("unexpected EOF"), "{log}");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn exports_with_types_that_are_not_built_in_leave_no_connection() {
    let cluster = Cluster::start_with(LOG_CONNECTIONS);
    let types = "create type mood as enum ('sad', 'happy'); create domain amount as numeric;
                 create table moods as select 'sad'::mood as mood, 1::amount as amount;";
    let url = cluster.database("described", types);
    let by_mood = "/*---\n[filters.mood]\ntype = 'text'\n---*/\n\
                   select mood, amount from moods where (:mood is null or mood = :mood) and :user <> ''";
    let mut files = forty_files();
    for (_, text) in &mut files {
        *text = by_mood.to_owned();
    }
    let server = serve(&url, &files);
    let log = log_after_the_end(&cluster);
    assert!(!log.contains("unexpected EOF"), "{log}");
    let request = json!({"export": "e39", "format": "csv", "filters": {"mood": "sad"}});
    assert_eq!(server.download(request).text(), "mood,amount\r\nsad,1\r\n");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_connection_that_the_server_has_closed_between_two_descriptions_is_replaced() {
    let cluster = Cluster::start();
    let url = cluster.database("described", SCHEMA);
    cluster.psql("described", "create table locked (n int, owner text)");
    let mut files = forty_files();
    files[0].1 = ORDERS.replace("orders", "locked");
    let mut lock = Command::new("psql")
        .args(["--no-psqlrc", "--quiet"])
        .arg(&url)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commands = lock.stdin.take().unwrap();
    writeln!(commands, "begin; lock table locked;").unwrap();
    let locks = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted \
                 and relation = 'locked'::regclass";
    wait_for("the lock", Duration::from_secs(10), || {
        cluster.psql("described", locks) == "1"
    });
    let server = thread::scope(|scope| {
        scope.spawn(|| {
            // The first export waits for its table, and the others for the first.
            wait_for("idle connections", Duration::from_secs(8), || {
                connections(&cluster, "and state = 'idle'") == 3
            });
            let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                             where datname = 'described' and state = 'idle'";
            assert_eq!(cluster.psql("postgres", terminate), "3");
            // Ends the transaction.
            drop(commands);
        });
        serve(&url, &files)
    });
    assert_eq!(server.state.service.count(), 40);
    assert!(lock.wait().unwrap().success());
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn mariadb_describes_forty_exports_over_four_connections_and_none_stays() {
    let database = MariaDb::start();
    let url = database.database("described", "create table orders (n int, owner varchar(9))");
    let status = |name: &str| -> usize {
        let printed = database.query("", &format!("show global status like '{name}'"));
        printed.split_whitespace().last().unwrap().parse().unwrap()
    };
    let mut files = forty_files();
    for (_, text) in &mut files {
        *text = ORDERS.to_owned();
    }
    let before = status("Connections");
    let server = serve(&url, &files);
    // Without the one that counts.
    let opened = status("Connections") - before - 1;
    assert!((1..=4).contains(&opened), "{opened}");
    let rest = "select count(*) from information_schema.processlist where user = 'rowlink'";
    wait_for(
        "the end of the connections",
        Duration::from_secs(10),
        || database.query("", rest).lines().last() == Some("0"),
    );
    assert_eq!(status("Aborted_clients"), 0);
    assert_eq!(server.state.service.count(), 40);
}
