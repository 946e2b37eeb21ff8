//! The only place where the core's errors become statuses: RFC 9457, `application/problem+json`.
//!
//! A problem says what the client can do. What it must not say (SQL, a driver's words, a key) goes
//! to the log under the request id that the answer shows.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::{Serialize, Serializer};
use serde_json::json;
use uuid::Uuid;

use super::file::StreamError;
use super::headers::fixed;
use super::page::{self, Page};
use crate::auth::AuthError;
use crate::catalog::FieldError;
use crate::encode::EncodeError;
use crate::service::{DownloadError, IssueError, OpenError, QuotaError, TooLarge};
use crate::source::{SourceError, causes};
use rowlink_link::{LinkError, SignError};

/// How long a client shall wait for what is not available now.
const RETRY_AFTER_SECONDS: u64 = 2;

/// As long as most problems are: they are then written in one piece of memory.
const TYPICAL_BYTES: usize = 384;

const FULL: &str = "Too much at a time";

/// What every refusal says.
const FIXED: [(HeaderName, HeaderValue); 4] = [
    fixed(header::CACHE_CONTROL, "no-store"),
    fixed(header::VARY, "Accept"),
    fixed(header::REFERRER_POLICY, "no-referrer"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// RFC 9457, section 3.
const DOCUMENT_TYPE: (HeaderName, HeaderValue) =
    fixed(header::CONTENT_TYPE, "application/problem+json");

/// An answer that is not what was asked for.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    header: Option<(HeaderName, HeaderValue)>,
    /// For the log alone.
    cause: Option<String>,
    /// What a page says instead of the title.
    heading: Option<String>,
}

impl Problem {
    /// A problem with a stable code, a title that is the same for all of its kind, and the detail
    /// of this one.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem(Box::new(Parts {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
            cause: None,
            heading: None,
        }))
    }

    fn with_errors(mut self, errors: Vec<FieldError>) -> Problem {
        self.0.errors = errors;
        self
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong this time.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is wrong with each value that does not fit.
    pub(super) fn errors(&self) -> Vec<serde_json::Value> {
        self.0.errors.iter().map(field_error).collect()
    }

    /// The problem's line in the log. Of values that do not fit it names the fields alone.
    pub(super) fn log(&self, request_id: Uuid) {
        let Parts {
            code,
            detail,
            errors,
            cause,
            ..
        } = self.0.as_ref();
        match cause {
            Some(cause) => tracing::error!(%request_id, code, cause, "request failed"),
            None => {
                let fields: Vec<&str> = errors.iter().map(|it| it.field.as_str()).collect();
                tracing::info!(%request_id, code, detail, ?fields, "request refused");
            }
        }
    }

    /// The answer for programs, and for people who did not come by a browser.
    pub(super) fn document(&self, request_id: Uuid) -> HttpResponse {
        let Parts {
            status,
            code,
            title,
            detail,
            errors,
            ..
        } = self.0.as_ref();
        let document = Document {
            kind: format_args!("urn:rowlink:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail,
            request_id,
            errors,
        };
        let mut body = Vec::with_capacity(TYPICAL_BYTES);
        serde_json::to_writer(&mut body, &document).expect("a document of texts and numbers");
        let mut answer = self.answer();
        answer.insert_header(DOCUMENT_TYPE);
        answer.body(body)
    }

    /// The same for a browser that navigates.
    pub(super) fn page(&self, request_id: Uuid, return_url: Option<&str>) -> HttpResponse {
        let parts = self.0.as_ref();
        let page = Page {
            heading: parts.heading.as_deref().unwrap_or(parts.title),
            advice: page::advice(parts.code),
            status: parts.status.as_u16(),
            code: parts.code,
            request_id,
            return_url,
        };
        let mut answer = self.answer();
        answer.insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"));
        let policy = page::CONTENT_SECURITY_POLICY.as_str();
        answer.insert_header((header::CONTENT_SECURITY_POLICY, policy));
        answer.body(page.render())
    }

    fn answer(&self) -> HttpResponseBuilder {
        let mut answer = HttpResponseBuilder::new(self.0.status);
        for header in FIXED {
            answer.insert_header(header);
        }
        if let Some(header) = &self.0.header {
            answer.insert_header(header.clone());
        }
        answer
    }
}

/// RFC 9457, section 3, with the members that are ours.
#[derive(Serialize)]
struct Document<'p> {
    #[serde(rename = "type")]
    kind: fmt::Arguments<'p>,
    title: &'p str,
    status: u16,
    code: &'p str,
    detail: &'p str,
    request_id: Uuid,
    #[serde(
        skip_serializing_if = "<[_]>::is_empty",
        serialize_with = "field_errors"
    )]
    errors: &'p [FieldError],
}

