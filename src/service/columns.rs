//! Which columns a link may have, and which it has.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Export, FieldError};
use crate::row::Column;

/// The columns that a link may have.
pub(super) struct Columns<'a> {
    export: &'a Export,
    /// The columns of each sheet, if they are known.
    known: Option<&'a [Vec<Column>]>,
    /// The keys of the columns that it does not reveal, and their scopes.
    withheld: BTreeMap<String, &'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(
        export: &'a Export,
        known: Option<&'a [Vec<Column>]>,
        reveal: &[String],
    ) -> Columns<'a> {
        Columns {
            export,
            known,
            withheld: export.withheld(reveal),
        }
    }

    /// Returns the columns of each sheet, of which a link may name some; `None` stands for all of them.
    ///
    /// # Errors
    /// Returns the error of each name, and an error if no column of a sheet is left.
    pub(super) fn choose(
        &self,
        list: Option<&str>,
    ) -> Result<Vec<Option<Vec<String>>>, Vec<FieldError>> {
        let mut chosen = vec![None; self.export.sheets.len()];
        let mut errors = Vec::new();
        for key in list.iter().flat_map(|list| list.split(',')) {
            match self.find(key) {
                Ok((sheet, name)) => {
                    let of_sheet: &mut Vec<String> = chosen[sheet].get_or_insert_default();
                    match of_sheet.iter().any(|other| other == name) {
                        true => errors.push(format!("duplicate column `{key}`")),
                        false => of_sheet.push(name.to_owned()),
                    }
                }
                Err(message) => errors.push(message),
            }
        }
        for (index, of_sheet) in chosen.iter_mut().enumerate() {
            match self.remaining(index) {
                Ok(remaining) => *of_sheet = of_sheet.take().or(remaining),
                Err(message) => errors.push(message),
            }
        }
        if errors.is_empty() {
            return Ok(chosen);
        }
        let errors = errors.into_iter();
        Err(errors.map(|it| FieldError::new("columns", it)).collect())
    }

    /// Returns the sheet and the name of a column that a link may have.
    fn find<'k>(&self, key: &'k str) -> Result<(usize, &'k str), String> {
        if let Some(scope) = self.withheld.get(key) {
            return Err(format!("`{key}` needs the scope `{scope}`"));
        }
        let sheets = &self.export.sheets;
        let found = match sheets.len() {
            1 => Some((0, key)),
            _ => key.split_once('.').and_then(|(sheet, name)| {
                let index = sheets.iter().position(|it| it.name == sheet);
                Some((index?, name))
            }),
        };
        let is_known = |(sheet, name): &(usize, &str)| {
            let known = self.known.map(|known| &known[*sheet]);
            known.is_none_or(|known| known.iter().any(|column| column.name == *name))
        };
        found.filter(is_known).ok_or_else(|| self.unknown(key))
    }

    fn unknown(&self, key: &str) -> String {
        let Some(known) = self.known else {
            return format!("unknown column `{key}`; expected a sheet, a dot and a column");
        };
        let sheets = self.export.sheets.iter().zip(known);
        let keys = sheets.flat_map(|(sheet, columns)| {
            let columns = columns.iter();
            columns.map(|column| self.export.column_key(sheet, &column.name))
        });
        let keys: Vec<String> = keys.filter(|it| !self.withheld.contains_key(it)).collect();
        format!(
            "unknown column `{key}`; the columns are {}",
            keys.join(", ")
        )
    }

    /// Returns the columns of a sheet of which a link names none; `None` if they are all, or not known.
    fn remaining(&self, sheet: usize) -> Result<Option<Vec<String>>, String> {
        let known = self.known.filter(|_| !self.withheld.is_empty());
        let Some(known) = known else {
            return Ok(None);
        };
        let (columns, sheet) = (&known[sheet], &self.export.sheets[sheet]);
        let key = |column: &Column| self.export.column_key(sheet, &column.name);
        let (withheld, others): (Vec<&Column>, Vec<&Column>) = columns
            .iter()
            .partition(|column| self.withheld.contains_key(&key(column)));
        if others.is_empty() {
            let scopes = withheld.iter().map(|column| self.withheld[&key(column)]);
            let scopes: Vec<&str> = scopes.collect::<BTreeSet<_>>().into_iter().collect();
            let scopes = scopes.join(", ");
            return Err(match self.export.sheets.len() {
                1 => format!("every column needs a scope: {scopes}"),
                _ => format!("every column of `{}` needs a scope: {scopes}", sheet.name),
            });
        }
        let names = others.iter().map(|column| column.name.clone());
        Ok((!withheld.is_empty()).then(|| names.collect()))
    }
}
