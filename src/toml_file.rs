//! Files in TOML whose faults name their lines: API keys, issuers, revocations.

use serde::de::DeserializeOwned;

/// Something wrong in a file, with its line from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LineFault {
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl LineFault {
    /// A fault at a byte of the file's text.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> LineFault {
        LineFault {
            line: 1 + text[..offset].matches('\n').count(),
            message: message.into(),
        }
    }
}

/// Reads a file.
///
/// # Errors
/// Its one fault that keeps it from being read: TOML's own readers stop there.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Vec<LineFault>> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        vec![LineFault::at(text, offset, error.message())]
    })
}
