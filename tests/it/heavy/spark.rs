//! Spark as a reader of Parquet: `make test-large`.

use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{Deployment, python};

const POSTGRES: &str = "select true as b, 7::bigint as i, 1.5::float8 as f, 12.50::numeric(10,2) as d, 1e400::numeric as n,
    'Zürich' as t, '{\"a\": 1}'::jsonb as j, '\\x00ff'::bytea as y, date '2026-01-31' as day, time '12:30:00.25' as clock,
    timestamp '2026-01-31 10:00:00.123456' as local, timestamptz '2026-01-31 10:00:00Z' as at,
    '00000000-0000-0000-0000-00000000002a'::uuid as u, interval '1 day' as span, array[1, 2] as list, null::uuid as missing
    where :user = 'alice'";
const MARIADB: &str = "select cast(18446744073709551615 as unsigned) as big, b'101' as bits, cast(1.5 as decimal(5,2)) as d,
    cast('12:30:00' as time) as clock, cast('2026-01-31 10:00:00' as datetime) as local, true as yes, 'ä' as t
    where :user = 'alice'";

/// Writes the file of an export with these options; returns its path.
fn save(
    folder: &std::path::Path,
    url: &str,
    name: &str,
    sql: &str,
    parquet: Value,
) -> std::path::PathBuf {
    let sql = format!("/*---\nformats = ['parquet']\n---*/\n{sql}");
    let server = Deployment::over(url.to_owned(), vec![("it.sql", &sql)]).start();
    let request = json!({"export": "it", "format": "parquet", "parquet": parquet});
    let path = folder.join(format!("{name}.parquet"));
    fs::write(&path, server.download(request).body).unwrap();
    path
}

#[test]
#[ignore = "needs Spark: make test-large"]
fn spark_reads_every_type_with_compat_and_refuses_some_without() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Cluster::shared().database("spark", "");
    let mariadb = MariaDb::shared().database("spark", "create table nothing (n int)");
    let spark = json!({"compat": "spark"});
    let files = [
        save(
            folder.path(),
            &postgres,
            "postgres",
            POSTGRES,
            spark.clone(),
        ),
        save(folder.path(), &mariadb, "mariadb", MARIADB, spark),
        save(folder.path(), &postgres, "plain", POSTGRES, Value::Null),
    ];
    let arguments: Vec<&OsStr> = files.iter().map(|file| file.as_os_str()).collect();
    let found: Value = serde_json::from_str(&python("read_spark.py", &arguments)).unwrap();
    let types = &found[0]["types"];
    for (column, expected) in [
        ("b", "boolean"),
        ("i", "bigint"),
        ("f", "double"),
        ("d", "decimal(10,2)"),
        ("n", "string"),
        ("t", "string"),
        ("y", "binary"),
        ("day", "date"),
        ("clock", "string"),
        ("local", "timestamp_ntz"),
        ("at", "timestamp"),
        ("u", "string"),
        ("span", "string"),
        ("list", "string"),
        ("missing", "string"),
    ] {
        assert_eq!(types[column], expected, "{column} in {found}");
    }
    let row = &found[0]["rows"][0];
    assert_eq!(row[9], "12:30:00.25", "{found}");
    assert_eq!(row[12], "00000000-0000-0000-0000-00000000002a", "{found}");
    assert_eq!(row[15], Value::Null);
    assert_eq!(found[1]["rows"][0][0], "18446744073709551615", "{found}");
    assert_eq!(found[1]["types"]["clock"], "string");
    // Why the option exists.
    assert!(found[2]["error"].is_string(), "{found}");
}
