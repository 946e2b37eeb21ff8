//! Opens the database file.

use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::SqliteSource;
use super::errors::sqlite_error;
use crate::source::errors::SourceError;

/// The maximum wait for a lock held by another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

impl SqliteSource {
    /// Opens the file for reading.
    ///
    /// # Errors
    /// Returns [`SourceError::Unavailable`] if it cannot be opened.
    pub(super) fn connect(&self) -> Result<Connection, SourceError> {
        // One thread uses the connection, so SQLite's own mutex is not needed.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(sqlite_error)?;
        connection
            .busy_timeout(BUSY_TIMEOUT)
            .map_err(sqlite_error)?;
        // For one value. SQLite checks it before it takes the memory.
        let value_bytes_max = i32::try_from(self.row_bytes_max).unwrap_or(i32::MAX);
        connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes_max)
            .map_err(sqlite_error)?;
        Ok(connection)
    }
}
