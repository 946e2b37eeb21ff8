//! The errors that stop a command, one line each.

use std::fmt::Display;
use std::process::ExitCode;

/// The errors that stop a command, one line each.
pub(super) type ErrorLines = Vec<String>;

/// The exit code for wrong usage, and for a wrong configuration, catalog or database.
const EXIT_MISCONFIGURED: u8 = 2;
/// The exit code of a file that was begun and is not complete.
const EXIT_INCOMPLETE: u8 = 3;

/// Why a command failed, and the exit code of its process.
pub(super) struct Failure {
    lines: ErrorLines,
    exit_code: u8,
}

impl Failure {
    /// Returns the failure of an export that had begun.
    pub(super) fn incomplete(lines: ErrorLines) -> Failure {
        Failure {
            lines,
            exit_code: EXIT_INCOMPLETE,
        }
    }

    /// Prints the errors; returns the exit code.
    pub(super) fn report(self) -> ExitCode {
        self.lines
            .iter()
            .for_each(|error| eprintln!("rowlink: {error}"));
        ExitCode::from(self.exit_code)
    }
}

impl From<ErrorLines> for Failure {
    fn from(lines: ErrorLines) -> Failure {
        Failure {
            lines,
            exit_code: EXIT_MISCONFIGURED,
        }
    }
}

/// Returns one error as a line.
pub(super) fn error_line(error: impl Display) -> ErrorLines {
    vec![error.to_string()]
}

/// Returns errors as lines.
pub(super) fn error_lines<T: Display>(errors: Vec<T>) -> ErrorLines {
    errors.iter().map(ToString::to_string).collect()
}
