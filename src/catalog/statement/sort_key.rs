//! Finds placeholders that are sort keys: `order by :sort` compares one value with itself, and sorts nothing.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::list_use::is_word;

/// What may follow a sort key.
const AFTER: [&str; 9] = [
    "asc", "desc", "nulls", "limit", "offset", "fetch", "for", "rows", "range",
];
/// What starts a clause, and so ends the list of sort keys before it.
const CLAUSES: [&str; 6] = ["select", "from", "where", "having", "limit", "values"];

/// Returns whether the placeholder whose tokens are from `start` to before `end` is a sort key of its own.
pub(super) fn is_sort_key(code: &[&TokenWithSpan], start: usize, end: usize) -> bool {
    let ends = match code.get(end).map(|token| &token.token) {
        None | Some(Token::Comma | Token::RParen) => true,
        after => AFTER.iter().any(|word| is_word(after, word)),
    };
    ends && starts_sort_key(&code[..start])
}

/// Returns whether a sort key starts after some tokens: after `order by`, or after a comma of its list.
fn starts_sort_key(before: &[&TokenWithSpan]) -> bool {
    let token = |index: usize| before.get(index).map(|it| &it.token);
    let is_start = |index: usize| is_word(token(index), "by");
    let Some(last) = before.len().checked_sub(1) else {
        return false;
    };
    if !is_start(last) && token(last) != Some(&Token::Comma) {
        return false;
    }
    let mut depth = 0;
    for index in (0..=last).rev() {
        match token(index) {
            Some(Token::RParen) => depth += 1,
            Some(Token::LParen) if depth == 0 => return false,
            Some(Token::LParen) => depth -= 1,
            word if depth == 0 => {
                if is_start(index) {
                    return index > 0 && is_word(token(index - 1), "order");
                }
                if CLAUSES.iter().any(|clause| is_word(word, clause)) {
                    return false;
                }
            }
            _ => {}
        }
    }
    false
}
