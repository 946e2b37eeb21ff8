//! How the SQL uses a list, from the tokens around its placeholder.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// How the SQL uses a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListUse {
    /// As the elements of `in (:list)`.
    Elements {
        /// The index of the token with which `in` or `not in` starts.
        operator: usize,
        /// The same operator for an array.
        written: &'static str,
    },
    /// As a JSON array: within the parentheses of a JSON function, or of `member of`.
    Json,
    /// In `:list is null`.
    NullTest,
    /// As one value.
    Value,
}

impl ListUse {
    /// Finds the use of the placeholder whose tokens are from `start` to before `end`.
    pub(super) fn of(code: &[&TokenWithSpan], start: usize, end: usize) -> ListUse {
        let before = |distance: usize| Some(&code[start.checked_sub(distance)?].token);
        let after = code.get(end).map(|token| &token.token);
        if is_word(after, "is") {
            return ListUse::NullTest;
        }
        let is_alone = before(1) == Some(&Token::LParen) && after == Some(&Token::RParen);
        if is_alone && is_word(before(2), "in") {
            let is_negated = is_word(before(3), "not");
            return ListUse::Elements {
                operator: start - 2 - usize::from(is_negated),
                written: if is_negated { "<> all" } else { "= any" },
            };
        }
        match is_within_json(&code[..start]) {
            true => ListUse::Json,
            false => ListUse::Value,
        }
    }
}

/// Returns whether the end of some tokens is within the parentheses of a JSON function.
fn is_within_json(code: &[&TokenWithSpan]) -> bool {
    let mut open = Vec::new();
    for (index, token) in code.iter().enumerate() {
        match token.token {
            Token::LParen => {
                let before = index.checked_sub(1).map(|index| &code[index].token);
                open.push(is_json_word(before));
            }
            Token::RParen => drop(open.pop()),
            _ => {}
        }
    }
    open.contains(&true)
}

fn is_json_word(token: Option<&Token>) -> bool {
    let name = word(token).unwrap_or_default().to_ascii_lowercase();
    // `member of (…)`.
    name.starts_with("json") || name == "of"
}

/// Returns whether a token is an unquoted word, in any case.
pub(super) fn is_word(token: Option<&Token>, expected: &str) -> bool {
    word(token).is_some_and(|word| word.eq_ignore_ascii_case(expected))
}

/// Returns the text of an unquoted word.
fn word(token: Option<&Token>) -> Option<&str> {
    match token {
        Some(Token::Word(Word {
            value,
            quote_style: None,
            ..
        })) => Some(value),
        _ => None,
    }
}
