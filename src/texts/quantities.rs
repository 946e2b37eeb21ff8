//! Numbers, sizes and times in words.

use serde::Deserialize;

use super::fill;
use crate::unix_time::rfc3339;

/// How a language writes quantities.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantities {
    /// Between groups of three digits.
    thousands: String,
    /// Before the first decimal.
    decimal: String,
    instant: String,
    rows: Counted,
    bytes: Counted,
    /// A time that has passed.
    pub(crate) ago: Duration,
    /// A time that is left.
    pub(crate) left: Duration,
}

/// A text for a time, by its unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Duration {
    seconds: Counted,
    minutes: Counted,
    hours: Counted,
    days: Counted,
}

/// A text with a number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    one: String,
    other: String,
}

impl Quantities {
    pub(crate) fn rows(&self, count: u64) -> String {
        self.rows.of(count, &self.digits(count))
    }

    /// Returns a number of bytes in the unit that people would use, with decimal prefixes.
    pub(crate) fn size(&self, bytes: u64) -> String {
        const UNITS: [(u64, &str); 4] = [
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1000, "kB"),
        ];
        let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
            return self.bytes.of(bytes, &self.digits(bytes));
        };
        let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
        match whole {
            0..10 => format!("{whole}{}{tenths} {name}", self.decimal),
            _ => format!("{whole} {name}"),
        }
    }

    /// Returns the minute of an instant in Unix seconds, in UTC; an empty text after the year 9999.
    pub(crate) fn instant(&self, seconds: u64) -> String {
        let instant = rfc3339(seconds).unwrap_or_default();
        let part = |range| instant.get(range).unwrap_or_default();
        match part(19..20) {
            "Z" => fill(
                &self.instant,
                &[
                    ("year", part(0..4)),
                    ("month", part(5..7)),
                    ("day", part(8..10)),
                    ("time", part(11..16)),
                ],
            ),
            _ => String::new(),
        }
    }

    fn digits(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push_str(&self.thousands);
            }
            text.push(digit);
        }
        text
    }
}

impl Duration {
    /// Returns a number of seconds in the unit that people would use.
    pub(crate) fn in_words(&self, seconds: u64) -> String {
        let (count, unit) = match seconds {
            0..120 => (seconds, &self.seconds),
            120..7200 => (seconds / 60, &self.minutes),
            7200..172_800 => (seconds / 3600, &self.hours),
            _ => (seconds / 86_400, &self.days),
        };
        unit.of(count, &count.to_string())
    }
}

impl Counted {
    fn of(&self, count: u64, digits: &str) -> String {
        let text = match count {
            1 => &self.one,
            _ => &self.other,
        };
        fill(text, &[("count", digits)])
    }
}

#[cfg(test)]
mod tests {
    use crate::texts::{Texts, all};

    /// Returns the quantities of English and German.
    fn languages() -> [&'static super::Quantities; 2] {
        ["en", "de"].map(|language| {
            let texts = all()
                .iter()
                .find(|texts: &&Texts| texts.language == language);
            &texts.expect("a language").quantities
        })
    }

    #[test]
    fn times_are_in_the_unit_that_people_use() {
        let [english, german] = languages();
        let seconds = [0, 1, 12, 119, 120, 7199, 7200, 172_799, 172_800];
        let expected = [
            "0 seconds",
            "1 second",
            "12 seconds",
            "119 seconds",
            "2 minutes",
            "119 minutes",
            "2 hours",
            "47 hours",
            "2 days",
        ];
        assert_eq!(seconds.map(|it| english.left.in_words(it)), expected);
        assert_eq!(english.ago.in_words(7200), "2 hours ago");
        assert_eq!(german.ago.in_words(1), "vor 1 Sekunde");
        assert_eq!(german.ago.in_words(172_800), "vor 2 Tagen");
        assert_eq!(german.left.in_words(172_800), "2 Tage");
    }

    #[test]
    fn a_size_is_in_the_unit_that_people_use() {
        let [english, german] = languages();
        let bytes = [0, 1, 999, 1000, 1999, 12_345, 4_560_000, 78_900_000_000];
        let expected = [
            "0 bytes",
            "1 byte",
            "999 bytes",
            "1.0 kB",
            "1.9 kB",
            "12 kB",
            "4.5 MB",
            "78 GB",
        ];
        assert_eq!(bytes.map(|it| english.size(it)), expected);
        let expected = [
            "0 Byte", "1 Byte", "999 Byte", "1,0 kB", "1,9 kB", "12 kB", "4,5 MB", "78 GB",
        ];
        assert_eq!(bytes.map(|it| german.size(it)), expected);
    }

    #[test]
    fn rows_have_separators_between_thousands() {
        let [english, german] = languages();
        let rows = [0, 1, 999, 1000, 1_234_567];
        let expected = [
            "0 rows",
            "1 row",
            "999 rows",
            "1,000 rows",
            "1,234,567 rows",
        ];
        assert_eq!(rows.map(|it| english.rows(it)), expected);
        let expected = [
            "0 Zeilen",
            "1 Zeile",
            "999 Zeilen",
            "1.000 Zeilen",
            "1.234.567 Zeilen",
        ];
        assert_eq!(rows.map(|it| german.rows(it)), expected);
    }

    #[test]
    fn an_instant_is_written_as_its_language_does() {
        let [english, german] = languages();
        let noon = 1_769_857_200;
        assert_eq!(english.instant(noon), "2026-01-31 11:00 UTC");
        assert_eq!(german.instant(noon), "31.01.2026, 11:00 Uhr (UTC)");
        assert_eq!(english.instant(253_402_300_800), "");
    }
}
