//! The tables and views of a file.

use rusqlite::{Connection, Row};

use super::errors::sqlite_error;
use crate::catalog::FilterType;
use crate::source::errors::SourceError;
use crate::source::tables::{Table, TableColumn};

/// The only schema of a file.
const SCHEMA: &str = "main";

/// Tables and views without SQLite's own, and without those in which virtual tables keep their content.
const TABLES: &str = "select name, type = 'view' from pragma_table_list where schema = 'main' \
     and type in ('table', 'view', 'virtual') and name not like 'sqlite\\_%' escape '\\' order by name";

/// Columns without the hidden ones of virtual tables, which are parameters.
const COLUMNS: &str =
    "select name, type, pk from pragma_table_xinfo(?1, 'main') where hidden <> 1 order by cid";

/// The number of rows that `analyze` has found, at the start of `stat`. A partial index has fewer rows than its table.
const ROWS: &str = "select max(cast(stat as integer)) from sqlite_stat1 where tbl = ?1";

/// Returns the tables and views. A view that cannot be read, such as one over a table that is gone, is left out.
///
/// # Errors
/// Returns [`SourceError::Unavailable`] if the file cannot be read.
pub(super) fn tables(connection: &Connection) -> Result<Vec<Table>, SourceError> {
    let has_statistics = "select count(*) from sqlite_schema where name = 'sqlite_stat1'";
    let has_statistics: i64 = connection
        .query_row(has_statistics, [], |row| row.get(0))
        .map_err(sqlite_error)?;
    let mut tables = Vec::new();
    for (name, is_view) in names(connection).map_err(sqlite_error)? {
        let columns = match columns(connection, &name).map_err(sqlite_error) {
            Ok(columns) if columns.is_empty() => continue,
            Ok(columns) => columns,
            Err(SourceError::Query { .. }) => continue,
            Err(error) => return Err(error),
        };
        let rows = match has_statistics {
            0 => None,
            _ => rows(connection, &name).map_err(sqlite_error)?,
        };
        tables.push(Table {
            schema: SCHEMA.to_owned(),
            is_in_default_schema: true,
            name,
            is_view,
            rows,
            columns,
        });
    }
    Ok(tables)
}

fn names(connection: &Connection) -> Result<Vec<(String, bool)>, rusqlite::Error> {
    let mut statement = connection.prepare(TABLES)?;
    let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    names.collect()
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<TableColumn>, rusqlite::Error> {
    let mut statement = connection.prepare(COLUMNS)?;
    let columns = statement.query_map([table], column)?;
    columns.collect()
}

fn column(row: &Row<'_>) -> Result<TableColumn, rusqlite::Error> {
    let type_name: String = row.get(1)?;
    let key_position: u32 = row.get(2)?;
    Ok(TableColumn {
        name: row.get(0)?,
        filter_type: filter_type(&type_name),
        type_name,
        key_position: (key_position > 0).then_some(key_position),
    })
}

fn rows(connection: &Connection, table: &str) -> Result<Option<u64>, rusqlite::Error> {
    let rows: Option<i64> = connection.query_row(ROWS, [table], |row| row.get(0))?;
    Ok(rows.and_then(|rows| u64::try_from(rows).ok()))
}

/// Returns the type of a filter for a declared type, in the order of "Datatypes In SQLite", section 3.1. SQLite has no types
/// for booleans, times and UUIDs, but people declare them.
fn filter_type(declared: &str) -> Option<FilterType> {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    match () {
        () if has(&["INT"]) => Some(FilterType::Integer),
        () if has(&["CHAR", "CLOB", "TEXT"]) => Some(FilterType::Text),
        () if has(&["BLOB", "JSON"]) => None,
        () if has(&["REAL", "FLOA", "DOUB", "DEC", "NUM"]) => Some(FilterType::Decimal),
        () if has(&["BOOL"]) => Some(FilterType::Boolean),
        () if has(&["DATE", "TIMESTAMP"]) => Some(FilterType::Timestamp),
        () if has(&["UUID"]) => Some(FilterType::Uuid),
        () => Some(FilterType::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables_of(sql: &str) -> Vec<Table> {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(sql).expect("tables");
        tables(&connection).expect("tables")
    }

    #[test]
    fn tables_and_views_have_their_readable_columns_and_keys() {
        let found = tables_of(
            "create table b (n integer, \"a \"\" b\" text, at datetime, x, data blob, double generated always as (n * 2), \
             primary key (at, n));
             create table a (id integer primary key);
             create view v as select id, id + 1 as next from a;
             create view broken as select * from gone;
             create virtual table t using fts5(body);",
        );
        let names: Vec<_> = found
            .iter()
            .map(|it| (it.name.as_str(), it.is_view))
            .collect();
        assert_eq!(
            names,
            [("a", false), ("b", false), ("t", false), ("v", true)]
        );
        let b = &found[1];
        let columns: Vec<&str> = b.columns.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(columns, ["n", "a \" b", "at", "x", "data", "double"]);
        let key: Vec<&str> = b.key().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(key, ["at", "n"]);
        let types: Vec<_> = b.columns.iter().map(|it| it.filter_type).collect();
        let expected = [
            Some(FilterType::Integer),
            Some(FilterType::Text),
            Some(FilterType::Timestamp),
            Some(FilterType::Text),
            None,
            Some(FilterType::Text),
        ];
        assert_eq!(types, expected);
        assert!(found.iter().all(|it| it.rows.is_none()), "no statistics");
    }

    #[test]
    fn rows_are_those_that_analyze_has_counted() {
        let found = tables_of(
            "create table a (id integer primary key, x);
             create index small on a (x) where x > 8;
             create index large on a (x, id);
             create table unknown (id integer);
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 10)
             insert into a select i, i from n;
             analyze;",
        );
        let rows: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.rows)).collect();
        assert_eq!(rows, [("a", Some(10)), ("unknown", None)]);
    }
}
