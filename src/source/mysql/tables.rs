//! The tables and views of a server.

use mysql_async::Row;
use mysql_async::prelude::Queryable as _;

use super::connect::Connection;
use super::errors::prepare_error;
use crate::catalog::FilterType;
use crate::source::errors::SourceError;
use crate::source::tables::{Table, TableColumn, add_column};

/// The columns that the login may use. The database of the URL comes first.
const COLUMNS: &str = "select t.table_schema, t.table_schema = database(), t.table_name, t.table_type like '%VIEW', \
     t.table_rows, c.column_name, c.column_type, c.data_type, s.seq_in_index \
     from information_schema.tables t \
     join information_schema.columns c on c.table_schema = t.table_schema and c.table_name = t.table_name \
     left join information_schema.statistics s on s.table_schema = c.table_schema and s.table_name = c.table_name \
     and s.column_name = c.column_name and s.index_name = 'PRIMARY' \
     where t.table_type <> 'SEQUENCE' \
     and t.table_schema not in ('information_schema', 'performance_schema', 'mysql', 'sys') \
     order by t.table_schema <> database(), t.table_schema, t.table_name, c.ordinal_position";

/// Returns the tables and views.
///
/// # Errors
/// Returns [`SourceError::Unavailable`] if the connection fails, and the server's error otherwise.
pub(super) async fn tables(connection: &mut Connection) -> Result<Vec<Table>, SourceError> {
    // Without parameters the server sends every value as text.
    let rows: Result<Vec<Row>, _> = connection.query(COLUMNS).await;
    let rows = rows.map_err(|error| prepare_error(&error, ""))?;
    let mut tables = Vec::new();
    for row in &rows {
        let (table, column) = read(row);
        add_column(&mut tables, table, column);
    }
    Ok(tables)
}

fn read(row: &Row) -> (Table, TableColumn) {
    let text = |index| text(row, index).unwrap_or_default();
    let (column_type, data_type) = (text(6), text(7));
    let table = Table {
        schema: text(0),
        is_in_default_schema: text(1) == "1",
        name: text(2),
        is_view: text(3) == "1",
        rows: text(4).parse().ok(),
        columns: Vec::new(),
    };
    let column = TableColumn {
        name: text(5),
        filter_type: filter_type(&data_type, &column_type),
        type_name: column_type,
        key_position: text(8).parse().ok(),
    };
    (table, column)
}

/// Returns a value as text; `None` for NULL.
fn text(row: &Row, index: usize) -> Option<String> {
    row.get_opt::<Option<String>, _>(index)?.ok()?
}

/// Returns the type of a filter for a type. `boolean` is another name of `tinyint(1)`.
fn filter_type(data_type: &str, column_type: &str) -> Option<FilterType> {
    match data_type.to_ascii_lowercase().as_str() {
        "tinyint" if column_type.eq_ignore_ascii_case("tinyint(1)") => Some(FilterType::Boolean),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => {
            Some(FilterType::Integer)
        }
        "decimal" | "float" | "double" => Some(FilterType::Decimal),
        "date" => Some(FilterType::Date),
        "datetime" | "timestamp" => Some(FilterType::Timestamp),
        "uuid" => Some(FilterType::Uuid),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            Some(FilterType::Text)
        }
        _ => None,
    }
}
