//! Parquet: typed columns in compressed row groups. <https://parquet.apache.org/docs/file-format/>

mod column;

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use self::column::{ColumnBuffer, FIXED_BYTES, shares_buffer};
use super::encoder::{EncodeError, Encoder};
use super::options::OptionDefinition;
use super::{Capacity, Definition};
use crate::row::{Column, Kind, RowBatch, TimeZone};

/// Memory at which a row group is written: large enough for readers, small enough for many concurrent
/// downloads.
const ROW_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// The size of a column's part of a row group, on average: the description of each part is kept until the end of the file.
const CHUNK_BYTES_MIN: usize = 128 * 1024;
/// The size of a dictionary after which the rest of a column in a row group has none: references to many different values would
/// be larger than the values, which compress well.
const DICTIONARY_BYTES_MAX: usize = 16 * 1024;
/// The default of `zstd`: a tenth more time than the fastest level, for a quarter fewer bytes.
const ZSTD_LEVEL: i32 = 3;
/// Decimal digits that fit into 32 and 64 bits: parquet-format, "DECIMAL".
const DIGITS_MAX_32: u8 = 9;
const DIGITS_MAX_64: u8 = 18;
/// Decimal digits that fit into 128 bits and that every reader supports.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// The registry entry. The media type is registered with IANA. An export must list the format, because
/// its columns need types. A file without its footer cannot be opened, so a truncated one is detected.
pub(super) const FORMAT: Definition = Definition {
    extension: "parquet",
    is_default: false,
    capacity: Capacity::One,
    is_text: false,
    is_json: false,
    integrity_line: None,
    heartbeats: None,
    options: &OPTIONS,
    media_type: |_| "application/vnd.apache.parquet",
    encoder: |columns, settings| {
        let types = match settings.options.get("compat") {
            Some(_) => Types::OfSpark,
            None => Types::All,
        };
        Ok(Box::new(ParquetEncoder::new(
            columns,
            types,
            settings.time_zone,
        )?))
    },
};

/// An export sets it under `[parquet]`; a link overrides it by `rl_parquet.compat`.
const OPTIONS: [OptionDefinition; 1] = [OptionDefinition {
    name: "compat",
    expected: "`spark`",
    accepts: |text| text == "spark",
    sets: &[],
}];

/// The types that a file may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    All,
    /// Spark refuses files with `UUID` and `TIME` columns: they are text.
    OfSpark,
}

/// Encodes Parquet.
struct ParquetEncoder {
    writer: SerializedFileWriter<Vec<u8>>,
    names: Vec<String>,
    columns: Vec<ColumnBuffer>,
    time_zone: TimeZone,
    rows_written: u64,
    row_group_bytes: usize,
    /// Memory of the values in the current row group.
    buffered_bytes: usize,
}

