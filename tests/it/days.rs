//! Lists and days in the SQL of each database, as docs/exports.md writes them.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::database_tests;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::{command, configured_folder};
use crate::harness::{Call, Deployment, TestServer, sqlite_url};

/// A database with a table `events (id, at, kind, size)`.
struct Subject {
    name: &'static str,
    url: String,
    /// The comparisons of docs/exports.md: the first day, the last day, an instant.
    comparisons: [&'static str; 3],
    _folder: Option<TempDir>,
}

const ROWS: [(&str, &str); 6] = [
    ("2026-01-04 23:59:59", "paid"),
    ("2026-01-05 00:00:00", "it's, \"x\""),
    ("2026-01-05 00:51:00", "paid"),
    ("2026-01-06 12:00:00", "Zoë"),
    ("2026-01-06 23:59:59", "open"),
    ("2026-01-07 00:00:00", "paid"),
];

fn rows(suffix: &str) -> String {
    let row = |(index, (at, kind)): (usize, &(&str, &str))| {
        let (id, kind) = (index + 1, kind.replace('\'', "''"));
        format!("insert into events values ({id}, '{at}{suffix}', '{kind}', {id}0.5);")
    };
    ROWS.iter().enumerate().map(row).collect()
}

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.db");
    let table = "create table events (id integer, at text, kind text, size real);";
    let made = Connection::open(&file)
        .unwrap()
        .execute_batch(&(table.to_owned() + &rows("")));
    made.unwrap();
    Subject {
        name: "SQLite",
        url: sqlite_url(&file),
        comparisons: [
            "at >= :from",
            "at < date(:to, '+1 day')",
            "datetime(at) >= datetime(:since)",
        ],
        _folder: Some(folder),
    }
}

fn postgres(database: &str) -> Subject {
    let table = "create type kinds as enum ('paid', 'it''s, \"x\"', 'Zoë', 'open');
                 create table events (id bigint, at timestamptz, kind kinds, size numeric(10, 1));";
    Subject {
        name: "PostgreSQL",
        url: Cluster::shared().database(database, &(table.to_owned() + &rows("Z"))),
        comparisons: ["at >= :from", "at < :to::date + 1", "at >= :since"],
        _folder: None,
    }
}

fn mariadb(database: &str) -> Subject {
    let table = "create table events (id bigint, at datetime, kind varchar(20), size decimal(10, 1)) character set utf8mb4;";
    Subject {
        name: "MariaDB",
        url: MariaDb::shared().database(database, &(table.to_owned() + &rows(""))),
        comparisons: [
            "at >= :from",
            "at < date_add(:to, interval 1 day)",
            "at >= :since",
        ],
        _folder: None,
    }
}

fn servers(database: &str) -> [Subject; 2] {
    [postgres(database), mariadb(database)]
}

impl Subject {
    fn serve(&self, settings: &str, condition: &str) -> TestServer {
        let sql = format!(
            "/*---\n{settings}\n---*/\nselect id from events where :user = 'alice' and {condition} order by id"
        );
        Deployment::over(self.url.clone(), vec![("it.sql", &sql)]).start()
    }
}

fn ids(server: &TestServer, filters: Value) -> String {
    let request =
        json!({"export": "it", "format": "csv", "csv": {"header": false}, "filters": filters});
    server.download(request).text().replace("\r\n", " ")
}

fn days_and_instants_are_compared_as_documented(subject: Subject) {
    let document = fs::read_to_string("docs/exports.md").unwrap();
    let [from, to, since] = subject.comparisons;
    for comparison in subject.comparisons {
        assert!(
            document.contains(&format!("| `{comparison}` ")),
            "{comparison}"
        );
    }
    let settings = "[filters.from]\ntype = 'date'\n[filters.to]\ntype = 'date'\n[filters.since]\ntype = 'timestamp'";
    let condition = format!(
        "(:from is null or {from}) and (:to is null or {to}) and (:since is null or {since})"
    );
    let server = subject.serve(settings, &condition);
    for (filters, expected) in [
        (
            json!({"from": "2026-01-05", "to": "2026-01-06"}),
            "2 3 4 5 ",
        ),
        (json!({"from": "2026-01-05", "to": "2026-01-05"}), "2 3 "),
        (json!({"from": "2026-01-07"}), "6 "),
        (json!({"since": "2026-01-05T00:00:00Z"}), "2 3 4 5 6 "),
        (json!({"since": "2026-01-05T01:51:00+01:00"}), "3 4 5 6 "),
    ] {
        assert_eq!(
            ids(&server, filters.clone()),
            expected,
            "{}: {filters}",
            subject.name
        );
    }
}

