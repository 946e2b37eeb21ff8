//! PostgreSQL: every type, every way to use a parameter, roles, policies, and what is refused.

use serde_json::json;

use crate::harness::postgres::Cluster;
use crate::harness::{Call, Deployment, TestServer};

fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    Deployment::over(url.to_owned(), exports.to_vec()).start()
}

/// Types, each with values as SQL, and what a file says where that is not what psql prints.
const TYPES: &[(&str, &[(&str, Option<&str>)])] = &[
    (
        "boolean",
        &[("true", Some("true")), ("false", Some("false"))],
    ),
    ("smallint", &[("-32768", None)]),
    ("integer", &[("2147483647", None)]),
    ("bigint", &[("-9223372036854775808", None)]),
    ("oid", &[("4294967295", None)]),
    (
        "real",
        &[
            ("0.1", None),
            ("1e-45", None),
            ("-3.4028235e38", None),
            ("'NaN'", None),
            ("1", Some("1.0")),
        ],
    ),
    (
        "double precision",
        &[
            ("0.1", None),
            ("1e300", None),
            ("5e-324", None),
            ("'NaN'", None),
            ("'Infinity'", None),
            ("'-Infinity'", None),
            ("100", Some("100.0")),
            ("123456.789", None),
            ("1e-7", Some("1e-7")),
            ("0", Some("0.0")),
            ("'-0'", Some("-0.0")),
        ],
    ),
    (
        "numeric",
        &[
            ("0", None),
            ("0.00", None),
            ("-12.50", None),
            ("1e131071", None),
            ("1e-16383", None),
            ("'NaN'", None),
            ("'Infinity'", None),
            ("'-Infinity'", None),
            ("123456789012345678901234567890.123456789", None),
            ("10000", None),
            ("0.0001", None),
            ("-0.00001000", None),
            ("100000000.1", None),
        ],
    ),
    ("numeric(12,2)", &[("1e9", None), ("0.005", None)]),
    (
        "money",
        &[("12345.678", Some("12345.68")), ("-0.5", Some("-0.50"))],
    ),
    (
        "text",
        &[
            ("'plain'", None),
            ("''", None),
            ("'Zürich 😀'", None),
            ("E'two\\nlines'", None),
            ("'a,\"b\"'", None),
        ],
    ),
    ("varchar(5)", &[("'abc'", None)]),
    ("char(5)", &[("'ab'", None)]),
    ("name", &[("'a_name'", None)]),
    ("\"char\"", &[("'x'", None)]),
    ("bytea", &[("'\\x00ff'", Some("00ff")), ("''", Some(""))]),
    (
        "date",
        &[
            ("'2026-01-31'", None),
            ("'0044-03-15 BC'", None),
            ("'5874897-12-31'", None),
            ("'infinity'", None),
            ("'-infinity'", None),
        ],
    ),
    (
        "time",
        &[
            ("'10:00'", None),
            ("'23:59:59.999999'", None),
            ("'24:00'", None),
            ("'00:00:00.5'", None),
        ],
    ),
    ("timetz", &[("'10:00+02'", None)]),
    (
        "timestamp",
        &[
            ("'2026-01-31 10:00'", Some("2026-01-31T10:00:00")),
            (
                "'2026-01-31 10:00:00.000001'",
                Some("2026-01-31T10:00:00.000001"),
            ),
            ("'infinity'", None),
            ("'-infinity'", None),
            ("'0044-03-15 12:00 BC'", Some("0044-03-15T12:00:00 BC")),
            (
                "'294276-12-31 23:59:59.999999'",
                Some("294276-12-31T23:59:59.999999"),
            ),
        ],
    ),
    (
        "timestamptz",
        &[
            ("'2026-01-31 10:00+00'", Some("2026-01-31T10:00:00Z")),
            ("'2026-07-31 10:00:00.5+02'", Some("2026-07-31T08:00:00.5Z")),
            ("'infinity'", None),
            ("'4713-01-01 00:00+00 BC'", Some("4713-01-01T00:00:00Z BC")),
        ],
    ),
    (
        "interval",
        &[("'1 year 2 mons 3 days 04:05:06.7'", None), ("'0'", None)],
    ),
    ("uuid", &[("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", None)]),
    (
        "json",
        &[("'{\"b\": 1, \"a\": [1,  2]}'", None), ("'-1'", None)],
    ),
    (
        "jsonb",
        &[("'{\"b\": 1, \"a\": [1,  2]}'", None), ("'null'", None)],
    ),
    ("xml", &[("'<a b=\"1\"/>'", None)]),
    (
        "inet",
        &[
            ("'192.168.1.5/24'", None),
            ("'::1'", None),
            ("'192.168.1.5'", None),
        ],
    ),
    ("cidr", &[("'10.0.0.0/8'", None)]),
    ("macaddr", &[("'08:00:2b:01:02:03'", None)]),
    ("macaddr8", &[("'08:00:2b:01:02:03:04:05'", None)]),
    ("bit(3)", &[("B'101'", None)]),
    ("varbit", &[("B'10'", None)]),
    ("point", &[("'(1,2)'", None)]),
    ("int4range", &[("'[1,5)'", None), ("'empty'", None)]),
    ("tstzrange", &[("'[2026-01-01 00:00+00,)'", None)]),
    ("int4multirange", &[("'{[1,3),[5,8)}'", None)]),
    ("tsvector", &[("'a:1 cat:2'", None)]),
    ("tsquery", &[("'a & b'", None)]),
    ("pg_lsn", &[("'16/B374D848'", None)]),
    ("regclass", &[("'pg_class'", None)]),
    (
        "int[]",
        &[
            ("'{1,NULL,3}'", None),
            ("'{}'", None),
            ("'{{1,2},{3,4}}'", None),
        ],
    ),
    ("text[]", &[("array['a,b', 'c\"d', '']", None)]),
    (
        "timestamptz[]",
        &[("array['2026-01-31 10:00+00'::timestamptz]", None)],
    ),
    ("mood", &[("'so so'", None)]),
    ("positive", &[("7", None)]),
    ("pair", &[("row(1, 'x y')", None)]),
    ("mood[]", &[("'{sad,\"so so\"}'", None)]),
    ("citext", &[("'Text'", None)]),
    ("hstore", &[("'a=>1'", None)]),
];

