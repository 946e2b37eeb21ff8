//! The log, and trace export to an OTLP collector.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::errors::{ErrorLines, error_line};
use super::log_writer::{LogThreads, LogWriter};
use crate::config::Log;
use crate::http::{LostLines, TRACE_TARGET};
use crate::http_client::build_agent;

/// The time-out for sending spans. Spans not sent in time are lost.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Keeps the log and the trace exporter running. Dropping it sends the remaining spans and lines.
pub(super) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    _log: LogThreads,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.traces.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "failed to send the last traces");
        }
    }
}

/// Starts logging, and trace export if an endpoint is configured. Also returns the count of lost lines.
///
/// # Errors
/// Returns an error if the endpoint is not a URL, or the file of audit lines cannot be opened.
pub(super) fn start(log: &Log) -> Result<(Telemetry, LostLines), ErrorLines> {
    let provider = log
        .otlp_endpoint
        .as_deref()
        .map(build_provider)
        .transpose()?;
    let traces = provider.as_ref().map(|provider| {
        let spans = tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_tracer(provider.tracer("rowlink"));
        let filter = filter_fn(|it| it.target() == TRACE_TARGET);
        spans.with_filter(filter).boxed()
    });
    let (writer, threads) = LogWriter::start(log).map_err(error_line)?;
    let lost_lines = writer.lost_lines();
    let lines = log_layer(log.json, writer)
        .with_filter(log.filter.clone().and(filter_fn(|it| it.is_event())));
    // A list instead of an `Option` layer: a `None` layer would enable all spans.
    let layers: Vec<_> = [Some(lines.boxed()), traces]
        .into_iter()
        .flatten()
        .collect();
    Registry::default().with(layers).init();
    let telemetry = Telemetry {
        traces: provider,
        _log: threads,
    };
    Ok((telemetry, lost_lines))
}

fn log_layer(json: bool, writer: LogWriter) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).boxed()
    }
}

fn build_provider(endpoint: &str) -> Result<SdkTracerProvider, ErrorLines> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(build_agent(EXPORT_TIMEOUT)))
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter.map_err(error_line)?)
        .with_resource(Resource::builder().with_service_name("rowlink").build())
        .build())
}

/// Sends spans with the blocking HTTP client, on the exporter's own thread.
#[derive(Debug)]
struct Client(ureq::Agent);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.to_vec());
        let (head, mut body) = self.0.run(request)?.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}
