//! Cross-origin requests by the Fetch standard: exact origins that the operator lists, no others, and
//! no wildcard.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::HttpConfig;

/// What scripts may read of an answer beyond the few headers that they always may.
const EXPOSED: &str = "Content-Disposition, Rowlink-Link-Id, X-Request-Id, Retry-After";
/// Browsers ask again after this; Chromium caps it at two hours.
const MAX_AGE_SECONDS: u64 = 7200;

/// The answer to a browser that asks whether it may ask, if it does that.
pub(super) fn preflight(
    http_config: &HttpConfig,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Option<HttpResponse> {
    let asks = method == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && path.starts_with("/v1/");
    if !asks {
        return None;
    }
    origin(http_config, headers)?;
    let mut answer = HttpResponse::NoContent();
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"));
    let allowed = "Authorization, Content-Type, Traceparent";
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed));
    answer.insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS.to_string()));
    Some(answer.finish())
}

/// Lets scripts of a listed origin read an answer.
pub(super) fn allow(
    http_config: &HttpConfig,
    path: &str,
    request: &HeaderMap,
    answer: &mut HeaderMap,
) {
    if http_config.cors_origins.is_empty() || !path.starts_with("/v1/") {
        return;
    }
    // A cache must not give one origin what was made for another.
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin(http_config, request) else {
        return;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    if http_config.jwt_cookie.is_some() {
        let credentials = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
        answer.insert(credentials, HeaderValue::from_static("true"));
    }
}

fn origin<'h>(http_config: &HttpConfig, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_listed = http_config
        .cors_origins
        .iter()
        .any(|listed| origin == listed.as_str());
    is_listed.then_some(origin)
}
