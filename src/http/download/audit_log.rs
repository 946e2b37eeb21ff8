//! One log line per issued link and per download, joined by the link's id. Never a signature, a token or
//! the value of a filter, unless encrypted to the key of the auditor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::Data;
use tracing::Span;
use uuid::Uuid;

use super::coded_file::Progress;
use super::outcome::{Outcome, StreamError};
use crate::auth::Caller;
use crate::http::request::client_ip::client_text;
use crate::http::state::AppState;
use crate::http::telemetry::request_id::request_id;
use crate::http::telemetry::{FileLabels, Metrics, trace};
use crate::service::{IssuedLink, PreparedDownload};
use crate::source::{ConnectionTime, causes};
use crate::spool::Obstacle;
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
        format = link.format_name(),
        filters = filter_names(link),
        audit_values = audit_values(state, link),
        reveal = revealed_columns(link),
        reason = link.conditions.reason.as_deref(),
        ttl_seconds = link.expires - link.issued,
        client = client_text(request, &state.config),
        trace_id = trace::trace_id(request.headers()),
        "link issued"
    );
    let labels = FileLabels::of(link);
    state.metrics.links_issued.get_or_create(&labels).inc();
}

/// Returns the names of the filters, each once per value, separated by commas.
fn filter_names(link: &Link) -> String {
    let names: Vec<&str> = link.filters.iter().map(|(name, _)| name.as_str()).collect();
    names.join(",")
}

/// Returns the columns with a scope that a link reveals, separated by commas, if there are some.
fn revealed_columns(link: &Link) -> Option<String> {
    (!link.reveal.is_empty()).then(|| link.reveal.join(","))
}

/// Returns the values of the filters, encrypted to the key of the auditor, if there is one. The field has the name
/// [`FIELD`](crate::audit_values::FIELD).
fn audit_values(state: &AppState, link: &Link) -> Option<String> {
    state.audit_recipient.as_ref()?.encrypt(&link.filters)
}

/// Where the bytes of a download come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ServedBy {
    /// A query of its own.
    Query,
    /// A file in the spool, of this link or another one.
    Spool,
    /// An object, through this server.
    Store,
    /// An object, by a presigned URL.
    Redirect,
}

impl ServedBy {
    fn name(self) -> &'static str {
        match self {
            ServedBy::Query => "query",
            ServedBy::Spool => "spool",
            ServedBy::Store => "store",
            ServedBy::Redirect => "redirect",
        }
    }
}

