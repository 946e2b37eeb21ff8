//! Two different user ids never get the same rows, however the database compares them.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{Call, Deployment, TestServer, token_for};

/// The users that have rows, as texts.
const OWNERS: [&str; 5] = ["0", "42", "-7", "alice", "Zoë"];

/// Users that have none, but are the same as one of those to some comparison of some database.
const OTHERS: [&str; 22] = [
    "42abc",
    "042",
    "42.0",
    "+42",
    " 42",
    "42 ",
    "4.2e1",
    "42e0",
    "0x2a",
    "abc",
    "00",
    "-0",
    "0.0",
    "-07",
    "ALICE",
    "Alice",
    "alice ",
    " alice",
    "àlice",
    "zoë",
    "ZOE",
    "Zoe\u{308}",
];

/// Checks exports that compare the user with a number in a subquery.
pub(crate) fn tells_users_apart_in_subqueries(url: &str) {
    let within =
        "select owner from numbers where :user in (select owner from numbers) and owner = :user";
    let correlated = "select owner from numbers \
                      where :user in (select other.owner from numbers other where other.owner = numbers.owner)";
    let exports = vec![("within.sql", within), ("correlated.sql", correlated)];
    let server = Deployment::over(url.to_owned(), exports).start();
    for export in ["within", "correlated"] {
        check(&server, export, &numbers());
    }
}

/// Checks an export that returns the column `owner` of the user's rows. A user gets the own rows or is refused with
/// the name of the field.
fn check(server: &TestServer, export: &str, owners: &[&str]) {
    let answer_to = |user: &str| {
        let token = token_for(&json!({"sub": user, "exp": server.now() + 3600}));
        // `-7` may look like a formula.
        let request = json!({"export": export, "format": "csv", "csv": {"formula_guard": false}});
        let issued = server.issue_with(&token, request);
        assert_eq!(issued.status, 200, "{user:?}: {}", issued.text());
        let url = issued.json()["url"].as_str().unwrap().to_owned();
        Call::new("GET", url).send()
    };
    for owner in owners {
        let rows = answer_to(owner).text();
        assert_eq!(rows, format!("owner\r\n{owner}\r\n"), "{export}: {owner}");
    }
    for other in OTHERS {
        let answer = answer_to(other);
        match answer.status {
            200 => assert_eq!(answer.text(), "owner\r\n", "{export}: {other}"),
            _ => {
                assert_eq!(answer.problem(), (422, "invalid-values".into()), "{other}");
                assert_eq!(answer.fields(), ["user"], "{export}: {other}");
            }
        }
    }
}

fn numbers() -> Vec<&'static str> {
    let numbers = OWNERS
        .into_iter()
        .filter(|owner| owner.parse::<i64>().is_ok());
    numbers.collect()
}

/// Returns statements that insert every owner into `texts`, and every number into `numbers`.
fn rows() -> String {
    let texts = OWNERS.map(|owner| format!("insert into texts (owner) values ('{owner}');"));
    let numbers = numbers().into_iter();
    let numbers = numbers.map(|owner| format!("insert into numbers (owner) values ({owner});"));
    texts.into_iter().chain(numbers).collect()
}

const BY_TEXT: (&str, &str) = ("texts.sql", "select owner from texts where owner = :user");
const BY_NUMBER: (&str, &str) = (
    "numbers.sql",
    "select owner from numbers where owner = :user",
);
const IN_A_LIST: (&str, &str) = (
    "listed.sql",
    "select owner from numbers where owner in (:user, :user)",
);
const OR_NULL: (&str, &str) = (
    "or_null.sql",
    "select owner from numbers where :user = owner or :user is null",
);

