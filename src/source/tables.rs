//! The tables and views of a database, for commands that list them.

use crate::catalog::FilterType;

/// A table or a view, with the columns that Rowlink's login may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema; in MySQL the name of its database.
    pub schema: String,
    /// Whether its name without the schema leads to it.
    pub is_in_default_schema: bool,
    /// Its name.
    pub name: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// The number of rows that the database estimates from its statistics; `None` if it has none.
    pub rows: Option<u64>,
    /// Its columns, in their order.
    pub columns: Vec<TableColumn>,
}

/// A column of a table or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the database names it; may be empty in SQLite.
    pub type_name: String,
    /// The type of a filter that is compared with it; `None` if no filter can be.
    pub filter_type: Option<FilterType>,
    /// Its position in the primary key, from 1.
    pub key_position: Option<u32>,
}

impl Table {
    /// Returns the name with which people name it: with its schema only if it needs it.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.is_in_default_schema {
            true => self.name.clone(),
            false => format!("{}.{}", self.schema, self.name),
        }
    }

    /// Returns the columns of the primary key, in its order.
    #[must_use]
    pub fn key(&self) -> Vec<&TableColumn> {
        let columns = self.columns.iter();
        let mut key: Vec<&TableColumn> = columns.filter(|it| it.key_position.is_some()).collect();
        key.sort_by_key(|column| column.key_position);
        key
    }
}

/// Adds a column to the last table if it is one of this table, and else to the table, which is added.
pub(super) fn add_column(tables: &mut Vec<Table>, table: Table, column: TableColumn) {
    match tables.last_mut() {
        Some(last) if last.schema == table.schema && last.name == table.name => {
            last.columns.push(column);
        }
        _ => tables.push(Table {
            columns: vec![column],
            ..table
        }),
    }
}
