//! Responses: problems and error pages, headers, CORS, content codings.

pub(super) mod content_encoding;
pub(super) mod cors;
pub(super) mod error_page;
pub(super) mod headers;
pub(super) mod problem;
mod statuses;
