//! The item of a select list that a mask replaces.

use proptest::prelude::*;
use proptest::sample::select;

use super::{SqlDialect, check_expression, replace_column};

const DIALECTS: [SqlDialect; 3] = [SqlDialect::Sqlite, SqlDialect::Postgres, SqlDialect::Mysql];

fn mask(sql: &str, dialect: SqlDialect) -> Result<String, String> {
    replace_column(sql, dialect, "email", "'***'").map_err(|error| error.message)
}

/// The mask as it is written, with the quotes of the dialect.
fn masked(dialect: SqlDialect) -> &'static str {
    match dialect {
        SqlDialect::Mysql => "('***') as `email`",
        SqlDialect::Sqlite | SqlDialect::Postgres => "('***') as \"email\"",
    }
}

/// Checks that the mask takes the place of the item in braces, and of nothing else.
fn assert_masked(sql: &str, dialect: SqlDialect) {
    let (before, rest) = sql.split_once('{').expect("an item");
    let (item, after) = rest.split_once('}').expect("an item");
    let statement = [before, item, after].concat();
    let expected = [before, masked(dialect), after].concat();
    assert_eq!(mask(&statement, dialect), Ok(expected), "{dialect:?}");
}

#[test]
fn the_item_of_the_column_is_replaced_and_nothing_else() {
    // The item stands between the braces.
    for sql in [
        "select {email} from c",
        "select id, {c.email} from c",
        "select id, {c.email as email}, name from c",
        "SELECT id, {c.email AS email} FROM c ORDER BY email",
        "select {c.email email} from c",
        "select {lower(c.email) email}, f(a, (b), 'x, y as email') as f from c",
        "select f(a, email), {coalesce(c.email, c.mail, '') as email} from c",
        "select {case when a then b else c end as email}, 1 from c",
        "select {case when a then b else c end email} from c",
        "select {(select email from d where d.id = c.id) as email} from c",
        "select (select email from d) as x, {c.email} from c where exists (select email from e)",
        "select x.id, {x.email} from (select id, email from c union select id, email from d) x",
        "with a as (select email from c), b (email) as (select email from a) select id, {email} from b",
        "with recursive a as (select 1 as email union all select 2 from a) select {email} from a",
        "select distinct {c.email} from c",
        "select all id, {c.email as email} from c",
        "select id -- email\n, {c.email as /* the address */ email} -- , x as email\n, name from c",
        "select '(' as a, \"from\" as b, {c.email} from c",
        "select a is distinct from b as same, {c.email} from c",
        "select c.email as from_c, email_2, {c.email} from c",
        "select {c.email as email}",
        "select {c.email as \"email\"} from c",
        "select 'é' as a, {c.email as email} from c",
        "select count(*) as n, a * b as product, {c.email} from c group by c.email",
        "/*---\n[columns.email]\nmask = \"(\"\n---*/\nselect {c.email} from c;\n-- end",
    ] {
        for dialect in DIALECTS {
            assert_masked(sql, dialect);
        }
    }
}

#[test]
fn the_item_is_found_in_the_syntax_of_one_dialect() {
    for (sql, dialect) in [
        (
            "select id::text, {c.email::text email} from c",
            SqlDialect::Postgres,
        ),
        (
            "select 1 as n, {mode() within group (order by x) as email} from c group by n",
            SqlDialect::Postgres,
        ),
        (
            "select tags[1, 2] as t, {array['a', 'b'] as email} from c",
            SqlDialect::Postgres,
        ),
        (
            "select distinct on (a, email) {c.email} from c",
            SqlDialect::Postgres,
        ),
        ("select {c.EMAIL} from c", SqlDialect::Postgres),
        (
            "select $$, x as email$$ as a, {c.email} from c",
            SqlDialect::Postgres,
        ),
        (
            "select 1 as \"Email\", {c.email} from c",
            SqlDialect::Postgres,
        ),
        ("select {[c].[email]} from c", SqlDialect::Sqlite),
        ("select {c.\"Email\"} from c", SqlDialect::Sqlite),
        ("select {c.`email`} from c", SqlDialect::Mysql),
        ("select {c.email as 'email'} from c", SqlDialect::Mysql),
        (
            "select sql_no_cache straight_join {c.email} from c",
            SqlDialect::Mysql,
        ),
        (
            "select 'it\\'s, x' as a, {c.email} from c",
            SqlDialect::Mysql,
        ),
    ] {
        assert_masked(sql, dialect);
    }
}

