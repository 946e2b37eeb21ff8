//! Decodes values into cells. The binary formats are those of PostgreSQL's `*_send` functions.

use tokio_postgres::types::{Kind as TypeKind, Type};
use uuid::Uuid;

use super::formats::WireFormat;
use crate::row::{Cell, Date, Interval, Kind, RowBuffer, Time, Timestamp};

/// Decodes the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Any other type, in PostgreSQL's text format.
    Text,
    /// `character(n)`. A cast to text would remove its trailing blanks.
    PaddedText,
    /// `inet`. A cast to text would add `/32`.
    Address,
    Bytes,
    Date,
    Time,
    LocalTimestamp,
    Timestamp,
    Interval,
    Uuid,
    Json,
    JsonBinary,
    /// An array as text: `{1,2}`.
    Array,
    /// An array as JSON: `[1,2]`.
    JsonArray,
}

impl Decoder {
    /// Returns the decoder for a column type.
    pub(super) fn for_type(column: &Type) -> Decoder {
        match *column {
            Type::BOOL => Decoder::Boolean,
            Type::INT2 => Decoder::Int2,
            Type::INT4 => Decoder::Int4,
            Type::INT8 => Decoder::Int8,
            Type::OID => Decoder::Oid,
            Type::FLOAT4 => Decoder::Float4,
            Type::FLOAT8 => Decoder::Float8,
            // `money` as a number has no currency sign and no separators of the server's locale.
            Type::NUMERIC | Type::MONEY => Decoder::Numeric,
            Type::BPCHAR => Decoder::PaddedText,
            Type::INET => Decoder::Address,
            Type::BYTEA => Decoder::Bytes,
            Type::DATE => Decoder::Date,
            Type::TIME => Decoder::Time,
            Type::TIMESTAMP => Decoder::LocalTimestamp,
            Type::TIMESTAMPTZ => Decoder::Timestamp,
            Type::INTERVAL => Decoder::Interval,
            Type::UUID => Decoder::Uuid,
            Type::JSON => Decoder::Json,
            Type::JSONB => Decoder::JsonBinary,
            _ if matches!(column.kind(), TypeKind::Array(_)) => Decoder::Array,
            _ => Decoder::Text,
        }
    }

    /// Returns the kind of a column from its type and its type modifier.
    pub(super) fn kind(self, column: &Type, modifier: i32) -> Kind {
        match self {
            Decoder::Boolean => Kind::Boolean,
            Decoder::Int2 | Decoder::Int4 | Decoder::Int8 | Decoder::Oid => Kind::Integer,
            Decoder::Float4 | Decoder::Float8 => Kind::Float,
            Decoder::Numeric if *column == Type::NUMERIC => numeric(modifier),
            Decoder::Bytes => Kind::Bytes,
            Decoder::Date => Kind::Date,
            Decoder::Time => Kind::Time,
            Decoder::LocalTimestamp => Kind::Timestamp { utc: false },
            Decoder::Timestamp => Kind::Timestamp { utc: true },
            Decoder::Uuid => Kind::Uuid,
            Decoder::Json | Decoder::JsonBinary | Decoder::JsonArray => Kind::Json,
            Decoder::Numeric
            | Decoder::Interval
            | Decoder::Text
            | Decoder::PaddedText
            | Decoder::Address
            | Decoder::Array => Kind::Text,
        }
    }

    /// Returns the decoder for a file that takes arrays as JSON, or does not.
    pub(super) fn with_arrays_as_json(self, arrays_as_json: bool) -> Decoder {
        match self {
            Decoder::Array if arrays_as_json => Decoder::JsonArray,
            other => other,
        }
    }

    /// Returns the SQL that casts a column to the decoder's type, which is built into the driver. For another type the
    /// driver would query the server before it returns the result, and that response would wait behind the rows.
    pub(super) fn convert(self, column: &str) -> String {
        let kind = match self {
            Decoder::Boolean => "bool",
            Decoder::Int2 => "int2",
            Decoder::Int4 => "int4",
            Decoder::Int8 => "int8",
            Decoder::Oid => "oid",
            Decoder::Float4 => "float4",
            Decoder::Float8 => "float8",
            Decoder::Numeric => "numeric",
            Decoder::Text | Decoder::Array => "text",
            Decoder::PaddedText => "bpchar",
            Decoder::Address => return format!("abbrev({column}::inet)"),
            Decoder::Bytes => "bytea",
            Decoder::Date => "date",
            Decoder::Time => "time",
            Decoder::LocalTimestamp => "timestamp",
            Decoder::Timestamp => "timestamptz",
            Decoder::Interval => "interval",
            Decoder::Uuid => "uuid",
            Decoder::Json => "json",
            Decoder::JsonBinary => "jsonb",
            // The server knows how to write each type of element, and quotes it.
            Decoder::JsonArray => return format!("pg_catalog.to_json({column})"),
        };
        format!("{column}::{kind}")
    }

