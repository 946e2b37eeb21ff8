//! The bounded hand-over of batches from what runs a query to the task that encodes: the ends that
//! a source writes to.

use std::sync::atomic::Ordering;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::SourceError;
use super::stream::{BATCHES_IN_FLIGHT, Event, Flow, PendingStream, Reader};
use crate::row::{Cell, Column, NotUtf8, RowBatch, RowBuffer};

/// A batch is handed on at this many bytes: enough to make a hand-over cheap, few enough for a
/// processor's cache.
const BATCH_BYTES: usize = 96 * 1024;

/// The reader left. The writer has nobody to tell.
#[derive(Debug)]
pub(super) struct ReaderGone;

/// Why a source stops before the last row.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody wants more.
    ReaderGone,
    /// The reader must hear of it.
    Failed(SourceError),
}

impl From<ReaderGone> for Stop {
    fn from(_: ReaderGone) -> Stop {
        Stop::ReaderGone
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Stop {
        Stop::Failed(error)
    }
}

/// Makes the two ends of a hand-over, for a source that blocks a thread.
pub(super) fn row_channel() -> (RowSink, PendingStream) {
    let (builder, flow, pending) = ends();
    let builder = Arc::new(Mutex::new(builder));
    (RowSink { builder, flow }, pending)
}

/// Makes the two ends of a hand-over, for a source that is a task.
pub(super) fn task_row_channel() -> (TaskRowSink, PendingStream) {
    let (builder, _, pending) = ends();
    (TaskRowSink { builder }, pending)
}

fn ends() -> (BatchBuilder, Arc<Flow>, PendingStream) {
    let (events_in, events) = mpsc::channel(BATCHES_IN_FLIGHT);
    let (spares, spares_out) = std_mpsc::sync_channel(BATCHES_IN_FLIGHT + 1);
    let flow = Arc::new(Flow::default());
    let builder = BatchBuilder {
        buffer: RowBuffer::default(),
        columns: Vec::new(),
        rows_before: 0,
        spares: spares_out,
        events: events_in,
    };
    let reader = Reader {
        events,
        spares,
        flow: flow.clone(),
    };
    (builder, flow, PendingStream(reader))
}

/// The end that a source writes to, from a blocking thread.
///
/// The batch being filled is shared with the [hook](RowSink::progress_hook), which hands it on
/// when the next row takes long. Both run on one thread, so the lock is never waited for.
pub(super) struct RowSink {
    builder: Arc<Mutex<BatchBuilder>>,
    flow: Arc<Flow>,
}

/// The batch being filled. Between two rows it holds whole rows only.
pub(super) struct BatchBuilder {
    buffer: RowBuffer,
    columns: Vec<Column>,
    /// Rows that were handed on.
    rows_before: u64,
    spares: std_mpsc::Receiver<RowBatch>,
    events: mpsc::Sender<Event>,
}

impl RowSink {
    /// What a database shall call while it works: serves a reader that waits, and says whether
    /// the reader has left, so that the query must end.
    pub(super) fn progress_hook(&self) -> impl Fn() -> bool + Send + 'static {
        let (builder, flow) = (self.builder.clone(), self.flow.clone());
        move || {
            if flow.flush_requested.load(Ordering::Relaxed) {
                let mut builder = lock(&builder);
                // Without a row the reader goes on waiting, and must be served with the first.
                if !builder.buffer.is_empty() {
                    flow.flush_requested.store(false, Ordering::Relaxed);
                    if let Err(Stop::Failed(error)) = builder.flush() {
                        // That the reader left is also said by the other flag.
                        let _ = builder.send(Event::Failed(error));
                    }
                }
            }
            flow.cancelled.load(Ordering::Relaxed)
        }
    }

