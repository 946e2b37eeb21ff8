//! Replaces the `:name` placeholders of a statement with numbered driver parameters.
//!
//! An SQL tokenizer finds them, so a colon in a string, a comment, a quoted name or a `::cast` is not
//! a placeholder.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::Parameter;
use super::list_use::ListUse;
use super::sort_key::is_sort_key;
use crate::toml_errors::LineError;
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

/// The value that a placeholder refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `:user`, the user id of the link.
    User,
    /// `:claim.NAME`, a pinned claim of the link.
    Claim(String),
    /// A declared filter.
    Filter(String),
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::User => f.write_str(":user"),
            Variable::Claim(name) => write!(f, ":claim.{name}"),
            Variable::Filter(name) => write!(f, ":{name}"),
        }
    }
}

/// The SQL dialect of a database. Decides tokenization and parameter syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// SQLite; parameters are `?1`, `?2`, ….
    Sqlite,
    /// PostgreSQL; parameters are `$1`, `$2`, ….
    Postgres,
    /// MySQL and MariaDB; parameters are `?`, one per use.
    Mysql,
}

impl SqlDialect {
    fn tokenizer_dialect(self) -> &'static dyn Dialect {
        match self {
            SqlDialect::Sqlite => &SQLiteDialect {},
            SqlDialect::Postgres => &PostgreSqlDialect {},
            SqlDialect::Mysql => &MySqlDialect {},
        }
    }

    fn parameter(self, number: usize) -> String {
        match self {
            SqlDialect::Sqlite => format!("?{number}"),
            SqlDialect::Postgres => format!("${number}"),
            SqlDialect::Mysql => "?".to_owned(),
        }
    }
}

/// One statement with numbered parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The SQL for the driver.
    pub sql: String,
    /// The variable of each parameter; the first is parameter 1.
    pub variables: Vec<Variable>,
    /// The line of each variable's first use.
    first_uses: Vec<usize>,
    uses: Vec<Use>,
    /// The line of the file on which the SQL starts, counted from 1.
    pub line: usize,
    dialect: SqlDialect,
}

/// A parameter in [`Statement::sql`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    span: Range<usize>,
    /// The index of its variable.
    variable: usize,
    /// Whether it stands for the elements of a list: `in (:status)`.
    is_elements: bool,
}

/// A parameter of an [expanded](Statement::expand_parameters) statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// The index of its variable.
    pub variable: usize,
    /// The index of the element, if it is one of a list.
    pub element: Option<usize>,
}

impl Argument {
    /// Returns its value among those of the variables.
    pub fn value<'p>(&self, parameters: &'p [Parameter]) -> Cow<'p, Parameter> {
        match (&parameters[self.variable], self.element) {
            (Parameter::List(values), Some(index)) => {
                Cow::Owned(Parameter::One(values[index].clone()))
            }
            (parameter, _) => Cow::Borrowed(parameter),
        }
    }
}

impl Statement {
    /// Parses the only statement of a file. `is_list` tells which filters are lists.
    ///
    /// # Errors
    /// Returns an error if the tokenizer rejects the text, it is not exactly one statement, it
    /// contains a driver placeholder such as `$1`, it compares a list with one value, or a placeholder is
    /// a sort key.
    pub fn parse(
        text: &str,
        dialect: SqlDialect,
        is_list: impl Fn(&str) -> bool,
    ) -> Result<Statement, LineError> {
        let tokens = Tokenizer::new(dialect.tokenizer_dialect(), text)
            .tokenize_with_location()
            .map_err(|error| LineError::new(line_of(error.location), error.message))?;
        let code: Vec<&TokenWithSpan> = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .collect();
        let code = single_statement(&code)?;
        if let Some(unsupported) = code
            .iter()
            .find(|it| matches!(it.token, Token::Placeholder(_)))
        {
            let message = format!(
                "`{}`: unsupported placeholder; expected `:name`",
                unsupported.token
            );
            return Err(LineError::new(line_of(unsupported.span.start), message));
        }
        let offsets = Offsets::new(text);

        let mut statement = Statement {
            sql: String::new(),
            variables: Vec::new(),
            first_uses: Vec::new(),
            uses: Vec::new(),
            line: line_of(code[0].span.start),
            dialect,
        };
        let mut copied = offsets.byte(code[0].span.start);
        let mut next = 0;
        while let [first, following @ ..] = &code[next..] {
            let at = next;
            next += 1;
            let Some((variable, length)) = parse_placeholder(first, following) else {
                continue;
            };
            next += length;
            let (start, line) = (offsets.byte(first.span.start), line_of(first.span.start));
            if is_sort_key(code, at, next) {
                let message = format!(
                    "`{variable}` as a sort key sorts nothing; write `case when {variable} = 'name' then name end`"
                );
                return Err(LineError::new(line, message));
            }
            let list_use = match &variable {
                Variable::Filter(name) if is_list(name) => Some(ListUse::of(code, at, next)),
                _ => None,
            };
            let has_arrays = dialect == SqlDialect::Postgres;
            let mut is_elements = false;
            match list_use {
                Some(ListUse::Elements { operator, written }) if has_arrays => {
                    let operator = offsets.byte(code[operator].span.start);
                    statement.sql.push_str(&text[copied..operator]);
                    // Errors keep their lines.
                    let breaks = text[operator..start].matches('\n').count();
                    let breaks = "\n".repeat(breaks);
                    statement.sql.push_str(&format!("{written}{breaks}("));
                }
                Some(ListUse::Value) if !has_arrays => {
                    let message = format!("`{variable}` is a list; write `in ({variable})`");
                    return Err(LineError::new(line, message));
                }
                list_use => {
                    is_elements = matches!(list_use, Some(ListUse::Elements { .. }));
                    statement.sql.push_str(&text[copied..start]);
                }
            }
            statement.push_parameter(variable, line, is_elements);
            copied = offsets.byte(code[next - 1].span.end);
        }
        let end = offsets.byte(code[code.len() - 1].span.end);
        statement.sql.push_str(&text[copied..end]);
        Ok(statement)
    }

