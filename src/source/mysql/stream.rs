//! Runs a query and streams its rows until the last row or an error.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column as ColumnDefinition, Row, Statement};
use tokio::time::timeout;

use super::connect::Connection;
use super::decode::Decoder;
use super::errors::{bind_error, execute_error, is_too_large, prepare_error};
use super::parameter::{PLAIN, POINT, expand, expand_with, values};
use crate::catalog::{
    Argument, BoundQuery, Export, FilterType, Sheet, Statement as ExportStatement, Variable,
};
use crate::row::{Column, RowBuffer};
use crate::source::api::{DescribeError, Passes};
use crate::source::errors::{SourceError, query_error, unknown_column_error};
use crate::source::pool::Query;
use crate::source::sink::{Stop, TaskRowSink};
use crate::source::spelling::{Comparison, check_spellings, is_identity};
use crate::source::stream::FLUSH_INTERVAL;

/// MariaDB's `ER_ILLEGAL_PARAMETER_DATA_TYPES2_FOR_OPERATION` and `ER_ILLEGAL_PARAMETER_DATA_TYPE_FOR_OPERATION`.
const ILLEGAL_TYPES: [u16; 2] = [4078, 4079];

/// `ER_CUT_VALUE_GROUP_CONCAT`, also of `json_arrayagg`, and `ER_WARN_ALLOWED_PACKET_OVERFLOWED`.
const TRUNCATED_VALUE: [u16; 2] = [1260, 1301];

/// One snapshot for the whole file; no writes.
const BEGIN: &str = "start transaction with consistent snapshot, read only";

/// The columns of an export's statement when it was described.
pub(super) struct Description {
    pub(super) columns: Vec<Column>,
    /// The names of MariaDB's JSON columns, found by their check constraints.
    pub(super) json: BTreeSet<String>,
    /// The index of the variable of each `?`, and how the server compares it.
    uses: Vec<(usize, Comparison)>,
}

/// Prepares an export's statements without running them.
///
/// # Errors
/// Returns [`SourceError::Query`] if a statement cannot be exported, and [`SourceError::Unavailable`] if the
/// connection fails.
pub(super) async fn describe(
    connection: &mut Connection,
    export: &Export,
) -> Result<Vec<Description>, DescribeError> {
    let mut descriptions = Vec::new();
    for (sheet, Sheet { statement, .. }) in export.sheets.iter().enumerate() {
        let description = describe_statement(connection, export, statement).await;
        descriptions.push(description.map_err(|error| DescribeError { sheet, error })?);
    }
    Ok(descriptions)
}

async fn describe_statement(
    connection: &mut Connection,
    export: &Export,
    statement: &ExportStatement,
) -> Result<Description, SourceError> {
    let (sql, arguments) = expand(export, statement, None);
    if !only_reads(&sql) {
        return Err(query_error("expected a read-only query"));
    }
    let prepared = connection.prep(sql.as_str()).await;
    // The expanded SQL has the same lines, so the error's line is valid for the export's SQL.
    let prepared = prepared.map_err(|error| prepare_error(&error, &statement.sql))?;
    if prepared.columns().is_empty() {
        return Err(query_error("expected a query that returns columns"));
    }
    if usize::from(prepared.num_params()) != arguments.len() {
        return Err(query_error(
            "unsupported parameter syntax; write `:name`, not `?`",
        ));
    }
    let mut json = BTreeSet::new();
    for column in prepared.columns().iter() {
        let is_json = is_checked_as_json(connection, column).await;
        if is_json.map_err(|error| prepare_error(&error, ""))? {
            json.insert(column.name_str().into_owned());
        }
    }
    let columns = prepared.columns();
    let columns = columns.iter().map(|definition| column(definition, &json).0);
    let columns = columns.collect();
    let mut uses = Vec::new();
    for (index, argument) in arguments.into_iter().enumerate() {
        let comparison = comparison(connection, export, statement, index + 1, argument);
        uses.push((argument.variable, comparison.await?));
    }
    Ok(Description {
        columns,
        json,
        uses,
    })
}

