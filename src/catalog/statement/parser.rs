//! Replaces the `:name` placeholders of a statement.
//!
//! An SQL tokenizer finds them, so a colon in a string, a comment, a quoted name or a `::cast` is not
//! a placeholder.

use std::ops::Range;

use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use super::list_use::ListUse;
use super::sort_key::is_sort_key;
use super::{SqlDialect, Statement, Variable};
use crate::toml_errors::LineError;

/// See [`Statement::parse`].
pub(super) fn parse(
    text: &str,
    dialect: SqlDialect,
    is_list: impl Fn(&str) -> bool,
) -> Result<Statement, LineError> {
    let tokens = Tokenizer::new(tokenizer_dialect(dialect), text)
        .tokenize_with_location()
        .map_err(|error| LineError::new(line_of(error.location), error.message))?;
    let code = code_of(&tokens);
    let code = single_statement(&code)?;
    refuse_driver_placeholders(code)?;
    let offsets = Offsets::new(text);
    let mut writer = Writer {
        text,
        code,
        copied: offsets.byte(code[0].span.start),
        offsets,
        statement: Statement {
            sql: String::new(),
            variables: Vec::new(),
            first_uses: Vec::new(),
            uses: Vec::new(),
            line: line_of(code[0].span.start),
            dialect,
        },
    };
    let mut next = 0;
    while let [first, following @ ..] = &code[next..] {
        match parse_placeholder(first, following) {
            Some((variable, length)) => {
                let end = next + 1 + length;
                writer.replace(next..end, variable, &is_list)?;
                next = end;
            }
            None => next += 1,
        }
    }
    Ok(writer.finish())
}

/// Copies the text of a statement up to its placeholders, and writes parameters instead of them.
struct Writer<'t> {
    text: &'t str,
    code: &'t [&'t TokenWithSpan],
    offsets: Offsets<'t>,
    /// The offset in the text up to which it is copied.
    copied: usize,
    statement: Statement,
}

impl Writer<'_> {
    /// Replaces the placeholder that consists of these tokens.
    fn replace(
        &mut self,
        tokens: Range<usize>,
        variable: Variable,
        is_list: impl Fn(&str) -> bool,
    ) -> Result<(), LineError> {
        let first = self.code[tokens.start].span.start;
        let (start, line) = (self.offsets.byte(first), line_of(first));
        if is_sort_key(self.code, tokens.start, tokens.end) {
            let message = format!(
                "`{variable}` as a sort key sorts nothing; write `case when {variable} = 'name' then name end`"
            );
            return Err(LineError::new(line, message));
        }
        let list_use = match &variable {
            Variable::Filter(name) if is_list(name) => {
                Some(ListUse::of(self.code, tokens.start, tokens.end))
            }
            _ => None,
        };
        let has_arrays = self.statement.dialect == SqlDialect::Postgres;
        let is_elements = !has_arrays && matches!(list_use, Some(ListUse::Elements { .. }));
        match list_use {
            Some(ListUse::Elements { operator, written }) if has_arrays => {
                let operator = self.offsets.byte(self.code[operator].span.start);
                self.copy(operator);
                // Errors keep their lines.
                let breaks = self.text[operator..start].matches('\n').count();
                let breaks = "\n".repeat(breaks);
                self.statement.sql.push_str(&format!("{written}{breaks}("));
            }
            Some(ListUse::Value) if !has_arrays => {
                let message = format!("`{variable}` is a list; write `in ({variable})`");
                return Err(LineError::new(line, message));
            }
            _ => self.copy(start),
        }
        self.statement.push_parameter(variable, line, is_elements);
        self.copied = self.offsets.byte(self.code[tokens.end - 1].span.end);
        Ok(())
    }

    fn copy(&mut self, end: usize) {
        self.statement.sql.push_str(&self.text[self.copied..end]);
    }

    fn finish(mut self) -> Statement {
        let last = self.code[self.code.len() - 1];
        self.copy(self.offsets.byte(last.span.end));
        self.statement
    }
}

/// Returns the tokens without white space and comments.
pub(super) fn code_of(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    let is_code = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    tokens.iter().filter(is_code).collect()
}

pub(super) fn tokenizer_dialect(dialect: SqlDialect) -> &'static dyn Dialect {
    match dialect {
        SqlDialect::Sqlite => &SQLiteDialect {},
        SqlDialect::Postgres => &PostgreSqlDialect {},
        SqlDialect::Mysql => &MySqlDialect {},
    }
}

fn refuse_driver_placeholders(code: &[&TokenWithSpan]) -> Result<(), LineError> {
    let is_placeholder = |it: &&&TokenWithSpan| matches!(it.token, Token::Placeholder(_));
    let Some(unsupported) = code.iter().find(is_placeholder) else {
        return Ok(());
    };
    let token = &unsupported.token;
    let message = format!("`{token}`: unsupported placeholder; expected `:name`");
    Err(LineError::new(line_of(unsupported.span.start), message))
}

/// Returns the tokens without the final semicolon.
pub(super) fn single_statement<'t>(
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
pub(super) struct Offsets<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Offsets<'t> {
    pub(super) fn new(text: &'t str) -> Offsets<'t> {
        let ends = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Offsets { text, line_starts }
    }

    pub(super) fn byte(&self, location: Location) -> usize {
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
