//! SQLite: one blocking thread and one read-only connection per query.

mod connect;
mod describe;
mod errors;
mod parameter;
mod stream;
mod tables;

use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use self::connect::has_wal;
use self::describe::describe;
use self::errors::sqlite_error;
use super::api::{DescribeError, DescribedExport, Passes, PoolStatus, Source, SourceOptions};
use super::connection_time::ConnectionTime;
use super::errors::SourceError;
use super::pool::ping_with_timeout;
use super::sink::row_channel;
use super::stream::RowStream;
use super::tables::Table;
use crate::catalog::{BoundQuery, Export, SqlDialect, Statement};
use crate::row::Column;

/// How many exports are described at the same time.
const DESCRIPTIONS_MAX: usize = 16;

/// A SQLite database file, opened read-only.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    path: PathBuf,
    options: SourceOptions,
    /// One permit: one ping runs at a time.
    pings: Arc<Semaphore>,
    descriptions: Arc<Semaphore>,
}

impl SqliteSource {
    /// Returns a source for a database file without opening it.
    pub fn new(path: impl AsRef<Path>, options: SourceOptions) -> SqliteSource {
        SqliteSource {
            path: path.as_ref().to_owned(),
            options,
            pings: Arc::new(Semaphore::new(1)),
            descriptions: Arc::new(Semaphore::new(DESCRIPTIONS_MAX)),
        }
    }

    async fn on_thread<T: Send + 'static, E: From<SourceError> + Send + 'static>(
        &self,
        work: impl FnOnce(Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || work(source.connect()?))
            .await
            .unwrap_or_else(|_| Err(SourceError::Truncated.into()))
    }
}

impl Source for SqliteSource {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Sqlite
    }

    fn describe<'a>(
        &'a self,
        export: &'a Export,
    ) -> BoxFuture<'a, Result<Arc<dyn DescribedExport>, DescribeError>> {
        let sheets = export.sheets.iter();
        let statements: Vec<Statement> = sheets.map(|sheet| sheet.statement.clone()).collect();
        Box::pin(async move {
            // A file on a file system that hangs would block more threads at each attempt.
            let permit = self.descriptions.clone().try_acquire_owned();
            let permit = permit
                .map_err(|_| SourceError::Unavailable("earlier descriptions still wait".into()))?;
            let described = self.on_thread(move |connection| {
                let _permit = permit;
                let described = statements.iter().enumerate().map(|(sheet, statement)| {
                    let described = describe(&connection, statement);
                    described.map_err(|error| DescribeError { sheet, error })
                });
                described.collect::<Result<Vec<_>, _>>()
            });
            let columns = described.await.map_err(|error| DescribeError {
                sheet: error.sheet,
                error: self.explain(error.error),
            })?;
            let source = self.clone();
            Ok(Arc::new(SqliteExport { columns, source }) as _)
        })
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<Table>, SourceError>> {
        Box::pin(async move {
            let tables = self.on_thread(|connection| tables::tables(&connection));
            tables.await.map_err(|error| self.explain(error))
        })
    }

    fn warnings(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let journal = self.on_thread(|connection| has_wal(&connection)).await;
            // A database that cannot be read is an error elsewhere.
            let blocks_writers = journal.is_ok_and(|has_wal| !has_wal);
            let journal = blocks_writers.then(|| self.journal_warning());
            journal.into_iter().chain(self.sorts_warning()).collect()
        })
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), SourceError>> {
        let source = self.clone();
        let count = |connection: Connection| {
            let sql = "select count(*) from sqlite_schema";
            connection
                .query_row(sql, [], |_| Ok(()))
                .map_err(sqlite_error)
        };
        // A file on a file system that hangs would block one more thread per ping.
        let Ok(permit) = self.pings.clone().try_acquire_owned() else {
            return Box::pin(ready(Err(SourceError::Unavailable(
                "the last ping still waits".into(),
            ))));
        };
        let ping = async move {
            source
                .on_thread(move |connection| {
                    let _permit = permit;
                    count(connection)
                })
                .await
        };
        ping_with_timeout(&Handle::current(), ping)
    }

    /// Returns `None`: connections to a file are not limited.
    fn pool_status(&self) -> Option<PoolStatus> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // Query threads end with the process.
        Box::pin(ready(()))
    }
}

/// An export and the columns of its statements. It has no estimate: the planner does not estimate row counts.
struct SqliteExport {
    columns: Vec<Vec<Column>>,
    source: SqliteSource,
}

impl DescribedExport for SqliteExport {
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
            let (sink, pending) = row_channel();
            let (source, runtime) = (self.source.clone(), Handle::current());
            // A separate thread: a slow reader would occupy one of the runtime's pool for minutes.
            thread::Builder::new()
                .name("rowlink-sqlite".into())
                .spawn(move || {
                    time.start();
                    stream::run(&source, &query, passes, runtime, &time, sink);
                })
                .map_err(|error| SourceError::Unavailable(error.into()))?;
            pending.open().await
        })
    }
}
