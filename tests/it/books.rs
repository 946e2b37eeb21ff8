//! Books: exports of several statements, as one workbook or archive.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};
use std::process::Command;
use std::time::Duration;

use calamine::{Data, Reader as _, Xlsx};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::database_tests;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    Call, Deployment, TestServer, begin_with, is_whole, metric, python, read_aborted, sqlite_url,
    token, unchunked, wait_for,
};

/// A database with a table `ledger` of one row, and SQL in its dialect.
struct Subject {
    name: &'static str,
    url: String,
    /// A column `noise` that hardly compresses; many more rows than buffers hold.
    noise: &'static str,
    /// Fails at the first row of `ledger`.
    fails: &'static str,
    /// Adds a row to `ledger`.
    write: Box<dyn Fn()>,
    /// Removes the SQLite file when dropped.
    _folder: Option<TempDir>,
}

const LEDGER: &str = "create table ledger (n bigint); insert into ledger values (1)";
const WRITE: &str = "insert into ledger values (2)";

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let connection = Connection::open(&file).unwrap();
    let made = connection.execute_batch(&format!("pragma journal_mode = wal; {LEDGER}"));
    made.unwrap();
    Subject {
        name: "SQLite",
        url: sqlite_url(&file),
        noise: "with recursive m(i) as (select 1 union all select i + 1 from m where i < 400000) \
                select hex(randomblob(64)) as noise from m",
        fails: "select json(case when n > 0 then 'not JSON' end) as failure from ledger",
        write: Box::new(move || connection.execute_batch(WRITE).unwrap()),
        _folder: Some(folder),
    }
}

fn servers(database: &'static str) -> [Subject; 2] {
    let postgres = Subject {
        name: "PostgreSQL",
        url: Cluster::shared().database(database, LEDGER),
        noise: "select md5(i::text) || md5((-i)::text) || md5((i + 0.5)::text) || md5((i + 0.25)::text) as noise \
                from (select generate_series(1, 400000) as i) m",
        fails: "select 1 / (n - n) as failure from ledger",
        write: Box::new(move || drop(Cluster::shared().psql(database, WRITE))),
        _folder: None,
    };
    let mariadb = Subject {
        name: "MariaDB",
        url: MariaDb::shared().database(database, LEDGER),
        noise: "select sha2(seq, 512) as noise from seq_1_to_400000",
        fails: "select 18446744073709551615 + n as failure from ledger",
        write: Box::new(move || drop(MariaDb::shared().query(database, WRITE))),
        _folder: None,
    };
    [postgres, mariadb]
}

database_tests! {
    #[ignore = "takes seconds: make test"]
    all_sheets_show_one_snapshot_while_others_write in "books_snapshot";
    #[ignore = "takes seconds: make test"]
    a_statement_that_fails_after_another_truncates_the_file_visibly in "books_failure";
    both_passes_of_an_exact_length_read_all_statements in "books_length";
}

/// Serves a book whose first sheet has the number of rows of `ledger` in every row.
fn serve(subject: &Subject, second: &str) -> TestServer {
    let noise = subject.noise;
    let first = format!(
        "select counted.entries, it.noise from (select count(*) as entries from ledger) as counted, ({noise}) as it \
         where :user = 'alice'"
    );
    let second = format!("select * from ({second}) as it where :user = 'alice'");
    let files = vec![
        ("year/book.toml", "title = 'Year'"),
        ("year/01_noise.sql", first.as_str()),
        ("year/02_count.sql", second.as_str()),
    ];
    Deployment::over(subject.url.clone(), files).start()
}

fn request(format: &str) -> Value {
    json!({"export": "year", "format": format})
}

/// Returns the values in the first column of each sheet, each once, without the header.
fn first_columns(format: &str, file: Vec<u8>) -> Vec<BTreeSet<String>> {
    if format == "zip" {
        let first_column = |(_, text): (String, String)| {
            let lines = text.lines().skip(1);
            let cells = lines.map(|line| line.split(',').next().unwrap().to_owned());
            cells.collect()
        };
        return entries(file).into_iter().map(first_column).collect();
    }
    let mut workbook = Xlsx::new(Cursor::new(file)).unwrap();
    let sheets = workbook.worksheets().into_iter();
    let first_column = |(_, cells): (String, calamine::Range<Data>)| {
        let rows = cells.rows().skip(1);
        rows.map(|row| row[0].to_string()).collect()
    };
    sheets.map(first_column).collect()
}

/// Returns the names and texts of the files in an archive.
pub fn entries(archive: Vec<u8>) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let files = (0..archive.len()).map(|index| {
        let mut file = archive.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        (file.name().unwrap().into_owned(), text)
    });
    files.collect()
}

