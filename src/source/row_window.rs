//! A row channel whose rows wait until those of other channels are read: bounded by bytes, not by batches.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::errors::SourceError;
use super::stream::{Event, Reader};
use crate::row::{RowBatch, RowBuffer};

/// The rows that wait in one channel, in KiB: 3 MiB, which is 16 full batches of 192 KiB, or about 2 MB of text, because a
/// cell takes 16 bytes more.
///
/// A connection must be able to finish a part of a file while the rows before it are still sent, so a part has
/// [this size](WINDOW_BYTES). A larger row waits alone. With `n` connections, at most `n` times as much waits.
const WINDOW_KIB: u32 = 3072;
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
    pub(super) async fn reserve(&self, rows: &RowBuffer) {
        if let Ok(permit) = self.0.acquire_many(size(rows)).await {
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

/// Returns what rows take of a window, in KiB: all of it if they are larger.
fn size(rows: &RowBuffer) -> u32 {
    let kib = u32::try_from(rows.bytes() / 1024).unwrap_or(WINDOW_KIB);
    kib.saturating_add(1).min(WINDOW_KIB)
}

/// Some rows of one part of a file.
pub(super) struct PartRows {
    pub(super) rows: RowBuffer,
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
            let (rows, is_last) = match self.reader.events.recv().await {
                Some(Event::Columns { .. }) => continue,
                Some(Event::Rows(rows)) => (rows, false),
                Some(Event::LastRows(rows)) => (rows, true),
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(SourceError::Truncated),
            };
            self.window.release(size(&rows));
            return Ok(PartRows { rows, is_last });
        }
    }

    /// Returns a batch to the writer, which reuses its memory.
    pub(super) fn recycle(&self, batch: RowBatch) {
        // If the return channel is full, the writer has enough spare batches.
        let _ = self.reader.spares.try_send(batch);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::sink::{Stop, TaskRowSink, windowed_row_channel};
    use super::*;
    use crate::row::{Cell, Column};

    /// Sends a row as a batch. Returns `None` if the writer still waits when nothing else happens.
    async fn send(sink: &mut TaskRowSink, bytes: usize) -> Option<Result<(), Stop>> {
        let text = "x".repeat(bytes);
        sink.row().push(Cell::Text(&text));
        timeout(Duration::from_secs(1), sink.flush()).await.ok()
    }

    async fn channel() -> (TaskRowSink, WindowedRows) {
        let (mut sink, rows) = windowed_row_channel();
        let columns = vec![Column::text("n")];
        sink.start(columns, 0).await.expect("a reader");
        (sink, rows)
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_until_the_rows_that_fill_the_window_are_read() {
        const BATCH_BYTES: usize = 96 * 1024;
        let (mut sink, mut rows) = channel().await;
        let mut sent = 0;
        while let Some(outcome) = send(&mut sink, BATCH_BYTES).await {
            outcome.expect("a reader");
            sent += 1;
        }
        assert!(sent * BATCH_BYTES <= WINDOW_BYTES && (sent + 2) * BATCH_BYTES > WINDOW_BYTES);
        let part = rows.next().await.expect("rows");
        assert_eq!((part.rows.rows(), part.is_last), (1, false));
        assert!(send(&mut sink, BATCH_BYTES).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_larger_than_the_window_waits_alone() {
        let (mut sink, mut rows) = channel().await;
        assert!(send(&mut sink, 3 * WINDOW_BYTES).await.is_some());
        assert!(send(&mut sink, 1).await.is_none());
        rows.next().await.expect("rows");
        assert!(send(&mut sink, 1).await.is_some());
        assert!(send(&mut sink, 3 * WINDOW_BYTES).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_waits_ends_when_the_reader_is_dropped() {
        let (mut sink, rows) = channel().await;
        assert!(send(&mut sink, 3 * WINDOW_BYTES).await.is_some());
        assert!(send(&mut sink, 1).await.is_none());
        drop(rows);
        let outcome = send(&mut sink, 1).await.expect("no waiting");
        assert!(matches!(outcome, Err(Stop::ReaderDropped)));
    }

    #[tokio::test]
    async fn a_channel_that_closes_before_the_last_rows_is_an_error() {
        let (mut sink, mut rows) = channel().await;
        sink.row().push(Cell::Integer(1));
        sink.flush().await.expect("a reader");
        drop(sink);
        assert!(rows.next().await.is_ok());
        assert!(matches!(rows.next().await, Err(SourceError::Truncated)));
    }
}
