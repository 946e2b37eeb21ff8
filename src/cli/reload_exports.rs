//! The exports are read again while the server runs: on SIGHUP, when a file changes, and when one could not be served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::export_files::ExportFiles;
use crate::catalog::{Catalog, Dialects};
use crate::http::AppState;
use crate::service::{Describe, ExportsUpdate};
use crate::toml_errors::LineError;

/// How often the files are read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often an export that cannot be served is tried again: its database may be back, its table may exist now.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The exports in use, and what is needed to find newer ones.
pub(super) struct ExportsReloader {
    folder: PathBuf,
    dialects: Dialects,
    in_use: ExportFiles,
    catalog: Catalog,
    /// Files that were found once, and may still be being written.
    unsettled: Option<ExportFiles>,
    describe: Describe,
    tried: Instant,
    /// Why the folder could not be read the last time.
    unreadable: Option<String>,
}

impl ExportsReloader {
    /// Reads the folder.
    ///
    /// # Errors
    /// Returns an error if it cannot be read, or has no file.
    pub(super) fn new(folder: &Path, dialects: Dialects) -> Result<ExportsReloader, String> {
        let in_use = ExportFiles::read(folder)?;
        Ok(ExportsReloader {
            folder: folder.to_owned(),
            catalog: in_use.parse(&dialects),
            dialects,
            in_use,
            unsettled: None,
            describe: Describe::Changed,
            tried: Instant::now(),
            unreadable: None,
        })
    }

    /// Returns the exports.
    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Looks for changes until the server ends.
    pub(super) async fn run(mut self, state: Arc<AppState>, mut hangup: Signal) {
        loop {
            tokio::select! {
                _ = hangup.recv() => self.describe = Describe::All,
                () = sleep(READ_EVERY) => {}
            }
            let folder = self.folder.clone();
            let files = spawn_blocking(move || ExportFiles::read(&folder)).await;
            match files.unwrap_or_else(|died| Err(died.to_string())) {
                Ok(files) => {
                    self.unreadable = None;
                    self.check(files, &state).await;
                }
                Err(cause) if self.unreadable.as_ref() == Some(&cause) => {}
                Err(cause) => {
                    state.count_failed_reload("exports");
                    tracing::error!(cause, "reload failed; keeping all exports");
                    self.unreadable = Some(cause);
                }
            }
        }
    }

    async fn check(&mut self, files: ExportFiles, state: &AppState) {
        if files != self.in_use {
            if self.unsettled.as_ref() != Some(&files) {
                // They may still be being written. At the next check they must be the same.
                self.unsettled = Some(files);
                return;
            }
            let mut catalog = files.parse(&self.dialects);
            for name in files.written_in_place(&self.in_use) {
                check_successor(&self.catalog, &mut catalog, name);
            }
            self.catalog = catalog;
            self.in_use = files;
        } else if self.describe == Describe::Changed {
            self.unsettled = None;
            let is_due =
                self.tried.elapsed() >= RETRY_EVERY && !state.service.failed_exports().is_empty();
            if is_due {
                self.update(state).await;
            }
            return;
        }
        self.unsettled = None;
        let update = self.update(state).await;
        if !update.errors.is_empty() {
            state.count_failed_reload("exports");
        }
    }

    async fn update(&mut self, state: &AppState) -> ExportsUpdate {
        let update = state.service.update_exports(&self.catalog, self.describe);
        let update = update.await;
        self.describe = Describe::Changed;
        self.tried = Instant::now();
        log(&update);
        update
    }
}

/// Refuses an export that was written over its previous version and has lost a variable: it may be incomplete, and
/// without a condition it would return more rows.
fn check_successor(before: &Catalog, catalog: &mut Catalog, file: &str) {
    let name = file.strip_suffix(".sql").unwrap_or(file);
    let (Some(before), Some(next)) = (before.get(name), catalog.get(name)) else {
        return;
    };
    let kept = &next.statement.variables;
    let mut lost = before.statement.variables.iter();
    if let Some(lost) = lost.find(|variable| !kept.contains(variable)) {
        let message = format!(
            "written in place without `{lost}`; rename the new file over the old one if that is intended"
        );
        catalog.refuse(name, LineError::new(1, message));
    }
}

/// Logs what an update has changed.
pub(super) fn log(update: &ExportsUpdate) {
    if !update.served.is_empty() {
        let exports = update.served.join(", ");
        tracing::info!(exports, "serving exports");
    }
    if !update.removed.is_empty() {
        let exports = update.removed.join(", ");
        tracing::info!(exports, "removed exports");
    }
    for error in &update.errors {
        let cause = error.to_string();
        tracing::error!(
            cause,
            "an export is not served, or only its previous version; trying again"
        );
    }
    for warning in &update.warnings {
        tracing::warn!("{warning}");
    }
}
