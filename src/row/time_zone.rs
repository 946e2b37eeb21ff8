//! The time zone in which a file shows instants.

use std::str::FromStr;

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use super::Timestamp;

const UNIX_SECONDS_OF_2000: i64 = 946_684_800;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// A time zone of the IANA database; UTC by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(Tz);

impl Default for TimeZone {
    fn default() -> Self {
        TimeZone(Tz::UTC)
    }
}

/// The name is not in the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time zone such as Europe/Berlin or UTC")]
pub struct UnknownTimeZone;

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<TimeZone, UnknownTimeZone> {
        name.parse().map(TimeZone).map_err(|_| UnknownTimeZone)
    }
}

impl TimeZone {
    /// Returns the IANA name, such as `Europe/Berlin`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Returns the UTC offset at an instant, in seconds; positive east of UTC.
    #[inline]
    pub fn offset_seconds(self, instant: Timestamp) -> i32 {
        if self.0 == Tz::UTC {
            0
        } else {
            self.look_up_offset(instant)
        }
    }

    /// Not inlined, to keep the UTC path fast.
    #[inline(never)]
    fn look_up_offset(self, instant: Timestamp) -> i32 {
        let seconds = instant.micros.div_euclid(MICROS_PER_SECOND) + UNIX_SECONDS_OF_2000;
        // No time zone rules exist outside the range of chrono.
        let Some(instant) = DateTime::from_timestamp(seconds, 0) else {
            return 0;
        };
        self.0
            .offset_from_utc_datetime(&instant.naive_utc())
            .fix()
            .local_minus_utc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_daylight_saving_and_are_zero_out_of_range() {
        let berlin: TimeZone = "Europe/Berlin".parse().expect("a zone");
        let at = |micros| berlin.offset_seconds(Timestamp { micros, utc: true });
        let day = 86_400 * MICROS_PER_SECOND;
        assert_eq!(at(0), 3600);
        assert_eq!(at(180 * day), 7200);
        assert_eq!(at(i64::MAX), 0);
        assert_eq!(at(i64::MIN), 0);
        assert_eq!("Europe/Atlantis".parse::<TimeZone>(), Err(UnknownTimeZone));
        assert_eq!(TimeZone::default().name(), "UTC");
    }
}
