//! Connection pools: a query runs to its end on one connection, or is cancelled.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts,
};
use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::api::PoolStatus;
use super::connection_time::ConnectionTime;
use super::errors::SourceError;
use super::sink::{Stop, TaskRowSink};

/// Connections that downloads cannot use, so `/readyz` never waits for a download.
pub(super) const RESERVED_CONNECTIONS: usize = 2;
/// The time limit of a ping, including connecting.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum wait for cancelled queries at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum wait for a pooled connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Older connections are replaced, so a changed address or another standby is found.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);

/// Opens, checks, resets and cancels connections of one kind of database.
pub(super) trait Connect: Send + Sync + 'static {
    /// An authenticated connection. Dropping it closes the socket.
    type Connection: Send + 'static;

    /// Connects and authenticates.
    ///
    /// # Errors
    /// Returns [`SourceError::Unavailable`] if no server accepts the connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, SourceError>> + Send;

    /// Returns whether an idle connection is still usable.
    fn is_usable(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Ends the transaction; returns whether the connection is clean and can be reused.
    fn end_transaction(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = bool> + Send;

    /// Cancels the running query in the server. Closing the socket does not end a query that sends nothing.
    fn cancel(&self, connection: &mut Self::Connection) -> impl Future<Output = ()> + Send;

    /// Tells the server that the session ends, and waits for its end for a limited time. Servers log other ends.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

/// A query to run on a connection.
pub(super) trait Query<C>: Send {
    /// Writes the rows to the sink. The caller finishes the last pass.
    ///
    /// # Errors
    /// Returns [`Stop::ReaderDropped`] if the stream was dropped, and [`Stop::Failed`] if the query failed.
    fn run(
        self,
        connection: &mut C,
        sink: &mut TaskRowSink,
    ) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// What a pool returns.
type Got<C> = Result<Object<ConnectionManager<C>>, PoolError<SourceError>>;

/// A bounded connection pool.
pub(super) struct Connections<C: Connect> {
    pool: Pool<ConnectionManager<C>>,
    connector: Arc<C>,
}

/// A pooled connection in a transaction. [`Connections::release`] returns it to the pool. Dropping it closes it,
/// because its state is unknown.
pub(super) struct ConnectionGuard<C: Connect>(Option<Object<ConnectionManager<C>>>);

impl<C: Connect> Connections<C> {
    pub(super) fn new(connector: Arc<C>, count: usize) -> Connections<C> {
        let pool = Pool::builder(ConnectionManager(connector.clone()))
            .max_size(count)
            .wait_timeout(Some(ACQUIRE_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("the pool has a runtime for its time-out");
        Connections { pool, connector }
    }

    /// Takes a connection from the pool; waits up to two seconds for one.
    ///
    /// # Errors
    /// Returns [`SourceError::Busy`] if all are in use, and the error of [`Connect::connect`] if a new one fails.
    pub(super) async fn acquire(&self) -> Result<ConnectionGuard<C>, SourceError> {
        self.guard(self.pool.get().await)
    }

    pub(super) fn pool_status(&self) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            in_use: status.size.saturating_sub(status.available),
            max: status.max_size,
        }
    }

    /// Takes a connection from the pool if one is free now.
    ///
    /// # Errors
    /// Returns the errors of [`Connections::acquire`].
    async fn acquire_free(&self) -> Result<ConnectionGuard<C>, SourceError> {
        let timeouts = Timeouts {
            wait: Some(Duration::ZERO),
            ..self.pool.timeouts()
        };
        self.guard(self.pool.timeout_get(&timeouts).await)
    }

    fn guard(&self, got: Got<C>) -> Result<ConnectionGuard<C>, SourceError> {
        match got {
            Ok(connection) => Ok(ConnectionGuard(Some(connection))),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(SourceError::Busy {
                connections: self.pool.status().max_size,
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(error) => Err(SourceError::Unavailable(error.to_string().into())),
        }
    }

    /// Runs a query until it ends or its stream is dropped.
    pub(super) async fn run(
        &self,
        query: impl Query<C::Connection>,
        sink: TaskRowSink,
        time: ConnectionTime,
    ) {
        self.run_on(self.acquire(), query, sink, time).await;
    }

    /// Runs a query as [`run`](Connections::run) does, or fails immediately if no connection is free.
    pub(super) async fn run_if_free(&self, query: impl Query<C::Connection>, sink: TaskRowSink) {
        // The query that it helps measures the time.
        let time = ConnectionTime::default();
        self.run_on(self.acquire_free(), query, sink, time).await;
    }

    async fn run_on(
        &self,
        acquire: impl Future<Output = Result<ConnectionGuard<C>, SourceError>>,
        query: impl Query<C::Connection>,
        mut sink: TaskRowSink,
        time: ConnectionTime,
    ) {
        let reader_dropped = sink.reader_dropped();
        tokio::pin!(reader_dropped);
        let acquired = tokio::select! {
            acquired = acquire => acquired,
            () = &mut reader_dropped => return,
        };
        let mut guard = match acquired {
            Ok(guard) => guard,
            Err(error) => return sink.fail(error).await,
        };
        time.start();
        let outcome = tokio::select! {
            outcome = query.run(&mut guard, &mut sink) => outcome,
            () = reader_dropped => Err(Stop::ReaderDropped),
        };
        match outcome {
            Ok(()) => {
                let release = async {
                    self.release(guard).await;
                    time.end();
                };
                let (finished, ()) = tokio::join!(sink.finish(), release);
                // A reader that was dropped meanwhile needs no error.
                if let Err(Stop::Failed(error)) = finished {
                    sink.fail(error).await;
                }
            }
            Err(stop) => {
                let send_error = async {
                    if let Stop::Failed(error) = stop {
                        sink.fail(error).await;
                    }
                };
                // Concurrently: a slow reader must not delay the cancellation.
                let cancel = async {
                    self.cancel(guard).await;
                    time.end();
                };
                tokio::join!(send_error, cancel);
            }
        }
    }

    /// Ends the transaction and returns the connection to the pool; closes it if that fails.
    pub(super) async fn release(&self, mut guard: ConnectionGuard<C>) {
        if self.connector.end_transaction(&mut guard).await {
            drop(guard.0.take());
        }
    }

    /// Closes a connection in good order instead of returning it to the pool.
    pub(super) async fn close(&self, mut guard: ConnectionGuard<C>) {
        if let Some(connection) = guard.0.take() {
            self.connector.close(Object::take(connection)).await;
        }
    }

    /// Closes the connections that are not in use in good order.
    pub(super) async fn close_idle(&self) {
        let idle = self.pool.retain(|_, _| false).removed.into_iter();
        join_all(idle.map(|connection| self.connector.close(connection))).await;
    }

    /// Cancels the query in the server, then closes the connection. Its pool slot is free only after that, so the
    /// server never has more connections than configured.
    async fn cancel(&self, mut guard: ConnectionGuard<C>) {
        self.connector.cancel(&mut guard).await;
    }
}

impl<C: Connect> ConnectionGuard<C> {
    /// Returns whether the connection was idle in the pool. The server may have closed it meanwhile.
    pub(super) fn was_idle(&self) -> bool {
        let connection = self.0.as_ref();
        connection.is_some_and(|connection| Object::metrics(connection).recycle_count > 0)
    }
}

impl<C: Connect> Deref for ConnectionGuard<C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        self.0
            .as_ref()
            .expect("only release, close and drop take it")
    }
}

impl<C: Connect> DerefMut for ConnectionGuard<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        self.0
            .as_mut()
            .expect("only release, close and drop take it")
    }
}

impl<C: Connect> Drop for ConnectionGuard<C> {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// Runs a ping with a time-out, on the runtime that owns the connections.
///
/// # Errors
/// Returns the ping's error, or [`SourceError::Unavailable`] after the time-out.
pub(super) fn ping_with_timeout(
    runtime: &Handle,
    ping: impl Future<Output = Result<(), SourceError>> + Send + 'static,
) -> BoxFuture<'static, Result<(), SourceError>> {
    let ping = runtime.spawn(timeout(PING_TIMEOUT, ping));
    Box::pin(async move {
        match ping.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SourceError::Unavailable("ping timed out".into())),
            Err(_) => Err(SourceError::Truncated),
        }
    })
}

/// Waits until cancelled queries have ended in the database. Queries that still run after the time-out end with their
/// connections.
pub(super) async fn wait_for_cancelled(queries: &TaskTracker) {
    queries.close();
    let _ = timeout(CLOSE_TIMEOUT, queries.wait()).await;
}

struct ConnectionManager<C>(Arc<C>);

impl<C: Connect> Manager for ConnectionManager<C> {
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
        if metrics.age() > MAX_CONNECTION_AGE {
            return Err(RecycleError::message(
                "the connection reached its age limit",
            ));
        }
        if !self.0.is_usable(connection).await {
            return Err(RecycleError::message("the server closed the connection"));
        }
        Ok(())
    }
}
