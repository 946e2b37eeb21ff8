//! Runs a query and streams its rows until the last row or an error.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_postgres::types::Type;

use super::connect::Connection;
use super::decode::Decoder;
use super::errors::{bind_error, decode_error, execute_error, settings_error};
use super::message::{HEADER_BYTES, parse_header};
use super::parallel::{Helpers, Split};
use super::parameter::{AsText, bind_parameters};
use super::plan::Plan;
use super::session::Settings;
use crate::catalog::BoundQuery;
use crate::row::{Cell, Column, RowBuffer};
use crate::source::api::{Passes, SourceOptions};
use crate::source::errors::SourceError;
use crate::source::pool::Query;
use crate::source::sink::{Stop, TaskRowSink};
use crate::source::spelling::check_spellings;
use crate::source::stream::FLUSH_INTERVAL;

/// A query with the plan of each statement, and the number of passes.
pub(super) struct RowQuery {
    pub(super) query: BoundQuery,
    pub(super) passes: Passes,
    pub(super) plans: Arc<[Plan]>,
    pub(super) options: SourceOptions,
    /// Other connections, if its statement can be read in ranges.
    pub(super) helpers: Option<Helpers>,
}

/// One statement to run.
pub(super) struct Request<'q> {
    pub(super) sheet: usize,
    pub(super) sql: String,
    pub(super) values: Vec<(AsText<'q>, Type)>,
    /// If any, the transaction begins with them.
    pub(super) settings: Option<&'q Settings>,
    /// How many statements follow this one in the same pass.
    pub(super) statements_after: usize,
}

impl Query<Connection> for RowQuery {
    async fn run(self, connection: &mut Connection, sink: &mut TaskRowSink) -> Result<(), Stop> {
        let RowQuery { query, plans, .. } = &self;
        for (sheet, plan) in plans.iter().enumerate() {
            check_spellings(query, sheet, plan.comparisons(query.statement(sheet))?)?;
        }
        let settings = Settings::for_query(query, connection.version, &self.options);
        let split = match &self.helpers {
            Some(helpers) => Split::of(&self, helpers, connection, &settings).await?,
            None => Split::NotBegun,
        };
        match (split, self.helpers.clone()) {
            (Split::Ranges(ranges), Some(helpers)) => {
                ranges.run(self, &helpers, connection, sink).await
            }
            (Split::Whole, _) => self.stream_all(connection, None, sink).await,
            _ => self.stream_all(connection, Some(&settings), sink).await,
        }
    }
}

impl RowQuery {
    /// Runs all statements. The first one begins the transaction if there are `settings`.
    async fn stream_all(
        &self,
        connection: &Connection,
        mut settings: Option<&Settings>,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let mut is_first = true;
        for _ in 0..self.passes.count() {
            for (sheet, plan) in self.plans.iter().enumerate() {
                if !is_first {
                    sink.finish().await?;
                }
                is_first = false;
                let (select, _) = self.select(sheet)?;
                let sql = match &self.helpers {
                    // A file that a client can continue must not depend on how many connections were free.
                    Some(helpers) if self.passes == Passes::Two => helpers.plan.in_order(&select),
                    _ => select,
                };
                let request = Request {
                    sheet,
                    sql,
                    values: bind_parameters(&plan.parameters, &self.query, sheet).collect(),
                    settings: settings.take(),
                    statements_after: self.plans.len() - sheet - 1,
                };
                self.stream(connection, request, sink).await?;
            }
        }
        Ok(())
    }

    /// Returns the SQL of a sheet's statement with the columns of the link, and their number.
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if the statement lacks one of them.
    pub(super) fn select(&self, sheet: usize) -> Result<(String, usize), SourceError> {
        let chosen = self.chosen(sheet)?;
        Ok((self.plans[sheet].select(&chosen), chosen.len()))
    }

    /// Returns the columns of a sheet.
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if the statement lacks one of them.
    pub(super) fn columns(&self, sheet: usize) -> Result<Vec<Column>, SourceError> {
        let chosen = self.chosen(sheet)?;
        let columns = chosen.into_iter();
        Ok(columns.map(|(column, _)| column.clone()).collect())
    }

