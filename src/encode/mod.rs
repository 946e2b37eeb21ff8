//! Rows → bytes. Knows neither SQL nor HTTP.

mod csv;

use crate::row::{Column, RowBatch};

pub use csv::CsvEncoder;

/// Writes a file piece by piece. It appends to the buffer it is given and keeps none of its own,
/// so what it has written is what can be sent.
pub trait Encoder: Send {
    /// Writes what stands before the first row.
    fn begin(&mut self, columns: &[Column], out: &mut Vec<u8>);

    /// Writes rows.
    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>);
}
