//! One query: its rows, from the first to the last or to a visible failure.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column as Described, Row, Statement, Value};
use tokio::time::timeout;

use super::connect::Connection;
use super::decode::Decoder;
use super::parameter::{statement, values};
use super::{failure, run_failure};
use crate::catalog::{BoundQuery, Export};
use crate::row::{Column, RowBuffer};
use crate::source::pool::Query;
use crate::source::sink::{Stop, TaskRowSink};
use crate::source::stream::FLUSH_INTERVAL;
use crate::source::{Passes, SourceError, refusal};

/// One snapshot for the whole file, and nothing is ever written.
const BEGIN: &str = "start transaction with consistent snapshot, read only";

/// What a query gives, as it was when the service started.
pub(super) struct Description {
    pub(super) columns: Vec<Column>,
    /// Which of them hold JSON, as far as only their tables say so.
    pub(super) json: BTreeSet<String>,
}

/// Lets the server prepare the statement, which it does not run.
pub(super) async fn describe(
    connection: &mut Connection,
    export: &Export,
) -> Result<Description, SourceError> {
    let (sql, variables) = statement(export);
    if !only_reads(&sql) {
        return Err(refusal("the statement must be a query that only reads"));
    }
    let prepared = connection.prep(sql.as_str()).await;
    // For each parameter the other SQL has a `?` too, and so the same lines.
    let prepared = prepared.map_err(|error| failure(&error, &export.statement.sql))?;
    if prepared.columns().is_empty() {
        return Err(refusal(
            "the statement must be a query that returns columns",
        ));
    }
    if usize::from(prepared.num_params()) != variables.len() {
        return Err(refusal("parameters are written `:name`, not `?`"));
    }
    let mut json = BTreeSet::new();
    for column in prepared.columns().iter() {
        let is_json = is_checked_as_json(connection, column).await;
        if is_json.map_err(|error| failure(&error, ""))? {
            json.insert(column.name_str().into_owned());
        }
    }
    let columns = prepared.columns();
    let columns = columns.iter().map(|described| column(described, &json).0);
    Ok(Description {
        columns: columns.collect(),
        json,
    })
}

/// A transaction that only reads refuses the rest too, but each time anew. `insert … returning` gives rows.
fn only_reads(sql: &str) -> bool {
    let sql = sql.trim_start_matches(['(', ' ', '\n', '\t', '\r']);
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next();
    let word = word.unwrap_or_default().to_ascii_lowercase();
    ["select", "with", "values", "table"].contains(&word.as_str())
}

/// MariaDB has no type for JSON: `json` is a long text that a constraint checks.
async fn is_checked_as_json(
    connection: &mut Connection,
    column: &Described,
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
        // MySQL names no table there, and has a type for JSON.
        Err(mysql_async::Error::Server(_)) => Ok(false),
        found => Ok(found?.is_some_and(|count| count > 0)),
    }
}

fn column(described: &Described, json: &BTreeSet<String>) -> (Column, Decoder) {
    let name = described.name_str().into_owned();
    let decoder = Decoder::of(described, json.contains(&name));
    let kind = decoder.kind(described);
    (Column { name, kind }, decoder)
}

/// A query, and how often it is read.
pub(super) struct Rows {
    pub(super) query: BoundQuery,
    pub(super) passes: Passes,
    pub(super) described: Arc<Description>,
}

impl Query<Connection> for Rows {
    async fn run(self, connection: &mut Connection, sink: &mut TaskRowSink) -> Result<(), Stop> {
        connection.is_busy = true;
        let begun = connection.query_drop(BEGIN).await;
        begun.map_err(|error| run_failure(&error))?;
        let (sql, variables) = statement(self.query.export());
        let prepared = connection.prep(sql).await;
        let prepared = prepared.map_err(|error| run_failure(&error))?;
        let values = values(&self.query, &variables);
        self.read(connection, &prepared, values.clone(), sink)
            .await?;
        if self.passes == Passes::Two {
            sink.finish().await?;
            self.read(connection, &prepared, values, sink).await?;
        }
        Ok(())
    }
}

impl Rows {
    async fn read(
        &self,
        connection: &mut Connection,
        prepared: &Statement,
        values: Vec<Value>,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let result = connection.exec_iter(prepared, values).await;
        let mut result = result.map_err(|error| run_failure(&error))?;
        let decoder = RowDecoder::new(result.columns_ref(), &self.query, &self.described)?;
        sink.start(decoder.columns.clone()).await?;
        loop {
            let next = result.next();
            tokio::pin!(next);
            // A timer for each row would cost more than the row.
            let row = match next.as_mut().now_or_never() {
                Some(row) => row,
                // A slow query shows its progress.
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
            let Some(row) = row.map_err(|error| run_failure(&error))? else {
                return Ok(());
            };
            decoder.decode(&row, sink.row())?;
            if sink.is_full() {
                sink.flush().await?;
            }
        }
    }
}

/// Turns rows of the driver into cells.
struct RowDecoder {
    columns: Vec<Column>,
    /// For each column that is wanted, where it stands and how it is read.
    places: Vec<(usize, Decoder)>,
}

impl RowDecoder {
    /// Of the columns that are there now, those that are wanted, by their names: a table may have got others.
    fn new(
        found: &[Described],
        query: &BoundQuery,
        described: &Description,
    ) -> Result<RowDecoder, SourceError> {
        let found: Vec<(Column, Decoder)> =
            found.iter().map(|it| column(it, &described.json)).collect();
        let all = || described.columns.iter().map(|column| &column.name);
        let names: Vec<&String> = query
            .columns()
            .map_or_else(|| all().collect(), |names| names.iter().collect());
        let (mut columns, mut places) = (Vec::new(), Vec::new());
        for name in names {
            let index = found.iter().position(|(column, _)| column.name == *name);
            let index = index.ok_or_else(|| refusal(format!("no column `{name}` any more")))?;
            let (column, decoder) = &found[index];
            columns.push(column.clone());
            places.push((index, *decoder));
        }
        Ok(RowDecoder { columns, places })
    }

    fn decode(&self, row: &Row, cells: &mut RowBuffer) -> Result<(), SourceError> {
        for ((index, decoder), column) in self.places.iter().zip(&self.columns) {
            let value = row.as_ref(*index).ok_or_else(|| SourceError::Truncated)?;
            let read = decoder.read(value, cells);
            read.map_err(|_| refusal(format!("column `{}`: unknown format", column.name)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn what_writes_is_refused_though_it_gives_rows() {
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
