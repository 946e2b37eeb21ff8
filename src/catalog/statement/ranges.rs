//! Finds in a statement's text what keeps it from being read in ranges of a column.
//!
//! Whatever cannot be read with certainty is an obstacle: such a statement is read over one connection, as any other.

use std::collections::BTreeSet;

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::list_use::is_word;
use super::parser::{code_of, tokenizer_dialect};
use super::select_list::Depth;
use super::{SqlDialect, Statement};

/// Words whose value is the time of a transaction, which differs between connections.
const CLOCKS: [&str; 5] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
];
/// Functions whose value depends on such a time.
const CLOCK_FUNCTIONS: [&str; 6] = [
    "now",
    "age",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
];
/// Texts that PostgreSQL reads as dates and times of the transaction.
const CLOCK_TEXTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
/// Clauses after which the rows of ranges would not be those of the statement.
const CLAUSES: [(&str, &str); 4] = [
    ("limit", "it has a `limit`"),
    ("offset", "it has an `offset`"),
    ("fetch", "it has a row limit, `fetch`"),
    ("for", "it locks rows, `for …`"),
];

impl Statement {
    /// Returns why the statement cannot be read in ranges of its column `key`, in ascending order; `None` if its text
    /// has no reason. PostgreSQL only.
    pub fn range_obstacle(&self, key: &str) -> Option<String> {
        let Some((tokens, references)) = tokens_of(&self.sql).zip(References::of(&self.sql)) else {
            return Some("its text cannot be read with certainty".to_owned());
        };
        if let Some(clock) = references.clock {
            return Some(format!(
                "`{clock}` differs between connections; pass the time as a filter"
            ));
        }
        let code = code_of(&tokens);
        let mut depth = Depth::default();
        let mut order = None;
        for (index, token) in code.iter().enumerate() {
            let is_outside = depth.is_outside();
            if !depth.follow(&token.token) {
                return Some("its text cannot be read with certainty".to_owned());
            }
            let is_name = index > 0 && code[index - 1].token == Token::Period;
            if !is_outside || is_name {
                continue;
            }
            let mut clauses = CLAUSES.iter();
            let clause = clauses.find(|(word, _)| is_word(Some(&token.token), word));
            if let Some((_, reason)) = clause {
                return Some((*reason).to_owned());
            }
            let next = code.get(index + 1).map(|it| &it.token);
            if is_word(Some(&token.token), "order") && is_word(next, "by") {
                order = Some(index + 2);
            }
        }
        let keys = &code[order?..];
        let is_key = match keys {
            [name] => is_column(&name.token, key),
            [name, ascending] => {
                is_column(&name.token, key) && is_word(Some(&ascending.token), "asc")
            }
            _ => false,
        };
        (!is_key).then(|| {
            format!("its order is not exactly `{key}`; write `order by {key}` or remove the order")
        })
    }
}

/// What an SQL text of PostgreSQL refers to.
#[derive(Debug, PartialEq, Eq)]
pub struct References {
    /// The names before an opening parenthesis: those of all functions that the text calls, and others.
    pub called: BTreeSet<String>,
    /// What is a time of the transaction, if anything is.
    pub clock: Option<String>,
}

impl References {
    /// Reads a text; returns `None` if it cannot be read with certainty.
    pub fn of(sql: &str) -> Option<References> {
        let tokens = tokens_of(sql)?;
        let code = code_of(&tokens);
        let next = code.iter().skip(1).map(|it| &it.token).map(Some);
        let pairs = code.iter().map(|it| &it.token).zip(next.chain([None]));
        let called = pairs.clone().filter_map(|pair| match pair {
            (Token::Word(word), Some(Token::LParen)) => Some(stored_name(word)),
            _ => None,
        });
        let mut clocks = pairs.clone().filter_map(|(token, next)| clock(token, next));
        Some(References {
            called: called.collect(),
            clock: clocks.next().map(str::to_owned),
        })
    }
}

fn tokens_of(sql: &str) -> Option<Vec<TokenWithSpan>> {
    let dialect = tokenizer_dialect(SqlDialect::Postgres);
    Tokenizer::new(dialect, sql).tokenize_with_location().ok()
}

