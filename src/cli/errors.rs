//! The errors that stop a command, one line each.

use std::fmt::Display;

/// The errors that stop a command, one line each.
pub(super) type ErrorLines = Vec<String>;

/// Returns one error as a line.
pub(super) fn error_line(error: impl Display) -> ErrorLines {
    vec![error.to_string()]
}

/// Returns errors as lines.
pub(super) fn error_lines<T: Display>(errors: Vec<T>) -> ErrorLines {
    errors.iter().map(ToString::to_string).collect()
}
