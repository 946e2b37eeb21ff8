//! The only place where the core's errors become statuses and codes.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use rowlink_link::{LinkError, SignError};

use super::error_page;
use super::problem::{
    LIMIT_TITLE, Problem, RETRY_AFTER_SECONDS, export_unavailable, forbidden, internal, invalid,
    too_many, unavailable, unknown_export, unknown_format,
};
use crate::auth::AuthError;
use crate::format::EncodeError;
use crate::service::{DocumentError, DownloadError, IssueError, OpenError, QuotaError, TooLarge};
use crate::source::{SourceError, causes};
use crate::store::StoreError;
use crate::used_links::UseError;

/// Lets `?` convert these errors, too.
macro_rules! from_value {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Problem {
                Problem::from(&error)
            }
        })*
    };
}
from_value!(
    LinkError,
    OpenError,
    DownloadError,
    StoreError,
    DocumentError
);

impl From<&LinkError> for Problem {
    fn from(error: &LinkError) -> Problem {
        let (status, title) = match error {
            LinkError::Malformed(_) => (StatusCode::BAD_REQUEST, "The link is damaged"),
            LinkError::BadSignature => (
                StatusCode::FORBIDDEN,
                "The link was changed, or was not issued here",
            ),
            LinkError::NotYetValid { .. } => (StatusCode::FORBIDDEN, "The link is not valid yet"),
            LinkError::WrongAddress => (StatusCode::FORBIDDEN, "The link does not work from here"),
            LinkError::OutsideScope(_) => (
                StatusCode::FORBIDDEN,
                "The link is outside the scope of its key",
            ),
            LinkError::LivesTooLong { .. } | LinkError::LivesTooLongFor { .. } => (
                StatusCode::FORBIDDEN,
                "The link's lifetime exceeds the limit",
            ),
            LinkError::Expired { .. } => (StatusCode::GONE, "The link expired; ask for a new one"),
            LinkError::Revoked => (StatusCode::GONE, "The link was revoked; ask for a new one"),
        };
        let code = error.code();
        let problem = Problem::new(status, code, title, error.to_string());
        match error {
            LinkError::Expired { seconds } => {
                let ago = error_page::in_words(*seconds);
                problem.with_heading(format!("This download link expired {ago} ago"))
            }
            _ => problem,
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Problem {
        // RFC 6750, section 3: no error code for a request without a credential.
        let (code, challenge) = match error {
            AuthError::Missing => ("credential-missing", "Bearer"),
            AuthError::Refused(_) => ("credential-refused", "Bearer error=\"invalid_token\""),
            AuthError::KeysUnavailable => {
                let title = "Tokens cannot be verified now";
                return unavailable("keys-unavailable", title, error.to_string());
            }
        };
        let title = "A valid credential is required";
        Problem::new(StatusCode::UNAUTHORIZED, code, title, error.to_string()).with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        )
    }
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Problem {
        let detail = error.to_string();
        match error {
            IssueError::UnknownExport(_) => unknown_export(detail),
            IssueError::ExportUnavailable(_) => export_unavailable(detail),
            IssueError::UnknownFormat { .. } => unknown_format(detail),
            IssueError::NotAllowed(_) | IssueError::MissingScope { .. } => {
                forbidden("export-not-allowed", detail)
            }
            IssueError::MayNotActForOthers => forbidden("may-not-act-for-others", detail),
            IssueError::MayNotSetClaim(_) => forbidden("may-not-set-claim", detail),
            IssueError::MissingClaim(_) => forbidden("claim-missing", detail),
            IssueError::Invalid(errors) => invalid(detail, errors),
            IssueError::RateLimited(_) => too_many("issue-limit", detail, 1),
            IssueError::Sign(SignError::OutsideScope(_)) => forbidden("outside-scope", detail),
            IssueError::Sign(SignError::NoRandomness | SignError::Malformed(_)) => internal(detail),
            IssueError::TooLong(_) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "link-too-long",
                "The link would be too long",
                detail,
            ),
        }
    }
}

impl From<&OpenError> for Problem {
    fn from(error: &OpenError) -> Problem {
        let detail = error.to_string();
        match error {
            OpenError::Link(error) => error.into(),
            OpenError::UnknownExport(_) => unknown_export(detail),
            OpenError::ExportUnavailable(_) => export_unavailable(detail),
            OpenError::UnknownFormat { .. } => unknown_format(detail),
            OpenError::Invalid(errors) => invalid(detail, errors.clone()),
            OpenError::Used => Problem::new(
                StatusCode::GONE,
                "link-used",
                "The link was already used; ask for a new one",
                detail,
            )
            .with_heading("This download link works only once, and was already used".to_owned()),
            OpenError::UseUnknown(error) => error.into(),
            OpenError::Quota(error) => (*error).into(),
            OpenError::Download(error) => error.into(),
        }
    }
}