/// Returns the text of a token whose value is a time of the transaction. `next` is the token after it.
fn clock<'t>(token: &'t Token, next: Option<&Token>) -> Option<&'t str> {
    let (text, clocks): (&str, &[&str]) = match token {
        Token::Word(word) if next == Some(&Token::LParen) && !is_keyword(word) => {
            (&word.value, &CLOCK_FUNCTIONS)
        }
        Token::Word(word) => (&word.value, &CLOCKS),
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text) => (text, &CLOCK_TEXTS),
        Token::DollarQuotedString(text) => (&text.value, &CLOCK_TEXTS),
        _ => return None,
    };
    let mut clocks = clocks.iter();
    let is_clock = clocks.any(|clock| text.trim().eq_ignore_ascii_case(clock));
    is_clock.then_some(text)
}

/// Tells whether a word is a clock with or without the parentheses of a precision: `current_time(0)`.
fn is_keyword(word: &Word) -> bool {
    let mut clocks = CLOCKS.iter();
    clocks.any(|clock| word.value.eq_ignore_ascii_case(clock))
}

/// Tells whether a token alone is the name of an output column.
fn is_column(token: &Token, column: &str) -> bool {
    match token {
        Token::Word(word) => stored_name(word) == column,
        _ => false,
    }
}

/// Returns a name as PostgreSQL stores it: in lower case, unless it is quoted.
fn stored_name(word: &Word) -> String {
    match word.quote_style {
        Some(_) => word.value.clone(),
        None => word.value.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(sql: &str) -> Statement {
        Statement::parse(sql, SqlDialect::Postgres, |_| false).expect("a statement")
    }

    #[test]
    fn a_statement_without_order_or_in_the_order_of_the_column_has_no_obstacle() {
        for sql in [
            "select id from t",
            "select id from t order by id",
            "select id from t order by ID asc",
            "select id, (select max(b) from u where u.t = t.id) from t where a = :x order by \"id\"",
            "select id, row_number() over (order by a) from t",
            "select id, t.limit from (select * from t limit 3) t order by id",
            "select id, substring(a for 3) as a from t -- order by a",
            "select id, 'now and then' as a, age, t.now from t",
        ] {
            assert_eq!(statement(sql).range_obstacle("id"), None, "{sql}");
        }
    }

    #[test]
    fn every_other_order_a_row_limit_a_lock_and_a_clock_are_obstacles() {
        for (sql, expected) in [
            ("select id from t order by a", "its order"),
            ("select id from t order by id desc", "its order"),
            ("select id from t order by id nulls first", "its order"),
            ("select id from t order by id, a", "its order"),
            ("select id from t order by t.id", "its order"),
            ("select id from t order by 1", "its order"),
            ("select id from t order by \"ID\"", "its order"),
            ("select id from t order by id limit :n", "`limit`"),
            ("select id from t offset 5", "`offset`"),
            ("select id from t fetch first 5 rows only", "`fetch`"),
            ("select id from t for update", "locks rows"),
            ("select id from t where at < now()", "`now`"),
            (
                "select id from t where day = current_date",
                "`current_date`",
            ),
            (
                "select id from t where at < current_timestamp(0)",
                "`current_timestamp`",
            ),
            ("select id, age(at) from t", "`age`"),
            ("select id from t where day = 'Today'::date", "`Today`"),
            ("select id from t where day = $$now$$::date", "`now`"),
        ] {
            let found = statement(sql).range_obstacle("id").unwrap_or_default();
            assert!(found.contains(expected), "{sql}: {found}");
        }
    }

    #[test]
    fn called_functions_are_found() {
        let sql = "select id, Random(), s.\"Roll\"(1) from t where a in (1)";
        let names = References::of(sql).expect("tokens").called;
        for name in ["random", "Roll"] {
            assert!(names.contains(name), "{names:?}");
        }
        assert!(!names.contains("id"), "{names:?}");
    }

    #[test]
    fn functions_and_clocks_are_found_in_the_spelling_of_the_server() {
        let references = |sql| References::of(sql).expect("tokens");
        let called =
            references(r#"(lower((a.b)::text) = app."My f"(x)) AND (public.g(1) > 2)"#).called;
        for name in ["lower", "My f", "g"] {
            assert!(called.contains(name), "{called:?}");
        }
        let clock = |sql| references(sql).clock;
        assert_eq!(clock("(d.expires_at > now())").as_deref(), Some("now"));
        assert_eq!(
            clock("(d.day > CURRENT_DATE)").as_deref(),
            Some("CURRENT_DATE")
        );
        assert_eq!(clock("(d.known_at > d.known(1))"), None);
        assert_eq!(References::of("it's"), None);
    }
}