fn field_errors<S: Serializer>(errors: &[FieldError], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(errors.iter().map(field_error))
}

fn field_error(error: &FieldError) -> serde_json::Value {
    json!({"field": error.field, "message": error.message})
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code)
    }
}

/// Lets handlers return problems with `?`. The middleware renders them: an error does not
/// know its request.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.0.status)
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Problem {
        let (status, title) = match &error {
            LinkError::Malformed(_) => (StatusCode::BAD_REQUEST, "The link is damaged"),
            LinkError::BadSignature => (
                StatusCode::FORBIDDEN,
                "The link was changed, or was not issued here",
            ),
            LinkError::NotYetValid { .. } => (StatusCode::FORBIDDEN, "The link is not valid yet"),
            LinkError::WrongAddress => (StatusCode::FORBIDDEN, "The link does not work from here"),
            LinkError::OutsideScope(_) => (StatusCode::FORBIDDEN, "The link's key may not sign it"),
            LinkError::LivesTooLong { .. } => (
                StatusCode::FORBIDDEN,
                "The link lives longer than is allowed here",
            ),
            LinkError::Expired { .. } => (StatusCode::GONE, "The link expired; ask for a new one"),
            LinkError::Revoked => (StatusCode::GONE, "The link was revoked; ask for a new one"),
        };
        let code = error.code();
        let mut problem = Problem::new(status, code, title, error.to_string());
        if let LinkError::Expired { seconds } = error {
            let ago = page::in_words(seconds);
            problem.0.heading = Some(format!("This download link expired {ago} ago"));
        }
        problem
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Problem {
        // RFC 6750, section 3: no error code for a request that brought no credential.
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
            IssueError::UnknownFormat { .. } => unknown_format(detail),
            IssueError::NotAllowed(_) => forbidden("export-not-allowed", detail),
            IssueError::MayNotActForOthers => forbidden("may-not-act-for-others", detail),
            IssueError::MissingClaim(_) => forbidden("claim-missing", detail),
            IssueError::Invalid(errors) => invalid(detail, errors),
            IssueError::TooMany(_) => too_many("issue-limit", detail, 1),
            IssueError::Sign(SignError::OutsideScope(_)) => forbidden("outside-scope", detail),
            IssueError::Sign(SignError::NoRandomness) => internal(detail),
            IssueError::TooLong { .. } => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "link-too-long",
                "The link would be too long",
                detail,
            ),
        }
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Problem {
        let detail = error.to_string();
        match error {
            OpenError::Link(error) => error.into(),
            OpenError::UnknownExport(_) => unknown_export(detail),
            OpenError::UnknownFormat { .. } => unknown_format(detail),
            OpenError::Invalid(errors) => invalid(detail, errors),
            OpenError::Quota(error) => error.into(),
            OpenError::Source(error) => error.into(),
            OpenError::Encode(error) => error.into(),
            OpenError::TooLarge(error) => error.into(),
        }
    }
}

impl From<QuotaError> for Problem {
    fn from(error: QuotaError) -> Problem {
        let detail = format!("{error}; try again in a moment");
        match error {
            QuotaError::Replica(_) => unavailable("replica-limit", FULL, detail),
            QuotaError::User(_) => too_many("user-limit", detail, RETRY_AFTER_SECONDS),
            QuotaError::Link(_) => too_many("link-limit", detail, RETRY_AFTER_SECONDS),
        }
    }
}

