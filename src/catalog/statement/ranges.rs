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
/// Words in a text that PostgreSQL reads as the time of the transaction: its manual, "Special Date/Time Inputs". The others,
/// such as `epoch`, `infinity` and `allballs`, are constants.
const CLOCK_WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
/// The function that returns a setting, which may differ between connections.
const READS_SETTING: &str = "current_setting";
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
    /// The settings that the text reads, in lower case; `None` if their names are not all written in it.
    pub settings: Option<BTreeSet<String>>,
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
        let mut clocks = pairs.filter_map(|(token, next)| clock(token, next));
        let clock = clocks.next().map(str::to_owned);
        let texts = texts(&code);
        let of_texts = || texts.iter().find_map(|text| clock_word(text));
        Some(References {
            called: called.collect(),
            clock: clock.or_else(|| of_texts().map(str::to_owned)),
            settings: settings(&code, &texts),
        })
    }
}

/// Returns the first word of a text that could be a time of the transaction if PostgreSQL reads the text as a date, a time,
/// or a list of them.
pub fn clock_word(text: &str) -> Option<&str> {
    // The server also reads `today06:00`, `{now}` and `tomorrow allballs`.
    let mut words = text.split(|it: char| !it.is_ascii_alphabetic());
    words.find(|word| is_in(word, &CLOCK_WORDS))
}

/// Returns the tokens of a text; `None` if they may not be those that the server reads.
fn tokens_of(sql: &str) -> Option<Vec<TokenWithSpan>> {
    let dialect = tokenizer_dialect(SqlDialect::Postgres);
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location().ok()?;
    // It gives the text before it another escape character.
    let mut all = tokens.iter();
    let has_escapes = all.any(|it| is_word(Some(&it.token), "uescape"));
    (!has_escapes).then_some(tokens)
}

/// Returns the text of a token whose value is a time of the transaction. `next` is the token after it.
fn clock<'t>(token: &'t Token, next: Option<&Token>) -> Option<&'t str> {
    let Token::Word(Word { value, .. }) = token else {
        return None;
    };
    let is_called = next == Some(&Token::LParen);
    let is_clock = is_in(value, &CLOCKS) || (is_called && is_in(value, &CLOCK_FUNCTIONS));
    is_clock.then_some(value)
}

/// Tells whether a word is one of some others, in any case.
fn is_in(word: &str, others: &[&str]) -> bool {
    others.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// Returns the texts in some code. The server reads those that follow each other, on separate lines, as one.
fn texts(code: &[&TokenWithSpan]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut follows_text = false;
    for token in code {
        let part = text_of(&token.token);
        match (part, texts.last_mut()) {
            (Some(part), Some(text)) if follows_text => text.push_str(part),
            (Some(part), _) => texts.push(part.to_owned()),
            (None, _) => {}
        }
        follows_text = part.is_some();
    }
    texts
}

/// Returns the value of a token that is a text.
fn text_of(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// Returns the names of the settings that some code reads; `None` if one is computed, also by code in one of its `texts`.
fn settings(code: &[&TokenWithSpan], texts: &[String]) -> Option<BTreeSet<String>> {
    let mut texts = texts.iter();
    if texts.any(|text| text.to_ascii_lowercase().contains(READS_SETTING)) {
        return None;
    }
    let tokens: Vec<&Token> = code.iter().map(|it| &it.token).collect();
    let mut settings = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        match (token, &tokens[index + 1..]) {
            (Token::Word(word), [Token::LParen, arguments @ ..])
                if stored_name(word) == READS_SETTING =>
            {
                settings.insert(first_text(arguments)?.to_ascii_lowercase());
            }
            _ => {}
        }
    }
    Some(settings)
}

/// Returns the first argument of a call, if it is a text and nothing else.
fn first_text<'t>(arguments: &[&'t Token]) -> Option<&'t str> {
    let [text, rest @ ..] = arguments else {
        return None;
    };
    // The server writes its type: `'name'::text`.
    let rest = match rest {
        [Token::DoubleColon, kind, rest @ ..] if is_word(Some(*kind), "text") => rest,
        rest => rest,
    };
    let is_end = matches!(rest, [Token::Comma | Token::RParen, ..]);
    text_of(text).filter(|_| is_end)
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
            "select id, 'known by nowhere' as a, 'epoch'::date, age, t.now from t",
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
    fn a_text_that_the_server_could_read_as_the_present_time_is_an_obstacle() {
        for text in [
            "'today 06:00'",
            "' NOW '",
            "'tomorrow allballs'",
            "'06:00yesterday'",
            "'today06:00'",
            "E'to\\x64ay'",
            "E'\\ttomorrow'",
            "U&'t\\006fday'",
            "N'now'",
            "$$ Yesterday $$",
            "$day$tomorrow$day$",
            "'{2026-01-01,today}'",
            "'[today,)'",
            "'to'\n'day'",
            "'to' -- day\n'day'",
            "U&'t!006fday' uescape '!'",
            "'order of today'",
        ] {
            let sql = format!("select id from t where at < {text}");
            assert!(statement(&sql).range_obstacle("id").is_some(), "{sql}");
        }
        for text in [
            "'epoch'",
            "'-infinity'",
            "'04:05 allballs'",
            "'nowadays'",
            "'to', 'day'",
        ] {
            let sql = format!("select id from t where at in ({text})");
            assert_eq!(statement(&sql).range_obstacle("id"), None, "{sql}");
        }
        assert_eq!(clock_word("until Tomorrow, 06:00"), Some("Tomorrow"));
        assert_eq!(clock_word("a nown"), None);
    }

    #[test]
    fn settings_are_found_by_their_names() {
        let settings = |sql| {
            let found = References::of(sql).expect("tokens").settings;
            found.map(|found| found.into_iter().collect::<Vec<String>>())
        };
        let found = settings(
            "select pg_catalog.Current_Setting('App.Tenant'), current_setting(E'app.site'::text, true) \
             from t where current_setting = 'x'",
        );
        assert_eq!(found, Some(vec!["app.site".into(), "app.tenant".into()]));
        assert_eq!(settings("select a from t"), Some(Vec::new()));
        for sql in [
            "select current_setting(name) from t",
            "select current_setting('app.' || name) from t",
            "select current_setting('app.a'::varchar) from t",
            "select current_setting(setting_name => 'app.a') from t",
            "execute 'select current_setting($1)' using name",
        ] {
            assert_eq!(settings(sql), None, "{sql}");
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