    fn chosen(&self, sheet: usize) -> Result<Vec<(&Column, Decoder)>, SourceError> {
        let (columns, as_json) = (self.query.columns(sheet), self.query.arrays_as_json());
        self.plans[sheet].choose(columns, as_json)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// Returns [`Stop::ReaderDropped`] if the stream was dropped, and [`Stop::Failed`] if the statement failed or the server
    /// reports another number of rows.
    pub(super) async fn stream(
        &self,
        connection: &Connection,
        request: Request<'_>,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let Request {
            sheet, settings, ..
        } = request;
        let (query, plan) = (&self.query, &self.plans[sheet]);
        let chosen = self.chosen(sheet)?;
        // All requests are pipelined: one round trip until the first row. `begin` and the settings have one response each
        // before the response with the rows.
        let responses_before = if settings.is_some() { 2 } else { 0 };
        let formats = chosen.iter().map(|(_, decoder)| decoder.format()).collect();
        let row_bytes_max = self.options.row_bytes_max;
        let intercept = &connection.intercept;
        let mut chunks = intercept.intercept(responses_before, formats, row_bytes_max);
        let begin = async {
            match settings {
                Some(settings) => settings.begin(&connection.client).await,
                None => Ok(()),
            }
        };
        let (begun, response) = tokio::join!(
            begin,
            connection
                .client
                .query_typed_raw(&request.sql, request.values)
        );
        let variables = &query.statement(sheet).variables;
        begun.map_err(|error| settings_error(&error, variables))?;
        // The response without its rows.
        let response = response.map_err(|error| bind_error(&error, &plan.parameters, variables))?;
        tokio::pin!(response);

        let columns: Vec<Column> = chosen
            .iter()
            .map(|(column, _)| Column::clone(column))
            .collect();
        let mut rows = RowDecoder {
            decoders: chosen.iter().map(|(_, decoder)| *decoder).collect(),
            columns: columns.clone(),
            rows: 0,
        };
        sink.start(columns, request.statements_after).await?;
        loop {
            // A partial batch is flushed after a while, so a slow query shows progress.
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
            let chunk = chunk.map_err(|row| SourceError::RowTooLarge {
                row: rows.rows + 1,
                columns: vec![rows.columns[row.column].name.clone()],
                row_bytes_max,
            })?;
            let mut messages = chunk.as_ref();
            while let Some(row) = next_row(&mut messages)? {
                rows.decode(row, sink.row())?;
                if sink.is_full() {
                    sink.flush().await?;
                }
            }
        }
        match response.next().await {
            None if response.rows_affected() == Some(rows.rows) => Ok(()),
            Some(Err(error)) => Err(execute_error(&error).into()),
            // The server reports another number of rows, or the driver received one.
            None | Some(Ok(_)) => Err(SourceError::Truncated.into()),
        }
    }
}

/// Splits the next `DataRow` off `messages`; returns its body.
fn next_row<'m>(messages: &mut &'m [u8]) -> Result<Option<&'m [u8]>, SourceError> {
    let Some((header, _)) = messages.split_first_chunk() else {
        return Ok(None);
    };
    let (_, length) = parse_header(header).map_err(|_| SourceError::Truncated)?;
    let (row, rest) = messages
        .split_at_checked(length)
        .ok_or_else(|| SourceError::Truncated)?;
    *messages = rest;
    Ok(Some(&row[HEADER_BYTES..]))
}

/// Decodes `DataRow` messages into cells.
struct RowDecoder {
    columns: Vec<Column>,
    decoders: Vec<Decoder>,
    rows: u64,
}

impl RowDecoder {
    /// Decodes the body of a `DataRow`: the number of values in two bytes, then each value after its length in four
    /// bytes, which is -1 for NULL.
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
                .map_err(|_| decode_error(self.rows, &self.columns[index]))?;
            rest = values;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::errors::causes;

    #[test]
    fn the_error_of_a_value_in_a_later_part_of_a_file_names_its_row_in_the_file() {
        let mut rows = RowDecoder {
            columns: vec![Column::text("at")],
            decoders: vec![Decoder::Time],
            rows: 0,
        };
        let mut cells = RowBuffer::default();
        cells.reset(1);
        // One value of eight bytes: midnight, and a time before it.
        let row = |micros: i64| [&[0, 1, 0, 0, 0, 8][..], &micros.to_be_bytes()].concat();
        rows.decode(&row(0), &mut cells).expect("a row");
        let error = rows.decode(&row(-1), &mut cells);
        let error = error.expect_err("no time of a day").after_rows(100_000);
        let expected = "row 100002, column `at`: unsupported value format";
        assert_eq!(causes(&error), expected);
    }
}
