//! Runs a query and streams its rows until the last row or an error.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use tokio::runtime::Handle;

use super::SqliteSource;
use super::connect::has_wal;
use super::describe::columns;
use super::errors::sqlite_error;
use super::parameter::{bind, exact};
use crate::catalog::BoundQuery;
use crate::row::{Cell, Column, Kind};
use crate::source::api::Passes;
use crate::source::connection_time::ConnectionTime;
use crate::source::errors::{SourceError, unknown_column_error};
use crate::source::sink::{NewRowSink, RowSink, Stop};
use crate::source::spelling::{Comparison, check_spellings, is_identity};

/// Instructions of SQLite's virtual machine between two calls of the progress hook: well under a millisecond, and
/// too rare to have a measurable cost.
const PROGRESS_INSTRUCTIONS: i32 = 10_000;

/// Sends the rows, or the error, to the sink.
pub(super) fn run(
    source: &SqliteSource,
    query: &BoundQuery,
    passes: Passes,
    runtime: Handle,
    time: &ConnectionTime,
    sink: NewRowSink,
) {
    let sink = sink.on_this_thread();
    let outcome = stream(source, query, passes, runtime, &sink);
    time.end();
    // Here the connection is closed already: a slow reader of the error does not prolong a lock.
    if let Err(Stop::Failed(error)) = outcome {
        // A query that was cancelled at the deadline was only interrupted.
        let error = sink.lock_error().unwrap_or(error);
        sink.fail(error);
    }
}

fn stream(
    source: &SqliteSource,
    query: &BoundQuery,
    passes: Passes,
    runtime: Handle,
    sink: &RowSink,
) -> Result<(), Stop> {
    let mut connection = source.connect()?;
    if !has_wal(&connection)? {
        sink.set_lock_max(source.options.sqlite_lock_max, runtime);
    }
    // Both are needed: the hook does not run inside one long instruction such as a count, and an interrupt between
    // two steps is lost.
    let interrupt = connection.get_interrupt_handle();
    sink.on_cancel(move || interrupt.interrupt());
    connection.progress_handler(PROGRESS_INSTRUCTIONS, Some(sink.progress_hook()))?;
    let sheets = 0..query.export().sheets.len();
    sheets
        .clone()
        .try_for_each(|sheet| check_identities(query, sheet))?;
    let mut statements = Vec::new();
    for sheet in sheets {
        statements.push(RowStatement::prepare(&connection, query, sheet)?);
    }
    if passes == Passes::Two || statements.len() > 1 {
        // The first read begins the snapshot that all others use.
        connection.execute_batch("begin")?;
    }
    for _ in 0..passes.count() {
        let count = statements.len();
        for (sheet, statement) in statements.iter_mut().enumerate() {
            let statements_after = count - sheet - 1;
            statement.send_rows(statements_after, source.options.row_bytes_max, sink)?;
        }
    }
    Ok(())
}

/// Checks the user id and the claims in a sheet's statement.
fn check_identities(query: &BoundQuery, sheet: usize) -> Result<(), SourceError> {
    let all = query.statement(sheet).variables.iter().enumerate();
    let identities = all.filter(|(_, variable)| is_identity(variable));
    let uses = identities.map(|(index, _)| (index, Comparison::TextOrNumber));
    check_spellings(query, sheet, uses)
}

/// A statement with its values.
struct RowStatement<'c> {
    prepared: rusqlite::Statement<'c>,
    /// The columns to read, and the index of each in a row.
    columns: Vec<Column>,
    indices: Vec<usize>,
}

impl<'c> RowStatement<'c> {
    fn prepare(
        connection: &'c Connection,
        query: &BoundQuery,
        sheet: usize,
    ) -> Result<RowStatement<'c>, SourceError> {
        let parameters = query.parameters(sheet);
        let (sql, arguments) = exact(query.statement(sheet), Some(parameters));
        let mut prepared = connection.prepare(&sql).map_err(sqlite_error)?;
        for (index, argument) in arguments.iter().enumerate() {
            let value = bind(&argument.value(parameters));
            let bound = prepared.raw_bind_parameter(index + 1, value);
            bound.map_err(sqlite_error)?;
        }
        let (columns, indices) = project(columns(&prepared), query.columns(sheet))?;
        Ok(RowStatement {
            prepared,
            columns,
            indices,
        })
    }

    fn send_rows(
        &mut self,
        statements_after: usize,
        row_bytes_max: usize,
        sink: &RowSink,
    ) -> Result<(), Stop> {
        sink.start(self.columns.clone(), statements_after)?;
        send_rows(
            &mut self.prepared,
            &self.columns,
            &self.indices,
            row_bytes_max,
            sink,
        )
    }
}

fn send_rows(
    prepared: &mut rusqlite::Statement<'_>,
    columns: &[Column],
    indices: &[usize],
    row_bytes_max: usize,
    sink: &RowSink,
) -> Result<(), Stop> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let large = columns.iter().filter(|column| !is_number(column.kind));
    let large: Vec<String> = large.map(|column| column.name.clone()).collect();
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
