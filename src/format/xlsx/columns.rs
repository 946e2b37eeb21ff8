//! The columns of a statement's sheets.

use indexmap::IndexSet;

use super::links::Link;
use super::sheet::COLUMNS_MAX;
use super::styles::FIRST_CUSTOM;
use super::table;
use super::text::check_length;
use crate::format::column_display::TotalFunction;
use crate::format::encoder::{EncodeError, SheetSettings};
use crate::row::Column;

/// A column of a sheet. Its settings are looked up once per statement.
pub(super) struct SheetColumn {
    /// Its name in the query.
    pub(super) name: String,
    /// The text of its header.
    pub(super) label: String,
    /// Its name in Excel: `A`.
    pub(super) letters: String,
    /// The style of its number format.
    pub(super) style: Option<u32>,
    pub(super) link: Option<Link>,
    pub(super) total: Option<TotalFunction>,
    /// Its width in characters, if it is set.
    pub(super) width: Option<u8>,
    pub(super) is_hidden: bool,
}

/// Returns the columns of a statement's sheets.
///
/// # Errors
/// Returns [`EncodeError::Columns`] or [`EncodeError::Label`] if a sheet, or a table if there is one, cannot hold them.
pub(super) fn sheet_columns(
    columns: &[Column],
    settings: Option<&SheetSettings>,
    number_formats: &IndexSet<String>,
    has_table: bool,
) -> Result<Vec<SheetColumn>, EncodeError> {
    if columns.len() > COLUMNS_MAX {
        let count = columns.len();
        let message = format!("{count} columns: a sheet holds at most {COLUMNS_MAX}");
        return Err(EncodeError::Columns(message));
    }
    let sheet_column = |(index, column): (usize, &Column)| {
        let label = settings.map_or(column.name.as_str(), |it| column.label(&it.labels));
        let format = settings.and_then(|it| it.number_formats.get(&column.name));
        let format = format.and_then(|format| number_formats.get_index_of(format));
        let display = settings.and_then(|it| it.displays.get(&column.name));
        let link = display.and_then(|display| display.link.as_ref());
        SheetColumn {
            name: column.name.clone(),
            label: label.to_owned(),
            letters: column_letters(index),
            style: format.and_then(|index| Some(FIRST_CUSTOM + u32::try_from(index).ok()?)),
            link: link.and_then(|link| Link::of(link, columns)),
            total: display.and_then(|display| display.total),
            width: display.and_then(|display| display.width),
            is_hidden: display.is_some_and(|display| display.is_hidden),
        }
    };
    let mut sheet_columns: Vec<SheetColumn> =
        columns.iter().enumerate().map(sheet_column).collect();
    if has_table {
        let labels = sheet_columns.iter_mut();
        table::make_column_names(labels.map(|column| &mut column.label));
    }
    for column in &sheet_columns {
        let of_cell = check_length(&column.label).err();
        let of_cell = of_cell.map(|error| error.to_string());
        let of_table = || has_table.then(|| table::check_column_name(&column.label));
        if let Some(reason) = of_cell.or_else(|| of_table().flatten()) {
            let column = column.name.clone();
            return Err(EncodeError::Label { column, reason });
        }
    }
    Ok(sheet_columns)
}

/// Returns the name of a column, counted from 0: A, B, … Z, AA, ….
fn column_letters(index: usize) -> String {
    let mut rest = index + 1;
    let mut letters = Vec::new();
    while rest > 0 {
        letters.push(char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_in_excel() {
        for (index, name) in [
            (0, "A"),
            (25, "Z"),
            (26, "AA"),
            (701, "ZZ"),
            (702, "AAA"),
            (16_383, "XFD"),
        ] {
            assert_eq!(column_letters(index), name);
        }
    }
}