    /// Returns the line of the file for a byte offset in [`sql`](Self::sql). Replacing placeholders
    /// keeps line numbers: neither placeholders nor parameters contain a line break.
    pub fn line_at(&self, offset: usize) -> usize {
        let before = self.sql.as_bytes().iter().take(offset);
        self.line + before.filter(|byte| **byte == b'\n').count()
    }

    /// Returns a message of the database with each parameter, such as `$2`, by its name in the file.
    pub fn name_parameters(&self, message: &str) -> String {
        let mut named = String::new();
        let mut rest = message;
        while let Some((before, after)) = rest.split_once('$') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number: Option<usize> = after[..digits].parse().ok();
            let variable = number.and_then(|number| self.variables.get(number.checked_sub(1)?));
            named.push_str(before);
            match variable {
                Some(variable) => named.push_str(&format!("`{variable}`")),
                None => named.push_str(&rest[before.len()..before.len() + 1 + digits]),
            }
            rest = &after[digits..];
        }
        named + rest
    }

    /// Returns the line of the file on which a variable is first used.
    pub(super) fn line_of(&self, variable: &Variable) -> usize {
        let index = self.variables.iter().position(|other| other == variable);
        self.first_uses[index.expect("a variable of this statement")]
    }

    /// Returns the byte offset in [`sql`](Self::sql) of the first use of a variable, by its index.
    pub fn offset_of(&self, variable: usize) -> Option<usize> {
        let first = self.uses.iter().find(|it| it.variable == variable);
        first.map(|first| first.span.start)
    }

    /// Returns the SQL with a separate parameter per use of a variable, and per element of a list in
    /// `in (:list)`; and the argument of each. Needed where all uses of a parameter must have one type, a
    /// parameter has only one use, or the database has no lists. `parameters` are the values of the variables;
    /// without them each list has one element. `write` returns the SQL of a parameter for its number, its
    /// variable, and whether it is an element.
    pub fn expand_parameters(
        &self,
        parameters: Option<&[Parameter]>,
        write: impl Fn(usize, &Variable, bool) -> String,
    ) -> (String, Vec<Argument>) {
        let mut sql = String::new();
        let mut arguments: Vec<Argument> = Vec::new();
        let mut copied = 0;
        for Use {
            span,
            variable,
            is_elements,
        } in &self.uses
        {
            sql.push_str(&self.sql[copied..span.start]);
            copied = span.end;
            let count = match parameters.map(|parameters| &parameters[*variable]) {
                Some(Parameter::List(values)) if *is_elements => values.len(),
                Some(Parameter::Null) if *is_elements => 0,
                _ => 1,
            };
            if count == 0 {
                sql.push_str("null");
            }
            for element in 0..count {
                if element > 0 {
                    sql.push_str(", ");
                }
                arguments.push(Argument {
                    variable: *variable,
                    element: is_elements.then_some(element),
                });
                let variable = &self.variables[*variable];
                sql.push_str(&write(arguments.len(), variable, *is_elements));
            }
        }
        sql.push_str(&self.sql[copied..]);
        (sql, arguments)
    }

    fn push_parameter(&mut self, variable: Variable, line: usize, is_elements: bool) {
        let known = self.variables.iter().position(|other| *other == variable);
        let index = known.unwrap_or_else(|| {
            self.variables.push(variable);
            self.first_uses.push(line);
            self.variables.len() - 1
        });
        let start = self.sql.len();
        self.sql.push_str(&self.dialect.parameter(index + 1));
        self.uses.push(Use {
            span: start..self.sql.len(),
            variable: index,
            is_elements,
        });
    }
}

