//! Converts between RFC 3339 timestamps and Unix seconds.

use chrono::{DateTime, SecondsFormat};

/// A timestamp in a link has at most ten digits.
const SECONDS_MAX: u64 = 9_999_999_999;

/// Parses an RFC 3339 timestamp such as `2026-01-31T10:00:00Z` into Unix seconds. A fraction is rounded
/// up. Returns `None` if the text is invalid or a link cannot carry the time.
pub fn parse(text: &str) -> Option<u64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let rounding = i64::from(time.timestamp_subsec_nanos() > 0);
    let seconds = u64::try_from(time.timestamp() + rounding).ok()?;
    (seconds <= SECONDS_MAX).then_some(seconds)
}

/// Formats Unix seconds as an RFC 3339 timestamp in UTC. Returns `None` after the year 262142.
pub fn rfc3339(seconds: u64) -> Option<String> {
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_parsed_with_its_offset_and_rounded_up() {
        assert_eq!(parse("2026-01-31T11:00:00+01:00"), Some(1_769_853_600));
        assert_eq!(parse("2026-01-31T10:00:00.001Z"), Some(1_769_853_601));
        assert_eq!(
            rfc3339(1_769_853_600).as_deref(),
            Some("2026-01-31T10:00:00Z")
        );
        for bad in [
            "",
            "2026-01-31",
            "1769853600",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
