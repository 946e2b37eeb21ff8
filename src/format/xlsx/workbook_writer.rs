//! The first stage: rows become the pieces of a workbook.

use indexmap::IndexSet;

use super::TOTAL_LABEL;
use super::columns::{SheetColumn, sheet_columns};
use super::sheet::{SHEET_LIMITS, SheetLayout, SheetLimits, SheetWriter};
use super::sheet_names::SheetNames;
use super::styles::{self, Variant};
use super::table::{self, Table, TableNames};
use super::text::check_length;
use super::title::created_text;
use super::totals::{TotalCell, TotalColumn, TotalRanges, Totals};
use super::workbook::{self, Sheet};
use crate::format::container::{Level, Piece};
use crate::format::encoder::{EncodeError, EncoderSettings};
use crate::row::{Column, RowBatch};

/// XML bytes per content piece.
const BLOCK_BYTES: usize = 256 * 1024;

/// The first part of every workbook.
pub(super) const FIRST_PART: &str = "_rels/.rels";

/// Turns rows into the pieces of a workbook.
pub(super) struct WorkbookWriter {
    settings: EncoderSettings,
    limits: SheetLimits,
    /// The number formats of all statements, each once.
    number_formats: IndexSet<String>,
    layout: SheetLayout,
    /// The word in the totals row.
    total_label: String,
    names: SheetNames,
    table_names: TableNames,
    /// The index of the statement whose rows are written.
    statement: usize,
    columns: Vec<SheetColumn>,
    /// Title and time above the header of its sheets.
    title_block: Option<[String; 2]>,
    /// The totals of its rows.
    totals: Totals,
    /// The name of each of its earlier sheets, and the first and last row.
    earlier: Vec<(String, (u32, u32))>,
    /// The open sheet, if any.
    sheet: Option<SheetWriter>,
    sheets: Vec<Sheet>,
    /// The sheets of this statement that were opened.
    sheets_of_statement: usize,
    /// The rows of this statement.
    rows: u64,
    pieces: Vec<Piece>,
}

impl WorkbookWriter {
    /// Starts a workbook, whose first statement has these columns.
    ///
    /// # Errors
    /// Returns [`EncodeError::Columns`] if a sheet cannot hold the columns, or [`EncodeError::Label`] if a
    /// label does not fit into a cell.
    pub(super) fn new(
        columns: &[Column],
        settings: EncoderSettings,
    ) -> Result<WorkbookWriter, EncodeError> {
        let sheets = settings.sheets.iter();
        let number_formats: IndexSet<String> = sheets
            .flat_map(|sheet| sheet.number_formats.values().cloned())
            .collect();
        let displays = settings.sheets.iter().flat_map(|it| it.displays.values());
        let has_variants = displays
            .clone()
            .any(|it| it.link.is_some() || it.total.is_some());
        let has_table = settings.options.get_bool("table", false);
        let layout = SheetLayout {
            is_compact: settings.options.get_bool("compact", false),
            has_table,
            time_zone: settings.time_zone,
            link_styles: Variant::link(number_formats.len()),
            total_styles: match has_table {
                // The style of a table has a font for its totals.
                true => Variant::PLAIN,
                false => Variant::total(number_formats.len()),
            },
        };
        let total_label = settings.options.get("total_label").unwrap_or(TOTAL_LABEL);
        let custom_formats: Vec<&str> = number_formats.iter().map(String::as_str).collect();
        let core = workbook::core_properties(&settings.properties, settings.time_zone.name());
        let relationships = workbook::root_relationships();
        let mut pieces = match settings.heartbeats {
            None => vec![Piece::Part(FIRST_PART.into(), relationships)],
            Some(heartbeats) => vec![
                Piece::Resume {
                    name: FIRST_PART.into(),
                    level: Level::Fastest,
                    heartbeats,
                },
                Piece::Content(relationships.into_bytes().into()),
                Piece::End,
            ],
        };
        pieces.extend([
            Piece::Part("docProps/core.xml".into(), core),
            Piece::Part(
                "xl/styles.xml".into(),
                styles::styles(&custom_formats, has_variants),
            ),
            Piece::Part("xl/theme/theme1.xml".into(), styles::THEME.to_owned()),
        ]);
        let titles = settings.sheets.iter().map(|sheet| sheet.title.as_str());
        let title = settings.sheets.is_empty();
        let title = title.then_some(settings.properties.title.as_str());
        let mut writer = WorkbookWriter {
            names: SheetNames::of(titles.chain(title)),
            table_names: TableNames::default(),
            layout,
            total_label: total_label.to_owned(),
            settings,
            limits: SHEET_LIMITS,
            number_formats,
            statement: 0,
            columns: Vec::new(),
            title_block: None,
            totals: Totals::default(),
            earlier: Vec::new(),
            sheet: None,
            sheets: Vec::new(),
            sheets_of_statement: 0,
            rows: 0,
            pieces,
        };
        writer.begin_statement(columns)?;
        Ok(writer)
    }

