//! Dates and times with PostgreSQL's range and precision: microseconds, years BC, infinities.
//!
//! Values are written as in RFC 3339. Values outside its range are written in PostgreSQL's style, which
//! PostgreSQL can parse: a ` BC` suffix, years of five or more digits, `infinity` and `-infinity`.

use super::TimeZone;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days in 400 years, the period of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;
/// Eras between the day-count epoch and 0000-03-01. Keeps day counts of all dates positive.
const ERAS_BEFORE: i64 = 15_000;
/// Days from that epoch to 2000-01-01.
const DAYS_TO_2000: i64 = ERAS_BEFORE * DAYS_PER_ERA + 730_425;

/// A date of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Days since 2000-01-01. `i32::MAX` is infinity, `i32::MIN` minus infinity.
    pub days: i32,
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Microseconds since midnight, from 0 up to [`Time::END`].
    pub micros: i64,
}

/// A date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Microseconds since 2000-01-01T00:00:00. `i64::MAX` is infinity, `i64::MIN` minus infinity.
    pub micros: i64,
    /// Whether it is an instant in UTC, not a local time without a time zone.
    pub utc: bool,
}

impl Date {
    /// Returns whether the date is infinity or minus infinity.
    pub fn is_infinite(self) -> bool {
        matches!(self.days, i32::MIN | i32::MAX)
    }

    /// Appends `2026-01-31`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self.days {
            i32::MAX => out.extend_from_slice(b"infinity"),
            i32::MIN => out.extend_from_slice(b"-infinity"),
            days => {
                let date = CivilDate::from_days(i64::from(days));
                date.write_long_year(out);
                out.extend_from_slice(&date.digits());
                date.write_era(out);
            }
        }
    }
}

impl Time {
    /// 24:00:00, in microseconds since midnight.
    pub const END: i64 = MICROS_PER_DAY;

    /// Appends `10:00:00`, followed by up to six fractional digits without trailing zeros.
    pub fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.digits());
        out.truncate(start + self.significant_length());
    }

    /// Returns `10:00:00.000000`.
    #[inline]
    fn digits(self) -> [u8; 15] {
        // Fits in 32 bits: a time of day has at most 86,400 seconds.
        let seconds = (self.micros / MICROS_PER_SECOND) as u32;
        let micros = self.subsecond_micros();
        let [h, i] = two_digits(seconds / 3600);
        let [m, n] = two_digits(seconds / 60 % 60);
        let [s, t] = two_digits(seconds % 60);
        let [a, b] = two_digits(micros / 10_000);
        let [c, d] = two_digits(micros / 100 % 100);
        let [e, f] = two_digits(micros % 100);
        [h, i, b':', m, n, b':', s, t, b'.', a, b, c, d, e, f]
    }

    /// Returns the length of the text without trailing fractional zeros.
    #[inline]
    fn significant_length(self) -> usize {
        let mut micros = self.subsecond_micros();
        if micros == 0 {
            return 8;
        }
        let mut length = 15;
        while micros.is_multiple_of(10) {
            micros /= 10;
            length -= 1;
        }
        length
    }

    /// Returns the microseconds within the second.
    #[inline]
    fn subsecond_micros(self) -> u32 {
        (self.micros % MICROS_PER_SECOND) as u32
    }
}

impl Timestamp {
    /// Returns whether the timestamp is infinity or minus infinity.
    pub fn is_infinite(self) -> bool {
        matches!(self.micros, i64::MIN | i64::MAX)
    }

    /// Appends an instant in the time zone's local time with its offset: `2026-01-31T11:00:00+01:00`,
    /// or `Z` at offset 0. A local timestamp has no offset: `2026-01-31T10:00:00`.
    pub fn write(self, time_zone: TimeZone, out: &mut Vec<u8>) {
        match self.micros {
            i64::MAX => out.extend_from_slice(b"infinity"),
            i64::MIN => out.extend_from_slice(b"-infinity"),
            _ => {
                let offset = self.offset_minutes(time_zone);
                let micros = self.micros + i64::from(offset) * 60 * MICROS_PER_SECOND;
                let date = CivilDate::from_days(micros.div_euclid(MICROS_PER_DAY));
                let micros = micros.rem_euclid(MICROS_PER_DAY);
                let time = Time { micros };
                date.write_long_year(out);
                // One copy of constant length and a truncate are cheaper than several copies.
                let mut text = [b'T'; 26];
                text[..10].copy_from_slice(&date.digits());
                text[11..].copy_from_slice(&time.digits());
                let start = out.len();
                out.extend_from_slice(&text);
                out.truncate(start + 11 + time.significant_length());
                if self.utc {
                    write_offset(offset, out);
                }
                date.write_era(out);
            }
        }
    }

    /// Appends the local time of the time zone for spreadsheets: `2026-01-31 11:00:00`, with milliseconds if there are
    /// some, and without an offset.
    pub fn write_local(self, time_zone: TimeZone, out: &mut Vec<u8>) {
        let micros = match self.is_infinite() {
            true => self.micros,
            // The rest of a millisecond is dropped: rounding could change the day.
            false => self.local_micros(time_zone).div_euclid(1000) * 1000,
        };
        let local = Timestamp { micros, utc: false };
        let start = out.len();
        local.write(time_zone, out);
        if let Some(separator) = out[start..].iter().position(|byte| *byte == b'T') {
            out[start + separator] = b' ';
        }
    }

