//! Buffers the values of one column until their row group is written.

use std::{iter, mem};

use bytes::Bytes;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

use super::{DIGITS_MAX_32, DIGITS_MAX_64, ROW_GROUP_BYTES};
use crate::row::{Cell, Kind, Time, TimeZone};

/// Definition levels of a value and of NULL.
const DEFINED: i16 = 1;
const NULL: i16 = 0;
/// From 1970-01-01 to 2000-01-01.
const DAYS_BEFORE_2000: i32 = 10_957;
const MICROS_BEFORE_2000: i64 = 946_684_800_000_000;
/// Texts that are passed to the library together. Each is a value of 32 bytes meanwhile.
const TEXTS_AT_ONCE: usize = 4096;
/// Size of a UUID, or a decimal with many digits.
pub(super) const FIXED_BYTES: usize = 16;

/// The values of one column in the current row group.
pub(super) struct ColumnBuffer {
    pub(super) kind: Kind,
    levels: Vec<i16>,
    values: Values,
}

/// Returns whether values of this kind are slices of one buffer. They get no statistics: a minimum or
/// maximum stays in memory until the end of the file and would keep the whole buffer.
pub(super) fn shares_buffer(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Json | Kind::Bytes)
}

/// Non-null values, by physical type.
enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    /// Concatenated values, and the end offset of each.
    ByteArray(Vec<u8>, Vec<usize>),
    /// Concatenated values of `FIXED_BYTES` each.
    FixedLenByteArray(Vec<u8>),
}

impl ColumnBuffer {
    pub(super) fn new(kind: Kind) -> ColumnBuffer {
        let values = match kind {
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Date => Values::Int32(Vec::new()),
            Kind::Decimal { precision, .. } if precision <= DIGITS_MAX_32 => {
                Values::Int32(Vec::new())
            }
            Kind::Decimal { precision, .. } if precision <= DIGITS_MAX_64 => {
                Values::Int64(Vec::new())
            }
            Kind::Integer | Kind::Unsigned | Kind::Time | Kind::Timestamp { .. } => {
                Values::Int64(Vec::new())
            }
            Kind::Float => Values::Double(Vec::new()),
            Kind::Text | Kind::Json | Kind::Bytes => Values::ByteArray(Vec::new(), Vec::new()),
            Kind::Decimal { .. } | Kind::Uuid => Values::FixedLenByteArray(Vec::new()),
        };
        ColumnBuffer {
            kind,
            levels: Vec::new(),
            values,
        }
    }

    /// Appends a cell. Returns its memory in bytes, or `None` if it does not have the column's type.
    pub(super) fn push(&mut self, cell: Cell<'_>, time_zone: TimeZone) -> Option<usize> {
        if cell == Cell::Null {
            self.levels.push(NULL);
            return Some(size_of::<i16>());
        }
        self.levels.push(DEFINED);
        let bytes = match &mut self.values {
            Values::Boolean(values) => {
                let Cell::Boolean(value) = cell else {
                    return None;
                };
                values.push(value);
                size_of::<bool>()
            }
            Values::Double(values) => {
                let Cell::Float(value) = cell else {
                    return None;
                };
                values.push(value);
                size_of::<f64>()
            }
            Values::Int32(values) => {
                values.push(to_int32(self.kind, cell)?);
                size_of::<i32>()
            }
            Values::Int64(values) => {
                values.push(to_int64(self.kind, cell)?);
                size_of::<i64>()
            }
            Values::FixedLenByteArray(bytes) => {
                bytes.extend_from_slice(&to_fixed(self.kind, cell)?);
                FIXED_BYTES
            }
            Values::ByteArray(bytes, ends) => {
                let start = bytes.len();
                match (self.kind, cell) {
                    (Kind::Bytes, Cell::Bytes(value)) => bytes.extend_from_slice(value),
                    (Kind::Json, Cell::Json(value)) => bytes.extend_from_slice(value.as_bytes()),
                    (Kind::Text, cell) => cell.write_text(time_zone, bytes),
                    _ => return None,
                }
                ends.push(bytes.len());
                bytes.len() - start + size_of::<usize>()
            }
        };
        Some(bytes + size_of::<i16>())
    }

