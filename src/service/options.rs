//! The output options of a link: which columns, and how they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Export, FieldError, StoreMode};
use crate::format::{
    self, EncoderSettings, Format, FormatOptions, IntegrityLine, OptionError, Properties,
    parse_bool,
};
use crate::row::{Column, TimeZone, UnknownTimeZone};

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
    /// The columns to read, in this order; `None` means all.
    pub columns: Option<Vec<String>>,
    /// The time zone in which instants are shown.
    pub time_zone: TimeZone,
    /// Whether the file ends with an integrity line.
    end_line: bool,
    /// Whether the length of the file is measured beforehand, by a second pass over the rows.
    pub exact_length: bool,
    /// Whether the file is stored.
    pub storing: Storing,
    /// The options of the format.
    pub format_options: FormatOptions,
    format: Format,
    export: Arc<Export>,
}

impl Output {
    /// Parses the `options` of a link, which override those of the export. `columns` are the export's,
    /// if they are known. Columns with a scope that the link does not `reveal` are left out.
    ///
    /// # Errors
    /// Returns every option that is unknown or does not fit, and an error if no column is left.
    pub fn parse(
        export: &Arc<Export>,
        format: Format,
        columns: Option<&[Column]>,
        options: &BTreeMap<String, String>,
        reveal: &[String],
    ) -> Result<Output, Vec<FieldError>> {
        let columns = Columns::of(export, columns, reveal);
        let mut output = Output {
            columns: None,
            time_zone: export.time_zone,
            end_line: false,
            exact_length: false,
            storing: Storing::by_export(export),
            format_options: export.options_of(format),
            format,
            export: export.clone(),
        };
        let mut errors = Vec::new();
        for (option, value) in options {
            if let Err(found) = output.set(option, value, &columns) {
                errors.extend(found);
            }
        }
        if output.columns.is_none() {
            match columns.remaining() {
                Ok(remaining) => output.columns = remaining,
                Err(error) => errors.push(error),
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
        (self.format.definition().media_type)(&self.format_options)
    }

    /// Returns the integrity line with which the file ends, if it was requested.
    pub fn integrity_line(&self) -> Option<IntegrityLine> {
        IntegrityLine::new(self.format).filter(|_| self.end_line)
    }

    /// Returns the settings of the file's encoder.
    pub fn settings(&self, properties: Properties) -> EncoderSettings {
        EncoderSettings {
            options: self.format_options.clone(),
            time_zone: self.time_zone,
            labels: self.export.labels.clone(),
            number_formats: self.export.number_formats.clone(),
            properties,
            heartbeats: None,
        }
    }

    fn set(
        &mut self,
        option: &str,
        value: &str,
        columns: &Columns<'_>,
    ) -> Result<(), Vec<FieldError>> {
        let field_error = |message: String| vec![FieldError::new(option, message)];
        let option_error = |error: OptionError| field_error(error.to_string());
        match option {
            "timezone" => {
                let parsed = value.parse();
                self.time_zone =
                    parsed.map_err(|error: UnknownTimeZone| field_error(error.to_string()))?;
            }
            "end_line" => self.end_line = parse_bool(value).map_err(option_error)?,
            "length" if value == "exact" => self.exact_length = true,
            "length" => return Err(field_error("expected `exact`, or nothing".to_owned())),
            "delivery" => self.storing = self.storing.with_delivery(value).map_err(field_error)?,
            "columns" => self.columns = Some(columns.choose(value)?),
            other => self.set_format_option(other, value).map_err(option_error)?,
        }
        Ok(())
    }

    /// Sets `{format}.{name}`. Options of other formats are checked, but have no effect.
    fn set_format_option(&mut self, option: &str, value: &str) -> Result<(), OptionError> {
        let (prefix, name) = option.split_once('.').unwrap_or((option, ""));
        let unknown = |_| {
            let formats: Vec<Format> = Format::with_options().collect();
            let names = format::names(&formats);
            OptionError::Unknown(format!("the formats with options are {names}"))
        };
        let format: Format = prefix.parse().map_err(unknown)?;
        let mut others = FormatOptions::default();
        let options = match format == self.format {
            true => &mut self.format_options,
            false => &mut others,
        };
        options.set(format.definition().options, name, value)
    }
}

/// The columns that a link may have.
struct Columns<'a> {
    /// Their names, if they are known.
    names: Option<Vec<&'a str>>,
    /// The columns that it does not reveal, and their scopes.
    withheld: BTreeMap<&'a str, &'a str>,
}

impl<'a> Columns<'a> {
    fn of(export: &'a Export, columns: Option<&'a [Column]>, reveal: &[String]) -> Columns<'a> {
        let withheld = export.withheld(reveal);
        let names = |columns: &'a [Column]| {
            let names = columns.iter().map(|column| column.name.as_str());
            names.filter(|name| !withheld.contains_key(name)).collect()
        };
        Columns {
            names: columns.map(names),
            withheld,
        }
    }

    /// Returns the columns of a link that names none; `None` if they are all, or not known.
    fn remaining(&self) -> Result<Option<Vec<String>>, FieldError> {
        let names = self.names.as_ref().filter(|_| !self.withheld.is_empty());
        match names {
            None => Ok(None),
            Some(names) if names.is_empty() => {
                let scopes: BTreeSet<&str> = self.withheld.values().copied().collect();
                let scopes: Vec<&str> = scopes.into_iter().collect();
                let message = format!("every column needs a scope: {}", scopes.join(", "));
                Err(FieldError::new("columns", message))
            }
            Some(names) => Ok(Some(names.iter().map(ToString::to_string).collect())),
        }
    }

    /// Parses the columns that a link names, separated by commas.
    fn choose(&self, list: &str) -> Result<Vec<String>, Vec<FieldError>> {
        let mut chosen: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for name in list.split(',') {
            match self.check(name) {
                Ok(()) if chosen.iter().any(|other| other == name) => {
                    errors.push(format!("duplicate column `{name}`"));
                }
                Ok(()) => chosen.push(name.to_owned()),
                Err(message) => errors.push(message),
            }
        }
        if errors.is_empty() {
            return Ok(chosen);
        }
        let errors = errors.into_iter();
        Err(errors.map(|it| FieldError::new("columns", it)).collect())
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if let Some(scope) = self.withheld.get(name) {
            return Err(format!("`{name}` needs the scope `{scope}`"));
        }
        match &self.names {
            Some(names) if !names.contains(&name) => Err(format!(
                "unknown column `{name}`; the columns are {}",
                names.join(", ")
            )),
            _ => Ok(()),
        }
    }
}

/// Returns the errors of the options of a link to stored documents, which have none.
pub(super) fn unsupported_options(options: &BTreeMap<String, String>) -> Vec<FieldError> {
    let message = "unsupported: stored documents are sent as they are";
    let errors = options.keys().map(|name| FieldError::new(name, message));
    errors.collect()
}
