//! One query: its rows, from the first to the last or to a visible failure.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::types::{FromSql, Type};

use super::decode::{Decoder, Unreadable};
use super::parameter::AsText;
use super::plan::{Plan, parameter_in};
use super::pool::Loan;
use super::session::Settings;
use super::{Shared, failure, refusal};
use crate::catalog::BoundQuery;
use crate::row::{Cell, Column};
use crate::source::sink::{ReaderGone, TaskRowSink};
use crate::source::stream::HURRY_AFTER;
use crate::source::{SourceError, causes};

/// Runs a query to its end, or until its reader leaves.
pub(super) async fn run(
    shared: Arc<Shared>,
    query: BoundQuery,
    plan: Arc<Plan>,
    mut sink: TaskRowSink,
) {
    let gone = sink.reader_gone();
    tokio::pin!(gone);
    let acquired = tokio::select! {
        acquired = shared.downloads.acquire() => acquired,
        () = &mut gone => return,
    };
    let loan = match acquired {
        Ok(loan) => loan,
        Err(error) => return sink.fail(error).await,
    };
    let outcome = tokio::select! {
        outcome = stream(&shared, &loan, &query, &plan, &mut sink) => outcome,
        () = gone => Err(Stop::ReaderGone),
    };
    match outcome {
        Ok(()) => {
            let give_back = shared.downloads.give_back(loan);
            // A reader that left now wants no end.
            let (_, ()) = tokio::join!(sink.finish(), give_back);
        }
        Err(stop) => {
            if let Stop::Failed(error) = stop {
                sink.fail(error).await;
            }
            shared.downloads.cancel(loan).await;
        }
    }
}

enum Stop {
    ReaderGone,
    Failed(SourceError),
}

impl From<ReaderGone> for Stop {
    fn from(_: ReaderGone) -> Stop {
        Stop::ReaderGone
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Stop {
        Stop::Failed(error)
    }
}

async fn stream(
    shared: &Shared,
    loan: &Loan,
    query: &BoundQuery,
    plan: &Plan,
    sink: &mut TaskRowSink,
) -> Result<(), Stop> {
    let chosen = plan
        .choose(query.columns())
        .map_err(|name| refusal(format!("no column `{name}` any more")))?;
    let sql = plan.select(&chosen);
    let settings = Settings::of(query, loan.version, &shared.options);
    let value =
        |(kind, variable): &(Type, usize)| (AsText(&query.parameters()[*variable]), kind.clone());
    // Sent together: one round trip until the first row.
    let (begun, rows) = tokio::join!(
        settings.begin(&loan.client),
        loan.client
            .query_typed_raw(&sql, plan.parameters.iter().map(value))
    );
    begun.map_err(|error| failure(error, ""))?;
    let rows = rows.map_err(|error| refused(error, &sql, plan))?;
    tokio::pin!(rows);

    let columns: Vec<Column> = chosen.iter().map(|(column, _)| column.clone()).collect();
    let decoders: Vec<Decoder> = chosen.iter().map(|(_, decoder)| *decoder).collect();
    sink.start(columns.clone()).await?;
    let mut scratch = String::new();
    let mut row_number = 0;
    loop {
        let row = match rows.next().now_or_never() {
            Some(row) => row,
            // A slow query shows its progress.
            None if !sink.is_empty() => match timeout(HURRY_AFTER, rows.next()).await {
                Ok(row) => row,
                Err(_) => {
                    sink.hand_on().await?;
                    rows.next().await
                }
            },
            None => rows.next().await,
        };
        let Some(row) = row else {
            return Ok(());
        };
        let row = row.map_err(|error| failure(error, &sql))?;
        row_number += 1;
        for (index, decoder) in decoders.iter().enumerate() {
            let cell = match row.try_get(index).map_err(|error| failure(error, &sql))? {
                Raw(None) => Ok(Cell::Null),
                Raw(Some(value)) => decoder.read(value, &mut scratch),
            };
            let cell = cell.map_err(|fault| unreadable(fault, row_number, &columns[index]))?;
            sink.push(cell);
        }
        if sink.is_full() {
            sink.hand_on().await?;
        }
    }
}

/// A value as it came over the wire.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        value: &'a [u8],
    ) -> Result<Raw<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(Some(value)))
    }

    fn from_sql_null(_: &Type) -> Result<Raw<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Before a query runs, a data exception (class 22 of the standard) is that of a parameter: text
/// that its type does not take.
fn refused(error: Error, sql: &str, plan: &Plan) -> SourceError {
    let Some(said) = error
        .as_db_error()
        .filter(|it| it.code().code().starts_with("22"))
    else {
        return failure(error, sql);
    };
    let parameter = said.where_().and_then(parameter_in);
    let parameter = parameter.and_then(|index| plan.parameters.get(index));
    SourceError::BadValue {
        variable: parameter.map(|(_, variable)| *variable),
        cause: causes(&error).into(),
    }
}

fn unreadable(fault: Unreadable, row: u64, column: &Column) -> SourceError {
    let column = column.name.clone();
    match fault {
        Unreadable::NotUtf8 => SourceError::NotUtf8 { row, column },
        Unreadable::Format => refusal(format!("row {row}, column `{column}`: unknown format")),
    }
}
