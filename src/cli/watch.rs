//! `rowlink serve --watch`: tells the author of exports on standard error what is wrong with their files, and when nothing is.

use std::path::{Path, PathBuf};

use super::visible::printable;
use crate::service::{ExportError, ExportsUpdate, FailedExport};

/// What the author was told.
pub(super) struct WatchReport {
    folder: PathBuf,
    had_errors: bool,
}

impl WatchReport {
    pub(super) fn new(folder: &Path) -> WatchReport {
        WatchReport {
            folder: folder.to_owned(),
            had_errors: false,
        }
    }

    /// Prints what an update has changed. `failed` are all exports that cannot be served now.
    pub(super) fn print(&mut self, update: &ExportsUpdate, failed: &[FailedExport]) {
        for line in self.lines(update, failed) {
            eprintln!("{}", printable(&line));
        }
    }

    /// Prints that the folder can be read again.
    pub(super) fn print_readable(&self) {
        eprintln!("rowlink: {} can be read again", self.folder.display());
    }

    fn lines(&mut self, update: &ExportsUpdate, failed: &[FailedExport]) -> Vec<String> {
        let errors = update.errors.iter().map(|error| self.error_line(error));
        let mut lines: Vec<String> = errors.collect();
        let warnings = update.warnings.iter();
        lines.extend(warnings.map(|warning| format!("rowlink: warning: {warning}")));
        if !update.removed.is_empty() {
            lines.push(format!("rowlink: removed {}", update.removed.join(", ")));
        }
        let had_errors = std::mem::replace(&mut self.had_errors, !failed.is_empty());
        if !update.served.is_empty() {
            lines.push(format!("rowlink: serving {}", update.served.join(", ")));
        }
        let is_news = !(update.errors.is_empty() && update.served.is_empty());
        if !failed.is_empty() && is_news {
            let names: Vec<&str> = failed.iter().map(|export| export.name.as_str()).collect();
            let names = names.join(", ");
            lines.push(format!(
                "rowlink: with errors, so not served as they are: {names}"
            ));
        }
        if failed.is_empty() && had_errors {
            lines.push("rowlink: all exports are valid again".to_owned());
        }
        lines
    }

    /// Returns an error with the path of its file, so that a terminal or an editor finds it.
    fn error_line(&self, error: &ExportError) -> String {
        match error {
            ExportError::File(error) => format!("{}/{error}", self.folder.display()),
            ExportError::Database { .. } => format!("rowlink: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FileError;
    use crate::toml_errors::LineError;

    fn update(served: &[&str], errors: &[(&str, usize)]) -> ExportsUpdate {
        let errors = errors.iter().map(|(file, line)| {
            let (file, error) = ((*file).to_owned(), LineError::new(*line, "wrong"));
            ExportError::File(FileError { file, error })
        });
        ExportsUpdate {
            served: served.iter().map(|name| (*name).to_owned()).collect(),
            errors: errors.collect(),
            ..ExportsUpdate::default()
        }
    }

    fn failed(name: &str) -> FailedExport {
        FailedExport {
            name: name.to_owned(),
            code: "invalid-export",
            has_previous: false,
        }
    }

    #[test]
    fn errors_have_their_place_and_their_end_is_told_once() {
        let mut report = WatchReport::new(Path::new("my/exports"));
        let mut lines = |served: &[&str], errors: &[(&str, usize)], names: &[&str]| {
            let failed: Vec<FailedExport> = names.iter().map(|name| failed(name)).collect();
            report.lines(&update(served, errors), &failed)
        };
        assert_eq!(lines(&["a"], &[], &[]), ["rowlink: serving a"]);
        assert_eq!(
            lines(&[], &[("a.sql", 4), ("b.sql", 1)], &["a", "b"]),
            [
                "my/exports/a.sql:4: wrong",
                "my/exports/b.sql:1: wrong",
                "rowlink: with errors, so not served as they are: a, b",
            ]
        );
        assert_eq!(
            lines(&[], &[], &["a", "b"]),
            [""; 0],
            "the same errors again"
        );
        assert_eq!(
            lines(&["a"], &[], &["b"]),
            [
                "rowlink: serving a",
                "rowlink: with errors, so not served as they are: b",
            ]
        );
        assert_eq!(
            lines(&["b"], &[], &[]),
            ["rowlink: serving b", "rowlink: all exports are valid again"]
        );
        assert_eq!(lines(&["b"], &[], &[]), ["rowlink: serving b"]);
    }
}
