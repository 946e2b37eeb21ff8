//! Exports that several PostgreSQL connections read at the same time, each ranges of a column, in one snapshot.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    Call, Deployment, TestServer, begin_with, metric, token_for, unchunked, wait_for,
};

pub const LIMIT: Duration = Duration::from_secs(30);

/// More than all buffers between the database and a client that reads nothing can hold.
pub const ROWS: usize = 120_000;

pub const PLAIN: &str =
    "/*---\nunscoped = true\n---*/\nselect id, owner, note from orders order by id";
pub const RANGES: &str = "/*---\nparallel = 'id'\nunscoped = true\n---*/\n\
                      select id, owner, note from orders order by id";
const BACKENDS: &str = "/*---\nparallel = 'id'\nunscoped = true\n---*/\n\
                        select id, pg_backend_pid() as backend, note from orders";

/// Returns the SQL of a table with 440 bytes per row, whose keys are an expression of `n`. Each eighth row is bob's, and the others are
/// alice's.
pub fn orders(kind: &str, key: &str) -> String {
    format!(
        "create table orders (id {kind} primary key, owner text not null, note text not null);
         insert into orders select {key}, case when n % 8 = 0 then 'bob' else 'alice' end,
             md5(n::text) || repeat('x', 400) from generate_series(1, {ROWS}) n;
         analyze orders"
    )
}

pub fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    Deployment::over(url.to_owned(), exports.to_vec()).start()
}

pub fn link(server: &TestServer, export: &str) -> String {
    server.link(json!({"export": export, "format": "csv"}))
}

pub fn file(server: &TestServer, export: &str) -> Vec<u8> {
    Call::new("GET", link(server, export)).send().body
}

/// Returns the number of connections that read ranges.
fn reading(cluster: &Cluster, database: &str) -> usize {
    let count = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' and state <> 'idle' \
         and application_name like 'rowlink/%' and query like 'select %) as rowlink where %'"
    );
    cluster.psql("postgres", &count).parse().unwrap()
}

/// Waits until no download has a connection.
pub fn wait_for_free_connections(server: &TestServer) {
    let in_use = "rowlink_database_connections_in_use{database=\"default\"}";
    wait_for("free connections", LIMIT, || {
        metric(&server.origin, in_use) == 0
    });
}

/// Begins a download, and returns it unread when `count` connections read its ranges.
pub fn begin_in_ranges(cluster: &Cluster, database: &str, url: &str, count: usize) -> TcpStream {
    let stream = begin_with(url, "Connection: close\r\n");
    wait_for("ranges", LIMIT, || reading(cluster, database) == count);
    stream
}

/// Reads the rest of a download, which must be complete.
pub fn content(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let (content, is_whole) = unchunked(&answer);
    assert!(is_whole, "no final chunk");
    content
}

pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    // Not `assert_eq`, which would print both files.
    assert!(found == expected, "{what}: another file");
}