    /// Starts the sheets of the next statement, which has these columns.
    ///
    /// # Errors
    /// Returns the errors of [`new`](WorkbookWriter::new).
    pub(super) fn next_statement(&mut self, columns: &[Column]) -> Result<(), EncodeError> {
        self.end_statement();
        self.statement += 1;
        self.begin_statement(columns)
    }

    fn begin_statement(&mut self, columns: &[Column]) -> Result<(), EncodeError> {
        let sheet = self.settings.sheets.get(self.statement);
        let has_table = self.layout.has_table;
        self.columns = sheet_columns(columns, sheet, &self.number_formats, has_table)?;
        if self.settings.options.get_bool("title_block", false) {
            let properties = &self.settings.properties;
            let title = sheet.map_or(&properties.title, |sheet| &sheet.title);
            check_length(title).map_err(|error| EncodeError::Columns(format!("title: {error}")))?;
            let created = created_text(properties.created, self.settings.time_zone);
            self.title_block = Some([title.clone(), created]);
        }
        let functions = self.columns.iter().map(|column| column.total);
        self.totals = Totals::of(functions, self.settings.time_zone);
        self.earlier.clear();
        self.sheets_of_statement = 0;
        self.rows = 0;
        Ok(())
    }

    /// Writes rows.
    ///
    /// # Errors
    /// Returns [`EncodeError::Value`] if a text does not fit into a cell, or [`EncodeError::Row`] if a row
    /// does not fit into a sheet.
    pub(super) fn rows(&mut self, batch: &RowBatch) -> Result<(), EncodeError> {
        let mut limits = self.limits;
        let has_totals = !self.totals.is_empty();
        if has_totals {
            limits.rows -= 1;
            let bytes = self.totals.bytes_max();
            limits.bytes = limits.bytes.saturating_sub(bytes);
            limits.bytes_max = limits.bytes_max.saturating_sub(bytes);
        }
        for row in batch.iter() {
            let full = self.sheet.as_ref().is_some_and(|it| it.is_full(limits));
            if full {
                self.end_sheet(false);
            }
            if self.sheet.is_none() {
                self.open_sheet();
            }
            let Some(sheet) = &mut self.sheet else {
                continue;
            };
            let number = self.rows + 1;
            if has_totals {
                self.totals.add(row.clone());
            }
            sheet
                .write_row(row)
                .map_err(|(column, error)| EncodeError::Value {
                    row: number,
                    column: self.columns[column].name.clone(),
                    reason: error.to_string(),
                })?;
            if sheet.bytes() > limits.bytes_max {
                return Err(EncodeError::Row {
                    row: number,
                    reason: "the row has more bytes than a sheet holds",
                });
            }
            self.rows = number;
            if let Some(block) = sheet.take_block(BLOCK_BYTES) {
                self.pieces.push(Piece::Content(block));
            }
        }
        Ok(())
    }

    /// Makes all rows so far readable for the client.
    pub(super) fn flush(&mut self) {
        let Some(sheet) = &mut self.sheet else {
            return;
        };
        let block = sheet.take_block(1).map(Piece::Content);
        self.pieces.extend(block);
    }

    /// Appends a heartbeat, if a sheet is open or was before.
    pub(super) fn heartbeat(&mut self) {
        if self.sheet.is_none() && !self.sheets.is_empty() {
            self.open_sheet();
        }
        if self.sheet.is_some() {
            self.pieces.push(Piece::Heartbeat);
        }
    }