/// Returns the tokens without the final semicolon.
fn single_statement<'t>(
    code: &'t [&'t TokenWithSpan],
) -> Result<&'t [&'t TokenWithSpan], LineError> {
    let is_semicolon = |token: &&TokenWithSpan| token.token == Token::SemiColon;
    let end = code.iter().position(is_semicolon).unwrap_or(code.len());
    if let Some(extra) = code[end..].iter().find(|token| !is_semicolon(token)) {
        let line = line_of(extra.span.start);
        return Err(LineError::new(
            line,
            "expected one statement; another starts here",
        ));
    }
    if end == 0 {
        return Err(LineError::new(1, "expected one statement, found none"));
    }
    Ok(&code[..end])
}

/// Returns the variable whose colon is `first`, and how many of the following tokens belong to it.
fn parse_placeholder(
    first: &TokenWithSpan,
    following: &[&TokenWithSpan],
) -> Option<(Variable, usize)> {
    let (name, after_name) = (following.first()?, following.get(1..)?);
    if first.token != Token::Colon || !is_adjacent(first, name) {
        return None;
    }
    let Token::Word(word) = &name.token else {
        return None;
    };
    if let ("claim", [dot, claim, ..]) = (unquoted(word)?, after_name)
        && dot.token == Token::Period
        && let Token::Word(claim_word) = &claim.token
        && is_adjacent(name, dot)
        && is_adjacent(dot, claim)
    {
        return Some((Variable::Claim(unquoted(claim_word)?.to_owned()), 3));
    }
    match unquoted(word)? {
        "user" => Some((Variable::User, 1)),
        name => Some((Variable::Filter(name.to_owned()), 1)),
    }
}

/// Returns the word if it is not quoted.
fn unquoted(word: &Word) -> Option<&str> {
    word.quote_style.is_none().then_some(word.value.as_str())
}

/// Returns whether two tokens follow each other directly: `:from`, but not `a[1 : n]`.
fn is_adjacent(left: &TokenWithSpan, right: &TokenWithSpan) -> bool {
    left.span.end == right.span.start
}

fn line_of(location: Location) -> usize {
    usize::try_from(location.line).unwrap_or(usize::MAX).max(1)
}

/// Converts the tokenizer's locations (lines, and columns in characters) into byte offsets.
struct Offsets<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Offsets<'t> {
    fn new(text: &'t str) -> Offsets<'t> {
        let ends = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Offsets { text, line_starts }
    }

    fn byte(&self, location: Location) -> usize {
        let start = self.line_starts[line_of(location) - 1];
        let column = usize::try_from(location.column)
            .unwrap_or(usize::MAX)
            .max(1);
        self.text[start..]
            .char_indices()
            .nth(column - 1)
            .map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Value;

    fn parse(sql: &str) -> Statement {
        Statement::parse(sql, SqlDialect::Sqlite, |_| false).expect("a statement")
    }

    #[test]
    fn a_list_in_parentheses_is_its_elements() {
        let text = "select 1 where a in (:l) and (:l is null or b not\n in ( :l )) and c = :one";
        let parse =
            |dialect| Statement::parse(text, dialect, |name| name == "l").expect("a statement");
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
            let error =
                Statement::parse(sql, SqlDialect::Postgres, |_| false).expect_err("refused");
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
        let statement =
            Statement::parse(text, SqlDialect::Postgres, |_| false).expect("a statement");
        assert_eq!(
            statement.sql,
            "select $1::int, ':a', $$:a$$ where $2 = $1 and x ? 'y'"
        );
        let (sql, arguments) =
            statement.expand_parameters(None, |number, _, _| format!("${number}"));
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
        let error = Statement::parse("select 1,\n 'open", SqlDialect::Sqlite, |_| false)
            .expect_err("refused");
        assert_eq!(error.line, 2);
    }
}