fn a_day_can_be_bound_as_instants_of_the_file_s_time_zone(subject: Subject) {
    let settings = "timezone = 'Europe/Berlin'\n[filters.from]\ntype = 'date'\ninstant = 'start'\n\
                    [filters.to]\ntype = 'date'\ninstant = 'end'";
    let condition = match subject.name {
        "SQLite" => "datetime(at) >= datetime(:from) and datetime(at) < datetime(:to)",
        _ => "at >= :from and at < :to",
    };
    let server = subject.serve(settings, condition);
    for (zone, expected) in [
        // 23:59:59Z is 00:59:59 of the next day there.
        (Value::Null, "1 2 3 4 "),
        (json!("UTC"), "2 3 4 5 "),
        (json!("America/New_York"), "4 5 6 "),
    ] {
        let filters = json!({"from": "2026-01-05", "to": "2026-01-06"});
        let mut request =
            json!({"export": "it", "format": "csv", "csv": {"header": false}, "filters": filters});
        request["timezone"] = zone.clone();
        let found = server.download(request).text().replace("\r\n", " ");
        assert_eq!(found, expected, "{} {zone}", subject.name);
    }
}

fn a_list_in_parentheses_is_its_values(subject: Subject) {
    let settings = "[filters.kind]\ntype = 'text'\nlist = true\n[filters.id]\ntype = 'integer'\nlist = true\n\
                    [filters.size]\ntype = 'decimal'\nlist = true";
    let condition = "(:kind is null or kind in (:kind)) and (:id is null or id in (:id))\n and (:size is null or size IN ( :size ))";
    let server = subject.serve(settings, condition);
    for (filters, expected) in [
        (json!({}), "1 2 3 4 5 6 "),
        (json!({"kind": "paid"}), "1 3 6 "),
        (json!({"kind": ["it's, \"x\"", "Zoë"]}), "2 4 "),
        (json!({"id": [6, 1, 2], "kind": ["paid", "open"]}), "1 6 "),
        (json!({"size": ["20.5", "40.50"]}), "2 4 "),
    ] {
        assert_eq!(
            ids(&server, filters.clone()),
            expected,
            "{}: {filters}",
            subject.name
        );
    }
    let server = subject.serve(
        settings,
        "not (kind in (:kind)) and id not in (:id) and (:size is null)",
    );
    let filters = json!({"kind": ["paid"], "id": [2, 5]});
    assert_eq!(ids(&server, filters), "4 ", "{}", subject.name);
}

fn a_list_that_is_compared_with_one_value_prevents_the_start(subject: Subject) {
    let settings =
        "[filters.kind]\ntype = 'text'\nlist = true\n[filters.id]\ntype = 'integer'\nlist = true";
    for (condition, named) in [
        ("kind = :kind and id in (:id)", "`:kind` is a list"),
        ("kind in (:kind) and id in (:id, 7)", "`:id` is a list"),
        ("kind in (:kind) and id > :id", "`:id` is a list"),
    ] {
        let sql = format!(
            "/*---\n{settings}\n---*/\nselect id from events\nwhere :user = 'alice'\n and {condition}"
        );
        let errors = Deployment::over(subject.url.clone(), vec![("it.sql", &sql)]).errors();
        let error = errors.join("\n");
        assert!(
            error.starts_with("it.sql:11: ") && error.contains(named),
            "{}: {error}",
            subject.name
        );
        assert!(error.contains("write `in (:"), "{}: {error}", subject.name);
    }
}