    /// Returns how many bytes a typical value is longer as text than in a table row.
    pub(super) fn extra_text_bytes(self) -> u64 {
        match self {
            Decoder::Int2 | Decoder::Int4 => 2,
            Decoder::Boolean | Decoder::Float4 | Decoder::Float8 => 4,
            Decoder::Date => 6,
            Decoder::Time => 7,
            Decoder::LocalTimestamp => 11,
            Decoder::Timestamp => 12,
            Decoder::Uuid => 20,
            _ => 0,
        }
    }

    /// Returns the format to request for the values.
    pub(super) fn format(self) -> WireFormat {
        match self {
            Decoder::Numeric
            | Decoder::Text
            | Decoder::PaddedText
            | Decoder::Address
            | Decoder::Json
            | Decoder::JsonBinary
            | Decoder::Array
            | Decoder::JsonArray => WireFormat::Text,
            _ => WireFormat::Binary,
        }
    }

    /// Decodes a value into the next cell of a row.
    ///
    /// # Errors
    /// Returns [`InvalidValue`] if the value is not in the type's format.
    #[inline(always)]
    pub(super) fn read(self, value: &[u8], cells: &mut RowBuffer) -> Result<(), InvalidValue> {
        cells.push(match self {
            Decoder::Boolean => Cell::Boolean(value == [1]),
            Decoder::Int2 => Cell::Integer(i16::from_be_bytes(fixed(value)?).into()),
            Decoder::Int4 => Cell::Integer(i32::from_be_bytes(fixed(value)?).into()),
            Decoder::Int8 => Cell::Integer(i64::from_be_bytes(fixed(value)?)),
            Decoder::Oid => Cell::Integer(u32::from_be_bytes(fixed(value)?).into()),
            Decoder::Float4 => Cell::single(f32::from_be_bytes(fixed(value)?)),
            Decoder::Float8 => Cell::Float(f64::from_be_bytes(fixed(value)?)),
            Decoder::Numeric => {
                cells.push_decimal(value);
                return Ok(());
            }
            Decoder::Text | Decoder::PaddedText | Decoder::Address | Decoder::Array => {
                cells.push_text(value);
                return Ok(());
            }
            Decoder::Json | Decoder::JsonBinary | Decoder::JsonArray => {
                cells.push_json(value);
                return Ok(());
            }
            Decoder::Bytes => Cell::Bytes(value),
            Decoder::Date => Cell::Date(Date {
                days: i32::from_be_bytes(fixed(value)?),
            }),
            Decoder::Time => {
                let micros = i64::from_be_bytes(fixed(value)?);
                if !(0..=Time::END).contains(&micros) {
                    return Err(InvalidValue);
                }
                Cell::Time(Time { micros })
            }
            Decoder::LocalTimestamp | Decoder::Timestamp => Cell::Timestamp(Timestamp {
                micros: i64::from_be_bytes(fixed(value)?),
                utc: self == Decoder::Timestamp,
            }),
            Decoder::Interval => Cell::Interval(Interval::from_bytes(fixed(value)?)),
            Decoder::Uuid => Cell::Uuid(Uuid::from_bytes(fixed(value)?)),
        });
        Ok(())
    }
}

/// Decodes the modifier of `numeric(precision, scale)`: PostgreSQL's `numerictypmodin`. Without a modifier the number
/// of digits is unlimited. Other systems support no scale below zero or above the precision. Both become text.
fn numeric(modifier: i32) -> Kind {
    let Some(packed) = modifier.checked_sub(4).filter(|packed| *packed >= 0) else {
        return Kind::Text;
    };
    let (precision, scale) = (packed >> 16, packed & 0x7ff);
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if scale <= precision => Kind::Decimal { precision, scale },
        _ => Kind::Text,
    }
}

/// A value that is not in the format of its column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidValue;

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], InvalidValue> {
    value.try_into().map_err(|_| InvalidValue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Decoder; 22] = [
        Decoder::Boolean,
        Decoder::Int2,
        Decoder::Int4,
        Decoder::Int8,
        Decoder::Oid,
        Decoder::Float4,
        Decoder::Float8,
        Decoder::Numeric,
        Decoder::Text,
        Decoder::PaddedText,
        Decoder::Address,
        Decoder::Bytes,
        Decoder::Date,
        Decoder::Time,
        Decoder::LocalTimestamp,
        Decoder::Timestamp,
        Decoder::Interval,
        Decoder::Uuid,
        Decoder::Json,
        Decoder::JsonBinary,
        Decoder::Array,
        Decoder::JsonArray,
    ];

    proptest! {
        #[test]
        fn decoders_do_not_panic_on_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            decoder in prop::sample::select(ALL.to_vec()),
        ) {
            let mut row = RowBuffer::default();
            row.reset(1);
            let _ = decoder.read(&bytes, &mut row);
        }
    }
}
