//! The errors of the configuration, collected so that all are reported together.

use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::PREFIX;

/// An invalid variable: its name, and what was expected. Never its value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: String,
    /// What was expected.
    pub message: String,
}

#[derive(Default)]
pub(super) struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn add(&mut self, variable: &str, message: impl fmt::Display) {
        self.0.push(ConfigError {
            variable: format!("{PREFIX}{variable}"),
            message: message.to_string(),
        });
    }

    pub(super) fn check<T, E: fmt::Display>(
        &mut self,
        variable: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(variable, error)).ok()
    }

    pub(super) fn check_all<T, E: fmt::Display>(
        &mut self,
        variable: &str,
        result: Result<T, Vec<E>>,
    ) -> Option<T> {
        let add_all = |found: Vec<E>| found.iter().for_each(|error| self.add(variable, error));
        result.map_err(add_all).ok()
    }

    pub(super) fn required<T>(&mut self, variable: &str, value: Option<T>) -> Option<T> {
        let reported =
            |error: &ConfigError| error.variable.starts_with(&format!("{PREFIX}{variable}"));
        if value.is_none() && !self.0.iter().any(reported) {
            self.add(variable, "is required");
        }
        value
    }

    /// Returns a secret from its variable, or from the file that `X_FILE` names.
    pub(super) fn secret(
        &mut self,
        variable: &str,
        value: Option<Zeroizing<String>>,
        file: Option<PathBuf>,
    ) -> Option<Zeroizing<String>> {
        let file_variable = format!("{variable}_FILE");
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(
                    &file_variable,
                    format!("set this or {PREFIX}{variable}, not both"),
                );
                None
            }
            (None, Some(path)) => self.check(&file_variable, read(&path)),
            (value, None) => value,
        }
    }

    pub(super) fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        variable: &str,
        text: Option<String>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let Some(text) = text else {
            return default;
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                let message = format!("expected a whole number from {least} to {most}");
                self.add(variable, message);
                default
            }
        }
    }
}

/// Reads a file without the line end that editors add.
///
/// # Errors
/// Returns a message with the path if the file cannot be read, or starts with a byte order mark: as a part of a secret
/// it would make every signature wrong.
pub fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = Zeroizing::new(text);
    if text.starts_with('\u{feff}') {
        let path = path.display();
        return Err(format!(
            "{path}: starts with a byte order mark; save it as UTF-8 without one"
        ));
    }
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