fn all_sheets_show_one_snapshot_while_others_write(subject: Subject) {
    let server = serve(&subject, "select count(*) as entries from ledger");
    for (format, entries) in [("xlsx", 1), ("zip", 2)] {
        let what = format!("{} as {format}", subject.name);
        let mut stream = begin_with(&server.link(request(format)), "Connection: close\r\n");
        let mut answer = vec![0; 100_000];
        stream.read_exact(&mut answer).unwrap();
        // Buffers are full, so the second statement has not begun.
        (subject.write)();
        stream.read_to_end(&mut answer).unwrap();
        let (file, is_whole) = unchunked(&answer);
        assert!(is_whole, "{what}");
        let expected = BTreeSet::from([entries.to_string()]);
        let found = first_columns(format, file);
        assert_eq!(found, [expected.clone(), expected], "{what}");
    }
}

fn a_statement_that_fails_after_another_truncates_the_file_visibly(subject: Subject) {
    let server = serve(&subject, subject.fails);
    for format in ["xlsx", "zip"] {
        let what = format!("{} as {format}", subject.name);
        let answer = read_aborted(&server.link(request(format)));
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{what}");
        assert!(!is_whole(&answer), "{what}: a final chunk was sent");
        let (file, _) = unchunked(&answer);
        assert!(zip::ZipArchive::new(Cursor::new(file)).is_err(), "{what}");
    }
}

fn both_passes_of_an_exact_length_read_all_statements(subject: Subject) {
    let count =
        "select * from (select count(*) as entries from ledger) as it where :user = 'alice'";
    let files = vec![
        ("year/book.toml", "title = 'Year'"),
        ("year/01_one.sql", count),
        ("year/02_two.sql", count),
    ];
    let server = Deployment::over(subject.url.clone(), files).start();
    for format in ["xlsx", "zip"] {
        let request = json!({"export": "year", "format": format, "length": "exact"});
        let answer = server.download(request);
        let length = answer.header("content-length").to_owned();
        assert_eq!(length, answer.body.len().to_string());
        let expected = BTreeSet::from(["1".to_owned()]);
        let found = first_columns(format, answer.body);
        assert_eq!(found, [expected.clone(), expected], "{}", subject.name);
    }
}

const BOOK: &str = "title = 'Year'\n[filters.least]\ntype = 'integer'\ndefault = 1\n";
const ORDERS: &str = "/*---\ntitle = 'All: orders'\n[columns.n]\nlabel = 'Number'\n---*/\n\
                      select n, null as note from ledger where :user = 'alice' and n >= :least";
const RETURNS: &str = "/*---\n[filters.most]\ntype = 'integer'\ndefault = 9\n---*/\n\
                       select n from ledger where :user = 'alice' and n <= :most and n >= :least";

fn small_book() -> (Subject, TestServer) {
    let subject = sqlite();
    (subject.write)();
    let files = vec![
        ("year/book.toml", BOOK),
        ("year/10_returns.sql", RETURNS),
        ("year/2_orders.sql", ORDERS),
    ];
    let server = Deployment::over(subject.url.clone(), files).start();
    (subject, server)
}

#[test]
fn an_archive_has_a_file_per_statement_with_shared_filters_and_options_of_its_format() {
    let (_subject, server) = small_book();
    let mut request = request("zip");
    let answer = server.download(request.clone());
    assert_eq!(answer.header("content-type"), "application/zip");
    let files = entries(answer.body);
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        files,
        [
            file("orders.csv", "Number,note\r\n1,\r\n2,\r\n"),
            file("returns.csv", "n\r\n1\r\n2\r\n"),
        ]
    );
    request["filters"] = json!({"least": 2, "most": 1});
    request["csv"] = json!({"delimiter": ";"});
    let files = entries(server.download(request.clone()).body);
    assert_eq!(
        files,
        [
            file("orders.csv", "Number;note\r\n2;\r\n"),
            file("returns.csv", "n\r\n"),
        ]
    );
    request["zip"] = json!({"entries": "ndjson"});
    let files = entries(server.download(request).body);
    assert_eq!(
        files,
        [
            file("orders.ndjson", "{\"n\":2,\"note\":null}\n"),
            file("returns.ndjson", ""),
        ]
    );
}

#[test]
fn a_workbook_has_the_sheets_in_the_order_of_their_numbers() {
    let (_subject, server) = small_book();
    let answer = server.download(request("xlsx"));
    let mut workbook = Xlsx::new(Cursor::new(answer.body)).unwrap();
    let sheets: Vec<(String, Vec<Vec<String>>)> = workbook
        .worksheets()
        .into_iter()
        .map(|(name, cells)| {
            let texts = |row: &[Data]| row.iter().map(ToString::to_string).collect();
            (name, cells.rows().map(texts).collect())
        })
        .collect();
    let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        sheets,
        [
            (
                "All_ orders".to_owned(),
                vec![row(&["Number", "note"]), row(&["1", ""]), row(&["2", ""])],
            ),
            (
                "Returns".to_owned(),
                vec![row(&["n"]), row(&["1"]), row(&["2"])],
            ),
        ]
    );
}

