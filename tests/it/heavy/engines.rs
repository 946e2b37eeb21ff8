//! Engines that come from other Debian releases: `make test-engines`.

use serde_json::json;

use crate::harness::mysql::MySql;
use crate::harness::{Call, Deployment};
use crate::other_users::{mysql_tables, tells_users_apart, tells_users_apart_in_subqueries};

#[test]
#[ignore = "needs MySQL: make test-engines"]
fn mysql_tells_users_apart() {
    let mysql = MySql::start();
    let url = mysql.database("users", &mysql_tables());
    tells_users_apart(&url);
    tells_users_apart_in_subqueries(&url);
}

#[test]
#[ignore = "needs MySQL: make test-engines"]
fn mysql_tells_that_it_has_truncated_a_value_and_aborts_the_download() {
    let mysql = MySql::start();
    // New connections have this limit.
    let url = mysql.database(
        "truncated",
        "create table nothing (n int); set global max_allowed_packet = 1048576",
    );
    let seq = "with recursive seq (n) as (select 1 union all select n + 1 from seq where n < 900)";
    let value = |value: &str| format!("{seq} select {value} as v from seq where :user = 'alice'");
    let long = value("length(group_concat(repeat('x', 2000)))");
    let missing = value("count(concat(repeat('x', 600000), repeat('y', 600000)))");
    let some = value("sum('abc' + n)");
    let server = Deployment::over(
        url,
        vec![
            ("long.sql", &long),
            ("missing.sql", &missing),
            ("some.sql", &some),
        ],
    )
    .start();
    // MySQL 9 does not limit `group_concat` by the packet, as MariaDB does.
    for (export, status) in [("long", 200), ("missing", 500), ("some", 200)] {
        let link = server.link(json!({"export": export, "format": "csv"}));
        let answer = Call::new("GET", link).send();
        assert_eq!(answer.status, status, "{export}: {}", answer.text());
        if export == "long" {
            assert_eq!(answer.text(), "v\r\n1800899\r\n");
        }
    }
}