impl From<QuotaError> for Problem {
    fn from(error: QuotaError) -> Problem {
        let detail = format!("{error}; try again in a moment");
        match error {
            QuotaError::Replica(_) => unavailable("replica-limit", LIMIT_TITLE, detail),
            QuotaError::Export(_) => unavailable("export-limit", LIMIT_TITLE, detail),
            QuotaError::User(_) => too_many("user-limit", detail, RETRY_AFTER_SECONDS),
            QuotaError::Link(_) => too_many("link-limit", detail, RETRY_AFTER_SECONDS),
            QuotaError::Ranges(_) => too_many("range-limit", detail, 1),
            QuotaError::Statuses(_) => too_many("status-limit", detail, 1),
        }
    }
}

impl From<&DownloadError> for Problem {
    fn from(error: &DownloadError) -> Problem {
        match error {
            DownloadError::Source(error) => error.into(),
            DownloadError::Encode(error) => error.into(),
            DownloadError::TooLarge(error) => (*error).into(),
            DownloadError::NotRepeatable => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not-repeatable",
                "The rows change while they are read",
                "the query is not deterministic; order its rows, or request the file without `length`",
            ),
        }
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Problem {
        let title = "The store is not available";
        unavailable("store-unavailable", title, "try again in a moment").with_cause(causes(error))
    }
}

impl From<&DocumentError> for Problem {
    fn from(error: &DocumentError) -> Problem {
        let (code, title) = match error {
            DocumentError::Open(error) => return error.into(),
            DocumentError::Store(error) => return error.into(),
            DocumentError::Missing { object } => {
                let title = "The file was not found";
                let detail = "no file matches, or it is no longer in the store";
                let problem = Problem::new(StatusCode::NOT_FOUND, "file-missing", title, detail);
                return match object {
                    None => problem,
                    Some(object) => problem.with_cause(format!("no object `{object}`")),
                };
            }
            DocumentError::Several => {
                let title = "Several files match";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Problem::new(status, "several-files", title, error.to_string());
            }
            DocumentError::Row { .. } => ("invalid-document", "The file's entry is invalid"),
            DocumentError::WrongSize { .. } | DocumentError::WrongHash { .. } => (
                "file-damaged",
                "The stored file is not the one of its entry",
            ),
        };
        let detail = "the operator finds the reason in the log by the request id";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, code, title, detail).with_cause(causes(error))
    }
}

impl From<&UseError> for Problem {
    fn from(error: &UseError) -> Problem {
        let title = "The link cannot be used now";
        let detail =
            "it works once, and it cannot be checked whether it was used; try again in a moment";
        unavailable("single-use-unavailable", title, detail).with_cause(causes(error))
    }
}

impl From<TooLarge> for Problem {
    fn from(error: TooLarge) -> Problem {
        let title = "The file is larger than allowed";
        let detail = format!("{error}; narrow the filters, or ask for a link that allows more");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "file-too-large", title, detail)
    }
}

impl From<&EncodeError> for Problem {
    fn from(error: &EncodeError) -> Problem {
        match error {
            EncodeError::NoThread(cause) => {
                let detail = "no thread is left on this replica; try again in a moment";
                unavailable("replica-limit", LIMIT_TITLE, detail).with_cause(cause.clone())
            }
            EncodeError::Failed(cause) => internal(cause.clone()),
            error => {
                let title = "The format cannot hold these rows";
                let detail = format!("{error}; another format can");
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, "does-not-fit-format", title, detail)
            }
        }
    }
}

impl From<&SourceError> for Problem {
    fn from(error: &SourceError) -> Problem {
        let problem = match error {
            SourceError::Unavailable(_) => {
                let title = "The database is not available";
                unavailable("database-unavailable", title, "try again in a moment")
            }
            SourceError::Busy { .. } => {
                unavailable("database-busy", LIMIT_TITLE, "try again in a moment")
            }
            SourceError::TooSlow | SourceError::LockHeld(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "export-too-slow",
                "The export takes too long",
                "no row arrived in time; narrow the filters, or ask the operator",
            ),
            SourceError::RowTooLarge { .. } => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "row-too-large",
                "A row is too large",
                format!("{error}; leave the column out, or ask the operator"),
            ),
            SourceError::BadValue { .. }
            | SourceError::Query { .. }
            | SourceError::NotUtf8 { .. }
            | SourceError::Truncated => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "export-failed",
                "The export failed",
                "the rows could not be read; the operator finds the reason in the log by the request id",
            ),
        };
        problem.with_cause(causes(error))
    }
}
