//! Time intervals, stored like PostgreSQL's `interval`.

use super::date_time::Time;

const MICROS_PER_HOUR: u64 = 3_600_000_000;
const MONTHS_PER_YEAR: i32 = 12;

/// A time interval. Months and days are separate because their lengths vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// The remaining microseconds.
    pub micros: i64,
}

impl Interval {
    /// Infinity, supported by PostgreSQL 17 and later.
    pub const INFINITY: Interval = Interval {
        months: i32::MAX,
        days: i32::MAX,
        micros: i64::MAX,
    };
    /// Minus infinity.
    pub const MINUS_INFINITY: Interval = Interval {
        months: i32::MIN,
        days: i32::MIN,
        micros: i64::MIN,
    };

    /// Parses the bytes of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: [u8; 16]) -> Interval {
        let [a, b, c, d, e, f, g, h, days @ .., m, n, o, p] = bytes;
        Interval {
            months: i32::from_be_bytes([m, n, o, p]),
            days: i32::from_be_bytes(days),
            micros: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }

    /// Returns the binary form of PostgreSQL's `interval_send`.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.micros.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.days.to_be_bytes());
        bytes[12..].copy_from_slice(&self.months.to_be_bytes());
        bytes
    }

    /// Appends the interval in PostgreSQL's output style, which PostgreSQL can parse: `1 year 2 mons
    /// -3 days +04:05:06.7`. A positive part after a negative one has a plus sign.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Interval::INFINITY => return out.extend_from_slice(b"infinity"),
            Interval::MINUS_INFINITY => return out.extend_from_slice(b"-infinity"),
            _ => {}
        }
        let start = out.len();
        let mut after_negative = false;
        for (count, unit) in [
            (self.months / MONTHS_PER_YEAR, " year"),
            (self.months % MONTHS_PER_YEAR, " mon"),
            (self.days, " day"),
        ] {
            if count == 0 {
                continue;
            }
            push_separator(start, out);
            if after_negative && count > 0 {
                out.push(b'+');
            }
            out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            out.extend_from_slice(unit.as_bytes());
            if count != 1 {
                out.push(b's');
            }
            after_negative = count < 0;
        }
        if self.micros != 0 || out.len() == start {
            push_separator(start, out);
            self.write_time(after_negative, out);
        }
    }

    /// Appends the microseconds as `[+-]HH:MM:SS`. Hours may exceed 24.
    fn write_time(self, after_negative: bool, out: &mut Vec<u8>) {
        if self.micros < 0 {
            out.push(b'-');
        } else if after_negative {
            out.push(b'+');
        }
        let micros = self.micros.unsigned_abs();
        let hours = micros / MICROS_PER_HOUR;
        if hours < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(hours).as_bytes());
        let start = out.len();
        let remainder = Time {
            micros: (micros % MICROS_PER_HOUR) as i64,
        };
        remainder.write(out);
        // Removes the `00` hours of the remainder.
        out.drain(start..start + "00".len());
    }
}

fn push_separator(start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_like_postgresql() {
        const HOUR: i64 = MICROS_PER_HOUR as i64;
        for ((months, days, micros), expected) in [
            ((0, 0, 0), "00:00:00"),
            ((14, 3, 14_706_700_000), "1 year 2 mons 3 days 04:05:06.7"),
            ((1, 1, 1), "1 mon 1 day 00:00:00.000001"),
            ((-1, 1, -1), "-1 mons +1 day -00:00:00.000001"),
            ((-12, -3, HOUR), "-1 years -3 days +01:00:00"),
            ((0, 0, 1000 * HOUR), "1000:00:00"),
            ((0, 0, i64::MIN), "-2562047788:00:54.775808"),
            ((i32::MAX, i32::MAX, i64::MAX), "infinity"),
            ((i32::MIN, i32::MIN, i64::MIN), "-infinity"),
        ] {
            let interval = Interval {
                months,
                days,
                micros,
            };
            let mut out = b"before,".to_vec();
            interval.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out[7..]), expected);
            assert_eq!(Interval::from_bytes(interval.to_bytes()), interval);
        }
    }
}
