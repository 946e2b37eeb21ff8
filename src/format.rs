//! The file formats an export can be downloaded in, and the options of each.

use std::fmt;
use std::str::FromStr;

/// A file format: the extension in the path and the media type in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// Excel's workbook, ECMA-376.
    Xlsx,
    /// One JSON object a line.
    Ndjson,
    /// Typed columns, compressed: <https://parquet.apache.org>.
    Parquet,
}

impl Format {
    /// Every format, in the order in which they are listed to callers.
    pub const ALL: [Format; 4] = [Format::Csv, Format::Xlsx, Format::Ndjson, Format::Parquet];
    /// Those of an export that lists none: they hold whatever a query gives.
    pub const DEFAULT: [Format; 3] = [Format::Csv, Format::Xlsx, Format::Ndjson];

    /// The extension, without a dot: `csv`.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Xlsx => "xlsx",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
        }
    }

    /// Whether its files are lines of text. They can end with a line that proves them whole, and be compressed on
    /// their way.
    pub fn is_text(self) -> bool {
        matches!(self, Format::Csv | Format::Ndjson)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

/// Formats as a reader sees them listed: `csv, xlsx`.
pub fn names(formats: &[Format]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.extension()).collect();
    names.join(", ")
}

/// The extension names no format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown format")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(extension: &str) -> Result<Self, UnknownFormat> {
        Format::ALL
            .into_iter()
            .find(|format| format.extension() == extension)
            .ok_or(UnknownFormat)
    }
}

/// How a CSV file is written. An export sets them under `[csv]`, a link overrides them by `rl_csv.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between fields: `,` `;` `|` or TAB.
    pub delimiter: u8,
    /// Start the file with a UTF-8 byte order mark, which Excel needs to recognise UTF-8.
    pub bom: bool,
    /// Start with a row of column labels.
    pub header: bool,
    /// What stands for NULL. A value that reads like it is quoted, so that the two stay apart.
    pub null: String,
    /// Write `1,5` for 1.5.
    pub decimal_comma: bool,
    /// Put `'` before a text that a spreadsheet would run as a formula.
    pub formula_guard: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            delimiter: b',',
            bom: false,
            header: true,
            null: String::new(),
            decimal_comma: false,
            formula_guard: true,
        }
    }
}

/// How an XLSX file is written. An export sets them under `[xlsx]`, a link overrides them by
/// `rl_xlsx.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XlsxOptions {
    /// Leave out the references of cells: a smaller file, which some readers do not understand.
    pub compact: bool,
}

impl XlsxOptions {
    /// The names of the options.
    pub const NAMES: [&'static str; 1] = ["compact"];

    /// Sets one option from its text, the one form it has in a catalog, a request and a link.
    ///
    /// # Errors
    /// The name is unknown, or the value does not fit it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match name {
            "compact" => self.compact = parse_bool(value)?,
            _ => return Err(OptionError::Unknown(&Self::NAMES)),
        }
        Ok(())
    }
}

/// How NDJSON is written. An export sets them under `[ndjson]`, a link overrides them by `rl_ndjson.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NdjsonOptions {
    /// What becomes of numbers that a reader with 64-bit floats would round.
    pub large_numbers: LargeNumbers,
}

/// How NDJSON writes integers beyond 2⁵³ and decimals with more than 15 significant digits. RFC 8259, section 6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LargeNumbers {
    /// As numbers, with every digit.
    #[default]
    Number,
    /// As strings, for readers that know no other numbers than floats.
    String,
}

impl NdjsonOptions {
    /// The names of the options.
    pub const NAMES: [&'static str; 1] = ["large_numbers"];

    /// Sets one option from its text, the one form it has in a catalog, a request and a link.
    ///
    /// # Errors
    /// The name is unknown, or the value does not fit it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match (name, value) {
            ("large_numbers", "number") => self.large_numbers = LargeNumbers::Number,
            ("large_numbers", "string") => self.large_numbers = LargeNumbers::String,
            ("large_numbers", _) => return Err(OptionError::Expected("`number` or `string`")),
            _ => return Err(OptionError::Unknown(&Self::NAMES)),
        }
        Ok(())
    }
}

/// Why an option was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no option of that name, but these.
    #[error("unknown option; the options are {}", .0.join(", "))]
    Unknown(&'static [&'static str]),
    /// The value does not fit; what would.
    #[error("expected {0}")]
    Expected(&'static str),
}

impl CsvOptions {
    /// The names of the options.
    pub const NAMES: [&'static str; 6] = [
        "delimiter",
        "bom",
        "header",
        "null",
        "decimal_comma",
        "formula_guard",
    ];

    /// Sets one option from its text, the one form it has in a catalog, a request and a link.
    ///
    /// # Errors
    /// The name is unknown, or the value does not fit it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match name {
            "delimiter" => self.delimiter = parse_delimiter(value)?,
            "bom" => self.bom = parse_bool(value)?,
            "header" => self.header = parse_bool(value)?,
            "null" => self.null = parse_null(value)?,
            "decimal_comma" => self.decimal_comma = parse_bool(value)?,
            "formula_guard" => self.formula_guard = parse_bool(value)?,
            _ => return Err(OptionError::Unknown(&Self::NAMES)),
        }
        Ok(())
    }

    /// `text/csv` with the parameters of RFC 7111 and RFC 4180.
    pub fn media_type(&self) -> &'static str {
        if self.header {
            "text/csv; charset=utf-8; header=present"
        } else {
            "text/csv; charset=utf-8; header=absent"
        }
    }
}

/// `true` or `false`.
///
/// # Errors
/// It is neither.
pub fn parse_bool(value: &str) -> Result<bool, OptionError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(OptionError::Expected("true or false")),
    }
}

fn parse_delimiter(value: &str) -> Result<u8, OptionError> {
    match value.as_bytes() {
        [delimiter @ (b',' | b';' | b'|' | b'\t')] => Ok(*delimiter),
        _ => Err(OptionError::Expected("one of \",\", \";\", \"|\" or a tab")),
    }
}

/// The marker is written bare, so it must never need quotes, whatever the delimiter.
fn parse_null(value: &str) -> Result<String, OptionError> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b",;|\"'=+@".contains(&byte);
    if value.len() <= 16 && value.bytes().all(plain) {
        Ok(value.to_owned())
    } else {
        Err(OptionError::Expected(
            "at most 16 visible ASCII characters, none of , ; | \" ' = + @",
        ))
    }
}
