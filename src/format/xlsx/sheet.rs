//! One worksheet: ECMA-376 part 1, 18.3.

use super::cell::{CellWriter, NUMBER_END, RowNumber, TEXT_END};
use super::columns::SheetColumn;
use super::links::{Link, LinkText};
use super::styles::{self, Variant};
use super::table;
use super::text::TooLong;
use super::title::TITLE_ROWS;
use super::totals::TotalCell;
use super::xml;
use crate::format::container::Content;
use crate::format::row_matcher::Mark;
use crate::row::{Cell, TimeZone};

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

/// What all sheets of a workbook have in common.
pub(super) struct SheetLayout {
    /// Whether cells have no references.
    pub(super) is_compact: bool,
    pub(super) has_table: bool,
    pub(super) time_zone: TimeZone,
    /// The styles of cells with a link.
    pub(super) link_styles: Variant,
    /// The styles of the totals row.
    pub(super) total_styles: Variant,
}

/// Writes one sheet.
pub struct SheetWriter {
    cells: Vec<CellWriter>,
    /// By column; empty if none has a link.
    links: Vec<Option<Link>>,
    compact: bool,
    has_table: bool,
    is_first: bool,
    time_zone: TimeZone,
    link_styles: Variant,
    /// The start of the sheet's `cols`, until it is written.
    widths: Option<Vec<ColumnWidth>>,
    /// Number of the header row.
    header: u32,
    /// Number of the last row written, from 1.
    row: u32,
    xml: Vec<u8>,
    /// Of the cells of its rows.
    marks: Vec<Mark>,
    /// XML bytes that `take_block` has returned.
    taken_bytes: u64,
}

/// The width of a column.
struct ColumnWidth {
    /// The longest text so far.
    longest: usize,
    /// The width that is set.
    fixed: Option<u8>,
    is_hidden: bool,
}

impl SheetWriter {
    /// Opens a sheet and writes its title block, if any, and its header. Column widths fit the rows of the first block.
    pub(super) fn begin(
        columns: &[SheetColumn],
        layout: &SheetLayout,
        title_block: Option<&[String; 2]>,
        is_first: bool,
    ) -> SheetWriter {
        let cell =
            |column: &SheetColumn| CellWriter::new(&column.letters, column.style, layout.time_zone);
        let width = |column: &SheetColumn| ColumnWidth {
            longest: label_width(&column.label),
            fixed: column.width,
            is_hidden: column.is_hidden,
        };
        let has_links = columns.iter().any(|column| column.link.is_some());
        let links = columns.iter().filter(|_| has_links);
        let mut sheet = SheetWriter {
            cells: columns.iter().map(cell).collect(),
            links: links.map(|column| column.link.clone()).collect(),
            compact: layout.is_compact,
            has_table: layout.has_table,
            is_first,
            time_zone: layout.time_zone,
            link_styles: layout.link_styles,
            widths: Some(columns.iter().map(width).collect()),
            header: 1,
            row: 0,
            xml: Vec::new(),
            marks: Vec::new(),
            taken_bytes: 0,
        };
        if let Some(title_block) = title_block {
            sheet.write_title_block(title_block, columns);
        }
        sheet.write_header_row(columns);
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
        let columns: String = widths.iter().enumerate().map(column_element).collect();
        let relationships = match self.has_table {
            true => format!(" xmlns:r=\"{}\"", xml::RELATIONSHIPS),
            false => String::new(),
        };
        let (header, first) = (self.header, self.header + 1);
        let text = format!(
            "{head}<worksheet xmlns=\"{main}\"{relationships}><sheetViews><sheetView{selected} workbookViewId=\"0\">\
             <pane ySplit=\"{header}\" topLeftCell=\"A{first}\" activePane=\"bottomLeft\" state=\"frozen\"/>\
             <selection pane=\"bottomLeft\"/></sheetView></sheetViews>\
             <sheetFormatPr defaultRowHeight=\"15\"/><cols>{columns}</cols><sheetData>"
        );
        self.xml.splice(..0, text.into_bytes());
    }

    /// Writes title and time in the first visible column, then an empty row.
    fn write_title_block(&mut self, texts: &[String; 2], columns: &[SheetColumn]) {
        let visible = columns.iter().position(|column| !column.is_hidden);
        let visible = visible.unwrap_or(0);
        for (text, style) in texts.iter().zip([styles::TITLE, styles::DEFAULT]) {
            let number = self.begin_row();
            let reference = (!self.compact).then_some(&number);
            if self.compact {
                (0..visible).for_each(|_| self.xml.extend_from_slice(b"<c/>"));
            }
            if let Some(cell) = self.cells.get(visible) {
                cell.write_label(text, style, reference, &mut self.xml);
            }
            self.end_row();
        }
        self.write_empty_row();
        self.header += TITLE_ROWS;
    }

    fn write_empty_row(&mut self) {
        self.begin_row();
        self.end_row();
    }

