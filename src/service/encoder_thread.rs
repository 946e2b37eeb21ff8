//! An encoder on a thread of its own, for formats whose compression would block other downloads.

use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::errors::DownloadError;
use crate::format::{EncodeError, Encoder};
use crate::row::{Column, RowBatch};
use crate::source::{BatchRecycler, RowStream, Rows, SourceError};

/// Batches, and chunks, that may wait.
const IN_FLIGHT: usize = 2;
/// A query that pauses for this long has its rows so far flushed.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

/// What an encoder does while no row arrives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pauses {
    /// Nothing: the bytes of the file depend only on its rows.
    Silent,
    /// Its rows so far are flushed, and a format with heartbeats of its own then has one this often.
    Flushed {
        /// `None` for no heartbeats.
        heartbeat_every: Option<Duration>,
    },
}

/// Input of the thread.
enum Work {
    Rows(RowBatch),
    NextStatement(Vec<Column>),
    Flush,
    Heartbeat,
    /// The end is an explicit event: a task that panics closes the channel too.
    Finish,
}

/// Output of the thread.
struct Chunk {
    bytes: Vec<u8>,
    /// The rows handed to the encoder, which may still hold some of them back.
    rows: u64,
    /// The heartbeats so far.
    heartbeats: u64,
    is_last: bool,
}

/// The chunks of a file. Dropping it cancels the query and ends the thread.
pub(super) struct EncoderThread {
    chunks: mpsc::Receiver<Result<Chunk, EncodeError>>,
    /// Feeds the thread until the last row.
    feeding: Option<BoxFuture<'static, Result<RowStream, SourceError>>>,
    /// The rows after the last one.
    rows: Option<RowStream>,
    is_complete: bool,
    rows_written: u64,
    heartbeats: u64,
    is_finished: bool,
}

impl EncoderThread {
    /// Starts the thread. It ends with the file, on an error, or once its chunks have no reader.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left.
    pub(super) fn start(
        rows: RowStream,
        encoder: Box<dyn Encoder>,
        pauses: Pauses,
    ) -> Result<EncoderThread, EncodeError> {
        let (work_in, work) = mpsc::channel(IN_FLIGHT);
        let (chunks_in, chunks) = mpsc::channel(IN_FLIGHT);
        let is_complete = rows.is_complete();
        let recycler = rows.recycler();
        thread::Builder::new()
            .name("rowlink-encode".to_owned())
            .spawn(move || encode(encoder, work, &chunks_in, &recycler))
            .map_err(|error| EncodeError::NoThread(error.to_string()))?;
        Ok(EncoderThread {
            chunks,
            feeding: Some(Box::pin(feed(rows, work_in, pauses))),
            rows: None,
            is_complete,
            rows_written: 0,
            heartbeats: 0,
            is_finished: false,
        })
    }

    /// Tells whether all rows were in memory from the start.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(super) fn rows_written(&self) -> u64 {
        self.rows_written
    }

    pub(super) fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Returns the rows once the last chunk was returned.
    pub(super) fn into_rows(self) -> Option<RowStream> {
        self.rows
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        if self.is_finished {
            return Ok(None);
        }
        let chunk = loop {
            let Some(feeding) = &mut self.feeding else {
                break self.chunks.recv().await;
            };
            tokio::select! {
                biased;
                chunk = self.chunks.recv() => break chunk,
                outcome = feeding => {
                    self.feeding = None;
                    self.rows = Some(outcome?);
                }
            }
        };
        // A channel that closes before the last chunk means that the thread panicked.
        let chunk = chunk.ok_or(SourceError::Truncated)??;
        self.rows_written = chunk.rows;
        self.heartbeats = chunk.heartbeats;
        self.is_finished = chunk.is_last;
        // Only the last chunk may be empty.
        Ok(Some(chunk.bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// Hands rows to the thread as fast as it accepts them.
async fn feed(
    mut rows: RowStream,
    work: mpsc::Sender<Work>,
    pauses: Pauses,
) -> Result<RowStream, SourceError> {
    loop {
        let next = match pauses {
            Pauses::Silent => rows.next().await,
            Pauses::Flushed { heartbeat_every } => {
                next_or_flush(&mut rows, &work, heartbeat_every).await
            }
        };
        let (item, is_last) = match next? {
            Some(Rows::Batch(batch)) => (Work::Rows(batch), false),
            Some(Rows::NextStatement(columns)) => (Work::NextStatement(columns), false),
            None => (Work::Finish, true),
        };
        // A thread that has failed accepts no more; the reader of its chunks gets the error.
        if work.send(item).await.is_err() || is_last {
            return Ok(rows);
        }
    }
}

/// Waits for the next rows; flushes if they take long.
async fn next_or_flush(
    rows: &mut RowStream,
    work: &mpsc::Sender<Work>,
    heartbeat_every: Option<Duration>,
) -> Result<Option<Rows>, SourceError> {
    match timeout(FLUSH_INTERVAL, rows.next()).await {
        Ok(next) => next,
        Err(_) => {
            let _ = work.send(Work::Flush).await;
            next_with_heartbeats(rows, work, heartbeat_every).await
        }
    }
}

/// Waits for the next rows, with heartbeats.
async fn next_with_heartbeats(
    rows: &mut RowStream,
    work: &mpsc::Sender<Work>,
    heartbeat_every: Option<Duration>,
) -> Result<Option<Rows>, SourceError> {
    let Some(every) = heartbeat_every else {
        return rows.next().await;
    };
    loop {
        match timeout(every, rows.next()).await {
            Ok(next) => return next,
            Err(_) => drop(work.send(Work::Heartbeat).await),
        }
    }
}

/// Encodes until the last row, an error, or the loss of the reader.
fn encode(
    encoder: Box<dyn Encoder>,
    work: mpsc::Receiver<Work>,
    chunks: &mpsc::Sender<Result<Chunk, EncodeError>>,
    recycler: &BatchRecycler,
) {
    if let Err(error) = encode_all(encoder, work, chunks, recycler) {
        // A reader that is gone does not miss it.
        let _ = chunks.blocking_send(Err(error));
    }
}

fn encode_all(
    mut encoder: Box<dyn Encoder>,
    mut work: mpsc::Receiver<Work>,
    chunks: &mpsc::Sender<Result<Chunk, EncodeError>>,
    recycler: &BatchRecycler,
) -> Result<(), EncodeError> {
    let mut bytes = Vec::new();
    let (mut rows, mut heartbeats) = (0, 0);
    encoder.begin(&mut bytes)?;
    while let Some(work) = work.blocking_recv() {
        let is_last = matches!(work, Work::Finish);
        match work {
            Work::Rows(batch) => {
                encoder.rows(&batch, &mut bytes)?;
                rows += batch.rows() as u64;
                recycler.recycle(batch);
            }
            Work::NextStatement(columns) => encoder.next_statement(&columns, &mut bytes)?,
            Work::Flush => encoder.flush(&mut bytes)?,
            Work::Heartbeat => {
                let before = bytes.len();
                encoder.heartbeat(&mut bytes)?;
                heartbeats += u64::from(bytes.len() > before);
            }
            Work::Finish => encoder.finish(&mut bytes)?,
        }
        if bytes.is_empty() && !is_last {
            continue;
        }
        let chunk = Chunk {
            bytes: std::mem::take(&mut bytes),
            rows,
            heartbeats,
            is_last,
        };
        if chunks.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