/// Returns the values of a column of a CSV file.
pub fn column(file: &[u8], index: usize) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(file);
    let records = reader.records().map(Result::unwrap);
    records.map(|record| record[index].to_owned()).collect()
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_file_read_in_ranges_has_the_bytes_of_one_read_over_one_connection() {
    let cluster = Cluster::shared();
    for (database, kind, key) in [
        ("ranges_gaps", "integer", "n * 17"),
        ("ranges_negative", "bigint", "n::bigint * 3 - 200000"),
        ("ranges_skewed", "bigint", "n::bigint * n * n - 9000000"),
        (
            "ranges_ends",
            "bigint",
            "case n when 1 then -9223372036854775808 when 2 then 9223372036854775807 else n end",
        ),
    ] {
        let url = cluster.database(database, &orders(kind, key));
        let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
        let plain = file(&server, "plain");
        assert_eq!(column(&plain, 0).len(), ROWS);
        let stream = begin_in_ranges(cluster, database, &link(&server, "ranges"), 2);
        assert_same(&content(stream), &plain, database);
        // In two passes, the first of which measures.
        let exact = json!({"export": "ranges", "format": "csv", "length": "exact"});
        let measured = server.download(exact);
        assert_eq!(measured.header("content-length"), plain.len().to_string());
        assert_same(&measured.body, &plain, database);
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_partitioned_table_is_read_in_ranges() {
    let cluster = Cluster::shared();
    let schema = format!(
        "create table orders (id bigint primary key, owner text not null, note text not null) partition by range (id);
         create table low partition of orders for values from (minvalue) to (50000);
         create table high partition of orders for values from (50000) to (maxvalue);
         insert into orders select n, 'alice', repeat('x', 440) from generate_series(1, {ROWS}) n;
         analyze orders"
    );
    let url = cluster.database("ranges_partitions", &schema);
    let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
    let plain = file(&server, "plain");
    let stream = begin_in_ranges(cluster, "ranges_partitions", &link(&server, "ranges"), 2);
    assert_same(&content(stream), &plain, "partitions");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn rows_that_change_after_the_first_byte_are_in_no_range() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_snapshot", &orders("bigint", "n * 10"));
    let server = serve(&url, &[("plain.sql", PLAIN), ("ranges.sql", RANGES)]);
    let before = file(&server, "plain");
    let stream = begin_in_ranges(cluster, "ranges_snapshot", &link(&server, "ranges"), 2);
    cluster.psql(
        "ranges_snapshot",
        "delete from orders where id % 20 = 0;
         update orders set note = 'changed' where id % 30 = 10;
         update orders set id = -id where id % 70 = 30;
         insert into orders select n * 10 + 5, 'alice', 'new' from generate_series(-1000, 200000) n",
    );
    assert_same(&content(stream), &before, "snapshot");
    assert!(file(&server, "ranges") != before, "the rows have changed");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn policies_restrict_every_connection() {
    let cluster = Cluster::shared();
    let policies = "
        do $$ begin
            if not exists (select from pg_roles where rolname = 'authenticated') then
                create role authenticated nologin;
            end if;
        end $$;
        grant select on orders to authenticated;
        alter table orders enable row level security;
        create policy own on orders for select to authenticated
            using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub')";
    let schema = format!("{}; {policies}", orders("bigint", "n"));
    let url = cluster.database("ranges_policies", &schema);
    let own = "/*---\nrole = 'authenticated'\nrow_security = true\nparallel = 'id'\n---*/\n\
               select id, owner, note from orders";
    let server = serve(&url, &[("own.sql", own)]);
    // Bob's rows are too few for ranges.
    for (user, connections) in [("alice", Some(2)), ("bob", None)] {
        let token = token_for(&json!({"sub": user, "exp": server.now() + 600}));
        let issued = server.issue_with(&token, json!({"export": "own", "format": "csv"}));
        let url = issued.json()["url"].as_str().unwrap().to_owned();
        let file = match connections {
            Some(count) => content(begin_in_ranges(cluster, "ranges_policies", &url, count)),
            None => Call::new("GET", url).send().body,
        };
        let owners: BTreeSet<String> = column(&file, 1).into_iter().collect();
        assert_eq!(owners, BTreeSet::from([user.to_owned()]));
        let is_own = |n: &usize| n.is_multiple_of(8) == (user == "bob");
        let expected = (1..=ROWS).filter(is_own).map(|n| n.to_string());
        assert!(column(&file, 0).into_iter().eq(expected), "{user}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn chosen_and_masked_columns_are_read_in_ranges() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_columns", &orders("integer", "n * 3"));
    let masked = |settings: &str| {
        format!(
            "/*---\nunscoped = true\n{settings}\n[columns.owner]\nscope = 'pii:read'\nmask = \"left(o.owner, 1)\"\n---*/\n\
             select o.id as id, o.owner as owner, o.note as note from orders o order by id"
        )
    };
    let (plain, ranges) = (masked(""), masked("parallel = 'id'"));
    let server = serve(&url, &[("plain.sql", &plain), ("ranges.sql", &ranges)]);
    for columns in [json!(["note", "owner"]), Value::Null] {
        let request = |export: &str| match &columns {
            Value::Null => json!({"export": export, "format": "csv"}),
            columns => json!({"export": export, "format": "csv", "columns": columns}),
        };
        let expected = server.download(request("plain")).body;
        let url = server.link(request("ranges"));
        let stream = begin_in_ranges(cluster, "ranges_columns", &url, 2);
        assert_same(&content(stream), &expected, &columns.to_string());
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_download_that_finds_no_free_connection_reads_over_its_own() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_busy", &orders("bigint", "n"));
    let mut deployment = Deployment::over(url, vec![("backends.sql", BACKENDS)]);
    deployment.connections = 3;
    let server = deployment.start();
    let first = begin_in_ranges(cluster, "ranges_busy", &link(&server, "backends"), 2);
    let backends = |file: &[u8]| {
        let ids: BTreeSet<String> = column(file, 0).into_iter().collect();
        assert_eq!(ids.len(), ROWS);
        column(file, 1).into_iter().collect::<BTreeSet<_>>().len()
    };
    assert_eq!(backends(&file(&server, "backends")), 1);
    assert_eq!(backends(&content(first)), 2);
    // Both connections are free again, and usable.
    wait_for_free_connections(&server);
    let again = begin_in_ranges(cluster, "ranges_busy", &link(&server, "backends"), 2);
    assert_eq!(backends(&content(again)), 2);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_small_result_is_read_over_one_connection() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_small", &orders("bigint", "n"));
    let few = format!(
        "{} where id <= :most",
        BACKENDS.replace(
            "---*/",
            "[filters.most]\ntype = 'integer'\nrequired = true\n---*/"
        )
    );
    let server = serve(&url, &[("few.sql", &few)]);
    let request = json!({"export": "few", "format": "csv", "filters": {"most": 500}});
    let file = server.download(request).body;
    let expected = (1..=500).map(|n| n.to_string());
    assert!(column(&file, 0).into_iter().eq(expected));
    let mut backends = column(&file, 1);
    backends.dedup();
    assert_eq!(backends.len(), 1);
    let all = json!({"export": "few", "format": "csv", "filters": {"most": 99_999_999_999_u64}});
    assert_eq!(server.download(all).rows().len(), ROWS + 1);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_connection_that_breaks_breaks_the_file() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_killed", &orders("bigint", "n"));
    let server = serve(&url, &[("ranges.sql", RANGES)]);
    for order in ["desc", "asc"] {
        let mut stream = begin_in_ranges(cluster, "ranges_killed", &link(&server, "ranges"), 2);
        // The connection that has joined began its transaction later.
        let kill = format!(
            "select pg_terminate_backend(pid) from (select pid from pg_stat_activity \
             where datname = 'ranges_killed' and application_name like 'rowlink/%' and state <> 'idle' \
             order by xact_start {order} limit 1) it"
        );
        assert_eq!(cluster.psql("postgres", &kill), "t");
        let mut answer = Vec::new();
        let error = stream.read_to_end(&mut answer).expect_err("a broken file");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{order}");
        assert!(!unchunked(&answer).1, "a final chunk was sent");
        wait_for_free_connections(&server);
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_client_that_disconnects_frees_all_connections() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_dropped", &orders("bigint", "n"));
    let mut deployment = Deployment::over(url, vec![("ranges.sql", RANGES)]);
    deployment.connections = 2;
    let server = deployment.start();
    for _ in 0..3 {
        let stream = begin_in_ranges(cluster, "ranges_dropped", &link(&server, "ranges"), 2);
        drop(stream);
        wait_for("the end of both queries", LIMIT, || {
            cluster.running("ranges_dropped") == 0
        });
        wait_for_free_connections(&server);
    }
    assert_eq!(column(&file(&server, "ranges"), 0).len(), ROWS);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_value_that_could_be_the_present_time_is_read_over_one_connection() {
    let cluster = Cluster::shared();
    let url = cluster.database("ranges_clock", &orders("bigint", "n"));
    let until = format!(
        "{} where note <> (:until::timestamptz)::text",
        BACKENDS.replace(
            "---*/",
            "[filters.until]\ntype = 'text'\nrequired = true\n---*/"
        )
    );
    let server = serve(&url, &[("until.sql", &until)]);
    let link = |until: &str| {
        server.link(json!({"export": "until", "format": "csv", "filters": {"until": until}}))
    };
    let fixed = begin_in_ranges(cluster, "ranges_clock", &link("2026-01-01 06:00"), 2);
    assert_eq!(column(&content(fixed), 0).len(), ROWS);
    wait_for_free_connections(&server);
    for until in ["now", "Today 06:00"] {
        let file = Call::new("GET", link(until)).send().body;
        let mut backends = column(&file, 1);
        assert_eq!(backends.len(), ROWS, "{until}");
        backends.dedup();
        assert_eq!(backends.len(), 1, "{until}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn the_error_of_a_row_in_a_later_range_names_its_number_in_the_file() {
    let cluster = Cluster::shared();
    let large = "update orders set note = repeat('x', 2000000) where id = 100001";
    let schema = format!("{}; {large}", orders("bigint", "n"));
    let url = cluster.database("ranges_row", &schema);
    let rowlink = Rowlink::serve_with(
        &[("ranges.sql", RANGES)],
        &[
            ("ROWLINK_DATABASE_URL", &url),
            ("ROWLINK_MAX_ROW_BYTES", "1000000"),
        ],
    );
    let link = rowlink.link(json!({"export": "ranges", "format": "csv"}));
    let mut stream = begin_in_ranges(cluster, "ranges_row", &link, 2);
    let ended = stream.read_to_end(&mut Vec::new());
    ended.expect_err("the file ended in good order");
    let log = rowlink.stop();
    assert!(log.contains("row 100001, column `note`"), "{log}");
}
