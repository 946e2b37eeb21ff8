//! Replaces one column of a statement's select list by another expression.
//!
//! The tokenizer finds the item, so a name in a string, a comment or a subquery is none. A statement whose list cannot be
//! read with certainty is refused.

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::SqlDialect;
use super::list_use::is_word;
use super::parser::{Offsets, code_of, single_statement, tokenizer_dialect};
use crate::toml_errors::LineError;

/// What ends a select list.
const AFTER_LIST: [&str; 14] = [
    "from",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "window",
    "into",
    "union",
    "intersect",
    "except",
];
/// What combines the rows of several lists.
const SET_OPERATORS: [&str; 3] = ["union", "intersect", "except"];
/// What may stand before a select list.
const BEFORE_LIST: [&str; 2] = ["distinct", "all"];
/// What MySQL and MariaDB allow there too.
const BEFORE_LIST_OF_MYSQL: [&str; 9] = [
    "distinctrow",
    "high_priority",
    "straight_join",
    "sql_small_result",
    "sql_big_result",
    "sql_buffer_result",
    "sql_cache",
    "sql_no_cache",
    "sql_calc_found_rows",
];

/// Checks that a text is one expression, which parentheses around it keep apart from the rest of a statement.
///
/// # Errors
/// Returns what was expected.
pub(in crate::catalog) fn check_expression(text: &str, dialect: SqlDialect) -> Result<(), String> {
    let tokens = Tokenizer::new(tokenizer_dialect(dialect), text).tokenize();
    let tokens = tokens.map_err(|error| error.message)?;
    let is_comment = |token: &Token| {
        matches!(
            token,
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)
            )
        )
    };
    if tokens.iter().any(is_comment) {
        return Err("expected no comment".to_owned());
    }
    let is_code = |token: &&Token| !matches!(token, Token::Whitespace(_));
    if tokens.iter().filter(is_code).count() == 0 {
        return Err("expected an expression".to_owned());
    }
    let mut depth = Depth::default();
    for token in &tokens {
        if !depth.follow(token) {
            return Err("expected balanced parentheses".to_owned());
        }
        if depth.is_outside() && matches!(token, Token::Comma | Token::SemiColon) {
            return Err(format!("expected one expression, found `{token}`"));
        }
    }
    match depth.is_outside() && !tokens.contains(&Token::SemiColon) {
        true => Ok(()),
        false => Err("expected balanced parentheses, and no semicolon".to_owned()),
    }
}

/// Returns the text of a file with another expression for the column `name` of its only statement.
///
/// # Errors
/// Returns an error if the column is not one item of the list that makes the rows, or the rows come from several lists.
pub(in crate::catalog) fn replace_column(
    text: &str,
    dialect: SqlDialect,
    name: &str,
    expression: &str,
) -> Result<String, LineError> {
    let tokens = Tokenizer::new(tokenizer_dialect(dialect), text).tokenize_with_location();
    let tokens = tokens.map_err(|error| LineError::new(1, error.message))?;
    let code = code_of(&tokens);
    let code = single_statement(&code)?;
    let item = find_item(code, dialect, name).map_err(|message| LineError::new(1, message))?;
    let offsets = Offsets::new(text);
    let start = offsets.byte(code[item.start].span.start);
    let end = offsets.byte(code[item.end - 1].span.end);
    let quoted = dialect.quote(name);
    Ok([
        &text[..start],
        "(",
        expression,
        ") as ",
        &quoted,
        &text[end..],
    ]
    .concat())
}

/// Finds the tokens of the item that is the column `name`.
fn find_item(
    code: &[&TokenWithSpan],
    dialect: SqlDialect,
    name: &str,
) -> Result<Range<usize>, String> {
    let list = find_list(code, dialect)?;
    let items = split_items(code, list);
    if items.iter().any(|item| is_wildcard(&code[item.clone()])) {
        return Err("the select list has a `*`; name its columns instead".to_owned());
    }
    let named = |is_name: &dyn Fn(&Name<'_>) -> bool| -> Vec<Range<usize>> {
        let items = items.iter().filter(|item| {
            let found = name_of(&code[(*item).clone()]);
            found.is_some_and(|found| is_name(&found))
        });
        items.cloned().collect()
    };
    // Databases differ in whether the case of a name counts.
    let exact = named(&|found| found.is(name, dialect));
    let found = match exact.is_empty() {
        true => named(&|found| found.text.eq_ignore_ascii_case(name)),
        false => exact,
    };
    match found.as_slice() {
        [item] => Ok(item.clone()),
        [] => Err(format!(
            "the select list has no column `{name}`; add `as {name}`"
        )),
        _ => Err(format!("the select list has several columns `{name}`")),
    }
}

/// Finds the list after the only `select` that is not in parentheses. Common table expressions are.
fn find_list(code: &[&TokenWithSpan], dialect: SqlDialect) -> Result<Range<usize>, String> {
    let mut depth = Depth::default();
    let (mut start, mut end) = (None, None);
    for (index, token) in code.iter().enumerate() {
        let is_outside = depth.is_outside();
        if !depth.follow(&token.token) {
            break;
        }
        if !is_outside || is_name_by_position(code, index) {
            continue;
        }
        let is = |word: &&str| is_word(Some(&token.token), word);
        if SET_OPERATORS.iter().any(is) || (start.is_some() && is(&"select")) {
            let message = "expected one `select`, without union, intersect or except";
            return Err(message.to_owned());
        }
        if is(&"select") {
            start = Some(index + 1);
        } else if start.is_some() && end.is_none() && AFTER_LIST.iter().any(is) {
            end = Some(index);
        }
    }
    let start = start.ok_or("expected a statement with a `select` outside parentheses")?;
    let end = end.unwrap_or(code.len());
    Ok(skip_modifiers(&code[..end], start, dialect)..end)
}