impl From<DownloadError> for Problem {
    fn from(error: DownloadError) -> Problem {
        match error {
            DownloadError::Source(error) => error.into(),
            DownloadError::Encode(error) => error.into(),
            DownloadError::TooLarge(error) => error.into(),
            DownloadError::NotRepeatable => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not-repeatable",
                "The rows change while they are read",
                "this export gives other rows each time; ask for it without `length`",
            ),
        }
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Problem {
        match error {
            StreamError::Download(error) => error.into(),
            StreamError::Coding(error) => internal(error.to_string()),
        }
    }
}

impl From<TooLarge> for Problem {
    fn from(error: TooLarge) -> Problem {
        let title = "The file is larger than its link allows";
        let detail = format!("{error}; narrow the filters, or ask for a link that allows more");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "file-too-large", title, detail)
    }
}

impl From<EncodeError> for Problem {
    fn from(error: EncodeError) -> Problem {
        let title = "The format cannot hold these rows";
        let detail = format!("{error}; another format can");
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "does-not-fit-format",
            title,
            detail,
        )
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Problem {
        let mut problem = match &error {
            SourceError::Unavailable(_) => {
                let title = "The database is not available";
                unavailable("database-unavailable", title, "try again in a moment")
            }
            SourceError::Busy { .. } => unavailable("database-busy", FULL, "try again in a moment"),
            SourceError::TooSlow => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "export-too-slow",
                "The export takes too long",
                "no row came in time; narrow the filters, or ask the operator",
            ),
            SourceError::BadValue { .. }
            | SourceError::Query { .. }
            | SourceError::NotUtf8 { .. }
            | SourceError::Truncated => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "export-failed",
                "The export failed",
                "the rows could not be read; the operator finds the reason by the request id",
            ),
        };
        problem.0.cause = Some(causes(&error));
        problem
    }
}

/// Nothing at that path.
pub(super) fn unknown_path() -> Problem {
    let title = "There is nothing at this path";
    let detail = "the paths are listed in /openapi.yaml";
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", title, detail)
}

/// A path that takes other methods. `allowed` is what the header `Allow` says: RFC 9110, section 15.5.6.
pub(super) fn method_not_allowed(allowed: &'static str) -> Problem {
    let (code, title) = ("method-not-allowed", "The method is not allowed here");
    let detail = format!("expected {allowed}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, code, title, detail)
        .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

/// Something that only the operator can mend; the cause goes to the log.
pub(super) fn internal(cause: String) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let title = "Something went wrong here";
    let detail = "the operator finds the reason by the request id";
    let mut problem = Problem::new(status, "internal", title, detail);
    problem.0.cause = Some(cause);
    problem
}

/// A request that cannot be read.
pub(super) fn malformed(detail: String) -> Problem {
    let title = "The request cannot be read";
    Problem::new(StatusCode::BAD_REQUEST, "malformed-request", title, detail)
}

/// No export of that name, in the path or in a request.
pub(super) fn unknown_export(detail: String) -> Problem {
    let title = "There is no such export";
    Problem::new(StatusCode::NOT_FOUND, "unknown-export", title, detail)
}

/// No format of that extension, in the path or in a request.
pub(super) fn unknown_format(detail: String) -> Problem {
    let title = "There is no such format";
    Problem::new(StatusCode::NOT_FOUND, "unknown-format", title, detail)
}

/// Not now, but later.
pub(super) fn unavailable(
    code: &'static str,
    title: &'static str,
    detail: impl Into<String>,
) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
}

fn too_many(code: &'static str, detail: String, seconds: u64) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, FULL, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn forbidden(code: &'static str, detail: String) -> Problem {
    let title = "The credential does not allow this";
    Problem::new(StatusCode::FORBIDDEN, code, title, detail)
}

/// Values that do not fit, each with its field.
pub(super) fn invalid(detail: String, errors: Vec<FieldError>) -> Problem {
    let title = "Some values do not fit";
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-values",
        title,
        detail,
    )
    .with_errors(errors)
}
