//! Rows that are larger than a replica may take.

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::database_tests;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{Call, Deployment, read_aborted, sqlite_url, wait_for};

const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];
const HUGE: usize = 100 << 20;
/// What a process may take in addition to its memory before, while a huge row is refused.
const GROWTH_KIB_MAX: u64 = 40 * 1024;

/// A database with SQL of its dialect.
struct Subject {
    name: &'static str,
    url: String,
    /// Rows `n`, from 1 to 20,000, and `cell`, which has `:bytes` bytes in row `:at`, and else one.
    rows: &'static str,
    /// One row of the columns `a`, `b`, `c`, `d`, with 300,000 bytes each.
    wide: &'static str,
    /// The columns that the error for `wide` names if the limit is a million bytes.
    beyond: &'static str,
    _folder: Option<TempDir>,
}

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.db");
    let connection = Connection::open(&file).unwrap();
    let created = connection.execute_batch(
        "create table series (n integer primary key);
         with recursive i(n) as (select 1 union all select n + 1 from i where n < 20000) insert into series select n from i",
    );
    created.unwrap();
    Subject {
        name: "SQLite",
        url: sqlite_url(&file),
        rows: "select n, case n when :at then printf('%.*c', :bytes, 'x') else '-' end as cell from series",
        wide: "select printf('%.*c', 300000, 'x') as a, printf('%.*c', 300000, 'x') as b, \
               printf('%.*c', 300000, 'x') as c, printf('%.*c', 300000, 'x') as d",
        beyond: "column `d`",
        _folder: Some(folder),
    }
}

fn postgres(database: &str) -> Subject {
    Subject {
        name: "PostgreSQL",
        url: Cluster::shared().database(database, "create table nothing (n int)"),
        rows: "select n, case n when :at then repeat('x', :bytes) else '-' end as cell \
               from generate_series(1, 20000) as n",
        wide: "select repeat('x', 300000) as a, repeat('x', 300000) as b, repeat('x', 300000) as c, \
               repeat('x', 300000) as d",
        beyond: "column `d`",
        _folder: None,
    }
}

fn mariadb(database: &str) -> Subject {
    Subject {
        name: "MariaDB",
        url: MariaDb::shared().database(database, "create table nothing (n int)"),
        rows: "select seq as n, case seq when :at then repeat('x', :bytes) else '-' end as cell from seq_1_to_20000",
        wide: "select repeat('x', 300000) as a, repeat('x', 300000) as b, repeat('x', 300000) as c, \
               repeat('x', 300000) as d",
        // The row is not read, and each type allows that many bytes together only.
        beyond: "its columns `a`, `b`, `c`, `d`",
        _folder: None,
    }
}

fn servers(database: &str) -> [Subject; 2] {
    [postgres(database), mariadb(database)]
}

impl Subject {
    fn rows_export(&self) -> String {
        let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
        format!(
            "/*---\nformats = [{formats}]\n[filters.at]\ntype = 'integer'\nrequired = true\n\
             [filters.bytes]\ntype = 'integer'\nrequired = true\n---*/\n\
             select * from ({}) as it where :user = 'alice'",
            self.rows
        )
    }

    fn process(&self) -> Rowlink {
        Rowlink::serve_with(
            &[("it.sql", &self.rows_export())],
            &[("ROWLINK_DATABASE_URL", &self.url)],
        )
    }
}

fn request(format: &str, at: u64, bytes: usize) -> serde_json::Value {
    json!({"export": "it", "format": format, "filters": {"at": at, "bytes": bytes}})
}

fn a_huge_row_is_refused_before_it_takes_memory(subject: Subject) {
    let rowlink = subject.process();
    let ordinary = |format| {
        let url = rowlink.link(request(format, 1, 1000));
        let answer = Call::new("GET", url).send();
        assert_eq!(answer.status, 200, "{} as {format}", subject.name);
    };
    FORMATS.into_iter().for_each(ordinary);
    let before = rowlink.peak_kib();
    for format in FORMATS {
        let what = format!("{} as {format}", subject.name);
        let answer = Call::new("GET", rowlink.link(request(format, 2, HUGE))).send();
        assert_eq!(answer.problem(), (422, "row-too-large".into()), "{what}");
        let detail = answer.text();
        assert!(detail.contains("row 2, column `cell`"), "{what}: {detail}");
        assert!(detail.contains("ROWLINK_MAX_ROW_BYTES"), "{what}: {detail}");
        read_aborted(&rowlink.link(request(format, 19_000, HUGE)));
    }
    let growth = rowlink.peak_kib() - before;
    assert!(growth < GROWTH_KIB_MAX, "{}: {growth} KiB", subject.name);
    FORMATS.into_iter().for_each(ordinary);
    let log = rowlink.stop();
    let outcomes = log.matches("outcome=\"row_too_large\"").count();
    assert_eq!(outcomes, 2 * FORMATS.len(), "{}: {log}", subject.name);
    let aborted = log
        .lines()
        .filter(|line| line.contains("row 19000, column `cell`"));
    assert!(aborted.count() >= FORMATS.len(), "{}: {log}", subject.name);
}

