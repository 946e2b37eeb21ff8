//! File formats. Each is a file or folder here and one line of [`Format::ALL`]; no other code names
//! one. Formats know neither SQL nor HTTP.

mod archive;
mod column_display;
mod container;
mod csv;
mod csv_preset;
mod deflate_block;
pub(crate) mod deflate_pool;
mod deflater;
mod encoder;
mod formula;
mod heartbeat;
mod integrity_line;
mod json;
mod json_object;
mod line_matcher;
mod ndjson;
mod options;
mod parquet;
mod row_matcher;
mod sheet_errors;
mod tsv;
mod xlsx;

use std::fmt;
use std::str::FromStr;

use self::sheet_errors::SheetErrors;

pub use column_display::{
    ColumnDisplay, LINK_SCHEMES, LINK_UNITS_MAX, LinkPart, LinkTemplate, TotalFunction,
};
pub use encoder::{EncodeError, Encoder, EncoderSettings, Properties, SheetSettings};
pub use heartbeat::{EMPTY_DEFLATE_BLOCK, Heartbeats};
pub use integrity_line::{IntegrityError, IntegrityLine, check, sha256};
pub use options::{FormatOptions, OptionDefinition, OptionError, parse_bool};
pub use xlsx::{NAMED_FORMATS, is_number_format, named_format};

use rowlink_link::is_option_name;

use crate::row::Column;
use integrity_line::LineSyntax;

/// What the rest of the program knows of a format.
pub struct Definition {
    /// The extension in a path, without a dot, and the prefix of its options: `csv`.
    pub extension: &'static str,
    /// Whether exports that list no formats offer it. Only formats that can hold any query are.
    pub is_default: bool,
    /// The rows of how many statements a file holds.
    pub capacity: Capacity,
    /// Whether its files are text. Text is compressed while it is sent, and its length can be measured
    /// or estimated beforehand.
    pub is_text: bool,
    /// Whether its rows are JSON objects: each repeats the names of the columns, and a value can be an array.
    pub is_json: bool,
    /// The syntax of its last line with `end_line`; `None` if readers detect a truncated file anyway.
    pub integrity_line: Option<&'static LineSyntax>,
    /// Returns how a file with these settings begins before the first row is known. `None` if none can.
    pub heartbeats: Option<fn(&EncoderSettings) -> Heartbeats>,
    /// Its options.
    pub options: &'static [OptionDefinition],
    /// Returns the media type of a file with these options.
    pub media_type: fn(&FormatOptions) -> &'static str,
    /// Creates the encoder of a file with these columns.
    pub encoder: NewEncoder,
}

/// The rows of how many statements a file of a format holds.
#[derive(Clone, Copy)]
pub enum Capacity {
    /// Of one.
    One,
    /// Of one or more.
    Any,
    /// Of those of a book, each as a file of its own, whose format depends on the options.
    Book(fn(&FormatOptions) -> Format),
}

impl Capacity {
    /// Tells whether a file holds the rows of a book, or of an export that is none.
    #[must_use]
    pub fn fits(self, is_book: bool) -> bool {
        match self {
            Capacity::One => !is_book,
            Capacity::Any => true,
            Capacity::Book(_) => is_book,
        }
    }
}

/// Creates an encoder, or returns the error if the format cannot hold the columns.
pub type NewEncoder = fn(&[Column], EncoderSettings) -> Result<Box<dyn Encoder>, EncodeError>;

/// A file format of the registry.
#[derive(Clone, Copy)]
pub struct Format(&'static Definition);

impl Format {
    /// Every format, in the order in which they are listed to callers.
    pub const ALL: [Format; 7] = [
        Format(&csv::FORMAT),
        Format(&xlsx::FORMAT),
        Format(&ndjson::FORMAT),
        Format(&json::FORMAT),
        Format(&tsv::FORMAT),
        Format(&parquet::FORMAT),
        Format(&archive::FORMAT),
    ];

    /// Returns the formats that hold the rows of a book, or of an export that is none.
    pub fn all_for(is_book: bool) -> impl Iterator<Item = Format> {
        let formats = Format::ALL.into_iter();
        formats.filter(move |format| format.0.capacity.fits(is_book))
    }

    /// Returns the formats of a book that lists none, or of an export that is none.
    pub fn defaults(is_book: bool) -> Vec<Format> {
        let formats = Format::all_for(is_book);
        formats.filter(|format| format.0.is_default).collect()
    }

    /// Returns the formats that have options, whose names are those of tables and fields.
    pub fn with_options() -> impl Iterator<Item = Format> {
        let formats = Format::ALL.into_iter();
        formats.filter(|format| !format.definition().options.is_empty())
    }

    /// Returns what the registry says about the format.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        self.0
    }

    /// Returns the extension, without a dot: `csv`.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.0.extension
    }

    /// Returns the format in which rows are written with these options: another one for the files in an archive.
    #[must_use]
    pub fn row_format(self, options: &FormatOptions) -> Format {
        match self.0.capacity {
            Capacity::Book(entry_format) => entry_format(options),
            Capacity::One | Capacity::Any => self,
        }
    }

    /// Tells whether rows may be JSON objects.
    #[must_use]
    pub fn may_be_json(self) -> bool {
        self.0.is_json || matches!(self.0.capacity, Capacity::Book(_))
    }

    /// Tells whether its files are text.
    #[must_use]
    pub fn is_text(self) -> bool {
        self.0.is_text
    }

    /// Creates the encoder of a file with these columns.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if the format cannot hold the columns.
    pub fn encoder(
        self,
        columns: &[Column],
        settings: EncoderSettings,
    ) -> Result<Box<dyn Encoder>, EncodeError> {
        match settings.sheets.len() {
            0 | 1 => (self.0.encoder)(columns, settings),
            _ => SheetErrors::of(columns, settings, self.0.encoder),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Extensions are unique.
impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.extension() == other.extension()
    }
}

impl Eq for Format {}

/// Tells whether an option of a link exists: `csv.delimiter`, or one for every format.
pub fn is_option(name: &str) -> bool {
    let Some((format, option)) = name.split_once('.') else {
        return is_option_name(name);
    };
    let format = format.parse::<Format>();
    let options = format.map_or(&[][..], |format| format.definition().options);
    options.iter().any(|declared| declared.name == option)
}

/// Returns formats as a list for people: `csv, xlsx`.
pub fn names(formats: &[Format]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.extension()).collect();
    names.join(", ")
}

/// No format has the extension.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown format; expected one of {}", names(&Format::ALL))]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(extension: &str) -> Result<Self, UnknownFormat> {
        let mut formats = Format::ALL.into_iter();
        formats
            .find(|format| format.extension() == extension)
            .ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowlink_link::is_format_name;

    #[test]
    fn each_extension_is_unique_and_valid_in_a_path() {
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert!(is_format_name(format.extension()));
            assert_eq!(format.extension().parse(), Ok(format));
            assert!(!Format::ALL[..index].contains(&format));
        }
        assert_eq!("doc".parse::<Format>(), Err(UnknownFormat));
    }

    #[test]
    fn each_declared_option_exists_and_no_other() {
        for format in Format::with_options() {
            for option in format.definition().options {
                assert!(is_option(&format!("{format}.{}", option.name)));
            }
        }
        assert!(is_option("timezone") && is_option("end_line"));
        for unknown in [
            "",
            "csv",
            "csv.",
            "csv.delimter",
            "doc.bom",
            "parquet.bom",
            "bom",
        ] {
            assert!(!is_option(unknown), "{unknown}");
        }
    }
}