/// Whether the value of an argument is a text.
fn is_text(export: &Export, statement: &ExportStatement, argument: Argument) -> bool {
    let is_text_filter = |name: &String| {
        let mut filters = export.filters.iter();
        let is_element = argument.element.is_some();
        filters.any(|it| it.name == *name && it.kind == FilterType::Text && it.list == is_element)
    };
    match &statement.variables[argument.variable] {
        Variable::User | Variable::Claim(_) => true,
        Variable::Filter(name) => is_text_filter(name),
    }
}

/// Finds out how the server compares the value of the `number`th parameter.
async fn comparison(
    connection: &mut Connection,
    export: &Export,
    statement: &ExportStatement,
    number: usize,
    argument: Argument,
) -> Result<Comparison, SourceError> {
    let variable = &statement.variables[argument.variable];
    if !is_text(export, statement, argument) {
        return Ok(Comparison::Text);
    }
    let as_number = |is_time: bool| match is_time {
        // The text of a filter may be compared with a date.
        true if !is_identity(variable) => Comparison::Text,
        _ => Comparison::Number,
    };
    // MySQL 8.0.22 derives the type of a parameter from what it is compared with.
    let plain = expand_with(PLAIN, export, statement, number);
    let plain = connection.prep(plain).await;
    match plain.map(|prepared| derived_type(&prepared, number)) {
        Ok(DerivedType::Text) | Err(mysql_async::Error::Server(_)) => {}
        Ok(DerivedType::Number) => return Ok(as_number(false)),
        Ok(DerivedType::Time) => return Ok(as_number(true)),
        Err(error) => return Err(prepare_error(&error, "")),
    }
    let point = expand_with(POINT, export, statement, number);
    match connection.prep(point).await {
        Err(mysql_async::Error::Server(error)) if ILLEGAL_TYPES.contains(&error.code) => {
            let is_time = |word| ["date", "time", "datetime", "timestamp"].contains(&word);
            Ok(as_number(error.message.split_whitespace().any(is_time)))
        }
        // Anything else that is wrong with a point is not wrong with a text.
        Ok(_) | Err(mysql_async::Error::Server(_)) => Ok(Comparison::Text),
        Err(error) => Err(prepare_error(&error, "")),
    }
}

/// What the server compares a parameter with.
enum DerivedType {
    /// Texts, or the server does not tell.
    Text,
    Number,
    Time,
}

/// Returns the type that the server reports for the `number`th parameter. MariaDB reports texts for all.
fn derived_type(prepared: &Statement, number: usize) -> DerivedType {
    match prepared
        .params()
        .get(number - 1)
        .map(ColumnDefinition::column_type)
    {
        Some(
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_FLOAT
            | ColumnType::MYSQL_TYPE_DOUBLE
            | ColumnType::MYSQL_TYPE_DECIMAL
            | ColumnType::MYSQL_TYPE_NEWDECIMAL
            | ColumnType::MYSQL_TYPE_YEAR
            | ColumnType::MYSQL_TYPE_BIT,
        ) => DerivedType::Number,
        Some(
            ColumnType::MYSQL_TYPE_DATE
            | ColumnType::MYSQL_TYPE_NEWDATE
            | ColumnType::MYSQL_TYPE_TIME
            | ColumnType::MYSQL_TYPE_TIME2
            | ColumnType::MYSQL_TYPE_DATETIME
            | ColumnType::MYSQL_TYPE_DATETIME2
            | ColumnType::MYSQL_TYPE_TIMESTAMP
            | ColumnType::MYSQL_TYPE_TIMESTAMP2,
        ) => DerivedType::Time,
        _ => DerivedType::Text,
    }
}

/// Returns whether the statement is a query, from its first word. The read-only transaction also rejects writes, but
/// only when a download runs; `insert … returning` returns columns too.
fn only_reads(sql: &str) -> bool {
    let sql = sql.trim_start_matches(['(', ' ', '\n', '\t', '\r']);
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next();
    let word = word.unwrap_or_default().to_ascii_lowercase();
    ["select", "with", "values", "table"].contains(&word.as_str())
}

