//! The output options of a link: which columns, and how they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::Columns;
use crate::catalog::{Export, FieldError, Language, NotALanguage, Sheet, StoreMode, Text};
use crate::format::{
    self, EncoderSettings, Format, FormatOptions, Heartbeats, IntegrityLine, OptionError,
    Properties, SheetSettings, parse_bool,
};
use crate::row::{Column, TimeZone, UnknownTimeZone};

/// The option of a link that chooses the language of titles and labels.
pub const LANGUAGE: &str = "language";

/// Whether a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storing {
    Never,
    /// If it has more than this number of bytes.
    Above(u64),
    Always,
}

impl Storing {
    fn by_export(export: &Export) -> Storing {
        match export.store.mode {
            StoreMode::Never => Storing::Never,
            StoreMode::Auto => Storing::Above(export.store.above.as_u64()),
            StoreMode::Always => Storing::Always,
        }
    }

    /// Applies the option `delivery` of a link.
    fn with_delivery(self, delivery: &str) -> Result<Storing, String> {
        match (delivery, self) {
            ("auto", storing) => Ok(storing),
            ("stream", _) => Ok(Storing::Never),
            ("stored", Storing::Never) => {
                Err("unsupported: the files of this export are not stored".to_owned())
            }
            ("stored", _) => Ok(Storing::Always),
            _ => Err("expected `auto`, `stream` or `stored`".to_owned()),
        }
    }
}

/// The checked output options of one link.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// The columns of each sheet to read, in this order; `None` means all.
    pub columns: Vec<Option<Vec<String>>>,
    /// The time zone in which instants are shown.
    pub time_zone: TimeZone,
    /// The language of titles and labels; `None` for that of the export.
    pub language: Option<Language>,
    /// Whether the file ends with an integrity line.
    end_line: bool,
    /// Whether the length of the file is measured beforehand, by a second pass over the rows.
    pub exact_length: bool,
    /// Whether the file is stored.
    pub storing: Storing,
    /// The options of formats that the link has, by extension.
    format_options: BTreeMap<&'static str, FormatOptions>,
    format: Format,
    export: Arc<Export>,
}

impl Output {
    /// Parses the `options` of a link, which override those of the export. `columns` are those of its sheets, if they are
    /// known. Columns with a scope that the link does not `reveal` are left out.
    ///
    /// # Errors
    /// Returns every option that is unknown or does not fit, and an error if no column is left.
    pub fn parse(
        export: &Arc<Export>,
        format: Format,
        columns: Option<&[Vec<Column>]>,
        options: &BTreeMap<String, String>,
        reveal: &[String],
    ) -> Result<Output, Vec<FieldError>> {
        let mut errors = Vec::new();
        let named = options.get("columns").map(String::as_str);
        let columns = Columns::of(export, columns, reveal).choose(named);
        let columns = columns.unwrap_or_else(|found| {
            errors.extend(found);
            Vec::new()
        });
        let mut output = Output {
            columns,
            time_zone: export.time_zone,
            language: None,
            end_line: false,
            exact_length: false,
            storing: Storing::by_export(export),
            format_options: BTreeMap::new(),
            format,
            export: export.clone(),
        };
        for (option, value) in options.iter().filter(|(option, _)| *option != "columns") {
            if let Err(error) = output.set(option, value) {
                errors.push(error);
            }
        }
        if output.end_line && format.definition().integrity_line.is_none() {
            let message = "unsupported for this format, in which readers already detect truncation";
            errors.push(FieldError::new("end_line", message));
        }
        if errors.is_empty() {
            Ok(output)
        } else {
            Err(errors)
        }
    }

