//! The bounded hand-over of batches from the thread that runs a query to the task that encodes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::SourceError;
use crate::row::{Cell, Column, RowBatch};

/// Batches on their way. With the one being filled and the one being encoded, this bounds the
/// rows in memory.
const BATCHES_IN_FLIGHT: usize = 2;
/// A batch is handed on at this many rows …
const BATCH_ROWS_MAX: usize = 1024;
/// … or at this many bytes of text and blobs.
const BATCH_PAYLOAD_BYTES: usize = 64 * 1024;
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
}

/// The reader left. The writer has nobody to tell.
#[derive(Debug)]
pub(super) struct ReaderGone;

/// Makes the two ends of a hand-over.
pub(super) fn hand_over() -> (RowSink, PendingStream) {
    let (events_in, events) = mpsc::channel(BATCHES_IN_FLIGHT);
    let (spares, spares_out) = std_mpsc::sync_channel(BATCHES_IN_FLIGHT + 1);
    let flow = Arc::new(Flow::default());
    let sink = RowSink {
        events: events_in,
        spares: spares_out,
        flow: flow.clone(),
        batch: RowBatch::default(),
        width: 0,
    };
    let reader = Reader {
        events,
        spares,
        flow,
    };
    (sink, PendingStream(reader))
}

/// The end that a source writes to, from a blocking thread.
pub(super) struct RowSink {
    events: mpsc::Sender<Event>,
    spares: std_mpsc::Receiver<RowBatch>,
    flow: Arc<Flow>,
    batch: RowBatch,
    width: usize,
}

impl RowSink {
    /// A check, cheap enough for a database's progress hook, of whether the reader has left.
    pub(super) fn cancel_check(&self) -> impl Fn() -> bool + Send + 'static {
        let flow = self.flow.clone();
        move || flow.cancelled.load(Ordering::Relaxed)
    }

    /// Says which columns follow. Comes first.
    pub(super) fn start(&mut self, columns: Vec<Column>) -> Result<(), ReaderGone> {
        self.width = columns.len();
        self.batch.reset(self.width);
        self.send(Event::Columns(columns))
    }

    /// Appends the next cell of the row.
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        self.batch.push(cell);
    }

    /// Ends a row; hands the batch on when it is full or the reader waits. Blocks while the
    /// reader is behind.
    pub(super) fn end_row(&mut self) -> Result<(), ReaderGone> {
        let full = self.batch.rows() >= BATCH_ROWS_MAX
            || self.batch.payload_bytes() >= BATCH_PAYLOAD_BYTES;
        if full || self.flow.hurried.load(Ordering::Relaxed) {
            self.flow.hurried.store(false, Ordering::Relaxed);
            let batch = self.take_batch();
            self.send(Event::Rows(batch))?;
        }
        Ok(())
    }

    /// Says that every row was given.
    pub(super) fn finish(mut self) -> Result<(), ReaderGone> {
        let batch = self.take_batch();
        self.send(Event::LastRows(batch))
    }

    /// Says that no further row comes, and why.
    pub(super) fn fail(self, error: SourceError) {
        // A reader that left has no use for the error.
        let _ = self.send(Event::Failed(error));
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
            ready: VecDeque::new(),
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
    ready: VecDeque<RowBatch>,
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
        if self.ready.is_empty() && !self.complete {
            let event = self.reader.next().await?;
            self.accept(event)?;
        }
        Ok(self.ready.pop_front())
    }

    /// Gives a batch back, so that its memory serves again.
    pub fn recycle(&self, batch: RowBatch) {
        // A full return channel only means that there are spares enough.
        let _ = self.reader.spares.try_send(batch);
    }

    fn accept(&mut self, event: Event) -> Result<(), SourceError> {
        match event {
            Event::Rows(batch) => self.ready.push_back(batch),
            Event::LastRows(batch) => {
                self.ready.push_back(batch);
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

    #[tokio::test]
    async fn a_small_result_is_complete_at_once() {
        let opened = stream_from(|mut sink| {
            sink.start(column()).expect("a reader");
            sink.push(Cell::Integer(1));
            sink.end_row().expect("a reader");
            sink.finish().expect("a reader");
        });
        let mut stream = opened.await.expect("a stream");
        assert!(stream.is_complete());
        assert_eq!(
            stream.next().await.expect("rows").map(|it| it.rows()),
            Some(1)
        );
        assert!(stream.next().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn a_writer_that_dies_is_an_error_and_never_an_end() {
        let opened = stream_from(|mut sink| {
            sink.start(column()).expect("a reader");
            for n in 0..5000 {
                sink.push(Cell::Integer(n));
                sink.end_row().expect("a reader");
            }
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
        let opened = stream_from(move |mut sink| {
            sink.start(column()).expect("a reader");
            let mut n = 0;
            while released.try_recv().is_err() {
                sink.push(Cell::Integer(n));
                sink.end_row().expect("a reader");
                n += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            sink.finish().expect("a reader");
        });
        let stream = opened.await.expect("a stream before the query has ended");
        assert!(!stream.is_complete());
        release.send(()).expect("a writer");
    }

    #[tokio::test]
    async fn a_slow_reader_stops_the_writer() {
        let (sink, pending) = hand_over();
        let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = written.clone();
        let writer = std::thread::spawn(move || {
            let mut sink = sink;
            sink.start(column()).expect("a reader");
            loop {
                sink.push(Cell::Integer(1));
                if sink.end_row().is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stream = pending.open().await.expect("a stream");
        while stream.reader.events.len() < BATCHES_IN_FLIGHT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let bound = (BATCHES_IN_FLIGHT + 2) * BATCH_ROWS_MAX;
        assert!(written.load(Ordering::Relaxed) <= bound);
        drop(stream);
        writer.join().expect("it ends when the reader leaves");
        assert!(written.load(Ordering::Relaxed) <= bound);
    }
}
