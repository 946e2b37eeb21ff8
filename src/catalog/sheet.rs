//! The statements of exports, and how their rows are shown.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::columns::Columns;
use super::restricted::{masked_statements, variables_of_masks};
use super::{Filter, MaskedStatement, RestrictedColumn, SqlDialect, Statement, Text, Variable};
use crate::format::ColumnDisplay;
use crate::toml_errors::LineError;
use rowlink_link::is_claim_name;

/// A statement of an export, and how its rows are shown.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The file with the statement: `orders.sql`, or `year_report/01_orders.sql`.
    pub file: String,
    /// The name, unique in the export, without case.
    pub name: String,
    /// The title for users.
    pub title: Text,
    /// Header labels by column name; other columns keep their name.
    pub labels: IndexMap<String, Text>,
    /// XLSX number formats by column name.
    pub number_formats: IndexMap<String, String>,
    /// How workbooks show columns, by column name.
    pub displays: IndexMap<String, ColumnDisplay>,
    /// The line of each table `[columns.NAME]`, by column name.
    pub column_lines: BTreeMap<String, usize>,
    /// The columns that need a scope, by name.
    pub restricted: BTreeMap<String, RestrictedColumn>,
    /// A statement for each set of columns with a mask.
    pub masked_statements: Vec<MaskedStatement>,
    /// The statement with its parameters.
    pub statement: Statement,
}

/// The text of a statement, and what is known of its file.
pub(super) struct SheetSource<'t> {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) title: Text,
    pub(super) text: &'t str,
    pub(super) dialect: SqlDialect,
    pub(super) columns: Columns,
    /// All filters that the statement may use.
    pub(super) filters: &'t [Filter],
    /// The lines and names of the filters that the file declares.
    pub(super) declared: &'t [(usize, String)],
    /// Those that its book declares.
    pub(super) shared: &'t [(usize, String)],
    pub(super) row_access: RowAccess,
}

/// The settings that control which rows a caller gets, together with the SQL's variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowAccess {
    pub(super) unscoped: bool,
    pub(super) row_security: bool,
}

impl Sheet {
    /// Parses a statement, and adds its errors to those of its file. Returns `None` if it has no form at all.
    pub(super) fn parse(source: SheetSource<'_>, errors: &mut Vec<LineError>) -> Option<Sheet> {
        let (text, dialect) = (source.text, source.dialect);
        let is_list = |name: &str| source.filters.iter().any(|it| it.list && it.name == name);
        let statement = Statement::parse(text, dialect, is_list);
        let statement = statement.map_err(|error| errors.push(error)).ok()?;
        let restricted = &source.columns.restricted;
        let masked_statements = masked_statements(text, dialect, is_list, restricted);
        let masked_statements = masked_statements.unwrap_or_else(|found| {
            errors.extend(found);
            Vec::new()
        });
        let in_masks = variables_of_masks(&statement, &masked_statements);
        check_variables(&statement, &in_masks, &source, errors);
        Some(Sheet {
            file: source.file,
            name: source.name,
            title: source.title,
            labels: source.columns.labels,
            number_formats: source.columns.number_formats,
            displays: source.columns.displays,
            column_lines: source.columns.lines,
            restricted: source.columns.restricted,
            masked_statements,
            statement,
        })
    }

    /// Iterates over the variables of its statement, then those of its statements with masks.
    pub(super) fn variables(&self) -> impl Iterator<Item = &Variable> {
        let masked = self.masked_statements.iter();
        let in_masks = masked.flat_map(|masked| &masked.statement.variables);
        self.statement.variables.iter().chain(in_masks)
    }
}

pub(super) const CLAIM_NAME: &str = "expected a claim name of 1 to 64 of A-Z a-z 0-9 _";

/// Checks that placeholders, also `in_masks`, and declared filters match, and that the statement either restricts rows per
/// caller or is `unscoped`. The filters of a book need not be used.
fn check_variables(
    statement: &Statement,
    in_masks: &[(usize, &Variable)],
    source: &SheetSource<'_>,
    errors: &mut Vec<LineError>,
) {
    let declared = source.declared.iter().chain(source.shared);
    let in_statement = statement.variables.iter();
    let in_statement = in_statement.map(|variable| (statement.line_of(variable), variable));
    let in_masks = in_masks.iter().copied();
    for (line, variable) in in_statement.chain(in_masks.clone()) {
        let message = match variable {
            Variable::Claim(name) if !is_claim_name(name) => format!("`{variable}`: {CLAIM_NAME}"),
            Variable::Filter(name) if !declared.clone().any(|(_, other)| other == name) => {
                format!("`:{name}` is not declared; add [filters.{name}]")
            }
            Variable::User | Variable::Claim(_) | Variable::Filter(_) => continue,
        };
        errors.push(LineError::new(line, message));
    }
    for (line, name) in source.declared {
        let used = |variable: &Variable| matches!(variable, Variable::Filter(it) if it == name);
        if !statement.variables.iter().any(used) && !in_masks.clone().any(|(_, it)| used(it)) {
            let message = format!(
                "filter `{name}`: the SQL has no `:{name}`; use it or remove [filters.{name}]"
            );
            errors.push(LineError::new(*line, message));
        }
    }
    // A mask restricts no rows.
    let mut variables = statement.variables.iter();
    let is_pinned = source.row_access.row_security
        || variables.any(|it| matches!(it, Variable::User | Variable::Claim(_)));
    if !is_pinned && !source.row_access.unscoped {
        errors.push(LineError::new(
            statement.line,
            "every caller would get every row; use `:user` or `:claim.NAME`, rely on policies with \
             `row_security = true`, or set `unscoped = true`",
        ));
    }
    if is_pinned && source.row_access.unscoped {
        errors.push(LineError::new(
            statement.line,
            "`unscoped = true`, but the SQL uses `:user` or `:claim.NAME`, or `row_security` is set; \
             remove one of them",
        ));
    }
}
