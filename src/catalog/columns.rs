//! Settings of columns: `[columns.NAME]`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use super::file::Reader;
use super::{Mask, RestrictedColumn, Text};
use crate::format::is_number_format;
use crate::toml_errors::LineError;

const NUMBER_FORMAT: &str =
    "expected one that Excel knows, such as #,##0.00, with texts in quotes: 0.0 \"kg\"";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnSettings {
    label: Option<Text>,
    scope: Option<Spanned<String>>,
    mask: Option<Spanned<String>>,
    number_format: Option<Spanned<String>>,
}

/// What `[columns.NAME]` says, by column name.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) labels: IndexMap<String, Text>,
    pub(super) number_formats: IndexMap<String, String>,
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
            if let Some(format) = column.number_format {
                if !is_number_format(format.get_ref()) {
                    let message = format!("`number_format` of `{name}`: {NUMBER_FORMAT}");
                    self.add_error(&format, message);
                }
                let format = format.into_inner();
                columns.number_formats.insert(name.clone(), format);
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
