//! Decides, for the values of a link, whether a result is large enough for ranges, and whether they cost little more than
//! the statement itself.

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use crate::source::postgres::estimate::number_after;
use crate::source::postgres::parameter::AsText;
use crate::source::row_window::WINDOW_BYTES;

/// The size of a range, in memory. A connection can keep all of it until the rows before it are sent, and reading it takes
/// long in comparison with starting a statement.
const RANGE_BYTES: u64 = WINDOW_BYTES as u64;
/// With fewer ranges other connections would join too late.
const RANGES_MIN: u64 = 4;
/// How many times as much a row may cost when it is read by a range, according to the server's planner. An index scan in
/// the order of the table costs up to twice as much as reading the table; one in another order, or a join that
/// is computed again for each range, many times as much.
const COST_FACTOR_MAX: f64 = 4.0;
/// The size of a cell in memory, in addition to a text.
const CELL_BYTES: u64 = 16;

/// The planner's numbers for a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// The cost of all rows, in the planner's units.
    cost: f64,
    rows: u64,
    /// The average size of a row in the server, in bytes.
    width: u64,
}

impl Estimate {
    /// Returns the numbers of a statement with its values; `None` if the server reports others.
    ///
    /// # Errors
    /// Returns the server's error.
    pub(super) async fn of(
        client: &Client,
        sql: &str,
        values: &[(AsText<'_>, Type)],
    ) -> Result<Option<Estimate>, Error> {
        let values: Vec<(&(dyn ToSql + Sync), Type)> = values
            .iter()
            .map(|(value, kind)| (value as &(dyn ToSql + Sync), kind.clone()))
            .collect();
        let explain = format!("explain {sql}");
        let lines = client.query_typed(&explain, &values).await?;
        let first = lines.first().and_then(|line| line.try_get(0).ok());
        Ok(first.and_then(Estimate::parse))
    }

    /// Parses the first line of a plan: `Sort  (cost=0.00..9.50 rows=12 width=34)`.
    fn parse(line: &str) -> Option<Estimate> {
        let (_, cost) = line.rsplit_once("(cost=")?;
        let (_, cost) = cost.split_once("..")?;
        Some(Estimate {
            cost: cost.split(' ').next()?.parse().ok()?,
            rows: number_after(line, "rows=")?,
            width: number_after(line, "width=")?,
        })
    }

    /// Returns the number of ranges for a result of `columns` columns, given the numbers of one range; `None` if ranges
    /// would not be faster.
    pub(super) fn ranges(&self, range: &Estimate, columns: usize) -> Option<u64> {
        let row_bytes = self.width.saturating_add(CELL_BYTES * columns as u64);
        let count = self.rows.saturating_mul(row_bytes) / RANGE_BYTES;
        let is_cheap = range.cost_per_row() <= COST_FACTOR_MAX * self.cost_per_row();
        (count >= RANGES_MIN && is_cheap).then_some(count)
    }

    fn cost_per_row(&self) -> f64 {
        self.cost / self.rows.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(cost: f64, rows: u64) -> Estimate {
        Estimate {
            cost,
            rows,
            width: 100,
        }
    }

    #[test]
    fn the_first_line_of_a_plan_has_the_cost_of_all_rows() {
        let line = "Gather Merge  (cost=43041.53..52788.94 rows=83542 width=118)";
        let parsed = Estimate::parse(line).expect("numbers");
        assert_eq!(
            (parsed.cost, parsed.rows, parsed.width),
            (52788.94, 83542, 118)
        );
        assert_eq!(Estimate::parse("Result"), None);
    }

    #[test]
    fn a_large_result_has_ranges_of_the_size_that_a_connection_can_keep() {
        let (whole, range) = (estimate(28_900.0, 1_000_000), estimate(550.0, 10_000));
        let count = whole.ranges(&range, 5).expect("ranges");
        let bytes = 1_000_000 * (100 + 5 * CELL_BYTES);
        assert_eq!(count, bytes / RANGE_BYTES);
    }

    #[test]
    fn a_small_result_and_ranges_that_cost_much_more_have_none() {
        let whole = estimate(28_900.0, 1_000_000);
        assert_eq!(
            estimate(28.9, 1000).ranges(&estimate(5.5, 100), 5),
            None,
            "small"
        );
        // Each range reads the rows of one user, and drops most of them.
        assert_eq!(whole.ranges(&estimate(28_900.0, 10_000), 5), None, "again");
        // A filter that the planner thinks to leave no row in a range.
        assert_eq!(whole.ranges(&estimate(500.0, 0), 5), None, "no row");
    }
}
