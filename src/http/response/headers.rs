//! Names and values of headers that are used on every response.

use actix_web::http::header::{HeaderName, HeaderValue};
use uuid::Uuid;

/// The header with the id of the request, under which the log has its lines.
pub(in crate::http) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Creates a header with a constant value.
pub(in crate::http) const fn fixed(
    name: HeaderName,
    value: &'static str,
) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// Returns an id as a header value.
pub(in crate::http) fn id_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a UUID is ASCII")
}
