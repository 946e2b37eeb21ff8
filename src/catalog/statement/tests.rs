//! Placeholders in statements of every dialect.

use super::*;
use crate::catalog::Value;

fn parse(sql: &str) -> Statement {
    Statement::parse(sql, SqlDialect::Sqlite, |_| false).expect("a statement")
}

#[test]
fn a_list_in_parentheses_is_its_elements() {
    let text = "select 1 where a in (:l) and (:l is null or b not\n in ( :l )) and c = :one";
    let parse = |dialect| Statement::parse(text, dialect, |name| name == "l").expect("a statement");
    let postgres = parse(SqlDialect::Postgres);
    assert_eq!(
        postgres.sql,
        "select 1 where a = any($1) and ($1 is null or b <> all\n($1 )) and c = $2"
    );
    let values = ["x", "y"].map(|value| Value::Text(value.into())).to_vec();
    let one = Parameter::One(Value::Integer(7));
    let parameters = [Parameter::List(values), one.clone()];
    let sqlite = parse(SqlDialect::Sqlite);
    let write = |number, _: &Variable, _| format!("?{number}");
    let (sql, arguments) = sqlite.expand_parameters(Some(&parameters), write);
    assert_eq!(
        sql,
        "select 1 where a in (?1, ?2) and (?3 is null or b not\n in ( ?4, ?5 )) and c = ?6"
    );
    let second = Parameter::One(Value::Text("y".into()));
    assert_eq!(*arguments[1].value(&parameters), second);
    assert_eq!(*arguments[2].value(&parameters), parameters[0]);
    assert_eq!(*arguments[5].value(&parameters), one);
    let (sql, arguments) = sqlite.expand_parameters(Some(&[Parameter::Null, one]), write);
    assert!(
        sql.starts_with("select 1 where a in (null) and (?1 is null"),
        "{sql}"
    );
    assert_eq!(arguments.len(), 2);
    assert!(
        sqlite
            .expand_parameters(None, write)
            .0
            .contains("a in (?1) and")
    );
}

#[test]
fn a_list_that_is_compared_with_one_value_is_rejected() {
    let parse = |sql, dialect| Statement::parse(sql, dialect, |name| name == "l");
    for dialect in [SqlDialect::Sqlite, SqlDialect::Mysql] {
        for sql in [
            "select 1 where\n a = :l",
            "select 1 where\n a in (:l, 'x')",
            "select\n lower(:l)",
        ] {
            let error = parse(sql, dialect).expect_err("refused");
            assert_eq!(error.line, 2, "{sql}");
            assert!(
                error.message.contains("write `in (:l)`"),
                "{}",
                error.message
            );
        }
        for sql in [
            "select 1 where a in (select value from json_each(:l))",
            "select 1 where json_contains(cast(:l as json), a) or :l IS NOT NULL",
            "select 1 where a member of (:l)",
        ] {
            assert!(parse(sql, dialect).is_ok(), "{sql}");
        }
    }
    // The server knows the type.
    assert!(parse("select 1 where a = any(:l)", SqlDialect::Postgres).is_ok());
}

#[test]
fn a_message_names_parameters_as_the_file_does() {
    let statement = parse("select :user, :status");
    for (message, expected) in [
        ("type of parameter $2", "type of parameter `:status`"),
        ("$1 and $2, $3, $, $$", "`:user` and `:status`, $3, $, $$"),
        ("none", "none"),
    ] {
        assert_eq!(statement.name_parameters(message), expected);
    }
}

#[test]
fn a_placeholder_that_is_a_sort_key_is_rejected() {
    for sql in [
        "select 1 from t order by\n :s",
        "select 1 from t order by a,\n :s desc limit 1",
        "select row_number() over (partition by a order by f(a, b),\n :s) from t",
        "select (select 1 from t order by\n :s) from t",
        "select 1 from t ORDER BY\n :s nulls last",
    ] {
        let error = Statement::parse(sql, SqlDialect::Postgres, |_| false).expect_err("refused");
        assert_eq!(error.line, 2, "{sql}");
        assert!(
            error.message.starts_with("`:s` as a sort key"),
            "{}",
            error.message
        );
    }
    for sql in [
        "select 1 from t order by case when :s = 'a' then a end, case :s when 'b' then b end desc",
        "select 1 from t order by a <-> :s, f(a, :s)",
        "select 1 from t order by a limit :s",
        "select :s, :s from t where a in (:s, :s) order by a",
        "select * from (select a from t order by a) x, (select :s) y",
    ] {
        assert!(
            Statement::parse(sql, SqlDialect::Postgres, |_| false).is_ok(),
            "{sql}"
        );
    }
}

#[test]
fn placeholders_are_numbered_by_first_use_and_reused() {
    let statement = parse(
        "/*--- settings: :no ---*/\n\nselect a::text, ':no' -- :no\nfrom \"t:no\" -- é:no\n\
         where u = :user and é=:from and o = :claim.org_id\n  and (:from is null or x<:from);\n",
    );
    assert_eq!(
        statement.sql,
        "select a::text, ':no' -- :no\nfrom \"t:no\" -- é:no\n\
         where u = ?1 and é=?2 and o = ?3\n  and (?2 is null or x<?2)"
    );
    let variables: Vec<String> = statement
        .variables
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(variables, [":user", ":from", ":claim.org_id"]);
    assert_eq!(statement.line, 3);
    assert_eq!(
        statement.line_at(statement.sql.find("?1").expect("there")),
        5
    );
}

#[test]
fn each_use_can_have_a_separate_parameter() {
    let text = "select :a::int, ':a', $$:a$$ where :user = :a and x ? 'y'";
    let statement = Statement::parse(text, SqlDialect::Postgres, |_| false).expect("a statement");
    assert_eq!(
        statement.sql,
        "select $1::int, ':a', $$:a$$ where $2 = $1 and x ? 'y'"
    );
    let (sql, arguments) = statement.expand_parameters(None, |number, _, _| format!("${number}"));
    assert_eq!(
        sql,
        "select $1::int, ':a', $$:a$$ where $2 = $3 and x ? 'y'"
    );
    let variables: Vec<usize> = arguments.iter().map(|it| it.variable).collect();
    assert_eq!(variables, [0, 1, 0]);
}

#[test]
fn driver_placeholders_are_rejected() {
    for (sql, dialect) in [
        ("select :user,\n$1", SqlDialect::Postgres),
        ("select :user,\n?1", SqlDialect::Sqlite),
    ] {
        let error = Statement::parse(sql, dialect, |_| false).expect_err("refused");
        assert_eq!(error.line, 2, "{sql}: {}", error.message);
    }
}

#[test]
fn a_colon_without_an_adjacent_name_is_no_placeholder() {
    for sql in [
        "select a[1:2]",
        "select a[1 : n]",
        "select 'it''s :x'",
        "select [:x]",
    ] {
        assert_eq!(parse(sql).variables, [], "{sql}");
    }
}

#[test]
fn exactly_one_statement_is_accepted() {
    assert_eq!(parse("select 1;;\n -- end").sql, "select 1");
    for (sql, line) in [("", 1), ("-- nothing", 1), ("select 1;\ndrop table t", 2)] {
        let error = Statement::parse(sql, SqlDialect::Sqlite, |_| false).expect_err("refused");
        assert_eq!(error.line, line, "{sql:?}");
    }
}

#[test]
fn a_tokenizer_error_has_its_line() {
    let error =
        Statement::parse("select 1,\n 'open", SqlDialect::Sqlite, |_| false).expect_err("refused");
    assert_eq!(error.line, 2);
}
