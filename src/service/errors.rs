//! Why a link was not issued, a download not opened, or aborted.

use rowlink_link::{LinkError, SignError, UrlTooLong};

use super::quota::QuotaError;
use crate::catalog::FieldError;
use crate::format::{self, EncodeError, Format};
use crate::source::SourceError;
use crate::used_links::UseError;

/// Why a link was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No export has this name.
    #[error("unknown export `{0}`")]
    UnknownExport(String),
    /// The export exists, but cannot be served now.
    #[error("{}", unavailable(.0))]
    ExportUnavailable(String),
    /// The format does not exist, or the export does not offer it.
    #[error("unknown format `{name}`; the formats are {}", format::names(known))]
    UnknownFormat {
        /// The format of the request.
        name: String,
        /// The formats that are offered.
        known: Vec<Format>,
    },
    /// The credential's list of exports does not have this one.
    #[error("this credential may not export `{0}`")]
    NotAllowed(String),
    /// The credential does not have the scope of the export.
    #[error("the export `{export}` needs the scope `{scope}`, which this credential does not have")]
    MissingScope {
        /// The export.
        export: String,
        /// The scope.
        scope: String,
    },
    /// The request names a user, but the credential may not act for others.
    #[error("this credential may not act for another user; leave `user` out")]
    MayNotActForOthers,
    /// The request sets a claim that the credential may not set.
    #[error("this credential may not set the claim `{0}`; leave it out")]
    MayNotSetClaim(String),
    /// The export pins a claim that the credential does not have.
    #[error("this export needs the claim `{0}`, which this credential does not have")]
    MissingClaim(String),
    /// Fields of the request are invalid.
    #[error("some values do not fit")]
    Invalid(Vec<FieldError>),
    /// The rate limit of links per user was reached.
    #[error("rate limit: {0} links per second per user; wait a second")]
    RateLimited(u32),
    /// The signing key may not sign the link, or there is no randomness for a sealed one.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The URL would be too long for browsers and proxies.
    #[error(transparent)]
    TooLong(#[from] UrlTooLong),
}

/// Why a download was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The link is refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The link is genuine, but its export no longer exists.
    #[error("unknown export `{0}`")]
    UnknownExport(String),
    /// The link is genuine, but its export cannot be served now.
    #[error("{}", unavailable(.0))]
    ExportUnavailable(String),
    /// The link is genuine, but its export no longer offers the format.
    #[error(
        "unknown format `{name}` of this export; its formats are {}",
        format::names(known)
    )]
    UnknownFormat {
        /// The format of the link.
        name: String,
        /// The formats that are offered.
        known: Vec<Format>,
    },
    /// The link is genuine, but the catalog does not accept its values.
    #[error("some values of the link no longer fit this export")]
    Invalid(Vec<FieldError>),
    /// The link works once, and was used.
    #[error("the link works once, and its download has begun")]
    Used,
    /// The link works once, and it is not known whether it was used.
    #[error("it cannot be checked whether the link was used")]
    UseUnknown(#[from] UseError),
    /// A concurrency limit was reached.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The file cannot be started, or was aborted before its first byte.
    #[error(transparent)]
    Download(#[from] DownloadError),
}

/// Why a download was aborted.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The query failed, ended early, or took too long.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The format cannot hold a value.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The file exceeds the size that the link or the export allows.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The second pass of an exact length returned different rows.
    #[error("the query is not deterministic: the second pass returned different rows")]
    NotRepeatable,
}

/// A file is larger than its link or its export allows. It is never truncated to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It has more rows.
    #[error("the file has more than the {0} rows that are allowed")]
    Rows(u64),
    /// It has more bytes.
    #[error("the file has more than the {0} bytes that are allowed")]
    Bytes(u64),
}

fn unavailable(name: &str) -> String {
    format!("the export `{name}` cannot be served now; try again in a moment")
}

impl From<SourceError> for OpenError {
    fn from(error: SourceError) -> OpenError {
        OpenError::Download(error.into())
    }
}
