//! Where rows come from: the port, and one file an adapter.
//!
//! [`Source::open`] returns after the columns and the first batch, so that a bad query or a
//! database that cannot be reached is still an honest status code. After that, rows or an error:
//! a stream that ends without its last batch is never taken for a whole one.

mod sqlite;
mod stream;

use std::error::Error;

use futures_util::future::BoxFuture;

use crate::catalog::{BoundQuery, Statement};
use crate::row::Column;

pub use sqlite::SqliteSource;
pub use stream::RowStream;

/// A database.
pub trait Source: Send + Sync {
    /// Prepares a statement without running it; returns its columns.
    ///
    /// # Errors
    /// [`SourceError::Query`] with the place in the SQL where it is known, or the database cannot
    /// be reached.
    fn describe<'a>(
        &'a self,
        statement: &'a Statement,
    ) -> BoxFuture<'a, Result<Vec<Column>, SourceError>>;

    /// Runs a query and returns its rows once the first of them are here.
    ///
    /// Dropping the future or the stream cancels the query in the database.
    ///
    /// # Errors
    /// Whatever fails before the first rows.
    fn open(&self, query: BoundQuery) -> BoxFuture<'_, Result<RowStream, SourceError>>;

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    fn ping(&self) -> BoxFuture<'_, Result<(), SourceError>>;
}

/// Why rows did not come, sorted by what an operator can do. For the log: it may quote SQL.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The database cannot be reached or is busy: later it may be there.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
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
    Cut,
}
