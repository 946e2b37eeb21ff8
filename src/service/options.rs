//! Output options as they stand in a link: which columns, and how they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Export, FieldError};
use crate::format::{CsvOptions, Format, NdjsonOptions, XlsxOptions, parse_bool};
use crate::row::{Column, TimeZone, UnknownTimeZone};

/// The output options of one link, checked.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// The columns to read, in that order; all of them without.
    pub columns: Option<Vec<String>>,
    /// In which instants are shown.
    pub time_zone: TimeZone,
    /// Whether the last line proves that the file is whole.
    pub end_line: bool,
    /// Whether the file's length shall be known before its first byte, at the price of a second
    /// reading.
    pub exact_length: bool,
    /// How CSV is written.
    pub csv: CsvOptions,
    /// How XLSX is written.
    pub xlsx: XlsxOptions,
    /// How NDJSON is written.
    pub ndjson: NdjsonOptions,
    /// What says how columns are called, and how their numbers look.
    pub export: Arc<Export>,
}

impl Output {
    /// What the export says, overridden by the `options` of a link. `columns` are the export's, where they are known.
    pub fn parse(
        export: &Arc<Export>,
        format: Format,
        columns: Option<&[Column]>,
        options: &BTreeMap<String, String>,
    ) -> Result<Output, Vec<FieldError>> {
        let mut output = Output {
            columns: None,
            time_zone: export.time_zone,
            end_line: false,
            exact_length: false,
            csv: export.csv.clone(),
            xlsx: export.xlsx.clone(),
            ndjson: export.ndjson.clone(),
            export: export.clone(),
        };
        let mut errors = Vec::new();
        for (option, value) in options {
            if let Err(found) = output.set(option, value, columns) {
                errors.extend(found);
            }
        }
        if output.end_line && !format.is_text() {
            let message = "this format proves itself: it cannot be opened when its end is missing";
            errors.push(FieldError::new("end_line", message));
        }
        if output.exact_length && !format.is_text() {
            let message = "expected a CSV or NDJSON: this format is compressed on its way";
            errors.push(FieldError::new("length", message));
        }
        if errors.is_empty() {
            Ok(output)
        } else {
            Err(errors)
        }
    }

    /// The media type of the file.
    pub fn media_type(&self, format: Format) -> &'static str {
        match format {
            Format::Csv => self.csv.media_type(),
            Format::Xlsx => XLSX_MEDIA_TYPE,
            Format::Ndjson => NDJSON_MEDIA_TYPE,
            Format::Parquet => PARQUET_MEDIA_TYPE,
        }
    }

    fn set(
        &mut self,
        option: &str,
        value: &str,
        columns: Option<&[Column]>,
    ) -> Result<(), Vec<FieldError>> {
        let error = |message: String| vec![FieldError::new(option, message)];
        match option.split_once('.') {
            Some(("csv", name)) => {
                let set = self.csv.set(name, value);
                set.map_err(|it| error(it.to_string()))
            }
            Some(("ndjson", name)) => {
                let set = self.ndjson.set(name, value);
                set.map_err(|it| error(it.to_string()))
            }
            Some((_, name)) => {
                let set = self.xlsx.set(name, value);
                set.map_err(|it| error(it.to_string()))
            }
            None if option == "timezone" => {
                self.time_zone = value
                    .parse()
                    .map_err(|it: UnknownTimeZone| error(it.to_string()))?;
                Ok(())
            }
            None if option == "end_line" => {
                self.end_line = parse_bool(value).map_err(|it| error(it.to_string()))?;
                Ok(())
            }
            None if option == "length" => {
                self.exact_length = value == "exact";
                if self.exact_length {
                    Ok(())
                } else {
                    Err(error("expected `exact`, or nothing".to_owned()))
                }
            }
            None => {
                self.columns = Some(choose_columns(columns, value)?);
                Ok(())
            }
        }
    }
}

/// ECMA-376 part 1, 12.3.23, as IANA has it registered.
const XLSX_MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Not registered, and what everybody sends. JSON is UTF-8, and its type has no parameter (RFC 8259, section 11).
const NDJSON_MEDIA_TYPE: &str = "application/x-ndjson";

/// As IANA has it registered.
const PARQUET_MEDIA_TYPE: &str = "application/vnd.apache.parquet";

fn choose_columns(columns: Option<&[Column]>, list: &str) -> Result<Vec<String>, Vec<FieldError>> {
    let name = |column: &'_ Column| column.name.clone();
    let known: Option<Vec<String>> = columns.map(|columns| columns.iter().map(name).collect());
    let mut chosen: Vec<String> = Vec::new();
    let mut errors = Vec::new();
    for name in list.split(',') {
        let others = known
            .as_ref()
            .filter(|known| !known.iter().any(|it| it == name));
        if let Some(known) = others {
            let message = format!("no column `{name}`; the columns are {}", known.join(", "));
            errors.push(FieldError::new("columns", message));
        } else if chosen.iter().any(|other| other == name) {
            errors.push(FieldError::new("columns", format!("`{name}` stands twice")));
        } else {
            chosen.push(name.to_owned());
        }
    }
    if errors.is_empty() {
        Ok(chosen)
    } else {
        Err(errors)
    }
}