/// Returns whether a column is MariaDB's `json`: a long text with a check constraint.
async fn is_checked_as_json(
    connection: &mut Connection,
    column: &ColumnDefinition,
) -> Result<bool, mysql_async::Error> {
    if column.column_type() != ColumnType::MYSQL_TYPE_BLOB || column.org_name_ref().is_empty() {
        return Ok(false);
    }
    let constraint = "select count(*) from information_schema.check_constraints where constraint_schema = ? \
                      and table_name = ? and check_clause = concat('json_valid(`', ?, '`)')";
    let names = (
        column.schema_str(),
        column.org_table_str(),
        column.org_name_str(),
    );
    let names = (
        names.0.into_owned(),
        names.1.into_owned(),
        names.2.into_owned(),
    );
    let found: Result<Option<u64>, _> = connection.exec_first(constraint, names).await;
    match found {
        // MySQL's view has no `table_name`; MySQL has a JSON type instead.
        Err(mysql_async::Error::Server(_)) => Ok(false),
        found => Ok(found?.is_some_and(|count| count > 0)),
    }
}

fn column(definition: &ColumnDefinition, json: &BTreeSet<String>) -> (Column, Decoder) {
    let name = definition.name_str().into_owned();
    let decoder = Decoder::for_column(definition, json.contains(&name));
    let kind = decoder.kind(definition);
    (Column { name, kind }, decoder)
}

/// A query with the description of each statement, and the number of passes.
pub(super) struct RowQuery {
    pub(super) query: BoundQuery,
    pub(super) passes: Passes,
    pub(super) descriptions: Arc<[Description]>,
    pub(super) row_bytes_max: usize,
}

impl Query<Connection> for RowQuery {
    async fn run(self, connection: &mut Connection, sink: &mut TaskRowSink) -> Result<(), Stop> {
        for (sheet, description) in self.descriptions.iter().enumerate() {
            check_spellings(&self.query, sheet, description.uses.iter().copied())?;
        }
        connection.is_busy = true;
        let begun = connection.query_drop(BEGIN).await;
        begun.map_err(|error| execute_error(&error))?;
        let mut is_first = true;
        for _ in 0..self.passes.count() {
            for sheet in 0..self.descriptions.len() {
                if !is_first {
                    sink.finish().await?;
                }
                is_first = false;
                self.stream(connection, sheet, sink).await?;
            }
        }
        Ok(())
    }
}

impl RowQuery {
    /// Runs a sheet's statement.
    async fn stream(
        &self,
        connection: &mut Connection,
        sheet: usize,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let query = &self.query;
        let parameters = Some(query.parameters(sheet));
        let (sql, arguments) = expand(query.export(), query.statement(sheet), parameters);
        let prepared = connection.prep(sql).await;
        let prepared = prepared.map_err(|error| execute_error(&error))?;
        let values = values(query, sheet, &arguments);
        let result = connection.exec_iter(&prepared, values).await;
        let mut result = result.map_err(|error| bind_error(&error))?;
        let description = &self.descriptions[sheet];
        let decoder = RowDecoder::new(result.columns_ref(), query.columns(sheet), description)?;
        let statements_after = self.descriptions.len() - sheet - 1;
        sink.start(decoder.columns.clone(), statements_after)
            .await?;
        loop {
            let next = result.next();
            tokio::pin!(next);
            // A timer per row would cost more than the row.
            let row = match next.as_mut().now_or_never() {
                Some(row) => row,
                // A partial batch is flushed after a while, so a slow query shows progress.
                None => match timeout(FLUSH_INTERVAL, next.as_mut()).await {
                    Ok(row) => row,
                    Err(_) => {
                        if !sink.is_empty() {
                            sink.flush().await?;
                        }
                        next.await
                    }
                },
            };
            let row = row.map_err(|error| match is_too_large(&error) {
                true => decoder.too_large(sink.rows() + 1, self.row_bytes_max),
                false => execute_error(&error),
            })?;
            let Some(row) = row else {
                break;
            };
            decoder.decode(&row, sink.row())?;
            if sink.is_full() {
                sink.flush().await?;
            }
        }
        let warnings = result.warnings();
        drop(result);
        match warnings {
            0 => Ok(()),
            count => Ok(check_warnings(connection, count).await?),
        }
    }
}

