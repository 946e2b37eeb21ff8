//! The end of a hand-over that a reader has, and what the two ends share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::SourceError;
use crate::row::{Column, RowBatch};

/// Batches on their way. With the one being filled and the one being encoded, this bounds the
/// rows in memory.
pub(super) const BATCHES_IN_FLIGHT: usize = 2;
/// A reader that waited this long gets the rows there are, so that a slow query shows progress.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

pub(super) enum Event {
    Columns(Vec<Column>),
    Rows(RowBatch),
    /// The end is said, never inferred from a closed channel: a task that dies closes it too.
    LastRows(RowBatch),
    Failed(SourceError),
}

/// What the reader lets the writer know.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) cancelled: AtomicBool,
    pub(super) flush_requested: AtomicBool,
    pub(super) on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

pub(super) struct Reader {
    pub(super) events: mpsc::Receiver<Event>,
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

/// Cancels the query, also when the reader leaves before the first row.
impl Drop for Reader {
    fn drop(&mut self) {
        let action = self.flow.on_cancel.lock();
        let mut action = action.unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever stores an action later sees it.
        self.flow.cancelled.store(true, Ordering::SeqCst);
        if let Some(action) = action.take() {
            action();
        }
    }
}

/// A stream whose first rows are not here yet.
pub(super) struct PendingStream(pub(super) Reader);

impl PendingStream {
    /// Waits for the columns and the first rows.
    pub(super) async fn open(self) -> Result<RowStream, SourceError> {
        let mut reader = self.0;
        let Event::Columns(columns) = reader.next().await? else {
            return Err(SourceError::Truncated);
        };
        let first = reader.next().await?;
        let mut stream = RowStream {
            columns,
            ready: None,
            complete: false,
            reader,
        };
        stream.accept(first)?;
        Ok(stream)
    }
}

/// The rows of a query, in order. Dropping it cancels the query.
pub struct RowStream {
    columns: Vec<Column>,
    ready: Option<RowBatch>,
    complete: bool,
    pub(super) reader: Reader,
}

impl RowStream {
    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Whether the last row is here already, so that the whole file can be known before it is sent.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next rows, or `None` after the last.
    ///
    /// # Errors
    /// The query failed; or it ended without saying that it was complete.
    pub async fn next(&mut self) -> Result<Option<RowBatch>, SourceError> {
        if self.ready.is_none() && !self.complete {
            let event = self.reader.next().await?;
            self.accept(event)?;
        }
        Ok(self.ready.take())
    }

    /// The rows once more, from the first: for a query that is read twice, after its last row.
    ///
    /// # Errors
    /// As for those that came first.
    pub async fn again(self) -> Result<RowStream, SourceError> {
        PendingStream(self.reader).open().await
    }

    /// Gives a batch back, so that its memory serves again.
    pub fn recycle(&self, batch: RowBatch) {
        // A full return channel only means that there are spares enough.
        let _ = self.reader.spares.try_send(batch);
    }

    fn accept(&mut self, event: Event) -> Result<(), SourceError> {
        match event {
            Event::Rows(batch) => self.ready = Some(batch),
            Event::LastRows(batch) => {
                self.ready = Some(batch);
                self.complete = true;
            }
            Event::Failed(error) => return Err(error),
            Event::Columns(_) => return Err(SourceError::Truncated),
        }
        Ok(())
    }
}