database_tests! {
    days_and_instants_are_compared_as_documented in "days_documented";
    a_day_can_be_bound_as_instants_of_the_file_s_time_zone in "days_instants";
    a_list_in_parentheses_is_its_values in "days_list";
    a_list_that_is_compared_with_one_value_prevents_the_start in "days_wrong_list";
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_text_in_a_list_that_mariadb_would_read_as_another_number_is_refused() {
    let settings = "[filters.id]\ntype = 'text'\nlist = true";
    let server = mariadb("days_numbers").serve(settings, "id in (:id)");
    assert_eq!(ids(&server, json!({"id": ["1", "4"]})), "1 4 ");
    let filters = json!({"id": ["1", "4abc"]});
    let url = server.link(json!({"export": "it", "format": "csv", "filters": filters}));
    let answer = Call::new("GET", url).send();
    assert_eq!(answer.problem(), (422, "invalid-values".into()));
    assert_eq!(answer.fields(), ["filters.id"]);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn no_setting_of_postgres_changes_rows_or_texts() {
    let sql = "select id, at::date as day, array[0.1::float8 + 0.2] as floats, array['\\x00ff'::bytea] as bytes,
               array[interval '1 day 2 hours'] as spans, array[date '2026-01-31'] as dates,
               daterange('2026-01-01', '2026-02-01') as days, at::text as instant
               from events where :user = 'alice' and at >= :from order by id limit 1";
    let sql = format!("/*---\n[filters.from]\ntype = 'date'\n---*/\n{sql}");
    let serve = |database: &str, settings: &str| {
        let subject = postgres(database);
        Cluster::shared().psql(database, &settings.replace("DB", database));
        Deployment::over(subject.url, vec![("it.sql", &sql)]).start()
    };
    let usual = serve("days_usual", "select 1");
    let other = serve(
        "days_other",
        "alter database DB set timezone = 'Asia/Tokyo'; alter database DB set datestyle = 'German, DMY';
         alter database DB set intervalstyle = 'iso_8601'; alter database DB set extra_float_digits = 0;
         alter database DB set bytea_output = 'escape'",
    );
    let request = json!({"export": "it", "format": "csv", "filters": {"from": "2026-01-05"}});
    let expected = usual.download(request.clone()).text();
    assert!(expected.contains("\r\n2,2026-01-05,"), "{expected}");
    assert!(expected.contains("0.30000000000000004"), "{expected}");
    assert_eq!(other.download(request).text(), expected);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_day_of_postgres_is_one_of_the_links_time_zone() {
    let settings =
        "timezone = 'Europe/Berlin'\n[filters.from]\ntype = 'date'\n[filters.to]\ntype = 'date'";
    let server = postgres("days_zone").serve(settings, "at >= :from and at < :to::date + 1");
    let of = |zone: Value| {
        let filters = json!({"from": "2026-01-05", "to": "2026-01-06"});
        let mut request =
            json!({"export": "it", "format": "csv", "csv": {"header": false}, "filters": filters});
        request["timezone"] = zone;
        server.download(request).text().replace("\r\n", " ")
    };
    // 23:59:59Z is 00:59:59 of the next day there.
    assert_eq!(of(Value::Null), "1 2 3 4 ");
    assert_eq!(of(json!("UTC")), "2 3 4 5 ");
    assert_eq!(of(json!("America/New_York")), "4 5 6 ");
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn check_warns_of_a_day_of_utc_in_a_file_with_another_time_zone() {
    let url =
        MariaDb::shared().database("days_warning", "create table events (id int, at timestamp)");
    let check = |settings: &str| {
        let sql = format!(
            "/*---\n{settings}\n---*/\nselect id, at from events where at >= :from and :user = 'alice'"
        );
        let folder = configured_folder(&[("it.sql", &sql)]);
        let output = command(folder.path())
            .arg("check")
            .env("ROWLINK_DATABASE_URL", &url)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let (zone, from) = (
        "timezone = 'Europe/Berlin'\n",
        "[filters.from]\ntype = 'date'",
    );
    let warning = check(&format!("{zone}{from}"));
    let expected = "it.sql: filter `from` is a day of UTC, but the file shows Europe/Berlin";
    assert!(warning.contains(expected), "{warning}");
    assert_eq!(check(from), "");
    assert_eq!(check(&format!("{zone}{from}\ninstant = 'start'")), "");
}