    /// Writes the rest of the file after the last row.
    pub(super) fn end(&mut self) {
        self.end_statement();
        let count = self.sheets.len();
        let tables = if self.layout.has_table { count } else { 0 };
        self.pieces.extend([
            Piece::Part("xl/workbook.xml".into(), workbook::workbook(&self.sheets)),
            Piece::Part(
                "xl/_rels/workbook.xml.rels".into(),
                workbook::workbook_relationships(count),
            ),
            Piece::Part(
                "[Content_Types].xml".into(),
                workbook::content_types(count, tables),
            ),
            Piece::Finish,
        ]);
    }

    /// Returns the pieces since the last call.
    pub(super) fn take_pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    fn open_sheet(&mut self) {
        let number = self.sheets.len() + 1;
        let part = format!("xl/worksheets/sheet{number}.xml");
        self.pieces.push(Piece::Begin(part, Level::Fastest));
        self.sheets_of_statement += 1;
        self.sheet = Some(SheetWriter::begin(
            &self.columns,
            &self.layout,
            self.title_block.as_ref(),
            number == 1,
        ));
    }

    /// Ends the open sheet; the last one of a statement has the totals.
    fn end_sheet(&mut self, is_last: bool) {
        let Some(mut sheet) = self.sheet.take() else {
            return;
        };
        let number = self.sheets_of_statement;
        let name = self.names.take(self.statement, number);
        let table_name = self.layout.has_table.then(|| {
            let sheet = self.settings.sheets.get(self.statement);
            let statement = sheet.map_or("", |sheet| sheet.name.as_str());
            self.table_names.take(statement, number)
        });
        let has_totals = is_last && !self.totals.is_empty();
        let rows = sheet.end_rows(self.layout.has_table || has_totals);
        let totals = has_totals.then(|| self.total_cells(rows, table_name.as_deref()));
        if let Some(totals) = &totals {
            sheet.write_totals(totals, self.layout.total_styles);
        }
        let (header, last_row) = (sheet.header(), rows.1);
        let last_column = self.columns.last();
        let last_column = last_column.map_or("A", |column| column.letters.as_str());
        let filter = format!("$A${header}:${last_column}${last_row}");
        let range = format!("A{header}:{last_column}{last_row}");
        let with_totals = format!("A{header}:{last_column}{}", last_row + 1);
        let last = Piece::Content(sheet.end(&range).into());
        self.pieces.extend([last, Piece::End]);
        if let Some(table) = &table_name {
            let table_range = if has_totals { &with_totals } else { &range };
            self.push_table(table, &range, table_range, totals);
        }
        self.earlier.push((name.clone(), rows));
        self.sheets.push(Sheet {
            name,
            filter: table_name.is_none().then_some(filter),
        });
    }

    /// Returns the cells of the totals row below these rows of the last sheet.
    fn total_cells(&self, rows: (u32, u32), table: Option<&str>) -> Vec<TotalCell> {
        let columns: Vec<TotalColumn<'_>> = self.columns.iter().map(TotalColumn::of).collect();
        let ranges = TotalRanges {
            table: table.filter(|_| self.earlier.is_empty()),
            earlier: &self.earlier,
            rows,
        };
        self.totals.cells(&self.total_label, &columns, &ranges)
    }

    /// Appends the parts of the table of the sheet that has just ended.
    fn push_table(
        &mut self,
        name: &str,
        filter: &str,
        range: &str,
        totals: Option<Vec<TotalCell>>,
    ) {
        // Each sheet has one table, and the number of the sheet is free among the tables too.
        let number = self.sheets.len() + 1;
        let labels: Vec<&str> = self.columns.iter().map(|it| it.label.as_str()).collect();
        let functions = self.columns.iter().map(|column| column.total);
        let totals: Option<Vec<_>> = totals.map(|cells| cells.into_iter().zip(functions).collect());
        let table = Table {
            number,
            name,
            filter,
            range,
            labels: &labels,
            totals: totals.as_deref(),
            is_only: self.earlier.is_empty(),
        };
        let (relationships, content) = table::relationships(number, number);
        self.pieces.extend([
            Piece::Part(relationships.into(), content),
            Piece::Part(table::part_name(number).into(), table.part()),
        ]);
    }

    /// Ends the last sheet of a statement, which has one even without rows.
    fn end_statement(&mut self) {
        if self.sheets_of_statement == 0 {
            self.open_sheet();
        }
        self.end_sheet(true);
    }
}

#[cfg(test)]
mod details_tests;

#[cfg(test)]
mod tests;
