//! Excel serial dates: days since the start of 1900, and fractions of a day.
//!
//! ECMA-376 part 1, 18.17.4.1, the 1900 date system.

use crate::row::{Date, Interval, Time};

const MICROS_PER_DAY: i64 = 86_400_000_000;
pub(super) const MILLIS_PER_DAY: i64 = 86_400_000;
/// Days from 1899-12-30 (serial 0 for dates from March 1900 on) to 2000-01-01.
const DAYS_TO_2000: i64 = 36_526;
/// 1900-03-01. Serial 60 is 29 February 1900, which did not exist: Excel kept this bug of Lotus 1-2-3. LibreOffice and
/// others did not, so that they show the days before as one day earlier than Excel.
const DAY_MIN: i64 = 61;
/// 9999-12-31.
const DAY_MAX: i64 = 2_958_465;

/// Returns the serial number of a day, or `None` before March 1900 and after 9999.
pub fn from_date(date: Date) -> Option<i64> {
    let day = i64::from(date.days) + DAYS_TO_2000;
    (DAY_MIN..=DAY_MAX).contains(&day).then_some(day)
}

/// Returns the serial day and the milliseconds within it, or `None` before March 1900 and after 9999.
/// Microseconds are truncated: rounding could change the day.
pub fn from_micros(micros: i64) -> Option<(i64, i64)> {
    let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
    let day = from_date(Date { days })?;
    Some((day, micros.rem_euclid(MICROS_PER_DAY) / 1000))
}

/// Returns the milliseconds since midnight, or `None` for 24:00, which Excel cannot represent.
pub fn from_time(time: Time) -> Option<i64> {
    (0..MICROS_PER_DAY)
        .contains(&time.micros)
        .then_some(time.micros / 1000)
}

/// Returns the days and milliseconds of an interval, or `None` if it has months (no fixed length), is
/// negative (Excel shows `####`), or is longer than Excel's calendar.
pub fn from_interval(interval: Interval) -> Option<(i64, i64)> {
    let micros = i64::from(interval.days).checked_mul(MICROS_PER_DAY)?;
    let micros = micros.checked_add(interval.micros)?;
    let days = micros.div_euclid(MICROS_PER_DAY);
    (interval.months == 0 && (0..=DAY_MAX).contains(&days))
        .then_some((days, micros.rem_euclid(MICROS_PER_DAY) / 1000))
}

/// Appends a serial number with nine decimal places, enough to distinguish milliseconds.
pub fn write(day: i64, millis: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(day).as_bytes());
    if millis == 0 {
        return;
    }
    const PLACES: i64 = 1_000_000_000;
    let fraction = (millis * PLACES + MILLIS_PER_DAY / 2) / MILLIS_PER_DAY;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(PLACES + fraction).trim_end_matches('0');
    out.push(b'.');
    out.extend_from_slice(&digits.as_bytes()[1..]);
}

/// Returns a serial number as [`write`] appends it.
pub fn text(day: i64, millis: i64) -> String {
    let mut out = Vec::new();
    write(day, millis, &mut out);
    String::from_utf8(out).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use proptest::prelude::*;

    fn day(year: i32, month: u32, day: u32) -> Option<i64> {
        let date = NaiveDate::from_ymd_opt(year, month, day).expect("a day");
        let since = date - NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day");
        from_date(Date {
            days: since.num_days() as i32,
        })
    }

    #[test]
    fn serial_days_start_after_29_february_1900() {
        for (date, serial) in [
            ((1899, 12, 31), None),
            ((1900, 1, 1), None),
            ((1900, 2, 28), None),
            ((1900, 3, 1), Some(61)),
            ((2000, 1, 1), Some(36_526)),
            ((2026, 1, 31), Some(46_053)),
            ((9999, 12, 31), Some(2_958_465)),
        ] {
            assert_eq!(day(date.0, date.1, date.2), serial, "{date:?}");
        }
        assert_eq!(from_date(Date { days: i32::MAX }), None);
        assert_eq!(from_date(Date { days: i32::MIN }), None);
        assert_eq!(from_micros(i64::MAX), None);
        assert_eq!(from_micros(i64::MIN), None);
        assert_eq!(from_micros(-1), Some((36_525, 86_399_999)));
    }

    #[test]
    fn times_are_fractions_of_a_day() {
        assert_eq!(text(1, 0), "1");
        assert_eq!(text(0, 43_200_000), "0.5");
        assert_eq!(text(0, 1), "0.000000012");
        assert_eq!(text(46_053, 86_399_999), "46053.999999988");
        let midnight = Time {
            micros: MICROS_PER_DAY,
        };
        assert_eq!(from_time(midnight), None);
        assert_eq!(from_time(Time { micros: 1999 }), Some(1));
    }

    #[test]
    fn intervals_of_fixed_length_are_numbers_of_days() {
        let of = |months, days, micros| {
            from_interval(Interval {
                months,
                days,
                micros,
            })
        };
        assert_eq!(of(0, 2, -1), Some((1, 86_399_999)));
        assert_eq!(of(0, 0, 100 * MICROS_PER_DAY), Some((100, 0)));
        assert_eq!(of(0, 0, -1), None);
        assert_eq!(of(1, 0, 0), None);
        assert_eq!(of(0, i32::MAX, i64::MAX), None);
    }

    proptest! {
        /// Rounds the fraction as spreadsheet programs do.
        #[test]
        fn every_millisecond_is_read_back(day in 1..=DAY_MAX, millis in 0..MILLIS_PER_DAY) {
            let serial: f64 = text(day, millis).parse().expect("a number");
            let fraction = serial - serial.floor();
            prop_assert_eq!((fraction * MILLIS_PER_DAY as f64).round() as i64, millis);
        }
    }
}
