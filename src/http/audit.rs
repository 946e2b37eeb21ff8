//! One line in the log for each link that is issued and for each download, joined by the link's id.
//! Never a signature, a token or the value of a filter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::Data;
use tracing::Span;

use super::AppState;
use super::file::StreamError;
use super::metrics::{FileLabels, Metrics};
use super::middleware::request_id;
use super::origin::Origin;
use super::trace;
use crate::auth::Caller;
use crate::service::{Download, DownloadError};
use crate::source::{SourceError, causes};
use rowlink_link::Link;

/// The outcome of a download that nothing else ended.
const CLIENT_GONE: &str = "client_gone";

/// A link was issued.
pub(super) fn link_issued(request: &HttpRequest, state: &AppState, caller: &Caller, link: &Link) {
    let origin = Origin::of(request, &state.http_config);
    tracing::info!(
        request_id = %request_id(request),
        link_id = %link.id,
        credential = caller.credential,
        user = link.user.as_str(),
        export = link.export,
        format = %link.format,
        filters = ?link.filters.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ttl_seconds = link.expires - link.issued,
        client = origin.client,
        trace_id = origin.trace_id,
        "link issued"
    );
    let labels = FileLabels::of(&link.export, link.format);
    state.metrics.links_issued.get_or_create(&labels).inc();
}

/// A download on its way. Dropping it writes its line, also when its client left.
pub(super) struct DownloadLog {
    state: Arc<AppState>,
    pub(super) request_id: String,
    pub(super) link: Link,
    origin: Origin,
    span: Span,
    started: Instant,
    first_byte: Option<Duration>,
    rows: u64,
    bytes: u64,
    /// When the last chunk was handed to the connection, which asks for the next once it is sent.
    handed_on: Instant,
    waits_for_rows: bool,
    /// How it ended.
    pub(super) outcome: &'static str,
}

impl DownloadLog {
    pub(super) fn start(request: &HttpRequest, state: &Data<AppState>, link: &Link) -> DownloadLog {
        DownloadLog {
            state: state.clone().into_inner(),
            request_id: request_id(request).to_string(),
            link: link.clone(),
            origin: Origin::of(request, &state.http_config),
            span: trace::of_download(link),
            started: Instant::now(),
            first_byte: None,
            rows: 0,
            bytes: 0,
            handed_on: Instant::now(),
            waits_for_rows: true,
            outcome: CLIENT_GONE,
        }
    }

    /// A chunk is handed to the connection.
    pub(super) fn written(&mut self, download: &Download) {
        self.rows = download.rows_written();
        self.bytes = download.bytes_written();
        self.handed_on = Instant::now();
        self.first_byte.get_or_insert(self.started.elapsed());
    }

    /// Nothing is handed to the connection until the database gives rows: what ends it now is not the
    /// client's doing.
    pub(super) fn waits_for_rows(&mut self, waits: bool) {
        self.waits_for_rows = waits;
    }

    /// An error ends it.
    pub(super) fn abort(&mut self, error: &StreamError) {
        let (request_id, link_id) = (&self.request_id, &self.link.id);
        let cause = causes(error);
        tracing::error!(request_id, %link_id, cause, "download aborted");
        self.outcome = match error {
            StreamError::Download(DownloadError::Source(SourceError::TooSlow)) => "timed_out",
            StreamError::Download(DownloadError::Source(_)) => "database_failed",
            StreamError::Download(DownloadError::Encode(_)) => "does_not_fit_format",
            StreamError::Download(DownloadError::TooLarge(_)) => "too_large",
            StreamError::Download(DownloadError::NotRepeatable) => "not_repeatable",
            StreamError::Coding(_) => "coding_failed",
        };
    }

    /// The download took as long as it may, or the replica stops.
    pub(super) fn time_is_up(&mut self) {
        if !self.state.lifecycle.is_aborting() {
            self.outcome = "timed_out";
        }
    }

    /// Why nobody ended it.
    fn silent_outcome(&self) -> &'static str {
        let stall_max = self.state.service.policy().stall_max;
        if self.state.lifecycle.is_aborting() {
            "shutdown"
        } else if !self.waits_for_rows && self.handed_on.elapsed() >= stall_max {
            "stalled"
        } else {
            CLIENT_GONE
        }
    }
}

impl Drop for DownloadLog {
    fn drop(&mut self) {
        if self.outcome == CLIENT_GONE {
            self.outcome = self.silent_outcome();
        }
        let milliseconds =
            |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let link = &self.link;
        tracing::info!(
            request_id = self.request_id,
            link_id = %link.id,
            user = link.user.as_str(),
            export = link.export,
            format = %link.format,
            filters = ?link.filters.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            rows = self.rows,
            bytes = self.bytes,
            milliseconds = milliseconds(self.started.elapsed()),
            first_byte_milliseconds = self.first_byte.map(milliseconds),
            outcome = self.outcome,
            client = self.origin.client,
            trace_id = self.origin.trace_id,
            "download ended"
        );
        // Numbers of OTLP have a sign.
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.span.record("rows", signed(self.rows));
        self.span.record("bytes", signed(self.bytes));
        self.span.record("outcome", self.outcome);
        let metrics = &self.state.metrics;
        let labels = FileLabels::of(&link.export, link.format);
        metrics.rows.get_or_create(&labels).inc_by(self.rows);
        metrics.bytes.get_or_create(&labels).inc_by(self.bytes);
        let labels = labels.with_outcome(self.outcome);
        metrics.downloads.get_or_create(&labels).inc();
        Metrics::observe(&metrics.duration, self.started.elapsed());
        if let Some(elapsed) = self.first_byte {
            Metrics::observe(&metrics.first_byte, elapsed);
        }
    }
}
