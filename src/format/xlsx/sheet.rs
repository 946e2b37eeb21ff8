//! One worksheet: ECMA-376 part 1, 18.3.

use super::cell::{CellWriter, RowNumber};
use super::styles::FIRST_CUSTOM;
use super::text::TooLong;
use super::xml;
use crate::format::encoder::EncoderSettings;
use crate::row::Cell;

/// Columns A to XFD.
pub const COLUMNS_MAX: usize = 16_384;

/// Column widths in digits: ECMA-376 part 1, 18.3.1.13.
const WIDTH_MIN: usize = 6;
const WIDTH_MAX: usize = 60;
/// Width of the filter button.
const FILTER_WIDTH: usize = 3;

/// Limits of one sheet. Further rows go to the next sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct SheetLimits {
    /// Maximum rows, with the header.
    pub(super) rows: u32,
    /// XML bytes after which no further row is started.
    pub(super) bytes: u64,
    /// Maximum XML bytes after a row. A ZIP part of 4 GiB needs ZIP64 sizes, which Excel cannot read in a
    /// data descriptor. The 64 KiB below 4 GiB are for the end of the sheet.
    pub(super) bytes_max: u64,
}

pub(super) const SHEET_LIMITS: SheetLimits = SheetLimits {
    rows: 1_048_576,
    bytes: 3_900 << 20,
    bytes_max: (4 << 30) - (64 << 10),
};

/// A column of a sheet.
pub(super) struct SheetColumn {
    /// Its name in the query.
    pub(super) name: String,
    /// The text of its header.
    pub(super) label: String,
    /// The index of its number format among those of the workbook.
    pub(super) number_format: Option<u32>,
}

/// Writes one sheet.
pub struct SheetWriter {
    cells: Vec<CellWriter>,
    compact: bool,
    is_first: bool,
    /// The width of each column, until the start of the sheet is written.
    widths: Option<Vec<usize>>,
    /// Number of the last row written, from 1.
    row: u32,
    xml: Vec<u8>,
    /// XML bytes that `take_block` has returned.
    taken_bytes: u64,
}

impl SheetWriter {
    /// Opens a sheet and writes its header. Column widths fit the rows of the first block.
    pub(super) fn begin(
        columns: &[SheetColumn],
        settings: &EncoderSettings,
        is_first: bool,
    ) -> SheetWriter {
        let cell = |(index, column): (usize, &SheetColumn)| {
            let style = column.number_format.map(|index| FIRST_CUSTOM + index);
            CellWriter::new(&column_letters(index), style, settings.time_zone)
        };
        let cells = columns.iter().enumerate().map(cell).collect();
        let labels: Vec<&str> = columns.iter().map(|column| column.label.as_str()).collect();
        let mut sheet = SheetWriter {
            cells,
            compact: settings.options.get_bool("compact", false),
            is_first,
            widths: Some(labels.iter().map(|label| label_width(label)).collect()),
            row: 0,
            xml: Vec::new(),
            taken_bytes: 0,
        };
        sheet.write_header_row(&labels);
        sheet
    }

    /// Writes the start of the sheet before its rows so far, unless it is written.
    fn write_preamble(&mut self) {
        let Some(widths) = self.widths.take() else {
            return;
        };
        let (head, main) = (xml::HEAD, xml::MAIN);
        let selected = if self.is_first {
            " tabSelected=\"1\""
        } else {
            ""
        };
        let columns: String = widths
            .iter()
            .enumerate()
            .map(|(index, width)| {
                let (number, width) = (index + 1, (*width).clamp(WIDTH_MIN, WIDTH_MAX));
                format!("<col min=\"{number}\" max=\"{number}\" width=\"{width}.7109375\" customWidth=\"1\"/>")
            })
            .collect();
        let text = format!(
            "{head}<worksheet xmlns=\"{main}\"><sheetViews><sheetView{selected} workbookViewId=\"0\">\
             <pane ySplit=\"1\" topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/>\
             <selection pane=\"bottomLeft\"/></sheetView></sheetViews>\
             <sheetFormatPr defaultRowHeight=\"15\"/><cols>{columns}</cols><sheetData>"
        );
        self.xml.splice(..0, text.into_bytes());
    }

    fn write_header_row(&mut self, labels: &[&str]) {
        let number = self.begin_row();
        let reference = (!self.compact).then_some(&number);
        for (cell, label) in self.cells.iter().zip(labels) {
            cell.write_label(label, reference, &mut self.xml);
        }
        self.xml.extend_from_slice(b"</row>");
    }

