//! The text rules that names and values of a link follow.

use std::collections::BTreeSet;
use std::fmt;

/// A user id: 1 to 256 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// Parses a user id.
    ///
    /// # Errors
    /// Returns [`TextError`] if it is empty, longer than 256 bytes, or has a control character.
    pub fn parse(text: impl Into<String>) -> Result<UserId, TextError> {
        let text = text.into();
        check_text(&text)?;
        Ok(UserId(text))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user id or a claim's value breaks the text rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 256 bytes without control characters")]
pub struct TextError;

/// Checks the text rule of user ids and claims' values: 1 to 256 bytes without control characters.
///
/// # Errors
/// Returns [`TextError`] if the text breaks it.
pub fn check_text(text: &str) -> Result<(), TextError> {
    let fits = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then_some(()).ok_or(TextError)
}

/// Tells whether `name` is 1 to `bytes_max` of `A-Z a-z 0-9 _ -`: valid without escapes in a path, a
/// query and a TOML key.
#[must_use]
pub fn is_bare_name(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Tells whether `name` can name an export: `[A-Za-z0-9_-]{1,64}`.
#[must_use]
pub fn is_export_name(name: &str) -> bool {
    is_bare_name(name, 64)
}

/// Tells whether `name` can name a claim: `[A-Za-z0-9_]{1,64}`.
#[must_use]
pub fn is_claim_name(name: &str) -> bool {
    is_bare_name(name, 64) && !name.contains('-')
}

/// Tells whether `name` can be a format, the extension of a path: `[a-z0-9]{1,16}`.
#[must_use]
pub fn is_format_name(name: &str) -> bool {
    (1..=16).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The output options for every format.
const OPTIONS: [&str; 6] = [
    "columns", "timezone", "language", "end_line", "length", "delivery",
];

/// Tells whether a reserved parameter, without its prefix, is an output option: one for every format,
/// or `{format}.{option}`. Which options exist, the server checks.
#[must_use]
pub fn is_option_name(name: &str) -> bool {
    match name.split_once('.') {
        None => OPTIONS.contains(&name),
        Some((format, _)) => format != "claim" && is_format_name(format),
    }
}

/// Parses the names of the columns that a link reveals, separated by commas.
///
/// # Errors
/// Returns what was expected if a name breaks the text rule of [`check_text`], or occurs twice.
pub(super) fn parse_reveal(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    let is_unique: BTreeSet<&String> = names.iter().collect();
    let is_valid = names.iter().all(|name| check_text(name).is_ok());
    match is_valid && is_unique.len() == names.len() {
        true => Ok(names),
        false => Err("expected names of columns, each once, separated by commas"),
    }
}

/// Parses 64 lower-case hex digits, never fewer.
pub(super) fn parse_hash(text: &str) -> Result<[u8; 32], &'static str> {
    let mut hash = [0; 32];
    // A loop without an early exit is vectorized.
    let is_upper_case = |found, byte: u8| found | byte.is_ascii_uppercase();
    let is_lower_case = !text.bytes().fold(false, is_upper_case);
    match hex::decode_to_slice(text, &mut hash) {
        Ok(()) if is_lower_case => Ok(hash),
        _ => Err("expected 64 lower-case hex digits"),
    }
}
