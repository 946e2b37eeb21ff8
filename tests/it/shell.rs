//! `rowlink tables` and `rowlink new`: from a database to a new export.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::{command, configured_folder};
use crate::harness::sample_database;

pub struct Run {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command with the configuration of a folder, and without a terminal.
fn run_in(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = command(folder);
    command.current_dir(folder).stdin(Stdio::null());
    command.args(arguments).output().unwrap().into()
}

/// Runs a command with no variable but the URL of a database.
fn run_with(url: &str, arguments: &[&str]) -> Run {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.env_clear().env("ROWLINK_DATABASE_URL", url);
    rowlink.stdin(Stdio::null());
    rowlink.args(arguments).output().unwrap().into()
}

/// Runs a command with an empty environment and this standard input.
pub fn run_with_input(arguments: &[&str], input: &str) -> Run {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.args(arguments).env_clear().stdin(Stdio::piped());
    let mut child = rowlink
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("sample.db").display())
}

#[test]
fn tables_lists_tables_and_views_from_the_variable_an_argument_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(sample_database(folder.path())).unwrap();
    let sql = "create view paid as select id, user_id from orders where status = 'paid';
               create table \"odd\u{1b}[31m\" (x); analyze;";
    database.execute_batch(sql).unwrap();
    let expected = "\
TABLE            KIND   COLUMNS  ROWS
odd\\u{1b}[31m   table        1     -
orders           table        7    ~7
paid             view         2     -
";
    let url = sqlite_url(folder.path());
    let found = run_with(&url, &["tables"]);
    assert_eq!(words(&found.out), words(expected), "{}", found.err);
    let columns = found.out.lines().map(|line| line.chars().count());
    let columns: Vec<usize> = columns.collect();
    assert!(
        columns.iter().all(|it| *it == columns[0]),
        "not aligned: {}",
        found.out
    );
    for found in [
        run_with("sqlite:/nonexistent", &["tables", "--database", &url]),
        run_with_input(&["tables", "--database", "-"], &format!("{url}\n")),
    ] {
        assert_eq!(words(&found.out), words(expected), "{}", found.err);
    }

    let found = run_with(&url, &["tables", "--json"]);
    let tables: Value = serde_json::from_str(&found.out).unwrap();
    let orders = &tables[1];
    assert_eq!(orders["name"], "orders");
    assert_eq!(orders["kind"], "table");
    assert_eq!(orders["estimated_rows"], 7);
    assert_eq!(
        orders["columns"][0],
        json!({"name": "id", "type": "INTEGER", "filter_type": "integer", "primary_key": 1})
    );
    assert_eq!(orders["columns"][5]["filter_type"], "decimal");
}

/// Returns the words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
fn a_password_in_an_argument_is_refused_and_not_shown() {
    for arguments in [
        &[
            "tables",
            "--database",
            "postgres://shop:s3cret@localhost/shop",
        ][..],
        &["tables", "--database", "mysql://shop:s3cret@localhost/shop"],
        &[
            "init",
            "/nonexistent/x",
            "--database",
            "postgres://shop:s3cret@localhost/shop",
        ],
    ] {
        let refused = run_with("sqlite:/nonexistent", arguments);
        assert_eq!(refused.status, Some(2));
        assert!(
            refused.err.contains("--database: has a password"),
            "{}",
            refused.err
        );
        assert!(!refused.err.contains("s3cret"), "{}", refused.err);
    }
    for unknown in ["other", "host=localhost password=s3cret"] {
        let unknown = run_with("sqlite:/nonexistent", &["tables", "--database", unknown]);
        let expected = "rowlink: --database: unknown database; expected one of default, or a URL\n";
        assert_eq!(unknown.err, expected);
    }
}