#[test]
fn a_statement_without_one_item_of_that_name_is_refused() {
    for (sql, expected) in [
        ("select * from c", "`*`"),
        ("select c.*, c.email from c", "`*`"),
        ("select id from c", "no column"),
        ("select c.email as mail from c", "no column"),
        ("select lower(email) from c", "no column"),
        ("select a || email from c", "no column"),
        ("select - email from c", "no column"),
        ("select ':email' as a, :email from c", "no column"),
        ("select c.email, d.email from c, d", "several columns"),
        (
            "select email from c union select email from d",
            "one `select`",
        ),
        (
            "select email from c UNION ALL (select email from d)",
            "one `select`",
        ),
        ("select email from c intersect values (1)", "one `select`"),
        ("select email from c except table d", "one `select`"),
        ("(select email from c)", "outside parentheses"),
        ("values ('email')", "outside parentheses"),
    ] {
        for dialect in DIALECTS {
            let error = mask(sql, dialect).expect_err("refused");
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }
}

#[test]
fn a_name_is_quoted_where_it_is_written() {
    let replaced = |dialect, sql: &str| replace_column(sql, dialect, "a\"`b", "1");
    let postgres = replaced(SqlDialect::Postgres, "select x as \"a\"\"`b\"");
    assert_eq!(postgres.expect("replaced"), "select (1) as \"a\"\"`b\"");
    let mysql = replaced(SqlDialect::Mysql, "select x as `a\"``b`");
    assert_eq!(mysql.expect("replaced"), "select (1) as `a\"``b`");
}

#[test]
fn a_mask_is_one_expression() {
    for text in [
        "'***'",
        "left(c.email, 1) || '***'",
        "case when :user = c.name then c.email end",
        "(select max(x) from t)",
        "'a, b; c)'",
        "null",
    ] {
        for dialect in DIALECTS {
            assert_eq!(check_expression(text, dialect), Ok(()), "{text}");
        }
    }
    for text in [
        "",
        " ",
        "a, b",
        "a; b",
        "(a; b)",
        "a)",
        "(a",
        "a) from t --",
        "a) as x, (b",
        "f(a]",
        "'a",
        "a -- b",
        "a /* b */",
        "a -- )",
        "a /*",
        ")(",
    ] {
        for dialect in DIALECTS {
            assert!(check_expression(text, dialect).is_err(), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn any_list_keeps_its_other_items(
        items in prop::collection::vec(select(vec![
            "a", "t.b", "'it''s, x' as c", "f(x, (y), ',') as d", "case when a then b end as e",
            "(select email, 1 from c) as f", "1 -- , x as email\n as g", "a /* , */ h", "cast(a as text) as i",
            "count(*) as j", "\"quoted, name\".k", "a is distinct from b as l",
        ]), 0..6),
        item in select(vec![
            "email", "t.email", "f(a, b) as email", "(a) email", "case a when b then c end as email", "1 email",
        ]),
        at in any::<prop::sample::Index>(),
        head in select(vec!["select ", "with x as (select email from y) select ", "select distinct\n"]),
        tail in select(vec![" from c", "\nfrom c where a in (select email from d) order by email", " from (values (1)) v", ""]),
    ) {
        let at = at.index(items.len() + 1);
        let list = |item: &str| {
            let (before, after) = items.split_at(at);
            let parts: Vec<&str> = before.iter().copied().chain([item]).chain(after.iter().copied()).collect();
            format!("{head}{}{tail}", parts.join(", "))
        };
        for dialect in [SqlDialect::Sqlite, SqlDialect::Postgres] {
            prop_assert_eq!(mask(&list(item), dialect), Ok(list(masked(dialect))));
        }
    }

    #[test]
    fn no_statement_makes_it_panic(sql in "(select|from|email|as|union|[a-z(),.*;'\"\\[\\]{}:$-]|\n| ){0,30}") {
        for dialect in DIALECTS {
            let _ = mask(&sql, dialect);
            let _ = check_expression(&sql, dialect);
        }
    }
}
