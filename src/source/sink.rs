//! The writing side of the row channel: bounded, from the query to the task that encodes.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use send_wrapper::SendWrapper;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::errors::SourceError;
use super::row_window::{RowWindow, WINDOW_BATCHES_MAX, WindowedRows};
use super::stream::{BATCHES_IN_FLIGHT, Event, Flow, PendingStream, Reader};
use crate::row::{Cell, Column, RowBatch, RowBuffer};

/// The size at which a batch is sent: large enough to amortise the channel, which wakes a thread, and small enough for the CPU
/// cache.
const BATCH_BYTES: usize = 192 * 1024;

/// The reader was dropped: the channel is closed.
#[derive(Debug)]
pub(super) struct ReaderDropped;

/// Why a source stops before the last row.
#[derive(Debug)]
pub(super) enum Stop {
    /// The reader was dropped.
    ReaderDropped,
    /// The query failed; the error is sent to the reader.
    Failed(SourceError),
}

impl From<ReaderDropped> for Stop {
    fn from(_: ReaderDropped) -> Stop {
        Stop::ReaderDropped
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Stop {
        Stop::Failed(error)
    }
}

/// Returns both sides of a row channel, for a source that blocks a thread.
pub(super) fn row_channel() -> (NewRowSink, PendingStream) {
    let (builder, flow, reader) = new_channel(BATCHES_IN_FLIGHT);
    (NewRowSink { builder, flow }, PendingStream(reader))
}

/// Returns both sides of a row channel, for a source that is a task.
pub(super) fn task_row_channel() -> (TaskRowSink, PendingStream) {
    let (builder, _, reader) = new_channel(BATCHES_IN_FLIGHT);
    let window = None;
    (TaskRowSink { builder, window }, PendingStream(reader))
}

/// Returns both sides of a row channel that holds the rows of one part of a file until those before it are read.
pub(super) fn windowed_row_channel() -> (TaskRowSink, WindowedRows) {
    let (builder, _, reader) = new_channel(WINDOW_BATCHES_MAX);
    let window = Arc::new(RowWindow::new());
    let sink = TaskRowSink {
        builder,
        window: Some(window.clone()),
    };
    (sink, WindowedRows::new(reader, window))
}

fn new_channel(batches: usize) -> (BatchBuilder, Arc<Flow>, Reader) {
    let (event_sender, events) = mpsc::channel(batches);
    let (spares, spare_receiver) = std_mpsc::sync_channel(BATCHES_IN_FLIGHT + 1);
    let flow = Arc::new(Flow::default());
    let builder = BatchBuilder {
        buffer: RowBuffer::default(),
        width: 0,
        rows_before: 0,
        spares: spare_receiver,
        events: event_sender,
        deadline: None,
    };
    let reader = Reader {
        events,
        spares,
        flow: flow.clone(),
    };
    (builder, flow, reader)
}

/// The writing side that is not on its thread yet.
pub(super) struct NewRowSink {
    builder: BatchBuilder,
    flow: Arc<Flow>,
}

impl NewRowSink {
    /// Returns the sink of this thread.
    pub(super) fn on_this_thread(self) -> RowSink {
        RowSink {
            builder: Rc::new(RefCell::new(self.builder)),
            flow: self.flow,
        }
    }
}

/// Writes rows to the channel from a blocking thread.
///
/// The batch builder is shared with the [progress hook](RowSink::progress_hook), which sends a partial batch if the
/// next row takes long. Both run on one thread, so there is no lock: one per row would take a tenth of the time.
pub(super) struct RowSink {
    builder: Rc<RefCell<BatchBuilder>>,
    flow: Arc<Flow>,
}

/// The batch being filled. Between two rows it holds complete rows only.
pub(super) struct BatchBuilder {
    buffer: RowBuffer,
    /// The number of columns.
    width: usize,
    /// Rows in the batches before this one.
    rows_before: u64,
    spares: std_mpsc::Receiver<RowBatch>,
    events: mpsc::Sender<Event>,
    deadline: Option<Deadline>,
}

/// When a query must have ended, however slow its reader is, because it holds a lock.
struct Deadline {
    at: Instant,
    lock_max: Duration,
    /// Runs the timer.
    runtime: Handle,
}

impl RowSink {
    /// Limits how long the query may last from now on. After that the progress hook cancels it, and sending fails with
    /// [`SourceError::LockHeld`].
    pub(super) fn set_lock_max(&self, lock_max: Duration, runtime: Handle) {
        self.builder.borrow_mut().deadline = Some(Deadline {
            at: Instant::now() + lock_max,
            lock_max,
            runtime,
        });
    }

    /// Returns the error of a query that has lasted too long.
    pub(super) fn lock_error(&self) -> Option<SourceError> {
        self.builder.borrow().lock_error()
    }

