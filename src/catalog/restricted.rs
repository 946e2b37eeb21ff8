//! Columns that need a scope: they are left out of a file, or masked, unless its link reveals them.

use std::collections::{BTreeMap, BTreeSet};

use super::statement::{check_expression, replace_column};
use super::{Export, Sheet, SqlDialect, Statement, Variable};
use crate::toml_errors::LineError;

/// The most masks of an export. Each set of masked columns has statements of its own, which the database describes.
pub(super) const MASKS_MAX: usize = 4;

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

/// The statement of a sheet with some columns masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedStatement {
    /// The names of the masked columns.
    pub masked: BTreeSet<String>,
    /// The statement.
    pub statement: Statement,
    /// The line of the first mask.
    line: usize,
}

impl Export {
    /// Iterates over the columns that need a scope, with their [keys](Export::column_key).
    pub fn restricted(&self) -> impl Iterator<Item = (String, &RestrictedColumn)> {
        self.sheets.iter().flat_map(move |sheet| {
            let columns = sheet.restricted.iter();
            columns.map(move |(name, column)| (self.column_key(sheet, name), column))
        })
    }

    /// Returns the keys of the columns without a mask that a link does not reveal, and their scopes.
    pub fn withheld(&self, reveal: &[String]) -> BTreeMap<String, &str> {
        self.unrevealed(reveal)
            .filter(|(_, column)| column.mask.is_none())
            .map(|(key, column)| (key, column.scope.as_str()))
            .collect()
    }

    /// Returns the keys of the columns that a link does not reveal and that have a mask.
    pub fn masked(&self, reveal: &[String]) -> BTreeSet<String> {
        self.unrevealed(reveal)
            .filter(|(_, column)| column.mask.is_some())
            .map(|(key, _)| key)
            .collect()
    }

    /// Returns the keys of the columns that a link for a holder of these scopes reveals. A column without a mask that is not
    /// `chosen` needs no grant; a mask could change the order of the rows, or which of them are distinct.
    pub fn revealed_to(&self, scopes: &BTreeSet<String>, chosen: Option<&str>) -> Vec<String> {
        self.restricted()
            .filter(|(_, column)| scopes.contains(&column.scope))
            .filter(|(key, column)| column.mask.is_some() || self.is_chosen(key, chosen))
            .map(|(key, _)| key)
            .collect()
    }

    /// Tells whether a holder of these scopes could request a link that reveals these columns.
    pub fn may_reveal(&self, scopes: &BTreeSet<String>, reveal: &[String]) -> bool {
        let mut needed = self.restricted().filter(|(key, _)| reveal.contains(key));
        needed.all(|(_, column)| scopes.contains(&column.scope))
    }

    /// Returns every set of columns that links can have masked, by their keys.
    pub fn mask_sets(&self) -> Vec<BTreeSet<String>> {
        let keys: Vec<String> = self.masked(&[]).into_iter().collect();
        let sets = subsets(&keys);
        sets.map(|set| set.into_iter().collect()).collect()
    }

    /// Returns the masks of a sheet among the columns with these keys, by column name.
    pub fn masks_of<'s>(
        &self,
        sheet: &'s Sheet,
        keys: &BTreeSet<String>,
    ) -> Vec<(&'s str, &'s Mask)> {
        masks(&sheet.restricted)
            .filter(|(name, _)| keys.contains(&self.column_key(sheet, name)))
            .collect()
    }

    /// Returns the export with the columns of one of its [mask sets](Export::mask_sets) masked.
    pub fn with_masks(&self, keys: &BTreeSet<String>) -> Export {
        let mut export = self.clone();
        for sheet in &mut export.sheets {
            let masks = self.masks_of(sheet, keys);
            if masks.is_empty() {
                continue;
            }
            let names: BTreeSet<&str> = masks.iter().map(|(name, _)| *name).collect();
            let mut statements = sheet.masked_statements.iter();
            let masked = statements.find(|it| it.masked.iter().eq(names.iter()));
            // The statement without masks would show the columns.
            let masked = masked.expect("a valid sheet has a statement for each set of its masks");
            sheet.statement = masked.statement.clone();
        }
        export
    }

    /// Tells whether a file has a column: a sheet of which none is chosen has all its columns.
    fn is_chosen(&self, key: &str, chosen: Option<&str>) -> bool {
        let sheet = match self.sheets.len() {
            1 => "",
            _ => key.split_inclusive('.').next().unwrap_or_default(),
        };
        let keys = chosen.into_iter().flat_map(|list| list.split(','));
        let mut of_sheet = keys.filter(|it| it.starts_with(sheet)).peekable();
        of_sheet.peek().is_none() || of_sheet.any(|it| it == key)
    }

    fn unrevealed(&self, reveal: &[String]) -> impl Iterator<Item = (String, &RestrictedColumn)> {
        let restricted = self.restricted();
        restricted.filter(move |(key, _)| !reveal.contains(key))
    }
}

/// Iterates over the columns that have a mask.
pub(super) fn masks(
    restricted: &BTreeMap<String, RestrictedColumn>,
) -> impl Iterator<Item = (&str, &Mask)> {
    let restricted = restricted.iter();
    restricted.filter_map(|(name, column)| Some((name.as_str(), column.mask.as_ref()?)))
}

/// Iterates over the subsets of a few values, without the empty one.
fn subsets<T: Clone>(values: &[T]) -> impl Iterator<Item = Vec<T>> {
    (1..1_usize << values.len()).map(|set| {
        let chosen = values.iter().enumerate();
        let chosen = chosen.filter(|(index, _)| set & (1 << index) != 0);
        chosen.map(|(_, value)| value.clone()).collect()
    })
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
    let masks: Vec<(&str, &Mask)> = masks(restricted).collect();
    if let Some((name, mask)) = masks.get(MASKS_MAX) {
        let message =
            format!("`mask` of `{name}`: expected at most {MASKS_MAX} columns with a mask");
        return Err(vec![LineError::new(mask.line, message)]);
    }
    let of = |set: &[(&str, &Mask)]| masked_statement(text, dialect, &is_list, set);
    // An error of one mask would be repeated by each set with it.
    let single = masks.iter().map(|mask| of(&[*mask]));
    let errors: Vec<LineError> = single.filter_map(Result::err).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let sets = subsets(&masks).map(|set| of(&set));
    sets.collect::<Result<_, _>>().map_err(|error| vec![error])
}

fn masked_statement(
    text: &str,
    dialect: SqlDialect,
    is_list: impl Fn(&str) -> bool,
    masks: &[(&str, &Mask)],
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
        masked: masks.iter().map(|(name, _)| (*name).to_owned()).collect(),
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
