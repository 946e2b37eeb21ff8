//! The bounded hand-over of batches from the thread that runs a query to the task that encodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::SourceError;
use crate::row::{Cell, Column, RowBatch};

/// Batches on their way. With the one being filled and the one being encoded, this bounds the
/// rows in memory.
const BATCHES_IN_FLIGHT: usize = 2;
/// A batch is handed on at this many bytes: enough to make a hand-over cheap, few enough for a
/// processor's cache.
const BATCH_BYTES: usize = 256 * 1024;
/// A reader that waited this long gets the rows there are, so that a slow query shows progress.
const HURRY_AFTER: Duration = Duration::from_millis(20);

enum Event {
    Columns(Vec<Column>),
    Rows(RowBatch),
    /// The end is said, never inferred from a closed channel: a thread that dies closes it too.
    LastRows(RowBatch),
    Failed(SourceError),
}

#[derive(Default)]
struct Flow {
    cancelled: AtomicBool,
    hurried: AtomicBool,
    on_cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// The reader left. The writer has nobody to tell.
#[derive(Debug)]
pub(super) struct ReaderGone;

/// Makes the two ends of a hand-over.
pub(super) fn hand_over() -> (RowSink, PendingStream) {
    let (events_in, events) = mpsc::channel(BATCHES_IN_FLIGHT);
    let (spares, spares_out) = std_mpsc::sync_channel(BATCHES_IN_FLIGHT + 1);
    let flow = Arc::new(Flow::default());
    let filling = Filling {
        batch: RowBatch::default(),
        width: 0,
        spares: spares_out,
        events: events_in,
    };
    let sink = RowSink {
        filling: Arc::new(Mutex::new(filling)),
        flow: flow.clone(),
    };
    let reader = Reader {
        events,
        spares,
        flow,
    };
    (sink, PendingStream(reader))
}

/// The end that a source writes to, from a blocking thread.
///
/// The batch being filled is shared with the [hook](RowSink::progress_hook), which hands it on
/// when the next row takes long. Both run on one thread, so the lock is never waited for.
pub(super) struct RowSink {
    filling: Arc<Mutex<Filling>>,
    flow: Arc<Flow>,
}

/// The batch being filled. Between two rows it holds whole rows only.
pub(super) struct Filling {
    batch: RowBatch,
    width: usize,
    spares: std_mpsc::Receiver<RowBatch>,
    events: mpsc::Sender<Event>,
}

impl RowSink {
    /// What a database shall call while it works: serves a reader that waits, and says whether
    /// the reader has left, so that the query must end.
    pub(super) fn progress_hook(&self) -> impl Fn() -> bool + Send + 'static {
        let (filling, flow) = (self.filling.clone(), self.flow.clone());
        move || {
            if flow.hurried.load(Ordering::Relaxed) {
                let mut filling = lock(&filling);
                // Without a row the reader goes on waiting, and must be served with the first.
                if !filling.batch.is_empty() {
                    flow.hurried.store(false, Ordering::Relaxed);
                    // That the reader left is also said by the other flag.
                    let _ = filling.hand_on();
                }
            }
            flow.cancelled.load(Ordering::Relaxed)
        }
    }

    /// What to do, besides, when the reader leaves: for work that calls no hook.
    pub(super) fn on_cancel(&self, action: impl FnOnce() + Send + 'static) {
        *lock(&self.flow.on_cancel) = Some(Box::new(action));
    }

    /// Says which columns follow. Comes first.
    pub(super) fn start(&self, columns: Vec<Column>) -> Result<(), ReaderGone> {
        let mut filling = lock(&self.filling);
        filling.width = columns.len();
        filling.batch.reset(columns.len());
        filling.send(Event::Columns(columns))
    }

    /// Where the next row goes.
    pub(super) fn row(&self) -> MutexGuard<'_, Filling> {
        lock(&self.filling)
    }

    /// Says that every row was given.
    pub(super) fn finish(self) -> Result<(), ReaderGone> {
        let mut filling = lock(&self.filling);
        let batch = filling.take_batch();
        filling.send(Event::LastRows(batch))
    }

    /// Says that no further row comes, and why.
    pub(super) fn fail(self, error: SourceError) {
        // A reader that left has no use for the error.
        let _ = lock(&self.filling).send(Event::Failed(error));
    }
}

