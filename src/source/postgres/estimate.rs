//! What the planner expects of a query, without running it.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::plan::Plan;
use super::session::Settings;
use super::stream::{gone, values};
use super::{Shared, run_failure};
use crate::catalog::BoundQuery;
use crate::source::{RowEstimate, SourceError, SourceOptions, refusal};

/// Asks as the query would ask: in its role, and with its values. Planning takes locks, and may wait for
/// them; the server gives up after `patience`, whether we are still there or not.
pub(super) async fn of(
    shared: Arc<Shared>,
    query: BoundQuery,
    plan: Arc<Plan>,
    patience: Duration,
) -> Result<RowEstimate, SourceError> {
    let chosen = plan.choose(query.columns()).map_err(gone)?;
    let guard = shared.estimates.acquire().await?;
    let options = SourceOptions {
        statement_timeout: patience,
        ..shared.options
    };
    let settings = Settings::of(&query, guard.version, &options);
    let begun = settings.begin(&guard.client).await;
    begun.map_err(|error| run_failure(&error))?;
    let top = explain(&guard.client, &plan.select(&chosen), &plan, &query).await?;
    shared.estimates.release(guard).await;

    // The planner counts bytes as tables hold them, without separators.
    let rows = number_after(&top, "rows=").ok_or_else(|| refusal("the plan has no rows"))?;
    let width = number_after(&top, "width=").ok_or_else(|| refusal("the plan has no width"))?;
    let longer = chosen.iter().map(|(_, decoder)| decoder.extra_text_bytes());
    let separators = chosen.len() as u64 + 1;
    let row_bytes = longer.sum::<u64>() + width + separators;
    Ok(RowEstimate {
        rows,
        bytes: rows.saturating_mul(row_bytes),
    })
}

/// The first line of the plan: `Sort  (cost=0.00..9.50 rows=12 width=34)`.
async fn explain(
    client: &Client,
    sql: &str,
    plan: &Plan,
    query: &BoundQuery,
) -> Result<String, SourceError> {
    let values: Vec<_> = values(plan, query).collect();
    let values: Vec<(&(dyn ToSql + Sync), Type)> = values
        .iter()
        .map(|(value, kind)| (value as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    let lines = client.query_typed(&format!("explain {sql}"), &values).await;
    let lines = lines.map_err(|error| run_failure(&error))?;
    let first = lines.first().and_then(|line| line.try_get(0).ok());
    first.ok_or_else(|| refusal("there is no plan"))
}

fn number_after(line: &str, name: &str) -> Option<u64> {
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
