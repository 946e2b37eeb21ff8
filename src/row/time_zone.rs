//! The time zone in which a file shows instants.

use std::str::FromStr;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeZone as _, Utc,
};
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

    /// Returns the first instant of a day. Where clocks are set forward over midnight, it is the instant of that change.
    ///
    /// Instants before the year 1 or after the year 9999 are those of UTC, so that each has a text by RFC 3339.
    pub fn start_of(self, day: NaiveDate) -> DateTime<Utc> {
        let midnight = day.and_time(NaiveTime::MIN);
        let instant = match self.0.from_local_datetime(&midnight).earliest() {
            Some(instant) => instant.to_utc(),
            None => self.end_of_gap(midnight),
        };
        let first = NaiveDate::from_ymd_opt(1, 1, 1)
            .expect("a date")
            .and_time(NaiveTime::MIN);
        let last = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");
        let last = last.and_hms_micro_opt(23, 59, 59, 999_999).expect("a time");
        instant.clamp(first.and_utc(), last.and_utc())
    }

    /// Returns the first instant at which clocks show at least a local time that they skip.
    fn end_of_gap(self, skipped: NaiveDateTime) -> DateTime<Utc> {
        // No offset and no gap is longer than a day, and the changes of one zone are further apart.
        let center = skipped.and_utc().timestamp();
        let (mut before, mut after) = (center - 2 * 86_400, center + 2 * 86_400);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        while after - before > 1 {
            let middle = before.midpoint(after);
            let shown = self.0.from_utc_datetime(&at(middle).naive_utc());
            if shown.naive_local() < skipped {
                before = middle;
            } else {
                after = middle;
            }
        }
        at(after)
    }

    /// Not inlined, to keep the UTC path fast.
    #[inline(never)]
    fn look_up_offset(self, instant: Timestamp) -> i32 {
        let seconds = instant.micros.div_euclid(MICROS_PER_SECOND) + UNIX_SECONDS_OF_2000;
        // No time zone rules exist outside the range of chrono.
        let Some(instant) = DateTime::from_timestamp(seconds, 0) else {
            return 0;
        };
        let instant = within_tables(instant);
        self.0
            .offset_from_utc_datetime(&instant.naive_utc())
            .fix()
            .local_minus_utc()
    }
}

/// The first year for which the tables have no changes of the clocks: zones that still change them would stay in winter.
const TABLES_END: i32 = 2100;

/// Returns an instant of the tables with the same offset, as far as today's rules go on: of a year that starts on the same
/// weekday and is as long. The 28 years before 2100 contain every such year.
fn within_tables(instant: DateTime<Utc>) -> DateTime<Utc> {
    let date = instant.naive_utc();
    if date.year() < TABLES_END {
        return instant;
    }
    let weekday = |year| NaiveDate::from_ymd_opt(year, 1, 1).map(|first| first.weekday());
    let is_leap = |year| NaiveDate::from_ymd_opt(year, 2, 29).is_some();
    let year = date.year();
    let is_alike =
        |other: &i32| weekday(*other) == weekday(year) && is_leap(*other) == is_leap(year);
    let alike = (TABLES_END - 28..TABLES_END).find(is_alike);
    let moved = alike.and_then(|alike| date.with_year(alike));
    moved.map_or(instant, |moved| moved.and_utc())
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

    #[test]
    fn clocks_change_in_every_year_of_the_future_by_todays_rules() {
        for (zone, instant, hours) in [
            ("Europe/Berlin", "2099-07-01T00:00:00Z", 2),
            ("Europe/Berlin", "2100-07-01T00:00:00Z", 2),
            ("Europe/Berlin", "2150-01-01T00:00:00Z", 1),
            ("Europe/Berlin", "2101-03-27T00:59:59Z", 1),
            ("Europe/Berlin", "2101-03-27T01:00:00Z", 2),
            ("America/New_York", "2400-07-01T00:00:00Z", -4),
            ("America/New_York", "9999-12-31T23:59:59Z", -5),
            ("Australia/Sydney", "2200-01-15T00:00:00Z", 11),
            ("Asia/Tokyo", "2200-07-01T00:00:00Z", 9),
        ] {
            let zone: TimeZone = zone.parse().expect("a zone");
            let unix = DateTime::parse_from_rfc3339(instant).expect("an instant");
            let micros = (unix.timestamp() - UNIX_SECONDS_OF_2000) * MICROS_PER_SECOND;
            let offset = zone.offset_seconds(Timestamp { micros, utc: true });
            assert_eq!(offset, hours * 3600, "{} {instant}", zone.name());
        }
    }

    #[test]
    fn a_day_starts_at_midnight_or_where_clocks_skip_it() {
        let start = |zone: &str, day: &str| {
            let zone: TimeZone = zone.parse().expect("a zone");
            let start = zone.start_of(day.parse().expect("a day"));
            start.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        };
        for (zone, day, expected) in [
            ("UTC", "2026-01-31", "2026-01-31T00:00:00Z"),
            ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z"),
            // Midnight does not exist: clocks went from 23:59:59 to 01:00.
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),
            // Clocks went from 24:00 back to 23:00.
            ("Asia/Beirut", "2021-10-31", "2021-10-30T22:00:00Z"),
            // Midnight comes twice: clocks went from 01:00 back to 00:00.
            ("America/Havana", "2025-11-02", "2025-11-02T04:00:00Z"),
            // The whole day does not exist.
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
            ("Europe/Berlin", "0001-01-01", "0001-01-01T00:00:00Z"),
            ("America/New_York", "9999-12-31", "9999-12-31T05:00:00Z"),
            ("UTC", "+10000-01-01", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(start(zone, day), expected, "{zone} {day}");
        }
    }
}
