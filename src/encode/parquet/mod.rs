//! Parquet: typed columns in compressed row groups, <https://parquet.apache.org/docs/file-format/>.

mod column;

use std::mem;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use self::column::{ColumnBuffer, FIXED_BYTES, is_shared};
use super::EncodeError;
use crate::row::{Column, Kind, RowBatch, TimeZone};

/// A row group is written when its values take as much memory: large enough for readers, small enough for many
/// downloads at a time.
const ROW_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// As many digits as 128 bits hold, and as every reader knows.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// Writes Parquet. What it has written is [taken](Self::take) from it.
pub struct ParquetEncoder {
    writer: SerializedFileWriter<Vec<u8>>,
    names: Vec<String>,
    columns: Vec<ColumnBuffer>,
    time_zone: TimeZone,
    rows_written: u64,
    /// How much memory the values take that wait for their row group.
    bytes_waiting: usize,
}

impl ParquetEncoder {
    /// Begins a file with these columns. Where a column holds text, instants are shown in the time zone.
    ///
    /// # Errors
    /// The format cannot hold such columns.
    pub fn new(columns: &[Column], time_zone: TimeZone) -> Result<ParquetEncoder, EncodeError> {
        let fields = columns.iter().map(|column| field(&column.name, of(column)));
        let fields = fields
            .collect::<Result<Vec<TypePtr>, ParquetError>>()
            .map_err(failure)?;
        let schema = Type::group_type_builder("rowlink")
            .with_fields(fields)
            .build();
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("rowlink version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // What is known of each page would stay in memory to the end of the file.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for column in columns.iter().filter(|column| is_shared(of(column))) {
            let path = ColumnPath::new(vec![column.name.clone()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let schema = Arc::new(schema.map_err(failure)?);
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()));
        Ok(ParquetEncoder {
            writer: writer.map_err(failure)?,
            names: columns.iter().map(|column| column.name.clone()).collect(),
            columns: columns
                .iter()
                .map(|column| ColumnBuffer::new(of(column)))
                .collect(),
            time_zone,
            rows_written: 0,
            bytes_waiting: 0,
        })
    }

    /// Writes rows. Where a row group ends depends on them alone, and not on how they came.
    ///
    /// # Errors
    /// A value does not have the type of its column.
    pub fn rows(&mut self, batch: &RowBatch) -> Result<(), EncodeError> {
        for row in batch.iter() {
            self.rows_written += 1;
            for (index, (column, cell)) in self.columns.iter_mut().zip(row).enumerate() {
                let bytes = column.push(cell, self.time_zone);
                self.bytes_waiting += bytes.ok_or_else(|| EncodeError::OtherType {
                    row: self.rows_written,
                    column: self.names[index].clone(),
                    expected: name_of(column.kind),
                })?;
            }
            if self.bytes_waiting >= ROW_GROUP_BYTES {
                self.end_group().map_err(failure)?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and the end of the file.
    ///
    /// # Errors
    /// The writer failed.
    pub fn end(&mut self) -> Result<(), EncodeError> {
        self.end_group()
            .and_then(|()| self.writer.finish())
            .map_err(failure)
            .map(drop)
    }

    /// What was written since it was asked last.
    ///
    /// # Errors
    /// The writer failed.
    pub fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.writer.flush().map_err(|error| failure(error.into()))?;
        Ok(mem::take(self.writer.inner_mut()))
    }

    /// How many rows it was given.
    pub fn rows_written(&self) -> u64 {
        self.rows_written
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        if self.bytes_waiting == 0 {
            return Ok(());
        }
        self.bytes_waiting = 0;
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let mut writer = group
                .next_column()?
                .expect("a writer for each column of the schema");
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close().map(drop)
    }
}

/// The type that a column gets: one that the format has.
fn of(column: &Column) -> Kind {
    match column.kind {
        Kind::Decimal { precision, .. } if precision > DECIMAL_DIGITS_MAX => Kind::Text,
        kind => kind,
    }
}

/// A column of the schema: parquet-format, "LogicalTypes".
fn field(name: &str, kind: Kind) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Integer => (Physical::INT64, None),
        Kind::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Decimal { precision, scale } => {
            let logical = LogicalType::decimal(scale.into(), precision.into());
            (Physical::FIXED_LEN_BYTE_ARRAY, Some(logical))
        }
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Bytes => (Physical::BYTE_ARRAY, None),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Time => (
            Physical::INT64,
            Some(LogicalType::time(false, TimeUnit::MICROS)),
        ),
        Kind::Timestamp { utc } => (
            Physical::INT64,
            Some(LogicalType::timestamp(utc, TimeUnit::MICROS)),
        ),
        Kind::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
    };
    let is_fixed = physical == Physical::FIXED_LEN_BYTE_ARRAY;
    let length = if is_fixed { FIXED_BYTES as i32 } else { -1 };
    let builder = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .with_length(length);
    let builder = match kind {
        Kind::Decimal { precision, scale } => builder
            .with_precision(precision.into())
            .with_scale(scale.into()),
        _ => builder,
    };
    builder.build().map(Arc::new)
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "a boolean",
        Kind::Integer => "an integer",
        Kind::Unsigned => "an integer above or at zero",
        Kind::Float => "a float",
        Kind::Decimal { .. } => "a decimal that fits its column",
        Kind::Text => "text",
        Kind::Json => "JSON",
        Kind::Bytes => "bytes",
        Kind::Date => "a date",
        Kind::Time => "a time of day",
        Kind::Timestamp { .. } => "a date and time",
        Kind::Uuid => "a UUID",
    }
}

