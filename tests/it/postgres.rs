//! PostgreSQL: every type, and every filter type in the usual conditions.

use serde_json::json;

use crate::harness::postgres::Cluster;
use crate::harness::{Call, Deployment, TestServer};

fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    Deployment::over(url.to_owned(), exports.to_vec()).start()
}

/// The text in CSV, if it differs from the output of psql.
type Written = Option<&'static str>;

/// Types with values as SQL.
const TYPES: &[(&str, &[(&str, Written)])] = &[
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
        &[
            ("'1 year 2 mons 3 days 04:05:06.7'", None),
            ("'-1 year -2 mons +3 days -04:05:06.000001'", None),
            ("'1 mon -1 day 25:00'", None),
            ("'0'", None),
        ],
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
#[ignore = "needs PostgreSQL: make test"]
fn every_type_is_written_as_psql_prints_it_except_documented_differences() {
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
        // Not in the server's time zone, which no file shows.
        let psql = cluster.psql("types", &format!("set timezone = 'UTC'; select {value}"));
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

/// Arrays as SQL, and their JSON.
const ARRAYS: &[(&str, &str)] = &[
    (
        "array['a', 'b,c', 'd\"e\\f', '{g}', '', 'null', 'NULL']",
        r#"["a","b,c","d\"e\\f","{g}","","null","NULL"]"#,
    ),
    (
        "array['ä😀', null, E'line\\nend', E'\\u2028']",
        r#"["ä😀",null,"line\nend","\u2028"]"#,
    ),
    ("array[]::text[]", "[]"),
    ("null::text[]", "null"),
    ("array[[1, 2], [3, null]]", "[[1,2],[3,null]]"),
    ("'[0:1][2:3]={{1,2},{3,4}}'::int[]", "[[1,2],[3,4]]"),
    ("array[9223372036854775807]", "[9223372036854775807]"),
    (
        "array[0.10, 1e30, 'NaN']::numeric[]",
        r#"[0.10,1000000000000000000000000000000,"NaN"]"#,
    ),
    ("array[0.1, 'Infinity']::float8[]", r#"[0.1,"Infinity"]"#),
    ("array[0.1]::real[]", "[0.1]"),
    ("array[true, false, null]", "[true,false,null]"),
    (
        "array['{\"a\": [1]}', 'null', '\"x\"']::json[]",
        r#"[{"a": [1]},null,"x"]"#,
    ),
    ("array['{\"a\": [1]}']::jsonb[]", r#"[{"a": [1]}]"#),
    (
        "array['2026-01-31', 'infinity']::date[]",
        r#"["2026-01-31","infinity"]"#,
    ),
    (
        "array['2026-01-31 10:00:00.5']::timestamp[]",
        r#"["2026-01-31T10:00:00.5"]"#,
    ),
    (
        "array['2026-01-31 10:00+00']::timestamptz[]",
        r#"["2026-01-31T10:00:00+00:00"]"#,
    ),
    ("array['1 day 02:00']::interval[]", r#"["1 day 02:00:00"]"#),
    (
        "array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]",
        r#"["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]"#,
    ),
    ("array['\\x00ff']::bytea[]", r#"["\\x00ff"]"#),
    ("array['so so']::mood[]", r#"["so so"]"#),
    (
        "array[(1, 'a,b'), (null, null)]::pair[]",
        r#"[{"number":1,"word":"a,b"},{"number":null,"word":null}]"#,
    ),
    ("array['[1,5)']::int4range[]", r#"["[1,5)"]"#),
    ("array['192.0.2.1']::inet[]", r#"["192.0.2.1"]"#),
    ("array['a=>1']::hstore[]", r#"[{"a": "1"}]"#),
    ("'1 2 3'::int2vector", "[1,2,3]"),
    ("array[5]::positive[]", "[5]"),
];

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn arrays_are_arrays_in_json_and_text_in_other_formats() {
    let cluster = Cluster::shared();
    let url = cluster.database("arrays", TYPES_SCHEMA);
    let all_types = TYPES.iter().flat_map(|(kind, values)| {
        values
            .iter()
            .map(move |(value, _)| format!("array[({value})::{kind}]"))
    });
    let all_types: Vec<String> = all_types.collect();
    let arrays = ARRAYS.iter().map(|(sql, _)| (*sql).to_owned());
    let arrays: Vec<String> = arrays.chain(all_types).collect();
    let columns = arrays.iter().enumerate();
    let columns: Vec<String> = columns
        .map(|(index, sql)| format!("{sql} as c{index}"))
        .collect();
    let sql = format!(
        "/*---\nformats = [\"csv\", \"ndjson\", \"json\", \"xlsx\"]\n[csv]\nformula_guard = false\n---*/\n\
         select :user::text as who, {}",
        columns.join(", ")
    );
    let server = serve(&url, &[("arrays.sql", &sql)]);
    let download = |format: &str| server.download(json!({"export": "arrays", "format": format}));
    let line = download("ndjson").text();
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (index, (sql, expected)) in ARRAYS.iter().enumerate() {
        assert!(
            line.contains(&format!("\"c{index}\":{expected},")),
            "{sql}: {line}"
        );
    }
    for (index, sql) in arrays.iter().enumerate().skip(ARRAYS.len()) {
        assert!(object[format!("c{index}")].is_array(), "{sql}");
    }
    let array: serde_json::Value = serde_json::from_str(&download("json").text()).unwrap();
    assert_eq!(array, json!([object]));

    let rows = download("csv").rows();
    for (sql, cell) in arrays.iter().zip(&rows[1][1..]) {
        let psql = cluster.psql("arrays", &format!("set timezone = 'UTC'; select {sql}"));
        assert_eq!(*cell, psql, "{sql}");
    }
}

const THINGS: &str = "
    create type state as enum ('open', 'paid', 'gone');
    create table things (
        owner text, id int, big bigint, price numeric(10,2), ratio real, ok boolean, day date,
        at timestamptz, local_at timestamp, key uuid, state state, name varchar(20), code char(3)
    );
    insert into things values
        ('alice', 1, 10, 1.50, 0.5, true, '2026-01-01', '2026-01-01 00:00+00', '2026-01-01 00:00',
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'open', 'one', 'a'),
        ('alice', 2, 20, 2.50, 1.5, false, '2026-02-01', '2026-02-01 12:00+00', '2026-02-01 12:00',
         'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'paid', 'two', 'b'),
        ('alice', 3, 30, 3.50, 2.5, null, '2026-03-01', '2026-03-01 00:00+00', '2026-03-01 00:00',
         'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'gone', 'three', 'c'),
        ('bob', 4, 40, 4.50, 3.5, true, '2026-01-01', '2026-01-01 00:00+00', '2026-01-01 00:00',
         'd0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'open', 'four', 'd');
";

/// A filter type, a condition, a value, and the expected ids of alice.
const CONDITIONS: &[(&str, &str, &str, &str)] = &[
    ("text", "state = :x", "paid", "2"),
    ("text", "name = :x", "two", "2"),
    ("text", "code = :x", "b", "2"),
    ("text", ":x is null or state = :x", "paid", "2"),
    ("text", "state = coalesce(:x::state, 'paid')", "paid", "2"),
    ("text", "name like :x || '%'", "t", "2 3"),
    ("text", "state::text = :x", "paid", "2"),
    ("text", "state = :x::text::state", "paid", "2"),
    (
        "text",
        "key = :x",
        "B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "2",
    ),
    ("integer", "id = :x", "2", "2"),
    ("integer", "big >= :x", "20", "2 3"),
    ("integer", "price > :x", "2", "2 3"),
    ("integer", "ratio > :x", "2", "3"),
    ("integer", "id = :x::int", "2", "2"),
    ("integer", ":x is null or id = :x", "2", "2"),
    ("integer", "id = coalesce(:x, 3)", "2", "2"),
    ("integer", "id % :x = 0", "2", "2"),
    ("integer", "name = :x::text", "2", ""),
    ("integer", "true order by id limit :x", "2", "1 2"),
    ("decimal", "price >= :x", "2.50", "2 3"),
    ("decimal", "ratio >= :x", "1.5", "2 3"),
    ("decimal", ":x is null or price = :x", "2.5", "2"),
    ("decimal", "price = coalesce(:x, 0)", "2.5", "2"),
    ("decimal", "id > :x", "1.5", "2 3"),
    ("integer", "id < :x", "3000000000", "1 2 3"),
    ("integer", "day = make_date(2026, :x, 1)", "2", "2"),
    ("integer", "substr(name, :x) = 'o'", "3", "2"),
    ("timestamp", "day >= :x", "2026-02-01T12:00:00Z", "3"),
    ("boolean", "ok = :x", "true", "1"),
    ("boolean", "ok is not distinct from :x", "false", "2"),
    ("boolean", ":x is null or ok = :x", "true", "1"),
    ("boolean", "coalesce(ok, :x)", "true", "1 3"),
    ("boolean", ":x", "true", "1 2 3"),
    ("date", "day >= :x", "2026-02-01", "2 3"),
    ("date", "at >= :x", "2026-02-01", "2 3"),
    ("date", "local_at >= :x", "2026-02-01", "2 3"),
    ("date", "at < :x::date + 1", "2026-02-01", "1 2"),
    (
        "date",
        "at >= :x and at < :x::date + interval '1 day'",
        "2026-02-01",
        "2",
    ),
    ("date", ":x is null or day = :x", "2026-02-01", "2"),
    (
        "date",
        "day >= coalesce(:x, current_date)",
        "2026-02-01",
        "2 3",
    ),
    (
        "date",
        "extract(month from day) = extract(month from :x)",
        "2026-02-15",
        "2",
    ),
    ("timestamp", "at >= :x", "2026-02-01T13:00:00+01:00", "2 3"),
    (
        "timestamp",
        "local_at >= :x",
        "2026-02-01T13:00:00+01:00",
        "2 3",
    ),
    (
        "timestamp",
        "at = :x::timestamptz",
        "2026-02-01T12:00:00Z",
        "2",
    ),
    (
        "timestamp",
        ":x is null or at >= :x",
        "2026-02-01T12:00:00.000001Z",
        "3",
    ),
    (
        "timestamp",
        "at >= coalesce(:x, now())",
        "2026-02-01T12:00:00Z",
        "2 3",
    ),
    (
        "timestamp",
        "date_trunc('day', at) = date_trunc('day', :x)",
        "2026-02-01T11:00:00Z",
        "2",
    ),
    (
        "uuid",
        "key = :x",
        "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "2",
    ),
    (
        "uuid",
        ":x is null or key = :x",
        "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "2",
    ),
    (
        "uuid",
        "key::text = :x",
        "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "2",
    ),
];

/// Like [`CONDITIONS`], for lists of two values.
const LIST_CONDITIONS: &[(&str, &str, [&str; 2], &str)] = &[
    ("text", "state = any(:x)", ["paid", "gone"], "2 3"),
    ("text", "state::text = any(:x)", ["paid", "a,\"b\\"], "2"),
    ("text", "name = any(:x::text[])", ["one", "two"], "1 2"),
    (
        "text",
        ":x is null or state = any(:x)",
        ["paid", "gone"],
        "2 3",
    ),
    (
        "text",
        "name in (select json_array_elements_text(:x))",
        ["one", "two"],
        "1 2",
    ),
    (
        "text",
        "name in (select unnest(:x::text[]))",
        ["one", "two"],
        "1 2",
    ),
    (
        "text",
        "coalesce(name = any(:x), true)",
        ["one", "two"],
        "1 2",
    ),
    ("integer", "id = any(:x)", ["1", "3"], "1 3"),
    ("integer", "big = any(:x)", ["10", "30"], "1 3"),
    (
        "integer",
        "cardinality(:x) = 2 and id = any(:x)",
        ["1", "3"],
        "1 3",
    ),
    ("integer", "id <> all(:x)", ["1", "3"], "2"),
    ("decimal", "id = any(:x)", ["1", "2.5"], "1"),
    ("decimal", "price = any(:x)", ["1.5", "3.50"], "1 3"),
    ("date", "day = any(:x)", ["2026-01-01", "2026-03-01"], "1 3"),
    (
        "timestamp",
        "at = any(:x)",
        ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"],
        "1 3",
    ),
    (
        "uuid",
        "key = any(:x)",
        [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ],
        "1 3",
    ),
];

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn every_filter_type_works_in_every_usual_condition() {
    let url = Cluster::shared().database("parameters", THINGS);
    let export = |kind: &str, list: bool, condition: &str| {
        let order = if condition.contains("order by") {
            ""
        } else {
            "order by id"
        };
        let (condition, rest) = condition
            .split_once(" order by ")
            .unwrap_or((condition, ""));
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!("order by {rest}")
        };
        format!(
            "/*---\n[filters.x]\ntype = '{kind}'\nlist = {list}\n---*/\nselect id from things\n\
             where owner = :user and ({condition}) {order}{rest}"
        )
    };
    let single = CONDITIONS
        .iter()
        .enumerate()
        .map(|(index, (kind, condition, value, ids))| {
            let sql = export(kind, false, condition);
            (format!("one_{index}"), sql, json!(value), *ids, *condition)
        });
    let list = LIST_CONDITIONS
        .iter()
        .enumerate()
        .map(|(index, (kind, condition, values, ids))| {
            let sql = export(kind, true, condition);
            (
                format!("list_{index}"),
                sql,
                json!(values),
                *ids,
                *condition,
            )
        });
    let cases: Vec<_> = single.chain(list).collect();
    let files: Vec<(String, &str)> = cases
        .iter()
        .map(|(name, sql, ..)| (format!("{name}.sql"), sql.as_str()))
        .collect();
    let files = files
        .iter()
        .map(|(name, sql)| (name.as_str(), *sql))
        .collect();
    let server = Deployment::over(url, files).start();
    let mut wrong = Vec::new();
    for (name, _, value, ids, condition) in &cases {
        let request = json!({"export": name, "format": "csv", "filters": {"x": value}});
        let answer = Call::new("GET", server.link(request)).send();
        if answer.status != 200 {
            wrong.push(format!("{condition} for {value}: {}", answer.text()));
            continue;
        }
        let rows = answer.rows();
        let found: Vec<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
        if found.join(" ") != *ids {
            wrong.push(format!(
                "{condition} for {value}: {found:?} instead of {ids:?}"
            ));
        }
        let request = json!({"export": name, "format": "csv"});
        let answer = Call::new("GET", server.link(request)).send();
        if answer.status != 200 {
            wrong.push(format!("{condition} for null: {}", answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