fn a_row_up_to_the_limit_is_exported_completely(subject: Subject) {
    let export = subject.rows_export();
    let mut deployment = Deployment::over(subject.url.clone(), vec![("it.sql", &export)]);
    deployment.row_bytes_max = 1_000_000;
    let server = deployment.start();
    let answer = server.download(request("csv", 7, 999_000));
    let text = answer.text();
    let line = text.lines().nth(7).unwrap();
    assert_eq!(
        line,
        format!("7,{}", "x".repeat(999_000)),
        "{}",
        subject.name
    );
    let url = server.link(request("csv", 7, 1_000_001));
    let problem = Call::new("GET", url).send().problem();
    assert_eq!(problem, (422, "row-too-large".into()), "{}", subject.name);
}

fn many_values_are_one_row(subject: Subject) {
    let export = format!(
        "select * from ({}) as it where :user = 'alice'",
        subject.wide
    );
    let mut deployment = Deployment::over(subject.url.clone(), vec![("it.sql", &export)]);
    deployment.row_bytes_max = 1_000_000;
    let server = deployment.start();
    let link = |columns| server.link(json!({"export": "it", "format": "csv", "columns": columns}));
    let answer = Call::new("GET", link(json!(null))).send();
    let (problem, detail) = (answer.problem(), answer.text());
    assert_eq!(problem, (422, "row-too-large".into()), "{}", subject.name);
    assert!(
        detail.contains(subject.beyond),
        "{}: {detail}",
        subject.name
    );
    if subject.name != "MariaDB" {
        let some = Call::new("GET", link(json!(["a", "d"]))).send();
        assert_eq!(some.status, 200, "{}", subject.name);
    }
}

fn rows_up_to_the_limit_take_a_bounded_multiple_of_it(subject: Subject) {
    let always = subject.rows.replace("case n when :at", "case when n < :at");
    let always = always.replace("case seq when :at", "case when seq < :at");
    // Each becomes six characters in JSON.
    let controls = always.replace("repeat('x', ", "repeat(chr(1), ");
    let controls = controls.replace("'x'", "char(1)");
    // A workbook's cell holds less.
    for (sql, format) in [
        (&always, "csv"),
        (&always, "parquet"),
        (&controls, "ndjson"),
    ] {
        let export = subject.rows_export().replace(subject.rows, sql);
        let variables = [("ROWLINK_DATABASE_URL", subject.url.as_str())];
        let rowlink = Rowlink::serve_with(&[("it.sql", &export)], &variables);
        let download = |at, bytes| {
            let answer = Call::new("GET", rowlink.link(request(format, at, bytes))).send();
            assert_eq!(answer.status, 200, "{}", subject.name);
        };
        download(2, 1);
        let before = rowlink.peak_kib();
        download(20, 4_190_000);
        let multiple = (rowlink.peak_kib() - before) / (4 << 10);
        assert!(multiple < 32, "{} as {format}: {multiple}", subject.name);
    }
}

database_tests! {
    #[ignore = "takes seconds: make test"]
    rows_up_to_the_limit_take_a_bounded_multiple_of_it in "large_rows_bounded";
    a_huge_row_is_refused_before_it_takes_memory in "large_rows_huge";
    a_row_up_to_the_limit_is_exported_completely in "large_rows_limit";
    many_values_are_one_row in "large_rows_many";
}

#[test]
fn a_huge_stored_value_of_sqlite_is_refused_before_it_takes_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.db");
    let connection = Connection::open(&file).unwrap();
    let created = connection.execute_batch(
        "create table documents (id integer, title text, content blob);
         insert into documents values (1, 'small', x'00'), (2, 'large', zeroblob(200 << 20))",
    );
    created.unwrap();
    let rowlink = Rowlink::serve_with(
        &[
            (
                "all.sql",
                "select id, content from documents where :user = 'alice' order by id",
            ),
            (
                "titles.sql",
                "select id, title, length(content) as bytes from documents where :user = 'alice'",
            ),
        ],
        &[("ROWLINK_DATABASE_URL", &sqlite_url(&file))],
    );
    let download = |export| {
        let url = rowlink.link(json!({"export": export, "format": "csv"}));
        Call::new("GET", url).send()
    };
    // A value that is not exported is not limited.
    let titles = "id,title,bytes\r\n1,small,1\r\n2,large,209715200\r\n";
    assert_eq!(download("titles").text(), titles);
    let before = rowlink.peak_kib();
    let answer = download("all");
    assert_eq!(answer.problem(), (422, "row-too-large".into()));
    assert!(answer.text().contains("`content`"), "{}", answer.text());
    let growth = rowlink.peak_kib() - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_error_of_postgres_that_quotes_a_huge_value_takes_no_memory() {
    let url = Cluster::shared().database("large_rows_error", "create table nothing (n int)");
    let quoting = "select repeat('x', 200 << 20)::int as n where :user = 'alice'";
    let rowlink = Rowlink::serve_with(&[("it.sql", quoting)], &[("ROWLINK_DATABASE_URL", &url)]);
    let before = rowlink.peak_kib();
    let url = rowlink.link(json!({"export": "it", "format": "csv"}));
    let answer = Call::new("GET", url).send();
    assert!(answer.status >= 500, "{}", answer.text());
    let growth = rowlink.peak_kib() - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
    wait_for("the server", std::time::Duration::from_secs(5), || {
        Call::new("GET", format!("{}/readyz", rowlink.origin()))
            .send()
            .status
            == 200
    });
}
