//! Names of tables and columns in SQL.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::SqlDialect;

/// Keywords of the tokenizer that every database accepts as the name of a column without quotes.
const USUAL_NAMES: [&str; 10] = [
    "comment", "count", "data", "date", "id", "level", "name", "status", "type", "value",
];

impl SqlDialect {
    /// Returns a name in the quotes of identifiers.
    #[must_use]
    pub fn quote(self, name: &str) -> String {
        let mark = match self {
            SqlDialect::Mysql => "`",
            SqlDialect::Sqlite | SqlDialect::Postgres => "\"",
        };
        [mark, &name.replace(mark, &mark.repeat(2)), mark].concat()
    }

    /// Returns a name as people write it: in quotes only if it could be read as something else. In PostgreSQL `user` is a
    /// function, and `Total` is the column `total`.
    #[must_use]
    pub fn write_name(self, name: &str) -> String {
        match is_plain(name) {
            true => name.to_owned(),
            false => self.quote(name),
        }
    }
}

/// Functions of MySQL that are called without parentheses, and are no keywords of `sqlparser`.
const FUNCTIONS_WITHOUT_PARENTHESES: [&str; 3] = ["utc_date", "utc_time", "utc_timestamp"];

/// Tells whether a name has only small letters, digits and `_`, and is no keyword.
fn is_plain(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_word =
        |token: &Token| matches!(token, Token::Word(word) if word.keyword == Keyword::NoKeyword);
    name.starts_with(is_letter)
        && !FUNCTIONS_WITHOUT_PARENTHESES.contains(&name)
        && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && (USUAL_NAMES.contains(&name) || is_word(&Token::make_word(name, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_could_be_read_as_something_else_are_quoted() {
        for name in ["id", "created_at", "status", "_x1"] {
            assert_eq!(SqlDialect::Postgres.write_name(name), name);
        }
        for name in ["user", "order", "Total", "1st", "größe", "a b", ""] {
            let quoted = format!("\"{name}\"");
            assert_eq!(SqlDialect::Sqlite.write_name(name), quoted);
        }
        assert_eq!(SqlDialect::Postgres.quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(SqlDialect::Mysql.write_name("a`b"), "`a``b`");
    }
}