#[test]
#[ignore = "needs Python packages: make test"]
fn independent_readers_open_workbooks_and_archives() {
    let (_subject, server) = small_book();
    let folder = tempfile::tempdir().unwrap();
    let save = |format: &str| {
        let path = folder.path().join(format!("year.{format}"));
        std::fs::write(&path, server.download(request(format)).body).unwrap();
        path
    };
    let read = python(
        "read_workbook.py",
        &["json".as_ref(), save("xlsx").as_ref()],
    );
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["errors"], json!([]));
    let orders = json!([["Number", "note"], [1, null], [2, null]]);
    let returns = json!([["n"], [1], [2]]);
    let sheets = &read["openpyxl"]["sheets"];
    assert_eq!(
        [&sheets[0]["name"], &sheets[1]["name"]],
        ["All_ orders", "Returns"]
    );
    assert_eq!(
        [&sheets[0]["rows"], &sheets[1]["rows"]],
        [&orders, &returns]
    );
    assert_eq!(sheets[1]["filter"], "A1:A3");
    assert_eq!(read["calamine"]["Returns"], json!([["n"], [1.0], [2.0]]));
    let read = python("read_archive.py", &[save("zip").as_os_str()]);
    let read: Value = serde_json::from_str(&read).unwrap();
    let entry = |index: usize| [&read[index][0], &read[index][1]];
    assert_eq!(entry(0), [&json!("orders.csv"), &json!(21)]);
    assert_eq!(entry(1), [&json!("returns.csv"), &json!(9)]);
}

#[test]
#[ignore = "needs Java: make test"]
fn a_reader_of_streams_unpacks_archives_of_every_format() {
    let (_subject, server) = small_book();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("year.zip");
    for entries in ["csv", "tsv", "ndjson", "json", "parquet"] {
        let mut request = request("zip");
        request["zip"] = json!({"entries": entries});
        let archive = server.download(request).body;
        std::fs::write(&path, &archive).unwrap();
        let mut java = Command::new("java");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ReadZip.java");
        let output = java.arg(source).arg(&path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{entries}: {errors}");
        let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
        let files = (0..archive.len()).map(|index| {
            let file = archive.by_index(index).unwrap();
            format!("{} {}\n", file.name().unwrap(), file.size())
        });
        let expected: String = files.collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn the_catalog_lists_the_sheets_and_their_columns() {
    let (_subject, server) = small_book();
    let call = server.call("GET", "/v1/exports/year");
    let described = call.bearer(&token(server.now())).send().json();
    assert_eq!(described["formats"], json!(["xlsx", "zip"]));
    assert_eq!(described["columns"], json!([]));
    assert_eq!(
        described["sheets"],
        json!([
            {
                "name": "orders",
                "title": "All: orders",
                "columns": [{"name": "n", "label": "Number"}, {"name": "note", "label": "note"}],
            },
            {"name": "returns", "title": "Returns", "columns": [{"name": "n", "label": "n"}]},
        ])
    );
    let csv = server.issue(request("csv"));
    assert_ne!(csv.status, 200, "{}", csv.text());
}

#[test]
fn a_request_chooses_the_columns_of_each_sheet() {
    let (_subject, server) = small_book();
    let with_columns = |columns: Value| {
        let mut request = request("zip");
        request["columns"] = columns;
        request
    };
    for (columns, orders) in [
        (
            json!(["orders.note", "orders.n", "returns.n"]),
            "note,Number\r\n,1\r\n,2\r\n",
        ),
        // The other sheet has all its columns.
        (json!(["orders.n"]), "Number\r\n1\r\n2\r\n"),
        (json!(["returns.n"]), "Number,note\r\n1,\r\n2,\r\n"),
    ] {
        let files = entries(server.download(with_columns(columns)).body);
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [orders, "n\r\n1\r\n2\r\n"]);
    }
    for wrong in ["n", "orders.gone", "gone.n", "orders.", ".n", "Orders.n"] {
        let answer = server.issue(with_columns(json!([wrong])));
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["columns".to_owned()])
        );
        let known = "the columns are orders.n, orders.note, returns.n";
        assert!(answer.text().contains(known), "{wrong}: {}", answer.text());
    }
    let duplicate = server.issue(with_columns(json!(["orders.n", "orders.n"])));
    assert_eq!(duplicate.status, 422);
}