#[test]
fn a_new_export_is_accepted_and_gives_a_caller_only_its_own_rows() {
    let folder = configured_folder(&[]);
    let new = [
        "new",
        "my-orders",
        "--from",
        "orders",
        "--user-column",
        "user_id",
    ];
    let filters = ["--filter", "status", "--filter", "amount"];
    let written = run_in(folder.path(), &[&new[..], &filters].concat());
    assert_eq!(written.status, Some(0), "{}", written.err);
    assert!(
        written.out.ends_with("\nNext: rowlink check\n"),
        "{}",
        written.out
    );
    let text = fs::read_to_string(folder.path().join("exports/my-orders.sql")).unwrap();
    let statement = "\
select id, user_id, org_id, created_at, status, amount, note
from orders
where user_id = :user
  and (:status is null or status = :status)
  and (:amount is null or amount = :amount)
order by id
";
    assert!(text.ends_with(statement), "{text}");
    let checked = run_in(folder.path(), &["check"]);
    assert_eq!(checked.status, Some(0), "{}", checked.err);
    let ids = |arguments: &[&str]| {
        let all = [&["export", "my-orders", "--columns", "id"], arguments].concat();
        let exported = run_in(folder.path(), &all);
        assert_eq!(exported.status, Some(0), "{}", exported.err);
        exported.out.replace("\r\n", " ")
    };
    assert_eq!(ids(&["--user", "bob"]), "id 3 ");
    assert_eq!(
        ids(&["--user", "alice", "--filter", "status=paid"]),
        "id 1 5 6 7 "
    );
    let both = ["--filter", "status=paid", "--filter", "amount=3"];
    assert_eq!(ids(&[&["--user", "alice"], &both[..]].concat()), "id 6 ");

    let again = run_in(folder.path(), &new);
    assert_eq!(again.status, Some(2));
    assert!(
        again.err.contains("my-orders.sql: exists already"),
        "{}",
        again.err
    );
    let kept = fs::read_to_string(folder.path().join("exports/my-orders.sql"));
    assert_eq!(kept.unwrap(), text);
}

#[test]
fn no_export_is_written_unless_it_is_said_whose_rows_a_caller_gets() {
    let folder = configured_folder(&[("year/book.toml", "")]);
    let exports = folder.path().join("exports");
    let cases: [(&[&str], &str); 6] = [
        (
            &["new", "a", "--from", "orders"],
            "--user-column: is required; name the column",
        ),
        (
            &["new", "a", "--from", "nope", "--for-all-users"],
            "--from: unknown table `nope`",
        ),
        (
            &["new", "a", "--from", "orders", "--user-column", "usr"],
            "--user-column: unknown column `usr`",
        ),
        (
            &["new", "../a", "--from", "orders", "--for-all-users"],
            "expected 1 to 64 of",
        ),
        (
            &[
                "new",
                "a",
                "--from",
                "orders",
                "--for-all-users",
                "--user-column",
                "user_id",
            ],
            "cannot be used with",
        ),
        (
            &["new", "year", "--from", "orders", "--for-all-users"],
            "exports/year: exists already",
        ),
    ];
    for (arguments, error) in cases {
        let refused = run_in(folder.path(), arguments);
        assert_eq!(refused.status, Some(2), "{arguments:?}");
        assert!(
            refused.err.contains(error),
            "{error} is not in {}",
            refused.err
        );
        assert_eq!(fs::read_dir(&exports).unwrap().count(), 1, "{arguments:?}");
    }
    fs::remove_dir_all(exports.join("year")).unwrap();
    let written = run_in(
        folder.path(),
        &["new", "a", "--from", "orders", "--for-all-users"],
    );
    assert_eq!(written.status, Some(0), "{}", written.err);
    let text = fs::read_to_string(exports.join("a.sql")).unwrap();
    assert!(text.contains("\nunscoped = true\n"), "{text}");
    assert_eq!(run_in(folder.path(), &["check"]).status, Some(0));

    let other = folder.path().join("with space");
    let new = [
        "new",
        "a",
        "--from",
        "orders",
        "--for-all-users",
        "--exports-dir",
        "with space",
    ];
    let missing = run_in(folder.path(), &new);
    assert!(
        missing.err.contains("with space: is no folder"),
        "{}",
        missing.err
    );
    fs::create_dir(&other).unwrap();
    let written = run_in(folder.path(), &new);
    let next = "\nNext: ROWLINK_EXPORTS_DIR='with space' rowlink check\n";
    assert!(
        written.out.ends_with(next),
        "{}{}",
        written.out,
        written.err
    );
}

