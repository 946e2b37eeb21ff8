//! Settings of columns: `[columns.NAME]`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use super::column_display::DisplaySettings;
use super::file::Reader;
use super::{Mask, RestrictedColumn, Text};
use crate::format::{ColumnDisplay, NAMED_FORMATS, is_number_format, named_format};
use crate::toml_errors::LineError;

const NUMBER_FORMAT: &str =
    "expected one that Excel knows, such as #,##0.00, with texts in quotes: 0.0 \"kg\"";

/// Longest name of a column with a scope. With the name of its sheet it is a value of a link.
const NAME_BYTES_MAX: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnSettings {
    label: Option<Text>,
    scope: Option<Spanned<String>>,
    mask: Option<Spanned<String>>,
    number_format: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
    link: Option<Spanned<String>>,
    total: Option<Spanned<String>>,
    width: Option<Spanned<i64>>,
    #[serde(default)]
    hidden: bool,
}

/// What `[columns.NAME]` says, by column name.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) labels: IndexMap<String, Text>,
    pub(super) number_formats: IndexMap<String, String>,
    pub(super) displays: IndexMap<String, ColumnDisplay>,
    /// The line of each table.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) restricted: BTreeMap<String, RestrictedColumn>,
}

impl Reader<'_> {
    /// Checks the settings of the columns.
    pub(super) fn columns(
        &mut self,
        settings: IndexMap<Spanned<String>, ColumnSettings>,
    ) -> Columns {
        let mut columns = Columns::default();
        for (spanned, column) in settings {
            let line = self.line_at(spanned.span().start);
            let name = spanned.into_inner();
            if let Some(format) = self.number_format(&name, column.number_format, column.format) {
                columns.number_formats.insert(name.clone(), format);
            }
            let display = DisplaySettings {
                link: column.link,
                total: column.total,
                width: column.width,
                hidden: column.hidden,
            };
            let display = self.display(&name, display);
            if display != ColumnDisplay::default() {
                columns.displays.insert(name.clone(), display);
            }
            if let Some(label) = column.label {
                columns.labels.insert(name.clone(), label);
            }
            if let Some(restricted) = self.restricted(&name, line, column.scope, column.mask) {
                columns.restricted.insert(name.clone(), restricted);
            }
            columns.lines.insert(name, line);
        }
        columns
    }

    /// Returns the number format of a column, if it has one, also under a name.
    fn number_format(
        &mut self,
        name: &str,
        number_format: Option<Spanned<String>>,
        named: Option<Spanned<String>>,
    ) -> Option<String> {
        if let (Some(_), Some(named)) = (&number_format, &named) {
            let message = format!("`{name}` has `number_format` and `format`; remove one of them");
            self.add_error(named, message);
        }
        if let Some(named) = named {
            let format = named_format(named.get_ref());
            if format.is_none() {
                self.add_error(&named, format!("`format` of `{name}`: {NAMED_FORMATS}"));
            }
            return format;
        }
        let format = number_format?;
        if !is_number_format(format.get_ref()) {
            let message = format!("`number_format` of `{name}`: {NUMBER_FORMAT}");
            self.add_error(&format, message);
        }
        Some(format.into_inner())
    }

    /// Returns the scope and the mask of a column, if it has a scope.
    fn restricted(
        &mut self,
        name: &str,
        line: usize,
        scope: Option<Spanned<String>>,
        mask: Option<Spanned<String>>,
    ) -> Option<RestrictedColumn> {
        let mask = mask.map(|mask| Mask {
            line: self.line_at(mask.span().start),
            expression: mask.into_inner(),
        });
        match scope {
            Some(scope) if scope.get_ref().is_empty() => {
                self.add_error(&scope, format!("`scope` of `{name}`: expected a scope"));
                None
            }
            Some(scope) if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) => {
                let message = format!(
                    "`scope` of `{name}`: a link cannot name this column; expected at most {NAME_BYTES_MAX} bytes without \
                     control characters; rename it with `as`"
                );
                self.add_error(&scope, message);
                None
            }
            Some(scope) => Some(RestrictedColumn {
                scope: scope.into_inner(),
                mask,
            }),
            None => {
                let message =
                    format!("`mask` of `{name}`: has no effect without `scope`; add the scope");
                mask.inspect(|_| self.errors.push(LineError::new(line, message)));
                None
            }
        }
    }
}