#[test]
fn an_error_of_a_value_names_its_sheet() {
    let subject = sqlite();
    // One character more than a cell holds.
    let long = "select printf('%.*c', 32768, 'x') as word where :user = 'alice'";
    let files = vec![
        ("year/book.toml", "title = 'Year'"),
        ("year/01_short.sql", "select 1 as n where :user = 'alice'"),
        ("year/02_long.sql", long),
    ];
    let server = Deployment::over(subject.url.clone(), files).start();
    let exact = json!({"export": "year", "format": "xlsx", "length": "exact"});
    let answer = Call::new("GET", server.link(exact)).send();
    let expected = "sheet `long`: row 1, column `word`";
    assert!(answer.text().contains(expected), "{}", answer.text());
}

#[test]
fn the_largest_number_of_rows_is_that_of_all_sheets() {
    let subject = sqlite();
    (subject.write)();
    let book = format!("[limits]\nmax_rows = 3\n{BOOK}").replace("title = 'Year'\n", "");
    let files = vec![
        ("year/book.toml", book.as_str()),
        ("year/01_orders.sql", ORDERS),
        ("year/02_returns.sql", RETURNS),
    ];
    let server = Deployment::over(subject.url.clone(), files).start();
    let mut fits = request("zip");
    fits["filters"] = json!({"most": 1});
    server.download(fits);
    let answer = Call::new(
        "GET",
        server.link(json!({"export": "year", "format": "zip", "length": "exact"})),
    );
    assert_ne!(answer.send().status, 200);
}

#[test]
fn a_slow_first_statement_begins_an_archive_by_heartbeats() {
    let subject = sqlite();
    // Takes longer than the time to the first heartbeat.
    let slow = "with recursive m(i) as (select 1 union all select i + 1 from m where i < 5000000) \
                select count(*) as n from m where :user = 'alice'";
    let files = vec![
        ("year/book.toml", "title = 'Year'"),
        ("year/01_slow.sql", slow),
        ("year/02_fast.sql", "select 1 as n where :user = 'alice'"),
    ];
    let mut deployment = Deployment::over(subject.url.clone(), files);
    deployment.heartbeat_after = Some(Duration::from_millis(50));
    let server = deployment.start();
    let name = "rowlink_downloads_begun_by_heartbeat_total{export=\"year\",format=\"zip\"} ";
    let begun = || metric(&server.origin, name);
    assert_eq!(begun(), 0);
    let files = entries(server.download(request("zip")).body);
    let expected = [("slow.csv", "n\r\n5000000\r\n"), ("fast.csv", "n\r\n1\r\n")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(files, expected);
    assert_eq!(begun(), 1);
}

#[test]
#[ignore = "takes seconds: make test"]
fn memory_is_flat_for_a_million_rows_in_five_sheets() {
    let book = "title = 'Year'\n[filters.rows]\ntype = 'integer'\nrequired = true\n";
    let sheet = "with recursive m(i) as (select 1 union all select i + 1 from m where i < :rows) \
                 select i as n, printf('%060d', i * 7919) as word from m where :user = 'alice'";
    let rowlink = Rowlink::serve(&[
        ("year/book.toml", book),
        ("year/1_a.sql", sheet),
        ("year/2_b.sql", sheet),
        ("year/3_c.sql", sheet),
        ("year/4_d.sql", sheet),
        ("year/5_e.sql", sheet),
    ]);
    let download = |format: &str, rows: u32| {
        let mut request = request(format);
        request["filters"] = json!({"rows": rows});
        let answer = Call::new("GET", rowlink.link(request)).send();
        assert_eq!(answer.status, 200);
        answer.body
    };
    for format in ["xlsx", "zip"] {
        download(format, 1000);
    }
    for format in ["xlsx", "zip"] {
        let before = rowlink.peak_kib();
        let file = download(format, 200_000);
        let growth = rowlink.peak_kib() - before;
        assert!(growth < 16 << 10, "{format}: {growth} KiB");
        assert!(zip::ZipArchive::new(Cursor::new(file)).is_ok());
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_book_is_read_again_when_one_of_its_files_changes() {
    let book = [
        ("year/book.toml", "title = 'Year'"),
        ("year/01_one.sql", "select 1 as n where :user = 'alice'"),
        ("year/02_two.sql", "select 2 as n where :user = 'alice'"),
    ];
    let rowlink = Rowlink::serve(&book);
    let names = || {
        let archive = Call::new("GET", rowlink.link(request("zip"))).send().body;
        let files = entries(archive).into_iter();
        files.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["one.csv", "two.csv"]);
    let folder = rowlink.folder().join("exports/year");
    let third = "select 3 as n where :user = 'alice'";
    std::fs::write(folder.join("03_three.sql"), third).unwrap();
    wait_for("the new sheet", Duration::from_secs(20), || {
        names() == ["one.csv", "two.csv", "three.csv"]
    });
    std::fs::remove_file(folder.join("02_two.sql")).unwrap();
    wait_for("the sheets left", Duration::from_secs(20), || {
        names() == ["one.csv", "three.csv"]
    });
}