#[test]
fn names_that_need_quotes_are_exported_as_they_are() {
    let folder = configured_folder(&[]);
    let database = Connection::open(folder.path().join("sample.db")).unwrap();
    let sql = "create table \"group\" (\"order\" integer, \"a \"\" b\" text, \"User\" text, \"seen at\" text, primary key (\"order\"));
               insert into \"group\" values (1, 'x', 'alice', 'y'), (2, 'z', 'bob', 'y');";
    database.execute_batch(sql).unwrap();
    let new = [
        "new",
        "g",
        "--from",
        "group",
        "--user-column",
        "User",
        "--filter",
        "order",
    ];
    let written = run_in(folder.path(), &new);
    assert_eq!(written.status, Some(0), "{}", written.err);
    let export = ["export", "g", "--user", "alice", "--filter", "order=1"];
    let exported = run_in(folder.path(), &export);
    let header = "order,\"a \"\" b\",User,";
    let is_whole =
        exported.out.starts_with(header) && exported.out.ends_with("\r\n1,x,alice,y\r\n");
    assert!(is_whole, "{}{}", exported.out, exported.err);
    assert_eq!(exported.out.lines().count(), 2);
    let refused = run_in(
        folder.path(),
        &[
            "new",
            "h",
            "--from",
            "group",
            "--for-all-users",
            "--filter",
            "seen at",
        ],
    );
    assert!(
        refused.err.contains("no filter can have this name"),
        "{}",
        refused.err
    );
}

const SHOP: &str = "create table plain (id integer not null primary key, user_id integer not null, paid_at timestamp, \
     day date, total numeric(10, 2), open boolean, note varchar(20));
     insert into plain values (1, 7, '2026-01-05 23:59:59', '2026-01-05', 1.5, true, 'a'), \
     (2, 7, '2026-01-06 00:00:00', '2026-01-06', 2.5, false, 'b'), (3, 8, '2026-01-05 12:00:00', '2026-01-05', 1.5, true, 'a');";

/// Returns the table with a time that is the same in every time zone.
fn mariadb_shop() -> String {
    SHOP.replace("timestamp", "datetime")
}

