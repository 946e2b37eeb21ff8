//! The lines that the check of a store prints.

use std::fmt::Display;

/// What a step has found.
pub(super) type StepResult = Result<String, Problem>;

/// Why a step is not ok, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Rowlink works, but not with all features.
    Warning(String),
    /// Stored files do not work.
    Failed(String),
    /// The step was not run.
    Skipped(String),
}

impl Problem {
    /// Returns a failure as a warning.
    pub(super) fn into_warning(self) -> Problem {
        match self {
            Problem::Failed(text) => Problem::Warning(text),
            other => other,
        }
    }
}

/// Prints a line per step.
#[derive(Default)]
pub(super) struct Report {
    failed: usize,
}

impl Report {
    /// Prints the line of a step.
    pub(super) fn add(&mut self, step: impl Display, result: StepResult) {
        let (outcome, text) = match result {
            Ok(text) => ("ok", text),
            Err(Problem::Warning(text)) => ("warning", text),
            Err(Problem::Skipped(text)) => ("skipped", text),
            Err(Problem::Failed(text)) => {
                self.failed += 1;
                ("failed", text)
            }
        };
        // A store's text could change the terminal, or forge another line.
        let text = text.replace(char::is_control, " ");
        println!("{outcome:<7} {step}: {text}");
    }

    /// Returns how many steps have failed.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }
}
