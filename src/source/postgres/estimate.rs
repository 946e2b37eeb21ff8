//! The planner's estimate of a result's size.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::errors::execute_error;
use super::parameter::{AsText, bind_parameters};
use super::plan::Plan;
use super::pools::Pools;
use super::session::Settings;
use crate::catalog::BoundQuery;
use crate::source::api::{RowEstimate, SourceOptions};
use crate::source::errors::{SourceError, query_error};

/// Runs `explain` with the role and the values of the query. Planning takes locks and may wait for them, so the server
/// aborts it after `time_limit`, even if the client has disconnected.
///
/// # Errors
/// Returns [`SourceError::Query`] if a column is unknown or the plan has no numbers, and the error of a failed
/// connection or statement.
pub(super) async fn estimate(
    pools: Arc<Pools>,
    query: BoundQuery,
    plans: Arc<[Plan]>,
    time_limit: Duration,
) -> Result<RowEstimate, SourceError> {
    let guard = pools.estimates.acquire().await?;
    let options = SourceOptions {
        statement_timeout: time_limit,
        ..pools.options
    };
    let settings = Settings::for_query(&query, guard.version, &options);
    let begun = settings.begin(&guard.client).await;
    begun.map_err(|error| execute_error(&error))?;
    let mut total = RowEstimate { rows: 0, bytes: 0 };
    for (sheet, plan) in plans.iter().enumerate() {
        let estimate = estimate_statement(&guard.client, &query, sheet, plan).await?;
        total.rows = total.rows.saturating_add(estimate.rows);
        total.bytes = total.bytes.saturating_add(estimate.bytes);
    }
    pools.estimates.release(guard).await;
    Ok(total)
}

async fn estimate_statement(
    client: &Client,
    query: &BoundQuery,
    sheet: usize,
    plan: &Plan,
) -> Result<RowEstimate, SourceError> {
    let columns = plan.choose(query.columns(sheet), query.arrays_as_json())?;
    let values: Vec<_> = bind_parameters(&plan.parameters, query, sheet).collect();
    let top = explain(client, &plan.select(&columns), &values).await?;
    // The planner's width is the storage size of a row, without separators.
    let number = |name: &str| {
        let found = number_after(&top, name);
        found.ok_or_else(|| query_error(format!("explain: expected `{name}` in its first line")))
    };
    let (rows, width) = (number("rows=")?, number("width=")?);
    let extra = columns
        .iter()
        .map(|(_, decoder)| decoder.extra_text_bytes());
    let separators = columns.len() as u64 + 1;
    let row_bytes = extra.sum::<u64>() + width + separators;
    Ok(RowEstimate {
        rows,
        bytes: rows.saturating_mul(row_bytes),
    })
}

/// Returns the first line of the plan: `Sort  (cost=0.00..9.50 rows=12 width=34)`.
async fn explain(
    client: &Client,
    sql: &str,
    values: &[(AsText<'_>, Type)],
) -> Result<String, SourceError> {
    let values: Vec<(&(dyn ToSql + Sync), Type)> = values
        .iter()
        .map(|(value, kind)| (value as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    let lines = client.query_typed(&format!("explain {sql}"), &values).await;
    let lines = lines.map_err(|error| execute_error(&error))?;
    let first = lines.first().and_then(|line| line.try_get(0).ok());
    first.ok_or_else(|| query_error("explain: expected at least one line"))
}

/// Returns the whole number after the last occurrence of a name in a line.
pub(super) fn number_after(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.rsplit_once(name)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn numbers_are_found_in_the_first_line_of_a_plan() {
        let line = "Gather Merge  (cost=43041.53..52788.94 rows=83542 width=118)";
        assert_eq!(number_after(line, "rows="), Some(83542));
        assert_eq!(number_after(line, "width="), Some(118));
        assert_eq!(number_after("Result", "rows="), None);
    }
}
