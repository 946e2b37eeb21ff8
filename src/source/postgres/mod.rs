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
mod parameter;
mod plan;
mod pools;
mod row_interceptor;
mod session;
mod socket;
mod stream;
mod tls;
mod url;

#[cfg(test)]
mod driver_protocol;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::connect::Connector;
use self::errors::execute_error;
use self::plan::Plan;
use self::pools::Pools;
use super::api::{Passes, PoolStatus, RowEstimate, Source, SourceOptions};
use super::errors::{SourceError, not_described_error};
use super::pool::{Connect as _, ping_with_timeout, wait_for_cancelled};
use super::sink::task_row_channel;
use super::stream::RowStream;
use crate::catalog::{BoundQuery, Export, SqlDialect};
use crate::row::Column;

pub use url::PostgresUrl;

/// A PostgreSQL database, used read-only.
pub struct PostgresSource {
    pools: Arc<Pools>,
    plans: RwLock<BTreeMap<String, Arc<Plan>>>,
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
            plans: RwLock::default(),
            runtime,
            queries: TaskTracker::new(),
        })
    }

    fn plan(&self, export: &str) -> Result<Arc<Plan>, SourceError> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.get(export).cloned().ok_or_else(not_described_error)
    }
}

impl Source for PostgresSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Postgres
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Vec<Column>, SourceError>> {
        Box::pin(async move {
            // The connection is closed without ending the transaction: a pooler would otherwise pass its prepared
            // statements on to another client.
            let connection = self.pools.connector.connect().await?;
            let plan = session::describe(&connection, export, &self.pools.options).await?;
            let columns = plan.columns.iter().map(|(column, _)| column.clone());
            let columns = columns.collect();
            let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
            plans.insert(export.name.clone(), Arc::new(plan));
            Ok(columns)
        })
    }

    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>> {
        Box::pin(async move {
            let plan = self.plan(&query.export().name)?;
            let (sink, pending) = task_row_channel();
            let pools = self.pools.clone();
            let query = stream::RowQuery {
                query,
                passes,
                plan,
                options: pools.options,
            };
            let run = async move { pools.downloads.run(query, sink).await };
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
            let plan = self.plan(&query.export().name)?;
            let estimate = estimate::estimate(self.pools.clone(), query.clone(), plan, time_limit);
            let estimate = self.queries.track_future(timeout(time_limit, estimate));
            match self.runtime.spawn(estimate).await {
                Ok(Ok(estimate)) => estimate.map(Some),
                Ok(Err(_)) => Err(SourceError::TooSlow),
                Err(_) => Err(SourceError::Truncated),
            }
        })
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
