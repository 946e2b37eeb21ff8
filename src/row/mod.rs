//! The row format between sources and encoders.

mod batch;
mod date_time;
mod interval;
mod text;
mod time_zone;

use indexmap::IndexMap;
use uuid::Uuid;

pub use batch::{NotUtf8, Row, RowBatch, RowBuffer};
pub use date_time::{Date, Time, Timestamp};
pub use interval::Interval;
pub use text::with_float_text;
pub use time_zone::{TimeZone, UnknownTimeZone};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column name in the query.
    pub name: String,
    /// The type of its values.
    pub kind: Kind,
}

/// The type of a column, as reported by the database. Formats with typed columns use it; a cell may
/// differ from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Booleans.
    Boolean,
    /// Signed 64-bit integers.
    Integer,
    /// Unsigned integers up to 2⁶⁴ - 1.
    Unsigned,
    /// Floating-point numbers.
    Float,
    /// Decimal numbers of fixed precision and scale.
    Decimal {
        /// The total number of digits.
        precision: u8,
        /// The number of digits after the decimal point.
        scale: u8,
    },
    /// Text, or values of any type, written as text.
    Text,
    /// JSON.
    Json,
    /// Bytes.
    Bytes,
    /// Dates.
    Date,
    /// Times of day.
    Time,
    /// Dates and times.
    Timestamp {
        /// Whether the values are instants in UTC.
        utc: bool,
    },
    /// UUIDs.
    Uuid,
}

impl Column {
    /// Returns a text column, for a column of unknown type.
    pub fn text(name: impl Into<String>) -> Column {
        Column {
            name: name.into(),
            kind: Kind::Text,
        }
    }

    /// Returns the column's label among `labels` (by column name), or its name.
    pub fn label<'a>(&'a self, labels: &'a IndexMap<String, String>) -> &'a str {
        labels.get(&self.name).unwrap_or(&self.name)
    }
}

/// One value. Cells carry their own type: SQLite may store an integer in one row and text in the
/// next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A binary floating-point number.
    Float(f64),
    /// An exact decimal number such as `-12.50`, or `NaN`, `Infinity` or `-Infinity`.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Binary data.
    Bytes(&'a [u8]),
    /// A date.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A date and time.
    Timestamp(Timestamp),
    /// A time interval.
    Interval(Interval),
    /// A UUID.
    Uuid(Uuid),
    /// JSON as text.
    Json(&'a str),
}

impl Cell<'_> {
    /// Converts a single-precision number to the double with the same shortest decimal form: 0.1, not
    /// 0.10000000149011612.
    pub fn single(value: f32) -> Cell<'static> {
        if !value.is_finite() {
            return Cell::Float(f64::from(value));
        }
        let text = zmij::Buffer::new().format_finite(value).parse();
        Cell::Float(text.unwrap_or_else(|_| f64::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_numbers_keep_their_shortest_decimal_form() {
        for (single, double) in [
            (0.1_f32, 0.1),
            (-3.4028235e38, -3.4028235e38),
            (1e-45, 1e-45),
            (f32::NEG_INFINITY, f64::NEG_INFINITY),
        ] {
            assert_eq!(Cell::single(single), Cell::Float(double));
        }
        assert!(matches!(Cell::single(f32::NAN), Cell::Float(value) if value.is_nan()));
    }
}
