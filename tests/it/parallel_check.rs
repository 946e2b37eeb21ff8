//! Why exports with `parallel` are read over one connection.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::postgres::Cluster;
use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{Call, Deployment, wait_for};
use crate::parallel::{LIMIT, RANGES, ROWS, begin_in_ranges, column, content, orders};

const REFUSED_SCHEMA: &str = "
    create table t (id int primary key, other int not null, maybe int unique, name text not null);
    create table u (t int not null, n int not null, primary key (t, n));
    create view v as select * from t;
    create view live as select * from u where n < extract(epoch from now());
    create view lucky as select * from u where n > random() - 1;
    create table parent (id int primary key); create table child () inherits (parent);
    create table fresh (id int primary key);
    create table lone (t int primary key);
    create function named(name text) returns text language plpgsql stable as
        $$ begin return current_setting('app.' || name, true); end $$;
    create function this_day() returns date language sql stable as $$ select 'today'::date $$;
    insert into t select n, n, n, 'name' from generate_series(1, 1000) n;
    insert into u select n, m from generate_series(1, 1000) n, generate_series(1, 3) m;
    insert into parent select generate_series(1, 1000);
    insert into lone select generate_series(1, 1000);
    analyze t, u, parent, lone";

/// Statements, and the reason why each is read over one connection; an empty one if the server decides which.
const REFUSED: &[(&str, &str)] = &[
    (
        "select name as id from t",
        "`id` is not of the type smallint",
    ),
    ("select id + 0 as id from t", "`id` is an expression"),
    (
        "select other as id from t",
        "no unique index is on `id` only",
    ),
    ("select maybe as id from t", "`id` may be NULL"),
    ("select id from v", "`id` is not the column of a table"),
    ("select id from parent", "other tables inherit"),
    ("select id from fresh", "no statistics of `id`"),
    (
        "select id from t order by name",
        "its order is not exactly `id`",
    ),
    (
        "select id from t order by id desc",
        "its order is not exactly",
    ),
    ("select id from t limit 5", "it has a `limit`"),
    (
        "select id from (select id from t limit 5) x",
        "the step `Limit`",
    ),
    ("select id from t group by id", "its plan has the step"),
    ("select distinct id from t", "its plan has the step"),
    (
        "select id, row_number() over () as n from t",
        "the step `WindowAgg`",
    ),
    (
        "select id from t where random() < 2",
        "the function `random` is volatile",
    ),
    (
        "select id from t where now() > '2000-01-01'",
        "`now` differs between",
    ),
    (
        "select t.id from t join live on live.t = t.id and live.n = 1",
        "`now` in a view, policy or function differs between",
    ),
    (
        "select t.id from t join lucky on lucky.t = t.id and lucky.n = 1",
        "the function `random` is volatile",
    ),
    (
        "select id from t where 'today 06:00'::timestamp > '2000-01-01'",
        "`today` differs between",
    ),
    (
        "select id from t where this_day() > '2000-01-01'",
        "`today` in the function `this_day` differs between",
    ),
    (
        "select id from t where name <> current_setting('app.' || name, true)",
        "a setting whose name is not a text",
    ),
    (
        "select id from t where name <> named('tenant')",
        "a setting whose name is not a text",
    ),
    (
        "select t.id, (select name from t x where false) as q from lone left join t on t.id = lone.t",
        "an outer join may return rows without it",
    ),
    ("select t.id from t join u on u.t = t.id", ""),
    (
        "select t.id from u left join t on t.id = u.t and t.id < 5",
        "",
    ),
    ("select id from t union all select id from t", ""),
];

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn check_says_why_an_export_is_read_over_one_connection() {
    let url = Cluster::shared().database("ranges_refused", REFUSED_SCHEMA);
    let settings = "/*---\nparallel = 'id'\nunscoped = true\n---*/\n";
    let accepted = "select t.id, (select count(*) from u where u.t = t.id) as n from t \
                    left join t x on x.id = t.other \
                    where t.name <> coalesce(current_setting('app.tenant', true), '-') order by id";
    let statements = REFUSED.iter().map(|(sql, _)| *sql).chain([accepted]);
    let exports: Vec<(String, String)> = statements
        .enumerate()
        .map(|(index, sql)| (format!("e{index}.sql"), format!("{settings}{sql}")))
        .collect();
    let exports: Vec<(&str, &str)> = exports
        .iter()
        .map(|(file, text)| (file.as_str(), text.as_str()))
        .collect();
    let folder = configured_folder(&exports);
    let check = |connections: &str| {
        let output = command(folder.path())
            .arg("check")
            .env("ROWLINK_DATABASE_URL", &url)
            .env("ROWLINK_PARALLEL_CONNECTIONS", connections)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let warnings = check("2");
    for (index, (sql, reason)) in REFUSED.iter().enumerate() {
        let start = format!("rowlink: warning: e{index}.sql:2: `parallel`: ");
        let line = warnings.lines().find_map(|line| line.strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("{sql}: {warnings}"));
        assert!(line.contains(reason), "{sql}: {line}");
        assert!(line.ends_with("; it is read over one connection"), "{line}");
    }
    assert_eq!(warnings.lines().count(), REFUSED.len(), "{warnings}");
    assert_eq!(check("1"), "");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_column_that_the_query_lacks_is_an_error_at_the_line_of_the_setting() {
    let url = Cluster::shared().database("ranges_unknown", "create table t (id int)");
    let sql = "/*---\nunscoped = true\nparallel = 'number'\n---*/\nselect id from t";
    let errors = Deployment::over(url, vec![("it.sql", sql)]).errors();
    let expected = "it.sql:3: `parallel`: the query has no column `number`; correct the name or add it to the query";
    assert_eq!(errors, [expected]);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_check_that_lost_its_connection_is_repeated_and_no_obstacle() {
    let cluster = Cluster::start();
    let url = cluster.database("ranges_lost", &orders("bigint", "n"));
    let rowlink = Rowlink::serve_with(&[("ranges.sql", RANGES)], &[("ROWLINK_DATABASE_URL", &url)]);
    let has_failed = || {
        let metrics = Call::new("GET", format!("{}/metrics", rowlink.origin())).send();
        metrics.text().contains("rowlink_failed_exports{")
    };
    let mut lock = Command::new("psql")
        .args(["--no-psqlrc", "--quiet"])
        .arg(&url)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commands = lock.stdin.take().unwrap();
    // Only the check reads this catalog.
    writeln!(commands, "begin; lock table pg_catalog.pg_inherits;").unwrap();
    let is_locked = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted \
                     and relation = 'pg_catalog.pg_inherits'::regclass";
    wait_for("the lock", LIMIT, || {
        cluster.psql("ranges_lost", is_locked) == "1"
    });
    rowlink.reload();
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = 'ranges_lost' and wait_event_type = 'Lock'";
    wait_for("a check that waits", LIMIT, || {
        cluster.psql("postgres", terminate) == "1"
    });
    wait_for("the error", LIMIT, has_failed);
    // Ends the transaction.
    drop(commands);
    assert!(lock.wait().unwrap().success());
    wait_for("another check", LIMIT, || !has_failed());
    let link = rowlink.link(json!({"export": "ranges", "format": "csv"}));
    let file = content(begin_in_ranges(&cluster, "ranges_lost", &link, 2));
    assert_eq!(column(&file, 0).len(), ROWS);
    let log = rowlink.stop();
    assert!(!log.contains("read over one connection"), "{log}");
}
