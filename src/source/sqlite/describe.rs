//! The columns of a statement.

use rusqlite::Connection;

use super::errors::sqlite_error;
use super::parameter::exact;
use crate::catalog::Statement;
use crate::row::{Column, Kind};
use crate::source::errors::{SourceError, query_error};

/// Prepares a statement without running it; returns its columns.
///
/// # Errors
/// Returns [`SourceError::Query`] if the statement cannot be exported.
pub(super) fn describe(
    connection: &Connection,
    statement: &Statement,
) -> Result<Vec<Column>, SourceError> {
    let (sql, arguments) = exact(statement, None);
    let prepared = connection.prepare(&sql);
    let prepared = prepared.map_err(|error| at_same_line(sqlite_error(error), &sql, statement))?;
    if prepared.column_count() == 0 || !prepared.readonly() {
        return Err(query_error("expected a read-only query"));
    }
    if prepared.parameter_count() != arguments.len() {
        return Err(query_error(
            "unsupported parameter syntax; write `:name`, not `@name`",
        ));
    }
    Ok(columns(&prepared))
}

/// Moves the offset of an error to the line of the export's SQL that it has in `sql`.
fn at_same_line(error: SourceError, sql: &str, statement: &Statement) -> SourceError {
    let SourceError::Query {
        offset: Some(offset),
        cause,
    } = error
    else {
        return error;
    };
    let lines_before = sql
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count();
    let mut line_starts = statement.sql.match_indices('\n').map(|(end, _)| end + 1);
    let offset = match lines_before.checked_sub(1) {
        None => Some(0),
        Some(index) => line_starts.nth(index),
    };
    SourceError::Query { offset, cause }
}

/// Returns the columns of a prepared statement.
pub(super) fn columns(prepared: &rusqlite::Statement<'_>) -> Vec<Column> {
    let columns = prepared.columns();
    let column = |column: rusqlite::Column<'_>| Column {
        name: column.name().to_owned(),
        kind: kind(column.decl_type()),
    };
    columns.map(column).collect()
}

/// Maps a declared column type to a kind: "Datatypes In SQLite", section 3.1. Expressions have no declared type, and a
/// type such as `decimal` does not determine what is stored.
fn kind(declared: Option<&str>) -> Kind {
    let declared = declared.unwrap_or_default().to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    match () {
        () if has(&["INT"]) => Kind::Integer,
        () if has(&["CHAR", "CLOB", "TEXT"]) => Kind::Text,
        () if has(&["BLOB"]) => Kind::Bytes,
        () if has(&["REAL", "FLOA", "DOUB"]) => Kind::Float,
        () => Kind::Text,
    }
}
