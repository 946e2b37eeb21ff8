//! Engines that come from other Debian releases: `make test-engines`.

use crate::harness::mysql::MySql;
use crate::other_users::{mysql_tables, tells_users_apart, tells_users_apart_in_subqueries};

#[test]
#[ignore = "needs MySQL: make test-engines"]
fn mysql_tells_users_apart() {
    let mysql = MySql::start();
    let url = mysql.database("users", &mysql_tables());
    tells_users_apart(&url);
    tells_users_apart_in_subqueries(&url);
}
