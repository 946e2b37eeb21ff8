//! Spans of requests and downloads, for a collector. Without a collector no span is created.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::http::request::path;
use rowlink_link::Link;

/// The target of spans for a collector.
pub const TRACE_TARGET: &str = "rowlink::trace";

/// Creates the span of a request, in the trace that its `traceparent` names. No field has the query.
pub(in crate::http) fn request_span(request: &ServiceRequest) -> Span {
    let route = || route_of(request.request());
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = format!("{} {}", request.method(), route()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = %route(),
        http.response.status_code = Empty,
        request_id = Empty,
    );
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Fails only without a collector, which is excluded above.
        let _ = span.set_parent(parent);
    }
    span
}

/// Returns the route of a request, as in `openapi.yaml`; empty if there is none.
pub(in crate::http) fn route_of(request: &HttpRequest) -> Cow<'static, str> {
    // Within the scope of downloads the router knows no pattern before it has chosen a route.
    match path::classify(request.path()) {
        Some(found) => found.route().into(),
        None => request.match_pattern().unwrap_or_default().into(),
    }
}

/// Returns the trace id of the `traceparent` header; empty if there is none.
pub(in crate::http) fn trace_id(headers: &HeaderMap) -> String {
    let header = headers.get("traceparent");
    if !header.is_some_and(|header| has_valid_lengths(header.as_bytes())) {
        return String::new();
    }
    let headers = Headers(headers);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let id = context.span().span_context().trace_id();
    match id == TraceId::INVALID {
        true => String::new(),
        false => id.to_string(),
    }
}

/// Tells whether the parts of a `traceparent` have their lengths, which the propagator does not check:
/// W3C Trace Context, section 3.2.2. Version 0 has no further parts.
fn has_valid_lengths(header: &[u8]) -> bool {
    let parts: Vec<&[u8]> = header.split(|byte| *byte == b'-').collect();
    let lengths: Vec<usize> = parts.iter().take(4).map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2] && (parts.len() == 4 || parts[0] != b"00")
}

/// Creates the span of a download, which outlives the head of the response.
pub(in crate::http) fn download_span(link: &Link) -> Span {
    tracing::info_span!(
        target: TRACE_TARGET,
        "download",
        link_id = %link.id,
        export = link.export,
        format = link.format_name(),
        rows = Empty,
        bytes = Empty,
        outcome = Empty,
    )
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    #[test]
    fn the_trace_id_comes_from_a_valid_traceparent() {
        let of = |text: &'static str| {
            let name = HeaderName::from_static("traceparent");
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(text))]);
            trace_id(&headers)
        };
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for good in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(of(good), id, "{good}");
        }
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa-01",
        ] {
            assert_eq!(of(bad), "", "{bad}");
        }
    }
}
