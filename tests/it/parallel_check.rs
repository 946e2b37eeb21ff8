//! Why exports with `parallel` are read over one connection.

use crate::harness::Deployment;
use crate::harness::postgres::Cluster;
use crate::harness::process::{command, configured_folder};

const REFUSED_SCHEMA: &str = "
    create table t (id int primary key, other int not null, maybe int unique, name text not null);
    create table u (t int not null, n int not null, primary key (t, n));
    create view v as select * from t;
    create view live as select * from u where n < extract(epoch from now());
    create view lucky as select * from u where n > random() - 1;
    create table parent (id int primary key); create table child () inherits (parent);
    create table fresh (id int primary key);
    insert into t select n, n, n, 'name' from generate_series(1, 1000) n;
    insert into u select n, m from generate_series(1, 1000) n, generate_series(1, 3) m;
    insert into parent select generate_series(1, 1000);
    analyze t, u, parent";

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
                    left join t x on x.id = t.other order by id";
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
