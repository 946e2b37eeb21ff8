//! Behaviour that every source must have.

use std::fs;
use std::io::Read as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::database_tests;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    Call, Deployment, TestServer, begin, is_whole, read_aborted, sample_database, sqlite_url,
    wait_for,
};

/// A source, with SQL in the dialect of its database for each situation.
struct Subject {
    name: &'static str,
    url: String,
    database: String,
    /// Columns `number`, `fraction`, `word`, `empty`, `bytes`; one row.
    values: &'static str,
    /// Columns `n` and `word`; more rows than any test reads.
    many: &'static str,
    /// Runs forever without a row.
    endless: &'static str,
    /// Returns the rows below `:below`, then fails.
    fails: &'static str,
    /// A text of 10 MiB.
    huge: &'static str,
    /// Removes the SQLite file when dropped.
    _folder: Option<TempDir>,
}

fn sqlite() -> Subject {
    let files = tempfile::tempdir().unwrap();
    Subject {
        name: "SQLite",
        database: String::new(),
        url: sqlite_url(&sample_database(files.path())),
        values: "select 42 as number, 1.5 as fraction, 'zwölf' as word, null as empty, x'00ff' as bytes",
        many: "with recursive m(i) as (select 1 union all select i + 1 from m) \
               select i as n, printf('%0100d', i) as word from m",
        endless: "with recursive m(i) as (select 1 union all select i + 1 from m) select count(*) as n from m",
        fails: "with recursive m(i) as (select 1 union all select i + 1 from m) \
                select i as n, case when i >= :below then json('not JSON') end as failure from m",
        huge: "select printf('%.*c', 10485760, 'x') as cell",
        _folder: Some(files),
    }
}

/// Returns both servers, each with a new database of this name.
fn servers(database: &str) -> [Subject; 2] {
    let postgres = Subject {
        name: "PostgreSQL",
        database: database.to_owned(),
        url: Cluster::shared().database(database, "create table nothing (n int)"),
        values: "select 42 as number, 1.5::float8 as fraction, 'zwölf' as word, null as empty, \
                 '\\x00ff'::bytea as bytes",
        many: "select i as n, lpad(i::text, 100, '0') as word from (select generate_series(1, 2000000000) as i) m",
        endless: "select count(*) as n from (select generate_series(1, 2000000000) as i) m",
        fails: "select i as n, case when i >= :below then 1 / (i - i) end as failure \
                from (select generate_series(1, 2000000000) as i) m",
        huge: "select repeat('x', 10485760) as cell",
        _folder: None,
    };
    let mariadb = Subject {
        name: "MariaDB",
        database: database.to_owned(),
        url: MariaDb::shared().database(database, "create table nothing (n int)"),
        values: "select 42 as number, 1.5e0 as fraction, 'zwölf' as word, null as empty, x'00ff' as bytes",
        many: "select seq as n, lpad(seq, 100, '0') as word from seq_1_to_2000000000",
        endless: "select max(a.seq * b.seq % 7) as n from seq_1_to_1000000 a, seq_1_to_1000000 b",
        fails: "select seq as n, case when seq >= :below then 18446744073709551615 + seq end as failure \
                from seq_1_to_2000000000",
        huge: "select repeat('x', 10485760) as cell",
        _folder: None,
    };
    [postgres, mariadb]
}

impl Subject {
    /// Serves the SQL as the export `it`, with its user pinned.
    fn deployment(&self, sql: &str) -> TestServer {
        Deployment::over(self.url.clone(), vec![("it.sql", &pinned(sql))]).start()
    }

    fn process(&self, sql: &str) -> Rowlink {
        Rowlink::serve_with(
            &[("it.sql", &pinned(sql))],
            &[("ROWLINK_DATABASE_URL", &self.url)],
        )
    }

    /// Returns the number of queries that the database runs for this process.
    fn running(&self, rowlink: &Rowlink) -> usize {
        match self.name {
            "SQLite" => {
                let threads = fs::read_dir(format!("/proc/{}/task", rowlink.pid())).unwrap();
                let names = threads
                    .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
                names.filter(|name| name.trim() == "rowlink-sqlite").count()
            }
            "MariaDB" => MariaDb::shared().running(&self.database),
            _ => Cluster::shared().running(&self.database),
        }
    }
}

fn pinned(sql: &str) -> String {
    let below = if sql.contains(":below") {
        "[filters.below]\ntype = 'integer'\n"
    } else {
        ""
    };
    let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
    let settings = format!("/*---\nformats = [{formats}]\n{below}---*/\n");
    format!("{settings}select * from ({sql}) as it where :user = 'alice'")
}

