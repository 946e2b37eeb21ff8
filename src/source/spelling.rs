//! Spellings of user ids and claims. Where a database reads a text as a number, `42`, `042` and `42abc` may be the
//! same to it, but they are different users: limits, revocations and the audit log compare texts.

use super::errors::SourceError;
use crate::catalog::{BoundQuery, Parameter, Value, Variable};

/// How a database compares a user id or a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// As a text, byte by byte.
    Text,
    /// As a text of fixed length, without the spaces at its end.
    PaddedText,
    /// As a number.
    Number,
    /// As a UUID.
    Uuid,
    /// As a text, or as a number if it can be read as one: the type is that of each row's value.
    TextOrNumber,
}

impl Comparison {
    /// Tells whether the text is the only one that compares equal to its value.
    pub(super) fn has_one_spelling(self, text: &str) -> bool {
        match self {
            Comparison::Text => true,
            Comparison::PaddedText => !text.ends_with(' '),
            Comparison::Number => is_canonical_number(text),
            Comparison::Uuid => {
                let parsed = uuid::Uuid::try_parse(text);
                parsed.is_ok_and(|uuid| uuid.to_string() == text)
            }
            Comparison::TextOrNumber => !looks_like_number(text) || is_canonical_number(text),
        }
    }
}

/// Whether the values of a variable decide whose rows are read.
pub(super) fn is_identity(variable: &Variable) -> bool {
    matches!(variable, Variable::User | Variable::Claim(_))
}

/// Checks the text of each variable that a sheet's statement compares in some way.
///
/// # Errors
/// Returns [`SourceError::BadValue`] for a text that the database could read as another one.
pub(super) fn check_spellings(
    query: &BoundQuery,
    sheet: usize,
    uses: impl IntoIterator<Item = (usize, Comparison)>,
) -> Result<(), SourceError> {
    for (variable, comparison) in uses {
        let values = match &query.parameters(sheet)[variable] {
            Parameter::Null => &[],
            Parameter::One(value) => std::slice::from_ref(value),
            Parameter::List(values) => values.as_slice(),
        };
        let is_ambiguous = |value: &Value| match value {
            Value::Text(text) => !comparison.has_one_spelling(text),
            _ => false,
        };
        if values.iter().any(is_ambiguous) {
            return Err(SourceError::BadValue {
                variable: Some(query.statement(sheet).variables[variable].clone()),
                cause: "the database could read it as another value".into(),
            });
        }
    }
    Ok(())
}

/// Whether a text is a whole or decimal number as databases print it: no sign but `-`, no leading or trailing
/// zero, no exponent.
fn is_canonical_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(|fraction| are_digits(fraction) && !fraction.ends_with('0'))
        && text != "-0"
}

/// Whether SQLite could convert a text to a number ("Datatypes In SQLite", section 3).
fn looks_like_number(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    has_digit
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_one_spelling() {
        use Comparison::*;
        let all = [Text, PaddedText, Number, Uuid, TextOrNumber];
        for (text, expected) in [
            ("42", vec![Text, PaddedText, Number, TextOrNumber]),
            ("-7", vec![Text, PaddedText, Number, TextOrNumber]),
            ("0.5", vec![Text, PaddedText, Number, TextOrNumber]),
            ("0", vec![Text, PaddedText, Number, TextOrNumber]),
            ("042", vec![Text, PaddedText]),
            ("42.0", vec![Text, PaddedText]),
            ("+42", vec![Text, PaddedText]),
            ("-0", vec![Text, PaddedText]),
            ("4e1", vec![Text, PaddedText]),
            (".5", vec![Text, PaddedText]),
            ("5.", vec![Text, PaddedText]),
            (" 42", vec![Text, PaddedText]),
            ("42 ", vec![Text]),
            ("42abc", vec![Text, PaddedText, TextOrNumber]),
            ("0x2a", vec![Text, PaddedText, TextOrNumber]),
            ("alice", vec![Text, PaddedText, TextOrNumber]),
            ("", vec![Text, PaddedText, TextOrNumber]),
            ("e", vec![Text, PaddedText, TextOrNumber]),
            (
                "0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
                vec![Text, PaddedText, Uuid, TextOrNumber],
            ),
            (
                "0198C2F4-6f3a-7cc1-9b2e-0242ac120002",
                vec![Text, PaddedText, TextOrNumber],
            ),
            (
                "{0198c2f4-6f3a-7cc1-9b2e-0242ac120002}",
                vec![Text, PaddedText, TextOrNumber],
            ),
        ] {
            let accepted = all.into_iter().filter(|it| it.has_one_spelling(text));
            assert_eq!(accepted.collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
