//! Exports of real flight records and the Big List of Naughty Strings.

use std::fs;
use std::path::Path;

use regex::Regex;
use rusqlite::Connection;
use rusqlite::types::{Type, Value as Sql};
use serde_json::json;

use crate::harness::postgres::Cluster;
use crate::harness::{
    API_KEY, Call, Deployment, TestServer, python, read_workbook, token_for, tool,
};

pub const FLIGHTS: &str = "/*---
[filters.carrier]
type = \"text\"
[filters.month]
type = \"integer\"
---*/
select year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay,
       carrier, flight, tailnum, origin, dest, air_time, distance, hour, minute, time_hour
from flights
where :user = 'alice'
  and (:carrier is null or carrier = :carrier)
  and (:month is null or month = :month)
order by rowid";

/// Loads flights.csv into SQLite. The file has NA for NULL.
pub fn load_flights(path: &std::path::Path) {
    let mut connection = Connection::open(path).unwrap();
    let mut reader = csv::Reader::from_path(tool("flights.csv")).unwrap();
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let transaction = connection.transaction().unwrap();
    transaction
        .execute_batch(&format!("create table flights ({})", names.join(", ")))
        .unwrap();
    let marks = vec!["?"; names.len()].join(", ");
    let mut insert = transaction
        .prepare(&format!("insert into flights values ({marks})"))
        .unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        let values = record.iter().map(|field| match field.parse::<i64>() {
            _ if field == "NA" => Sql::Null,
            Ok(number) => Sql::Integer(number),
            Err(_) => Sql::Text(field.to_owned()),
        });
        insert.execute(rusqlite::params_from_iter(values)).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}

#[test]
#[ignore = "needs flights.csv and Python packages: make test"]
fn other_readers_get_every_flight_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("flights.db");
    load_flights(&database);
    let server = TestServer::over(&database, vec![("flights.sql", FLIGHTS)]);
    for (filters, rows) in [
        (json!({"carrier": "UA"}), 58_665),
        (json!({"month": 2}), 24_951),
        (json!({"carrier": "AA", "month": 12}), 2_705),
        (json!({}), 336_776),
    ] {
        let file = folder.path().join("export.csv");
        let mut request = json!({"export": "flights", "format": "csv", "filters": filters});
        fs::write(&file, &server.download(request.clone()).body).unwrap();
        compare_flights(&file, &filters, rows);

        request["format"] = json!("xlsx");
        let workbook = folder.path().join("export.xlsx");
        fs::write(&workbook, &server.download(request).body).unwrap();
        python(
            "read_workbook.py",
            &["csv".as_ref(), workbook.as_ref(), file.as_ref()],
        );
        compare_flights(&file, &filters, rows);
    }
}

/// Compares a CSV file with the rows of flights.csv that match the filters.
pub fn compare_flights(file: &Path, filters: &serde_json::Value, rows: usize) {
    let (flights, filters) = (tool("flights.csv"), filters.to_string());
    let arguments = [flights.as_ref(), file.as_ref(), filters.as_ref()];
    let count: usize = python("compare_flights.py", &arguments)
        .trim()
        .parse()
        .unwrap();
    assert_eq!(count, rows, "{filters}");
}

/// The same table in PostgreSQL, with its types.
const FLIGHTS_TABLE: &str = "create table flights (
    year int, month int, day int, dep_time int, sched_dep_time int, dep_delay float8, arr_time int,
    sched_arr_time int, arr_delay float8, carrier text, flight int, tailnum text, origin text,
    dest text, air_time float8, distance float8, hour int, minute int, time_hour timestamptz,
    rowid bigint generated always as identity)";

#[test]
#[ignore = "needs flights.csv and PostgreSQL: make test"]
fn flights_from_postgresql_and_sqlite_give_identical_files() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("flights.db");
    load_flights(&database);
    let cluster = Cluster::shared();
    let url = cluster.database("flights", FLIGHTS_TABLE);
    let columns = fs::read_to_string(tool("flights.csv")).unwrap();
    let columns = columns.lines().next().unwrap();
    let path = tool("flights.csv");
    let copy = format!(
        "\\copy flights ({columns}) from '{}' with (format csv, header, null 'NA')",
        path.display()
    );
    cluster.psql("flights", &copy);

    // In SQLite these are integers, as in the file.
    let whole = ["dep_delay", "arr_delay", "air_time", "distance"];
    let in_postgres = whole.iter().fold(FLIGHTS.to_owned(), |sql, column| {
        sql.replacen(&format!("{column},"), &format!("{column}::int,"), 1)
    });
    let sqlite = TestServer::over(&database, vec![("flights.sql", FLIGHTS)]);
    let postgres = Deployment::over(url, vec![("flights.sql", &in_postgres)]).start();
    for filters in [json!({"carrier": "UA"}), json!({"month": 2}), json!({})] {
        let request = json!({"export": "flights", "format": "csv", "filters": filters});
        let [from_sqlite, from_postgres] =
            [&sqlite, &postgres].map(|it| it.download(request.clone()).body);
        assert!(from_sqlite == from_postgres, "{filters}: the files differ");
    }
}

/// Returns the Big List of Naughty Strings.
pub fn naughty_strings() -> Vec<String> {
    serde_json::from_str(&fs::read_to_string(tool("blns.json")).unwrap()).unwrap()
}

