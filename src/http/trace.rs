//! Spans of requests and downloads, for a collector. Where none is configured, none is made.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::link::Link;

/// What marks spans that go to a collector.
pub const TRACE_TARGET: &str = "rowlink::trace";

/// The span of a request, in the trace that its `traceparent` names. Its query is in no field.
pub(super) fn of_request(request: &ServiceRequest) -> Span {
    let route = || {
        let pattern = request.match_pattern().unwrap_or_default();
        Route::of(&pattern).0
    };
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = format!("{} {}", request.method(), route()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route(),
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

/// The path of a resource as the documents write it: `/v1/exports/{export}.{format}`.
#[derive(Clone, Default)]
pub(super) struct Route(pub(super) String);

impl Route {
    /// The router's pattern also says what stands at each place: `/v1/exports/{export:[^/.]*}`.
    pub(super) fn of(pattern: &str) -> Route {
        let mut route = String::with_capacity(pattern.len());
        for (index, piece) in pattern.split('{').enumerate() {
            let (name, rest) = piece.split_once('}').unwrap_or(("", piece));
            if index > 0 {
                let name = name.split(':').next().unwrap_or_default();
                route.extend(["{", name, "}"]);
            }
            route.push_str(rest);
        }
        Route(route)
    }
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
