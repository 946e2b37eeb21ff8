//! Responses: problems and error pages, headers, CORS, content codings.

mod advice;
pub(super) mod content_encoding;
pub(super) mod cors;
pub(super) mod error_page;
pub(super) mod headers;
pub(super) mod problem;
pub(super) mod retry;
mod statuses;
