//! One log line per issued link and per download, joined by the link's id. Never a signature, a token or
//! the value of a filter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::Data;
use tracing::Span;

use super::outcome::{Outcome, StreamError};
use crate::auth::Caller;
use crate::format::Format;
use crate::http::request::client_ip::client_text;
use crate::http::state::AppState;
use crate::http::telemetry::request_id::request_id;
use crate::http::telemetry::{FileLabels, Metrics, trace};
use crate::service::{Download, IssuedLink, PreparedDownload};
use crate::source::causes;
use rowlink_link::Link;

/// The target of audit lines, for filters of `ROWLINK_LOG`.
pub const TARGET: &str = "rowlink::http::audit";

/// Logs and counts an issued link.
pub(in crate::http) fn link_issued(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    issued: &IssuedLink,
) {
    let link = issued.link();
    tracing::info!(
        target: TARGET,
        request_id = %request_id(request),
        link_id = %link.id,
        credential = caller.credential,
        user = link.user.as_str(),
        export = link.export,
        format = %link.format,
        filters = filter_names(link),
        ttl_seconds = link.expires - link.issued,
        client = client_text(request, &state.config),
        trace_id = trace::trace_id(request.headers()),
        "link issued"
    );
    let labels = FileLabels::of(&link.export, issued.format);
    state.metrics.links_issued.get_or_create(&labels).inc();
}

/// Returns the names of the filters, each once per value, separated by commas.
fn filter_names(link: &Link) -> String {
    let names: Vec<&str> = link.filters.iter().map(|(name, _)| name.as_str()).collect();
    names.join(",")
}

/// The log line of a download. It is written when this is dropped, also when the client has left.
pub(in crate::http) struct DownloadLog {
    state: Arc<AppState>,
    request_id: String,
    link: Link,
    format: Format,
    client: String,
    trace_id: String,
    span: Span,
    started: Instant,
    first_byte: Option<Duration>,
    /// Heartbeats of the content coding, and before the first row.
    heartbeats: u64,
    /// Heartbeats within the file.
    heartbeats_in_file: u64,
    rows: u64,
    bytes: u64,
    /// When the last chunk was handed to the connection, which asks for the next one after sending it.
    last_chunk: Instant,
    is_waiting_for_rows: bool,
    /// `None` until something ends the download.
    outcome: Option<Outcome>,
}

impl DownloadLog {
    pub(in crate::http) fn start(
        request: &HttpRequest,
        state: &Data<AppState>,
        prepared: &PreparedDownload,
    ) -> DownloadLog {
        DownloadLog {
            state: state.clone().into_inner(),
            request_id: request_id(request).to_string(),
            link: prepared.link.clone(),
            format: prepared.format,
            client: client_text(request, &state.config),
            trace_id: trace::trace_id(request.headers()),
            span: trace::download_span(&prepared.link),
            started: Instant::now(),
            first_byte: None,
            heartbeats: 0,
            heartbeats_in_file: 0,
            rows: 0,
            bytes: 0,
            last_chunk: Instant::now(),
            is_waiting_for_rows: true,
            outcome: None,
        }
    }

    /// Records a chunk that is handed to the connection.
    pub(super) fn record_chunk(&mut self, download: &Download) {
        self.rows = download.rows_written();
        self.bytes = download.bytes_written();
        self.heartbeats_in_file = download.heartbeats();
        self.last_chunk = Instant::now();
        self.first_byte.get_or_insert(self.started.elapsed());
    }

    /// Records that the response began before the first row: an error can no longer be a status.
    pub(super) fn begin_by_heartbeat(&mut self) {
        let labels = FileLabels::of(&self.link.export, self.format);
        let begun = &self.state.metrics.begun_by_heartbeat;
        begun.get_or_create(&labels).inc();
    }

    /// Records a heartbeat that is handed to the connection.
    pub(super) fn record_heartbeat(&mut self) {
        self.heartbeats += 1;
        self.last_chunk = Instant::now();
    }

    /// Returns the number of heartbeats so far, without those within the file.
    pub(super) fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Sets whether the download waits for the database. Meanwhile the reader cannot stall.
    pub(super) fn set_waiting_for_rows(&mut self, is_waiting: bool) {
        self.is_waiting_for_rows = is_waiting;
    }

    pub(super) fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Records that the download was refused before its first byte.
    pub(in crate::http) fn refuse<'e, E>(&mut self, error: &'e E)
    where
        &'e E: Into<Outcome>,
    {
        self.outcome = Some(error.into());
    }

    /// Logs the error that aborts the download.
    pub(super) fn abort(&mut self, error: &StreamError) {
        let (request_id, link_id) = (&self.request_id, &self.link.id);
        let cause = causes(error);
        let export = &self.link.export;
        tracing::error!(target: TARGET, %request_id, %link_id, export, cause, "download aborted");
        self.outcome = Some(error.into());
    }

    /// Records that the time of the download is up, unless the server shuts down.
    pub(super) fn expire(&mut self) {
        if !self.state.lifecycle.is_aborting() {
            self.outcome = Some(Outcome::TimedOut);
        }
    }

    /// Returns the outcome of a download that nothing else ended.
    fn implicit_outcome(&self) -> Outcome {
        let stall_max = self.state.service.policy().stall_max;
        if self.state.lifecycle.is_aborting() {
            Outcome::Shutdown
        } else if !self.is_waiting_for_rows && self.last_chunk.elapsed() >= stall_max {
            Outcome::Stalled
        } else {
            Outcome::ClientGone
        }
    }
}

impl Drop for DownloadLog {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or_else(|| self.implicit_outcome());
        let outcome = outcome.name();
        let milliseconds =
            |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let link = &self.link;
        tracing::info!(
            target: TARGET,
            request_id = %self.request_id,
            link_id = %link.id,
            user = link.user.as_str(),
            export = link.export,
            format = %link.format,
            filters = filter_names(link),
            rows = self.rows,
            bytes = self.bytes,
            milliseconds = milliseconds(self.started.elapsed()),
            first_byte_milliseconds = self.first_byte.map(milliseconds),
            heartbeats = self.heartbeats + self.heartbeats_in_file,
            outcome,
            client = self.client,
            trace_id = self.trace_id,
            "download ended"
        );
        // OTLP has only signed integers.
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.span.record("rows", signed(self.rows));
        self.span.record("bytes", signed(self.bytes));
        self.span.record("outcome", outcome);
        let metrics = &self.state.metrics;
        let labels = FileLabels::of(&link.export, self.format);
        metrics.rows.get_or_create(&labels).inc_by(self.rows);
        metrics.bytes.get_or_create(&labels).inc_by(self.bytes);
        let labels = labels.with_outcome(outcome);
        metrics.downloads.get_or_create(&labels).inc();
        Metrics::observe(&metrics.duration, self.started.elapsed());
        if let Some(elapsed) = self.first_byte {
            Metrics::observe(&metrics.first_byte, elapsed);
        }
    }
}
