//! How a download ends.

use std::sync::Arc;

use crate::format::EncodeError;
use crate::http::response::problem::{Problem, internal};
use crate::service::{DocumentError, DownloadError, OpenError};
use crate::source::SourceError;
use crate::spool::DamagedBlock;
use crate::store::StoreError;

/// How a download ended, as the log and the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Outcome {
    Complete,
    /// The client closed the connection.
    ClientGone,
    /// The reader accepted nothing for too long.
    Stalled,
    Shutdown,
    /// A client has cancelled the upload.
    Cancelled,
    TimedOut,
    /// A limit of concurrent downloads or connections was reached.
    Refused,
    InvalidValues,
    /// The link works once, and another request has used it meanwhile.
    LinkUsed,
    /// The use of a link that works once could not be recorded.
    SingleUseUnavailable,
    DatabaseFailed,
    DoesNotFitFormat,
    TooLarge,
    RowTooLarge,
    NotRepeatable,
    /// The client has begun another file, or asks for bytes outside of this one.
    NotContinued,
    CodingFailed,
    SpoolFailed,
    StoreFailed,
    /// The spool had no space for a file that was to be stored.
    NoSpace,
    /// The client was sent to the store.
    Redirected,
    /// There is no such stored document.
    FileMissing,
    /// A row does not describe a document, or its object is another one.
    WrongDocument,
}

impl Outcome {
    /// Returns the stable name.
    pub(in crate::http) fn name(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::ClientGone => "client_gone",
            Outcome::Stalled => "stalled",
            Outcome::Shutdown => "shutdown",
            Outcome::Cancelled => "cancelled",
            Outcome::TimedOut => "timed_out",
            Outcome::Refused => "refused",
            Outcome::InvalidValues => "invalid_values",
            Outcome::LinkUsed => "link_used",
            Outcome::SingleUseUnavailable => "single_use_unavailable",
            Outcome::DatabaseFailed => "database_failed",
            Outcome::DoesNotFitFormat => "does_not_fit_format",
            Outcome::TooLarge => "too_large",
            Outcome::RowTooLarge => "row_too_large",
            Outcome::NotRepeatable => "not_repeatable",
            Outcome::NotContinued => "not_continued",
            Outcome::CodingFailed => "coding_failed",
            Outcome::SpoolFailed => "spool_failed",
            Outcome::StoreFailed => "store_failed",
            Outcome::NoSpace => "no_space",
            Outcome::Redirected => "redirected",
            Outcome::FileMissing => "file_missing",
            Outcome::WrongDocument => "wrong_document",
        }
    }
}

/// Why the body of a response ends before the file is complete.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum StreamError {
    /// After heartbeats.
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Of the content coding.
    #[error(transparent)]
    Coding(#[from] EncodeError),
    #[error(transparent)]
    Spool(#[from] DamagedBlock),
    #[error("no randomness for a key of the spool: {0}")]
    NoKey(#[from] getrandom::Error),
    /// One that every reader of a kept file gets.
    #[error(transparent)]
    Shared(Arc<StreamError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Problem {
        Problem::from(&error)
    }
}

impl From<&StreamError> for Problem {
    fn from(error: &StreamError) -> Problem {
        match error {
            StreamError::Open(error) => error.into(),
            StreamError::Download(error) => error.into(),
            StreamError::Coding(error) => error.into(),
            StreamError::Spool(error) => internal(error.to_string()),
            StreamError::NoKey(error) => internal(error.to_string()),
            StreamError::Shared(error) => error.as_ref().into(),
            StreamError::Store(error) => error.into(),
            StreamError::Document(error) => error.into(),
        }
    }
}

impl From<&StreamError> for Outcome {
    fn from(error: &StreamError) -> Outcome {
        match error {
            StreamError::Open(error) => error.into(),
            StreamError::Download(error) => error.into(),
            StreamError::Coding(error) => error.into(),
            StreamError::Spool(_) | StreamError::NoKey(_) => Outcome::SpoolFailed,
            StreamError::Shared(error) => error.as_ref().into(),
            StreamError::Store(_) => Outcome::StoreFailed,
            StreamError::Document(error) => error.into(),
        }
    }
}

impl From<&DocumentError> for Outcome {
    fn from(error: &DocumentError) -> Outcome {
        match error {
            DocumentError::Open(error) => error.into(),
            DocumentError::Missing { .. } => Outcome::FileMissing,
            DocumentError::Several => Outcome::InvalidValues,
            DocumentError::Row { .. }
            | DocumentError::WrongSize { .. }
            | DocumentError::WrongHash { .. } => Outcome::WrongDocument,
            DocumentError::Store(_) => Outcome::StoreFailed,
        }
    }
}

impl From<&DownloadError> for Outcome {
    fn from(error: &DownloadError) -> Outcome {
        match error {
            DownloadError::Source(SourceError::TooSlow | SourceError::LockHeld(_)) => {
                Outcome::TimedOut
            }
            DownloadError::Source(SourceError::Busy { .. }) => Outcome::Refused,
            DownloadError::Source(SourceError::RowTooLarge { .. }) => Outcome::RowTooLarge,
            DownloadError::Source(_) => Outcome::DatabaseFailed,
            DownloadError::Encode(error) => error.into(),
            DownloadError::TooLarge(_) => Outcome::TooLarge,
            DownloadError::NotRepeatable => Outcome::NotRepeatable,
        }
    }
}

impl From<&EncodeError> for Outcome {
    fn from(error: &EncodeError) -> Outcome {
        match error {
            EncodeError::NoThread(_) => Outcome::Refused,
            EncodeError::Failed(_) => Outcome::CodingFailed,
            _ => Outcome::DoesNotFitFormat,
        }
    }
}

impl From<&OpenError> for Outcome {
    fn from(error: &OpenError) -> Outcome {
        match error {
            OpenError::Quota(_) | OpenError::ExportUnavailable(_) => Outcome::Refused,
            OpenError::Link(_)
            | OpenError::UnknownExport(_)
            | OpenError::UnknownFormat { .. }
            | OpenError::Invalid(_) => Outcome::InvalidValues,
            OpenError::Used => Outcome::LinkUsed,
            OpenError::UseUnknown(_) => Outcome::SingleUseUnavailable,
            OpenError::Download(error) => error.into(),
        }
    }
}
