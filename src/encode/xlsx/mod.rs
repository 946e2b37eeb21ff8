//! XLSX, ECMA-376, written row by row: no temporary file, and the first bytes leave with the first row.
//!
//! Two stages that can run side by side. [`XlsxEncoder`] turns rows into [`Piece`]s: XML and where the
//! parts of the archive start and end. [`Container`] deflates these and frames them as ZIP.

mod cell;
mod container;
mod serial;
mod sheet;
mod styles;
mod text;
mod workbook;
mod xml;

use indexmap::IndexMap;

use self::sheet::SheetWriter;
use self::text::check_length;
use self::workbook::Sheet;
use super::EncodeError;
use crate::format::XlsxOptions;
use crate::row::{Column, RowBatch, TimeZone};

pub use container::Container;
pub use text::TooLong;
pub use workbook::Properties;

/// XML is handed on at this many bytes.
const BLOCK_BYTES: usize = 128 * 1024;

/// What an archive is made of, in order.
pub enum Piece {
    /// A small part.
    Part(&'static str, String),
    /// A part starts whose content follows.
    Begin(String),
    /// Content of the part that is open.
    Content(Vec<u8>),
    /// What there is shall be sent.
    Flush,
    /// The part that is open ends.
    End,
    /// The archive is whole.
    Finish,
}

impl Container {
    /// Writes a piece.
    pub fn write_piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Part(name, content) => self.part(name, content.as_bytes()),
            Piece::Begin(name) => self.begin(name),
            Piece::Content(content) => self.write(content),
            Piece::Flush => self.flush(),
            Piece::End => self.end(),
            Piece::Finish => self.finish(),
        }
    }
}

/// How a file looks.
#[derive(Debug, Clone, Default)]
pub struct SheetStyle {
    /// What a caller may choose.
    pub options: XlsxOptions,
    /// What the header calls a column, by column name.
    pub labels: IndexMap<String, String>,
    /// Number formats, by column name.
    pub number_formats: IndexMap<String, String>,
    /// In which instants are shown.
    pub time_zone: TimeZone,
}

/// What ends a sheet, so that the next one opens.
#[derive(Debug, Clone, Copy)]
struct SheetLimits {
    /// Excel's last row.
    rows: u32,
    /// The size at which no further row is begun.
    bytes: u64,
    /// A ZIP part of 4 GiB needs ZIP64 sizes, which Excel does not read after the data. What ends a
    /// sheet must still fit.
    bytes_max: u64,
}

const LIMITS: SheetLimits = SheetLimits {
    rows: 1_048_576,
    bytes: 3_900 << 20,
    bytes_max: (4 << 30) - (64 << 10),
};

/// Writes the rows of a workbook.
pub struct XlsxEncoder {
    properties: Properties,
    looks: SheetStyle,
    limits: SheetLimits,
    columns: Vec<Column>,
    /// The sheet that is open.
    sheet: Option<SheetWriter>,
    sheets: Vec<Sheet>,
    rows: u64,
    pieces: Vec<Piece>,
}

