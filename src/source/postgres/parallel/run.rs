//! Runs a query in ranges: the first connection and others that join it read, and one reader sends their rows in order.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_postgres::types::Type;

use super::queue::{RangeQueue, Turn};
use super::ranges::Range;
use super::snapshot::Snapshot;
use super::{Helpers, RangePlan};
use crate::source::errors::{SourceError, causes};
use crate::source::pool::Query;
use crate::source::postgres::connect::Connection;
use crate::source::postgres::errors::execute_error;
use crate::source::postgres::parameter::{AsText, bind_parameters};
use crate::source::postgres::session::Settings;
use crate::source::postgres::stream::{Request, RowQuery};
use crate::source::row_window::WindowedRows;
use crate::source::sink::{Stop, TaskRowSink, windowed_row_channel};

/// How long a joining connection waits for a lock on a table. The first connection has all locks; another transaction that
/// waits for it to end would keep the joining one waiting, and so the file.
const LOCK_TIMEOUT: &str = "select pg_catalog.set_config('lock_timeout', '500', true)";
const NO_LOCK_TIMEOUT: &str = "set local lock_timeout to default";

/// A query that several connections run.
pub(super) struct Job {
    pub(super) query: RowQuery,
    pub(super) plan: Arc<RangePlan>,
    pub(super) snapshot: Snapshot,
    pub(super) queue: RangeQueue,
}

/// Sends the rows of all ranges to `sink`, in order. The first rows do not wait for connections that join.
///
/// # Errors
/// Returns [`Stop::ReaderDropped`] if the stream was dropped, and [`Stop::Failed`] if a connection failed that has taken a
/// range.
pub(super) async fn run(
    job: Arc<Job>,
    turns: mpsc::Receiver<Turn>,
    helper_count: usize,
    helpers: &Helpers,
    connection: &Connection,
    sink: &mut TaskRowSink,
) -> Result<(), Stop> {
    let (mut own_sink, own_rows) = windowed_row_channel();
    let mut rows = vec![own_rows];
    for index in 1..=helper_count {
        let (sink, helper_rows) = windowed_row_channel();
        rows.push(helper_rows);
        let helper = Helper {
            job: job.clone(),
            index,
        };
        let pools = helpers.pools.clone();
        let run = async move { pools.downloads.run_if_free(helper, sink).await };
        helpers.runtime.spawn(helpers.queries.track_future(run));
    }
    let reader = Reader {
        job: &job,
        turns,
        has_taken: vec![false; rows.len()],
        rows,
    };
    let own = async {
        if let Err(Stop::Failed(error)) = job.read_ranges(0, connection, &mut own_sink).await {
            // In its place among the rows: those of other connections may come first.
            own_sink.fail(error).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        sent = reader.send_all(sink) => sent,
        () = own => Err(SourceError::Truncated.into()),
    }
}

impl Job {
    /// Reads ranges until all are taken. The connection is in a transaction with the snapshot.
    async fn read_ranges(
        &self,
        index: usize,
        connection: &Connection,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        while let Some(range) = self.queue.take(index).await? {
            self.read_range(range, connection, sink).await?;
            sink.finish().await?;
        }
        Ok(())
    }

    async fn read_range(
        &self,
        range: Range,
        connection: &Connection,
        sink: &mut TaskRowSink,
    ) -> Result<(), Stop> {
        let query = &self.query;
        let (select, _) = query.select(0)?;
        let of_statement = &query.plans[0].parameters;
        let of_range = range.parameters();
        let of_range = of_range.iter().map(|value| (AsText(value), Type::INT8));
        let values = bind_parameters(of_statement, &query.query, 0).chain(of_range);
        let request = Request {
            sheet: 0,
            sql: self.plan.in_range(&select, range, of_statement.len()),
            values: values.collect(),
            settings: None,
            statements_after: 0,
        };
        query.stream(connection, request, sink).await
    }
}

/// A connection that joins a query.
struct Helper {
    job: Arc<Job>,
    index: usize,
}

impl Query<Connection> for Helper {
    async fn run(self, connection: &mut Connection, sink: &mut TaskRowSink) -> Result<(), Stop> {
        if let Err(error) = self.join(connection).await {
            tracing::debug!(
                error = causes(&error),
                "no other connection has joined a download"
            );
            return Err(error.into());
        }
        self.job.read_ranges(self.index, connection, sink).await
    }
}

impl Helper {
    /// Begins a transaction with the snapshot and the settings of the first connection. An error is none of the query:
    /// this connection has not taken a range.
    async fn join(&self, connection: &Connection) -> Result<(), SourceError> {
        let query = &self.job.query;
        let client = &connection.client;
        self.job.snapshot.begin(client, &self.job.plan).await?;
        let settings = Settings::for_query(&query.query, connection.version, &query.options);
        // Planning takes the locks of the statement.
        let (select, _) = query.select(0)?;
        let explain = format!("explain {select}");
        let values: Vec<_> = bind_parameters(&query.plans[0].parameters, &query.query, 0).collect();
        let values: Vec<_> = values
            .iter()
            .map(|(value, kind)| (value as _, kind.clone()))
            .collect();
        let (set, limited, locked, unlimited) = tokio::join!(
            settings.set(client),
            client.batch_execute(LOCK_TIMEOUT),
            client.query_typed(&explain, &values),
            client.batch_execute(NO_LOCK_TIMEOUT),
        );
        let joined = set.and(limited).and(locked).and(unlimited);
        joined.map_err(|error| execute_error(&error))
    }
}

/// Sends the rows of all connections in the order of their ranges.
struct Reader<'j> {
    job: &'j Job,
    turns: mpsc::Receiver<Turn>,
    rows: Vec<WindowedRows>,
    /// Which connections have taken a range.
    has_taken: Vec<bool>,
}

impl Reader<'_> {
    async fn send_all(mut self, sink: &mut TaskRowSink) -> Result<(), Stop> {
        let passes = self.job.query.passes.count();
        for pass in 0..passes {
            if pass > 0 {
                sink.finish().await?;
            }
            sink.start(self.job.query.columns(0)?, 0).await?;
            self.send_pass(sink).await?;
        }
        // A dropped reader cancels a query, and its connection would not return to the pool.
        let helpers = self.rows.iter_mut().zip(&self.has_taken).skip(1);
        for (rows, _) in helpers.filter(|(_, has_taken)| **has_taken) {
            // All ranges are complete, so that an error means nothing.
            let _ = rows.next().await;
        }
        Ok(())
    }

    async fn send_pass(&mut self, sink: &mut TaskRowSink) -> Result<(), Stop> {
        loop {
            let turn = self.turns.recv().await;
            match turn.ok_or_else(|| SourceError::Truncated)? {
                Turn::EndOfPass => return Ok(()),
                Turn::Part(index) => {
                    self.has_taken[index] = true;
                    self.send_part(index, sink).await?;
                }
            }
        }
    }

    async fn send_part(&mut self, index: usize, sink: &mut TaskRowSink) -> Result<(), Stop> {
        let rows = &mut self.rows[index];
        let rows_before = sink.rows();
        loop {
            let part = rows.next().await;
            let part = part.map_err(|error| error.after_rows(rows_before))?;
            if part.rows.rows() > 0 {
                sink.forward(part.rows).await?;
                if let Some(spare) = sink.take_spare() {
                    rows.recycle(spare);
                }
            }
            if part.is_last {
                return Ok(());
            }
        }
    }
}
