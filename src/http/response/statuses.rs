//! The only place where the core's errors become statuses and codes.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use rowlink_link::{LinkError, SignError};

use super::problem::{
    Problem, RETRY_AFTER_SECONDS, export_unavailable, forbidden, internal, invalid, too_many,
    unavailable, unknown_export, unknown_format,
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
        let status = match error {
            LinkError::Malformed(_) => StatusCode::BAD_REQUEST,
            LinkError::BadSignature
            | LinkError::NotYetValid { .. }
            | LinkError::WrongAddress
            | LinkError::OutsideScope(_)
            | LinkError::LivesTooLong { .. }
            | LinkError::LivesTooLongFor { .. } => StatusCode::FORBIDDEN,
            LinkError::Expired { .. } | LinkError::Revoked => StatusCode::GONE,
        };
        let problem = Problem::new(status, error.code(), error.to_string());
        match error {
            LinkError::Expired { seconds } => problem.with_expired_for(*seconds),
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
                return unavailable("keys-unavailable", error.to_string());
            }
        };
        Problem::new(StatusCode::UNAUTHORIZED, code, error.to_string()).with_header(
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
            IssueError::TooLong(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "link-too-long", detail)
            }
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
            OpenError::Used => Problem::new(StatusCode::GONE, "link-used", detail),
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
            QuotaError::Replica(_) => unavailable("replica-limit", detail),
            QuotaError::Export(_) => unavailable("export-limit", detail),
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
                "the query is not deterministic; order its rows, or request the file without `length`",
            ),
        }
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Problem {
        unavailable("store-unavailable", "try again in a moment").with_cause(causes(error))
    }
}

impl From<&DocumentError> for Problem {
    fn from(error: &DocumentError) -> Problem {
        let code = match error {
            DocumentError::Open(error) => return error.into(),
            DocumentError::Store(error) => return error.into(),
            DocumentError::Missing { object } => {
                let detail = "no file matches, or it is no longer in the store";
                let problem = Problem::new(StatusCode::NOT_FOUND, "file-missing", detail);
                return match object {
                    None => problem,
                    Some(object) => problem.with_cause(format!("no object `{object}`")),
                };
            }
            DocumentError::Several => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Problem::new(status, "several-files", error.to_string());
            }
            DocumentError::Row { .. } => "invalid-document",
            DocumentError::WrongSize { .. } | DocumentError::WrongHash { .. } => "file-damaged",
        };
        let detail = "the operator finds the reason in the log by the request id";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, code, detail).with_cause(causes(error))
    }
}

impl From<&UseError> for Problem {
    fn from(error: &UseError) -> Problem {
        let detail =
            "it works once, and it cannot be checked whether it was used; try again in a moment";
        unavailable("single-use-unavailable", detail).with_cause(causes(error))
    }
}

impl From<TooLarge> for Problem {
    fn from(error: TooLarge) -> Problem {
        let detail = format!("{error}; narrow the filters, or ask for a link that allows more");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "file-too-large", detail)
    }
}

impl From<&EncodeError> for Problem {
    fn from(error: &EncodeError) -> Problem {
        match error {
            EncodeError::NoThread(cause) => {
                let detail = "no thread is left on this replica; try again in a moment";
                unavailable("replica-limit", detail).with_cause(cause.clone())
            }
            EncodeError::Failed(cause) => internal(cause.clone()),
            error => {
                let detail = format!("{error}; another format can");
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, "does-not-fit-format", detail)
            }
        }
    }
}

impl From<&SourceError> for Problem {
    fn from(error: &SourceError) -> Problem {
        let problem = match error {
            SourceError::Unavailable(_) => {
                unavailable("database-unavailable", "try again in a moment")
            }
            SourceError::Busy { .. } => unavailable("database-busy", "try again in a moment"),
            SourceError::TooSlow | SourceError::LockHeld(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "export-too-slow",
                "no row arrived in time; narrow the filters, or ask the operator",
            ),
            SourceError::RowTooLarge { .. } => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "row-too-large",
                format!("{error}; leave the column out, or ask the operator"),
            ),
            SourceError::BadValue { .. }
            | SourceError::Query { .. }
            | SourceError::NotUtf8 { .. }
            | SourceError::InvalidValue { .. }
            | SourceError::Truncated => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "export-failed",
                "the rows could not be read; the operator finds the reason in the log by the request id",
            ),
        };
        problem.with_cause(causes(error))
    }
}
