//! Begins the transaction of a download and decides whether its result is read in ranges.

use std::slice;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::estimate::Estimate;
use super::queue::RangeQueue;
use super::ranges::{Range, Ranges};
use super::run::{Job, run};
use super::snapshot::Snapshot;
use super::{Helpers, RangePlan};
use crate::catalog::{BoundQuery, Parameter, Value, clock_word};
use crate::source::errors::SourceError;
use crate::source::postgres::connect::Connection;
use crate::source::postgres::errors::{bind_error, execute_error, settings_error};
use crate::source::postgres::parameter::{AsText, bind_parameters};
use crate::source::postgres::session::{BEGIN, Settings};
use crate::source::postgres::stream::RowQuery;
use crate::source::sink::{Stop, TaskRowSink};

/// How a download reads its result.
pub(in crate::source::postgres) enum Split {
    /// As a whole, in a transaction that has not begun.
    NotBegun,
    /// As a whole, in the transaction that has begun.
    Whole,
    /// In ranges, in the transaction that has begun.
    Ranges(RangeRun),
}

/// The snapshot and the ranges of a download.
pub(in crate::source::postgres) struct RangeRun {
    snapshot: Snapshot,
    ranges: Ranges,
    /// The most connections that may join.
    helper_count: usize,
}

impl Split {
    /// Begins a transaction on the first connection of a query, unless no other connection is free, or a value could be the
    /// time of each transaction: all requests are pipelined, in one round trip.
    ///
    /// # Errors
    /// Returns the error of a setting, or of the statement with its values.
    pub(in crate::source::postgres) async fn of(
        query: &RowQuery,
        helpers: &Helpers,
        connection: &Connection,
        settings: &Settings,
    ) -> Result<Split, SourceError> {
        let status = helpers.pools.downloads.pool_status();
        let free = status.max.saturating_sub(status.in_use);
        let most = query.options.parallel_connections - 1;
        let count = most.min(free);
        if count == 0 || has_clock_word(&query.query) {
            return Ok(Split::NotBegun);
        }
        let client = &connection.client;
        let (select, columns) = query.select(0)?;
        let (bound, plan) = (&query.query, &query.plans[0]);
        let values: Vec<(AsText<'_>, Type)> = bind_parameters(&plan.parameters, bound, 0).collect();
        let probe_parameters = helpers.plan.probe.parameters();
        let probe_values: Vec<(AsText<'_>, Type)> = bind_parameters(&plan.parameters, bound, 0)
            .chain(probe_parameters.iter().map(|it| (AsText(it), Type::INT8)))
            .collect();
        let probe = helpers
            .plan
            .in_range(&select, helpers.plan.probe, values.len());
        let (begun, snapshot, set, whole, range) = tokio::join!(
            client.batch_execute(BEGIN),
            Snapshot::export(client, &helpers.plan),
            settings.set(client),
            Estimate::of(client, &select, &values),
            Estimate::of(client, &probe, &probe_values),
        );
        begun.map_err(|error| execute_error(&error))?;
        let Ok((snapshot, histogram)) = snapshot else {
            // The transaction is aborted, and no row is sent yet.
            let ended = client.batch_execute("rollback").await;
            ended.map_err(|error| execute_error(&error))?;
            return Ok(Split::NotBegun);
        };
        let variables = &query.query.statement(0).variables;
        let bind_error = |error| bind_error(&error, &plan.parameters, variables);
        set.map_err(|error| settings_error(&error, variables))?;
        let (whole, range) = (whole.map_err(bind_error)?, range.map_err(bind_error)?);
        let count_of_ranges = whole
            .zip(range)
            .and_then(|(whole, range)| whole.ranges(&range, columns));
        Ok(match (histogram, count_of_ranges) {
            (Some(histogram), Some(ranges)) => Split::Ranges(RangeRun {
                snapshot,
                ranges: Ranges::new(histogram, ranges),
                helper_count: count,
            }),
            _ => Split::Whole,
        })
    }
}

/// Tells whether a value of a link has a word such as `today`, which each connection would read at its own time if the value
/// is a date or a time to the statement.
fn has_clock_word(query: &BoundQuery) -> bool {
    let of_statement = query
        .parameters(0)
        .iter()
        .flat_map(|parameter| match parameter {
            Parameter::Null => &[],
            Parameter::One(value) => slice::from_ref(value),
            Parameter::List(values) => values.as_slice(),
        });
    let texts = of_statement.filter_map(|value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let of_session = query.claims().values().map(String::as_str);
    let mut texts = texts.chain(of_session).chain([query.user()]);
    texts.any(|text| clock_word(text).is_some())
}

impl RangeRun {
    /// Sends the rows of all ranges, in order. The caller finishes the last pass.
    ///
    /// # Errors
    /// Returns [`Stop::ReaderDropped`] if the stream was dropped, and [`Stop::Failed`] if a connection failed.
    pub(in crate::source::postgres) async fn run(
        self,
        query: RowQuery,
        helpers: &Helpers,
        connection: &Connection,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let (queue, turns) = RangeQueue::new(self.ranges, query.passes.count());
        let job = Job {
            query,
            plan: helpers.plan.clone(),
            snapshot: self.snapshot,
            queue,
        };
        run(
            Arc::new(job),
            turns,
            self.helper_count,
            helpers,
            connection,
            sink,
        )
        .await
    }
}

impl RangePlan {
    /// Returns a select statement with the order of the column.
    pub(in crate::source::postgres) fn in_order(&self, select: &str) -> String {
        format!("{select} order by {}", self.column)
    }

    /// Returns a select statement with the condition of a range and the order of the column. `parameters` is the number of
    /// those that it has.
    pub(super) fn in_range(&self, select: &str, range: Range, parameters: usize) -> String {
        let condition = range.condition(&self.column, parameters);
        self.in_order(&format!("{select} where {condition}"))
    }
}
