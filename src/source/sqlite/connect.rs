//! Opens the database file, and explains what prevents or spoils that.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::SqliteSource;
use super::errors::sqlite_error;
use crate::source::api::SqliteSorts;
use crate::source::errors::SourceError;

/// The maximum wait for a lock held by another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The version numbers of a file with a write-ahead log: "Database File Format", section 1.3, offset 18.
const WAL_VERSIONS: [u8; 2] = [2, 2];

impl SqliteSource {
    /// Opens the file for reading.
    ///
    /// # Errors
    /// Returns [`SourceError::Unavailable`] if it cannot be opened.
    pub(super) fn connect(&self) -> Result<Connection, SourceError> {
        self.try_connect().map_err(sqlite_error)
    }

    fn try_connect(&self) -> Result<Connection, rusqlite::Error> {
        // One thread uses the connection, so SQLite's own mutex is not needed.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // For one value. SQLite checks it before it takes the memory.
        let value_bytes_max = i32::try_from(self.options.row_bytes_max).unwrap_or(i32::MAX);
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes_max)?;
        if self.options.sqlite_sorts == SqliteSorts::InMemory {
            connection.pragma_update(None, "temp_store", "memory")?;
        }
        Ok(connection)
    }

    /// Adds the reason to an error of opening a file with a write-ahead log. Call it only at start-up: reading the
    /// file here ends the locks that this process has on it (POSIX, `fcntl`).
    pub(super) fn explain(&self, error: SourceError) -> SourceError {
        let SourceError::Unavailable(cause) = &error else {
            return error;
        };
        let code = cause
            .downcast_ref()
            .and_then(rusqlite::Error::sqlite_error_code);
        let is_wal = || versions_of(&self.path).is_some_and(|versions| versions == WAL_VERSIONS);
        match code {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if is_wal() => {
                let name = self.path.display();
                let reason = format!(
                    "{cause}: the file has a write-ahead log, so SQLite must read and write {name}-shm and {name}-wal; \
                     make them and their folder writable for Rowlink, or serve a copy with `pragma journal_mode = delete`"
                );
                SourceError::Unavailable(reason.into())
            }
            _ => error,
        }
    }

    /// Returns the warning for a file without a write-ahead log.
    pub(super) fn journal_warning(&self) -> String {
        format!(
            "no write-ahead log: a download keeps other programs from writing to the file, for at most {} s \
             (ROWLINK_SQLITE_LOCK_SECONDS); run `pragma journal_mode = wal` once, or ignore this if nobody writes",
            self.options.sqlite_lock_max.as_secs()
        )
    }

    /// Returns the warning if SQLite finds no folder for its temporary files.
    pub(super) fn sorts_warning(&self) -> Option<String> {
        let is_missing =
            self.options.sqlite_sorts == SqliteSorts::InFiles && !temp_folders().any(is_writable);
        is_missing.then(|| {
            "no writable folder for temporary files, so exports that sort many rows will fail: \
             set SQLITE_TMPDIR, or ROWLINK_SQLITE_SORTS=memory"
                .to_owned()
        })
    }
}

/// Returns whether the database has a write-ahead log. Without it a reader keeps writers from committing.
pub(super) fn has_wal(connection: &Connection) -> Result<bool, SourceError> {
    let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    Ok(mode.map_err(sqlite_error)? == "wal")
}

fn versions_of(path: &std::path::Path) -> Option<[u8; 2]> {
    let mut header = [0; 20];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    header.last_chunk().copied()
}

/// Returns the folders that SQLite tries: "Temporary Files Used By SQLite", section 5.
fn temp_folders() -> impl Iterator<Item = PathBuf> {
    let variables = ["SQLITE_TMPDIR", "TMPDIR"].into_iter();
    let from_variables = variables.filter_map(std::env::var_os).map(PathBuf::from);
    from_variables.chain(["/var/tmp", "/usr/tmp", "/tmp", "."].map(PathBuf::from))
}

fn is_writable(folder: PathBuf) -> bool {
    tempfile::tempfile_in(folder).is_ok()
}
