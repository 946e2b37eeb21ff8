//! Rows → bytes. Knows neither SQL nor HTTP.

mod csv;
mod ndjson;
mod parquet;
mod xlsx;

use crate::row::{Column, RowBatch};

pub use csv::CsvEncoder;
pub use ndjson::NdjsonEncoder;
pub use parquet::ParquetEncoder;
pub use xlsx::{Container, Piece, Properties, SheetStyle, TooLong, XlsxEncoder};

/// What a format cannot hold. Nothing is ever cut to fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text that is longer than a cell.
    #[error("row {row}, column `{column}`: {error}")]
    TooLong {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// By how much.
        error: TooLong,
    },
    /// A label that is longer than a cell.
    #[error("the header, column `{column}`: {error}")]
    LabelTooLong {
        /// The column's name.
        column: String,
        /// By how much.
        error: TooLong,
    },
    /// A row that is longer than a sheet.
    #[error("row {0}: it has more bytes than a sheet holds")]
    RowTooLong(u64),
    /// A value that does not have the type of its column, where columns have types.
    #[error("row {row}, column `{column}`: the value is not {expected}")]
    OtherType {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// What the column holds.
        expected: &'static str,
    },
    /// The library that writes the format failed.
    #[error("the file could not be written: {0}")]
    Failed(String),
    /// More columns than a sheet has.
    #[error("there are {0} columns; a sheet holds 16384")]
    TooManyColumns(usize),
}

/// Writes a file of text piece by piece. It appends to the buffer it is given and keeps none of its own,
/// so what it has written is what can be sent.
pub trait Encoder: Send {
    /// Writes what stands before the first row.
    fn begin(&mut self, columns: &[Column], out: &mut Vec<u8>);

    /// Writes rows.
    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>);
}
