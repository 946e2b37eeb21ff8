//! Which connections join a download that is read in ranges: only those of the same server, with the same settings.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::harness::command::own_by_postgres;
use crate::harness::postgres::Cluster;
use crate::harness::{begin_with, wait_for};
use crate::parallel::{
    LIMIT, PLAIN, RANGES, ROWS, assert_same, begin_in_ranges, column, content, file, link, orders,
    serve, wait_for_free_connections,
};

const LOG_STATEMENTS: &str = "log_statement = all";

/// Returns how many connections have begun a transaction with the snapshot of another one, and asked which server they
/// reached with which settings.
fn comparisons(cluster: &Cluster) -> usize {
    let log = fs::read_to_string(cluster.path().join("log")).unwrap();
    let is_comparison = |line: &&str| {
        line.contains("pg_postmaster_start_time") && !line.contains("pg_export_snapshot")
    };
    log.lines().filter(is_comparison).count()
}

/// Begins a session that runs some SQL and stays open until its input is dropped.
fn session(url: &str, sql: &str) -> Child {
    let mut session = Command::new("psql")
        .args(["--no-psqlrc", "--quiet"])
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(session.stdin.as_mut().unwrap(), "{sql}").unwrap();
    session
}

/// Copies the snapshot that a session of a cluster has exported, so that it also has the identifiers of a backend's next
/// transactions in another cluster. `transaction` is the last one, as `pg_locks` shows it.
fn give_identifiers(cluster: &Cluster, transaction: &str) {
    let folder = cluster.path().join("data/pg_snapshots");
    let mut snapshot = Vec::new();
    wait_for("a snapshot", LIMIT, || {
        let mut files = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
        // The server renames the file when it is complete.
        let exported = files.find(|file| file.extension().is_none());
        exported.is_some_and(|file| {
            snapshot = fs::read(file).unwrap();
            true
        })
    });
    let (backend, number) = transaction.split_once('/').unwrap();
    let (backend, number): (u32, u32) = (backend.parse().unwrap(), number.parse().unwrap());
    for next in number + 1..number + 5 {
        let file = folder.join(format!("{backend:08X}-{next:08X}-1"));
        fs::write(&file, &snapshot).unwrap();
        own_by_postgres(&file);
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn connections_of_different_servers_read_no_common_file() {
    let (first, second) = (Cluster::start(), Cluster::start_with(LOG_STATEMENTS));
    let schema = orders("bigint", "n * 2");
    first.database("ranges_hosts", &schema);
    let other = format!("{schema}; update orders set note = 'second ' || note");
    let url_of_second = second.database("ranges_hosts", &other);
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/ranges_hosts?sslmode=disable",
        first.port(),
        second.port()
    );
    let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
    let stream = begin_with(&link(&server, "plain"), "Connection: close\r\n");
    let transaction_of_download = "select virtualxid from pg_locks join pg_stat_activity using (pid) \
         where virtualxid is not null and application_name = 'rowlink/plain'";
    let mut transaction = String::new();
    wait_for("a transaction", LIMIT, || {
        transaction = first.psql("postgres", transaction_of_download);
        !transaction.is_empty()
    });
    let expected = content(stream);
    wait_for_free_connections(&server);
    // The second server has a snapshot with the identifier of the one that the first server exports next. Nothing but the
    // comparison keeps a connection to it from joining.
    let export = "begin isolation level repeatable read; select pg_export_snapshot();";
    let mut exporting = session(&url_of_second, export);
    give_identifiers(&second, &transaction);
    // The download has the connection to the first server, and another one reaches the second.
    first.psql(
        "postgres",
        "alter database ranges_hosts allow_connections false",
    );
    let stream = begin_with(&link(&server, "ranges"), "Connection: close\r\n");
    wait_for("a comparison", LIMIT, || comparisons(&second) > 0);
    assert_same(&content(stream), &expected, "hosts");
    drop(exporting.stdin.take());
    assert!(exporting.wait().unwrap().success());
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_standby_shares_its_snapshots() {
    let primary = Cluster::start();
    primary.database("ranges_standby", &orders("bigint", "n * 2"));
    let standby = primary.standby();
    let url = standby.url("ranges_standby");
    let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
    let expected = file(&server, "plain");
    let stream = begin_in_ranges(&standby, "ranges_standby", &link(&server, "ranges"), 2);
    assert_same(&content(stream), &expected, "standby");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_connection_that_began_with_other_settings_reads_no_range() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_settings", &orders("bigint", "n"));
    let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
    let expected = file(&server, "plain");
    wait_for_free_connections(&server);
    cluster.psql(
        "ranges_settings",
        "create schema other; create table other.orders (like public.orders including all);
         insert into other.orders select id, owner, 'other' from public.orders;
         alter database ranges_settings set search_path = other, public",
    );
    // The connection of the first download is used again, and another one would read the other table.
    assert_same(&file(&server, "ranges"), &expected, "settings");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_connection_with_another_value_of_a_setting_that_the_query_reads_reads_no_range() {
    let cluster = Cluster::start_with(LOG_STATEMENTS);
    let function = "create function tenant() returns text language plpgsql stable as \
                    $$ begin return current_setting('app.tenant', true); end $$";
    let schema = format!("{}; {function}", orders("bigint", "n"));
    let url = cluster.database("ranges_tenant", &schema);
    let set_tenant = |tenant: &str| {
        let role = "alter role postgres in database ranges_tenant";
        cluster.psql("postgres", &format!("{role} set app.tenant = '{tenant}'"));
    };
    for tenant in ["current_setting('app.tenant')", "tenant()"] {
        let own = format!("where owner = {tenant} order by id");
        let (plain, ranges) = (
            PLAIN.replace("order by id", &own),
            RANGES.replace("order by id", &own),
        );
        let exports = [("plain.sql", plain.as_str()), ("ranges.sql", &ranges)];
        set_tenant("alice");
        let server = serve(&url, &exports);
        let expected = file(&server, "plain");
        assert_eq!(column(&expected, 0).len(), ROWS - ROWS / 8, "{tenant}");
        let same = begin_in_ranges(&cluster, "ranges_tenant", &link(&server, "ranges"), 2);
        assert_same(&content(same), &expected, tenant);
        drop(server);
        // A download over the connection that the first one has opened, and another one with the new value.
        let server = serve(&url, &exports);
        assert_same(&file(&server, "plain"), &expected, tenant);
        wait_for_free_connections(&server);
        set_tenant("bob");
        let before = comparisons(&cluster);
        let stream = begin_with(&link(&server, "ranges"), "Connection: close\r\n");
        wait_for("a comparison", LIMIT, || comparisons(&cluster) > before);
        assert_same(&content(stream), &expected, tenant);
    }
}