    /// Writes the next row.
    ///
    /// # Errors
    /// Returns the index of the column whose text does not fit into a cell, and why. The row is then incomplete.
    pub fn write_row<'c>(
        &mut self,
        row: impl Iterator<Item = Cell<'c>> + Clone,
    ) -> Result<(), (usize, TooLong)> {
        for (width, cell) in self.widths.iter_mut().flatten().zip(row.clone()) {
            *width = (*width).max(cell_width(cell));
        }
        let number = self.begin_row();
        for (index, (writer, cell)) in self.cells.iter().zip(row).enumerate() {
            let reference = (!self.compact).then_some(&number);
            let written = writer.write(cell, reference, &mut self.xml);
            written.map_err(|error| (index, error))?;
        }
        self.xml.extend_from_slice(b"</row>");
        Ok(())
    }

    /// Returns whether the next row goes to a new sheet.
    pub fn is_full(&self, limits: SheetLimits) -> bool {
        self.row >= limits.rows || self.bytes() >= limits.bytes
    }

    /// Returns the XML bytes written since the start of the sheet.
    pub fn bytes(&self) -> u64 {
        self.taken_bytes + self.xml.len() as u64
    }

    /// Returns the XML since the last call, if it has at least `bytes_min` bytes.
    pub fn take_block(&mut self, bytes_min: usize) -> Option<Vec<u8>> {
        if self.xml.len() < bytes_min {
            return None;
        }
        self.write_preamble();
        self.taken_bytes += self.xml.len() as u64;
        let next = Vec::with_capacity(self.xml.len());
        Some(std::mem::replace(&mut self.xml, next))
    }

    /// Ends the sheet; returns the rest of its XML and its range, as `$A$1:$C$9`.
    pub fn end(mut self) -> (Vec<u8>, String) {
        self.write_preamble();
        let (last_column, last_row) = (column_letters(self.cells.len().max(1) - 1), self.row);
        let filter =
            format!("</sheetData><autoFilter ref=\"A1:{last_column}{last_row}\"/></worksheet>");
        self.xml.extend_from_slice(filter.as_bytes());
        (self.xml, format!("$A$1:${last_column}${last_row}"))
    }

    fn begin_row(&mut self) -> RowNumber {
        self.row += 1;
        let number = RowNumber::new(self.row);
        if self.compact {
            self.xml.extend_from_slice(b"<row>");
        } else {
            self.xml.extend_from_slice(b"<row r=\"");
            number.write(&mut self.xml);
            self.xml.extend_from_slice(b"\">");
        }
        number
    }
}

/// Returns the name of a column, counted from 0: A, B, … Z, AA, ….
fn column_letters(index: usize) -> String {
    let mut rest = index + 1;
    let mut letters = Vec::new();
    while rest > 0 {
        letters.push(char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

fn label_width(label: &str) -> usize {
    label.chars().count() + FILTER_WIDTH
}

fn cell_width(cell: Cell<'_>) -> usize {
    match cell {
        Cell::Null => 0,
        Cell::Boolean(_) => "FALSE".len(),
        Cell::Integer(value) => itoa::Buffer::new().format(value).len(),
        Cell::Float(_) => "123456.789".len(),
        Cell::Decimal(text) => text.len(),
        Cell::Text(text) | Cell::Json(text) => text
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0),
        Cell::Bytes(bytes) => 2 * bytes.len(),
        Cell::Date(_) => "2026-01-31".len(),
        Cell::Time(time) => "10:00:00".len() + fraction_width(time.micros),
        Cell::Timestamp(timestamp) => {
            "2026-01-31 10:00:00".len() + fraction_width(timestamp.micros)
        }
        Cell::Interval(interval) => "1000:00:00".len() + fraction_width(interval.micros),
        Cell::Uuid(_) => "00000000-0000-0000-0000-000000000000".len(),
    }
}

/// Returns the width of the milliseconds, which are shown only if there are some.
fn fraction_width(micros: i64) -> usize {
    match micros % 1_000_000 {
        0 => 0,
        _ => ".000".len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_in_excel() {
        for (index, name) in [
            (0, "A"),
            (25, "Z"),
            (26, "AA"),
            (701, "ZZ"),
            (702, "AAA"),
            (16_383, "XFD"),
        ] {
            assert_eq!(column_letters(index), name);
        }
    }
}