/// Tells whether a word begins no clause whatever it is: after `as`, a dot, or as a part of `is distinct from` or
/// `within group`.
fn is_name_by_position(code: &[&TokenWithSpan], index: usize) -> bool {
    let token = |distance: usize| Some(&code[index.checked_sub(distance)?].token);
    let is_operator = is_word(token(1), "distinct")
        && (is_word(token(2), "is") || is_word(token(2), "not"))
        && is_word(token(0), "from");
    let is_aggregate = is_word(token(1), "within") && is_word(token(0), "group");
    is_operator || is_aggregate || token(1) == Some(&Token::Period) || is_word(token(1), "as")
}

/// Returns the index after the words before a list, such as `distinct` or `distinct on (…)`.
fn skip_modifiers(code: &[&TokenWithSpan], mut start: usize, dialect: SqlDialect) -> usize {
    let is_any = |index: usize, words: &[&str]| {
        let token = code.get(index).map(|it| &it.token);
        words.iter().any(|word| is_word(token, word))
    };
    let is_mysql = dialect == SqlDialect::Mysql;
    while is_any(start, &BEFORE_LIST) || (is_mysql && is_any(start, &BEFORE_LIST_OF_MYSQL)) {
        start += 1;
    }
    if is_any(start, &["on"]) && dialect == SqlDialect::Postgres {
        start += 1;
        let mut depth = Depth::default();
        while let Some(token) = code.get(start) {
            start += 1;
            if !depth.follow(&token.token) || depth.is_outside() {
                break;
            }
        }
    }
    start
}

/// Splits a list at the commas that are not in parentheses.
fn split_items(code: &[&TokenWithSpan], list: Range<usize>) -> Vec<Range<usize>> {
    let mut depth = Depth::default();
    let mut items = Vec::new();
    let mut start = list.start;
    for index in list.clone() {
        let token = &code[index].token;
        depth.follow(token);
        if depth.is_outside() && *token == Token::Comma {
            items.push(start..index);
            start = index + 1;
        }
    }
    items.push(start..list.end);
    items.retain(|item| !item.is_empty());
    items
}

/// Tells whether an item stands for several columns: `*` or `t.*`.
fn is_wildcard(item: &[&TokenWithSpan]) -> bool {
    let last = item.len() - 1;
    let is_first = last == 0 || item[last - 1].token == Token::Period;
    item[last].token == Token::Mul && is_first
}

/// The name of an item.
struct Name<'t> {
    text: &'t str,
    is_quoted: bool,
}

impl Name<'_> {
    /// Tells whether a column of this name is the item's: PostgreSQL makes unquoted names lower case.
    fn is(&self, name: &str, dialect: SqlDialect) -> bool {
        match self.is_quoted || dialect != SqlDialect::Postgres {
            true => self.text == name,
            false => self.text.to_ascii_lowercase() == name,
        }
    }
}

/// Returns the name of an item, if it ends with one: `a`, `t.a`, `f(x) as a`, `f(x) a`.
fn name_of<'t>(item: &[&'t TokenWithSpan]) -> Option<Name<'t>> {
    let (last, before) = item.split_last()?;
    let previous = before.last().map(|it| &it.token);
    let is_alias = is_word(previous, "as");
    match &last.token {
        Token::Word(Word {
            value, quote_style, ..
        }) if is_alias || may_precede_name(previous) => Some(Name {
            text: value,
            is_quoted: quote_style.is_some(),
        }),
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) if is_alias => {
            Some(Name {
                text,
                is_quoted: true,
            })
        }
        _ => None,
    }
}

/// Tells whether a name may follow a token: after a whole expression, a dot, or nothing. After an operator it is an operand.
fn may_precede_name(previous: Option<&Token>) -> bool {
    matches!(
        previous,
        None | Some(
            Token::Period
                | Token::Word(_)
                | Token::Number(..)
                | Token::RParen
                | Token::RBracket
                | Token::RBrace
                | Token::SingleQuotedString(_)
                | Token::DoubleQuotedString(_)
                | Token::EscapedStringLiteral(_)
                | Token::NationalStringLiteral(_)
                | Token::HexStringLiteral(_)
                | Token::DollarQuotedString(_)
        )
    )
}

/// The brackets that are open.
#[derive(Default)]
pub(super) struct Depth(Vec<Token>);

impl Depth {
    /// Follows a token; returns whether it closes no bracket that is not open.
    pub(super) fn follow(&mut self, token: &Token) -> bool {
        match token {
            Token::LParen => self.0.push(Token::RParen),
            Token::LBracket => self.0.push(Token::RBracket),
            Token::LBrace => self.0.push(Token::RBrace),
            Token::RParen | Token::RBracket | Token::RBrace => {
                return self.0.pop().as_ref() == Some(token);
            }
            _ => {}
        }
        true
    }

    pub(super) fn is_outside(&self) -> bool {
        self.0.is_empty()
    }
}