impl XlsxEncoder {
    /// Starts a file of these columns.
    ///
    /// # Errors
    /// There are more of them than a sheet has, or a label does not fit into a cell.
    pub fn new(
        columns: &[Column],
        looks: SheetStyle,
        properties: Properties,
    ) -> Result<XlsxEncoder, EncodeError> {
        if columns.len() > sheet::COLUMNS_MAX {
            return Err(EncodeError::TooManyColumns(columns.len()));
        }
        for column in columns {
            let label = column.label(&looks.labels);
            check_length(label).map_err(|error| EncodeError::LabelTooLong {
                column: column.name.clone(),
                error,
            })?;
        }
        let own_formats = columns
            .iter()
            .filter_map(|it| looks.number_formats.get(&it.name));
        let own_formats: Vec<&str> = own_formats.map(String::as_str).collect();
        let core = workbook::core_properties(&properties, looks.time_zone.name());
        let pieces = vec![
            Piece::Part("_rels/.rels", workbook::root_relationships()),
            Piece::Part("docProps/core.xml", core),
            Piece::Part("xl/styles.xml", styles::styles(&own_formats)),
            Piece::Part("xl/theme/theme1.xml", styles::THEME.to_owned()),
        ];
        Ok(XlsxEncoder {
            properties,
            looks,
            limits: LIMITS,
            columns: columns.to_vec(),
            sheet: None,
            sheets: Vec::new(),
            rows: 0,
            pieces,
        })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// A text does not fit into a cell, or a row into a sheet.
    pub fn rows(&mut self, batch: &RowBatch) -> Result<(), EncodeError> {
        for row in batch.iter() {
            let full = self
                .sheet
                .as_ref()
                .is_some_and(|it| it.is_full(self.limits));
            if full {
                self.end_sheet();
            }
            let sheet = match &mut self.sheet {
                Some(sheet) => sheet,
                none => none.insert(open_sheet(
                    &self.columns,
                    &self.looks,
                    batch,
                    self.sheets.len(),
                    &mut self.pieces,
                )),
            };
            let number = self.rows + 1;
            sheet
                .row(row)
                .map_err(|(column, error)| EncodeError::TooLong {
                    row: number,
                    column: self.columns[column].name.clone(),
                    error,
                })?;
            if sheet.bytes() > self.limits.bytes_max {
                return Err(EncodeError::RowTooLong(number));
            }
            self.rows = number;
            if let Some(block) = sheet.take_block(BLOCK_BYTES) {
                self.pieces.push(Piece::Content(block));
            }
        }
        Ok(())
    }

    /// Sees to it that all rows so far can be read.
    pub fn flush(&mut self) {
        let Some(sheet) = &mut self.sheet else {
            return;
        };
        let block = sheet.take_block(1).map(Piece::Content);
        // Also without a new block: deflate may keep the end of the last.
        self.pieces.extend(block.into_iter().chain([Piece::Flush]));
    }

    /// Writes what follows the last row.
    pub fn end(&mut self) {
        if self.sheet.is_none() && self.sheets.is_empty() {
            let (columns, looks) = (&self.columns, &self.looks);
            let none = RowBatch::default();
            self.sheet = Some(open_sheet(columns, looks, &none, 0, &mut self.pieces));
        }
        self.end_sheet();
        let count = self.sheets.len();
        self.pieces.extend([
            Piece::Part("xl/workbook.xml", workbook::workbook(&self.sheets)),
            Piece::Part(
                "xl/_rels/workbook.xml.rels",
                workbook::workbook_relationships(count),
            ),
            Piece::Part("[Content_Types].xml", workbook::content_types(count)),
            Piece::Finish,
        ]);
    }

    /// How many rows were written.
    pub fn rows_written(&self) -> u64 {
        self.rows
    }

    /// The pieces since the last time.
    pub fn take_pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    fn end_sheet(&mut self) {
        let Some(sheet) = self.sheet.take() else {
            return;
        };
        let number = self.sheets.len() + 1;
        let (last, area) = sheet.end();
        self.pieces.extend([Piece::Content(last), Piece::End]);
        let name = workbook::sheet_name(&self.properties.title, number);
        self.sheets.push(Sheet { name, area });
    }
}

fn open_sheet(
    columns: &[Column],
    looks: &SheetStyle,
    batch: &RowBatch,
    sheets_before: usize,
    pieces: &mut Vec<Piece>,
) -> SheetWriter {
    let number = sheets_before + 1;
    pieces.push(Piece::Begin(format!("xl/worksheets/sheet{number}.xml")));
    SheetWriter::begin(columns, looks, batch, number == 1)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, Reader as _, Xlsx};
    use proptest::prelude::*;

    use super::*;
    use crate::row::{Cell, RowBuffer};

