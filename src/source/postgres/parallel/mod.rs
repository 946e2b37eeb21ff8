//! Reads one statement over several connections that share a snapshot, each a range of a unique column.
//!
//! The rows of the ranges follow each other in the file, so they are in the order of the column. No row is lost or doubled,
//! whatever the server's statistics are and whichever index it uses: each range is the statement itself with a condition
//! on a column of its result, the conditions hold every value once, and all connections read the same snapshot. A statement
//! whose rows could differ from one execution to the next is not read in ranges.
//!
//! 1. [`describe`](describe::describe) finds out whether a statement can be read in ranges.
//! 2. [`Split::of`] begins the transaction of a download and decides whether its result has ranges.
//! 3. [`run`] lets other connections join, if any are free, and sends the rows in order.

mod describe;
mod estimate;
mod null_check;
mod plan_check;
mod queue;
mod ranges;
mod references;
mod run;
mod snapshot;
mod split;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use self::ranges::Range;
use super::pools::Pools;

pub(super) use describe::{check_snapshot, describe, parallel_key};
pub(super) use split::Split;

/// What was found when a statement was described that can be read in ranges.
#[derive(Debug)]
pub(super) struct RangePlan {
    /// The column of the result, quoted.
    column: String,
    /// The schema, the table and the column whose statistics divide it.
    schema: String,
    table: String,
    attribute: String,
    /// A range whose cost is compared with that of the whole result.
    probe: Range,
    /// The settings that the statement reads. Other connections must have the same values.
    settings: Vec<String>,
}

/// What a query needs to run on other connections too.
#[derive(Clone)]
pub(super) struct Helpers {
    pub(super) plan: Arc<RangePlan>,
    pub(super) pools: Arc<Pools>,
    pub(super) runtime: Handle,
    pub(super) queries: TaskTracker,
}