const TYPES_SCHEMA: &str = "
    create extension citext;
    create extension hstore;
    create type mood as enum ('sad', 'so so', 'happy');
    create domain positive as integer check (value > 0);
    create type pair as (number integer, word text);
";

#[test]
fn every_type_is_written_as_psql_prints_it_but_for_what_the_docs_list() {
    let cluster = Cluster::shared();
    let url = cluster.database("types", TYPES_SCHEMA);
    let values = TYPES.iter().flat_map(|(kind, values)| {
        let column = move |(value, expected): &(&str, Option<&'static str>)| {
            (format!("({value})::{kind}"), *expected)
        };
        values.iter().map(column)
    });
    let values: Vec<(String, Option<&str>)> = values.collect();
    let columns = values.iter().enumerate();
    let columns: Vec<String> = columns
        .map(|(index, (value, _))| format!("{value} as c{index}"))
        .collect();
    let sql = format!("select :user::text as who, {}", columns.join(", "));
    let server = serve(&url, &[("types.sql", &sql)]);
    let request = json!({"export": "types", "format": "csv", "csv": {"formula_guard": false}});
    let row = server.download(request).rows().remove(1);
    let mut printed = 0;
    let mut wrong = Vec::new();
    for ((value, expected), cell) in values.iter().zip(&row[1..]) {
        let psql = cluster.psql("types", &format!("select {value}"));
        let expected_text = expected.unwrap_or(&psql);
        if cell != expected_text {
            wrong.push(format!("{value}: {cell:?} instead of {expected_text:?}"));
        }
        printed += usize::from(expected.is_none());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!(
        "{} values, {printed} of them as psql prints them",
        values.len()
    );
}
