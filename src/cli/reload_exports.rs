//! The exports are read again while the server runs: on SIGHUP, when a file changes, and when one could not be served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::export_files::ExportFiles;
use super::visible::printable;
use super::watch::WatchReport;
use crate::catalog::{Catalog, Dialects, Export, export_name, is_book_file};
use crate::http::AppState;
use crate::service::{ExportsToDescribe, ExportsUpdate};
use crate::toml_errors::LineError;

/// How often the files are read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The same while their author waits for the result.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// How often an export that cannot be served is tried again: its database may be back, its table may exist now.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The exports in use, and what is needed to find newer ones.
pub(super) struct ExportsReloader {
    folder: PathBuf,
    dialects: Dialects,
    /// The files of `catalog`.
    in_use: ExportFiles,
    catalog: Catalog,
    /// The files that later ones are compared with: each in its last version of a valid export, or renamed since then.
    accepted: ExportFiles,
    /// The files as they were read the last time, and when.
    last_read: (Instant, ExportFiles),
    to_describe: ExportsToDescribe,
    tried: Instant,
    /// Why the folder could not be read the last time.
    unreadable: Option<String>,
    read_every: Duration,
    /// Where an author who edits the files is told of changes, instead of the log.
    watch: Option<WatchReport>,
}

impl ExportsReloader {
    /// Reads the folder.
    ///
    /// # Errors
    /// Returns an error if it cannot be read, or has no file.
    pub(super) fn new(folder: &Path, dialects: Dialects) -> Result<ExportsReloader, String> {
        let files = ExportFiles::read(folder)?;
        Ok(ExportsReloader {
            folder: folder.to_owned(),
            catalog: files.parse(&dialects),
            dialects,
            accepted: files.clone(),
            last_read: (Instant::now(), files.clone()),
            in_use: files,
            to_describe: ExportsToDescribe::Changed,
            tried: Instant::now(),
            unreadable: None,
            read_every: READ_EVERY,
            watch: None,
        })
    }

    /// Reads the files more often, and tells their author of changes. A file that was written in place is accepted as it is:
    /// editors write so, and the author sees what has become of it.
    pub(super) fn watch(&mut self) {
        self.read_every = WATCH_EVERY;
        self.watch = Some(WatchReport::new(&self.folder));
    }

    /// Reports what an update has changed.
    pub(super) fn report(&mut self, update: &ExportsUpdate, state: &AppState) {
        match &mut self.watch {
            None => log(update),
            Some(watch) => watch.print(update, &state.service.failed_exports()),
        }
    }

    /// Returns the exports.
    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Looks for changes until the server ends.
    pub(super) async fn run(mut self, state: Arc<AppState>, mut hangup: Signal) {
        loop {
            tokio::select! {
                _ = hangup.recv() => self.to_describe = ExportsToDescribe::All,
                () = sleep(self.read_every) => {}
            }
            let folder = self.folder.clone();
            let read = spawn_blocking(move || ExportFiles::read(&folder)).await;
            match read.unwrap_or_else(|join_error| Err(join_error.to_string())) {
                Ok(files) => {
                    if let (Some(_), Some(watch)) = (self.unreadable.take(), &self.watch) {
                        watch.print_readable();
                    }
                    self.check(files, &state).await;
                }
                Err(cause) if self.unreadable.as_ref() == Some(&cause) => {}
                Err(cause) => {
                    state.count_failed_reload("exports");
                    match self.watch {
                        None => tracing::error!(cause, "reload failed; keeping all exports"),
                        Some(_) => eprintln!("rowlink: {}", printable(&cause)),
                    }
                    self.unreadable = Some(cause);
                }
            }
        }
    }

    async fn check(&mut self, files: ExportFiles, state: &AppState) {
        let is_changed = self.accept(files, state);
        let is_requested = self.to_describe == ExportsToDescribe::All;
        let is_due = self.tried.elapsed() >= RETRY_EVERY;
        if is_changed || is_requested || is_due && !state.service.failed_exports().is_empty() {
            let update = state
                .service
                .update_exports(&self.catalog, self.to_describe);
            let update = update.await;
            self.to_describe = ExportsToDescribe::Changed;
            self.tried = Instant::now();
            self.report(&update, state);
            if (is_changed || is_requested) && !update.errors.is_empty() {
                state.count_failed_reload("exports");
            }
        }
    }

    /// Takes the files that have not changed since the last read; returns whether they differ from those in use.
    fn accept(&mut self, files: ExportFiles, state: &AppState) -> bool {
        let (read, earlier) = &self.last_read;
        // After a signal two reads may follow each other immediately.
        if read.elapsed() < self.read_every {
            return false;
        }
        let settled = files.settled(earlier, &self.in_use);
        self.last_read = (Instant::now(), files);
        if settled == self.in_use {
            return false;
        }
        let mut catalog = settled.parse(&self.dialects);
        if self.watch.is_none() {
            self.refuse_incomplete(&settled, &mut catalog, state);
        }
        let is_valid = |export: &str| catalog.get(export).is_some();
        self.accepted = settled.accepted(&self.accepted, is_valid);
        self.catalog = catalog;
        self.in_use = settled;
        true
    }

    /// Takes exports out of the catalog whose files were written in place and lack something.
    fn refuse_incomplete(&self, settled: &ExportFiles, catalog: &mut Catalog, state: &AppState) {
        let written = settled.written_in_place(&self.accepted);
        let checked =
            written.map(|(file, is_cut)| (file, check_successor(state, catalog, file, is_cut)));
        // Refusing a file takes its book out of the catalog, and the other files could not be checked.
        let checked: Vec<_> = checked.collect();
        for (file, checked) in checked {
            if let Err(lost) = checked {
                let message = format!(
                    "written in place without {lost}; rename the new file over the old one if that is intended"
                );
                catalog.remove(export_name(file));
                catalog.add_error(file, LineError::new(1, message));
            }
        }
    }
}

/// Checks an export that was written over its previous version: it may be incomplete, and without a condition it would
/// return more rows. An invalid export is not served.
///
/// # Errors
/// Returns what it has lost.
fn check_successor(
    state: &AppState,
    catalog: &Catalog,
    file: &str,
    is_cut: bool,
) -> Result<(), String> {
    let name = export_name(file);
    let Some(next) = catalog.get(name) else {
        return Ok(());
    };
    if is_cut {
        return Err("its end".to_owned());
    }
    let Some(served) = state.service.served(name) else {
        return Ok(());
    };
    let lost = match is_book_file(file) {
        true => served.export().setting_lost_in(next),
        false => variable_lost(served.export(), next, file),
    };
    lost.map_or(Ok(()), Err)
}

/// Returns a variable of the statement in a file that its next version lacks.
fn variable_lost(before: &Export, next: &Export, file: &str) -> Option<String> {
    let (before, next) = (before.sheet_of(file)?, next.sheet_of(file)?);
    let kept = &next.statement.variables;
    let mut before = before.statement.variables.iter();
    let lost = before.find(|variable| !kept.contains(variable))?;
    Some(format!("`{lost}`"))
}

/// Logs what an update has changed.
fn log(update: &ExportsUpdate) {
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