    /// Returns the media type of the file.
    pub fn media_type(&self) -> &'static str {
        (self.format.definition().media_type)(&self.options_of(self.format))
    }

    /// Returns the format in which the rows are written.
    pub fn row_format(&self) -> Format {
        self.format.row_format(&self.options_of(self.format))
    }

    /// Returns the heartbeats of the format.
    pub fn heartbeats(&self) -> Option<Heartbeats> {
        let heartbeats = self.format.definition().heartbeats?;
        Some(heartbeats(&self.settings(Properties::default())))
    }

    fn options_of(&self, format: Format) -> FormatOptions {
        let options = |of: &BTreeMap<&'static str, FormatOptions>| {
            let options = of.get(format.extension());
            options.cloned().unwrap_or_default()
        };
        let of_link = options(&self.format_options);
        options(&self.export.format_options).overridden_by(of_link, format.definition().options)
    }

    /// Returns the integrity line with which the file ends, if it was requested.
    pub fn integrity_line(&self) -> Option<IntegrityLine> {
        IntegrityLine::new(self.format).filter(|_| self.end_line)
    }

    /// Returns the settings of the file's encoder.
    pub fn settings(&self, properties: Properties) -> EncoderSettings {
        let sheets = self.export.sheets.iter();
        EncoderSettings {
            options: self.options_of(self.format),
            entry_options: self.options_of(self.row_format()),
            time_zone: self.time_zone,
            sheets: sheets.map(|sheet| self.sheet_settings(sheet)).collect(),
            properties,
            heartbeats: None,
        }
    }

    fn sheet_settings(&self, sheet: &Sheet) -> SheetSettings {
        let text = |text: &Text| self.export.text(text, self.language.as_ref()).clone();
        let labels = sheet.labels.iter();
        SheetSettings {
            name: sheet.name.clone(),
            title: text(&sheet.title),
            labels: labels
                .map(|(name, label)| (name.clone(), text(label)))
                .collect(),
            number_formats: sheet.number_formats.clone(),
            displays: sheet.displays.clone(),
        }
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), FieldError> {
        let field_error = |message: String| FieldError::new(option, message);
        let option_error = |error: OptionError| field_error(error.to_string());
        match option {
            "timezone" => {
                let parsed = value.parse();
                self.time_zone =
                    parsed.map_err(|error: UnknownTimeZone| field_error(error.to_string()))?;
            }
            LANGUAGE => self.language = Some(parse_language(value, Some(&self.export))?),
            "end_line" => self.end_line = parse_bool(value).map_err(option_error)?,
            "length" if value == "exact" => self.exact_length = true,
            "length" => return Err(field_error("expected `exact`, or nothing".to_owned())),
            "delivery" => self.storing = self.storing.with_delivery(value).map_err(field_error)?,
            other => self.set_format_option(other, value).map_err(option_error)?,
        }
        Ok(())
    }

    /// Sets `{format}.{name}`. Options of other formats are checked, but have an effect only on the files in an archive.
    fn set_format_option(&mut self, option: &str, value: &str) -> Result<(), OptionError> {
        let (prefix, name) = option.split_once('.').unwrap_or((option, ""));
        let unknown = |_| {
            let formats: Vec<Format> = Format::with_options().collect();
            let names = format::names(&formats);
            OptionError::Unknown(format!("the formats with options are {names}"))
        };
        let format: Format = prefix.parse().map_err(unknown)?;
        let options = self.format_options.entry(format.extension());
        let options = options.or_default();
        options.set(format.definition().options, name, value)
    }
}

/// Parses the option `language`. An export may lack the language, and then shows another one.
///
/// # Errors
/// Returns an error that lists the languages of the export, if the text is not a language tag.
pub(super) fn parse_language(text: &str, export: Option<&Export>) -> Result<Language, FieldError> {
    text.parse().map_err(|error: NotALanguage| {
        let languages = export.and_then(|export| {
            let first = export.languages.first();
            first.map(|_| format!("; the texts of this export are in {}", export.languages))
        });
        let languages = languages.unwrap_or_default();
        FieldError::new(LANGUAGE, format!("{error}{languages}"))
    })
}

/// Returns the errors of the options of a link to stored documents, which have none.
pub(super) fn unsupported_options(options: &BTreeMap<String, String>) -> Vec<FieldError> {
    let message = "unsupported: stored documents are sent as they are";
    let errors = options.keys().map(|name| FieldError::new(name, message));
    errors.collect()
}
