//! Responses: problems, pages, headers, CORS, content codings.

mod advice;
pub(super) mod confirm_page;
pub(super) mod content_encoding;
pub(super) mod cors;
pub(super) mod document;
pub(super) mod error_page;
pub(super) mod exports_page;
mod gzip_stream;
pub(super) mod headers;
pub(super) mod problem;
pub(super) mod retry;
mod statuses;
mod zstd_stream;