/// The log line of a download. It is written when this is dropped, also when the client has left.
pub(in crate::http) struct DownloadLog {
    state: Arc<AppState>,
    request_id: String,
    link: Link,
    client: String,
    trace_id: String,
    span: Span,
    started: Instant,
    first_byte: Option<Duration>,
    /// How long the query holds a connection.
    connection_time: ConnectionTime,
    progress: Progress,
    /// The bytes that have waited on the disk.
    spooled_bytes: Arc<AtomicU64>,
    served_by: ServedBy,
    /// Whether the query ends with the download.
    has_query: bool,
    /// Whether the connection has the whole file, for the [`QueryLog`].
    is_sent: Arc<AtomicBool>,
    /// The first byte of a continued file.
    resumed_from: Option<u64>,
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
        link: &Link,
        connection_time: ConnectionTime,
    ) -> DownloadLog {
        DownloadLog {
            state: state.clone().into_inner(),
            request_id: request_id(request).to_string(),
            link: link.clone(),
            client: client_text(request, &state.config),
            trace_id: trace::trace_id(request.headers()),
            span: trace::download_span(link),
            started: Instant::now(),
            first_byte: None,
            connection_time,
            progress: Progress::default(),
            spooled_bytes: Arc::default(),
            served_by: ServedBy::Query,
            has_query: true,
            is_sent: Arc::default(),
            resumed_from: None,
            last_chunk: Instant::now(),
            is_waiting_for_rows: true,
            outcome: None,
        }
    }

    /// Records a chunk that is handed to the connection: what all chunks so far contain.
    pub(super) fn record(&mut self, progress: Progress) {
        self.progress = progress;
        self.last_chunk = Instant::now();
        if progress.bytes > 0 {
            self.first_byte.get_or_insert(self.started.elapsed());
        }
    }

    /// Sets the counter of the bytes that wait on the disk.
    pub(in crate::http) fn count_spooled(&mut self, spooled_bytes: Arc<AtomicU64>) {
        self.spooled_bytes = spooled_bytes;
    }

    /// Returns what logs and counts the first time that the query waits for its reader although there is a spool.
    pub(in crate::http) fn obstacle_report(&self) -> impl FnMut(Obstacle) + Send + use<> {
        obstacle_report(self.state.clone(), self.link.id)
    }

    /// Lets the query run on without its reader: what counts it at its end.
    pub(in crate::http) fn hand_over_query(&mut self) -> QueryLog {
        self.has_query = false;
        QueryLog {
            state: self.state.clone(),
            link_id: self.link.id,
            connection_time: self.connection_time.clone(),
            is_sent: self.is_sent.clone(),
        }
    }

    /// Records that the response began before the first row: an error can no longer be a status.
    pub(in crate::http) fn begin_by_heartbeat(&mut self) {
        let labels = FileLabels::of(&self.link);
        let begun = &self.state.metrics.begun_by_heartbeat;
        begun.get_or_create(&labels).inc();
    }

    /// Sets whether the download waits for the database. Meanwhile the reader cannot stall.
    pub(super) fn set_waiting_for_rows(&mut self, is_waiting: bool) {
        self.is_waiting_for_rows = is_waiting;
    }

    /// Returns the link's id.
    pub(in crate::http) fn link_id(&self) -> Uuid {
        self.link.id
    }

    /// Records that no query runs for this download.
    pub(in crate::http) fn set_served_by(&mut self, served_by: ServedBy) {
        self.served_by = served_by;
        self.has_query = false;
    }

    /// Records from where stored documents come, which a query has listed.
    pub(in crate::http) fn set_documents_served_by(&mut self, served_by: ServedBy) {
        self.served_by = served_by;
    }

    /// Records that the client continues the file at this byte.
    pub(in crate::http) fn resume_from(&mut self, first_byte: u64) {
        self.resumed_from = Some(first_byte);
    }

    pub(in crate::http) fn set_outcome(&mut self, outcome: Outcome) {
        self.is_sent
            .store(outcome == Outcome::Complete, Ordering::Relaxed);
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
    pub(in crate::http) fn abort(&mut self, error: &StreamError) {
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

/// Returns what logs and counts the first time that a query waits for space in the spool.
pub(in crate::http) fn obstacle_report(
    state: Arc<AppState>,
    link_id: Uuid,
) -> impl FnMut(Obstacle) + Send + use<> {
    let mut is_reported = false;
    move |obstacle| {
        if !std::mem::replace(&mut is_reported, true) {
            let cause = causes(&obstacle);
            tracing::warn!(%link_id, cause, "a query waits for space in the spool");
            state.metrics.count_obstacle(&obstacle);
        }
    }
}

impl Drop for DownloadLog {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or_else(|| self.implicit_outcome());
        let outcome = outcome.name();
        let milliseconds =
            |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let Progress {
            rows,
            bytes,
            heartbeats,
        } = self.progress;
        let held = self.connection_time.elapsed();
        let spooled_bytes = self.spooled_bytes.load(Ordering::Relaxed);
        let link = &self.link;
        let served_by = self.served_by.name();
        tracing::info!(
            target: TARGET,
            request_id = %self.request_id,
            link_id = %link.id,
            user = link.user.as_str(),
            export = link.export,
            format = link.format_name(),
            filters = filter_names(link),
            audit_values = audit_values(&self.state, link),
            reveal = revealed_columns(link),
            reason = link.conditions.reason.as_deref(),
            rows,
            bytes,
            milliseconds = milliseconds(self.started.elapsed()),
            first_byte_milliseconds = self.first_byte.map(milliseconds),
            database_milliseconds = held.map(milliseconds),
            spooled_bytes,
            heartbeats,
            resumed_from = self.resumed_from,
            served_by,
            outcome,
            client = self.client,
            trace_id = self.trace_id,
            "download ended"
        );
        // OTLP has only signed integers.
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.span.record("rows", signed(rows));
        self.span.record("bytes", signed(bytes));
        self.span.record("outcome", outcome);
        let metrics = &self.state.metrics;
        let labels = FileLabels::of(link);
        if self.resumed_from.is_none() {
            metrics.rows.get_or_create(&labels).inc_by(rows);
        }
        metrics.bytes.get_or_create(&labels).inc_by(bytes);
        let by = labels.clone().served_by(served_by);
        metrics.downloads_served.get_or_create(&by).inc();
        let labels = labels.with_outcome(outcome);
        metrics.downloads.get_or_create(&labels).inc();
        Metrics::observe(&metrics.duration, self.started.elapsed());
        if self.has_query {
            metrics.count_query(held, spooled_bytes);
        }
        if let Some(elapsed) = self.first_byte {
            Metrics::observe(&metrics.first_byte, elapsed);
        }
    }
}

/// Counts what the query of a kept file has used. It runs to its end, also if its client has left.
pub(in crate::http) struct QueryLog {
    state: Arc<AppState>,
    link_id: Uuid,
    connection_time: ConnectionTime,
    is_sent: Arc<AtomicBool>,
}

impl QueryLog {
    /// Returns what counts the query of a file that no client reads yet. Its upload has a line in the log.
    pub(in crate::http) fn of_prepared(
        state: &Data<AppState>,
        prepared: &PreparedDownload,
    ) -> QueryLog {
        QueryLog {
            state: state.clone().into_inner(),
            link_id: prepared.link.link().id,
            connection_time: prepared.connection_time(),
            is_sent: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Counts the query at its end, and logs it if its client has left before: then no other line tells it.
    pub(super) fn end(&self, is_complete: bool, has_reader: bool, spooled_bytes: u64) {
        let held = self.connection_time.elapsed();
        self.state.metrics.count_query(held, spooled_bytes);
        if !has_reader && !self.is_sent.load(Ordering::Relaxed) {
            let database_milliseconds = held.map(|held| held.as_millis() as u64);
            tracing::info!(
                target: TARGET,
                link_id = %self.link_id,
                database_milliseconds,
                spooled_bytes,
                is_complete,
                "query ended after its client had left"
            );
        }
    }
}
