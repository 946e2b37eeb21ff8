//! Results → cells. The types are those of MySQL's client protocol, "Column Definition".

use chrono::{Datelike as _, NaiveDate};
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value};

use super::geometry;
use crate::row::{Cell, Date, Interval, Kind, RowBuffer, Time, Timestamp};

/// The character set of what is no text.
const BINARY: u16 = 63;
/// Days from 0001-01-01, which is day 1, to 2000-01-01.
const DAYS_BEFORE_2000: i32 = 730_120;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// How the values of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// Whatever the value is by itself: an integer or a float.
    Number,
    /// `tinyint(1)`, which is what `boolean` is.
    Boolean,
    /// `bit(n)`.
    Bits,
    Decimal,
    Text,
    Json,
    Bytes,
    Geometry,
    Date,
    /// As some clock showed it.
    LocalTimestamp,
    /// Sent in the session's time zone, UTC.
    Timestamp,
    Time,
}

impl Decoder {
    /// The decoder for a column. MariaDB's JSON is text of which only the table knows more: `is_json` says that.
    pub(super) fn of(column: &Column, is_json: bool) -> Decoder {
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

    /// What a column holds.
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
            (Decoder::Decimal, _) => decimal(column, is_unsigned),
            (Decoder::Text | Decoder::Geometry, _) => Kind::Text,
            (Decoder::Json, _) => Kind::Json,
            (Decoder::Bytes, _) => Kind::Bytes,
            (Decoder::Date, _) => Kind::Date,
            (Decoder::LocalTimestamp, _) => Kind::Timestamp { utc: false },
            (Decoder::Timestamp, _) => Kind::Timestamp { utc: true },
            (Decoder::Time, _) => Kind::Time,
        }
    }

    /// Reads a value into the next cell of a row.
    ///
    /// # Errors
    /// It is not what its column's type says.
    pub(super) fn read(self, value: &Value, cells: &mut RowBuffer) -> Result<(), Unreadable> {
        match (self, value) {
            (_, Value::NULL) => cells.push(Cell::Null),
            // A `boolean` takes any small number, and none is lost.
            (Decoder::Boolean, Value::Int(truth @ 0..=1)) => cells.push(Cell::Boolean(*truth == 1)),
            (_, Value::Int(number)) => cells.push(Cell::Integer(*number)),
            (_, Value::UInt(number)) => unsigned(*number, cells),
            (_, Value::Float(number)) => cells.push(Cell::single(*number)),
            (_, Value::Double(number)) => cells.push(Cell::Float(*number)),
            (Decoder::Bits, Value::Bytes(bits)) => unsigned(from_bits(bits)?, cells),
            (Decoder::Decimal, Value::Bytes(text)) => cells.push_decimal(without_zerofill(text)),
            (Decoder::Text, Value::Bytes(text)) => cells.push_text(text),
            (Decoder::Json, Value::Bytes(text)) if is_json(text) => cells.push_json(text),
            (Decoder::Json, Value::Bytes(text)) => cells.push_text(text),
            (Decoder::Bytes, Value::Bytes(bytes)) => cells.push(Cell::Bytes(bytes)),
            (Decoder::Geometry, Value::Bytes(bytes)) => {
                let text = geometry::to_wkt(bytes).ok_or(Unreadable)?;
                cells.push(Cell::Text(&text));
            }
            (_, Value::Date(year, month, day, hour, minute, second, micros)) => {
                let time = [*hour, *minute, *second].map(i64::from);
                self.moment((*year, *month, *day), time, i64::from(*micros), cells);
            }
            (_, Value::Time(is_negative, days, hour, minute, second, micros)) => {
                let seconds = i64::from(*days) * SECONDS_PER_DAY
                    + seconds_of([*hour, *minute, *second].map(i64::from));
                time(
                    *is_negative,
                    seconds * MICROS_PER_SECOND + i64::from(*micros),
                    cells,
                );
            }
            (_, Value::Bytes(_)) => return Err(Unreadable),
        }
        Ok(())
    }

    fn moment(
        self,
        (year, month, day): (u16, u8, u8),
        time: [i64; 3],
        micros: i64,
        cells: &mut RowBuffer,
    ) {
        let [hour, minute, second] = time;
        let date = NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day));
        // `0000-00-00`, days such as `2026-00-00` and the year 0 are no dates, and come as they are written.
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

/// The length of the column counts its digits, its point and its sign.
fn decimal(column: &Column, is_unsigned: bool) -> Kind {
    let scale = column.decimals();
    let others = u32::from(scale > 0) + u32::from(!is_unsigned);
    let precision = column.column_length().saturating_sub(others);
    match u8::try_from(precision) {
        Ok(precision) if scale <= precision && precision > 0 => Kind::Decimal { precision, scale },
        _ => Kind::Text,
    }
}

/// A value that is not what its column's type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

fn seconds_of([hour, minute, second]: [i64; 3]) -> i64 {
    (hour * 60 + minute) * 60 + second
}

/// `time` holds spans up to 838 hours, below zero too, and not only times of day.
fn time(is_negative: bool, micros: i64, cells: &mut RowBuffer) {
    cells.push(match micros {
        0..Time::END if !is_negative => Cell::Time(Time { micros }),
        _ => Cell::Interval(Interval {
            months: 0,
            days: 0,
            micros: if is_negative { -micros } else { micros },
        }),
    });
}

fn unsigned(number: u64, cells: &mut RowBuffer) {
    match i64::try_from(number) {
        Ok(number) => cells.push(Cell::Integer(number)),
        Err(_) => cells.push_decimal(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// The bits, most significant first, fill the last of the bytes.
fn from_bits(bits: &[u8]) -> Result<u64, Unreadable> {
    if bits.len() > 8 {
        return Err(Unreadable);
    }
    Ok(bits
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// `decimal zerofill` is sent with zeros before it, which no number in JSON may have.
fn without_zerofill(text: &[u8]) -> &[u8] {
    let is_filler = |pair: &[u8]| pair[0] == b'0' && pair[1].is_ascii_digit();
    let fillers = text.windows(2).take_while(|pair| is_filler(pair)).count();
    &text[fillers..]
}

/// MariaDB checks what is written to its JSON columns, but not while `check_constraint_checks` is off.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_that_fill_a_decimal_are_left_out() {
        for (text, expected) in [
            ("00012.50", "12.50"),
            ("0000.50", "0.50"),
            ("0", "0"),
            ("000", "0"),
            ("-0.5", "-0.5"),
            ("10", "10"),
        ] {
            assert_eq!(
                without_zerofill(text.as_bytes()),
                expected.as_bytes(),
                "{text}"
            );
        }
    }

    #[test]
    fn bits_are_a_number() {
        assert_eq!(from_bits(&[1]), Ok(1));
        assert_eq!(from_bits(&[1, 0]), Ok(256));
        assert_eq!(from_bits(&[255; 8]), Ok(u64::MAX));
        assert_eq!(from_bits(&[0; 9]), Err(Unreadable));
    }
}
