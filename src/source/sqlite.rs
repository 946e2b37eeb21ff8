//! SQLite: one blocking thread and one read-only connection a query.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rust_decimal::prelude::ToPrimitive as _;

use super::sink::{RowSink, Stop, row_channel};
use super::{Passes, PoolStatus, RowEstimate, RowStream, Source, SourceError, refusal};
use crate::catalog::{BoundQuery, Export, Parameter, SqlDialect, Statement, Value};
use crate::row::{Cell, Column, Kind};

/// How long a lock of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Instructions of SQLite's virtual machine between two looks at whether the reader has left: well
/// under a millisecond, and too rare to cost anything.
const PROGRESS_INSTRUCTIONS: i32 = 10_000;

/// A SQLite database file, only ever read.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    path: PathBuf,
}

impl SqliteSource {
    /// The database in that file. Nothing is opened yet.
    pub fn new(path: impl AsRef<Path>) -> SqliteSource {
        SqliteSource {
            path: path.as_ref().to_owned(),
        }
    }

    fn connect(&self) -> Result<Connection, SourceError> {
        // One thread uses the connection, so SQLite's own mutex would only cost.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(failure)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
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
            // A thread of its own, not the runtime's pool: a slow reader keeps it for minutes.
            thread::Builder::new()
                .name("rowlink-sqlite".into())
                .spawn(move || run(&source, &query, passes, sink))
                .map_err(|error| SourceError::Unavailable(error.into()))?;
            pending.open().await
        })
    }

    /// SQLite's planner foretells no number of rows.
    fn estimate<'a>(
        &'a self,
        _: &'a BoundQuery,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.on_thread(|connection| {
            let count = "select count(*) from sqlite_schema";
            connection.query_row(count, [], |_| Ok(())).map_err(failure)
        }))
    }

    /// A file has no connections to run out of.
    fn pool_status(&self) -> Option<PoolStatus> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // The process ends, and with it its threads.
        Box::pin(std::future::ready(()))
    }
}

fn describe(connection: &Connection, statement: &Statement) -> Result<Vec<Column>, SourceError> {
    let prepared = connection.prepare(&statement.sql).map_err(failure)?;
    if prepared.column_count() == 0 || !prepared.readonly() {
        return Err(refusal("the statement must be a query that only reads"));
    }
    if prepared.parameter_count() != statement.variables.len() {
        return Err(refusal("parameters are written `:name`, not `@name`"));
    }
    Ok(columns(&prepared))
}

fn columns(prepared: &rusqlite::Statement<'_>) -> Vec<Column> {
    let columns = prepared.columns();
    let column = |column: rusqlite::Column<'_>| Column {
        name: column.name().to_owned(),
        kind: kind(column.decl_type()),
    };
    columns.map(column).collect()
}

/// What a column holds that was declared so: "Datatypes In SQLite", section 3.1. What an expression gives is not
/// declared, and a type such as `decimal` says nothing of what is stored.
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
        Stop::Failed(failure(error))
    }
}

fn stream(
    source: &SqliteSource,
    query: &BoundQuery,
    passes: Passes,
    sink: &RowSink,
) -> Result<(), Stop> {
    let mut connection = source.connect()?;
    // The hook alone does not run inside one long instruction such as a count; an interrupt alone
    // is lost when it comes between two steps.
    let interrupt = connection.get_interrupt_handle();
    sink.on_cancel(move || interrupt.interrupt());
    connection.progress_handler(PROGRESS_INSTRUCTIONS, Some(sink.progress_hook()))?;
    let mut prepared = connection.prepare(&query.export().statement.sql)?;
    for (index, parameter) in query.parameters().iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, bind(parameter))?;
    }
    let (columns, indices) = project(columns(&prepared), query.columns())?;
    match passes {
        Passes::One => send_rows(&mut prepared, columns, &indices, sink),
        Passes::Two => {
            // The first read begins a snapshot, which both see.
            connection.execute_batch("begin")?;
            send_rows(&mut prepared, columns.clone(), &indices, sink)?;
            send_rows(&mut prepared, columns, &indices, sink)
        }
    }
}

fn send_rows(
    prepared: &mut rusqlite::Statement<'_>,
    columns: Vec<Column>,
    indices: &[usize],
    sink: &RowSink,
) -> Result<(), Stop> {
    sink.start(columns)?;
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next()? {
        let mut cells = sink.row();
        for index in indices {
            match row.get_ref(*index)? {
                ValueRef::Null => cells.push(Cell::Null),
                ValueRef::Integer(value) => cells.push(Cell::Integer(value)),
                ValueRef::Real(value) => cells.push(Cell::Float(value)),
                ValueRef::Text(text) => cells.push_text(text),
                ValueRef::Blob(bytes) => cells.push(Cell::Bytes(bytes)),
            }
        }
        cells.end_row()?;
    }
    sink.finish()
}

/// The columns to read and where they stand in a row.
fn project(
    columns: Vec<Column>,
    chosen: Option<&[String]>,
) -> Result<(Vec<Column>, Vec<usize>), SourceError> {
    let Some(names) = chosen else {
        let indices = (0..columns.len()).collect();
        return Ok((columns, indices));
    };
    let find = |name: &String| {
        let index = columns.iter().position(|column| column.name == *name);
        let index = index.ok_or_else(|| refusal(format!("no column `{name}` any more")))?;
        Ok((columns[index].clone(), index))
    };
    let found: Result<Vec<(Column, usize)>, SourceError> = names.iter().map(find).collect();
    Ok(found?.into_iter().unzip())
}

/// SQLite has neither lists nor dates: a list is a JSON array for `json_each`, a date is ISO 8601.
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

fn failure(error: rusqlite::Error) -> SourceError {
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
