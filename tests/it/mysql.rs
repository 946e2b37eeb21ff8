//! The MySQL protocol with MariaDB: types, parameters, TLS, sockets and refused statements.

use std::io::Read as _;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::command::free_port;
use crate::harness::mariadb::MariaDb;
use crate::harness::{Call, Deployment, TestServer, begin_with, is_whole, tls};

/// Makes the server close the connection after the file.
const CLOSE: &str = "Connection: close\r\n";

fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    Deployment::over(url.to_owned(), exports.to_vec()).start()
}

fn errors(url: &str, sql: &str) -> Vec<String> {
    Deployment::over(url.to_owned(), vec![("it.sql", sql)]).errors()
}

/// A value as SQL, and its text in CSV and NDJSON.
type Expected = (&'static str, &'static str, &'static str);

/// Types, each with some values.
const TYPES: &[(&str, &[Expected])] = &[
    (
        "boolean",
        &[
            ("true", "true", "true"),
            ("0", "false", "false"),
            ("-7", "-7", "-7"),
        ],
    ),
    ("tinyint", &[("-128", "-128", "-128"), ("1", "1", "1")]),
    ("tinyint unsigned", &[("255", "255", "255")]),
    ("smallint", &[("-32768", "-32768", "-32768")]),
    ("mediumint", &[("-8388608", "-8388608", "-8388608")]),
    ("int", &[("2147483647", "2147483647", "2147483647")]),
    ("int(8) zerofill", &[("42", "42", "42")]),
    (
        "bigint",
        &[(
            "-9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775808",
        )],
    ),
    (
        "bigint unsigned",
        &[
            (
                "18446744073709551615",
                "18446744073709551615",
                "18446744073709551615",
            ),
            ("1", "1", "1"),
        ],
    ),
    (
        "float",
        &[
            ("0.1", "0.1", "0.1"),
            ("-3.40282e38", "-3.40282e+38", "-3.40282e+38"),
            ("1", "1.0", "1.0"),
        ],
    ),
    (
        "double",
        &[("0.1", "0.1", "0.1"), ("1e300", "1e+300", "1e+300")],
    ),
    (
        "decimal(65,30)",
        &[
            (
                "12345678901234567890123456789012345.123456789012345678901234567890",
                "12345678901234567890123456789012345.123456789012345678901234567890",
                "12345678901234567890123456789012345.123456789012345678901234567890",
            ),
            (
                "-0.5",
                "-0.500000000000000000000000000000",
                "-0.500000000000000000000000000000",
            ),
        ],
    ),
    (
        "decimal(10,2)",
        &[("12.5", "12.50", "12.50"), ("0", "0.00", "0.00")],
    ),
    (
        "decimal(10,2) zerofill",
        &[("12.5", "12.50", "12.50"), ("0", "0.00", "0.00")],
    ),
    ("bit(1)", &[("b'1'", "1", "1")]),
    (
        "bit(64)",
        &[
            ("b'101'", "5", "5"),
            ("~0", "18446744073709551615", "18446744073709551615"),
        ],
    ),
    ("char(5)", &[("'ab'", "ab", "\"ab\"")]),
    (
        "varchar(20)",
        &[
            ("'Zürich 😀'", "Zürich 😀", "\"Zürich 😀\""),
            ("''", "\"\"", "\"\""),
        ],
    ),
    (
        "varchar(20) character set latin1",
        &[("'Zürich €'", "Zürich €", "\"Zürich €\"")],
    ),
    (
        "varchar(20) character set utf8mb3",
        &[("'Zürich'", "Zürich", "\"Zürich\"")],
    ),
    (
        "varchar(20) character set ucs2",
        &[("'Zürich'", "Zürich", "\"Zürich\"")],
    ),
    (
        "varchar(20) character set utf8mb4 collate utf8mb4_bin",
        &[("'a'", "a", "\"a\"")],
    ),
    (
        "longtext",
        &[("'two\nlines'", "\"two\nlines\"", "\"two\\nlines\"")],
    ),
    (
        "enum('red', 'grün')",
        &[("'grün'", "grün", "\"grün\""), ("1", "red", "\"red\"")],
    ),
    (
        "set('a', 'b', 'c')",
        &[("'c,a'", "\"a,c\"", "\"a,c\""), ("''", "\"\"", "\"\"")],
    ),
    ("binary(3)", &[("x'0001'", "000100", "\"000100\"")]),
    (
        "varbinary(3)",
        &[("x'00ff'", "00ff", "\"00ff\""), ("''", "\"\"", "\"\"")],
    ),
    ("longblob", &[("x'00ff'", "00ff", "\"00ff\"")]),
    (
        "date",
        &[
            ("'2026-01-31'", "2026-01-31", "\"2026-01-31\""),
            ("'0000-00-00'", "0000-00-00", "\"0000-00-00\""),
            ("'2026-00-00'", "2026-00-00", "\"2026-00-00\""),
            ("'0000-05-17'", "0000-05-17", "\"0000-05-17\""),
            ("'9999-12-31'", "9999-12-31", "\"9999-12-31\""),
            ("'0001-01-01'", "0001-01-01", "\"0001-01-01\""),
        ],
    ),
    (
        "datetime(6)",
        &[
            (
                "'2026-01-31 10:00:00.000001'",
                "2026-01-31T10:00:00.000001",
                "\"2026-01-31T10:00:00.000001\"",
            ),
            (
                "'2026-01-31'",
                "2026-01-31T00:00:00",
                "\"2026-01-31T00:00:00\"",
            ),
            (
                "'0000-00-00 00:00:00'",
                "0000-00-00 00:00:00",
                "\"0000-00-00 00:00:00\"",
            ),
        ],
    ),
    (
        "timestamp(3) null",
        &[
            // The server's time zone is UTC+2.
            (
                "'2026-01-31 10:00:00.5'",
                "2026-01-31T08:00:00.5Z",
                "\"2026-01-31T08:00:00.5Z\"",
            ),
            (
                "'0000-00-00 00:00:00'",
                "0000-00-00 00:00:00",
                "\"0000-00-00 00:00:00\"",
            ),
        ],
    ),
    (
        "time(6)",
        &[
            ("'10:00:00'", "10:00:00", "\"10:00:00\""),
            (
                "'23:59:59.999999'",
                "23:59:59.999999",
                "\"23:59:59.999999\"",
            ),
            ("'838:59:59'", "838:59:59", "\"838:59:59\""),
            ("'24:00:00'", "24:00:00", "\"24:00:00\""),
            ("'-00:00:01.5'", "-00:00:01.5", "\"-00:00:01.5\""),
            ("'-101:00:00'", "-101:00:00", "\"-101:00:00\""),
        ],
    ),
    ("year", &[("2026", "2026", "2026"), ("0", "0", "0")]),
    (
        "json",
        &[
            (
                "'{\"a\": [1, null]}'",
                "\"{\"\"a\"\": [1, null]}\"",
                "{\"a\": [1, null]}",
            ),
            ("'[1,\n2]'", "\"[1,\n2]\"", "[1, 2]"),
            ("'\"text\"'", "\"\"\"text\"\"\"", "\"text\""),
        ],
    ),
    (
        "uuid",
        &[(
            "'0198c2f4-6f3a-7cc1-9b2e-0242ac120002'",
            "0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
            "\"0198c2f4-6f3a-7cc1-9b2e-0242ac120002\"",
        )],
    ),
    (
        "inet6",
        &[("'2001:db8::1'", "2001:db8::1", "\"2001:db8::1\"")],
    ),
    (
        "point",
        &[("point(1, -2.5)", "POINT(1 -2.5)", "\"POINT(1 -2.5)\"")],
    ),
    (
        "geometry",
        &[
            (
                "st_geomfromtext('POLYGON((0 0,0 1,1 1,0 0))', 4326)",
                "\"POLYGON((0 0,0 1,1 1,0 0))\"",
                "\"POLYGON((0 0,0 1,1 1,0 0))\"",
            ),
            (
                "st_geomfromtext('LINESTRING(0 0,1 1)')",
                "\"LINESTRING(0 0,1 1)\"",
                "\"LINESTRING(0 0,1 1)\"",
            ),
        ],
    ),
];

#[test]
#[ignore = "needs MariaDB: make test"]
fn every_type_is_written_without_loss() {
    let server = MariaDb::shared();
    let mut sql = "set sql_mode = ''; ".to_owned();
    for (index, (kind, values)) in TYPES.iter().enumerate() {
        sql += &format!("create table t{index} (n int primary key, v {kind}); ");
        for (n, (value, ..)) in values.iter().enumerate() {
            sql += &format!("insert into t{index} values ({n}, {value}); ");
        }
        sql += &format!("insert into t{index} values (99, null); ");
    }
    let url = server.database("mysql_types", &sql);
    let files: Vec<(String, String)> = (0..TYPES.len())
        .map(|index| {
            let select = format!("select v, n from t{index} where :user is not null order by n");
            (format!("t{index}.sql"), select)
        })
        .collect();
    let exports: Vec<(&str, &str)> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let rowlink = serve(&url, &exports);
    for (index, (kind, values)) in TYPES.iter().enumerate() {
        let (mut csv, mut ndjson) = ("v,n\r\n".to_owned(), String::new());
        for (n, (_, cell, value)) in values.iter().enumerate() {
            csv += &format!("{cell},{n}\r\n");
            ndjson += &format!("{{\"v\":{value},\"n\":{n}}}\n");
        }
        csv += ",99\r\n";
        ndjson += "{\"v\":null,\"n\":99}\n";
        let download = |format: &str| {
            let request = json!({"export": format!("t{index}"), "format": format});
            rowlink.download(request).text()
        };
        assert_eq!(download("csv"), csv, "{kind}");
        assert_eq!(download("ndjson"), ndjson, "{kind}");
    }
}

const FILTERED: &str = "/*---
[filters.text]
type = 'text'
[filters.number]
type = 'integer'
[filters.amount]
type = 'decimal'
[filters.truth]
type = 'boolean'
[filters.day]
type = 'date'
[filters.at]
type = 'timestamp'
[filters.id]
type = 'uuid'
[filters.words]
type = 'text'
list = true
[filters.numbers]
type = 'integer'
list = true
---*/
select n from things
where owner = :user -- not :this, nor ':that'
  and (:text is null or word = :text) and (:number is null or n = :number)
  and (:amount is null or amount = :amount) and (:truth is null or truth = :truth)
  and (:day is null or day >= :day) and (:at is null or at = :at)
  and (:id is null or id = :id)
  and (:words is null or json_contains(:words, json_quote(word)))
  and (:numbers is null or n in (select v from json_table(:numbers, '$[*]' columns (v int path '$')) as t))
order by n";

#[test]
#[ignore = "needs MariaDB: make test"]
fn each_filter_type_is_compared_exactly() {
    let url = MariaDb::shared().database(
        "mysql_filters",
        "create table things (n int, owner varchar(9), word varchar(9) character set latin1, amount decimal(30,20),
                              truth boolean, day date, at timestamp(6) null, id uuid);
         insert into things values
           (1, 'alice', 'ä', 0.1, true, '2026-01-01', '2026-01-01 02:00:00.000001',
            '0198c2f4-6f3a-7cc1-9b2e-0242ac120002'),
           (2, 'alice', \"it's ?\", 0.10000000000000000001, false, '2026-01-02', '2026-01-01 02:00:00', null),
           (3, 'bob', 'ä', 0.1, true, '2026-01-01', '2026-01-01 02:00:00', null)",
    );
    let rowlink = serve(&url, &[("it.sql", FILTERED)]);
    let rows = |filters: Value| {
        let request = json!({"export": "it", "format": "csv", "filters": filters});
        let text = rowlink.download(request).text();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let both = ["1", "2"];
    for (filters, expected) in [
        (json!({}), &both[..]),
        (json!({"text": "ä"}), &["1"]),
        (json!({"text": "it's ?"}), &["2"]),
        (json!({"number": 2}), &["2"]),
        // These two are equal as floats.
        (json!({"amount": "0.1"}), &["1"]),
        (json!({"amount": "0.10000000000000000001"}), &["2"]),
        (json!({"truth": true}), &["1"]),
        (json!({"truth": false}), &["2"]),
        (json!({"day": "2026-01-01"}), &both),
        (json!({"day": "2026-01-02"}), &["2"]),
        (json!({"at": "2026-01-01T00:00:00Z"}), &["2"]),
        (json!({"at": "2026-01-01T01:00:00.000001+01:00"}), &["1"]),
        (
            json!({"id": "0198c2f4-6f3a-7cc1-9b2e-0242ac120002"}),
            &["1"],
        ),
        (json!({"words": ["ä", "b"]}), &["1"]),
        (json!({"words": ["x"]}), &[]),
        (json!({"numbers": [2, 3]}), &["2"]),
    ] {
        assert_eq!(rows(filters.clone()), *expected, "{filters}");
    }
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn statements_that_write_fail_or_return_no_columns_prevent_the_start() {
    let server = MariaDb::shared();
    let url = server.database("mysql_faults", "create table t (n int)");
    for (sql, expected) in [
        (
            "select 1,\n  from t where :user = 'x'",
            "it.sql:2: You have an error",
        ),
        (
            "select\n missing from t where :user = 'x'",
            "it.sql:2: Unknown column 'missing'",
        ),
        (
            "insert into t select 1 where :user = 'x' returning n",
            "it.sql:1: expected a read-only query",
        ),
        ("select 1 where :user = 'x' into @a", "it.sql:1: "),
        (
            "/*---\n[filters.a]\ntype = 'decimal'\n---*/\nselect :user, :a, :a, :a\nfrom nowhere",
            "it.sql:6: Table",
        ),
        (
            "select :user\nfrom nowhere",
            "it.sql:2: Table 'mysql_faults.nowhere' doesn't exist",
        ),
        (
            "select 1 as a, 2 as a where :user = 'x'",
            "it.sql:1: two columns are named `a`",
        ),
        (
            "select ? where :user = 'x'",
            "it.sql:1: `?`: unsupported placeholder; expected `:name`",
        ),
        (
            "/*---\nrole = 'x'\n---*/\nselect :user",
            "it.sql:1: `role` and `row_security`: supported only by PostgreSQL",
        ),
    ] {
        let found = errors(&url, sql);
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
        assert!(found[0].starts_with(expected), "{sql}: {found:?}");
    }
    let wrong = url.replace("p%3Ass", "wrong");
    let found = errors(&wrong, "select :user as x");
    assert!(found[0].contains("Access denied"), "{found:?}");
    assert!(!found[0].contains("wrong"), "{found:?}");
    let port = free_port();
    let found = errors(
        &format!("mysql://u@127.0.0.1:{port}/shop"),
        "select :user as x",
    );
    assert!(
        found[0].contains(&format!("127.0.0.1:{port}: ")),
        "{found:?}"
    );
    let missing = url.replace("/mysql_faults", "/missing");
    let found = errors(&missing, "select :user as x");
    assert!(found[0].contains("Access denied"), "{found:?}");
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn no_server_setting_truncates_a_result() {
    let server = MariaDb::start();
    let url = server.database("truncation", "create table nothing (n int)");
    server.query(
        "",
        "set global sql_select_limit = 3, group_concat_max_len = 64, net_write_timeout = 1, max_statement_time = 2,
                    init_connect = 'set names latin1'",
    );
    let many =
        "select seq as n, repeat('x', 1000) as word from seq_1_to_200000 where :user = 'alice'";
    let long = "select length(group_concat(seq)) as n from seq_1_to_10000 where :user = 'alice'";
    let word = "select '😀' as word where :user = 'alice'";
    let rowlink = serve(
        &url,
        &[("many.sql", many), ("long.sql", long), ("word.sql", word)],
    );
    let word = rowlink.download(json!({"export": "word", "format": "csv"}));
    assert_eq!(word.text(), "word\r\n😀\r\n");
    let long = rowlink.download(json!({"export": "long", "format": "csv"}));
    assert_eq!(long.text(), "n\r\n48893\r\n");
    // Longer than `net_write_timeout` and `max_statement_time`.
    let mut stream = begin_with(
        &rowlink.link(json!({"export": "many", "format": "csv"})),
        CLOSE,
    );
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).unwrap();
    thread::sleep(Duration::from_secs(4));
    stream.read_to_end(&mut answer).unwrap();
    assert!(is_whole(&answer));
    assert_eq!(
        answer.iter().filter(|byte| **byte == b'x').count() / 1000,
        200_000
    );
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_value_that_the_server_cut_or_dropped_breaks_the_file_and_other_warnings_do_not() {
    let server = MariaDb::start();
    let url = server.database("cut_values", "create table nothing (n int)");
    // New connections have this limit.
    server.query("", "set global max_allowed_packet = 1048576");
    let cut = [
        "length(group_concat(repeat('x', 1000)))",
        "length(json_arrayagg(repeat('x', 1000)))",
        "left(group_concat(repeat('x', 1000)), 10)",
        "count(concat(repeat('x', 600000), repeat('y', 600000)))",
        "sum(length(repeat('x', 1000000 + seq * 1000)))",
    ];
    let sql: Vec<String> = cut
        .iter()
        .map(|value| format!("select {value} as v from seq_1_to_2000 where :user = 'alice'"))
        .collect();
    let late = "select seq, coalesce(repeat('x', seq), '') as v from \
                (select seq from seq_1_to_1000 union all select 2000000) as numbers where :user = 'alice'";
    let warn = |rows: u32| {
        format!(
            "select seq, 'abc' + 1 as v from seq_1_to_{rows} where seq + 'x' > 0 and :user = 'alice'"
        )
    };
    let (some, many) = (warn(9_000), warn(90_000));
    let names: Vec<String> = (0..sql.len())
        .map(|index| format!("cut{index}.sql"))
        .collect();
    let mut exports: Vec<(&str, &str)> = names
        .iter()
        .zip(&sql)
        .map(|(name, sql)| (name.as_str(), sql.as_str()))
        .collect();
    exports.extend([("late.sql", late), ("some.sql", &some), ("many.sql", &many)]);
    let rowlink = serve(&url, &exports);
    let is_complete = |export: &str| {
        let link = rowlink.link(json!({"export": export, "format": "csv"}));
        let mut answer = Vec::new();
        let read = begin_with(&link, CLOSE).read_to_end(&mut answer);
        read.is_ok() && is_whole(&answer)
    };
    for (name, sql) in names.iter().zip(&sql) {
        let export = name.strip_suffix(".sql").unwrap();
        let link = rowlink.link(json!({"export": export, "format": "csv"}));
        assert_eq!(Call::new("GET", link).send().status, 500, "{sql}");
    }
    assert!(!is_complete("late"));
    let some = rowlink.download(json!({"export": "some", "format": "csv"}));
    assert_eq!(some.rows().len(), 9_001);
    // Only the first 65,535 warnings are kept, so that one of the others may be about a cut value.
    assert!(!is_complete("many"));
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn an_exact_length_is_computed_from_one_snapshot() {
    let server = MariaDb::start();
    let url = server.database(
        "snapshot",
        "create table numbers (n int primary key); insert into numbers select seq from seq_1_to_100000",
    );
    let sql = "select n, repeat('x', 100) as word from numbers where :user = 'alice' order by n";
    let rowlink = serve(&url, &[("it.sql", sql)]);
    let link = rowlink.link(json!({"export": "it", "format": "ndjson", "length": "exact"}));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..20 {
                server.query(
                    "snapshot",
                    &format!("insert into numbers values ({})", 200_000 + n),
                );
            }
        });
        let mut stream = begin_with(&link, CLOSE);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = String::from_utf8_lossy(&answer[..400]).to_lowercase();
        assert!(head.contains("content-length: "), "{head}");
        let start = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        assert_eq!(answer.len() - start, length);
        writer.join().unwrap();
    });
}

#[test]
#[ignore = "needs MariaDB and OpenSSL: make test"]
fn tls_follows_ssl_mode_and_checks_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    tls::create_certificates(folder.path());
    let server = MariaDb::start_with_tls(folder.path());
    let sql = "select variable_value <> '' as encrypted from information_schema.session_status \
               where variable_name = 'ssl_cipher' and :user = 'alice'";
    let base = server.database("tls", "create table t (n int)");
    let with = |mode: String| base.replace("ssl-mode=disabled", &mode);
    let by = |root: &str| {
        let path = folder.path().join(root);
        with(format!(
            "ssl-mode=verify_identity&ssl-ca={}",
            path.display()
        ))
    };
    let named = |url: String| url.replace("127.0.0.1", "localhost");
    for (url, is_encrypted) in [
        (base.clone(), "0"),
        (with("ssl-mode=preferred".into()), "1"),
        (with("ssl-mode=required".into()), "1"),
        (named(by("ca.pem")), "1"),
    ] {
        let rowlink = serve(&url, &[("it.sql", sql)]);
        let file = rowlink
            .download(json!({"export": "it", "format": "csv"}))
            .text();
        assert_eq!(file, format!("encrypted\r\n{is_encrypted}\r\n"), "{url}");
    }
    // Signed by another root, or for another host.
    for url in [named(by("other.pem")), by("ca.pem")] {
        let found = errors(&url, sql);
        assert!(found[0].contains("certificate"), "{found:?}");
    }
    // A server without TLS.
    let plain = MariaDb::shared().database("mysql_no_tls", "create table t (n int)");
    let preferred = plain.replace("ssl-mode=disabled", "ssl-mode=preferred");
    let rowlink = serve(&preferred, &[("it.sql", sql)]);
    let file = rowlink
        .download(json!({"export": "it", "format": "csv"}))
        .text();
    assert_eq!(file, "encrypted\r\n0\r\n");
    let found = errors(
        &plain.replace("ssl-mode=disabled", "ssl-mode=required"),
        sql,
    );
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_unix_socket_works() {
    let server = MariaDb::shared();
    server.database("mysql_socket", "create table t (n int)");
    let url = format!(
        "mysql://rowlink:p%3Ass@localhost/mysql_socket?socket={}",
        server.socket()
    );
    let rowlink = serve(&url, &[("it.sql", "select 1 as one where :user = 'alice'")]);
    assert_eq!(
        rowlink
            .download(json!({"export": "it", "format": "csv"}))
            .text(),
        "one\r\n1\r\n"
    );
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_pooled_connection_keeps_no_state_of_a_query() {
    let server = MariaDb::start();
    let url = server.database("state", "create table nothing (n int)");
    let counts = "select @n := coalesce(@n, 0) + 1 as n, get_lock('x', 0) as is_mine from seq_1_to_3 where :user = 'alice'";
    let mut deployment = Deployment::over(url, vec![("it.sql", counts)]);
    deployment.connections = 1;
    let rowlink = deployment.start();
    for _ in 0..50 {
        let file = rowlink.download(json!({"export": "it", "format": "csv"}));
        assert_eq!(file.text(), "n,is_mine\r\n1.0,1\r\n2.0,1\r\n3.0,1\r\n");
    }
    let statements = server.query("", "show global status like 'Prepared_stmt_count'");
    assert_eq!(statements, "Variable_name\tValue\nPrepared_stmt_count\t0\n");
    let aborted = server.query("", "show global status like 'Aborted_clients'");
    assert_eq!(aborted, "Variable_name\tValue\nAborted_clients\t0\n");
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_value_that_a_column_cannot_hold_matches_no_row_or_is_refused() {
    let url = MariaDb::shared().database(
        "narrow_charsets",
        "create table words (id int, latin varchar(9) character set latin1, three varchar(9) character set utf8mb3,
                             ascii varchar(9) character set ascii);
         insert into words values (1, 'ä', 'ä', 'a'), (2, '?', '?', '?')",
    );
    let filter = "/*---\n[filters.word]\ntype = 'text'\n[filters.words]\ntype = 'text'\nlist = true\n---*/\n";
    for column in ["latin", "three", "ascii"] {
        for condition in [
            format!(
                "(:word is null or {column} = :word) and (:words is null or {column} in (:words))"
            ),
            format!(
                "(:word is null or {column} like concat(:word, '%')) and (:words is null or {column} in (:words))"
            ),
        ] {
            let sql = format!("{filter}select id from words where {condition} and :user <> ''");
            let server = serve(&url, &[("it.sql", &sql)]);
            for filters in [
                json!({"word": "😀"}),
                json!({"word": "日"}),
                json!({"words": ["😀", "日"]}),
            ] {
                let request = json!({"export": "it", "format": "csv", "filters": filters});
                let answer = Call::new("GET", server.link(request)).send();
                match answer.status {
                    200 => assert_eq!(answer.text(), "id\r\n", "{sql} {filters}"),
                    422 => assert!(
                        answer.fields()[0].starts_with("filters"),
                        "{}",
                        answer.text()
                    ),
                    _ => panic!("{sql} {filters}: {}", answer.text()),
                }
            }
        }
    }
}