fn request() -> serde_json::Value {
    request_for("csv")
}

/// All formats.
const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];

fn request_for(format: &str) -> serde_json::Value {
    json!({"export": "it", "format": format})
}

database_tests! {
    values_and_nulls_are_exported_and_columns_can_be_selected in "conformance_values";
    an_empty_result_is_a_file_with_a_header in "conformance_empty";
    a_thousand_columns_and_a_cell_of_ten_mebibytes_are_exported_completely in "conformance_wide";
    invalid_sql_prevents_the_start_with_file_and_line in "conformance_wrong";
    #[ignore = "takes seconds: make test"]
    a_slow_query_is_504_before_its_first_row_and_visibly_truncated_after_it in "conformance_time";
    a_failure_is_an_error_status_before_the_first_row_and_visibly_truncates_after_it in "conformance_failure";
    a_disconnect_ends_the_query_within_two_seconds in "conformance_cancel";
    #[ignore = "takes seconds: make test"]
    a_stalled_reader_pauses_the_query_and_memory_stays_bounded in "conformance_backpressure";
    an_interrupted_server_cancels_its_queries in "conformance_stop";
}

fn values_and_nulls_are_exported_and_columns_can_be_selected(subject: Subject) {
    let server = subject.deployment(subject.values);
    assert_eq!(
        server.download(request()).text(),
        "number,fraction,word,empty,bytes\r\n42,1.5,zwölf,,00ff\r\n",
        "{}",
        subject.name
    );
    assert_eq!(
        server.download(request_for("ndjson")).text(),
        "{\"number\":42,\"fraction\":1.5,\"word\":\"zwölf\",\"empty\":null,\"bytes\":\"00ff\"}\n",
        "{}",
        subject.name
    );
    assert_eq!(
        server.download(request_for("json")).text(),
        "[\n{\"number\":42,\"fraction\":1.5,\"word\":\"zwölf\",\"empty\":null,\"bytes\":\"00ff\"}\n]\n",
        "{}",
        subject.name
    );
    assert_eq!(
        server.download(request_for("tsv")).text(),
        "number\tfraction\tword\tempty\tbytes\n42\t1.5\tzwölf\t\\N\t00ff\n",
        "{}",
        subject.name
    );
    let chosen = json!({"export": "it", "format": "csv", "columns": ["word", "number"]});
    assert_eq!(
        server.download(chosen).text(),
        "word,number\r\nzwölf,42\r\n"
    );
}

fn an_empty_result_is_a_file_with_a_header(subject: Subject) {
    let server = subject.deployment(&format!("{} where 1 = 0", subject.values));
    let answer = server.download(request());
    assert_eq!(
        answer.text(),
        "number,fraction,word,empty,bytes\r\n",
        "{}",
        subject.name
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
}

fn a_thousand_columns_and_a_cell_of_ten_mebibytes_are_exported_completely(subject: Subject) {
    let columns: Vec<String> = (0..1000).map(|n| format!("{n} as c{n}")).collect();
    let wide = format!("select {}", columns.join(", "));
    let rows = subject.deployment(&wide).download(request()).rows();
    let expected: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(rows[1], expected, "{}", subject.name);
    let export = pinned(subject.huge);
    let mut deployment = Deployment::over(subject.url.clone(), vec![("it.sql", &export)]);
    deployment.row_bytes_max = 11 << 20;
    let answer = deployment.start().download(request());
    assert_eq!(
        answer.body.len(),
        "cell\r\n".len() + (10 << 20) + 2,
        "{}",
        subject.name
    );
}

fn invalid_sql_prevents_the_start_with_file_and_line(subject: Subject) {
    for (sql, file_and_line) in [
        (
            "select 1 as a,\n  nowhere\nfrom (select 1 as b) t where :user = 'alice'",
            "it.sql:2: ",
        ),
        (
            "select 1 as a\nfrom missing where :user = 'alice'",
            "it.sql:",
        ),
        ("delete from orders where user_id = :user", "it.sql:1: "),
    ] {
        let errors = Deployment::over(subject.url.clone(), vec![("it.sql", sql)]).errors();
        assert_eq!(errors.len(), 1, "{}: {errors:?}", subject.name);
        assert!(
            errors[0].starts_with(file_and_line),
            "{}: {errors:?}",
            subject.name
        );
    }
}

fn a_slow_query_is_504_before_its_first_row_and_visibly_truncated_after_it(subject: Subject) {
    let server = |sql: &str, seconds| {
        let export = pinned(sql);
        let mut deployment = Deployment::over(subject.url.clone(), vec![("it.sql", &export)]);
        deployment.download_max = Duration::from_secs(seconds);
        deployment.start()
    };
    let endless = server(subject.endless, 1);
    let start = Instant::now();
    let answer = Call::new("GET", endless.link(request())).send();
    assert_eq!(
        answer.problem(),
        (504, "export-too-slow".into()),
        "{}",
        subject.name
    );
    assert!(start.elapsed() < Duration::from_secs(5));

    // Long enough for the first row on a busy machine.
    let many = server(subject.many, 4);
    for format in FORMATS {
        let what = format!("{} as {format}", subject.name);
        let answer = read_aborted(&many.link(request_for(format)));
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{what}");
        assert!(!is_whole(&answer), "{what}: a final chunk was sent");
    }
}

fn a_failure_is_an_error_status_before_the_first_row_and_visibly_truncates_after_it(
    subject: Subject,
) {
    let server = subject.deployment(subject.fails);
    let link = |below: u64| {
        server.link(json!({"export": "it", "format": "csv", "filters": {"below": below}}))
    };
    let answer = Call::new("GET", link(1)).send();
    assert_eq!(
        answer.problem(),
        (500, "export-failed".into()),
        "{}",
        subject.name
    );
    let url = link(200_000);
    let answer = read_aborted(&url);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("\r\n1,\r\n2,\r\n"), "{}", subject.name);
    assert!(!text.contains("\r\n200000,"), "{}", subject.name);
    assert!(
        !is_whole(&answer),
        "{}: a final chunk was sent",
        subject.name
    );
}