impl Filling {
    /// Appends the next cell of the row.
    #[inline]
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        self.batch.push(cell);
    }

    /// Ends a row; hands the batch on when it is full. Blocks while the reader is behind.
    pub(super) fn end_row(&mut self) -> Result<(), ReaderGone> {
        if self.batch.bytes() >= BATCH_BYTES {
            self.hand_on()
        } else {
            Ok(())
        }
    }

    fn hand_on(&mut self) -> Result<(), ReaderGone> {
        let batch = self.take_batch();
        self.send(Event::Rows(batch))
    }

    fn take_batch(&mut self) -> RowBatch {
        let mut next = self.spares.try_recv().unwrap_or_default();
        next.reset(self.width);
        std::mem::replace(&mut self.batch, next)
    }

    fn send(&self, event: Event) -> Result<(), ReaderGone> {
        self.events.blocking_send(event).map_err(|_| ReaderGone)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two cells ends the thread, and with it the stream: nobody reads half a row.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    events: mpsc::Receiver<Event>,
    spares: std_mpsc::SyncSender<RowBatch>,
    flow: Arc<Flow>,
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
            None => Err(SourceError::Cut),
        }
    }

    async fn wait(&mut self) -> Option<Event> {
        match tokio::time::timeout(HURRY_AFTER, self.events.recv()).await {
            Ok(event) => event,
            Err(_) => {
                self.flow.hurried.store(true, Ordering::Relaxed);
                self.events.recv().await
            }
        }
    }
}

/// Cancels the query, also when the reader leaves before the first row.
impl Drop for Reader {
    fn drop(&mut self) {
        self.flow.cancelled.store(true, Ordering::Relaxed);
        if let Some(action) = lock(&self.flow.on_cancel).take() {
            action();
        }
    }
}

/// A stream whose first rows are not here yet.
pub(super) struct PendingStream(Reader);

impl PendingStream {
    /// Waits for the columns and the first rows.
    pub(super) async fn open(self) -> Result<RowStream, SourceError> {
        let mut reader = self.0;
        let Event::Columns(columns) = reader.next().await? else {
            return Err(SourceError::Cut);
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
    reader: Reader,
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
            Event::Columns(_) => return Err(SourceError::Cut),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column() -> Vec<Column> {
        vec![Column { name: "n".into() }]
    }

    fn stream_from(
        write: impl FnOnce(RowSink) + Send + 'static,
    ) -> impl Future<Output = Result<RowStream, SourceError>> {
        let (sink, pending) = hand_over();
        std::thread::spawn(move || write(sink));
        pending.open()
    }

    fn push_row(sink: &RowSink, n: i64) -> Result<(), ReaderGone> {
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
        assert!(matches!(outcome, Err(SourceError::Cut)));
    }

    #[tokio::test]
    async fn a_reader_that_waits_gets_the_rows_there_are() {
        let (release, released) = std_mpsc::channel::<()>();
        let opened = stream_from(move |sink| {
            let working = sink.progress_hook();
            sink.start(column()).expect("a reader");
            // The reader asks before there is a row, and is served with the first.
            while !sink.flow.hurried.load(Ordering::Relaxed) {
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
        let (sink, pending) = hand_over();
        let (called, is_called) = std_mpsc::channel();
        sink.on_cancel(move || called.send(()).expect("a test"));
        assert!(is_called.try_recv().is_err());
        drop(pending);
        assert!(is_called.try_recv().is_ok());
        assert!(sink.progress_hook()());
    }

    #[tokio::test]
    async fn a_slow_reader_stops_the_writer() {
        let (sink, pending) = hand_over();
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
            let mut batch = RowBatch::default();
            batch.reset(1);
            batch.push(Cell::Integer(1));
            batch.bytes()
        };
        let bound = (BATCHES_IN_FLIGHT + 2) * (BATCH_BYTES / row_bytes + 1);
        assert!(written.load(Ordering::Relaxed) <= bound);
        drop(stream);
        writer.join().expect("it ends when the reader leaves");
        assert!(written.load(Ordering::Relaxed) <= bound);
    }
}
