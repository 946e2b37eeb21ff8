//! The settings of formats in an export's file: which it offers, and their options.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::format::{self, Format, FormatOptions, OptionError};

/// An error and the byte offset where it is.
pub(super) type OffsetError = (usize, String);

/// Parses the list of offered formats.
///
/// # Errors
/// Returns the first format that is unknown, cannot hold the rows, or is a duplicate, or that the list is empty.
pub(super) fn parse_formats(
    listed: &Spanned<Vec<Spanned<String>>>,
    is_book: bool,
) -> Result<Vec<Format>, OffsetError> {
    let expected: Vec<Format> = Format::all_for(is_book).collect();
    let expected = format::names(&expected);
    let mut formats = Vec::new();
    for name in listed.get_ref() {
        let error = |what: String| (name.span().start, format!("`formats`: {what}"));
        let format = name.get_ref().parse();
        let unknown = |_| error(format!("expected some of {expected}"));
        let format: Format = format.map_err(unknown)?;
        if !format.definition().capacity.fits(is_book) {
            let reason = match is_book {
                true => "holds one sheet only",
                false => "is only for books",
            };
            let message = format!("`{format}` {reason}; expected some of {expected}");
            return Err(error(message));
        }
        if formats.contains(&format) {
            return Err(error(format!("duplicate `{format}`")));
        }
        formats.push(format);
    }
    if formats.is_empty() {
        let message = "`formats`: expected at least one".to_owned();
        return Err((listed.span().start, message));
    }
    Ok(formats)
}

/// Takes the tables of options, such as `[csv]`, out of the settings. Those of a format that is only for books are an error
/// elsewhere.
pub(super) fn take_options(
    settings: &mut DeTable<'_>,
    is_book: bool,
    errors: &mut Vec<OffsetError>,
) -> BTreeMap<&'static str, FormatOptions> {
    let mut all_options = BTreeMap::new();
    for format in Format::with_options() {
        let name = format.extension();
        let Some((key, table)) = settings.remove_entry(name) else {
            continue;
        };
        // A book has options of formats for one sheet: those of the files in its archive.
        if !is_book && !format.definition().capacity.fits(false) {
            let message =
                format!("[{name}]: unsupported, because only books have these options; remove it");
            errors.push((key.span().start, message));
            continue;
        }
        let DeValue::Table(table) = table.get_ref() else {
            errors.push((table.span().start, format!("`{name}`: expected a table")));
            continue;
        };
        let mut options = FormatOptions::default();
        for (option, value) in table {
            let (at, option) = (option.span().start, option.get_ref());
            let set = match text_of(value.get_ref()) {
                Some(text) => options.set(format.definition().options, option, &text),
                None => Err(OptionError::Expected("a text, a number, true or false")),
            };
            if let Err(error) = set {
                errors.push((at, format!("`{option}` under [{name}]: {error}")));
            }
        }
        all_options.insert(name, options);
    }
    all_options
}

/// Returns a scalar as the text that a link carries.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