/// Reads the `count` warnings of the last statement. The server only warns of a value that it has truncated, or replaced by NULL,
/// because it was larger than `max_allowed_packet`.
///
/// # Errors
/// Returns [`SourceError::Query`] if a value was truncated, or if one of the warnings that the server did not keep may say so.
async fn check_warnings(connection: &mut Connection, count: u16) -> Result<(), SourceError> {
    let warnings = connection.query("show warnings").await;
    let warnings: Vec<(String, u16, String)> = warnings.map_err(|error| execute_error(&error))?;
    // The message names a function and a row number, no value.
    if let Some((_, code, message)) = warnings
        .iter()
        .find(|(_, code, _)| TRUNCATED_VALUE.contains(code))
    {
        return Err(query_error(format!(
            "the server truncated a value: {message} ({code}); raise its `max_allowed_packet`, or return smaller values"
        )));
    }
    // The protocol's count ends at its largest number.
    if warnings.len() < usize::from(count) || count == u16::MAX {
        let first = warnings.first().map_or(0, |(_, code, _)| *code);
        return Err(query_error(format!(
            "the server kept {} of at least {count} warnings, and one of the others may be about a truncated value; \
             remove their cause, such as {first}, or raise `max_error_count`",
            warnings.len()
        )));
    }
    Ok(())
}

/// Decodes the driver's rows into cells.
struct RowDecoder {
    columns: Vec<Column>,
    /// The index in the row and the decoder of each column.
    decoders: Vec<(usize, Decoder)>,
    /// The name and the largest size of every column of the row.
    sizes: Vec<(String, usize)>,
}

impl RowDecoder {
    /// Selects the columns of the query by name: the table may have other columns than when it was described.
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if a column is missing.
    fn new(
        found: &[ColumnDefinition],
        chosen: Option<&[String]>,
        description: &Description,
    ) -> Result<RowDecoder, SourceError> {
        let size = |found: &ColumnDefinition| {
            let bytes_max = found.column_length() as usize;
            (found.name_str().into_owned(), bytes_max)
        };
        let sizes = found.iter().map(size).collect();
        let found: Vec<(Column, Decoder)> = found
            .iter()
            .map(|definition| column(definition, &description.json))
            .collect();
        let all = || description.columns.iter().map(|column| &column.name);
        let names: Vec<&String> =
            chosen.map_or_else(|| all().collect(), |names| names.iter().collect());
        let (mut columns, mut decoders) = (Vec::new(), Vec::new());
        for name in names {
            let index = found.iter().position(|(column, _)| column.name == *name);
            let index = index.ok_or_else(|| unknown_column_error(name))?;
            let (column, decoder) = &found[index];
            columns.push(column.clone());
            decoders.push((index, *decoder));
        }
        Ok(RowDecoder {
            columns,
            decoders,
            sizes,
        })
    }

    /// Returns the error for a row of which only the size is known. It names the columns whose type allows such a
    /// value, or all if only many values together are so large.
    fn too_large(&self, row: u64, row_bytes_max: usize) -> SourceError {
        let names = |bytes_min: usize| {
            let large = self.sizes.iter().filter(|(_, bytes)| *bytes >= bytes_min);
            large.map(|(name, _)| name.clone()).collect::<Vec<String>>()
        };
        let columns = Some(names(row_bytes_max)).filter(|names| !names.is_empty());
        SourceError::RowTooLarge {
            row,
            columns: columns.unwrap_or_else(|| names(0)),
            row_bytes_max,
        }
    }

    fn decode(&self, row: &Row, cells: &mut RowBuffer) -> Result<(), SourceError> {
        for ((index, decoder), column) in self.decoders.iter().zip(&self.columns) {
            let value = row.as_ref(*index).ok_or_else(|| SourceError::Truncated)?;
            let read = decoder.read(value, cells);
            read.map_err(|_| {
                query_error(format!(
                    "column `{}`: unsupported value format",
                    column.name
                ))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn statements_that_write_are_rejected_even_if_they_return_rows() {
        for sql in [
            "select 1",
            "\n ( SELECT 1)",
            "with x as (select 1) select * from x",
            "values (1)",
            "table t",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in [
            "insert into t values (1) returning id",
            "call p()",
            "show tables",
            "selects",
            "",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }
}
