//! The smallest or largest value of a column, as `SUBTOTAL` returns it, but of all digits.

use std::cmp::Ordering;

use super::cell::{INTEGER_LIMIT, is_exact, serial_of};
use super::serial::MILLIS_PER_DAY;
use super::text::check_length;
use super::totals::{TotalStyle, TotalValue};
use super::{serial, styles};
use crate::row::{Cell, TimeZone};

/// The smallest or largest number, date or time of a column.
#[derive(Debug)]
pub(super) struct Extreme {
    /// How a new value compares with the one before, to replace it.
    replaces: Ordering,
    found: Option<Value>,
    /// Whether some numbers are text, because Excel would round them.
    has_texts: bool,
    /// Whether a cell is `#NUM!`, which makes the total `#NUM!`.
    has_errors: bool,
}

/// A value that was the smallest or largest one so far.
#[derive(Debug)]
enum Value {
    Decimal(String),
    Float(f64),
    Serial(Serial),
}

/// A date or time: style, day and milliseconds.
type Serial = (u32, i64, i64);

/// A value of a cell.
#[derive(Clone, Copy)]
enum Number<'t> {
    Decimal(&'t str),
    Float(f64),
    Serial(Serial),
}

impl Extreme {
    pub(super) fn smallest() -> Extreme {
        Extreme::with(Ordering::Less)
    }

    pub(super) fn largest() -> Extreme {
        Extreme::with(Ordering::Greater)
    }

    fn with(replaces: Ordering) -> Extreme {
        Extreme {
            replaces,
            found: None,
            has_texts: false,
            has_errors: false,
        }
    }

    /// Compares with a cell. Texts and booleans are skipped.
    pub(super) fn add(&mut self, cell: Cell<'_>, time_zone: TimeZone) {
        match cell {
            Cell::Integer(value) => {
                let mut buffer = itoa::Buffer::new();
                let text = buffer.format(value);
                self.has_texts |= value.unsigned_abs() >= INTEGER_LIMIT && !is_exact(text);
                self.compare(Number::Decimal(text));
            }
            Cell::Float(value) if value.is_finite() => self.compare(Number::Float(value)),
            Cell::Float(_) | Cell::Decimal("NaN" | "Infinity" | "-Infinity") => {
                self.has_errors = true;
            }
            Cell::Decimal(text) => {
                self.has_texts |= !is_exact(text);
                self.compare(Number::Decimal(text));
            }
            _ => {
                if let Some(serial) = serial_of(cell, time_zone) {
                    self.compare(Number::Serial(serial));
                }
            }
        }
    }

    fn compare(&mut self, number: Number<'_>) {
        let before = self.found.as_ref().map(Value::number);
        if before.is_none_or(|before| number.compare(before) == self.replaces) {
            self.found = Some(match number {
                Number::Decimal(text) => Value::Decimal(text.to_owned()),
                Number::Float(value) => Value::Float(value),
                Number::Serial(serial) => Value::Serial(serial),
            });
        }
    }

    /// Returns the value; 0 without values, as `SUBTOTAL` does.
    ///
    /// # Errors
    /// Returns the text of a value that no formula returns exactly.
    pub(super) fn value(&self) -> Result<TotalValue, String> {
        if self.has_errors {
            return Ok(TotalValue::Error);
        }
        let (text, style) = match &self.found {
            None => ("0".to_owned(), styles::DEFAULT),
            Some(Value::Decimal(text)) => (text.clone(), styles::DEFAULT),
            Some(Value::Float(value)) => {
                let text = zmij::Buffer::new().format_finite(*value).to_owned();
                (text, styles::DEFAULT)
            }
            Some(Value::Serial((style, day, millis))) => (serial::text(*day, *millis), *style),
        };
        match self.has_texts {
            false => Ok(TotalValue::Number {
                text,
                style: TotalStyle::OfColumn(style),
            }),
            true if check_length(&text).is_ok() => Err(text),
            true => Ok(TotalValue::Error),
        }
    }
}

impl Value {
    fn number(&self) -> Number<'_> {
        match self {
            Value::Decimal(text) => Number::Decimal(text),
            Value::Float(value) => Number::Float(*value),
            Value::Serial(serial) => Number::Serial(*serial),
        }
    }
}