#[test]
fn sqlite_tells_users_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let tables =
        "create table texts (owner text collate nocase); create table numbers (owner integer);
                  create table mixed (owner); create table reals (owner real);";
    let database = Connection::open(&path).unwrap();
    database
        .execute_batch(&(tables.to_owned() + &rows()))
        .unwrap();
    database
        .execute_batch("insert into mixed select owner from texts; insert into reals values (42)")
        .unwrap();
    let mixed = ("mixed.sql", "select owner from mixed where owner = :user");
    let reals = (
        "reals.sql",
        "select cast(owner as integer) as owner from reals where owner = :user",
    );
    let exports = vec![BY_TEXT, BY_NUMBER, IN_A_LIST, OR_NULL, mixed, reals];
    let server = TestServer::over(Path::new(&path), exports);
    check(&server, "texts", &OWNERS);
    check(&server, "mixed", &OWNERS);
    for export in ["numbers", "listed", "or_null"] {
        check(&server, export, &numbers());
    }
    check(&server, "reals", &["42"]);
    fs::remove_file(&path).unwrap();
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn postgresql_tells_users_apart() {
    let tables = "create table texts (owner text); create table numbers (owner bigint);
                  create table padded (owner char(10)); create table exact (owner numeric(10, 2));
                  create type name_of as enum ('0', '42', '-7', 'alice', 'Zoë'); create domain id as integer;
                  create table hosts (owner inet); create table ids (owner uuid);
                  insert into ids values ('0198c2f4-6f3a-7cc1-9b2e-0242ac120002');";
    let copies =
        "insert into padded select owner from texts; insert into exact select owner from numbers;";
    let url = Cluster::shared().database("users", &format!("{tables}{}{copies}", rows()));
    let exports = vec![
        BY_TEXT,
        BY_NUMBER,
        IN_A_LIST,
        OR_NULL,
        (
            "padded.sql",
            "select trim(owner) as owner from padded where owner = :user",
        ),
        (
            "exact.sql",
            "select owner::bigint from exact where owner = :user",
        ),
        (
            "enums.sql",
            "select owner from texts where owner::name_of = :user",
        ),
        (
            "domains.sql",
            "select owner from numbers where owner = :user::id",
        ),
        ("ids.sql", "select owner from ids where owner = :user"),
    ];
    let server = Deployment::over(url.clone(), exports).start();
    for export in ["texts", "padded", "enums"] {
        check(&server, export, &OWNERS);
    }
    for export in ["numbers", "listed", "or_null", "exact", "domains"] {
        check(&server, export, &numbers());
    }
    let id = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002";
    check(&server, "ids", &[id]);
    let upper = token_for(&json!({"sub": id.to_uppercase(), "exp": server.now() + 60}));
    let issued = server.issue_with(&upper, json!({"export": "ids", "format": "csv"}));
    let upper = issued.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(Call::new("GET", upper).send().fields(), ["user"]);

    let hosts = ("hosts.sql", "select owner from hosts where owner = :user");
    let errors = Deployment::over(url, vec![hosts]).errors();
    assert!(errors[0].contains("`column::text = :user`"), "{errors:?}");
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn mariadb_tells_users_apart() {
    tells_users_apart(&MariaDb::shared().database("users", &mysql_tables()));
}

/// Returns the tables of [`tells_users_apart`] with their rows.
pub(crate) fn mysql_tables() -> String {
    let tables = "create table texts (owner varchar(50)) character set utf8mb4;
                  create table numbers (owner bigint); create table exact (owner decimal(10, 2));
                  create table latin (owner varchar(50)) character set latin1;
                  create table floats (owner double);";
    let copies =
        "insert into exact select owner from numbers; insert into latin select owner from texts;
                  insert into floats select owner from numbers;";
    format!("{tables}{}{copies}", rows())
}

/// Checks a database of MariaDB or MySQL.
pub(crate) fn tells_users_apart(url: &str) {
    let exports = vec![
        BY_TEXT,
        BY_NUMBER,
        IN_A_LIST,
        OR_NULL,
        ("latin.sql", "select owner from latin where owner = :user"),
        (
            "exact.sql",
            "select cast(owner as signed) as owner from exact where owner = :user",
        ),
        (
            "floats.sql",
            "select cast(owner as signed) as owner from floats where owner = :user",
        ),
        (
            "sums.sql",
            "select owner from numbers where owner + 0 = :user",
        ),
        (
            "casts.sql",
            "select owner from numbers where owner = cast(:user as signed)",
        ),
        // The two comparisons of docs/mysql.md: by index, and exact.
        (
            "twice.sql",
            "select owner from texts where owner = :user collate utf8mb4_general_ci and owner = :user",
        ),
        (
            "joined.sql",
            "select owner from texts where exists (select 1 from numbers where numbers.owner = :user) and owner = :user",
        ),
    ];
    let server = Deployment::over(url.to_owned(), exports).start();
    for export in ["texts", "latin", "twice"] {
        check(&server, export, &OWNERS);
    }
    for export in [
        "numbers", "listed", "or_null", "exact", "floats", "sums", "casts", "joined",
    ] {
        check(&server, export, &numbers());
    }
    // Texts of filters and of claims, too.
    let by_filter = "/*---\n[filters.owner]\ntype = 'text'\n---*/\n\
                     select owner from numbers where owner = :owner and :user <> ''";
    let server = Deployment::over(url.to_owned(), vec![("it.sql", by_filter)]).start();
    let request = json!({"export": "it", "format": "csv", "filters": {"owner": "42abc"}});
    let answer = Call::new("GET", server.link(request)).send();
    assert_eq!(answer.problem(), (422, "invalid-values".into()));
    assert_eq!(answer.fields(), ["filters.owner"]);
}
