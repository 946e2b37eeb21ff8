//! Every format of every source, parsed by independent readers.

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{Deployment, python, sqlite_url};

const EXPORT: &str = "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'json', 'tsv', 'parquet']\n---*/\n\
    select n, big, amount, ratio, word, bytes, flag, day, clock, at, instant, doc\n\
    from matrix where :user = 'alice' order by n";

/// A source with the same rows as the others, as far as its types allow.
struct Subject {
    name: &'static str,
    url: String,
    /// The Arrow types of its columns in Parquet.
    types: [&'static str; 12],
    /// Its text for true.
    truth: &'static str,
    _folder: TempDir,
}

fn subjects(database: &str) -> [Subject; 3] {
    let folder = || tempfile::tempdir().unwrap();
    let files = folder();
    let file = files.path().join("matrix.db");
    let rows = "insert into matrix values
         (1, 9007199254740993, 12.50, 0.1, 'Zürich 😀, \"quoted\"', x'00ff', true, '2026-01-31', '10:00:00',
          '2026-01-31 10:00:00.5', '2026-01-31 09:00:00', '{\"a\": [1, null]}'),
         (2, -9223372036854775808, -0.01, -1e300, 'two
lines', x'', false, '1999-12-31', '23:59:59', '1999-12-31 23:59:59', '2026-07-31 23:00:00', '[]'),
         (3, null, null, null, null, null, null, null, null, null, null, null)";
    let connection = Connection::open(&file).unwrap();
    let made = connection.execute_batch(&format!(
        "create table matrix (n integer, big integer, amount decimal(12,2), ratio double, word text, bytes blob,
                              flag boolean, day date, clock time, at datetime, instant datetime, doc json); {}",
        // SQLite stores texts unchanged.
        rows.replace(" 10:00:00.5'", "T10:00:00.5'")
            .replace(" 23:59:59'", "T23:59:59'")
            .replace(" 09:00:00'", "T09:00:00Z'")
            .replace(" 23:00:00'", "T23:00:00Z'")
    ));
    made.unwrap();
    let sqlite = Subject {
        name: "SQLite",
        url: sqlite_url(&file),
        types: [
            "int64", "int64", "string", "double", "string", "binary", "string", "string", "string",
            "string", "string", "string",
        ],
        truth: "1",
        _folder: files,
    };
    let postgres = Subject {
        name: "PostgreSQL",
        url: Cluster::shared().database(
            database,
            &format!(
                "set timezone = 'UTC';
                 create table matrix (n int, big bigint, amount numeric(12,2), ratio float8, word text, bytes bytea,
                                      flag boolean, day date, clock time, at timestamp, instant timestamptz,
                                      doc jsonb); {}",
                rows.replace("x'", "'\\x")
            ),
        ),
        types: [
            "int64", "int64", "decimal128(12, 2)", "double", "string", "binary", "bool", "date32[day]",
            "time64[us]", "timestamp[us]", "timestamp[us, tz=UTC]", "extension<arrow.json>",
        ],
        truth: "true",
        _folder: folder(),
    };
    let mariadb = Subject {
        name: "MariaDB",
        url: MariaDb::shared().database(
            database,
            &format!(
                "set time_zone = '+00:00';
                 create table matrix (n int, big bigint, amount decimal(12,2), ratio double, word varchar(99),
                                      bytes blob, flag boolean, day date, clock time, at datetime(3),
                                      instant timestamp null, doc json); {rows}"
            ),
        ),
        types: postgres.types,
        truth: "true",
        _folder: folder(),
    };
    [sqlite, postgres, mariadb]
}

impl Subject {
    /// Returns the expected rows in every format.
    fn rows(&self) -> Value {
        let falsehood = if self.truth == "1" { "0" } else { "false" };
        json!([
            {"n": "1", "big": "9007199254740993", "amount": "12.50", "ratio": "0.1",
             "word": "Zürich 😀, \"quoted\"", "bytes": "00ff", "flag": self.truth, "day": "2026-01-31",
             "clock": "10:00:00", "at": "2026-01-31T10:00:00.500000", "instant": "2026-01-31T09:00:00Z",
             "doc": "{\"a\": [1, null]}"},
            {"n": "2", "big": "-9223372036854775808", "amount": "-0.01", "ratio": "-1e+300", "word": "two\nlines",
             "bytes": "", "flag": falsehood, "day": "1999-12-31", "clock": "23:59:59", "at": "1999-12-31T23:59:59",
             "instant": "2026-07-31T23:00:00Z", "doc": "[]"},
            {"n": "3", "big": null, "amount": null, "ratio": null, "word": null, "bytes": null, "flag": null,
             "day": null, "clock": null, "at": null, "instant": null, "doc": null},
        ])
    }
}

#[test]
#[ignore = "needs PostgreSQL, MariaDB and Python packages: make test"]
fn every_format_of_every_source_has_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    for subject in subjects("matrix") {
        let rowlink = Deployment::over(subject.url.clone(), vec![("it.sql", EXPORT)]).start();
        for format in ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"] {
            let file = rowlink.download(json!({"export": "it", "format": format}));
            let path = folder.path().join(format!("{}.{format}", subject.name));
            std::fs::write(&path, &file.body).unwrap();
            let mut rows = subject.rows();
            // An empty value is quoted in CSV, which the reader does not distinguish from NULL.
            if format == "csv" {
                rows[1]["bytes"] = Value::Null;
            }
            let rows = rows.to_string();
            let arguments = [format.as_ref(), path.as_os_str(), rows.as_ref()];
            let types: Value = serde_json::from_str(&python("check_file.py", &arguments)).unwrap();
            if format == "parquet" {
                assert_eq!(types, json!(subject.types), "{}", subject.name);
            }
        }
    }
}