fn a_disconnect_ends_the_query_within_two_seconds(subject: Subject) {
    let cases = [
        (subject.endless, false, "csv"),
        (subject.many, true, "csv"),
        (subject.many, true, "xlsx"),
        (subject.many, true, "ndjson"),
        (subject.many, true, "json"),
        (subject.many, true, "tsv"),
        (subject.many, true, "parquet"),
    ];
    for (sql, reads_first, format) in cases {
        let rowlink = subject.process(sql);
        let url = rowlink.link(request_for(format));
        let mut stream = begin(&url);
        if reads_first {
            stream.read_exact(&mut [0; 100_000]).unwrap();
        }
        wait_for("the query", Duration::from_secs(10), || {
            subject.running(&rowlink) == 1
        });
        drop(stream);
        let elapsed = wait_for("the end of the query", Duration::from_secs(2), || {
            subject.running(&rowlink) == 0
        });
        let name = subject.name;
        let when = if reads_first { "after" } else { "before" };
        println!("{name}: ended {elapsed:?} after a disconnect {when} the first row");
    }
}

fn a_stalled_reader_pauses_the_query_and_memory_stays_bounded(subject: Subject) {
    for format in FORMATS {
        let what = format!("{} as {format}", subject.name);
        let rowlink = subject.process(subject.many);
        let url = rowlink.link(request_for(format));
        let mut stream = begin(&url);
        stream.read_exact(&mut [0; 100_000]).unwrap();
        // The process uses no CPU time once every buffer is full.
        let mut last = (rowlink.processor_ticks(), Instant::now());
        wait_for("the pause", Duration::from_secs(20), || {
            let now = rowlink.processor_ticks();
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(500)
        });
        let kib = rowlink.anonymous_kib();
        assert!(kib < 48 * 1024, "{what}: {kib} KiB");
        assert_eq!(subject.running(&rowlink), 1, "{what}");
        drop(stream);
        wait_for("the end of the query", Duration::from_secs(2), || {
            subject.running(&rowlink) == 0
        });
    }
}

fn an_interrupted_server_cancels_its_queries(subject: Subject) {
    for sql in [subject.endless, subject.many] {
        let rowlink = subject.process(sql);
        let url = rowlink.link(request());
        let _client = begin(&url);
        wait_for("the query", Duration::from_secs(10), || {
            subject.running(&rowlink) == 1
        });
        rowlink.interrupt();
        wait_for("the end of the query", Duration::from_secs(3), || {
            !rowlink.is_alive() || subject.running(&rowlink) == 0
        });
        // SQLite queries are threads of the process, which has ended.
        if subject.name != "SQLite" {
            wait_for("the end in the database", Duration::from_secs(2), || {
                subject.running(&rowlink) == 0
            });
        }
    }
}
