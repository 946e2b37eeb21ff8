//! Counts and times for Prometheus, in the OpenMetrics text format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::AppState;
use crate::format::Format;

/// How this answer is called (OpenMetrics 1.0, section "Text format").
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From what is felt as at once to what a proxy gives up on, in seconds.
const FIRST_BYTE_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];
const DURATION_BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 300.0, 900.0,
];

/// What is counted. Every service has its own, so that two in one process do not mix.
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    pub(super) links_issued: Family<FileLabels, Counter>,
    pub(super) refused: Family<RefusalLabels, Counter>,
    pub(super) downloads: Family<OutcomeLabels, Counter>,
    pub(super) rows: Family<FileLabels, Counter>,
    pub(super) bytes: Family<FileLabels, Counter>,
    pub(super) first_byte: Histogram,
    pub(super) duration: Histogram,
    in_flight: Gauge,
    draining: Gauge,
    connections: Family<DatabaseLabels, Gauge>,
    connections_max: Family<DatabaseLabels, Gauge>,
    keys: Family<KeyLabels, Gauge>,
    first_seen: Mutex<HashMap<String, i64>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FileLabels {
    export: String,
    format: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    /// The route's pattern: paths that nobody serves must not make series.
    pub(super) route: Cow<'static, str>,
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    export: String,
    format: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DatabaseLabels {
    database: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabels {
    key: String,
    signs: &'static str,
}

impl FileLabels {
    pub(super) fn of(export: &str, format: Format) -> FileLabels {
        FileLabels {
            export: export.to_owned(),
            format: format.to_string(),
        }
    }

    pub(super) fn with_outcome(self, outcome: &'static str) -> OutcomeLabels {
        OutcomeLabels {
            export: self.export,
            format: self.format,
            outcome,
        }
    }
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let metrics = Metrics {
            registry: Mutex::default(),
            links_issued: Family::default(),
            refused: Family::default(),
            downloads: Family::default(),
            rows: Family::default(),
            bytes: Family::default(),
            first_byte: Histogram::new(FIRST_BYTE_BUCKETS),
            duration: Histogram::new(DURATION_BUCKETS),
            in_flight: Gauge::default(),
            draining: Gauge::default(),
            connections: Family::default(),
            connections_max: Family::default(),
            keys: Family::default(),
            first_seen: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self
            .registry
            .lock()
            .expect("nothing panics while it is held");
        let rowlink = registry.sub_registry_with_prefix("rowlink");
        rowlink.register("links_issued", "Links issued", self.links_issued.clone());
        let help = "Requests refused, by route and code";
        rowlink.register("requests_refused", help, self.refused.clone());
        rowlink.register("downloads", "Downloads that ended", self.downloads.clone());
        rowlink.register("download_rows", "Rows written", self.rows.clone());
        let help = "Bytes of files written, before any content coding";
        rowlink.register("download_bytes", help, self.bytes.clone());
        let help = "From the request to the first byte of the file";
        let seconds = Unit::Seconds;
        rowlink.register_with_unit(
            "download_first_byte",
            help,
            seconds.clone(),
            self.first_byte.clone(),
        );
        let help = "From the request to the end of the download";
        rowlink.register_with_unit("download_duration", help, seconds, self.duration.clone());
        let help = "Downloads that run now";
        rowlink.register("downloads_in_flight", help, self.in_flight.clone());
        let help = "1 while no new work shall come";
        rowlink.register("draining", help, self.draining.clone());
        let help = "Database connections in use by downloads";
        rowlink.register(
            "database_connections_in_use",
            help,
            self.connections.clone(),
        );
        let help = "Database connections that may be in use";
        rowlink.register(
            "database_connections_max",
            help,
            self.connections_max.clone(),
        );
        let help = "When this process first had the signing key, in Unix seconds";
        let name = "signing_key_first_seen_timestamp";
        rowlink.register_with_unit(name, help, Unit::Seconds, self.keys.clone());
    }

    /// What Prometheus reads.
    pub(super) fn render(&self, state: &AppState) -> String {
        // First, so that two who ask at once do not clear what the other fills.
        let registry = self.registry.lock();
        let registry = registry.expect("nothing panics while it is held");
        let service = &state.service;
        self.in_flight.set(service.downloads() as i64);
        self.draining.set(i64::from(state.lifecycle.is_draining()));
        for (database, usage) in service.connections() {
            let labels = DatabaseLabels {
                database: database.to_owned(),
            };
            self.connections
                .get_or_create(&labels)
                .set(usage.in_use as i64);
            self.connections_max
                .get_or_create(&labels)
                .set(usage.max as i64);
        }
        self.keys.clear();
        let now = i64::try_from((state.clock)()).unwrap_or(i64::MAX);
        let mut first_seen = self
            .first_seen
            .lock()
            .expect("nothing panics while it is held");
        for (index, key) in service.key_ids().into_iter().enumerate() {
            let signs = if index == 0 { "true" } else { "false" };
            let since = *first_seen.entry(key.clone()).or_insert(now);
            self.keys
                .get_or_create(&KeyLabels { key, signs })
                .set(since);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes any text");
        text
    }

    pub(super) fn observe(histogram: &Histogram, elapsed: Duration) {
        histogram.observe(elapsed.as_secs_f64());
    }
}