    /// Returns a hook for the database to call during the query. It sends a partial batch if the reader requested a
    /// flush, and returns whether the query must be cancelled.
    ///
    /// # Panics
    /// The hook panics if another thread calls it, or drops it.
    pub(super) fn progress_hook(&self) -> impl Fn() -> bool + Send + 'static {
        let (builder, flow) = (SendWrapper::new(self.builder.clone()), self.flow.clone());
        move || {
            if flow.flush_requested.load(Ordering::Relaxed) {
                let mut builder = builder.borrow_mut();
                // Without rows the request stays set until there is one.
                if !builder.buffer.is_empty() {
                    flow.flush_requested.store(false, Ordering::Relaxed);
                    if let Err(Stop::Failed(error)) = builder.flush() {
                        // A dropped reader is also reported by `cancelled`.
                        let _ = builder.send(Event::Failed(error));
                    }
                }
            }
            flow.cancelled.load(Ordering::Relaxed) || builder.borrow().lock_error().is_some()
        }
    }

    /// Registers an action to run when the reader is dropped, for work that calls no hook.
    pub(super) fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        let on_cancel = self.flow.on_cancel.lock();
        let mut on_cancel = on_cancel.unwrap_or_else(PoisonError::into_inner);
        // The reader was dropped before the action was registered.
        if self.flow.cancelled.load(Ordering::SeqCst) {
            action();
        } else {
            *on_cancel = Some(Box::new(action));
        }
    }

    /// Sends the columns of a statement, which `statements_after` others follow in this pass. Must be called first.
    pub(super) fn start(&self, columns: Vec<Column>, statements_after: usize) -> Result<(), Stop> {
        let mut builder = self.builder.borrow_mut();
        let event = builder.start(columns, statements_after);
        builder.send(event)
    }

    /// Returns the buffer for the next row.
    pub(super) fn row(&self) -> RefMut<'_, BatchBuilder> {
        self.builder.borrow_mut()
    }

    /// Sends the last batch of a statement and marks the end.
    pub(super) fn finish(&self) -> Result<(), Stop> {
        let mut builder = self.builder.borrow_mut();
        let rows = builder.take_rows();
        builder.send(Event::LastRows(rows))
    }

    /// Sends the error instead of further rows.
    pub(super) fn fail(self, error: SourceError) {
        // A dropped reader needs no error.
        let events = &self.builder.borrow().events;
        let _ = events.blocking_send(Event::Failed(error));
    }
}

impl BatchBuilder {
    /// Appends the next cell of the row.
    #[inline(always)]
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        self.buffer.push(cell);
    }

    /// Appends a text that is not checked for UTF-8 yet.
    #[inline(always)]
    pub(super) fn push_text(&mut self, text: &[u8]) {
        self.buffer.push_text(text);
    }

    /// Ends a row; sends the batch if it is full. Blocks while the channel is full.
    pub(super) fn end_row(&mut self) -> Result<(), Stop> {
        if self.is_full() { self.flush() } else { Ok(()) }
    }

    fn start(&mut self, columns: Vec<Column>, statements_after: usize) -> Event {
        self.width = columns.len();
        self.buffer.reset(self.width);
        self.rows_before = 0;
        Event::Columns {
            columns,
            statements_after,
        }
    }

    /// Returns the number of complete rows of this statement and pass.
    pub(super) fn rows(&self) -> u64 {
        self.rows_before + self.buffer.rows() as u64
    }

    fn is_full(&self) -> bool {
        self.buffer.bytes() >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let rows = self.take_rows();
        self.send(Event::Rows(rows))
    }

    fn take_rows(&mut self) -> RowBuffer {
        let spare = self.spares.try_recv().map(RowBatch::into_buffer);
        let mut next = spare.unwrap_or_default();
        next.reset(self.width);
        self.rows_before += self.buffer.rows() as u64;
        std::mem::replace(&mut self.buffer, next)
    }

    /// Sends an event. Waits while the channel is full, until the deadline.
    fn send(&self, event: Event) -> Result<(), Stop> {
        let Some(Deadline { at, runtime, .. }) = &self.deadline else {
            let sent = self.events.blocking_send(event);
            return sent.map_err(|_| Stop::ReaderDropped);
        };
        let send = async { timeout_at(*at, self.events.send(event)).await };
        match runtime.block_on(send) {
            Ok(sent) => sent.map_err(|_| Stop::ReaderDropped),
            Err(_) => Err(self.lock_error().unwrap_or(SourceError::Truncated).into()),
        }
    }

    fn lock_error(&self) -> Option<SourceError> {
        let passed = self.deadline.as_ref();
        let passed = passed.filter(|deadline| Instant::now() >= deadline.at);
        passed.map(|deadline| SourceError::LockHeld(deadline.lock_max.as_secs()))
    }
}

/// Writes rows to the channel from a task.
pub(super) struct TaskRowSink {
    builder: BatchBuilder,
    /// Bounds the bytes in the channel; `None` if its number of batches does.
    window: Option<Arc<RowWindow>>,
}

