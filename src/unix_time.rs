//! Moments as people and programs write them (RFC 3339), in Unix seconds.

use chrono::{DateTime, SecondsFormat};

/// Links carry at most ten digits.
const SECONDS_MAX: u64 = 9_999_999_999;

/// Reads `2026-01-31T10:00:00Z`, and a fraction as the next whole second; `None` if it is none, or none that a link
/// can carry.
pub fn parse(text: &str) -> Option<u64> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    let begun = i64::from(moment.timestamp_subsec_nanos() > 0);
    let seconds = u64::try_from(moment.timestamp() + begun).ok()?;
    (seconds <= SECONDS_MAX).then_some(seconds)
}

/// Writes it in UTC; `None` after the year 262142.
pub fn rfc3339(seconds: u64) -> Option<String> {
    let moment = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_its_offset_and_never_too_early() {
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
