//! MySQL and MariaDB: prepared statements, streamed rows, one read-only transaction per query.

mod connect;
mod decode;
mod errors;
mod geometry;
mod parameter;
mod stream;
mod tables;
mod url;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use self::connect::Connector;
use self::stream::Description;
use super::api::{
    CONCURRENT_DESCRIPTIONS, DescribeError, DescribedExport, Passes, PoolStatus, Source,
    SourceOptions,
};
use super::connection_time::ConnectionTime;
use super::errors::SourceError;
use super::pool::{Connections, RESERVED_CONNECTIONS, ping_with_timeout, wait_for_cancelled};
use super::sink::task_row_channel;
use super::stream::RowStream;
use super::tables::Table;
use crate::catalog::{BoundQuery, Export, SqlDialect};
use crate::row::Column;

pub use url::MysqlUrl;

/// A MySQL or MariaDB database, used read-only.
pub struct MysqlSource {
    downloads: Arc<Connections<Connector>>,
    reserved: Arc<Connections<Connector>>,
    /// Its idle connections are closed after each update of the exports.
    descriptions: Connections<Connector>,
    row_bytes_max: usize,
    runtime: Handle,
    queries: TaskTracker,
}

impl MysqlSource {
    /// Returns a source for the database at `url` without connecting. Its connections run on the current runtime.
    ///
    /// # Errors
    /// Returns a message if the root certificates cannot be read.
    pub fn new(url: MysqlUrl, options: SourceOptions) -> Result<MysqlSource, String> {
        let connector = Arc::new(Connector::new(url, options)?);
        let connections = |count| Arc::new(Connections::new(connector.clone(), count));
        Ok(MysqlSource {
            downloads: connections(options.connections),
            reserved: connections(RESERVED_CONNECTIONS),
            descriptions: Connections::new(connector.clone(), CONCURRENT_DESCRIPTIONS),
            row_bytes_max: options.row_bytes_max,
            runtime: Handle::current(),
            queries: TaskTracker::new(),
        })
    }
}

impl Source for MysqlSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Mysql
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Arc<dyn DescribedExport>, DescribeError>> {
        Box::pin(async move {
            // The pool pings an idle connection before it returns it.
            let mut connection = self.descriptions.acquire().await?;
            let descriptions = stream::describe(&mut connection, export).await;
            self.descriptions.release(connection).await;
            let descriptions = descriptions?;
            let columns = descriptions.iter().map(|it| it.columns.clone());
            let described: Arc<dyn DescribedExport> = Arc::new(MysqlExport {
                columns: columns.collect(),
                descriptions: descriptions.into(),
                downloads: self.downloads.clone(),
                row_bytes_max: self.row_bytes_max,
                runtime: self.runtime.clone(),
                queries: self.queries.clone(),
            });
            Ok(described)
        })
    }

    fn close_descriptions(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.descriptions.close_idle())
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<Table>, SourceError>> {
        Box::pin(async move {
            let mut connection = self.descriptions.acquire().await?;
            let tables = tables::tables(&mut connection).await;
            self.descriptions.release(connection).await;
            tables
        })
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SourceError>> {
        let reserved = self.reserved.clone();
        let ping = async move {
            // The pool pings an idle connection before it returns it; a new one has just logged in.
            let guard = reserved.acquire().await?;
            reserved.release(guard).await;
            Ok(())
        };
        ping_with_timeout(&self.runtime, ping)
    }

    fn pool_status(&self) -> Option<PoolStatus> {
        Some(self.downloads.pool_status())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(wait_for_cancelled(&self.queries))
    }
}

/// An export and the descriptions of its statements. It has no estimate: the planner estimates the rows read per table, not the rows of the
/// result.
struct MysqlExport {
    columns: Vec<Vec<Column>>,
    descriptions: Arc<[Description]>,
    downloads: Arc<Connections<Connector>>,
    row_bytes_max: usize,
    runtime: Handle,
    queries: TaskTracker,
}

impl DescribedExport for MysqlExport {
    fn columns(&self) -> &[Vec<Column>] {
        &self.columns
    }

    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
        time: ConnectionTime,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>> {
        Box::pin(async move {
            let (sink, pending) = task_row_channel();
            let query = stream::RowQuery {
                query,
                passes,
                descriptions: self.descriptions.clone(),
                row_bytes_max: self.row_bytes_max,
            };
            let downloads = self.downloads.clone();
            let run = async move { downloads.run(query, sink, time).await };
            self.runtime.spawn(self.queries.track_future(run));
            pending.open().await
        })
    }
}
