//! Decodes values into cells. The types are those of MySQL's client protocol, "Column Definition".

use chrono::{Datelike as _, NaiveDate};
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value};

use super::geometry;
use crate::row::{Cell, Date, Interval, Kind, RowBuffer, Time, Timestamp};

/// The character set number of binary data.
const BINARY: u16 = 63;
/// Days from 0001-01-01, which is day 1, to 2000-01-01.
const DAYS_BEFORE_2000: i32 = 730_120;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Decodes the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// An integer or a float, as the driver returns it.
    Number,
    /// `tinyint(1)`, for which `boolean` is an alias.
    Boolean,
    /// `bit(n)`.
    Bits,
    Decimal,
    Text,
    Json,
    Bytes,
    Geometry,
    Date,
    /// `datetime`: local time without a time zone.
    LocalTimestamp,
    /// `timestamp`, sent in the session's time zone, UTC.
    Timestamp,
    Time,
}

impl Decoder {
    /// Returns the decoder for a column. `is_json` marks MariaDB's JSON, a text column with a check constraint.
    pub(super) fn for_column(column: &Column, is_json: bool) -> Decoder {
        let is_bytes = column.character_set() == BINARY;
        match column.column_type() {
            ColumnType::MYSQL_TYPE_TINY
                if column.column_length() == 1
                    && !column.flags().contains(ColumnFlags::UNSIGNED_FLAG) =>
            {
                Decoder::Boolean
            }
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_YEAR
            | ColumnType::MYSQL_TYPE_FLOAT
            | ColumnType::MYSQL_TYPE_DOUBLE => Decoder::Number,
            ColumnType::MYSQL_TYPE_BIT => Decoder::Bits,
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Decoder::Decimal,
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => Decoder::Date,
            ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => {
                Decoder::LocalTimestamp
            }
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => {
                Decoder::Timestamp
            }
            ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => Decoder::Time,
            ColumnType::MYSQL_TYPE_JSON => Decoder::Json,
            ColumnType::MYSQL_TYPE_GEOMETRY => Decoder::Geometry,
            _ if is_json => Decoder::Json,
            _ if is_bytes => Decoder::Bytes,
            _ => Decoder::Text,
        }
    }

    /// Returns the kind of a column.
    pub(super) fn kind(self, column: &Column) -> Kind {
        let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        match (self, column.column_type()) {
            (Decoder::Number, ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE) => {
                Kind::Float
            }
            (Decoder::Number, ColumnType::MYSQL_TYPE_LONGLONG) if is_unsigned => Kind::Unsigned,
            (Decoder::Number, _) => Kind::Integer,
            (Decoder::Boolean, _) => Kind::Boolean,
            (Decoder::Bits, _) => Kind::Unsigned,
            (Decoder::Decimal, _) => decimal_kind(column, is_unsigned),
            (Decoder::Text | Decoder::Geometry, _) => Kind::Text,
            (Decoder::Json, _) => Kind::Json,
            (Decoder::Bytes, _) => Kind::Bytes,
            (Decoder::Date, _) => Kind::Date,
            (Decoder::LocalTimestamp, _) => Kind::Timestamp { utc: false },
            (Decoder::Timestamp, _) => Kind::Timestamp { utc: true },
            (Decoder::Time, _) => Kind::Time,
        }
    }

    /// Decodes a value into the next cell of a row.
    ///
    /// # Errors
    /// Returns [`InvalidValue`] if the value is not in the format of its column's type.
    pub(super) fn read(self, value: &Value, cells: &mut RowBuffer) -> Result<(), InvalidValue> {
        match (self, value) {
            (_, Value::NULL) => cells.push(Cell::Null),
            // A `boolean` column can hold any small number; numbers other than 0 and 1 stay numbers.
            (Decoder::Boolean, Value::Int(truth @ 0..=1)) => cells.push(Cell::Boolean(*truth == 1)),
            (_, Value::Int(number)) => cells.push(Cell::Integer(*number)),
            (_, Value::UInt(number)) => push_unsigned(*number, cells),
            (_, Value::Float(number)) => cells.push(Cell::single(*number)),
            (_, Value::Double(number)) => cells.push(Cell::Float(*number)),
            (Decoder::Bits, Value::Bytes(bits)) => push_unsigned(parse_bits(bits)?, cells),
            (Decoder::Decimal, Value::Bytes(text)) => cells.push_decimal(trim_zerofill(text)),
            (Decoder::Text, Value::Bytes(text)) => cells.push_text(text),
            (Decoder::Json, Value::Bytes(text)) if is_json(text) => cells.push_json(text),
            (Decoder::Json, Value::Bytes(text)) => cells.push_text(text),
            (Decoder::Bytes, Value::Bytes(bytes)) => cells.push(Cell::Bytes(bytes)),
            (Decoder::Geometry, Value::Bytes(bytes)) => {
                let text = geometry::to_wkt(bytes).ok_or(InvalidValue)?;
                cells.push(Cell::Text(&text));
            }
            (_, Value::Date(year, month, day, hour, minute, second, micros)) => {
                let time = [*hour, *minute, *second].map(i64::from);
                self.push_date((*year, *month, *day), time, i64::from(*micros), cells);
            }
            (_, Value::Time(is_negative, days, hour, minute, second, micros)) => {
                let seconds = i64::from(*days) * SECONDS_PER_DAY
                    + seconds_of([*hour, *minute, *second].map(i64::from));
                push_time(
                    *is_negative,
                    seconds * MICROS_PER_SECOND + i64::from(*micros),
                    cells,
                );
            }
            (_, Value::Bytes(_)) => return Err(InvalidValue),
        }
        Ok(())
    }

