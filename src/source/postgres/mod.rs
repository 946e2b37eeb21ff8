//! PostgreSQL: bound parameters, each column in the format that suits it, one read-only transaction a query.
//!
//! `COPY` would be simpler, but takes no parameters, and its text costs the server more than half
//! again of what these results cost.

mod connect;
mod decode;
mod estimate;
mod formats;
mod parameter;
mod plan;
mod row_interceptor;
mod session;
mod socket;
mod stream;
mod tls;
mod url;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_util::task::TaskTracker;

use self::connect::Connector;
use self::plan::Plan;
use super::pool::{
    Connect as _, Connections, RESERVED_CONNECTIONS, ping_with_timeout, wait_for_cancelled,
};
use super::sink::task_row_channel;
use super::{
    Passes, PoolStatus, RowEstimate, RowStream, Source, SourceError, SourceOptions, causes, refusal,
};
use crate::catalog::{BoundQuery, Export, SqlDialect};
use crate::row::Column;

pub use url::PostgresUrl;

/// The same for estimates: many of them take no place of a download.
const ESTIMATE_CONNECTIONS: usize = 1;

/// A PostgreSQL database, only ever read.
pub struct PostgresSource {
    shared: Arc<Shared>,
    plans: RwLock<BTreeMap<String, Arc<Plan>>>,
    runtime: Handle,
    queries: TaskTracker,
}

struct Shared {
    connector: Arc<Connector>,
    downloads: Connections<Connector>,
    reserve: Connections<Connector>,
    estimates: Connections<Connector>,
    options: SourceOptions,
}

impl PostgresSource {
    /// The database at that URL. Nothing is connected yet. Its connections live on the runtime that
    /// this is called on.
    ///
    /// # Errors
    /// The root certificates cannot be read.
    pub fn new(url: PostgresUrl, options: SourceOptions) -> Result<PostgresSource, String> {
        let runtime = Handle::current();
        let connector = Arc::new(Connector::new(url, runtime.clone())?);
        let shared = Shared {
            downloads: Connections::new(connector.clone(), options.connections),
            reserve: Connections::new(connector.clone(), RESERVED_CONNECTIONS),
            estimates: Connections::new(connector.clone(), ESTIMATE_CONNECTIONS),
            connector,
            options,
        };
        Ok(PostgresSource {
            shared: Arc::new(shared),
            plans: RwLock::default(),
            runtime,
            queries: TaskTracker::new(),
        })
    }

    fn plan(&self, export: &str) -> Option<Arc<Plan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.get(export).cloned()
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
            // The transaction is never ended and the connection never used again: behind a pooler
            // its prepared statements would be met by the next one to get it.
            let connection = self.shared.connector.connect().await?;
            let plan = session::describe(&connection, export, &self.shared.options).await?;
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
            let plan = self.plan(&query.export().name);
            let plan = plan.ok_or_else(|| refusal("the export was never described"))?;
            let (sink, pending) = task_row_channel();
            let shared = self.shared.clone();
            let query = stream::Rows {
                query,
                passes,
                plan,
                options: shared.options,
            };
            let run = async move { shared.downloads.run(query, sink).await };
            self.runtime.spawn(self.queries.track_future(run));
            pending.open().await
        })
    }

    fn estimate<'a>(
        &'a self,
        query: &'a BoundQuery,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(async move {
            let plan = self.plan(&query.export().name);
            let plan = plan.ok_or_else(|| refusal("the export was never described"))?;
            let planned = estimate::of(self.shared.clone(), query.clone(), plan, patience);
            let planned = self.queries.track_future(timeout(patience, planned));
            match self.runtime.spawn(planned).await {
                Ok(Ok(planned)) => planned.map(Some),
                Ok(Err(_)) => Err(SourceError::TooSlow),
                Err(_) => Err(SourceError::Truncated),
            }
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        let shared = self.shared.clone();
        let ping = async move {
            let guard = shared.reserve.acquire().await?;
            let answer = guard.client.simple_query("begin; select 1").await;
            answer.map_err(|error| run_failure(&error))?;
            shared.reserve.release(guard).await;
            Ok(())
        };
        ping_with_timeout(&self.runtime, ping)
    }

    fn pool_status(&self) -> Option<PoolStatus> {
        Some(self.shared.downloads.pool_status())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(wait_for_cancelled(&self.queries))
    }
}

/// Sorts the errors of a statement that is prepared, which has no values yet, and says all that the
/// server said. `sql` is what was sent.
fn failure(error: Error, sql: &str) -> SourceError {
    let Some(said) = error.as_db_error() else {
        return SourceError::Unavailable(causes(&error).into());
    };
    let mut message = format!("{} ({})", said.message(), said.code().code());
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    sorted(said, message, sql)
}

/// The same for a query that runs. What the server says may quote a value of the link or of a row,
/// which has no place in a log; the code, and the function that raised it, say what went wrong.
fn run_failure(error: &Error) -> SourceError {
    let Some(said) = error.as_db_error() else {
        return SourceError::Unavailable(causes(error).into());
    };
    let (code, routine) = (said.code().code(), said.routine().unwrap_or("the server"));
    sorted(said, format!("SQLSTATE {code}, raised by {routine}"), "")
}

fn sorted(said: &DbError, message: String, sql: &str) -> SourceError {
    let code = said.code();
    if *code == SqlState::QUERY_CANCELED {
        return SourceError::TooSlow;
    }
    // Connection exceptions, insufficient resources, shutdown; and not being let in.
    let unavailable = ["08", "53", "57P", "28", "3D"];
    if unavailable
        .iter()
        .any(|class| code.code().starts_with(class))
    {
        return SourceError::Unavailable(message.into());
    }
    let offset = match said.position() {
        // It counts characters, from 1.
        Some(ErrorPosition::Original(position)) => {
            let before = sql.chars().take((*position as usize).saturating_sub(1));
            Some(before.map(char::len_utf8).sum())
        }
        _ => None,
    };
    SourceError::Query {
        offset,
        cause: message.into(),
    }
}
