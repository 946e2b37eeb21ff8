//! What the operator decides about links and downloads.

use std::time::Duration;

use super::quota::QuotaLimits;

/// The operator's limits for links and downloads.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The origin and path prefix of every link, without a slash at the end. Never taken from a request.
    pub public_url: String,
    /// The lifetime of a link in seconds, unless the request sets it.
    pub ttl_seconds_default: u64,
    /// The longest lifetime of a link in seconds.
    pub ttl_seconds_max: u64,
    /// The longest duration of a download.
    pub download_max: Duration,
    /// The longest duration of a download's query.
    pub query_max: Duration,
    /// The time without a row after which heartbeats keep the connection alive; `None` for none.
    pub heartbeat_after: Option<Duration>,
    /// The longest time in which a reader may accept nothing.
    pub stall_max: Duration,
    /// The longest time that a response waits for its estimate.
    pub estimate_max: Duration,
    /// The limits of concurrency and rate.
    pub limits: QuotaLimits,
    /// Whether every link is sealed.
    pub seals_always: bool,
}

impl Policy {
    /// Returns the default policy: links live for a minute, at most an hour; downloads and their queries take at most 15
    /// minutes, have heartbeats after 15 seconds without a row, and are aborted if the reader accepts nothing for 30
    /// seconds.
    #[must_use]
    pub fn with_defaults(public_url: String) -> Policy {
        Policy {
            public_url,
            ttl_seconds_default: 60,
            ttl_seconds_max: 3600,
            download_max: Duration::from_secs(900),
            query_max: Duration::from_secs(900),
            heartbeat_after: Some(Duration::from_secs(15)),
            stall_max: Duration::from_secs(30),
            estimate_max: Duration::from_millis(500),
            limits: QuotaLimits::default(),
            seals_always: false,
        }
    }
}
