//! The values of one column until their row group is written.

use std::mem;

use bytes::Bytes;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use uuid::Uuid;

use super::ROW_GROUP_BYTES;
use crate::row::{Cell, Kind, Time, TimeZone};

/// Of a value that is there, and of NULL.
const DEFINED: i16 = 1;
const NULL: i16 = 0;
/// From 1970 to 2000.
const DAYS_BEFORE_2000: i32 = 10_957;
const MICROS_BEFORE_2000: i64 = 946_684_800_000_000;
/// What a decimal takes, and a UUID.
pub(super) const FIXED_BYTES: usize = 16;

/// The values of a column that wait for their row group.
pub(super) struct ColumnBuffer {
    pub(super) kind: Kind,
    levels: Vec<i16>,
    values: Values,
}

/// Whether values are parts of one memory. The least and the greatest of a row group, kept to the end of the file as its
/// statistics, would keep all of them.
pub(super) fn is_shared(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Json | Kind::Bytes)
}

/// Values without the NULLs between them.
enum Values {
    Booleans(Vec<bool>),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Doubles(Vec<f64>),
    /// One after the other, and where each ends.
    Bytes(Vec<u8>, Vec<usize>),
    /// One after the other, each of as many bytes.
    Fixed(Vec<u8>),
}

impl ColumnBuffer {
    pub(super) fn new(kind: Kind) -> ColumnBuffer {
        let values = match kind {
            Kind::Boolean => Values::Booleans(Vec::new()),
            Kind::Date => Values::Ints(Vec::new()),
            Kind::Integer | Kind::Unsigned | Kind::Time | Kind::Timestamp { .. } => {
                Values::Longs(Vec::new())
            }
            Kind::Float => Values::Doubles(Vec::new()),
            Kind::Text | Kind::Json | Kind::Bytes => Values::Bytes(Vec::new(), Vec::new()),
            Kind::Decimal { .. } | Kind::Uuid => Values::Fixed(Vec::new()),
        };
        ColumnBuffer {
            kind,
            levels: Vec::new(),
            values,
        }
    }

    /// Appends a cell; returns how much memory it takes, or `None` where it does not have the column's type.
    pub(super) fn push(&mut self, cell: Cell<'_>, time_zone: TimeZone) -> Option<usize> {
        if cell == Cell::Null {
            self.levels.push(NULL);
            return Some(size_of::<i16>());
        }
        self.levels.push(DEFINED);
        let bytes = match &mut self.values {
            Values::Booleans(values) => {
                let Cell::Boolean(value) = cell else {
                    return None;
                };
                values.push(value);
                size_of::<bool>()
            }
            Values::Doubles(values) => {
                let Cell::Float(value) = cell else {
                    return None;
                };
                values.push(value);
                size_of::<f64>()
            }
            Values::Ints(values) => {
                values.push(days(cell)?);
                size_of::<i32>()
            }
            Values::Longs(values) => {
                values.push(long(self.kind, cell)?);
                size_of::<i64>()
            }
            Values::Fixed(bytes) => {
                bytes.extend_from_slice(&sixteen(self.kind, cell)?);
                FIXED_BYTES
            }
            Values::Bytes(bytes, ends) => {
                let start = bytes.len();
                match (self.kind, cell) {
                    (Kind::Bytes, Cell::Bytes(value)) => bytes.extend_from_slice(value),
                    (Kind::Json, Cell::Json(value) | Cell::Text(value)) => {
                        bytes.extend_from_slice(value.as_bytes());
                    }
                    (Kind::Text, cell) => write_text(cell, time_zone, bytes),
                    _ => return None,
                }
                ends.push(bytes.len());
                bytes.len() - start + size_of::<usize>()
            }
        };
        Some(bytes + size_of::<i16>())
    }