    /// What to do, besides, when the reader leaves: for work that calls no hook.
    pub(super) fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        let mut on_cancel = lock(&self.flow.on_cancel);
        // A reader that left earlier found nothing to do.
        if self.flow.cancelled.load(Ordering::SeqCst) {
            action();
        } else {
            *on_cancel = Some(Box::new(action));
        }
    }

    /// Says which columns follow. Comes first.
    pub(super) fn start(&self, columns: Vec<Column>) -> Result<(), ReaderGone> {
        let mut builder = lock(&self.builder);
        let event = builder.start(columns);
        builder.send(event)
    }

    /// Where the next row goes.
    pub(super) fn row(&self) -> MutexGuard<'_, BatchBuilder> {
        lock(&self.builder)
    }

    /// Says that every row was given.
    pub(super) fn finish(&self) -> Result<(), Stop> {
        let mut builder = lock(&self.builder);
        let batch = builder.take_batch()?;
        Ok(builder.send(Event::LastRows(batch))?)
    }

    /// Says that no further row comes, and why.
    pub(super) fn fail(self, error: SourceError) {
        // A reader that left has no use for the error.
        let _ = lock(&self.builder).send(Event::Failed(error));
    }
}

impl BatchBuilder {
    /// Appends the next cell of the row.
    #[inline(always)]
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        self.buffer.push(cell);
    }

    /// The same for a text that is not known to be UTF-8.
    #[inline(always)]
    pub(super) fn push_text(&mut self, text: &[u8]) {
        self.buffer.push_text(text);
    }

    /// Ends a row; hands the batch on when it is full. Blocks while the reader is behind.
    pub(super) fn end_row(&mut self) -> Result<(), Stop> {
        if self.is_full() { self.flush() } else { Ok(()) }
    }

    fn start(&mut self, columns: Vec<Column>) -> Event {
        self.buffer.reset(columns.len());
        self.columns.clone_from(&columns);
        self.rows_before = 0;
        Event::Columns(columns)
    }

    fn is_full(&self) -> bool {
        self.buffer.bytes() >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let batch = self.take_batch()?;
        Ok(self.send(Event::Rows(batch))?)
    }

    fn take_batch(&mut self) -> Result<RowBatch, SourceError> {
        let spare = self.spares.try_recv().map(RowBatch::into_buffer);
        let mut next = spare.unwrap_or_default();
        next.reset(self.columns.len());
        let filled = std::mem::replace(&mut self.buffer, next);
        let batch = filled.finish().map_err(|at| self.not_utf8(at))?;
        self.rows_before += batch.rows() as u64;
        Ok(batch)
    }

    fn not_utf8(&self, at: NotUtf8) -> SourceError {
        SourceError::NotUtf8 {
            row: self.rows_before + at.row as u64 + 1,
            column: self.columns[at.column].name.clone(),
        }
    }

    fn send(&self, event: Event) -> Result<(), ReaderGone> {
        self.events.blocking_send(event).map_err(|_| ReaderGone)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two cells ends the thread, and with it the stream: nobody reads half a row.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end that a source writes to, from a task.
pub(super) struct TaskRowSink {
    builder: BatchBuilder,
}

impl TaskRowSink {
    /// Ends when the reader leaves.
    pub(super) fn reader_gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let events = self.builder.events.clone();
        async move { events.closed().await }
    }

    /// Says which columns follow. Comes first.
    pub(super) async fn start(&mut self, columns: Vec<Column>) -> Result<(), ReaderGone> {
        let event = self.builder.start(columns);
        self.send(event).await
    }

    /// Where the next row goes.
    pub(super) fn row(&mut self) -> &mut RowBuffer {
        &mut self.builder.buffer
    }

    /// Whether enough rows are here to hand them on.
    pub(super) fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Whether there is no row to hand on.
    pub(super) fn is_empty(&self) -> bool {
        self.builder.buffer.is_empty()
    }

    /// Hands the rows on, all of them whole. Waits while the reader is behind.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        let batch = self.builder.take_batch()?;
        Ok(self.send(Event::Rows(batch)).await?)
    }

    /// Says that every row was given.
    pub(super) async fn finish(&mut self) -> Result<(), Stop> {
        let batch = self.builder.take_batch()?;
        Ok(self.send(Event::LastRows(batch)).await?)
    }

    /// Says that no further row comes, and why.
    pub(super) async fn fail(mut self, error: SourceError) {
        // A reader that left has no use for the error.
        let _ = self.send(Event::Failed(error)).await;
    }

    async fn send(&mut self, event: Event) -> Result<(), ReaderGone> {
        self.builder
            .events
            .send(event)
            .await
            .map_err(|_| ReaderGone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::RowStream;
    use super::*;

    fn column() -> Vec<Column> {
        vec![Column::text("n")]
    }

    fn stream_from(
        write: impl FnOnce(RowSink) + Send + 'static,
    ) -> impl Future<Output = Result<RowStream, SourceError>> {
        let (sink, pending) = row_channel();
        std::thread::spawn(move || write(sink));
        pending.open()
    }

    fn push_row(sink: &RowSink, n: i64) -> Result<(), Stop> {
        let mut row = sink.row();
        row.push(Cell::Integer(n));
        row.end_row()
    }

    #[tokio::test]
    async fn a_small_result_is_complete_at_once() {
        let opened = stream_from(|sink| {
            sink.start(column()).expect("a reader");
            push_row(&sink, 1).expect("a reader");
            sink.finish().expect("a reader");
        });
        let mut stream = opened.await.expect("a stream");
        assert!(stream.is_complete());
        let rows = stream.next().await.expect("rows").map(|batch| batch.rows());
        assert_eq!(rows, Some(1));
        assert!(stream.next().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn a_writer_that_dies_is_an_error_and_never_an_end() {
        let opened = stream_from(|sink| {
            sink.start(column()).expect("a reader");
            (0..50_000).for_each(|n| push_row(&sink, n).expect("a reader"));
        });
        let mut stream = opened.await.expect("a stream");
        let outcome = loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(outcome, Err(SourceError::Truncated)));
    }

    #[tokio::test]
    async fn a_reader_that_waits_gets_the_rows_there_are() {
        let (release, released) = std_mpsc::channel::<()>();
        let opened = stream_from(move |sink| {
            let working = sink.progress_hook();
            sink.start(column()).expect("a reader");
            // The reader asks before there is a row, and is served with the first.
            while !sink.flow.flush_requested.load(Ordering::Relaxed) {
                assert!(!working());
            }
            assert!(!working());
            push_row(&sink, 1).expect("a reader");
            // The next row takes as long as it takes the reader to get the first one.
            while released.try_recv().is_err() {
                assert!(!working());
            }
            sink.finish().expect("a reader");
        });
        let mut stream = opened.await.expect("a stream before the query has ended");
        assert!(!stream.is_complete());
        let rows = stream.next().await.expect("rows").map(|batch| batch.rows());
        assert_eq!(rows, Some(1));
        release.send(()).expect("a writer");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_calls_what_was_asked_for() {
        let (sink, pending) = row_channel();
        let (called, is_called) = std_mpsc::channel();
        sink.on_cancel(move || called.send(()).expect("a test"));
        assert!(is_called.try_recv().is_err());
        drop(pending);
        assert!(is_called.try_recv().is_ok());
        assert!(sink.progress_hook()());
    }

    #[tokio::test]
    async fn a_slow_reader_stops_the_writer() {
        let (sink, pending) = row_channel();
        let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = written.clone();
        let writer = std::thread::spawn(move || {
            sink.start(column()).expect("a reader");
            while push_row(&sink, 1).is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stream = pending.open().await.expect("a stream");
        while stream.reader.events.len() < BATCHES_IN_FLIGHT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let row_bytes = {
            let mut row = RowBuffer::default();
            row.reset(1);
            row.push(Cell::Integer(1));
            row.bytes()
        };
        let bound = (BATCHES_IN_FLIGHT + 2) * (BATCH_BYTES / row_bytes + 1);
        assert!(written.load(Ordering::Relaxed) <= bound);
        drop(stream);
        writer.join().expect("it ends when the reader leaves");
        assert!(written.load(Ordering::Relaxed) <= bound);
    }
}
