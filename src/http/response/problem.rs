//! Problems: error responses by RFC 9457, `application/problem+json`.
//!
//! A problem says what the client can do. SQL, driver messages and keys go only to the log, under the
//! request id that the response shows.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use rowlink_link::{URL_BYTES_MAX, is_too_long};
use serde::{Serialize, Serializer};
use serde_json::json;
use uuid::Uuid;

use super::document;
use super::error_page::{NextSteps, Page};
use super::headers::fixed;
use crate::catalog::FieldError;
use crate::texts::{Texts, english};

/// The largest total length of header fields in bytes.
pub(in crate::http) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// `Retry-After` of temporary problems.
pub(in crate::http) const RETRY_AFTER_SECONDS: u64 = 2;

/// The typical size of a problem document, which is then allocated once.
const TYPICAL_BYTES: usize = 384;

/// The most of what a client sent that a problem repeats.
const ERRORS_MAX: usize = 100;
const FIELD_BYTES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 500;

/// Headers of every problem.
const FIXED: [(HeaderName, HeaderValue); 4] = [
    fixed(header::CACHE_CONTROL, "no-store"),
    fixed(header::VARY, "Accept"),
    fixed(header::REFERRER_POLICY, "no-referrer"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// RFC 9457, section 3.
const DOCUMENT_TYPE: (HeaderName, HeaderValue) =
    fixed(header::CONTENT_TYPE, "application/problem+json");

/// An error response.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    header: Option<(HeaderName, HeaderValue)>,
    /// Only for the log.
    cause: Option<String>,
    /// For how many seconds the link has been expired.
    expired_for: Option<u64>,
}

impl Problem {
    /// Creates a problem with a stable code, whose title is in the texts of each language, and the detail of this occurrence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        let mut detail = detail.into();
        cut(&mut detail, TEXT_BYTES_MAX);
        Problem(Box::new(Parts {
            status,
            code,
            detail,
            errors: Vec::new(),
            header: None,
            cause: None,
            expired_for: None,
        }))
    }

    /// Adds field errors, as many as a person reads.
    pub fn with_errors(mut self, mut errors: Vec<FieldError>) -> Problem {
        errors.truncate(ERRORS_MAX);
        for error in &mut errors {
            cut(&mut error.field, FIELD_BYTES_MAX);
            cut(&mut error.message, TEXT_BYTES_MAX);
        }
        self.0.errors = errors;
        self
    }

    /// Adds the cause, which goes only to the log.
    pub(in crate::http) fn with_cause(mut self, cause: String) -> Problem {
        self.0.cause = Some(cause);
        self
    }

    /// Adds for how many seconds the link has been expired, which the HTML page shows.
    pub(in crate::http) fn with_expired_for(mut self, seconds: u64) -> Problem {
        self.0.expired_for = Some(seconds);
        self
    }

    /// Adds a header to the response.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// Returns the status.
    pub(in crate::http) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the stable code.
    pub(in crate::http) fn code(&self) -> &'static str {
        self.0.code
    }

    /// Returns the seconds after which another attempt may succeed, if the response has them.
    pub(in crate::http) fn retry_after(&self) -> Option<u64> {
        let (name, value) = self.0.header.as_ref()?;
        let value = Some(value).filter(|_| name == header::RETRY_AFTER);
        value?.to_str().ok()?.parse().ok()
    }

    /// Returns the detail.
    pub(in crate::http) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Returns the field errors.
    pub(in crate::http) fn errors(&self) -> Vec<serde_json::Value> {
        self.0.errors.iter().map(field_error).collect()
    }

    /// Returns the cause, which only the log shows.
    pub(in crate::http) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Returns the names of the invalid fields.
    pub(in crate::http) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.errors.iter().map(|error| error.field.as_str())
    }

    /// Returns the JSON response.
    pub(in crate::http) fn document(&self, request_id: Uuid) -> HttpResponse {
        let Parts {
            status,
            code,
            detail,
            errors,
            ..
        } = self.0.as_ref();
        let document = Document {
            kind: format_args!("urn:rowlink:problem:{code}"),
            title: english().title(code),
            status: status.as_u16(),
            code,
            detail,
            request_id,
            errors,
        };
        let mut body = Vec::with_capacity(TYPICAL_BYTES);
        serde_json::to_writer(&mut body, &document).expect("a document of texts and numbers");
        let mut response = self.response();
        response.insert_header(DOCUMENT_TYPE);
        response.body(body)
    }

    /// Returns the HTML response for a browser.
    pub(in crate::http) fn page(
        &self,
        texts: &'static Texts,
        request_id: Uuid,
        next: NextSteps,
    ) -> HttpResponse {
        let parts = self.0.as_ref();
        let page = Page {
            texts,
            expired_for: parts.expired_for,
            errors: parts
                .errors
                .iter()
                .map(|error| (&*error.field, &*error.message))
                .collect(),
            status: parts.status.as_u16(),
            code: parts.code,
            request_id,
            next,
        };
        let mut response = self.response();
        for header in document::headers(texts) {
            response.insert_header(header);
        }
        let policy = page.content_security_policy();
        response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
        response.body(page.render())
    }

    /// Returns the status and the headers of a response.
    pub(in crate::http) fn response(&self) -> HttpResponseBuilder {
        let mut response = HttpResponseBuilder::new(self.0.status);
        for header in FIXED {
            response.insert_header(header);
        }
        if let Some(header) = &self.0.header {
            response.insert_header(header.clone());
        }
        response
    }
}

