//! Dates and times as PostgreSQL counts them: exact to the microsecond, BC and infinities included.
//!
//! Written as RFC 3339 has it. What that cannot say is written as PostgreSQL does, so that it reads
//! back there: ` BC` at the end, years of five digits and more, `infinity` and `-infinity`.

use super::TimeZone;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 0000-03-01, from which leap days are easily counted, to 2000-01-01.
const DAYS_TO_2000: i64 = 730_425;

/// A day of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Days since 2000-01-01. `i32::MAX` is infinity, `i32::MIN` minus infinity.
    pub days: i32,
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Microseconds since midnight; 24:00:00 is allowed.
    pub micros: i64,
}

/// A date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Microseconds since 2000-01-01T00:00:00. `i64::MAX` is infinity, `i64::MIN` minus infinity.
    pub micros: i64,
    /// Whether it is an instant, counted in UTC, and not what some local clock showed.
    pub utc: bool,
}

impl Date {
    /// Appends `2026-01-31`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self.days {
            i32::MAX => out.extend_from_slice(b"infinity"),
            i32::MIN => out.extend_from_slice(b"-infinity"),
            days => {
                let day = Day::of(i64::from(days));
                day.write_long_year(out);
                out.extend_from_slice(&day.digits());
                day.write_era(out);
            }
        }
    }
}