impl ParquetEncoder {
    /// Starts a file with these columns. Text columns show instants in `time_zone`.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if the `parquet` library rejects the schema.
    fn new(
        columns: &[Column],
        types: Types,
        time_zone: TimeZone,
    ) -> Result<ParquetEncoder, EncodeError> {
        let file_kind = |column: &Column| file_kind(column, types);
        let fields = columns
            .iter()
            .map(|column| schema_field(&column.name, file_kind(column)));
        let fields = fields
            .collect::<Result<Vec<TypePtr>, ParquetError>>()
            .map_err(writer_error)?;
        let schema = Type::group_type_builder("rowlink")
            .with_fields(fields)
            .build();
        let level = ZstdLevel::try_new(ZSTD_LEVEL);
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("rowlink version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(level.map_err(writer_error)?))
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            // Pages end by their size: what is compressed together is smaller.
            .set_data_page_row_count_limit(usize::MAX)
            // Page statistics would stay in memory until the end of the file.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for column in columns
            .iter()
            .filter(|column| shares_buffer(file_kind(column)))
        {
            let path = ColumnPath::new(vec![column.name.clone()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let schema = Arc::new(schema.map_err(writer_error)?);
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()));
        Ok(ParquetEncoder {
            writer: writer.map_err(writer_error)?,
            names: columns.iter().map(|column| column.name.clone()).collect(),
            columns: columns
                .iter()
                .map(|column| ColumnBuffer::new(file_kind(column)))
                .collect(),
            time_zone,
            rows_written: 0,
            row_group_bytes: ROW_GROUP_BYTES.max(columns.len() * CHUNK_BYTES_MIN),
            buffered_bytes: 0,
        })
    }

    /// Appends the bytes written since the last call.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if the `parquet` library fails.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let flushed = self.writer.flush();
        flushed.map_err(|error| writer_error(error.into()))?;
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn write_row_group(&mut self) -> Result<(), ParquetError> {
        if self.buffered_bytes == 0 {
            return Ok(());
        }
        self.buffered_bytes = 0;
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

/// Row group boundaries depend only on the rows, not on the batches.
impl Encoder for ParquetEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.take(out)
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for row in batch.iter() {
            self.rows_written += 1;
            for (index, (column, cell)) in self.columns.iter_mut().zip(row).enumerate() {
                let bytes = column.push(cell, self.time_zone);
                self.buffered_bytes += bytes.ok_or_else(|| EncodeError::Value {
                    row: self.rows_written,
                    column: self.names[index].clone(),
                    reason: format!("expected {}", expected_value(column.kind)),
                })?;
            }
            if self.buffered_bytes >= self.row_group_bytes {
                self.write_row_group().map_err(writer_error)?;
            }
        }
        self.take(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let written = self.write_row_group();
        let finished = written.and_then(|()| self.writer.finish());
        finished.map_err(writer_error)?;
        self.take(out)
    }

    fn wants_thread(&self) -> bool {
        true
    }
}

/// Returns the type of a column in the file. Decimals with too many digits become text.
fn file_kind(column: &Column, types: Types) -> Kind {
    match column.kind {
        Kind::Uuid | Kind::Time if types == Types::OfSpark => Kind::Text,
        Kind::Decimal { precision, .. } if precision > DECIMAL_DIGITS_MAX => Kind::Text,
        kind => kind,
    }
}

/// Returns a column of the schema: parquet-format, "LogicalTypes".
fn schema_field(name: &str, kind: Kind) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Integer => (Physical::INT64, None),
        Kind::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Decimal { precision, scale } => {
            let logical = LogicalType::decimal(scale.into(), precision.into());
            let physical = if precision <= DIGITS_MAX_32 {
                Physical::INT32
            } else if precision <= DIGITS_MAX_64 {
                Physical::INT64
            } else {
                Physical::FIXED_LEN_BYTE_ARRAY
            };
            (physical, Some(logical))
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

fn expected_value(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "a boolean",
        Kind::Integer => "a signed 64-bit integer",
        Kind::Unsigned => "an unsigned 64-bit integer",
        Kind::Float => "a floating-point number",
        Kind::Decimal { .. } => "a decimal within the precision and scale of the column",
        Kind::Text => "text",
        Kind::Json => "JSON",
        Kind::Bytes => "bytes",
        Kind::Date => "a finite date",
        Kind::Time => "a time of day before 24:00",
        Kind::Timestamp { utc: true } => "a finite timestamp with time zone",
        Kind::Timestamp { utc: false } => "a finite timestamp without time zone",
        Kind::Uuid => "a UUID",
    }
}

/// Wraps an error of the `parquet` library, which writes to memory only.
fn writer_error(error: ParquetError) -> EncodeError {
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
        let mut encoder = ParquetEncoder::new(&columns, Types::All, TimeZone::default())?;
        let mut file = Vec::new();
        for cells in cells.chunks(700) {
            let mut buffer = RowBuffer::default();
            buffer.reset(1);
            cells.iter().for_each(|cell| buffer.push(*cell));
            encoder.rows(&buffer.finish().expect("UTF-8"), &mut file)?;
        }
        encoder.finish(&mut file)?;
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
    fn values_are_read_back() {
        let decimal = Kind::Decimal {
            precision: 38,
            scale: 2,
        };
        let short = |precision| Kind::Decimal {
            precision,
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
            (short(9), Cell::Decimal("-9999999.99"), "-9999999.99"),
            (short(10), Cell::Decimal("99999999.99"), "99999999.99"),
            (
                short(18),
                Cell::Decimal("-9999999999999999.9"),
                "-9999999999999999.90",
            ),
            (
                short(19),
                Cell::Decimal("99999999999999999.99"),
                "99999999999999999.99",
            ),
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
    fn a_value_of_another_type_is_an_error_and_never_converted() {
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
            // MariaDB stores such a text in a JSON column while `check_constraint_checks` is off.
            (Kind::Json, Cell::Text("{")),
        ] {
            let error = encode(kind, &[Cell::Null, cell]).expect_err("a value of another type");
            let expected = EncodeError::Value {
                row: 2,
                column: "v".into(),
                reason: format!("expected {}", expected_value(kind)),
            };
            assert_eq!(error, expected, "{kind:?} {cell:?}");
        }
    }

    #[test]
    fn different_values_are_not_looked_up_in_a_dictionary() {
        let cells: Vec<Cell> = (0..50_000).map(Cell::Integer).collect();
        let file = encode(Kind::Integer, &cells).expect("a file");
        assert!(file.len() < 2 * cells.len(), "{} bytes", file.len());
    }

    #[test]
    fn row_groups_have_a_bounded_size_and_lose_no_row() {
        let word = "x".repeat(1000);
        let cells = vec![Cell::Text(&word); 20_000];
        let file = Bytes::from(encode(Kind::Text, &cells).expect("a file"));
        let reader = SerializedFileReader::new(file).expect("a reader");
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().num_rows(), 20_000);
        assert_eq!(metadata.num_row_groups(), 5);
        let most = metadata
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .max();
        assert_eq!(most, Some((ROW_GROUP_BYTES / 1010 + 1) as i64));
    }
}
