//! Connections that wait to be used again.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType,
};

use super::connect::{Connection, Connector};
use crate::source::{SourceError, Usage};

/// How long a connection of the pool is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is not used for longer, so that a changed address or another standby is found.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// A bounded number of connections.
pub(super) struct Connections {
    pool: Pool<Factory>,
    connector: Arc<Connector>,
}

/// A connection on loan, in a transaction. It goes back by [`Connections::give_back`]; dropped, it
/// is closed, so that none goes back in an unknown state.
pub(super) struct Loan(Option<Object<Factory>>);

impl Connections {
    pub(super) fn new(connector: Arc<Connector>, count: usize) -> Connections {
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
    pub(super) async fn acquire(&self) -> Result<Loan, SourceError> {
        match self.pool.get().await {
            Ok(connection) => Ok(Loan(Some(connection))),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(SourceError::Busy {
                connections: self.pool.status().max_size,
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(error) => Err(SourceError::Unavailable(error.to_string().into())),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let status = self.pool.status();
        Usage {
            in_use: status.size.saturating_sub(status.available),
            max: status.max_size,
        }
    }

    /// Ends the transaction and puts the connection back; closes it where that fails.
    pub(super) async fn give_back(&self, mut loan: Loan) {
        if loan.client.batch_execute("commit").await.is_ok() {
            drop(loan.0.take());
        }
    }

    /// Ends what the connection is doing, in the server, and closes it. Only then may another take
    /// its place: the database never has more than it was promised.
    pub(super) async fn cancel(&self, loan: Loan) {
        self.connector.cancel(&loan).await;
    }
}

impl Deref for Loan {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
            .as_ref()
            .expect("it is taken only by what consumes the loan")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

struct Factory(Arc<Connector>);

impl Manager for Factory {
    type Type = Connection;
    type Error = SourceError;

    async fn create(&self) -> Result<Connection, SourceError> {
        self.0.connect().await
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<SourceError> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("the server closed it"));
        }
        if metrics.age() > LIFE {
            return Err(RecycleError::message("it is old"));
        }
        Ok(())
    }
}