impl Number<'_> {
    /// Compares decimals exactly; different kinds of numbers, which only SQLite has in one column, as floats.
    fn compare(self, other: Number<'_>) -> Ordering {
        match (self, other) {
            (Number::Decimal(one), Number::Decimal(other)) => compare_decimals(one, other),
            (Number::Serial((_, day, millis)), Number::Serial((_, other, others))) => {
                (day, millis).cmp(&(other, others))
            }
            _ => self.to_float().total_cmp(&other.to_float()),
        }
    }

    fn to_float(self) -> f64 {
        match self {
            Number::Decimal(text) => text.parse().unwrap_or_default(),
            Number::Float(value) => value,
            Number::Serial((_, day, millis)) => day as f64 + millis as f64 / MILLIS_PER_DAY as f64,
        }
    }
}

/// Compares decimal numbers such as `-12.50` of any length.
fn compare_decimals(one: &str, other: &str) -> Ordering {
    let ((one_sign, one), (other_sign, other)) = (magnitude(one), magnitude(other));
    let by_magnitude = (one.0.len(), one).cmp(&(other.0.len(), other));
    one_sign.cmp(&other_sign).then(match one_sign {
        -1 => by_magnitude.reverse(),
        _ => by_magnitude,
    })
}

/// Returns the sign of a number, and its digits before and after the point, without zeros at their ends.
fn magnitude(text: &str) -> (i8, (&str, &str)) {
    let digits = text.trim_start_matches('-');
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, places) = (whole.trim_start_matches('0'), places.trim_end_matches('0'));
    let sign = match (whole, places) {
        ("", "") => 0,
        _ if text.starts_with('-') => -1,
        _ => 1,
    };
    (sign, (whole, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Date, Timestamp};
    use proptest::prelude::*;

    /// Returns the smallest and the largest value, or the text of one without a formula as an error.
    fn extremes(values: &[Cell<'_>]) -> [Result<String, String>; 2] {
        [Extreme::smallest(), Extreme::largest()].map(|mut extreme| {
            let values = values.iter();
            values.for_each(|cell| extreme.add(*cell, TimeZone::default()));
            extreme.value().map(|value| match value {
                TotalValue::Number { text, .. } => text,
                TotalValue::Error => "#NUM!".to_owned(),
            })
        })
    }

    fn ok(smallest: &str, largest: &str) -> [Result<String, String>; 2] {
        [smallest, largest].map(|text| Ok(text.to_owned()))
    }

    #[test]
    fn numbers_are_compared_whatever_their_digits_are() {
        let decimals = ["10", "9.5", "-0.5", "-0.45", "0.00"].map(Cell::Decimal);
        assert_eq!(extremes(&decimals), ok("-0.5", "10"));
        let mixed = [Cell::Integer(2), Cell::Float(2.5), Cell::Decimal("-1.0")];
        assert_eq!(extremes(&mixed), ok("-1.0", "2.5"));
        let skipped = [Cell::Text("9"), Cell::Boolean(true), Cell::Integer(-3)];
        assert_eq!(extremes(&skipped), ok("-3", "-3"));
        assert_eq!(extremes(&[]), ok("0", "0"));
        assert_eq!(
            extremes(&[Cell::Integer(1), Cell::Float(f64::NAN)]),
            ok("#NUM!", "#NUM!")
        );
        // Two texts that are one number as floats.
        let long = ["0.12345678901234567891", "0.12345678901234567892"].map(Cell::Decimal);
        let expected = ["0.12345678901234567891", "0.12345678901234567892"];
        assert_eq!(extremes(&long), expected.map(|text| Err(text.to_owned())));
    }

    #[test]
    fn dates_and_times_keep_their_style() {
        let days = [3, 1, 2].map(|days| Cell::Date(Date { days }));
        assert_eq!(extremes(&days), ok("36527", "36529"));
        let mut first = Extreme::smallest();
        let at = |micros| Cell::Timestamp(Timestamp { micros, utc: true });
        first.add(at(43_200_000_000), TimeZone::default());
        first.add(at(43_200_001_000), TimeZone::default());
        let expected = TotalValue::Number {
            text: "36526.5".into(),
            style: TotalStyle::OfColumn(styles::TIMESTAMP),
        };
        assert_eq!(first.value(), Ok(expected));
    }

    proptest! {
        #[test]
        fn decimals_compare_as_the_integers_that_they_scale(
            one in any::<i64>(), other in any::<i64>(), zeros in 0..3_usize,
        ) {
            let decimal = |value: i64| {
                let (sign, magnitude) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
                let zeros = "0".repeat(zeros);
                format!("{sign}{zeros}{}.{:03}{zeros}", magnitude / 1000, magnitude % 1000)
            };
            for other in [other, one, one.saturating_add(1)] {
                prop_assert_eq!(compare_decimals(&decimal(one), &decimal(other)), one.cmp(&other));
            }
        }
    }
}