/// Cuts a text, and shows that.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rfind(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
}

/// The document of RFC 9457, section 3, with extension members.
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

/// Lets handlers return problems with `?`. The middleware renders them, because an error does not know
/// its request.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.0.status)
    }
}

/// No resource has this path.
pub(in crate::http) fn unknown_path() -> Problem {
    let detail = "the paths are listed in /openapi.yaml";
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", detail)
}

/// The path supports other methods, which the `Allow` header lists: RFC 9110, section 15.5.6.
pub(in crate::http) fn method_not_allowed(allowed: &'static str) -> Problem {
    let code = "method-not-allowed";
    let detail = format!("expected {allowed}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, code, detail).with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

/// Only the operator can fix this; the cause goes to the log.
pub(in crate::http) fn internal(cause: String) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let detail = "the operator finds the reason in the log by the request id";
    let problem = Problem::new(status, "internal", detail);
    problem.with_cause(cause)
}

/// The request is malformed.
pub(in crate::http) fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-request", detail)
}

/// The request head was not complete in time.
pub(in crate::http) fn head_too_slow() -> Problem {
    let detail = "the request head was not complete in time";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request-too-slow", detail)
}

/// The request head is longer than is accepted.
pub(in crate::http) fn header_too_long() -> Problem {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let detail = format!("expected at most {HEADER_BYTES_MAX} bytes");
    Problem::new(status, "header-too-long", detail)
}

/// No export has the name in the path or request.
pub(in crate::http) fn unknown_export(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-export", detail)
}

/// The export exists, but cannot be served now.
pub(in crate::http) fn export_unavailable(detail: String) -> Problem {
    unavailable("export-unavailable", detail)
}

/// No format has the extension in the path or request.
pub(in crate::http) fn unknown_format(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-format", detail)
}

/// Temporarily unavailable.
pub(in crate::http) fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
}

/// A rate or concurrency limit was reached.
pub(in crate::http) fn too_many(code: &'static str, detail: String, seconds: u64) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// The credential does not allow the request.
pub(in crate::http) fn forbidden(code: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

/// Fields are invalid.
pub(in crate::http) fn invalid(detail: String, errors: Vec<FieldError>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-values", detail).with_errors(errors)
}

/// Checks the length of path and query.
///
/// # Errors
/// Returns 414 if they are too long.
pub(in crate::http) fn check_target_length(target: &str) -> Result<(), Problem> {
    if !is_too_long(target) {
        return Ok(());
    }
    let detail = format!("expected at most {URL_BYTES_MAX} bytes");
    let status = StatusCode::URI_TOO_LONG;
    Err(Problem::new(status, "url-too-long", detail))
}
