//! The sum of a column, as `SUBTOTAL` computes it, but exactly.

use super::cell::{INTEGER_LIMIT, is_exact, serial_of, with_millis};
use super::exact_sum::ExactSum;
use super::serial::MILLIS_PER_DAY;
use super::text::check_length;
use super::totals::{TotalStyle, TotalValue};
use super::{serial, styles};
use crate::row::{Cell, TimeZone};

/// The sum of the numbers of a column. Integers and decimals are added exactly, times in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Sum {
    exact: ExactSum,
    floats: FloatSum,
    millis: i128,
    /// Which kinds of numbers there are.
    has_exact: bool,
    has_floats: bool,
    has_times: bool,
    /// Whether some numbers are text, because Excel would round them.
    has_texts: bool,
    /// Whether a cell is `#NUM!`, which makes the sum `#NUM!`.
    has_errors: bool,
}

impl Sum {
    /// Adds a cell. Texts and booleans add nothing.
    pub(super) fn add(&mut self, cell: Cell<'_>, time_zone: TimeZone) {
        match cell {
            Cell::Integer(value) => {
                self.exact.add_integer(value);
                self.has_exact = true;
                let is_short = value.unsigned_abs() < INTEGER_LIMIT;
                self.has_texts |= !is_short && !is_exact(itoa::Buffer::new().format(value));
            }
            Cell::Float(value) if value.is_finite() => {
                self.floats.add(value);
                self.has_floats = true;
            }
            Cell::Float(_) | Cell::Decimal("NaN" | "Infinity" | "-Infinity") => {
                self.has_errors = true;
            }
            Cell::Decimal(text) => {
                self.exact.add_decimal(text);
                self.has_exact = true;
                self.has_texts |= !is_exact(text);
            }
            _ => {
                if let Some((_, day, millis)) = serial_of(cell, time_zone) {
                    self.millis +=
                        i128::from(day) * i128::from(MILLIS_PER_DAY) + i128::from(millis);
                    self.has_times = true;
                }
            }
        }
    }

    /// Returns the sum.
    ///
    /// # Errors
    /// Returns the text of a sum that no formula returns exactly.
    pub(super) fn value(&self) -> Result<TotalValue, String> {
        if self.has_errors {
            return Ok(TotalValue::Error);
        }
        match (self.has_exact, self.has_floats, self.has_times) {
            (_, false, false) => {
                let text = self.exact.text();
                match self.has_texts || !is_exact(&text) {
                    false => Ok(TotalValue::number(text)),
                    true if check_length(&text).is_ok() => Err(text),
                    true => Ok(TotalValue::Error),
                }
            }
            (false, false, true) => Ok(self.duration()),
            _ => self.approximate(),
        }
    }

    /// Returns a sum of only times.
    fn duration(&self) -> TotalValue {
        // Fits: a cell adds less than 2³⁸ milliseconds.
        let days = (self.millis / i128::from(MILLIS_PER_DAY)) as i64;
        let millis = (self.millis % i128::from(MILLIS_PER_DAY)) as i64;
        TotalValue::Number {
            text: serial::text(days, millis),
            style: TotalStyle::OfColumn(with_millis(styles::DURATION, millis)),
        }
    }

    /// Returns a sum with floats in it.
    fn approximate(&self) -> Result<TotalValue, String> {
        let mut sum = self.floats;
        // A decimal with too many digits for a float is infinite.
        sum.add(self.exact.text().parse().unwrap_or(f64::INFINITY));
        sum.add(self.millis as f64 / MILLIS_PER_DAY as f64);
        let sum = sum.value();
        if !sum.is_finite() {
            return Ok(TotalValue::Error);
        }
        let text = zmij::Buffer::new().format_finite(sum).to_owned();
        match self.has_texts {
            false => Ok(TotalValue::number(text)),
            true => Err(text),
        }
    }
}

/// A compensated sum: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
#[derive(Debug, Default, Clone, Copy)]
struct FloatSum {
    sum: f64,
    lost: f64,
}