    fn encoder(names: &[&str], limits: SheetLimits, compact: bool) -> XlsxEncoder {
        let columns: Vec<Column> = names.iter().map(|name| Column::text(*name)).collect();
        let looks = SheetStyle {
            options: XlsxOptions { compact },
            labels: IndexMap::from([("total".into(), "Total, €".into())]),
            number_formats: IndexMap::from([("total".into(), "#,##0.00 \"€\"".into())]),
            time_zone: TimeZone::default(),
        };
        let properties = Properties {
            title: "Orders <&>".into(),
            identifier: "an id".into(),
            created: 1_767_225_600,
        };
        let mut encoder = XlsxEncoder::new(&columns, looks, properties).expect("columns that fit");
        encoder.limits = limits;
        encoder
    }

    fn batch(width: usize, rows: &[Vec<Cell<'_>>]) -> RowBatch {
        let mut buffer = RowBuffer::default();
        buffer.reset(width);
        rows.concat().iter().for_each(|cell| buffer.push(*cell));
        buffer.finish().expect("UTF-8")
    }

    fn archive(mut encoder: XlsxEncoder) -> Vec<u8> {
        encoder.end();
        let mut container = Container::default();
        encoder
            .take_pieces()
            .iter()
            .for_each(|piece| container.write_piece(piece));
        container.take()
    }

    /// The sheets as `calamine` reads them, with what is in their cells.
    fn sheets(archive: Vec<u8>) -> Vec<(String, Vec<Vec<Data>>)> {
        let mut workbook = Xlsx::new(Cursor::new(archive)).expect("a workbook");
        let sheets = workbook.worksheets().into_iter();
        sheets
            .map(|(name, range)| (name, range.rows().map(<[Data]>::to_vec).collect()))
            .collect()
    }

    fn text(text: &str) -> Data {
        Data::String(text.into())
    }

    #[test]
    fn rows_are_read_back_below_their_labels() {
        for compact in [false, true] {
            let mut encoder = encoder(&["id", "total", "note"], LIMITS, compact);
            let rows = [
                vec![
                    Cell::Integer(1),
                    Cell::Decimal("12.50"),
                    Cell::Text("a <b> & \"c\"\n"),
                ],
                vec![Cell::Integer(1 << 60), Cell::Float(0.1), Cell::Text("=1+1")],
                vec![Cell::Integer(2), Cell::Null, Cell::Text("after NULL")],
            ];
            encoder.rows(&batch(3, &rows)).expect("they fit");
            let found = sheets(archive(encoder));
            let expected = vec![
                vec![text("id"), text("Total, €"), text("note")],
                vec![Data::Float(1.0), Data::Float(12.5), text("a <b> & \"c\"\n")],
                vec![text("1152921504606846976"), Data::Float(0.1), text("=1+1")],
                vec![Data::Float(2.0), Data::Empty, text("after NULL")],
            ];
            assert_eq!(found, [("Orders <&>".to_owned(), expected)]);
        }
    }

    #[test]
    fn no_rows_are_a_sheet_with_its_header() {
        let found = sheets(archive(encoder(&["id"], LIMITS, false)));
        assert_eq!(found, [("Orders <&>".to_owned(), vec![vec![text("id")]])]);
    }

    #[test]
    fn a_sheet_that_is_full_is_followed_by_another_with_the_header_again() {
        let rows: Vec<Vec<Cell>> = (0..8).map(|n| vec![Cell::Integer(n)]).collect();
        for (limits, rows_each) in [
            (SheetLimits { rows: 4, ..LIMITS }, 3),
            (SheetLimits { bytes: 1, ..LIMITS }, 1),
        ] {
            let mut encoder = encoder(&["n"], limits, true);
            encoder.rows(&batch(1, &rows)).expect("they fit");
            let found = sheets(archive(encoder));
            let expected: Vec<(String, Vec<Vec<Data>>)> = rows
                .chunks(rows_each)
                .enumerate()
                .map(|(index, rows)| {
                    let first = index * rows_each;
                    let numbers = (first..first + rows.len()).map(|n| vec![Data::Float(n as f64)]);
                    let cells = [vec![text("n")]].into_iter().chain(numbers).collect();
                    (workbook::sheet_name("Orders <&>", index + 1), cells)
                })
                .collect();
            assert_eq!(found, expected, "{limits:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_never_cut() {
        let long = "x".repeat(32_768);
        let mut encoder = encoder(&["id", "note"], LIMITS, false);
        encoder
            .rows(&batch(2, &[vec![Cell::Integer(1), Cell::Null]]))
            .expect("it fits");
        let error = encoder.rows(&batch(2, &[vec![Cell::Integer(2), Cell::Text(&long)]]));
        assert_eq!(
            error.expect_err("too long").to_string(),
            "row 2, column `note`: a text has 32768 UTF-16 code units; a cell holds 32767"
        );
        let properties = Properties {
            title: "T".into(),
            identifier: "i".into(),
            created: 0,
        };
        let columns = vec![Column::text("c"); 16_385];
        let error = XlsxEncoder::new(&columns, SheetStyle::default(), properties.clone()).err();
        assert_eq!(error, Some(EncodeError::TooManyColumns(16_385)));
        let column = Column::text("x".repeat(32_768));
        let error = XlsxEncoder::new(&[column], SheetStyle::default(), properties).err();
        assert!(matches!(error, Some(EncodeError::LabelTooLong { .. })));
    }

    #[test]
    fn a_row_that_would_make_a_sheet_too_large_for_excel_is_refused() {
        let limits = SheetLimits {
            bytes_max: 10_000,
            ..LIMITS
        };
        let mut encoder = encoder(&["note"], limits, false);
        let (short, long) = ("x".repeat(1_000), "x".repeat(9_000));
        let rows = [vec![Cell::Text(&short)], vec![Cell::Text(&long)]];
        let error = encoder.rows(&batch(1, &rows));
        assert_eq!(error, Err(EncodeError::RowTooLong(2)));
    }

    #[derive(Debug, Clone)]
    enum Value {
        Null,
        Boolean(bool),
        Integer(i64),
        Float(f64),
        Text(String),
    }

    fn cell(value: &Value) -> Cell<'_> {
        match value {
            Value::Null => Cell::Null,
            Value::Boolean(value) => Cell::Boolean(*value),
            Value::Integer(value) => Cell::Integer(*value),
            Value::Float(value) => Cell::Float(*value),
            Value::Text(value) => Cell::Text(value),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            (-999_999_999_999_999..=999_999_999_999_999_i64).prop_map(Value::Integer),
            (-1e300..1e300_f64).prop_map(Value::Float),
            // No carriage return: calamine does not decode `_x000D_` everywhere alike.
            "[a-zA-Z0-9 <>&'\"äöü€𝄞\t\n.,;=+@-]{1,40}".prop_map(Value::Text),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_rows_are_a_reader_gets_the_same(
            rows in prop::collection::vec([any_value(), any_value()], 1..60),
            rows_max in 2..40_u32,
        ) {
            // The first column has a value in every row: a reader passes over rows without any.
            let cells: Vec<Vec<Cell>> = rows.iter().enumerate()
                .map(|(index, [b, c])| vec![Cell::Integer(index as i64), cell(b), cell(c)])
                .collect();
            let mut encoder = encoder(&["a", "b", "c"], SheetLimits { rows: rows_max, ..LIMITS }, false);
            encoder.rows(&batch(3, &cells)).expect("they fit");
            let found = sheets(archive(encoder));
            let found: Vec<&Vec<Data>> = found.iter().flat_map(|(_, rows)| rows.iter().skip(1)).collect();

            let data = |value: &Value| match value {
                Value::Null => Data::Empty,
                Value::Boolean(value) => Data::Bool(*value),
                Value::Integer(value) => Data::Float(*value as f64),
                Value::Float(value) => Data::Float(*value),
                Value::Text(value) => text(value),
            };
            let expected = |(index, [b, c]): (usize, &[Value; 2])| vec![Data::Float(index as f64), data(b), data(c)];
            let expected: Vec<Vec<Data>> = rows.iter().enumerate().map(expected).collect();
            prop_assert_eq!(found, expected.iter().collect::<Vec<_>>());
        }
    }
}