    fn write_header_row(&mut self, columns: &[SheetColumn]) {
        // The style of a table has a font for its header.
        let style = match self.has_table {
            true => styles::DEFAULT,
            false => styles::HEADER,
        };
        let number = self.begin_row();
        let reference = (!self.compact).then_some(&number);
        for (cell, column) in self.cells.iter().zip(columns) {
            cell.write_label(&column.label, style, reference, &mut self.xml);
        }
        self.end_row();
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
            width.longest = width.longest.max(cell_width(cell));
        }
        if !self.links.is_empty() {
            return self.write_row_with_links(row);
        }
        let number = self.begin_row();
        for (index, (writer, cell)) in self.cells.iter().zip(row).enumerate() {
            let reference = (!self.compact).then_some(&number);
            let before = self.xml.len();
            let written = writer.write(cell, reference, &mut self.xml);
            written.map_err(|error| (index, error))?;
            self.marks.extend(mark(index, before, &self.xml));
        }
        self.end_row();
        Ok(())
    }

    /// Not inlined, to keep rows without links fast.
    #[inline(never)]
    fn write_row_with_links<'c>(
        &mut self,
        row: impl Iterator<Item = Cell<'c>> + Clone,
    ) -> Result<(), (usize, TooLong)> {
        let number = self.begin_row();
        let reference = (!self.compact).then_some(&number);
        let cells = self.cells.iter().zip(&self.links).zip(row.clone());
        for (index, ((writer, link), cell)) in cells.enumerate() {
            let before = self.xml.len();
            let linked = link.as_ref().and_then(|link| {
                let shown = LinkText::of(cell, self.time_zone)?;
                let url = link.url(row.clone(), self.time_zone)?;
                Some((url, shown))
            });
            match linked {
                Some((url, shown)) => {
                    writer.write_link(&url, &shown, self.link_styles, reference, &mut self.xml);
                }
                None => {
                    let written = writer.write(cell, reference, &mut self.xml);
                    written.map_err(|error| (index, error))?;
                }
            }
            self.marks.extend(mark(index, before, &self.xml));
        }
        self.end_row();
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
    pub fn take_block(&mut self, bytes_min: usize) -> Option<Content> {
        if self.xml.len() < bytes_min {
            return None;
        }
        let before = self.xml.len();
        self.write_preamble();
        // It is before the rows.
        let shift = (self.xml.len() - before) as u32;
        self.marks.iter_mut().for_each(|mark| mark.end += shift);
        self.taken_bytes += self.xml.len() as u64;
        let next = Vec::with_capacity(self.xml.len());
        let next_marks = Vec::with_capacity(self.marks.len());
        Some(Content {
            bytes: std::mem::replace(&mut self.xml, next),
            marks: std::mem::replace(&mut self.marks, next_marks),
        })
    }

    /// Ends the rows; returns the first one and the last one. With `keeps_one` a sheet without rows has an empty one: a
    /// table needs it, and a formula would otherwise refer to itself.
    pub fn end_rows(&mut self, keeps_one: bool) -> (u32, u32) {
        if keeps_one && self.row == self.header {
            self.write_empty_row();
        }
        (self.header + 1, self.row)
    }

    /// Writes the totals row, after the end of the rows.
    pub(super) fn write_totals(&mut self, totals: &[TotalCell], total_styles: Variant) {
        let number = self.begin_row();
        let reference = (!self.compact).then_some(&number);
        for (cell, total) in self.cells.iter().zip(totals) {
            cell.write_total(total, total_styles, reference, &mut self.xml);
        }
        self.end_row();
    }

    /// Ends the sheet; returns the rest of its XML. `range` has the header and all rows, as `A1:C9`.
    pub(super) fn end(mut self, range: &str) -> Vec<u8> {
        self.write_preamble();
        let end = match self.has_table {
            // The table has the filter.
            true => format!(
                "<tableParts count=\"1\"><tablePart r:id=\"{}\"/></tableParts>",
                table::RELATIONSHIP
            ),
            false => format!("<autoFilter ref=\"{range}\"/>"),
        };
        let end = format!("</sheetData>{end}</worksheet>");
        self.xml.extend_from_slice(end.as_bytes());
        self.xml
    }

    /// Returns the number of the header row.
    pub(super) fn header(&self) -> u32 {
        self.header
    }

    #[inline]
    fn end_row(&mut self) {
        self.xml.extend_from_slice(b"</row>");
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

/// Returns where the value of the last cell ends, which is of this column and starts at `before`; `None` for a cell without XML.
#[inline]
fn mark(column: usize, before: usize, xml: &[u8]) -> Option<Mark> {
    let cell = &xml[before..];
    let tags = [NUMBER_END, TEXT_END]
        .into_iter()
        .find(|tags| cell.ends_with(tags));
    let end = xml.len() - tags.map_or(0, <[u8]>::len);
    (!cell.is_empty()).then_some(Mark {
        column: column as u32,
        end: end as u32,
    })
}

/// Returns the element of a column, counted from 0.
fn column_element((index, width): (usize, &ColumnWidth)) -> String {
    let number = index + 1;
    let digits = match width.fixed {
        // With its margin it would exceed the maximum.
        Some(u8::MAX) => u8::MAX.to_string(),
        Some(fixed) => format!("{fixed}.7109375"),
        None => format!("{}.7109375", width.longest.clamp(WIDTH_MIN, WIDTH_MAX)),
    };
    let hidden = if width.is_hidden { " hidden=\"1\"" } else { "" };
    format!("<col min=\"{number}\" max=\"{number}\" width=\"{digits}\"{hidden} customWidth=\"1\"/>")
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
