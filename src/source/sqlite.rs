//! SQLite: one blocking thread and one read-only connection per query.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rust_decimal::prelude::ToPrimitive as _;

use super::api::{Passes, PoolStatus, RowEstimate, Source};
use super::errors::{SourceError, query_error, unknown_column_error};
use super::sink::{RowSink, Stop, row_channel};
use super::spelling::{Comparison, check_spellings, is_identity};
use super::stream::RowStream;
use crate::catalog::{BoundQuery, Export, Parameter, SqlDialect, Statement, Value};
use crate::row::{Cell, Column, Kind};

/// The maximum wait for a lock held by another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Instructions of SQLite's virtual machine between two calls of the progress hook: well under a millisecond, and
/// too rare to have a measurable cost.
const PROGRESS_INSTRUCTIONS: i32 = 10_000;

/// A SQLite database file, opened read-only.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    path: PathBuf,
    row_bytes_max: usize,
}

impl SqliteSource {
    /// Returns a source for a database file without opening it.
    pub fn new(path: impl AsRef<Path>, row_bytes_max: usize) -> SqliteSource {
        SqliteSource {
            path: path.as_ref().to_owned(),
            row_bytes_max,
        }
    }

    fn connect(&self) -> Result<Connection, SourceError> {
        // One thread uses the connection, so SQLite's own mutex is not needed.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(sqlite_error)?;
        connection
            .busy_timeout(BUSY_TIMEOUT)
            .map_err(sqlite_error)?;
        // For one value. SQLite checks it before it takes the memory.
        let value_bytes_max = i32::try_from(self.row_bytes_max).unwrap_or(i32::MAX);
        connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes_max)
            .map_err(sqlite_error)?;
        Ok(connection)
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(Connection) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || work(source.connect()?))
            .await
            .unwrap_or(Err(SourceError::Truncated))
    }
}

impl Source for SqliteSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Sqlite
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Vec<Column>, SourceError>> {
        let statement = export.statement.clone();
        Box::pin(self.on_thread(move |connection| describe(&connection, &statement)))
    }

    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>> {
        Box::pin(async move {
            let (sink, pending) = row_channel();
            let source = self.clone();
            // A separate thread: a slow reader would occupy one of the runtime's pool for minutes.
            thread::Builder::new()
                .name("rowlink-sqlite".into())
                .spawn(move || run(&source, &query, passes, sink))
                .map_err(|error| SourceError::Unavailable(error.into()))?;
            pending.open().await
        })
    }

    /// Returns `None`: SQLite's planner does not estimate row counts.
    fn estimate<'a>(
        &'a self,
        _: &'a BoundQuery,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SourceError>> {
        let source = self.clone();
        let count = |connection: Connection| {
            let sql = "select count(*) from sqlite_schema";
            connection
                .query_row(sql, [], |_| Ok(()))
                .map_err(sqlite_error)
        };
        Box::pin(async move { source.on_thread(count).await })
    }

    /// Returns `None`: connections to a file are not limited.
    fn pool_status(&self) -> Option<PoolStatus> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Query threads end with the process.
        Box::pin(std::future::ready(()))
    }
}

/// Returns the statement in which the user id and the claims are compared byte by byte, also with columns that are
/// declared `collate nocase`, and the index of the variable of each parameter.
fn exact(statement: &Statement) -> (String, Vec<usize>) {
    statement.expand_parameters(|number, variable| match is_identity(variable) {
        true => format!("(?{number} collate binary)"),
        false => format!("?{number}"),
    })
}

