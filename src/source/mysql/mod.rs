//! MySQL and MariaDB: prepared statements, rows as they come, one read-only transaction a query.

mod connect;
mod decode;
mod geometry;
mod parameter;
mod stream;
mod url;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use mysql_async::{DriverError, Error};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use self::connect::Connector;
use self::stream::Description;
use super::pool::{
    Connect as _, Connections, RESERVED_CONNECTIONS, ping_with_timeout, wait_for_cancelled,
};
use super::sink::task_row_channel;
use super::{
    Passes, PoolStatus, RowEstimate, RowStream, Source, SourceError, SourceOptions, refusal,
};
use crate::catalog::{BoundQuery, Export, SqlDialect};
use crate::row::Column;

pub use url::MysqlUrl;

/// A MySQL or MariaDB database, only ever read.
pub struct MysqlSource {
    connector: Arc<Connector>,
    downloads: Arc<Connections<Connector>>,
    reserve: Arc<Connections<Connector>>,
    described: RwLock<BTreeMap<String, Arc<Description>>>,
    runtime: Handle,
    queries: TaskTracker,
}

impl MysqlSource {
    /// The database at that URL. Nothing is connected yet. Its connections live on the runtime that
    /// this is called on.
    ///
    /// # Errors
    /// The root certificates cannot be read.
    pub fn new(url: MysqlUrl, options: SourceOptions) -> Result<MysqlSource, String> {
        let connector = Arc::new(Connector::new(url, options)?);
        let connections = |count| Arc::new(Connections::new(connector.clone(), count));
        Ok(MysqlSource {
            downloads: connections(options.connections),
            reserve: connections(RESERVED_CONNECTIONS),
            connector,
            described: RwLock::default(),
            runtime: Handle::current(),
            queries: TaskTracker::new(),
        })
    }

    fn description(&self, export: &str) -> Option<Arc<Description>> {
        let known = self
            .described
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(export).cloned()
    }
}

impl Source for MysqlSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Mysql
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Vec<Column>, SourceError>> {
        Box::pin(async move {
            let mut connection = self.connector.connect().await?;
            let described = stream::describe(&mut connection, export).await;
            connection.close().await;
            let described = Arc::new(described?);
            let mut known = self
                .described
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            known.insert(export.name.clone(), described.clone());
            Ok(described.columns.clone())
        })
    }

    fn open(
        &self,
        query: BoundQuery,
        passes: Passes,
    ) -> BoxFuture<'_, Result<RowStream, SourceError>> {
        Box::pin(async move {
            let described = self.description(&query.export().name);
            let described = described.ok_or_else(|| refusal("the export was never described"))?;
            let (sink, pending) = task_row_channel();
            let query = stream::Rows {
                query,
                passes,
                described,
            };
            let downloads = self.downloads.clone();
            let run = async move { downloads.run(query, sink).await };
            self.runtime.spawn(self.queries.track_future(run));
            pending.open().await
        })
    }

    /// The planner foretells how many rows it reads of each table, not how many come of that.
    fn estimate<'a>(
        &'a self,
        _: &'a BoundQuery,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<RowEstimate>, SourceError>> {
        Box::pin(ready(Ok(None)))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        let reserve = self.reserve.clone();
        let ping = async move {
            // A connection that has waited is asked before it is lent; a new one has just answered.
            let guard = reserve.acquire().await?;
            reserve.release(guard).await;
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

/// Sorts the errors of a statement that is prepared, which has no values yet, and says all that the server said. `sql`
/// is what was sent.
fn failure(error: &Error, sql: &str) -> SourceError {
    let said = match error {
        Error::Server(said) => said,
        error => return not_said(error),
    };
    let message = format!("{} ({}, {})", said.message, said.code, said.state);
    sorted(said.code, message, offset_of(&said.message, sql))
}

/// The same for a query that runs. What the server says may quote a value of the link or of a row, which has no place in
/// a log.
fn run_failure(error: &Error) -> SourceError {
    match error {
        Error::Server(said) => {
            let message = format!("error {} (SQLSTATE {})", said.code, said.state);
            sorted(said.code, message, None)
        }
        error => not_said(error),
    }
}

/// What the server did not say: the connection is gone, or the driver does not understand the statement.
fn not_said(error: &Error) -> SourceError {
    match error {
        Error::Driver(
            DriverError::MixedParams
            | DriverError::Params(_)
            | DriverError::StmtParamsMismatch { .. },
        ) => refusal(
            "the driver takes a part of the statement for a parameter; write `'` apart from operators",
        ),
        error => SourceError::Unavailable(error.to_string().into()),
    }
}

/// The numbers are those of MySQL's "Server Error Message Reference", and of MariaDB's from 1900 to 1999.
fn sorted(code: u16, message: String, offset: Option<usize>) -> SourceError {
    match code {
        // Of MariaDB and of MySQL: the statement's time is up.
        1969 | 3024 => SourceError::TooSlow,
        // Too many connections or statements, access denied, no such database, out of memory, locked, not ready, shutdown,
        // killed.
        1040 | 1203 | 1226 | 1044 | 1045 | 1698 | 1049 | 1053 | 1077 | 1317 | 1927 | 1037
        | 1038 | 1041 => SourceError::Unavailable(message.into()),
        _ => SourceError::Query {
            offset,
            cause: message.into(),
        },
    }
}

/// Where the fault is: in a line, `… near 'x' at line 2`, or at a name, `Table 'shop.orders' doesn't exist`.
fn offset_of(message: &str, sql: &str) -> Option<usize> {
    if let Some((_, line)) = message.rsplit_once(" at line ") {
        let line: usize = line.parse().ok()?;
        let starts = sql.match_indices('\n').map(|(offset, _)| offset + 1);
        return std::iter::once(0).chain(starts).nth(line.checked_sub(1)?);
    }
    let name = message.split('\'').nth(1)?;
    sql.find(name.rsplit('.').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::offset_of;

    #[test]
    fn a_fault_is_found_by_its_line_or_its_name() {
        let sql = "select 1,\n  x frm t\nwhere";
        assert_eq!(offset_of("near 'frm' at line 2", sql), Some(10));
        assert_eq!(offset_of("near '' at line 1", sql), Some(0));
        assert_eq!(offset_of("near '' at line 9", sql), None);
        assert_eq!(offset_of("Unknown column 'x' in 'SELECT'", sql), Some(12));
        assert_eq!(offset_of("Table 'shop.t' doesn't exist", sql), Some(5));
        assert_eq!(offset_of("Unknown column 'y' in 'SELECT'", sql), None);
        assert_eq!(offset_of("No database selected", sql), None);
    }
}
