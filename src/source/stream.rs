//! The reading side of the row channel, and the state that both sides share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::errors::SourceError;
use crate::row::{Column, RowBatch, RowBuffer};

/// The capacity of the channel, in batches. Together with the batch being filled and the batch being encoded, this
/// bounds the rows in memory.
pub(super) const BATCHES_IN_FLIGHT: usize = 1;
/// A reader that waits this long requests a flush of a partial batch, so a slow query shows progress.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

pub(super) enum Event {
    /// The start of a statement's rows.
    Columns {
        columns: Vec<Column>,
        /// How many statements follow this one in the same pass.
        statements_after: usize,
    },
    Rows(RowBuffer),
    /// Marks the end of a statement explicitly: a writer that panics also closes the channel.
    LastRows(RowBuffer),
    Failed(SourceError),
}

/// Signals from the reader to the writer.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) cancelled: AtomicBool,
    pub(super) flush_requested: AtomicBool,
    pub(super) on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

pub(super) struct Reader {
    pub(super) events: mpsc::Receiver<Event>,
    /// Returns encoded batches to the writer, which reuses their memory.
    pub(super) spares: std_mpsc::SyncSender<RowBatch>,
    pub(super) flow: Arc<Flow>,
}

impl Reader {
    async fn next(&mut self) -> Result<Event, SourceError> {
        let event = match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(_) => self.wait().await,
        };
        match event {
            Some(Event::Failed(error)) => Err(error),
            Some(event) => Ok(event),
            None => Err(SourceError::Truncated),
        }
    }

    async fn wait(&mut self) -> Option<Event> {
        match tokio::time::timeout(FLUSH_INTERVAL, self.events.recv()).await {
            Ok(event) => event,
            Err(_) => {
                self.flow.flush_requested.store(true, Ordering::Relaxed);
                self.events.recv().await
            }
        }
    }
}

/// Cancels the query, also if the reader is dropped before the first row.
impl Drop for Reader {
    fn drop(&mut self) {
        let action = self.flow.on_cancel.lock();
        let mut action = action.unwrap_or_else(PoisonError::into_inner);
        // Set under the lock, so an action that is registered later runs immediately.
        self.flow.cancelled.store(true, Ordering::SeqCst);
        if let Some(action) = action.take() {
            action();
        }
    }
}

/// A stream that waits for its first batch.
pub(super) struct PendingStream(pub(super) Reader);

impl PendingStream {
    /// Waits for the columns and the first batch.
    ///
    /// # Errors
    /// Returns the writer's error, or [`SourceError::Truncated`] if the channel closes first.
    pub(super) async fn open(self) -> Result<RowStream, SourceError> {
        let mut stream = RowStream {
            columns: Vec::new(),
            statements_after: 0,
            ready: None,
            rows: 0,
            has_last: false,
            reader: self.0,
        };
        stream.start_statement().await?;
        let first = stream.reader.next().await?;
        stream.accept(first)?;
        Ok(stream)
    }
}

/// Rows of a statement, or the start of the next one.
pub enum Rows {
    /// Some rows.
    Batch(RowBatch),
    /// The rows of a statement have ended. The next one has these columns.
    NextStatement(Vec<Column>),
}

/// The rows of a query, in order, one statement after the other. Dropping it cancels the query.
pub struct RowStream {
    columns: Vec<Column>,
    /// How many statements follow this one in the same pass.
    statements_after: usize,
    ready: Option<RowBatch>,
    /// The rows of this statement in the batches so far.
    rows: u64,
    /// Whether the last batch of this statement has arrived.
    has_last: bool,
    pub(super) reader: Reader,
}

impl RowStream {
    /// Returns the columns of the statement whose rows are read now.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns whether the last batch has arrived. If so, the whole file can be encoded before it is sent.
    pub fn is_complete(&self) -> bool {
        self.has_last && self.statements_after == 0
    }

    /// Returns the next rows, or `None` after those of the last statement. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Returns the [`SourceError`] of a failed query, or [`SourceError::Truncated`] if the rows end without a last batch.
    pub async fn next(&mut self) -> Result<Option<Rows>, SourceError> {
        if self.ready.is_none() && !self.has_last {
            let event = self.reader.next().await?;
            self.accept(event)?;
        }
        match self.ready.take() {
            Some(batch) => Ok(Some(Rows::Batch(batch))),
            None if self.statements_after == 0 => Ok(None),
            None => {
                self.start_statement().await?;
                Ok(Some(Rows::NextStatement(self.columns.clone())))
            }
        }
    }

    /// Returns the next batch of an export with one statement, or `None` after the last.
    ///
    /// # Errors
    /// Returns the error of [`next`](RowStream::next), or [`SourceError::Truncated`] if another statement follows.
    pub async fn next_batch(&mut self) -> Result<Option<RowBatch>, SourceError> {
        match self.next().await? {
            Some(Rows::Batch(batch)) => Ok(Some(batch)),
            Some(Rows::NextStatement(_)) => Err(SourceError::Truncated),
            None => Ok(None),
        }
    }

    /// Restarts from the first row: the second of [`Passes::Two`](super::Passes::Two). Call it after the last row.
    ///
    /// # Errors
    /// Returns a [`SourceError`] if the query fails before the first batch.
    pub async fn again(self) -> Result<RowStream, SourceError> {
        PendingStream(self.reader).open().await
    }

    /// Returns a batch to the writer, which reuses its memory.
    pub fn recycle(&self, batch: RowBatch) {
        recycle(&self.reader.spares, batch);
    }

    /// Returns a handle that recycles batches from another thread.
    pub fn recycler(&self) -> BatchRecycler {
        BatchRecycler(self.reader.spares.clone())
    }

    async fn start_statement(&mut self) -> Result<(), SourceError> {
        match self.reader.next().await? {
            Event::Columns {
                columns,
                statements_after,
            } => {
                self.columns = columns;
                self.statements_after = statements_after;
                self.rows = 0;
                self.has_last = false;
                Ok(())
            }
            _ => Err(SourceError::Truncated),
        }
    }

    fn accept(&mut self, event: Event) -> Result<(), SourceError> {
        match event {
            Event::Rows(rows) => self.ready = Some(self.check(rows)?),
            Event::LastRows(rows) => {
                self.ready = Some(self.check(rows)?);
                self.has_last = true;
            }
            Event::Failed(error) => return Err(error),
            Event::Columns { .. } => return Err(SourceError::Truncated),
        }
        Ok(())
    }

    /// Checks that texts are UTF-8: here, because the writer is the slower side.
    fn check(&mut self, rows: RowBuffer) -> Result<RowBatch, SourceError> {
        let batch = rows.finish().map_err(|at| SourceError::NotUtf8 {
            row: self.rows + at.row as u64 + 1,
            column: self.columns[at.column].name.clone(),
        })?;
        self.rows += batch.rows() as u64;
        Ok(batch)
    }
}

/// Returns batches to the writer of a [`RowStream`], which reuses their memory.
pub struct BatchRecycler(std_mpsc::SyncSender<RowBatch>);

impl BatchRecycler {
    /// Returns a batch to the writer.
    pub fn recycle(&self, batch: RowBatch) {
        recycle(&self.0, batch);
    }
}

fn recycle(spares: &std_mpsc::SyncSender<RowBatch>, batch: RowBatch) {
    // If the return channel is full, the writer has enough spare batches.
    let _ = spares.try_send(batch);
}
