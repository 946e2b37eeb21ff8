//! The body of a request, limited in length and time.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use serde_json::Value;
use tokio::time::timeout;

use crate::http::response::problem::{Problem, malformed};

/// The largest body in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// The time in which the body must arrive.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a body that is JSON. Errors do not quote it, because it may hold a link.
///
/// # Errors
/// Returns 408 if the body is too slow, 413 if it is too long, and 400 if it is incomplete or not JSON.
pub(in crate::http) async fn read_json(payload: Payload) -> Result<Value, Problem> {
    let body = read(payload).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("line {}, column {}", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
    })
}

/// Reads a body that says nothing, such as that of an empty form.
///
/// # Errors
/// Returns 408 if the body is too slow, 413 if it is too long, and 400 if it is incomplete.
pub(in crate::http) async fn discard_body(payload: Payload) -> Result<(), Problem> {
    read(payload).await.map(drop)
}

async fn read(payload: Payload) -> Result<Bytes, Problem> {
    let body = timeout(TIMEOUT, payload.to_bytes_limited(BYTES_MAX)).await;
    let body = body.map_err(|_| {
        let detail = format!("expected the body within {} seconds", TIMEOUT.as_secs());
        let status = StatusCode::REQUEST_TIMEOUT;
        Problem::new(status, "body-too-slow", detail)
    })?;
    let body = body.map_err(|_| {
        let detail = format!("expected at most {BYTES_MAX} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Problem::new(status, "body-too-long", detail)
    })?;
    body.map_err(|error| malformed(error.to_string()))
}
