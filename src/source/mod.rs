//! Where rows come from: the port, and one file an adapter.
//!
//! [`Source::open`] returns after the columns and the first batch, so that a bad query or a
//! database that cannot be reached is still an honest status code. After that, rows or an error:
//! a stream that ends without its last batch is never taken for a whole one.

mod mysql;
mod pool;
mod postgres;
mod sink;
mod sqlite;
mod stream;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::catalog::{BoundQuery, Dialects, Export, SqlDialect};
use crate::row::Column;

pub use mysql::{MysqlSource, MysqlUrl};
pub use postgres::{PostgresSource, PostgresUrl};
pub use sqlite::SqliteSource;
pub use stream::RowStream;

/// The databases of a deployment, by the names that exports use.
pub type Sources = BTreeMap<String, Arc<dyn Source>>;

/// How the SQL of each is read.
pub fn dialects(sources: &Sources) -> Dialects {
    let dialects = sources.iter();
    dialects
        .map(|(name, source)| (name.clone(), source.dialect()))
        .collect()
}

/// How a database with a server of its own is used.
#[derive(Debug, Clone, Copy)]
pub struct SourceOptions {
    /// How many downloads may have a connection at a time. A few more are kept in reserve.
    pub connections: usize,
    /// How long a query may run.
    pub statement_timeout: Duration,
}

/// Connections of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// How many downloads have one.
    pub in_use: usize,
    /// How many may have one.
    pub max: usize,
}

/// How often the rows of a query are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Once.
    One,
    /// Twice from one snapshot: see [`RowStream::again`].
    Two,
}

/// What the planner of a database expects of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEstimate {
    /// How many rows it gives.
    pub rows: u64,
    /// How many bytes these have as text, separators included.
    pub bytes: u64,
}

/// A database.
pub trait Source: Send + Sync {
    /// How its SQL is read.
    fn dialect(&self) -> SqlDialect;

    /// Prepares an export's statement without running it; returns its columns.
    ///
    /// # Errors
    /// [`SourceError::Query`] with the place in the SQL where it is known, or the database cannot
    /// be reached.
    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Vec<Column>, SourceError>>;

    /// Runs a query and returns its rows once the first of them are here.
    ///
    /// Dropping the future or the stream cancels the query in the database.
    ///
    /// # Errors
    /// Whatever fails before the first rows.
    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>>;

    /// What the planner expects of a query, which is not run; `None` where there is no planner to ask.
    /// Nothing is left of it in the database after `patience`.
    ///
    /// # Errors
    /// The planner could not be asked.
    fn estimate<'a>(
        &'a self,
        query: &'a BoundQuery,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>>;

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    fn ping(&self) -> BoxFuture<'_, Result<(), SourceError>>;

    /// How many connections are in use, where their number is bounded.
    fn pool_status(&self) -> Option<PoolStatus>;

    /// Waits, for a moment at most, until queries that were cancelled have ended in the database.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why rows did not come, sorted by what an operator can do. For the log: it may quote SQL.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The database cannot be reached or is busy: later it may be there.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Every connection that may be opened is in use.
    #[error("all {connections} connections to the database are in use")]
    Busy {
        /// How many there are.
        connections: usize,
    },
    /// The query took longer than it may.
    #[error("the query took longer than it may")]
    TooSlow,
    /// The database does not take a value of the link, before it has run anything.
    #[error("the database does not take a value")]
    BadValue {
        /// The index of the variable in the statement, where the database says which.
        variable: Option<usize>,
        /// What the database said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The database refused the query or failed in it.
    #[error("the query failed")]
    Query {
        /// The byte of the SQL at which the fault is, where the database says so.
        offset: Option<usize>,
        /// What the database said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A value has no place in a file.
    #[error("row {row}, column `{column}`: the text is not UTF-8")]
    NotUtf8 {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
    },
    /// The query ended without its last rows: its thread died, or it was cancelled.
    #[error("the rows ended before the last one")]
    Truncated,
}

/// A query that is refused by us, not by the database.
fn refusal(message: impl Into<String>) -> SourceError {
    SourceError::Query {
        offset: None,
        cause: message.into().into(),
    }
}

/// An error with all its causes, for the log.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