    /// Returns microseconds since 2000-01-01T00:00:00 in the local time of the time zone. A local
    /// timestamp is returned unchanged. Infinities stay infinite.
    pub fn local_micros(self, time_zone: TimeZone) -> i64 {
        if !self.utc {
            return self.micros;
        }
        let offset = i64::from(time_zone.offset_seconds(self)) * MICROS_PER_SECOND;
        self.micros.saturating_add(offset)
    }

    /// Returns the UTC offset in minutes. Some offsets before 1972 have seconds, which RFC 3339 cannot
    /// express; such instants stay in UTC.
    #[inline]
    fn offset_minutes(self, time_zone: TimeZone) -> i32 {
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
    let magnitude = minutes.unsigned_abs();
    let ([h, i], [m, n]) = (two_digits(magnitude / 60), two_digits(magnitude % 60));
    let sign = if minutes < 0 { b'-' } else { b'+' };
    out.extend_from_slice(&[sign, h, i, b':', m, n]);
}

/// A date as year, month and day.
struct CivilDate {
    before_christ: bool,
    year: u32,
    month: u32,
    day: u32,
}

impl CivilDate {
    /// Converts days since 2000-01-01.
    ///
    /// Years start in March, so that the leap day is last: Neri and Schneider, "Euclidean affine
    /// functions and their application to calendar algorithms", figure 12.
    #[inline]
    fn from_days(days: i64) -> CivilDate {
        let quarters = 4 * (days + DAYS_TO_2000) as u64 + 3;
        let century = (quarters / DAYS_PER_ERA as u64) as i64;
        // All values from here on fit in 32 bits, except the product `years`.
        let quarter_of_century = (quarters % DAYS_PER_ERA as u64) as u32 | 3;
        let years = 2_939_745 * u64::from(quarter_of_century);
        let day_of_year = years as u32 / 2_939_745 / 4;
        let months = 2_141 * day_of_year + 197_913;
        let (month, day) = (months >> 16, (months & 0xffff) / 2_141 + 1);
        let is_next_year = month > 12;
        let month = if is_next_year { month - 12 } else { month };
        let year_of_century = (years >> 32) as i64 + i64::from(is_next_year);
        let year = 100 * century + year_of_century - 400 * ERAS_BEFORE;
        // Year 0 is 1 BC.
        let before_christ = year <= 0;
        let year = if before_christ { 1 - year } else { year };
        CivilDate {
            before_christ,
            year: year as u32,
            month,
            day,
        }
    }

    /// Appends the digits of the year before its last four.
    fn write_long_year(&self, out: &mut Vec<u8>) {
        if self.year > 9999 {
            let leading = self.year / 10_000;
            out.extend_from_slice(itoa::Buffer::new().format(leading).as_bytes());
        }
    }

    /// Returns `2026-01-31`, with the last four digits of the year.
    #[inline]
    fn digits(&self) -> [u8; 10] {
        let [c, t] = two_digits(self.year / 100 % 100);
        let [y, z] = two_digits(self.year % 100);
        let [m, n] = two_digits(self.month);
        let [d, e] = two_digits(self.day);
        [c, t, y, z, b'-', m, n, b'-', d, e]
    }

    fn write_era(&self, out: &mut Vec<u8>) {
        if self.before_christ {
            out.extend_from_slice(b" BC");
        }
    }
}

/// Returns the two digits of a number below 100.
#[inline]
fn two_digits(number: u32) -> [u8; 2] {
    const ALL: [[u8; 2]; 100] = {
        let mut all = [[b'0'; 2]; 100];
        let mut number = 0;
        while number < all.len() {
            all[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
            number += 1;
        }
        all
    };
    ALL[number as usize]
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
    fn dates_are_written_for_the_whole_range() {
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
    fn timestamps_keep_microseconds_without_trailing_zeros() {
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
    fn twenty_four_hundred_is_a_valid_time() {
        let time = |micros| text(|out| Time { micros }.write(out));
        assert_eq!(time(MICROS_PER_DAY), "24:00:00");
        assert_eq!(time(MICROS_PER_DAY - 1), "23:59:59.999999");
    }

    proptest! {
        #[test]
        fn chrono_writes_the_same_dates(days in 0..2_900_000_u64) {
            let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("a date");
            let other = first.checked_add_days(Days::new(days)).expect("a date");
            prop_assert_eq!(date(days as i32 - 730_119), other.to_string());
        }

        #[test]
        fn chrono_reads_the_same_instants(micros in -60_000_000_000_000_000..200_000_000_000_000_000_i64) {
            let other = DateTime::from_timestamp_micros(micros + UNIX_MICROS_OF_2000).expect("a time");
            let read = DateTime::parse_from_rfc3339(&instant(micros)).expect("RFC 3339");
            prop_assert_eq!(
                read.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true),
                other.to_rfc3339_opts(SecondsFormat::Micros, true)
            );
        }
    }
}
