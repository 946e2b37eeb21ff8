//! Moments as people and programs write them (RFC 3339), in Unix seconds.

use chrono::{DateTime, SecondsFormat};

/// Links carry at most ten digits.
const SECONDS_MAX: u64 = 9_999_999_999;

/// Reads `2026-01-31T10:00:00Z`; `None` if it is none, or none that a link can carry.
pub fn parse(text: &str) -> Option<u64> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    let seconds = u64::try_from(moment.timestamp()).ok()?;
    (seconds <= SECONDS_MAX).then_some(seconds)
}

/// Writes it in UTC; `None` after the year 262142.
pub fn rfc3339(seconds: u64) -> Option<String> {
    let moment = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Secs, true))
}
