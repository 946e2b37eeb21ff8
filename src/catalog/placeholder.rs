//! Finds the placeholders of a statement and numbers them for the driver.
//!
//! A tokenizer of SQL does the finding, so that a colon in a string, a comment, a quoted name or a
//! `::cast` is left alone.

use std::fmt;
use std::ops::Range;

use crate::toml_errors::LineError;
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

/// What a placeholder stands for.
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

/// The dialect of a database: how its SQL is read and how its parameters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// SQLite; parameters are `?1`, `?2`, ….
    Sqlite,
    /// PostgreSQL; parameters are `$1`, `$2`, ….
    Postgres,
    /// MySQL and MariaDB; parameters are `?`, one for each use.
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
    /// The SQL as the driver gets it.
    pub sql: String,
    /// What each parameter stands for; the first is number 1.
    pub variables: Vec<Variable>,
    /// The line of the file on which each variable is first used.
    first_uses: Vec<usize>,
    /// Where the parameters stand in the SQL, and the index of the variable of each.
    uses: Vec<(Range<usize>, usize)>,
    /// The line of the file on which the SQL starts, from 1.
    pub line: usize,
    dialect: SqlDialect,
}

impl Statement {
    /// Reads the one statement of a file.
    ///
    /// # Errors
    /// It cannot be read, is empty, or is more than one statement.
    pub fn parse(text: &str, dialect: SqlDialect) -> Result<Statement, LineError> {
        let tokens = Tokenizer::new(dialect.tokenizer_dialect(), text)
            .tokenize_with_location()
            .map_err(|error| LineError::new(line_of(error.location), error.message))?;
        let code: Vec<&TokenWithSpan> = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .collect();
        let code = one_statement(&code)?;
        if let Some(foreign) = code
            .iter()
            .find(|it| matches!(it.token, Token::Placeholder(_)))
        {
            let message = format!("`{}`: a parameter is written `:name`", foreign.token);
            return Err(LineError::new(line_of(foreign.span.start), message));
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
        let mut rest = code;
        while let [first, following @ ..] = rest {
            rest = following;
            let Some((variable, length)) = placeholder(first, following) else {
                continue;
            };
            statement
                .sql
                .push_str(&text[copied..offsets.byte(first.span.start)]);
            statement.push_use(variable, line_of(first.span.start));
            let last = following[length - 1];
            copied = offsets.byte(last.span.end);
            rest = &following[length..];
        }
        let end = offsets.byte(code[code.len() - 1].span.end);
        statement.sql.push_str(&text[copied..end]);
        Ok(statement)
    }

    /// The line of the file on which a byte of [`sql`](Self::sql) stands: a parameter has as many
    /// line ends as the placeholder it replaces, none.
    pub fn line_at(&self, offset: usize) -> usize {
        let before = self.sql.as_bytes().iter().take(offset);
        self.line + before.filter(|byte| **byte == b'\n').count()
    }

    /// The line of the file on which a variable is first used.
    pub(super) fn line_of(&self, variable: &Variable) -> usize {
        let index = self.variables.iter().position(|other| other == variable);
        self.first_uses[index.expect("a variable of this statement")]
    }

    /// The same SQL with a parameter of its own for each use of a variable, and the index of the
    /// variable of each parameter: for a database that gives one parameter only one type, or none to two
    /// uses. `write` says how one is written, by its number and its variable.
    pub fn expand_parameters(
        &self,
        write: impl Fn(usize, &Variable) -> String,
    ) -> (String, Vec<usize>) {
        let mut sql = String::new();
        let mut variables = Vec::new();
        let mut copied = 0;
        for (span, variable) in &self.uses {
            variables.push(*variable);
            sql.push_str(&self.sql[copied..span.start]);
            sql.push_str(&write(variables.len(), &self.variables[*variable]));
            copied = span.end;
        }
        sql.push_str(&self.sql[copied..]);
        (sql, variables)
    }

    fn push_use(&mut self, variable: Variable, line: usize) {
        let known = self.variables.iter().position(|other| *other == variable);
        let index = known.unwrap_or_else(|| {
            self.variables.push(variable);
            self.first_uses.push(line);
            self.variables.len() - 1
        });
        let start = self.sql.len();
        self.sql.push_str(&self.dialect.parameter(index + 1));
        self.uses.push((start..self.sql.len(), index));
    }
}

/// The tokens without the semicolon at the end.
fn one_statement<'t>(code: &'t [&'t TokenWithSpan]) -> Result<&'t [&'t TokenWithSpan], LineError> {
    let is_semicolon = |token: &&TokenWithSpan| token.token == Token::SemiColon;
    let end = code.iter().position(is_semicolon).unwrap_or(code.len());
    if let Some(extra) = code[end..].iter().find(|token| !is_semicolon(token)) {
        let line = line_of(extra.span.start);
        return Err(LineError::new(
            line,
            "an export is one statement; here starts another",
        ));
    }
    if end == 0 {
        return Err(LineError::new(1, "no statement"));
    }
    Ok(&code[..end])
}

/// The variable that starts at `first`, and how many of the following tokens belong to it.
fn placeholder(first: &TokenWithSpan, following: &[&TokenWithSpan]) -> Option<(Variable, usize)> {
    let (name, after_name) = (following.first()?, following.get(1..)?);
    if first.token != Token::Colon || !touches(first, name) {
        return None;
    }
    let Token::Word(word) = &name.token else {
        return None;
    };
    if let ("claim", [dot, claim, ..]) = (plain(word)?, after_name)
        && dot.token == Token::Period
        && let Token::Word(claim_word) = &claim.token
        && touches(name, dot)
        && touches(dot, claim)
    {
        return Some((Variable::Claim(plain(claim_word)?.to_owned()), 3));
    }
    match plain(word)? {
        "user" => Some((Variable::User, 1)),
        name => Some((Variable::Filter(name.to_owned()), 1)),
    }
}

/// The name of an unquoted word.
fn plain(word: &Word) -> Option<&str> {
    word.quote_style.is_none().then_some(word.value.as_str())
}

/// Whether nothing stands between two tokens: `:from`, but not `a[1 : n]`.
fn touches(left: &TokenWithSpan, right: &TokenWithSpan) -> bool {
    left.span.end == right.span.start
}

fn line_of(location: Location) -> usize {
    usize::try_from(location.line).unwrap_or(usize::MAX).max(1)
}

/// Turns the tokenizer's lines and columns, which count characters, into byte offsets.
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

    fn parse(sql: &str) -> Statement {
        Statement::parse(sql, SqlDialect::Sqlite).expect("a statement")
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
    fn each_use_can_have_a_parameter_of_its_own() {
        let text = "select :a::int, ':a', $$:a$$ where :user = :a and x ? 'y'";
        let statement = Statement::parse(text, SqlDialect::Postgres).expect("a statement");
        assert_eq!(
            statement.sql,
            "select $1::int, ':a', $$:a$$ where $2 = $1 and x ? 'y'"
        );
        let (sql, variables) = statement.expand_parameters(|number, _| format!("${number}"));
        assert_eq!(
            sql,
            "select $1::int, ':a', $$:a$$ where $2 = $3 and x ? 'y'"
        );
        assert_eq!(variables, [0, 1, 0]);
    }

    #[test]
    fn a_driver_s_own_parameters_are_refused() {
        for (sql, dialect) in [
            ("select :user,\n$1", SqlDialect::Postgres),
            ("select :user,\n?1", SqlDialect::Sqlite),
        ] {
            let error = Statement::parse(sql, dialect).expect_err("refused");
            assert_eq!(error.line, 2, "{sql}: {}", error.message);
        }
    }

    #[test]
    fn a_colon_that_touches_no_name_is_left_alone() {
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
            let error = Statement::parse(sql, SqlDialect::Sqlite).expect_err("refused");
            assert_eq!(error.line, line, "{sql:?}");
        }
    }

    #[test]
    fn what_the_tokenizer_cannot_read_is_a_fault_with_its_line() {
        let error = Statement::parse("select 1,\n 'open", SqlDialect::Sqlite).expect_err("refused");
        assert_eq!(error.line, 2);
    }
}
