//! Classification of SQLite's errors.

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_GETTEMPPATH;

use crate::source::errors::{SourceError, query_error};
use crate::source::sink::Stop;

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Failed(sqlite_error(error))
    }
}

/// Classifies an error of SQLite.
pub(super) fn sqlite_error(error: rusqlite::Error) -> SourceError {
    if let rusqlite::Error::SqlInputError { offset, .. } = &error {
        let offset = usize::try_from(*offset).ok();
        return SourceError::Query {
            offset,
            cause: error.into(),
        };
    }
    let extended = error.sqlite_error().map(|error| error.extended_code);
    if extended == Some(SQLITE_IOERR_GETTEMPPATH) {
        return query_error("no writable folder for temporary files: set SQLITE_TMPDIR");
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => SourceError::Unavailable(error.into()),
        Some(ErrorCode::OperationInterrupted) => SourceError::Truncated,
        _ => SourceError::Query {
            offset: None,
            cause: error.into(),
        },
    }
}
