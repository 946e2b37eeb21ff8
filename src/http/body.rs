//! The body of a request: JSON, of a bounded length, within a bounded time.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde_json::Value;
use tokio::time::timeout;

use super::problem::{Problem, malformed};

/// A body is at most this long.
const BYTES_MAX: usize = 64 * 1024;
/// And here within this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads it. What does not fit is not repeated: it may be a link.
///
/// # Errors
/// It is too long, too slow, broken off, or not JSON.
pub(super) async fn json(payload: Payload) -> Result<Value, Problem> {
    let body = timeout(TIMEOUT, payload.to_bytes_limited(BYTES_MAX)).await;
    let body = body.map_err(|_| {
        let detail = format!("expected the body within {} seconds", TIMEOUT.as_secs());
        let status = StatusCode::REQUEST_TIMEOUT;
        Problem::new(status, "body-too-slow", "The body is too slow", detail)
    })?;
    let body = body.map_err(|_| {
        let detail = format!("expected at most {BYTES_MAX} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Problem::new(status, "body-too-long", "The body is too long", detail)
    })?;
    let body = body.map_err(|error| malformed(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| {
        let title = "The body is not JSON";
        let detail = format!("line {}, column {}", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "malformed-json", title, detail)
    })
}
