//! PostgreSQL: bound parameters, a result format per column, one read-only transaction per query.
//!
//! `COPY` would be simpler, but it takes no parameters, and its text format costs the server over 50 % more.

mod connect;
mod decode;
mod errors;
mod estimate;
mod formats;
mod intercept_state;
mod message;
mod parallel;
mod parameter;
mod plan;
mod pools;
mod row_interceptor;
mod session;
mod socket;
mod stream;
mod tables;
mod tls;
mod url;

#[cfg(test)]
mod driver_protocol;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::connect::Connector;
use self::errors::execute_error;
use self::parallel::{Helpers, RangePlan};
use self::plan::Plan;
use self::pools::Pools;
use super::api::{
    DESCRIBE_TIMEOUT, DescribeError, DescribedExport, Passes, PoolStatus, RowEstimate, Source,
    SourceOptions,
};
use super::connection_time::ConnectionTime;
use super::errors::SourceError;
use super::pool::{ping_with_timeout, wait_for_cancelled};
use super::sink::task_row_channel;
use super::stream::RowStream;
use super::tables::Table;
use crate::catalog::{BoundQuery, Export, SqlDialect};
use crate::row::Column;

pub use url::PostgresUrl;

/// A PostgreSQL database, used read-only.
pub struct PostgresSource {
    pools: Arc<Pools>,
    runtime: Handle,
    queries: TaskTracker,
}

impl PostgresSource {
    /// Returns a source for the database at `url` without connecting. Its connections run on the current runtime.
    ///
    /// # Errors
    /// Returns a message if the root certificates cannot be read.
    pub fn new(url: PostgresUrl, options: SourceOptions) -> Result<PostgresSource, String> {
        let runtime = Handle::current();
        let connector = Connector::new(url, runtime.clone())?;
        Ok(PostgresSource {
            pools: Arc::new(Pools::new(connector, options)),
            runtime,
            queries: TaskTracker::new(),
        })
    }
}

impl Source for PostgresSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Postgres
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Arc<dyn DescribedExport>, DescribeError>> {
        Box::pin(async move {
            let options = SourceOptions {
                statement_timeout: DESCRIBE_TIMEOUT,
                ..self.pools.options
            };
            let described = session::describe(&self.pools.descriptions, export, &options).await?;
            let plans = described.plans;
            let columns = plans.iter().map(Plan::all_columns);
            let (ranges, parallel_obstacle) = match described.ranges {
                None => (None, None),
                Some(Ok(ranges)) => (Some(Arc::new(ranges)), None),
                Some(Err(reason)) => (None, Some(reason)),
            };
            let described: Arc<dyn DescribedExport> = Arc::new(PostgresExport {
                columns: columns.collect(),
                plans: plans.into(),
                ranges,
                parallel_obstacle,
                pools: self.pools.clone(),
                runtime: self.runtime.clone(),
                queries: self.queries.clone(),
            });
            Ok(described)
        })
    }

    fn close_descriptions(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pools.descriptions.close_idle())
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<Table>, SourceError>> {
        Box::pin(tables::tables(&self.pools.descriptions))
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SourceError>> {
        let pools = self.pools.clone();
        let ping = async move {
            let guard = pools.reserved.acquire().await?;
            let answer = guard.client.simple_query("begin; select 1").await;
            answer.map_err(|error| execute_error(&error))?;
            pools.reserved.release(guard).await;
            Ok(())
        };
        ping_with_timeout(&self.runtime, ping)
    }

    fn pool_status(&self) -> Option<PoolStatus> {
        Some(self.pools.downloads.pool_status())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(wait_for_cancelled(&self.queries))
    }
}

/// An export and the plans of its statements.
struct PostgresExport {
    columns: Vec<Vec<Column>>,
    plans: Arc<[Plan]>,
    /// How its statement is read in ranges, if it can be.
    ranges: Option<Arc<RangePlan>>,
    parallel_obstacle: Option<String>,
    pools: Arc<Pools>,
    runtime: Handle,
    queries: TaskTracker,
}

impl DescribedExport for PostgresExport {
    fn columns(&self) -> &[Vec<Column>] {
        &self.columns
    }

    fn parallel_obstacle(&self) -> Option<&str> {
        self.parallel_obstacle.as_deref()
    }

    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
        time: ConnectionTime,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>> {
        Box::pin(async move {
            let plans = self.plans.clone();
            let (sink, pending) = task_row_channel();
            let pools = self.pools.clone();
            let helpers = self.ranges.as_ref().map(|plan| Helpers {
                plan: plan.clone(),
                pools: pools.clone(),
                runtime: self.runtime.clone(),
                queries: self.queries.clone(),
            });
            let query = stream::RowQuery {
                query,
                passes,
                plans,
                options: pools.options,
                helpers,
            };
            let run = async move { pools.downloads.run(query, sink, time).await };
            self.runtime.spawn(self.queries.track_future(run));
            pending.open().await
        })
    }

    fn estimate<'a>(
        &'a self,
        query: &'a BoundQuery,
        time_limit: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(async move {
            let (pools, plans) = (self.pools.clone(), self.plans.clone());
            let estimate = estimate::estimate(pools, query.clone(), plans, time_limit);
            let estimate = self.queries.track_future(timeout(time_limit, estimate));
            match self.runtime.spawn(estimate).await {
                Ok(Ok(estimate)) => estimate.map(Some),
                Ok(Err(_)) => Err(SourceError::TooSlow),
                Err(_) => Err(SourceError::Truncated),
            }
        })
    }
}