    fn push_date(
        self,
        (year, month, day): (u16, u8, u8),
        time: [i64; 3],
        micros: i64,
        cells: &mut RowBuffer,
    ) {
        let [hour, minute, second] = time;
        let date = NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day));
        // `0000-00-00`, days such as `2026-00-00` and the year 0 are not calendar dates: they become text.
        let Some(date) = date.filter(|_| year > 0) else {
            let mut text = format!("{year:04}-{month:02}-{day:02}");
            if self != Decoder::Date {
                text += &format!(" {hour:02}:{minute:02}:{second:02}");
            }
            if micros > 0 {
                text += &format!(".{micros:06}");
            }
            return cells.push(Cell::Text(&text));
        };
        let days = date.num_days_from_ce() - DAYS_BEFORE_2000;
        cells.push(match self {
            Decoder::Date => Cell::Date(Date { days }),
            _ => {
                let seconds = i64::from(days) * SECONDS_PER_DAY + seconds_of(time);
                Cell::Timestamp(Timestamp {
                    micros: seconds * MICROS_PER_SECOND + micros,
                    utc: self == Decoder::Timestamp,
                })
            }
        });
    }
}

/// Returns the kind of a decimal column. The column length counts the digits, the point and the sign.
fn decimal_kind(column: &Column, is_unsigned: bool) -> Kind {
    let scale = column.decimals();
    let others = u32::from(scale > 0) + u32::from(!is_unsigned);
    let precision = column.column_length().saturating_sub(others);
    match u8::try_from(precision) {
        Ok(precision) if scale <= precision && precision > 0 => Kind::Decimal { precision, scale },
        _ => Kind::Text,
    }
}

/// A value that is not in the format of its column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidValue;

fn seconds_of([hour, minute, second]: [i64; 3]) -> i64 {
    (hour * 60 + minute) * 60 + second
}

/// Pushes a `time` value: a time of day, or an interval if it is negative or exceeds a day (up to 838 hours).
fn push_time(is_negative: bool, micros: i64, cells: &mut RowBuffer) {
    cells.push(match micros {
        0..Time::END if !is_negative => Cell::Time(Time { micros }),
        _ => Cell::Interval(Interval {
            months: 0,
            days: 0,
            micros: if is_negative { -micros } else { micros },
        }),
    });
}

fn push_unsigned(number: u64, cells: &mut RowBuffer) {
    match i64::try_from(number) {
        Ok(number) => cells.push(Cell::Integer(number)),
        Err(_) => cells.push_decimal(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Parses `bit(n)`: big-endian, with leading padding bits.
fn parse_bits(bits: &[u8]) -> Result<u64, InvalidValue> {
    if bits.len() > 8 {
        return Err(InvalidValue);
    }
    Ok(bits
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Removes the leading zeros of `decimal zerofill`, which JSON numbers must not have.
fn trim_zerofill(text: &[u8]) -> &[u8] {
    let is_padding = |pair: &[u8]| pair[0] == b'0' && pair[1].is_ascii_digit();
    let padding = text.windows(2).take_while(|pair| is_padding(pair)).count();
    &text[padding..]
}

/// Returns whether a text is JSON. MariaDB does not check JSON columns while `check_constraint_checks` is off.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_of_a_decimal_are_removed() {
        for (text, expected) in [
            ("00012.50", "12.50"),
            ("0000.50", "0.50"),
            ("0", "0"),
            ("000", "0"),
            ("-0.5", "-0.5"),
            ("10", "10"),
        ] {
            assert_eq!(
                trim_zerofill(text.as_bytes()),
                expected.as_bytes(),
                "{text}"
            );
        }
    }

    #[test]
    fn bits_are_a_number() {
        assert_eq!(parse_bits(&[1]), Ok(1));
        assert_eq!(parse_bits(&[1, 0]), Ok(256));
        assert_eq!(parse_bits(&[255; 8]), Ok(u64::MAX));
        assert_eq!(parse_bits(&[0; 9]), Err(InvalidValue));
    }
}
