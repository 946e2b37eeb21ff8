//! Spans of requests and downloads, for a collector. Where none is configured, none is made.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::downloads;
use rowlink_link::Link;

/// What marks spans that go to a collector.
pub const TRACE_TARGET: &str = "rowlink::trace";

/// The span of a request, in the trace that its `traceparent` names. Its query is in no field.
pub(super) fn of_request(request: &ServiceRequest) -> Span {
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
        // It fails where there is no collector, which was asked already.
        let _ = span.set_parent(parent);
    }
    span
}

/// The route of a request as the documents write it, or nothing where there is none: `/v1/exports/{export}.{format}`.
pub(super) fn route_of(request: &HttpRequest) -> Cow<'static, str> {
    let path = request.path();
    // Before it has chosen one, the router sees nothing behind the scope of files.
    let Some(below) = path.strip_prefix("/v1/exports") else {
        return request.match_pattern().unwrap_or_default().into();
    };
    let route = match below.strip_prefix('/') {
        None if below.is_empty() => "/v1/exports",
        Some(_) if downloads::is_file(path) => downloads::ROUTE,
        Some(name) if !name.is_empty() && !name.contains('/') => "/v1/exports/{export}",
        _ => "",
    };
    route.into()
}

/// The span of a download, which outlives the answer's head.
pub(super) fn of_download(link: &Link) -> Span {
    tracing::info_span!(
        target: TRACE_TARGET,
        "download",
        link_id = %link.id,
        export = link.export,
        format = %link.format,
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
