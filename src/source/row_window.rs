//! A row channel whose rows wait until those of other channels are read: bounded by bytes, not by batches.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::errors::SourceError;
use super::stream::{Event, Reader};
use crate::row::RowBatch;

/// The rows that wait in one channel, in KiB: 1.5 MiB, which is 16 full batches of 96 KiB.
///
/// A connection must be able to finish a part of a file while the rows before it are still sent, so a part has
/// [this size](WINDOW_BYTES). A larger row waits alone. With `n` connections, at most `n` times as much waits.
const WINDOW_KIB: u32 = 1536;
/// The size of the rows that a channel holds, in memory.
pub(super) const WINDOW_BYTES: usize = WINDOW_KIB as usize * 1024;
/// The capacity of the channel in events. A slow query sends batches with few rows.
pub(super) const WINDOW_BATCHES_MAX: usize = 64;

/// The free part of a channel, in KiB.
pub(super) struct RowWindow(Semaphore);

impl RowWindow {
    pub(super) fn new() -> RowWindow {
        RowWindow(Semaphore::new(WINDOW_KIB as usize))
    }

    /// Waits until the channel has space for a batch, and takes it. Does not wait if the reader was dropped.
    pub(super) async fn reserve(&self, batch: &RowBatch) {
        if let Ok(permit) = self.0.acquire_many(size(batch)).await {
            permit.forget();
        }
    }

    fn release(&self, kib: u32) {
        self.0.add_permits(kib as usize);
    }
}

/// Lets a writer that waits for space find out that the channel is closed.
impl Drop for WindowedRows {
    fn drop(&mut self) {
        self.window.0.close();
    }
}

/// Returns what a batch takes of a window, in KiB: all of it if the batch is larger.
fn size(batch: &RowBatch) -> u32 {
    let kib = u32::try_from(batch.bytes() / 1024).unwrap_or(WINDOW_KIB);
    kib.saturating_add(1).min(WINDOW_KIB)
}

/// Some rows of one part of a file.
pub(super) struct PartRows {
    pub(super) batch: RowBatch,
    /// Whether these are the last rows of the part.
    pub(super) is_last: bool,
}

/// The reading side of the channel. Dropping it cancels the query.
pub(super) struct WindowedRows {
    reader: Reader,
    window: Arc<RowWindow>,
}

impl WindowedRows {
    pub(super) fn new(reader: Reader, window: Arc<RowWindow>) -> WindowedRows {
        WindowedRows { reader, window }
    }

    /// Returns the next rows of a part.
    ///
    /// # Errors
    /// Returns the writer's error, or [`SourceError::Truncated`] if the channel closes before the part's last rows.
    pub(super) async fn next(&mut self) -> Result<PartRows, SourceError> {
        loop {
            let (batch, is_last) = match self.reader.events.recv().await {
                Some(Event::Columns { .. }) => continue,
                Some(Event::Rows(batch)) => (batch, false),
                Some(Event::LastRows(batch)) => (batch, true),
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(SourceError::Truncated),
            };
            self.window.release(size(&batch));
            return Ok(PartRows { batch, is_last });
        }
    }

    /// Returns a batch to the writer, which reuses its memory.
    pub(super) fn recycle(&self, batch: RowBatch) {
        // If the return channel is full, the writer has enough spare batches.
        let _ = self.reader.spares.try_send(batch);
    }
}