/// Writes an export with a filter on each column, and compares the rows of some filters.
fn filters_of_each_type_select_rows(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let exports = folder.path().join("exports");
    fs::create_dir(&exports).unwrap();
    let exports = exports.to_str().unwrap();
    let mut new = vec![
        "new",
        "plain",
        "--from",
        "plain",
        "--user-column",
        "user_id",
    ];
    new.extend(["--exports-dir", exports]);
    for column in ["paid_at", "day", "total", "open", "note", "id"] {
        new.extend(["--filter", column]);
    }
    let written = run_with(url, &new);
    assert_eq!(written.status, Some(0), "{}", written.err);
    let cases: [(&[&str], &str); 8] = [
        (&[], "1 2 "),
        (&["paid_at_to=2026-01-05"], "1 "),
        (&["paid_at_from=2026-01-06"], "2 "),
        (&["day_from=2026-01-05", "day_to=2026-01-05"], "1 "),
        (&["total=2.5"], "2 "),
        (&["open=true"], "1 "),
        (&["note=b"], "2 "),
        (&["id=1"], "1 "),
    ];
    for (filters, ids) in cases {
        let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
        rowlink.env_clear().env("ROWLINK_DATABASE_URL", url);
        rowlink.env("ROWLINK_EXPORTS_DIR", exports);
        rowlink.args(["export", "plain", "--user", "7", "--columns", "id"]);
        filters.iter().for_each(|filter| {
            rowlink.args(["--filter", filter]);
        });
        let exported: Run = rowlink.output().unwrap().into();
        let text = exported.out.replace("\r\n", " ");
        assert_eq!(text, format!("id {ids}"), "{filters:?}: {}", exported.err);
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn tables_of_postgresql_have_schemas_estimates_and_only_what_the_login_may_read() {
    let cluster = Cluster::shared();
    let sql = format!(
        "{SHOP} create schema sales; create table sales.orders (id bigint primary key, kind text);
         create table sales.hidden (id bigint); create table parts (id int, at date) partition by range (at);
         create table part_1 partition of parts for values from ('2026-01-01') to ('2027-01-01');
         create materialized view m as select 1 as one; create domain code as varchar(5); create type mood as enum ('a');
         create table kinds (b mood, c code, d jsonb, a int, e uuid, f timestamptz, primary key (e, a));
         create role reader_of_tables login; grant usage on schema sales, public to reader_of_tables;
         grant select on plain, parts, m, kinds to reader_of_tables; grant select (id) on sales.orders to reader_of_tables;
         analyze plain"
    );
    let url = cluster.database("shell_tables", &sql);
    let url = url.replace("postgres@", "reader_of_tables@");
    let found = run_with(&url, &["tables"]);
    let expected = "\
TABLE KIND COLUMNS ROWS
kinds table 6 -
m view 1 -
parts table 2 -
plain table 7 ~3
sales.orders table 1 -
";
    assert_eq!(words(&found.out), words(expected), "{}", found.err);
    let found = run_with(&url, &["tables", "--json"]);
    let tables: Value = serde_json::from_str(&found.out).unwrap();
    let columns = tables[0]["columns"].as_array().unwrap();
    let shown = |column: &Value| {
        format!(
            "{} {} {} {}",
            column["name"], column["type"], column["filter_type"], column["primary_key"]
        )
    };
    let shown: Vec<String> = columns.iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            "\"b\" \"mood\" \"text\" null",
            "\"c\" \"code\" \"text\" null",
            "\"d\" \"jsonb\" null null",
            "\"a\" \"integer\" \"integer\" 2",
            "\"e\" \"uuid\" \"uuid\" 1",
            "\"f\" \"timestamp with time zone\" \"timestamp\" null",
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let new = [
        "new",
        "o",
        "--from",
        "sales.orders",
        "--for-all-users",
        "--exports-dir",
        dir,
    ];
    let written = run_with(&url, &new);
    assert_eq!(written.status, Some(0), "{}", written.err);
    let text = fs::read_to_string(folder.path().join("o.sql")).unwrap();
    assert!(
        text.ends_with("select id\nfrom sales.orders\norder by id\n"),
        "{text}"
    );
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn filters_of_a_new_export_select_rows_in_postgresql() {
    filters_of_each_type_select_rows(&Cluster::shared().database("shell_filters", SHOP));
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn filters_of_a_new_export_select_rows_in_mariadb() {
    filters_of_each_type_select_rows(&MariaDb::shared().database("shell_filters", &mariadb_shop()));
}

#[test]
fn filters_of_a_new_export_select_rows_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("sample.db")).unwrap();
    database.execute_batch(SHOP).unwrap();
    filters_of_each_type_select_rows(&sqlite_url(folder.path()));
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn tables_of_mariadb_have_the_name_of_another_database() {
    let server = MariaDb::shared();
    server.database(
        "shell_other",
        "create table orders (`a``b` int, id int, kind enum('x'), primary key (id))",
    );
    let sql = format!(
        "{SHOP} create view v as select id from plain; create sequence s; analyze table plain"
    );
    let url = server.database("shell_tables", &sql);
    let found = run_with(&url, &["tables", "--json"]);
    let tables: Value =
        serde_json::from_str(&found.out).unwrap_or_else(|_| panic!("{}", found.err));
    let of = |name: &str| {
        let mut tables = tables.as_array().unwrap().iter();
        tables.find(|table| table["name"] == name).cloned()
    };
    let plain = of("plain").unwrap();
    assert_eq!(plain["columns"].as_array().unwrap().len(), 7);
    assert!(plain["estimated_rows"].is_number(), "{plain}");
    let types: Vec<&Value> = plain["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["filter_type"])
        .collect();
    assert_eq!(
        types,
        [
            "integer",
            "integer",
            "timestamp",
            "date",
            "decimal",
            "boolean",
            "text"
        ]
    );
    assert_eq!(plain["columns"][0]["primary_key"], 1);
    assert_eq!(of("v").unwrap()["kind"], "view");
    assert!(of("s").is_none(), "a sequence is no table");
    let other = of("shell_other.orders").unwrap();
    assert_eq!(other["columns"][1]["primary_key"], 1);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let new = [
        "new",
        "o",
        "--from",
        "shell_other.orders",
        "--user-column",
        "id",
        "--exports-dir",
        dir,
    ];
    let written = run_with(&url, &new);
    assert_eq!(written.status, Some(0), "{}", written.err);
    let text = fs::read_to_string(folder.path().join("o.sql")).unwrap();
    let statement =
        "select `a``b`, id, kind\nfrom shell_other.orders\nwhere id = :user\norder by id\n";
    assert!(text.ends_with(statement), "{text}");
}