    /// Writes the values into a row group and clears the buffer, which keeps its memory.
    ///
    /// # Errors
    /// Returns the error of the `parquet` library.
    pub(super) fn write(
        &mut self,
        writer: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Boolean(values) => {
                writer
                    .typed::<BoolType>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Int32(values) => {
                writer
                    .typed::<Int32Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Int64(values) => {
                writer
                    .typed::<Int64Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Double(values) => {
                writer
                    .typed::<DoubleType>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::ByteArray(bytes, ends) => {
                let shared = Bytes::from(mem::take(bytes));
                let writer = writer.typed::<ByteArrayType>();
                let (mut start, mut ends_left) = (0, ends.as_slice());
                for levels in self.levels.chunks(TEXTS_AT_ONCE) {
                    let count = levels.iter().filter(|level| **level == DEFINED).count();
                    let (ends, rest) = ends_left.split_at(count);
                    ends_left = rest;
                    let value = |end: &usize| {
                        let value = shared.slice(start..*end);
                        start = *end;
                        ByteArray::from(value)
                    };
                    let values: Vec<ByteArray> = ends.iter().map(value).collect();
                    writer.write_batch(&values, Some(levels), None)?;
                }
                ends.clear();
                // Without a copy, unless a dictionary still refers to the texts.
                *bytes = shared.try_into_mut().map(Vec::from).unwrap_or_default();
                bytes.clear();
                // Frees the memory of a huge value.
                bytes.shrink_to(ROW_GROUP_BYTES);
            }
            Values::FixedLenByteArray(bytes) => {
                // Separate allocations: the minimum and maximum stay in memory until the end of the file.
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

/// Converts a finite date to days since 1970-01-01, or a decimal to its unscaled value.
fn to_int32(kind: Kind, cell: Cell<'_>) -> Option<i32> {
    match (kind, cell) {
        (Kind::Date, Cell::Date(date)) if !date.is_infinite() => {
            date.days.checked_add(DAYS_BEFORE_2000)
        }
        (Kind::Decimal { precision, scale }, Cell::Decimal(value)) => {
            parse_unscaled(value, precision, scale)?.try_into().ok()
        }
        _ => None,
    }
}

/// Converts a cell to the `INT64` of its column; times are microseconds, timestamps since 1970-01-01, decimals unscaled.
fn to_int64(kind: Kind, cell: Cell<'_>) -> Option<i64> {
    match (kind, cell) {
        (Kind::Integer, Cell::Integer(value)) => Some(value),
        (Kind::Unsigned, Cell::Integer(value)) => (value >= 0).then_some(value),
        // Sources pass unsigned integers above `i64::MAX` as decimals.
        (Kind::Unsigned, Cell::Decimal(value)) => value.parse().ok().map(u64::cast_signed),
        (Kind::Time, Cell::Time(value)) => (value.micros < Time::END).then_some(value.micros),
        (Kind::Timestamp { utc }, Cell::Timestamp(value))
            if value.utc == utc && !value.is_infinite() =>
        {
            value.micros.checked_add(MICROS_BEFORE_2000)
        }
        (Kind::Decimal { precision, scale }, Cell::Decimal(value)) => {
            parse_unscaled(value, precision, scale)?.try_into().ok()
        }
        _ => None,
    }
}

/// Converts a decimal to its unscaled value, or a UUID to its bytes.
fn to_fixed(kind: Kind, cell: Cell<'_>) -> Option<[u8; FIXED_BYTES]> {
    match (kind, cell) {
        (Kind::Decimal { precision, scale }, Cell::Decimal(value)) => {
            parse_unscaled(value, precision, scale).map(i128::to_be_bytes)
        }
        (Kind::Uuid, Cell::Uuid(value)) => Some(value.into_bytes()),
        _ => None,
    }
}

/// Parses a decimal as an unscaled integer (parquet-format, "DECIMAL"). Returns `None` if it does not fit
/// `precision` and `scale`.
fn parse_unscaled(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::from(scale);
    let (kept, dropped) = fraction.as_bytes().split_at(fraction.len().min(scale));
    if whole.is_empty() || dropped.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let zeros = iter::repeat_n(b'0', scale - kept.len());
    let digits = whole.bytes().chain(kept.iter().copied()).chain(zeros);
    let mut value = 0_i128;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    let fits = value < 10_i128.pow(precision.into());
    fits.then_some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::parse_unscaled;

    #[test]
    fn only_zeros_beyond_the_scale_are_dropped() {
        assert_eq!(parse_unscaled("12.5", 5, 2), Some(1250));
        assert_eq!(parse_unscaled("-12.500", 5, 2), Some(-1250));
        assert_eq!(parse_unscaled("0", 1, 0), Some(0));
        let most = 10_i128.pow(38) - 1;
        assert_eq!(parse_unscaled(&most.to_string(), 38, 0), Some(most));
        assert_eq!(parse_unscaled(&"9".repeat(40), 38, 0), None);
        for bad in ["12.345", "1000.00", "", "-", "1e5", "+1", "١", "1.0١"] {
            assert_eq!(parse_unscaled(bad, 5, 2), None, "{bad}");
        }
    }
}
