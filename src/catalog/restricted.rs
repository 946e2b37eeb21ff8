//! Columns that need a scope: they are left out of a file, or masked, unless its link reveals them.

use std::collections::{BTreeMap, BTreeSet};

use super::statement::{check_expression, replace_column};
use super::{Export, SqlDialect, Statement, Variable};
use crate::toml_errors::LineError;

/// The most masks of an export. Each set of masked columns has a statement of its own, which the database describes.
const MASKS_MAX: usize = 4;

/// What `[columns.NAME]` says about a column that needs a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestrictedColumn {
    /// The scope that the caller's credential must have.
    pub scope: String,
    /// What others get in its place; `None` leaves the column out.
    pub mask: Option<Mask>,
}

/// An SQL expression in place of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The expression, in the scope of the export's query.
    pub expression: String,
    /// Its line in the file.
    pub line: usize,
}

/// The statement of an export with some columns masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedStatement {
    /// The names of the masked columns.
    pub masked: BTreeSet<String>,
    /// The statement.
    pub statement: Statement,
    /// The line of the first mask.
    pub line: usize,
}

impl Export {
    /// Returns the columns without a mask that a link does not reveal, and their scopes.
    pub fn withheld<'e>(&'e self, reveal: &[String]) -> BTreeMap<&'e str, &'e str> {
        self.unrevealed(reveal)
            .filter(|(_, column)| column.mask.is_none())
            .map(|(name, column)| (name, column.scope.as_str()))
            .collect()
    }

    /// Returns the columns that a link does not reveal and that have a mask.
    pub fn masked(&self, reveal: &[String]) -> BTreeSet<String> {
        self.unrevealed(reveal)
            .filter(|(_, column)| column.mask.is_some())
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Returns the columns that a link for a holder of these scopes reveals. A column without a mask that is not `chosen`
    /// needs no grant; a mask could change the order of the rows, or which of them are distinct.
    pub fn revealed_to(&self, scopes: &BTreeSet<String>, chosen: Option<&str>) -> Vec<String> {
        let is_chosen = |name: &str| chosen.is_none_or(|list| list.split(',').any(|it| it == name));
        let restricted = self.restricted.iter();
        restricted
            .filter(|(_, column)| scopes.contains(&column.scope))
            .filter(|(name, column)| column.mask.is_some() || is_chosen(name))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Tells whether a holder of these scopes could request a link that reveals these columns.
    pub fn may_reveal(&self, scopes: &BTreeSet<String>, reveal: &[String]) -> bool {
        let needed = reveal.iter().filter_map(|name| self.restricted.get(name));
        needed
            .into_iter()
            .all(|column| scopes.contains(&column.scope))
    }

    /// Returns the export as it is for links that do not reveal the masked columns of a statement.
    pub fn with_masks(&self, masked: &MaskedStatement) -> Export {
        Export {
            statement: masked.statement.clone(),
            masked_statements: Vec::new(),
            ..self.clone()
        }
    }

    fn unrevealed<'e>(
        &'e self,
        reveal: &[String],
    ) -> impl Iterator<Item = (&'e str, &'e RestrictedColumn)> {
        let restricted = self.restricted.iter();
        restricted
            .filter(|(name, _)| !reveal.contains(name))
            .map(|(name, column)| (name.as_str(), column))
    }
}

/// Returns a statement per set of masked columns, made from the text of a file.
///
/// # Errors
/// Returns the errors of all masks.
pub(super) fn masked_statements(
    text: &str,
    dialect: SqlDialect,
    is_list: impl Fn(&str) -> bool,
    restricted: &BTreeMap<String, RestrictedColumn>,
) -> Result<Vec<MaskedStatement>, Vec<LineError>> {
    let masks: Vec<(&String, &Mask)> = restricted
        .iter()
        .filter_map(|(name, column)| Some((name, column.mask.as_ref()?)))
        .collect();
    if let Some((name, mask)) = masks.get(MASKS_MAX) {
        let message =
            format!("`mask` of `{name}`: expected at most {MASKS_MAX} columns with a mask");
        return Err(vec![LineError::new(mask.line, message)]);
    }
    let of = |set: &[(&String, &Mask)]| masked_statement(text, dialect, &is_list, set);
    // An error of one mask would be repeated by each set with it.
    let alone = masks.iter().map(|mask| of(&[*mask]));
    let errors: Vec<LineError> = alone.filter_map(Result::err).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let sets = (1..1_usize << masks.len()).map(|set| {
        let chosen = masks.iter().enumerate();
        let chosen = chosen.filter(|(index, _)| set & (1 << index) != 0);
        of(&chosen.map(|(_, mask)| *mask).collect::<Vec<_>>())
    });
    sets.collect::<Result<_, _>>().map_err(|error| vec![error])
}

fn masked_statement(
    text: &str,
    dialect: SqlDialect,
    is_list: impl Fn(&str) -> bool,
    masks: &[(&String, &Mask)],
) -> Result<MaskedStatement, LineError> {
    let mut masked_text = text.to_owned();
    let mut line = 0;
    for (name, mask) in masks.iter().rev() {
        line = mask.line;
        let error = |message: &str| LineError::new(line, format!("`mask` of `{name}`: {message}"));
        check_expression(&mask.expression, dialect).map_err(|message| error(&message))?;
        let replaced = replace_column(&masked_text, dialect, name, &mask.expression);
        masked_text = replaced.map_err(|found| error(&found.message))?;
    }
    let names: Vec<String> = masks.iter().map(|(name, _)| format!("`{name}`")).collect();
    let statement = Statement::parse(&masked_text, dialect, is_list).map_err(|found| {
        let message = format!("`mask` of {}: {}", names.join(", "), found.message);
        LineError::new(line, message)
    })?;
    Ok(MaskedStatement {
        masked: masks.iter().map(|(name, _)| (*name).clone()).collect(),
        statement,
        line,
    })
}

/// Returns the variables that only masks use, each with the line of its mask.
pub(super) fn variables_of_masks<'s>(
    statement: &Statement,
    masked: &'s [MaskedStatement],
) -> Vec<(usize, &'s Variable)> {
    let mut found: Vec<(usize, &Variable)> = Vec::new();
    for masked in masked {
        for variable in &masked.statement.variables {
            let is_known = found.iter().any(|(_, known)| *known == variable);
            if !is_known && !statement.variables.contains(variable) {
                found.push((masked.line, variable));
            }
        }
    }
    found
}