fn describe(connection: &Connection, statement: &Statement) -> Result<Vec<Column>, SourceError> {
    let (sql, variables) = exact(statement);
    let prepared = connection.prepare(&sql);
    let prepared = prepared.map_err(|error| at_same_line(sqlite_error(error), &sql, statement))?;
    if prepared.column_count() == 0 || !prepared.readonly() {
        return Err(query_error("expected a read-only query"));
    }
    if prepared.parameter_count() != variables.len() {
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

fn columns(prepared: &rusqlite::Statement<'_>) -> Vec<Column> {
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

fn run(source: &SqliteSource, query: &BoundQuery, passes: Passes, sink: RowSink) {
    if let Err(Stop::Failed(error)) = stream(source, query, passes, &sink) {
        sink.fail(error);
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Failed(sqlite_error(error))
    }
}

fn stream(
    source: &SqliteSource,
    query: &BoundQuery,
    passes: Passes,
    sink: &RowSink,
) -> Result<(), Stop> {
    let mut connection = source.connect()?;
    // Both are needed: the hook does not run inside one long instruction such as a count, and an interrupt between
    // two steps is lost.
    let interrupt = connection.get_interrupt_handle();
    sink.on_cancel(move || interrupt.interrupt());
    connection.progress_handler(PROGRESS_INSTRUCTIONS, Some(sink.progress_hook()))?;
    let (sql, variables) = exact(&query.export().statement);
    let all = query.export().statement.variables.iter().enumerate();
    let identities = all.filter(|(_, variable)| is_identity(variable));
    let uses = identities.map(|(index, _)| (index, Comparison::TextOrNumber));
    check_spellings(query, uses)?;
    let mut prepared = connection.prepare(&sql)?;
    for (index, variable) in variables.iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, bind(&query.parameters()[*variable]))?;
    }
    let (columns, indices) = project(columns(&prepared), query.columns())?;
    let row_bytes_max = source.row_bytes_max;
    match passes {
        Passes::One => send_rows(&mut prepared, columns, &indices, row_bytes_max, sink),
        Passes::Two => {
            // The first read begins the snapshot that both passes use.
            connection.execute_batch("begin")?;
            send_rows(
                &mut prepared,
                columns.clone(),
                &indices,
                row_bytes_max,
                sink,
            )?;
            send_rows(&mut prepared, columns, &indices, row_bytes_max, sink)
        }
    }
}

fn send_rows(
    prepared: &mut rusqlite::Statement<'_>,
    columns: Vec<Column>,
    indices: &[usize],
    row_bytes_max: usize,
    sink: &RowSink,
) -> Result<(), Stop> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let large = columns.iter().filter(|column| !is_number(column.kind));
    let large: Vec<String> = large.map(|column| column.name.clone()).collect();
    sink.start(columns)?;
    let too_large = |columns: &[String]| SourceError::RowTooLarge {
        row: sink.row().rows() + 1,
        columns: columns.to_vec(),
        row_bytes_max,
    };
    let mut rows = prepared.raw_query();
    loop {
        let next = rows
            .next()
            .map_err(|error| match error.sqlite_error_code() {
                // A value of the row, or one from which it is computed.
                Some(ErrorCode::TooBig) => too_large(&large),
                _ => sqlite_error(error),
            });
        let Some(row) = next? else {
            return sink.finish();
        };
        let mut cells = sink.row();
        let mut bytes = 0;
        for (column, index) in indices.iter().enumerate() {
            match row.get_ref(*index)? {
                ValueRef::Null => cells.push(Cell::Null),
                ValueRef::Integer(value) => cells.push(Cell::Integer(value)),
                ValueRef::Real(value) => cells.push(Cell::Float(value)),
                ValueRef::Text(value) | ValueRef::Blob(value)
                    if bytes + value.len() > row_bytes_max =>
                {
                    drop(cells);
                    return Err(too_large(&names[column..=column]).into());
                }
                ValueRef::Text(text) => {
                    bytes += text.len();
                    cells.push_text(text);
                }
                ValueRef::Blob(blob) => {
                    bytes += blob.len();
                    cells.push(Cell::Bytes(blob));
                }
            }
        }
        cells.end_row()?;
    }
}

fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::Integer | Kind::Float)
}

/// Returns the columns to read and their indices in a row.
fn project(
    columns: Vec<Column>,
    names: Option<&[String]>,
) -> Result<(Vec<Column>, Vec<usize>), SourceError> {
    let Some(names) = names else {
        let indices = (0..columns.len()).collect();
        return Ok((columns, indices));
    };
    let find = |name: &String| {
        let index = columns.iter().position(|column| column.name == *name);
        let index = index.ok_or_else(|| unknown_column_error(name))?;
        Ok((columns[index].clone(), index))
    };
    let found: Result<Vec<(Column, usize)>, SourceError> = names.iter().map(find).collect();
    Ok(found?.into_iter().unzip())
}

/// Converts a parameter. SQLite has neither lists nor dates: a list becomes a JSON array for `json_each`, a date
/// becomes ISO 8601.
fn bind(parameter: &Parameter) -> ToSqlOutput<'static> {
    let value = match parameter {
        Parameter::Null => SqliteValue::Null,
        Parameter::One(value) => sqlite_value(value),
        Parameter::List(values) => {
            let items: Vec<serde_json::Value> = values.iter().map(json).collect();
            SqliteValue::Text(serde_json::Value::from(items).to_string())
        }
    };
    ToSqlOutput::Owned(value)
}

fn sqlite_value(value: &Value) -> SqliteValue {
    match value {
        Value::Integer(number) => SqliteValue::Integer(*number),
        Value::Boolean(truth) => SqliteValue::Integer(i64::from(*truth)),
        Value::Decimal(number) => match number.to_i64() {
            Some(whole) if number.is_integer() => SqliteValue::Integer(whole),
            _ => SqliteValue::Real(number.to_f64().unwrap_or(f64::NAN)),
        },
        text => SqliteValue::Text(text.to_string()),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match sqlite_value(value) {
        SqliteValue::Integer(number) => number.into(),
        SqliteValue::Real(number) => number.into(),
        SqliteValue::Text(text) => text.into(),
        SqliteValue::Null | SqliteValue::Blob(_) => serde_json::Value::Null,
    }
}

/// Classifies an error of SQLite.
fn sqlite_error(error: rusqlite::Error) -> SourceError {
    if let rusqlite::Error::SqlInputError { offset, .. } = &error {
        let offset = usize::try_from(*offset).ok();
        return SourceError::Query {
            offset,
            cause: error.into(),
        };
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::PermissionDenied,
        ) => SourceError::Unavailable(error.into()),
        Some(ErrorCode::OperationInterrupted) => SourceError::Truncated,
        _ => SourceError::Query {
            offset: None,
            cause: error.into(),
        },
    }
}