/// Nothing that a caller did: the writer writes to memory.
fn failure(error: ParquetError) -> EncodeError {
    EncodeError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Cell, Date, RowBuffer, Time, Timestamp};
    use bytes::Bytes;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    fn encode(kind: Kind, cells: &[Cell<'_>]) -> Result<Vec<u8>, EncodeError> {
        let columns = [Column {
            name: "v".into(),
            kind,
        }];
        let mut encoder = ParquetEncoder::new(&columns, TimeZone::default())?;
        let mut file = Vec::new();
        for cells in cells.chunks(700) {
            let mut buffer = RowBuffer::default();
            buffer.reset(1);
            cells.iter().for_each(|cell| buffer.push(*cell));
            encoder.rows(&buffer.finish().expect("UTF-8"))?;
            file.extend(encoder.take()?);
        }
        encoder.end()?;
        file.extend(encoder.take()?);
        Ok(file)
    }

    fn values(kind: Kind, cells: &[Cell<'_>]) -> Vec<String> {
        let file = Bytes::from(encode(kind, cells).expect("a file"));
        let reader = SerializedFileReader::new(file).expect("a reader");
        let rows = reader.get_row_iter(None).expect("rows");
        let value = |row: parquet::record::Row| {
            row.get_column_iter()
                .next()
                .map(|(_, value)| value.to_string())
        };
        rows.map(|row| value(row.expect("a row")).expect("a value"))
            .collect()
    }

    #[test]
    fn another_reader_finds_each_value() {
        let decimal = Kind::Decimal {
            precision: 38,
            scale: 2,
        };
        let utc = Kind::Timestamp { utc: true };
        let instant = |micros| Cell::Timestamp(Timestamp { micros, utc: true });
        for (kind, cell, expected) in [
            (Kind::Boolean, Cell::Boolean(true), "true"),
            (
                Kind::Integer,
                Cell::Integer(i64::MIN),
                "-9223372036854775808",
            ),
            (
                Kind::Unsigned,
                Cell::Decimal("18446744073709551615"),
                "18446744073709551615",
            ),
            (Kind::Float, Cell::Float(0.1), "0.1"),
            (decimal, Cell::Decimal("-0.5"), "-0.50"),
            (
                decimal,
                Cell::Decimal("999999999999999999999999999999999999.99"),
                "999999999999999999999999999999999999.99",
            ),
            (Kind::Text, Cell::Text("Zürich"), "\"Zürich\""),
            (Kind::Text, Cell::Integer(-1), "\"-1\""),
            (Kind::Text, instant(0), "\"2000-01-01T00:00:00Z\""),
            (Kind::Date, Cell::Date(Date { days: -1 }), "1999-12-31"),
            (utc, instant(1), "2000-01-01 00:00:00.000001 +00:00"),
            (Kind::Boolean, Cell::Null, "null"),
        ] {
            assert_eq!(values(kind, &[cell]), [expected], "{kind:?} {cell:?}");
        }
        assert_eq!(values(Kind::Float, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_value_of_another_type_is_named_and_never_changed() {
        let decimal = Kind::Decimal {
            precision: 3,
            scale: 1,
        };
        let utc = Kind::Timestamp { utc: true };
        let local = Cell::Timestamp(Timestamp {
            micros: 0,
            utc: false,
        });
        let infinite = Cell::Timestamp(Timestamp {
            micros: i64::MIN,
            utc: true,
        });
        for (kind, cell) in [
            (Kind::Boolean, Cell::Integer(7)),
            (Kind::Integer, Cell::Text("7")),
            (Kind::Unsigned, Cell::Integer(-1)),
            (Kind::Float, Cell::Integer(1)),
            (decimal, Cell::Decimal("100.0")),
            (decimal, Cell::Decimal("0.05")),
            (decimal, Cell::Decimal("NaN")),
            (decimal, Cell::Decimal("-Infinity")),
            (Kind::Date, Cell::Text("0000-00-00")),
            (Kind::Date, Cell::Date(Date { days: i32::MIN })),
            (Kind::Time, Cell::Time(Time { micros: Time::END })),
            (utc, local),
            (utc, infinite),
            (Kind::Uuid, Cell::Text("x")),
            (Kind::Bytes, Cell::Text("x")),
        ] {
            let error = encode(kind, &[Cell::Null, cell]).expect_err("refused");
            let expected = EncodeError::OtherType {
                row: 2,
                column: "v".into(),
                expected: name_of(kind),
            };
            assert_eq!(error, expected, "{kind:?} {cell:?}");
        }
    }

    #[test]
    fn rows_fill_groups_of_bounded_size_and_none_is_lost() {
        let word = "x".repeat(1000);
        let cells = vec![Cell::Text(&word); 20_000];
        let file = Bytes::from(encode(Kind::Text, &cells).expect("a file"));
        let reader = SerializedFileReader::new(file).expect("a reader");
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().num_rows(), 20_000);
        assert_eq!(metadata.num_row_groups(), 3);
        let most = metadata
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .max();
        assert_eq!(most, Some((ROW_GROUP_BYTES / 1010 + 1) as i64));
    }
}