    /// Writes the values into a row group, and is empty again. It keeps its memory for the next.
    pub(super) fn write(
        &mut self,
        writer: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Booleans(values) => {
                writer
                    .typed::<BoolType>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Ints(values) => {
                writer
                    .typed::<Int32Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Longs(values) => {
                writer
                    .typed::<Int64Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Doubles(values) => {
                writer
                    .typed::<DoubleType>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Bytes(bytes, ends) => {
                let shared = Bytes::from(mem::take(bytes));
                let mut start = 0;
                let value = |end: usize| {
                    let value = shared.slice(start..end);
                    start = end;
                    ByteArray::from(value)
                };
                let values: Vec<ByteArray> = ends.drain(..).map(value).collect();
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, levels, None)?;
                drop(values);
                // Without a copy, as nobody shares it any more.
                *bytes = Vec::from(shared);
                bytes.clear();
                // One huge value must not keep its memory for the rest of the file.
                bytes.shrink_to(ROW_GROUP_BYTES);
            }
            Values::Fixed(bytes) => {
                // Each by itself: the least and the greatest are kept to the end of the file.
                let value = |value: &[u8]| FixedLenByteArray::from(value.to_vec());
                let values: Vec<_> = bytes.chunks_exact(FIXED_BYTES).map(value).collect();
                writer
                    .typed::<FixedLenByteArrayType>()
                    .write_batch(&values, levels, None)?;
                bytes.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

/// Days since 1970.
fn days(cell: Cell<'_>) -> Option<i32> {
    match cell {
        Cell::Date(date) if !date.is_infinite() => date.days.checked_add(DAYS_BEFORE_2000),
        _ => None,
    }
}

fn long(kind: Kind, cell: Cell<'_>) -> Option<i64> {
    match (kind, cell) {
        (Kind::Integer, Cell::Integer(value)) => Some(value),
        (Kind::Unsigned, Cell::Integer(value)) => (value >= 0).then_some(value),
        // The upper half of what has 64 bits without a sign.
        (Kind::Unsigned, Cell::Decimal(value)) => value.parse().ok().map(u64::cast_signed),
        (Kind::Time, Cell::Time(value)) => (value.micros < Time::END).then_some(value.micros),
        (Kind::Timestamp { utc }, Cell::Timestamp(value))
            if value.utc == utc && !value.is_infinite() =>
        {
            value.micros.checked_add(MICROS_BEFORE_2000)
        }
        _ => None,
    }
}

fn sixteen(kind: Kind, cell: Cell<'_>) -> Option<[u8; FIXED_BYTES]> {
    match (kind, cell) {
        (Kind::Decimal { precision, scale }, Cell::Decimal(value)) => {
            unscaled(value, precision, scale).map(i128::to_be_bytes)
        }
        (Kind::Uuid, Cell::Uuid(value)) => Some(value.into_bytes()),
        _ => None,
    }
}

/// The digits of a decimal with so many behind its point, as a whole number; `None` where it does not fit.
fn unscaled(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::from(scale);
    let (kept, lost) = fraction.split_at(fraction.len().min(scale));
    let is_whole = lost.bytes().all(|digit| digit == b'0');
    let is_number = whole
        .bytes()
        .chain(kept.bytes())
        .all(|byte| byte.is_ascii_digit());
    if !is_whole || !is_number || whole.is_empty() {
        return None;
    }
    let zeros = "0".repeat(scale - kept.len());
    let value: i128 = [whole, kept, &zeros].concat().parse().ok()?;
    let fits = value < 10_i128.pow(precision.into());
    fits.then_some(if is_negative { -value } else { value })
}

/// Any value as text, as CSV has it.
fn write_text(cell: Cell<'_>, time_zone: TimeZone, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => {}
        Cell::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Cell::Float(value) => out.extend_from_slice(float(value).as_bytes()),
        Cell::Decimal(value) | Cell::Text(value) | Cell::Json(value) => {
            out.extend_from_slice(value.as_bytes())
        }
        Cell::Bytes(value) => out.extend_from_slice(hex::encode(value).as_bytes()),
        Cell::Date(value) => value.write(out),
        Cell::Time(value) => value.write(out),
        Cell::Timestamp(value) => value.write(time_zone, out),
        Cell::Interval(value) => value.write(out),
        Cell::Uuid(value) => {
            let mut buffer = Uuid::encode_buffer();
            out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
        }
    }
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => zmij::Buffer::new().format_finite(value).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::unscaled;

    #[test]
    fn digits_behind_the_point_are_lost_only_where_they_are_zeros() {
        assert_eq!(unscaled("12.5", 5, 2), Some(1250));
        assert_eq!(unscaled("-12.500", 5, 2), Some(-1250));
        assert_eq!(unscaled("0", 1, 0), Some(0));
        for bad in ["12.345", "1000.00", "", "-", "1e5", "+1", "١"] {
            assert_eq!(unscaled(bad, 5, 2), None, "{bad}");
        }
    }
}
