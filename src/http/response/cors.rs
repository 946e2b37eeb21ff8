//! Cross-origin requests by the Fetch standard: only exact origins that the operator lists, no wildcard.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::http::config::HttpConfig;

/// Response headers that scripts may read in addition to the safelisted ones.
const EXPOSED: &str = "Content-Disposition, Content-Range, ETag, Repr-Digest, Rowlink-Link-Id, X-Request-Id, Retry-After";
/// How long browsers cache a preflight; Chromium caps it at two hours.
const MAX_AGE_SECONDS: u64 = 7200;

/// Returns the response to a preflight request of a listed origin.
pub(in crate::http) fn preflight(
    config: &HttpConfig,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Option<HttpResponse> {
    let is_preflight = method == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && path.starts_with("/v1/");
    if !is_preflight {
        return None;
    }
    origin(config, headers)?;
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"));
    // A listed origin may send what it asks for, such as the headers of its tracing library.
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
    }
    response.insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS.to_string()));
    Some(response.finish())
}

/// Lets scripts of a listed origin read a response.
pub(in crate::http) fn allow(
    config: &HttpConfig,
    path: &str,
    request: &HeaderMap,
    response: &mut HeaderMap,
) {
    if config.cors_origins.is_empty() || !path.starts_with("/v1/") {
        return;
    }
    // A cache must not serve one origin the response of another.
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin(config, request) else {
        return;
    };
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    if config.jwt_cookie.is_some() {
        let credentials = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
        response.insert(credentials, HeaderValue::from_static("true"));
    }
}

fn origin<'h>(config: &HttpConfig, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_listed = config
        .cors_origins
        .iter()
        .any(|listed| origin == listed.as_str());
    is_listed.then_some(origin)
}