/// Starts a server whose rows are the naughty strings, stored in this folder.
pub fn naughty_server(folder: &Path) -> TestServer {
    let database = folder.join("naughty.db");
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch("create table naughty (text)")
        .unwrap();
    for string in naughty_strings() {
        connection
            .execute("insert into naughty values (?)", [string])
            .unwrap();
    }
    let sql = "select text, :user as user from naughty order by rowid";
    TestServer::over(&database, vec![("naughty.sql", sql)])
}

#[test]
#[ignore = "needs blns.json: make test"]
fn naughty_strings_round_trip_as_csv_cells() {
    let folder = tempfile::tempdir().unwrap();
    let strings = naughty_strings();
    let server = naughty_server(folder.path());
    let download = |guard: bool| {
        let request =
            json!({"export": "naughty", "format": "csv", "csv": {"formula_guard": guard}});
        server
            .download(request)
            .rows()
            .into_iter()
            .skip(1)
            .map(|row| row[0].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(download(false), strings);
    let start = Regex::new("(^|[;|\t\r\n])([\0\u{feff}\"]*[-=+@＝＋－＠])|^[\t\r\n]").unwrap();
    let guarded = strings.iter().map(|text| start.replace_all(text, "$1'$2"));
    assert_eq!(download(true), guarded.collect::<Vec<_>>());
}

#[test]
#[ignore = "needs blns.json and Python packages: make test"]
fn naughty_strings_round_trip_as_workbook_cells() {
    let folder = tempfile::tempdir().unwrap();
    let server = naughty_server(folder.path());
    let workbook = read_workbook(
        &server
            .download(json!({"export": "naughty", "format": "xlsx"}))
            .body,
    );
    // openpyxl does not decode escaped control characters such as `_x0007_`.
    let strings = naughty_strings();
    let with_controls = strings.iter().filter(|text| {
        let mut characters = text.chars();
        characters.any(|it| it < ' ' && !matches!(it, '\t' | '\n'))
    });
    for (reader, rows, exceptions) in [
        (
            "openpyxl",
            &workbook["openpyxl"]["sheets"][0]["rows"],
            with_controls.collect(),
        ),
        ("calamine", &workbook["calamine"]["Naughty"], vec![]),
    ] {
        let rows = rows.as_array().unwrap();
        let texts = rows.iter().skip(1).map(|row| row[0].as_str().unwrap_or(""));
        assert_eq!(texts.len(), strings.len());
        let pairs = texts.zip(&strings);
        let different = pairs.filter(|(found, text)| found != text);
        let different: Vec<&String> = different.map(|(_, text)| text).collect();
        assert_eq!(different, exceptions, "{reader}");
    }
}

#[test]
#[ignore = "needs blns.json: make test"]
fn naughty_strings_as_filters_users_and_file_names_are_only_values() {
    let server = TestServer::start();
    let (mut filters, mut users, mut names) = (0, 0, 0);
    let strings = naughty_strings();
    for string in strings.clone() {
        let request = json!({"export": "echo", "format": "csv", "filters": {"text": string}});
        let row = server.download(request).rows().remove(1);
        assert_eq!(row[..2], ["alice".to_owned(), string.clone()]);
        assert_eq!(row[2], string.len().to_string());
        filters += 1;

        let request = json!({"export": "orders", "format": "csv", "user": string, "filters": {"from": "2026-01-01"}});
        let answer = server.issue_with(API_KEY, request);
        if answer.status == 200 {
            let file = Call::new("GET", answer.json()["url"].as_str().unwrap()).send();
            assert_eq!(file.rows().len(), 1, "{string:?} got rows of another user");
            users += 1;
        } else {
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["user".to_owned()]),
                "{string:?}"
            );
        }
        let token = token_for(&json!({"sub": string, "exp": server.now() + 60}));
        let answer = server.issue_with(&token, json!({"export": "echo", "format": "csv"}));
        assert!(
            [200, 401].contains(&answer.status),
            "{string:?}: {}",
            answer.status
        );

        let answer = server.issue(json!({"export": "echo", "format": "csv", "filename": string}));
        if answer.status == 200 {
            let issued = answer.json();
            let file = Call::new("GET", issued["url"].as_str().unwrap()).send();
            let disposition = file.header("content-disposition").to_owned();
            let encoded = disposition.split("filename*=UTF-8''").nth(1).unwrap();
            let pairs: Vec<(String, String)> =
                serde_urlencoded::from_str(&format!("f={encoded}")).unwrap();
            assert_eq!(pairs[0].1, issued["filename"].as_str().unwrap());
            assert!(pairs[0].1.starts_with(&string));
            names += 1;
        } else {
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["filename".to_owned()]),
                "{string:?}"
            );
        }
    }
    println!("{filters} filter values, {users} user ids and {names} file names round trip");
    assert!(filters == strings.len() && users > 400 && names > 200);
}

#[test]
#[ignore = "needs flights.csv: make test"]
fn loaded_flights_have_nulls_numbers_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("flights.db");
    load_flights(&database);
    let connection = Connection::open(&database).unwrap();
    let types = connection.query_row(
        "select dep_time, carrier, flight from flights where dep_time is null limit 1",
        [],
        |row| {
            Ok([
                row.get_ref(0)?.data_type(),
                row.get_ref(1)?.data_type(),
                row.get_ref(2)?.data_type(),
            ])
        },
    );
    assert_eq!(types.unwrap(), [Type::Null, Type::Text, Type::Integer]);
}