impl Time {
    /// Appends `10:00:00`, with up to six digits of a second's fraction where there is one.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digits());
        self.write_fraction(out);
    }

    #[inline]
    fn digits(self) -> [u8; 8] {
        // Less than two days of seconds.
        let seconds = (self.micros / MICROS_PER_SECOND) as u32;
        let [[h, i], [m, n], [s, t]] =
            [seconds / 3600, seconds / 60 % 60, seconds % 60].map(two_digits);
        [h, i, b':', m, n, b':', s, t]
    }

    #[inline]
    fn write_fraction(self, out: &mut Vec<u8>) {
        let micros = (self.micros % MICROS_PER_SECOND) as u32;
        if micros == 0 {
            return;
        }
        let [[a, b], [c, d], [e, f]] =
            [micros / 10_000, micros / 100 % 100, micros % 100].map(two_digits);
        out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

impl Timestamp {
    /// Appends `2026-01-31T10:00:00Z`, without the `Z` where it is no instant. An instant is shown
    /// as clocks in the time zone show it, with their offset: `2026-01-31T11:00:00+01:00`.
    pub fn write(self, time_zone: TimeZone, out: &mut Vec<u8>) {
        match self.micros {
            i64::MAX => out.extend_from_slice(b"infinity"),
            i64::MIN => out.extend_from_slice(b"-infinity"),
            _ => {
                let offset = self.whole_minutes(time_zone);
                let micros = self.micros + i64::from(offset) * 60 * MICROS_PER_SECOND;
                let day = Day::of(micros.div_euclid(MICROS_PER_DAY));
                let micros = micros.rem_euclid(MICROS_PER_DAY);
                let time = Time { micros };
                day.write_long_year(out);
                let mut text = [b'T'; 19];
                text[..10].copy_from_slice(&day.digits());
                text[11..].copy_from_slice(&time.digits());
                out.extend_from_slice(&text);
                time.write_fraction(out);
                if self.utc {
                    write_offset(offset, out);
                }
                day.write_era(out);
            }
        }
    }
}

impl Timestamp {
    /// Microseconds since 2000-01-01T00:00:00 on the clocks of the time zone, or on those that it was
    /// read from where it is no instant. What is infinite stays so.
    pub fn local_micros(self, time_zone: TimeZone) -> i64 {
        if !self.utc {
            return self.micros;
        }
        let offset = i64::from(time_zone.offset_seconds(self)) * MICROS_PER_SECOND;
        self.micros.saturating_add(offset)
    }

    /// The offset in minutes. RFC 3339 knows no seconds of it, which zones had before 1972: such an
    /// instant stays in UTC.
    #[inline]
    fn whole_minutes(self, time_zone: TimeZone) -> i32 {
        if !self.utc {
            return 0;
        }
        let seconds = time_zone.offset_seconds(self);
        if seconds % 60 == 0 { seconds / 60 } else { 0 }
    }
}

fn write_offset(minutes: i32, out: &mut Vec<u8>) {
    if minutes == 0 {
        out.push(b'Z');
        return;
    }
    let ahead = minutes.unsigned_abs();
    let [[h, i], [m, n]] = [ahead / 60, ahead % 60].map(two_digits);
    let sign = if minutes < 0 { b'-' } else { b'+' };
    out.extend_from_slice(&[sign, h, i, b':', m, n]);
}

/// A day as it is written.
struct Day {
    before_christ: bool,
    year: u32,
    month: u32,
    day: u32,
}

impl Day {
    /// The day so many days after 2000-01-01.
    ///
    /// The year is counted from March, so that the leap day comes last: Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    #[inline]
    fn of(days: i64) -> Day {
        let days = days + DAYS_TO_2000;
        let era = days.div_euclid(146_097);
        // From here on all is small and positive.
        let day_of_era = days.rem_euclid(146_097) as u32;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + i64::from(year_of_era) + i64::from(month <= 2);
        // The year before the year 1 is the year 1 BC.
        let before_christ = year <= 0;
        let year = if before_christ { 1 - year } else { year };
        Day {
            before_christ,
            year: year as u32,
            month,
            day,
        }
    }

    /// Appends what a year has before its last four digits.
    fn write_long_year(&self, out: &mut Vec<u8>) {
        if self.year > 9999 {
            let rest = self.year / 10_000;
            out.extend_from_slice(itoa::Buffer::new().format(rest).as_bytes());
        }
    }

    #[inline]
    fn digits(&self) -> [u8; 10] {
        let (century, year) = (self.year / 100 % 100, self.year % 100);
        let [[c, t], [y, z], [m, n], [d, e]] =
            [century, year, self.month, self.day].map(two_digits);
        [c, t, y, z, b'-', m, n, b'-', d, e]
    }

    fn write_era(&self, out: &mut Vec<u8>) {
        if self.before_christ {
            out.extend_from_slice(b" BC");
        }
    }
}

/// The digits of a number below 100.
#[inline]
fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
    use proptest::prelude::*;

    const UNIX_MICROS_OF_2000: i64 = 946_684_800 * MICROS_PER_SECOND;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn date(days: i32) -> String {
        text(|out| Date { days }.write(out))
    }

    fn instant(micros: i64) -> String {
        text(|out| Timestamp { micros, utc: true }.write(TimeZone::default(), out))
    }

    #[test]
    fn dates_are_written_over_the_whole_range() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (-1, "1999-12-31"),
            (59, "2000-02-29"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_545, "4714-11-24 BC"),
            (2_921_940, "10000-01-01"),
            (2_145_031_948, "5874897-12-31"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn timestamps_keep_each_microsecond_and_no_zeros() {
        for (micros, expected) in [
            (0, "2000-01-01T00:00:00Z"),
            (-1, "1999-12-31T23:59:59.999999Z"),
            (500_000, "2000-01-01T00:00:00.5Z"),
            (1_000_010, "2000-01-01T00:00:01.00001Z"),
            (9_223_371_331_199_999_999, "294276-12-31T23:59:59.999999Z"),
            (-211_813_488_000_000_000, "4714-11-24T00:00:00Z BC"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            assert_eq!(instant(micros), expected);
        }
        let local = Timestamp {
            micros: 0,
            utc: false,
        };
        assert_eq!(
            text(|out| local.write(TimeZone::default(), out)),
            "2000-01-01T00:00:00"
        );
    }

    #[test]
    fn midnight_at_the_end_of_a_day_is_a_time() {
        let time = |micros| text(|out| Time { micros }.write(out));
        assert_eq!(time(MICROS_PER_DAY), "24:00:00");
        assert_eq!(time(MICROS_PER_DAY - 1), "23:59:59.999999");
    }

    proptest! {
        #[test]
        fn another_calendar_writes_the_same_dates(days in 0..2_900_000_u64) {
            let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("a date");
            let other = first.checked_add_days(Days::new(days)).expect("a date");
            prop_assert_eq!(date(days as i32 - 730_119), other.to_string());
        }

        #[test]
        fn another_calendar_reads_the_same_instants(micros in -60_000_000_000_000_000..200_000_000_000_000_000_i64) {
            let other = DateTime::from_timestamp_micros(micros + UNIX_MICROS_OF_2000).expect("a time");
            let read = DateTime::parse_from_rfc3339(&instant(micros)).expect("RFC 3339");
            prop_assert_eq!(
                read.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true),
                other.to_rfc3339_opts(SecondsFormat::Micros, true)
            );
        }
    }
}
