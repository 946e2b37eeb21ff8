//! Metrics for Prometheus, in the OpenMetrics text format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::http::connection::admission::Limit;
use crate::service::FailedExport;
use crate::source::PoolStatus;
use crate::spool::{Obstacle, Spool};
use rowlink_link::Link;

/// The media type (OpenMetrics 1.0, section "Text format").
pub(in crate::http) const CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bucket bounds in seconds, up to a typical proxy time-out.
const FIRST_BYTE_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];
const DURATION_BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 300.0, 900.0,
];

/// All metrics. Each server has its own, so that two in one process do not mix.
pub(in crate::http) struct Metrics {
    registry: Mutex<Registry>,
    pub(in crate::http) links_issued: Family<FileLabels, Counter>,
    pub(in crate::http) refused: Family<RefusalLabels, Counter>,
    pub(in crate::http) downloads: Family<OutcomeLabels, Counter>,
    pub(in crate::http) downloads_served: Family<ServedLabels, Counter>,
    pub(in crate::http) rows: Family<FileLabels, Counter>,
    pub(in crate::http) bytes: Family<FileLabels, Counter>,
    pub(in crate::http) begun_by_heartbeat: Family<FileLabels, Counter>,
    pub(in crate::http) first_byte: Histogram,
    pub(in crate::http) duration: Histogram,
    pub(in crate::http) database_duration: Histogram,
    pub(in crate::http) spooled_bytes: Counter,
    pub(in crate::http) uploads: Family<OutcomeLabels, Counter>,
    pub(in crate::http) uploaded_bytes: Family<FileLabels, Counter>,
    pub(in crate::http) store_errors: Counter,
    pub(in crate::http) single_use_errors: Counter,
    obstacles: Family<ReasonLabels, Counter>,
    spool_in_use: Gauge,
    spool_max: Gauge,
    log_lines_lost: Family<LogLabels, Counter>,
    reloads_failed: Family<FileKindLabels, Counter>,
    in_flight: Gauge,
    draining: Gauge,
    connections_refused: Family<LimitLabels, Counter>,
    connections: Family<DatabaseLabels, Gauge>,
    connections_max: Family<DatabaseLabels, Gauge>,
    failed_exports: Family<FailureLabels, Gauge>,
    keys: Family<KeyLabels, Gauge>,
    first_seen: Mutex<HashMap<String, i64>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::http) struct FileLabels {
    export: String,
    format: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::http) struct RefusalLabels {
    /// The route's pattern: arbitrary paths must not create series.
    pub(in crate::http) route: Cow<'static, str>,
    pub(in crate::http) code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::http) struct OutcomeLabels {
    export: String,
    format: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(in crate::http) struct ServedLabels {
    export: String,
    format: String,
    served_by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DatabaseLabels {
    database: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    export: String,
    code: &'static str,
    serves: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FileKindLabels {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LogLabels {
    log: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabels {
    key: String,
    signs: &'static str,
}

/// Returns how many lines of the log were lost so far.
pub struct LostLines {
    /// Lines about links and downloads.
    pub audit: Box<dyn Fn() -> u64 + Send + Sync>,
    /// All others.
    pub other: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for LostLines {
    fn default() -> LostLines {
        LostLines {
            audit: Box::new(|| 0),
            other: Box::new(|| 0),
        }
    }
}

/// The values of gauges at one moment.
pub(in crate::http) struct Snapshot<'s> {
    pub(in crate::http) downloads: usize,
    pub(in crate::http) is_draining: bool,
    pub(in crate::http) pools: Vec<(&'s str, PoolStatus)>,
    pub(in crate::http) failed_exports: Vec<FailedExport>,
    pub(in crate::http) spool: Option<&'s Spool>,
    pub(in crate::http) key_ids: Vec<String>,
    pub(in crate::http) lost_lines: &'s LostLines,
    /// In Unix seconds.
    pub(in crate::http) now: u64,
}

impl FileLabels {
    pub(in crate::http) fn of(link: &Link) -> FileLabels {
        FileLabels {
            export: link.export.clone(),
            format: link.format_name().to_owned(),
        }
    }

    pub(in crate::http) fn with_outcome(self, outcome: &'static str) -> OutcomeLabels {
        OutcomeLabels {
            export: self.export,
            format: self.format,
            outcome,
        }
    }

    pub(in crate::http) fn served_by(self, served_by: &'static str) -> ServedLabels {
        ServedLabels {
            export: self.export,
            format: self.format,
            served_by,
        }
    }
}

impl Metrics {
    pub(in crate::http) fn new() -> Metrics {
        let metrics = Metrics {
            registry: Mutex::default(),
            links_issued: Family::default(),
            refused: Family::default(),
            downloads: Family::default(),
            downloads_served: Family::default(),
            rows: Family::default(),
            bytes: Family::default(),
            begun_by_heartbeat: Family::default(),
            first_byte: Histogram::new(FIRST_BYTE_BUCKETS),
            duration: Histogram::new(DURATION_BUCKETS),
            database_duration: Histogram::new(DURATION_BUCKETS),
            spooled_bytes: Counter::default(),
            uploads: Family::default(),
            uploaded_bytes: Family::default(),
            store_errors: Counter::default(),
            single_use_errors: Counter::default(),
            obstacles: Family::default(),
            spool_in_use: Gauge::default(),
            spool_max: Gauge::default(),
            log_lines_lost: Family::default(),
            reloads_failed: Family::default(),
            in_flight: Gauge::default(),
            draining: Gauge::default(),
            connections_refused: Family::default(),
            connections: Family::default(),
            connections_max: Family::default(),
            failed_exports: Family::default(),
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
            .expect("no code panics while it is locked");
        let rowlink = registry.sub_registry_with_prefix("rowlink");
        rowlink.register("links_issued", "Links issued", self.links_issued.clone());
        let help = "Requests refused, by route and code";
        rowlink.register("requests_refused", help, self.refused.clone());
        rowlink.register("downloads", "Downloads that ended", self.downloads.clone());
        let help = "Downloads that ended, by where their bytes come from";
        rowlink.register("downloads_served", help, self.downloads_served.clone());
        rowlink.register("download_rows", "Rows written", self.rows.clone());
        let help = "Bytes of files written, before any content coding";
        rowlink.register("download_bytes", help, self.bytes.clone());
        let help = "Downloads that began by a heartbeat, before the first row";
        rowlink.register(
            "downloads_begun_by_heartbeat",
            help,
            self.begun_by_heartbeat.clone(),
        );
        let help = "From the request to the first byte of the file";
        let seconds = Unit::Seconds;
        rowlink.register_with_unit(
            "download_first_byte",
            help,
            seconds.clone(),
            self.first_byte.clone(),
        );
        let help = "From the request to the end of the download";
        rowlink.register_with_unit(
            "download_duration",
            help,
            seconds.clone(),
            self.duration.clone(),
        );
        let help = "How long a download's query held its database connection";
        let held = self.database_duration.clone();
        rowlink.register_with_unit("download_database", help, seconds, held);
        self.register_spool(rowlink);
        self.register_store(rowlink);
        let help = "Lines of the log that found too many others waiting";
        rowlink.register("log_lines_lost", help, self.log_lines_lost.clone());
        let help = "Files that could not be reloaded";
        rowlink.register("reloads_failed", help, self.reloads_failed.clone());
        let help = "Downloads that run now";
        rowlink.register("downloads_in_flight", help, self.in_flight.clone());
        let help = "1 while the replica drains";
        rowlink.register("draining", help, self.draining.clone());
        let help = "Connections refused because of a limit";
        rowlink.register(
            "connections_refused",
            help,
            self.connections_refused.clone(),
        );
        let help = "Database connections in use by downloads";
        rowlink.register(
            "database_connections_in_use",
            help,
            self.connections.clone(),
        );
        let help = "The limit of database connections for downloads";
        rowlink.register(
            "database_connections_max",
            help,
            self.connections_max.clone(),
        );
        let help = "1 for each export that is not served, or only in its previous version";
        rowlink.register("failed_exports", help, self.failed_exports.clone());
        let help = "When this process first had the signing key, in Unix seconds";
        let name = "signing_key_first_seen_timestamp";
        rowlink.register_with_unit(name, help, Unit::Seconds, self.keys.clone());
    }

    fn register_spool(&self, rowlink: &mut Registry) {
        let help = "Bytes of responses that waited on the disk";
        rowlink.register("spooled_bytes", help, self.spooled_bytes.clone());
        let help = "Downloads whose query waited for its reader although there is a spool";
        rowlink.register("spool_obstacles", help, self.obstacles.clone());
        let help = "Bytes in use on the disk of the spool";
        rowlink.register("spool_bytes", help, self.spool_in_use.clone());
        let help = "The limit of the bytes on the disk of the spool";
        rowlink.register("spool_bytes_max", help, self.spool_max.clone());
    }

    fn register_store(&self, rowlink: &mut Registry) {
        let help = "Uploads of files to the store that ended";
        rowlink.register("uploads", help, self.uploads.clone());
        let help = "Bytes of files uploaded to the store, also of uploads that failed";
        rowlink.register("uploaded_bytes", help, self.uploaded_bytes.clone());
        let help = "Downloads for which the store could not be asked";
        rowlink.register("store_errors", help, self.store_errors.clone());
        let help = "Requests for which it was not known whether a single-use link was used";
        rowlink.register("single_use_errors", help, self.single_use_errors.clone());
    }

    /// Returns the text that Prometheus reads, with the gauges of this moment.
    pub(in crate::http) fn render(&self, snapshot: Snapshot<'_>) -> String {
        // Locked first: of two concurrent calls one would clear what the other has set.
        let registry = self.registry.lock();
        let registry = registry.expect("no code panics while it is locked");
        let lost = snapshot.lost_lines;
        for (log, lines) in [("audit", (lost.audit)()), ("other", (lost.other)())] {
            let counter = self.log_lines_lost.get_or_create(&LogLabels { log });
            counter.inner().store(lines, Ordering::Relaxed);
        }
        self.in_flight.set(snapshot.downloads as i64);
        self.draining.set(i64::from(snapshot.is_draining));
        let spool = snapshot
            .spool
            .map(|spool| (spool.bytes(), spool.bytes_max()));
        let (in_use, max) = spool.unwrap_or_default();
        self.spool_in_use.set(in_use as i64);
        self.spool_max.set(max as i64);
        for (database, pool) in snapshot.pools {
            let labels = DatabaseLabels {
                database: database.to_owned(),
            };
            self.connections
                .get_or_create(&labels)
                .set(pool.in_use as i64);
            self.connections_max
                .get_or_create(&labels)
                .set(pool.max as i64);
        }
        self.failed_exports.clear();
        for failed in snapshot.failed_exports {
            let labels = FailureLabels {
                serves: failed.serves(),
                export: failed.name,
                code: failed.code,
            };
            self.failed_exports.get_or_create(&labels).set(1);
        }
        self.keys.clear();
        self.record_keys(&snapshot.key_ids, snapshot.now);
        let first_seen = self.first_seen.lock();
        let first_seen = first_seen.expect("no code panics while it is locked");
        for (index, key) in snapshot.key_ids.into_iter().enumerate() {
            let signs = if index == 0 { "true" } else { "false" };
            let since = first_seen.get(&key).copied().unwrap_or_default();
            self.keys
                .get_or_create(&KeyLabels { key, signs })
                .set(since);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string accepts any text");
        text
    }

    /// Records the time, in Unix seconds, for keys that were not there before.
    pub(in crate::http) fn record_keys(&self, key_ids: &[String], now: u64) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let first_seen = self.first_seen.lock();
        let mut first_seen = first_seen.expect("no code panics while it is locked");
        for key in key_ids {
            first_seen.entry(key.clone()).or_insert(now);
        }
    }

    pub(in crate::http) fn count_refused_connection(&self, limit: Limit) {
        let labels = LimitLabels {
            limit: limit.name(),
        };
        self.connections_refused.get_or_create(&labels).inc();
    }

    /// Counts a query that has ended: how long it held a connection, if it did, and its bytes on the disk.
    pub(in crate::http) fn count_query(&self, held: Option<Duration>, spooled_bytes: u64) {
        if let Some(held) = held {
            Metrics::observe(&self.database_duration, held);
        }
        self.spooled_bytes.inc_by(spooled_bytes);
    }

    pub(in crate::http) fn count_obstacle(&self, obstacle: &Obstacle) {
        let reason = match obstacle {
            Obstacle::Full(_) => "full",
            Obstacle::Disk(_) => "disk",
        };
        self.obstacles.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(in crate::http) fn count_failed_reload(&self, what: &'static str) {
        self.reloads_failed
            .get_or_create(&FileKindLabels { what })
            .inc();
    }

    pub(in crate::http) fn observe(histogram: &Histogram, elapsed: Duration) {
        histogram.observe(elapsed.as_secs_f64());
    }
}
