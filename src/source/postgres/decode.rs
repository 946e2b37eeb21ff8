//! Results → cells. The binary formats are those of PostgreSQL's `*_send` functions.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::formats::WireFormat;
use crate::row::{Cell, Date, Interval, Kind, RowBuffer, Time, Timestamp};

/// How the values of a column are read.
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
    /// Of any type that is not here, as PostgreSQL writes it.
    Text,
    /// `character(n)` keeps its blanks, which a cast to text would remove.
    PaddedText,
    /// An address, whose cast to text would add `/32`.
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
}

impl Decoder {
    /// The decoder for a type.
    pub(super) fn of(column: &Type) -> Decoder {
        match *column {
            Type::BOOL => Decoder::Boolean,
            Type::INT2 => Decoder::Int2,
            Type::INT4 => Decoder::Int4,
            Type::INT8 => Decoder::Int8,
            Type::OID => Decoder::Oid,
            Type::FLOAT4 => Decoder::Float4,
            Type::FLOAT8 => Decoder::Float8,
            // An amount of money, without the sign and the separators of the server's locale.
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
            _ => Decoder::Text,
        }
    }

    /// What a column of a type holds, with the modifier that its declaration gives it.
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
            Decoder::Json | Decoder::JsonBinary => Kind::Json,
            Decoder::Numeric
            | Decoder::Interval
            | Decoder::Text
            | Decoder::PaddedText
            | Decoder::Address => Kind::Text,
        }
    }

    /// The SQL that converts a column, so that its values are certain to be of this type: one that
    /// the driver knows. For another it would ask the server before it lets the rows be read, and
    /// its answer would wait behind them.
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
            Decoder::Text => "text",
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
        };
        format!("{column}::{kind}")
    }

    /// How many bytes longer a usual value is as text than in a row of a table.
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

    /// How the values must be sent.
    pub(super) fn format(self) -> WireFormat {
        match self {
            Decoder::Numeric
            | Decoder::Text
            | Decoder::PaddedText
            | Decoder::Address
            | Decoder::Json
            | Decoder::JsonBinary => WireFormat::Text,
            _ => WireFormat::Binary,
        }
    }

    /// Reads a value into the next cell of a row.
    ///
    /// # Errors
    /// It is not what the type's format says.
    #[inline(always)]
    pub(super) fn read(self, value: &[u8], cells: &mut RowBuffer) -> Result<(), Unreadable> {
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
            Decoder::Text | Decoder::PaddedText | Decoder::Address => {
                cells.push_text(value);
                return Ok(());
            }
            Decoder::Json | Decoder::JsonBinary => {
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
                    return Err(Unreadable);
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

/// `numeric(precision, scale)`: PostgreSQL's `numerictypmodin`. Without these it has any number of digits, and with a
/// scale below zero or above the precision it is no decimal elsewhere.
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

/// A value that is not what its column's type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Unreadable> {
    value.try_into().map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Decoder; 20] = [
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
    ];

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            decoder in prop::sample::select(ALL.to_vec()),
        ) {
            let mut row = RowBuffer::default();
            row.reset(1);
            let _ = decoder.read(&bytes, &mut row);
        }
    }
}
