//! Writes the log on threads of its own: a log that is not read must not stop the server.

use std::fs::File;
use std::io;

use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{AuditLog, Log};
use crate::http::{AUDIT_TARGET, LostLines};

/// The number of lines that may wait for the reader. Audit lines are the last ones that are lost.
const LINES_MAX: usize = 8 * 1024;
const AUDIT_LINES_MAX: usize = 32 * 1024;

/// Writes to standard error, and audit lines to their own place if there is one. A line that finds too many others waiting is lost, and counted.
pub(super) struct LogWriter {
    audit: NonBlocking,
    other: NonBlocking,
}

/// Keeps the threads running. Dropping it waits a second at most until the last lines are written.
pub(super) struct LogThreads {
    _threads: [WorkerGuard; 2],
}

impl LogWriter {
    /// Starts the threads. If the log's `audit_waits` is set, a request whose audit line finds the log full waits until there is room.
    ///
    /// # Errors
    /// Returns a message if the file of audit lines cannot be opened.
    pub(super) fn start(log: &Log) -> Result<(LogWriter, LogThreads), String> {
        let builder = || NonBlockingBuilder::default().thread_name("log");
        let audit = builder()
            .lossy(!log.audit_waits)
            .buffered_lines_limit(AUDIT_LINES_MAX);
        let other = builder().lossy(true).buffered_lines_limit(LINES_MAX);
        let (audit, audit_thread) = match &log.audit_log {
            AuditLog::WithOthers => audit.finish(io::stderr()),
            AuditLog::StandardOutput => audit.finish(io::stdout()),
            AuditLog::File(path) => {
                let file = File::options().create(true).append(true).open(path);
                let cannot = |error| format!("ROWLINK_AUDIT_LOG: {}: {error}", path.display());
                audit.finish(file.map_err(cannot)?)
            }
        };
        let (other, other_thread) = other.finish(io::stderr());
        let threads = LogThreads {
            _threads: [audit_thread, other_thread],
        };
        Ok((LogWriter { audit, other }, threads))
    }

    /// Returns a counter of the lines that were lost.
    pub(super) fn lost_lines(&self) -> LostLines {
        let count = |counter: ErrorCounter| move || counter.dropped_lines() as u64;
        LostLines {
            audit: Box::new(count(self.audit.error_counter())),
            other: Box::new(count(self.other.error_counter())),
        }
    }
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = NonBlocking;

    fn make_writer(&'w self) -> NonBlocking {
        self.other.clone()
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> NonBlocking {
        match metadata.target() == AUDIT_TARGET {
            true => self.audit.clone(),
            false => self.other.clone(),
        }
    }
}
