//! XLSX (ECMA-376), streamed row by row without a temporary file. The first row already produces output.
//!
//! [`WorkbookWriter`] turns rows into pieces: XML, and the start and end of each archive part. [`Deflater`] has them compressed
//! by other threads, and writes the ZIP archive.

mod cell;
mod columns;
mod exact_sum;
mod extreme;
mod links;
mod number_format;
mod serial;
mod sheet;
mod sheet_names;
mod styles;
mod sum;
mod table;
mod text;
mod title;
mod totals;
mod workbook;
mod workbook_writer;
mod xml;

pub use self::number_format::{NAMED_FORMATS, is_number_format, named_format};

use self::workbook_writer::{FIRST_PART, WorkbookWriter};
use super::container::Container;
use super::deflater::Deflater;
use super::encoder::{EncodeError, Encoder};
use super::heartbeat::{EMPTY_DEFLATE_BLOCK, Heartbeats};
use super::options::OptionDefinition;
use super::{Capacity, Definition};
use crate::row::{Column, RowBatch};

/// The registry entry: ECMA-376 part 1, 12.3.23, as registered with IANA. A ZIP archive without its end
/// cannot be opened, so a truncated file is detected.
pub(super) const FORMAT: Definition = Definition {
    extension: "xlsx",
    is_default: true,
    capacity: Capacity::Any,
    is_text: false,
    is_json: false,
    integrity_line: None,
    heartbeats: Some(|_| Heartbeats {
        start: Container::start_of(FIRST_PART),
        beat: EMPTY_DEFLATE_BLOCK,
    }),
    options: &OPTIONS,
    media_type: |_| "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    encoder: |columns, settings| {
        Ok(Box::new(XlsxEncoder {
            writer: WorkbookWriter::new(columns, settings)?,
            deflater: Deflater::start()?,
        }))
    },
};

/// An export sets them under `[xlsx]`; a link overrides them by `rl_xlsx.*`.
const OPTIONS: [OptionDefinition; 4] = [
    // Leaves out the references of cells: a smaller file, which some readers do not understand.
    OptionDefinition::boolean("compact"),
    // Title and time of the link, above the header.
    OptionDefinition::boolean("title_block"),
    // An Excel table per sheet.
    OptionDefinition::boolean("table"),
    // The word in the totals row.
    OptionDefinition {
        name: "total_label",
        expected: "1 to 100 characters, without control characters",
        accepts: |text| {
            (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        },
        sets: &[],
    },
];
/// The word in the totals row of exports that set none.
const TOTAL_LABEL: &str = "Total";

/// Encodes a workbook.
struct XlsxEncoder {
    writer: WorkbookWriter,
    deflater: Deflater,
}

impl Encoder for XlsxEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.deflater.push(self.writer.take_pieces(), out)
    }

    fn next_statement(&mut self, columns: &[Column], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.writer.next_statement(columns)?;
        self.deflater.push(self.writer.take_pieces(), out)
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.writer.rows(batch)?;
        self.deflater.push(self.writer.take_pieces(), out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.writer.flush();
        self.deflater.push(self.writer.take_pieces(), out)?;
        self.deflater.drain(out)
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.writer.heartbeat();
        self.deflater.push(self.writer.take_pieces(), out)?;
        self.deflater.drain(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.writer.end();
        self.deflater.push(self.writer.take_pieces(), out)?;
        self.deflater.drain(out)
    }

    fn wants_thread(&self) -> bool {
        true
    }
}
