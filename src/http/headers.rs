//! Header values that cost little, because every answer has them.

use actix_web::http::header::{HeaderName, HeaderValue};
use uuid::Uuid;

/// A header that is always the same.
pub(super) const fn fixed(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// An id as a header has it.
pub(super) fn id_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a UUID is ASCII")
}
