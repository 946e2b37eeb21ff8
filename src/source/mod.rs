//! Database sources: the [`Source`] trait and its implementations.
//!
//! [`DescribedExport::open`] returns after the columns and the first batch, so earlier failures still become an HTTP status.
//! After that the stream yields rows or an error; a stream that ends without its last batch is an error.

mod api;
mod connection_time;
mod errors;
mod mysql;
mod pool;
mod postgres;
mod row_window;
mod sink;
mod spelling;
mod sqlite;
mod stream;
mod tables;

pub use api::{
    CONCURRENT_DESCRIPTIONS, DESCRIBE_TIMEOUT, DescribeError, DescribedExport, Passes, PoolStatus,
    RowEstimate, Source, SourceOptions, Sources, SqliteSorts, dialects,
};
pub use connection_time::ConnectionTime;
pub use errors::{SourceError, causes};
pub use mysql::{MysqlSource, MysqlUrl};
pub use postgres::{PostgresSource, PostgresUrl};
pub use sqlite::SqliteSource;
pub use stream::{BatchRecycler, RowStream, Rows};
pub use tables::{Table, TableColumn};