impl TaskRowSink {
    /// Returns a future that resolves when the reader is dropped.
    pub(super) fn reader_dropped(&self) -> impl Future<Output = ()> + Send + 'static {
        let events = self.builder.events.clone();
        async move { events.closed().await }
    }

    /// Sends the columns of a statement, which `statements_after` others follow in this pass. Must be called first.
    pub(super) async fn start(
        &mut self,
        columns: Vec<Column>,
        statements_after: usize,
    ) -> Result<(), ReaderDropped> {
        let event = self.builder.start(columns, statements_after);
        self.send(event).await
    }

    /// Returns the buffer for the next row.
    pub(super) fn row(&mut self) -> &mut RowBuffer {
        &mut self.builder.buffer
    }

    /// Returns the number of complete rows of this statement and pass.
    pub(super) fn rows(&self) -> u64 {
        self.builder.rows()
    }

    /// Returns whether the batch has reached its full size.
    pub(super) fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Returns whether the batch has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.builder.buffer.is_empty()
    }

    /// Sends the batch of complete rows. Waits while the channel is full.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        let rows = self.take_rows().await;
        Ok(self.send(Event::Rows(rows)).await?)
    }

    /// Sends the last batch of a statement and marks the end.
    pub(super) async fn finish(&mut self) -> Result<(), Stop> {
        let rows = self.take_rows().await;
        Ok(self.send(Event::LastRows(rows)).await?)
    }

    /// Sends rows that another sink has collected. They follow those sent so far, so no row may be in the buffer.
    pub(super) async fn forward(&mut self, rows: RowBuffer) -> Result<(), ReaderDropped> {
        self.builder.rows_before += rows.rows() as u64;
        self.send(Event::Rows(rows)).await
    }

    /// Returns a batch that the reader has recycled.
    pub(super) fn take_spare(&mut self) -> Option<RowBatch> {
        self.builder.spares.try_recv().ok()
    }

    async fn take_rows(&mut self) -> RowBuffer {
        let rows = self.builder.take_rows();
        if let Some(window) = &self.window {
            window.reserve(&rows).await;
        }
        rows
    }

    /// Sends the error instead of further rows.
    pub(super) async fn fail(mut self, error: SourceError) {
        // A dropped reader needs no error.
        let _ = self.send(Event::Failed(error)).await;
    }

    async fn send(&mut self, event: Event) -> Result<(), ReaderDropped> {
        self.builder
            .events
            .send(event)
            .await
            .map_err(|_| ReaderDropped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::RowStream;
    use super::*;

    fn column() -> Vec<Column> {
        vec![Column::text("n")]
    }

    fn stream_from(
        write: impl FnOnce(RowSink) + Send + 'static,
    ) -> impl Future<Output = Result<RowStream, SourceError>> {
        let (sink, pending) = row_channel();
        std::thread::spawn(move || write(sink.on_this_thread()));
        pending.open()
    }

    fn push_row(sink: &RowSink, n: i64) -> Result<(), Stop> {
        let mut row = sink.row();
        row.push(Cell::Integer(n));
        row.end_row()
    }

    #[tokio::test]
    async fn a_small_result_is_complete_with_its_first_batch() {
        let opened = stream_from(|sink| {
            sink.start(column(), 0).expect("a reader");
            push_row(&sink, 1).expect("a reader");
            sink.finish().expect("a reader");
        });
        let mut stream = opened.await.expect("a stream");
        assert!(stream.is_complete());
        let rows = stream
            .next_batch()
            .await
            .expect("rows")
            .map(|batch| batch.rows());
        assert_eq!(rows, Some(1));
        assert!(stream.next_batch().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn a_writer_that_stops_without_finish_is_an_error_and_not_an_end() {
        let opened = stream_from(|sink| {
            sink.start(column(), 0).expect("a reader");
            (0..50_000).for_each(|n| push_row(&sink, n).expect("a reader"));
        });
        let mut stream = opened.await.expect("a stream");
        let outcome = loop {
            match stream.next_batch().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(outcome, Err(SourceError::Truncated)));
    }

    #[tokio::test]
    async fn a_waiting_reader_gets_a_partial_batch() {
        let (allow_finish, finish_allowed) = std_mpsc::channel::<()>();
        let opened = stream_from(move |sink| {
            let is_cancelled = sink.progress_hook();
            sink.start(column(), 0).expect("a reader");
            // The reader requests a flush before there is a row, and gets the first row.
            while !sink.flow.flush_requested.load(Ordering::Relaxed) {
                assert!(!is_cancelled());
            }
            assert!(!is_cancelled());
            push_row(&sink, 1).expect("a reader");
            // The next row waits until the reader has the first one.
            while finish_allowed.try_recv().is_err() {
                assert!(!is_cancelled());
            }
            sink.finish().expect("a reader");
        });
        let mut stream = opened.await.expect("a stream before the query has ended");
        assert!(!stream.is_complete());
        let rows = stream
            .next_batch()
            .await
            .expect("rows")
            .map(|batch| batch.rows());
        assert_eq!(rows, Some(1));
        allow_finish.send(()).expect("a writer");
    }

    #[tokio::test]
    async fn dropping_the_reader_runs_the_cancel_action() {
        let (sink, pending) = row_channel();
        let sink = sink.on_this_thread();
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
            let sink = sink.on_this_thread();
            sink.start(column(), 0).expect("a reader");
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
        writer.join().expect("it ends when the reader is dropped");
        assert!(written.load(Ordering::Relaxed) <= bound);
    }
}
