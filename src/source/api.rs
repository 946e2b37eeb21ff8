//! The traits `Source` and `DescribedExport`, and their parameter and result types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};

use super::connection_time::ConnectionTime;
use super::errors::SourceError;
use super::stream::RowStream;
use super::tables::Table;
use crate::catalog::{BoundQuery, Dialects, Export, SqlDialect};
use crate::row::Column;

/// The databases of a deployment, by the names that exports use.
pub type Sources = BTreeMap<String, Arc<dyn Source>>;

/// Returns the SQL dialect of each source.
pub fn dialects(sources: &Sources) -> Dialects {
    let dialects = sources.iter();
    dialects
        .map(|(name, source)| (name.clone(), source.dialect()))
        .collect()
}

/// Limits for a database.
#[derive(Debug, Clone, Copy)]
pub struct SourceOptions {
    /// The maximum number of connections for downloads. A few more are for health checks, estimates and
    /// descriptions. SQLite has no such limit.
    pub connections: usize,
    /// The most of these connections that read one export with `parallel`; 1 reads all exports over one. PostgreSQL only.
    pub parallel_connections: usize,
    /// The time limit of a query. SQLite has none: a download ends its query.
    pub statement_timeout: Duration,
    /// The size of the largest row, in bytes, as the database sends it.
    pub row_bytes_max: usize,
    /// How long a query may keep other programs from writing to a SQLite file. With a write-ahead log it never does.
    pub sqlite_lock_max: Duration,
    /// Where SQLite sorts what does not fit its cache.
    pub sqlite_sorts: SqliteSorts,
}

/// Where SQLite keeps what it sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteSorts {
    /// In temporary files, which no other program sees.
    InFiles,
    /// In memory, without a limit.
    InMemory,
}

impl Default for SourceOptions {
    /// Returns 10 connections, two of them for an export with `parallel`, a time limit of 15 minutes, rows of 4 MiB, and a
    /// minute of a lock.
    fn default() -> SourceOptions {
        SourceOptions {
            connections: 10,
            parallel_connections: 2,
            statement_timeout: Duration::from_secs(900),
            row_bytes_max: 4 << 20,
            sqlite_lock_max: Duration::from_secs(60),
            sqlite_sorts: SqliteSorts::InFiles,
        }
    }
}

/// The state of a source's connection pool for downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections in use.
    pub in_use: usize,
    /// The size of the pool.
    pub max: usize,
}

/// How many times the rows of a query are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Once.
    One,
    /// Twice from one snapshot, all statements before the first one again: see [`RowStream::again`].
    Two,
}

impl Passes {
    /// Returns the number.
    pub(super) fn count(self) -> usize {
        match self {
            Passes::One => 1,
            Passes::Two => 2,
        }
    }
}

/// The query planner's estimate of a result's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEstimate {
    /// The number of rows.
    pub rows: u64,
    /// The size of these rows as text, in bytes, including separators.
    pub bytes: u64,
}

/// The time limit for describing an export, also in the database: a locked table must not block those that wait.
pub const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many exports are described at the same time, and so the maximum number of connections to a database for that.
pub const CONCURRENT_DESCRIPTIONS: usize = 4;

/// A database.
pub trait Source: Send + Sync {
    /// Returns the SQL dialect of the database.
    fn dialect(&self) -> SqlDialect;

    /// Prepares an export's statements without running them. It may leave a connection open for the next description:
    /// see [`close_descriptions`](Source::close_descriptions).
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if a statement cannot be exported, with its offset in the SQL if known, and
    /// [`SourceError::Unavailable`] if the database is unreachable.
    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Arc<dyn DescribedExport>, DescribeError>>;

    /// Closes the connections that descriptions have left open for the next ones.
    fn close_descriptions(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// Returns the tables and views that Rowlink's login may read, those of the default schema first, with their columns.
    ///
    /// # Errors
    /// Returns [`SourceError::Unavailable`] if the database is unreachable, and the [`SourceError`] of any other failure.
    fn tables(&self) -> BoxFuture<'_, Result<Vec<Table>, SourceError>>;

    /// Returns what the operator should change about the database or its environment. Called at start-up, after
    /// [`describe`](Source::describe).
    fn warnings(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(ready(Vec::new()))
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// Returns a [`SourceError`] if the database does not answer in time.
    fn ping(&self) -> BoxFuture<'static, Result<(), SourceError>>;

    /// Returns the state of the connection pool; `None` if connections are not limited.
    fn pool_status(&self) -> Option<PoolStatus>;

    /// Waits until cancelled queries have ended in the database, for a limited time.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why an export cannot be described.
#[derive(Debug)]
pub struct DescribeError {
    /// The index of the sheet with the first statement that cannot be.
    pub sheet: usize,
    /// The reason.
    pub error: SourceError,
}

impl From<SourceError> for DescribeError {
    /// Returns an error that is the same for each statement.
    fn from(error: SourceError) -> DescribeError {
        DescribeError { sheet: 0, error }
    }
}

/// An export whose statements the database has prepared. It runs the queries of that version of the export only.
pub trait DescribedExport: Send + Sync {
    /// Returns the columns of each sheet's statement.
    fn columns(&self) -> &[Vec<Column>];

    /// Returns why an export with `parallel` is read over one connection; `None` if it need not be.
    fn parallel_obstacle(&self) -> Option<&str> {
        None
    }

    /// Runs the statements of a query one after the other, all in one snapshot; returns their stream once the first batch
    /// has arrived. `time` measures how long it holds a connection.
    ///
    /// Dropping the future or the stream cancels the query in the database.
    ///
    /// # Errors
    /// Returns the [`SourceError`] of any failure before the first batch.
    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
        time: ConnectionTime,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>>;

    /// Returns the planner's estimate for all rows of a query without running it; `None` if the planner does not estimate results.
    /// The database stops planning after `time_limit`.
    ///
    /// # Errors
    /// Returns [`SourceError::TooSlow`] after `time_limit`, and the [`SourceError`] of any other failure.
    fn estimate<'a>(
        &'a self,
        _query: &'a BoundQuery,
        _time_limit: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(ready(Ok(None)))
    }
}
