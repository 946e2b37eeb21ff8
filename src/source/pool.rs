//! A bounded number of connections, and what is done with one: a query runs to its end, or is cancelled.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType,
};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::sink::{Stop, TaskRowSink};
use super::{PoolStatus, SourceError};

/// Connections beside those of downloads, so that these never keep `/readyz` waiting.
pub(super) const RESERVED_CONNECTIONS: usize = 2;
/// How long a sign of life is waited for, a new connection included.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of cancelled queries is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection of the pool is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is not used for longer, so that a changed address or another standby is found.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// Makes connections, and knows how they are used.
pub(super) trait Connect: Send + Sync + 'static {
    /// A connection that is logged in. Dropping it closes it.
    type Connection: Send + 'static;

    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, SourceError>> + Send;

    /// Whether a connection that has waited can be used again.
    fn is_usable(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Ends the transaction; says whether that went well.
    fn end(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Ends what the connection is doing, in the server: closing its socket would not end a query that sends nothing.
    fn cancel(&self, connection: &mut Self::Connection) -> impl Future<Output = ()> + Send;
}

/// A query that is to run on a connection.
pub(super) trait Query<C>: Send {
    /// Sends its rows, all but the end of the last reading.
    ///
    /// # Errors
    /// Nobody wants more, or it failed.
    fn run(
        self,
        connection: &mut C,
        sink: &mut TaskRowSink,
    ) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// A bounded number of connections.
pub(super) struct Connections<C: Connect> {
    pool: Pool<Factory<C>>,
    connector: Arc<C>,
}

/// A connection on loan, in a transaction. It goes back by [`Connections::release`]; dropped, it
/// is closed, so that none goes back in an unknown state.
pub(super) struct ConnectionGuard<C: Connect>(Option<Object<Factory<C>>>);

impl<C: Connect> Connections<C> {
    pub(super) fn new(connector: Arc<C>, count: usize) -> Connections<C> {
        let pool = Pool::builder(Factory(connector.clone()))
            .max_size(count)
            .wait_timeout(Some(ACQUIRE_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is named, which is all that a time-out needs");
        Connections { pool, connector }
    }

    /// A connection, for which at most two seconds are waited.
    ///
    /// # Errors
    /// All are in use, or the database does not answer.
    pub(super) async fn acquire(&self) -> Result<ConnectionGuard<C>, SourceError> {
        match self.pool.get().await {
            Ok(connection) => Ok(ConnectionGuard(Some(connection))),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(SourceError::Busy {
                connections: self.pool.status().max_size,
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(error) => Err(SourceError::Unavailable(error.to_string().into())),
        }
    }

    pub(super) fn pool_status(&self) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            in_use: status.size.saturating_sub(status.available),
            max: status.max_size,
        }
    }

    /// Runs a query to its end, or until its reader leaves.
    pub(super) async fn run(&self, query: impl Query<C::Connection>, mut sink: TaskRowSink) {
        let gone = sink.reader_gone();
        tokio::pin!(gone);
        let acquired = tokio::select! {
            acquired = self.acquire() => acquired,
            () = &mut gone => return,
        };
        let mut guard = match acquired {
            Ok(guard) => guard,
            Err(error) => return sink.fail(error).await,
        };
        let outcome = tokio::select! {
            outcome = query.run(&mut guard, &mut sink) => outcome,
            () = gone => Err(Stop::ReaderGone),
        };
        match outcome {
            Ok(()) => {
                let (finished, ()) = tokio::join!(sink.finish(), self.release(guard));
                // A reader that left now wants no end.
                if let Err(Stop::Failed(error)) = finished {
                    sink.fail(error).await;
                }
            }
            Err(stop) => {
                let tell = async {
                    if let Stop::Failed(error) = stop {
                        sink.fail(error).await;
                    }
                };
                // Together: a slow reader must not keep the query, nor its connection.
                tokio::join!(tell, self.cancel(guard));
            }
        }
    }

    /// Ends the transaction and puts the connection back; closes it where that fails.
    pub(super) async fn release(&self, mut guard: ConnectionGuard<C>) {
        if self.connector.end(&mut guard).await {
            drop(guard.0.take());
        }
    }

    /// Ends what the connection is doing, in the server, and closes it. Only then may another take
    /// its place: the database never has more than it was promised.
    async fn cancel(&self, mut guard: ConnectionGuard<C>) {
        self.connector.cancel(&mut guard).await;
    }
}

impl<C: Connect> Deref for ConnectionGuard<C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        self.0
            .as_ref()
            .expect("it is taken only by what consumes the loan")
    }
}

impl<C: Connect> DerefMut for ConnectionGuard<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        self.0
            .as_mut()
            .expect("it is taken only by what consumes the loan")
    }
}

impl<C: Connect> Drop for ConnectionGuard<C> {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// Whether a database gives the sign of life that is asked for, in time. It is asked on the runtime that has its
/// connections.
pub(super) fn ping_with_timeout(
    runtime: &Handle,
    ping: impl Future<Output = Result<(), SourceError>> + Send + 'static,
) -> BoxFuture<'static, Result<(), SourceError>> {
    let ping = runtime.spawn(timeout(PING_TIMEOUT, ping));
    Box::pin(async move {
        match ping.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SourceError::Unavailable("no answer in time".into())),
            Err(_) => Err(SourceError::Truncated),
        }
    })
}

/// Waits until the queries that were cancelled have ended in the database. Whatever still runs after that ends with its
/// connection.
pub(super) async fn wait_for_cancelled(queries: &TaskTracker) {
    queries.close();
    let _ = timeout(CLOSE_TIMEOUT, queries.wait()).await;
}

struct Factory<C>(Arc<C>);

impl<C: Connect> Manager for Factory<C> {
    type Type = C::Connection;
    type Error = SourceError;

    async fn create(&self) -> Result<C::Connection, SourceError> {
        self.0.connect().await
    }

    async fn recycle(
        &self,
        connection: &mut C::Connection,
        metrics: &Metrics,
    ) -> RecycleResult<SourceError> {
        if metrics.age() > LIFE {
            return Err(RecycleError::message("it is old"));
        }
        if !self.0.is_usable(connection).await {
            return Err(RecycleError::message("the server closed it"));
        }
        Ok(())
    }
}