impl FloatSum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += match self.sum.abs() >= value.abs() {
            true => (self.sum - sum) + value,
            false => (value - sum) + self.sum,
        };
        self.sum = sum;
    }

    /// Returns the sum; NaN if it has become infinite.
    fn value(self) -> f64 {
        self.sum + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Interval;

    fn sum(values: &[Cell<'_>]) -> Result<TotalValue, String> {
        let mut sum = Sum::default();
        let values = values.iter();
        values.for_each(|cell| sum.add(*cell, TimeZone::default()));
        sum.value()
    }

    /// Returns the value of a formula, or the text of a sum without one as an error.
    fn sum_of(values: &[Cell<'_>]) -> Result<String, String> {
        sum(values).map(|value| match value {
            TotalValue::Number { text, .. } => text,
            TotalValue::Error => "#NUM!".to_owned(),
        })
    }

    #[test]
    fn integers_and_decimals_are_added_exactly() {
        let ok = |text: &str| Ok(text.to_owned());
        let text = |text: &str| Err(text.to_owned());
        assert_eq!(sum_of(&[]), ok("0"));
        assert_eq!(
            sum_of(&[Cell::Integer(1), Cell::Null, Cell::Integer(-3)]),
            ok("-2")
        );
        let tenths = vec![Cell::Decimal("0.1"); 1000];
        assert_eq!(sum_of(&tenths), ok("100.0"));
        let skipped = [Cell::Text("7"), Cell::Boolean(true), Cell::Decimal("1.50")];
        assert_eq!(sum_of(&skipped), ok("1.50"));
        // A cell with 16 digits is text, and so is a total with 16 digits.
        let long = [Cell::Integer(1_000_000_000_000_001), Cell::Decimal("0.5")];
        assert_eq!(sum_of(&long), text("1000000000000001.5"));
        let long = [Cell::Decimal("999999999999999"), Cell::Decimal("0.5")];
        assert_eq!(sum_of(&long), text("999999999999999.5"));
        // The total has few digits, but a formula would skip the texts.
        let cancelled = [
            Cell::Integer(i64::MAX),
            Cell::Integer(-i64::MAX),
            Cell::Integer(5),
        ];
        assert_eq!(sum_of(&cancelled), text("5"));
        // Many digits that are zeros are exact.
        let millions = [Cell::Integer(500_000_000_000_000_000); 2];
        assert_eq!(sum_of(&millions), ok("1000000000000000000"));
    }

    #[test]
    fn floats_are_added_with_compensation_and_errors_spread() {
        let ok = |text: &str| Ok(text.to_owned());
        let floats = [Cell::Float(1e100), Cell::Float(1.0), Cell::Float(-1e100)];
        assert_eq!(sum_of(&floats), ok("1.0"));
        let mixed = [Cell::Float(0.5), Cell::Integer(2), Cell::Decimal("0.25")];
        assert_eq!(sum_of(&mixed), ok("2.75"));
        for error in [Cell::Float(f64::NAN), Cell::Decimal("Infinity")] {
            assert_eq!(sum_of(&[Cell::Integer(1), error]), ok("#NUM!"));
        }
        assert_eq!(
            sum_of(&[Cell::Float(f64::MAX), Cell::Float(f64::MAX)]),
            ok("#NUM!")
        );
        let huge = format!("1{}", "0".repeat(400));
        assert_eq!(
            sum_of(&[Cell::Float(1.0), Cell::Decimal(&huge)]),
            ok("#NUM!")
        );
    }

    #[test]
    fn durations_are_added_as_durations() {
        let hours = |hours: i64| {
            Cell::Interval(Interval {
                months: 0,
                days: 0,
                micros: hours * 3_600_000_000,
            })
        };
        let value = sum(&[hours(30), hours(6)]);
        let expected = TotalValue::Number {
            text: "1.5".into(),
            style: TotalStyle::OfColumn(styles::DURATION),
        };
        assert_eq!(value, Ok(expected));
    }
}
