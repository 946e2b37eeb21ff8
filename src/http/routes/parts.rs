//! Parts of a file: which one a response has, and the headers and problems of it.

use std::ops::Range;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::http::request::continuation::{Continuation, Otherwise, UnconditionalRange};
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::fixed;
use crate::http::response::problem::Problem;
use crate::service::PreparedDownload;
use rowlink_link::Link;

/// The problem of a range after byte 0 without a condition: each download of a live export is a new file.
pub(super) fn late_range(_: UnconditionalRange) -> Problem {
    let detail = "the rows may have changed; remove the incomplete file, and request the whole one without `Range`, or send \
                  `If-Range` with the `ETag` of the file, if it has one: with `\"length\": \"exact\"`";
    Problem::new(StatusCode::BAD_REQUEST, "range-not-supported", detail)
}

/// Returns the part of a file of this length with which the client continues; `None` for the whole file. The file may be
/// another one than the client has begun.
///
/// # Errors
/// Returns a problem if the client wants only the file that it has begun, or a part that the file does not have.
pub(super) fn choose_part(
    length: u64,
    is_begun: bool,
    continuation: Option<&Continuation>,
) -> Result<Option<Range<u64>>, Problem> {
    let Some(continuation) = continuation else {
        return Ok(None);
    };
    if !is_begun {
        return refuse_another(continuation).map(|()| None);
    }
    match continuation.part.map(|part| part.of(length)) {
        None => Ok(None),
        Some(Some(range)) => Ok(Some(range)),
        Some(None) => Err(outside_of_file(length)),
    }
}

/// Checks that the client accepts another file than the one that it has begun.
///
/// # Errors
/// Returns a problem if it does not.
pub(super) fn refuse_another(continuation: &Continuation) -> Result<(), Problem> {
    match continuation.otherwise {
        Otherwise::WholeFile => Ok(()),
        Otherwise::Error => Err(file_changed()),
    }
}

/// Tells whether a client with a part of a file that was coded has its decoded bytes. Browsers do; others refuse a content
/// coding now.
pub(super) fn has_decoded(request: &HttpRequest, prepared: &PreparedDownload) -> bool {
    let names_codings = || request.headers().contains_key(header::ACCEPT_ENCODING);
    is_browser(request) || names_codings() && accepts_no_coding(request, prepared)
}

/// Tells the same of a part of a file that may have been coded. A client that never names a coding gets none.
pub(super) fn may_have_decoded(request: &HttpRequest, prepared: &PreparedDownload) -> bool {
    is_browser(request) || accepts_no_coding(request, prepared)
}

fn is_browser(request: &HttpRequest) -> bool {
    request.headers().contains_key("sec-fetch-mode")
}

fn accepts_no_coding(request: &HttpRequest, prepared: &PreparedDownload) -> bool {
    Coding::negotiate(request, prepared.format).is_none()
}

/// Changes a response to one that has only a part of a file, of this length if it is told: RFC 9110, section 14.4.
pub(super) fn set_part(
    response: &mut HttpResponseBuilder,
    range: &Range<u64>,
    length: Option<u64>,
) {
    let (first, last) = (range.start, range.end - 1);
    let length = length.map_or("*".to_owned(), |length| length.to_string());
    let content_range = format!("bytes {first}-{last}/{length}");
    response.status(StatusCode::PARTIAL_CONTENT);
    response.insert_header((header::CONTENT_RANGE, content_range));
}

pub(super) fn file_changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "file-changed",
        "the rows are not those of the file that was begun; remove the incomplete file, and request the whole one",
    )
}

fn outside_of_file(length: u64) -> Problem {
    let value = HeaderValue::try_from(format!("bytes */{length}"));
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-outside",
        format!("expected a range within {length} bytes"),
    )
    .with_header(
        header::CONTENT_RANGE,
        value.expect("digits are valid in a header"),
    )
}

pub(super) const ACCEPT_RANGES: (HeaderName, HeaderValue) = fixed(header::ACCEPT_RANGES, "bytes");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const WANT_DIGEST: HeaderName = HeaderName::from_static("want-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// Inserts what a client needs to continue the file: RFC 9110, sections 8.8.3 and 14.3.
pub(super) fn insert_validators(response: &mut HttpResponseBuilder, entity_tag: &str) {
    response.insert_header(ACCEPT_RANGES);
    response.insert_header((header::ETAG, entity_tag));
}

/// Tells whether a response without the file may have its entity tag. The tag proves that a download has begun, which some links
/// depend on.
pub(super) fn may_tag_head(link: &Link) -> bool {
    let conditions = &link.conditions;
    !conditions.single_use && !conditions.confirm && conditions.resume_seconds.is_none()
}

/// Inserts the hash of the whole file: RFC 9530, section 3, and for older clients that ask for it RFC 3230.
pub(super) fn insert_digest(
    response: &mut HttpResponseBuilder,
    sha256: [u8; 32],
    request: &HeaderMap,
) {
    let sha256 = BASE64.encode(sha256);
    response.insert_header((REPR_DIGEST, format!("sha-256=:{sha256}:")));
    if request.contains_key(WANT_DIGEST) {
        response.insert_header((DIGEST, format!("sha-256={sha256}")));
    }
}
