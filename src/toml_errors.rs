//! Errors of configuration and catalog files, each with its line.

use serde::de::DeserializeOwned;

/// An error in a text file, with its line counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and, where it helps, what to do.
    pub message: String,
}

impl LineError {
    /// Creates an error on a line.
    pub(crate) fn new(line: usize, message: impl Into<String>) -> LineError {
        LineError {
            line,
            message: message.into(),
        }
    }

    /// Creates an error at a byte offset of the file's text.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> LineError {
        LineError::new(1 + text[..offset].matches('\n').count(), message)
    }
}

/// Parses a TOML file.
///
/// # Errors
/// The first syntax or type error; the TOML reader stops there.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Vec<LineError>> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        vec![LineError::at(text, offset, error.message())]
    })
}
