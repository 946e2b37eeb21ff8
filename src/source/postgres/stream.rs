//! One query: its rows, from the first to the last or to a visible failure.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::types::Type;

use super::connect::Connection;
use super::decode::Decoder;
use super::parameter::AsText;
use super::plan::{Plan, parameter_in};
use super::row_interceptor::{HEAD_BYTES, row_bytes};
use super::run_failure;
use super::session::Settings;
use crate::catalog::BoundQuery;
use crate::row::{Cell, Column, RowBuffer};
use crate::source::pool::Query;
use crate::source::sink::{Stop, TaskRowSink};
use crate::source::stream::FLUSH_INTERVAL;
use crate::source::{Passes, SourceError, SourceOptions, refusal};

/// A query, and how often it is read.
pub(super) struct Rows {
    pub(super) query: BoundQuery,
    pub(super) passes: Passes,
    pub(super) plan: Arc<Plan>,
    pub(super) options: SourceOptions,
}

impl Query<Connection> for Rows {
    async fn run(self, connection: &mut Connection, sink: &mut TaskRowSink) -> Result<(), Stop> {
        let Rows { query, plan, .. } = &self;
        let settings = Settings::of(query, connection.version, &self.options);
        stream(connection, Some(&settings), query, plan, sink).await?;
        if self.passes == Passes::Two {
            sink.finish().await?;
            stream(connection, None, query, plan, sink).await?;
        }
        Ok(())
    }
}

/// Runs the query, after the settings of its transaction where it is the first.
async fn stream(
    connection: &Connection,
    settings: Option<&Settings>,
    query: &BoundQuery,
    plan: &Plan,
    sink: &mut TaskRowSink,
) -> Result<(), Stop> {
    let chosen = plan.choose(query.columns()).map_err(gone)?;
    let sql = plan.select(&chosen);
    // Sent together, so that there is one round trip until the first row. After the two answers to
    // the settings comes the one with the rows.
    let answers_before = if settings.is_some() { 2 } else { 0 };
    let formats = chosen.iter().map(|(_, decoder)| decoder.format()).collect();
    let mut chunks = connection.intercept.intercept(answers_before, formats);
    let begin = async {
        match settings {
            Some(settings) => settings.begin(&connection.client).await,
            None => Ok(()),
        }
    };
    let (begun, rest) = tokio::join!(
        begin,
        connection.client.query_typed_raw(&sql, values(plan, query))
    );
    begun.map_err(|error| run_failure(&error))?;
    let rest = rest.map_err(|error| refused(&error, plan))?;
    tokio::pin!(rest);

    let columns: Vec<Column> = chosen.iter().map(|(column, _)| column.clone()).collect();
    let mut rows = RowDecoder {
        decoders: chosen.iter().map(|(_, decoder)| *decoder).collect(),
        columns: columns.clone(),
        rows: 0,
    };
    sink.start(columns).await?;
    loop {
        // A slow query shows its progress.
        let chunk = match timeout(FLUSH_INTERVAL, chunks.recv()).await {
            Ok(chunk) => chunk,
            Err(_) => {
                if !sink.is_empty() {
                    sink.flush().await?;
                }
                chunks.recv().await
            }
        };
        let Some(chunk) = chunk else {
            break;
        };
        let mut messages = chunk.as_ref();
        while let Some(row) = next_row(&mut messages)? {
            rows.decode(row, sink.row())?;
            if sink.is_full() {
                sink.flush().await?;
            }
        }
    }
    match rest.next().await {
        None if rest.rows_affected() == Some(rows.rows) => Ok(()),
        Some(Err(error)) => Err(run_failure(&error).into()),
        // The server counts too.
        None | Some(Ok(_)) => Err(SourceError::Truncated.into()),
    }
}

/// The parameters of the query, each with its type.
pub(super) fn values<'q>(
    plan: &'q Plan,
    query: &'q BoundQuery,
) -> impl ExactSizeIterator<Item = (AsText<'q>, Type)> {
    plan.parameters.iter().map(|(kind, variable)| {
        let parameter = &query.parameters()[*variable];
        (AsText(parameter), kind.clone())
    })
}

/// The link names a column that the statement had when it was issued.
pub(super) fn gone(column: String) -> SourceError {
    refusal(format!("no column `{column}` any more"))
}

/// Splits the next `DataRow` off; returns what follows its head.
fn next_row<'m>(messages: &mut &'m [u8]) -> Result<Option<&'m [u8]>, SourceError> {
    let Some((head, _)) = messages.split_first_chunk() else {
        return Ok(None);
    };
    let length = row_bytes(head);
    let (row, rest) = messages
        .split_at_checked(length)
        .ok_or_else(|| SourceError::Truncated)?;
    *messages = rest;
    Ok(Some(&row[HEAD_BYTES..]))
}

/// Turns rows as they came over the wire into cells.
struct RowDecoder {
    columns: Vec<Column>,
    decoders: Vec<Decoder>,
    rows: u64,
}

impl RowDecoder {
    /// Reads a row: the count of its values in two bytes, then each with its length in four, which
    /// is -1 for NULL.
    fn decode(&mut self, row: &[u8], cells: &mut RowBuffer) -> Result<(), SourceError> {
        self.rows += 1;
        let (count, mut rest) = row
            .split_first_chunk()
            .ok_or_else(|| SourceError::Truncated)?;
        if usize::from(u16::from_be_bytes(*count)) != self.decoders.len() {
            return Err(SourceError::Truncated);
        }
        for (index, decoder) in self.decoders.iter().enumerate() {
            let (length, values) = rest
                .split_first_chunk()
                .ok_or_else(|| SourceError::Truncated)?;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                cells.push(Cell::Null);
                rest = values;
                continue;
            };
            let (value, values) = values
                .split_at_checked(length)
                .ok_or_else(|| SourceError::Truncated)?;
            decoder
                .read(value, cells)
                .map_err(|_| unreadable(self.rows, &self.columns[index]))?;
            rest = values;
        }
        Ok(())
    }
}

/// Before a query runs, a data exception (class 22 of the standard) is that of a parameter: text
/// that its type does not take.
fn refused(error: &Error, plan: &Plan) -> SourceError {
    let Some(said) = error
        .as_db_error()
        .filter(|it| it.code().code().starts_with("22"))
    else {
        return run_failure(error);
    };
    let parameter = said.where_().and_then(parameter_in);
    let parameter = parameter.and_then(|index| plan.parameters.get(index));
    SourceError::BadValue {
        variable: parameter.map(|(_, variable)| *variable),
        cause: run_failure(error).into(),
    }
}

fn unreadable(row: u64, column: &Column) -> SourceError {
    refusal(format!(
        "row {row}, column `{}`: unknown format",
        column.name
    ))
}
