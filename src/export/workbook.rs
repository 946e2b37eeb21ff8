//! An XLSX file on its way: rows become XML here, and a thread of its own deflates it.

use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::download::DownloadError;
use crate::encode::{Container, Piece, XlsxEncoder};
use crate::source::{RowStream, SourceError};

/// How long a row is waited for before those that are here are sent.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Blocks of XML, and of what was made of them, that may wait.
const IN_FLIGHT: usize = 2;

/// What the thread gets, and what it gives back.
struct Work {
    pieces: Vec<Piece>,
    /// How many rows these and all before hold.
    rows: u64,
}

struct Chunk {
    bytes: Vec<u8>,
    rows: u64,
    is_last: bool,
}

/// Chunks of the file. Dropping it cancels the query, and ends the thread.
pub(super) struct Workbook {
    chunks: mpsc::Receiver<Chunk>,
    /// Rows → XML, while there are rows.
    writing: Option<BoxFuture<'static, Result<(), DownloadError>>>,
    is_complete: bool,
    rows_written: u64,
    is_whole: bool,
}

impl Workbook {
    /// Starts the thread.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub(super) fn new(rows: RowStream, encoder: XlsxEncoder) -> Result<Workbook, SourceError> {
        let (work_in, work) = mpsc::channel(IN_FLIGHT);
        let (chunks_in, chunks) = mpsc::channel(IN_FLIGHT);
        thread::Builder::new()
            .name("rowlink-xlsx".into())
            .spawn(move || deflate(work, &chunks_in))
            .map_err(|error| SourceError::Unavailable(error.into()))?;
        Ok(Workbook {
            is_complete: rows.is_complete(),
            chunks,
            writing: Some(Box::pin(write(rows, encoder, work_in))),
            rows_written: 0,
            is_whole: false,
        })
    }

    /// Whether every row was here from the start.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn rows_written(&self) -> u64 {
        self.rows_written
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        if self.is_whole {
            return Ok(None);
        }
        let chunk = loop {
            let Some(writing) = &mut self.writing else {
                break self.chunks.recv().await;
            };
            tokio::select! {
                biased;
                chunk = self.chunks.recv() => break chunk,
                outcome = writing => {
                    self.writing = None;
                    outcome?;
                }
            }
        };
        // The end is said, never inferred from a closed channel: a thread that dies closes it too.
        let chunk = chunk.ok_or(SourceError::Cut)?;
        self.rows_written = chunk.rows;
        self.is_whole = chunk.is_last;
        Ok(Some(chunk.bytes))
    }
}

/// Turns rows into pieces, as fast as these are taken.
async fn write(
    mut rows: RowStream,
    mut encoder: XlsxEncoder,
    work: mpsc::Sender<Work>,
) -> Result<(), DownloadError> {
    loop {
        send(&mut encoder, &work).await?;
        let next = match timeout(FLUSH_AFTER, rows.next()).await {
            Ok(next) => next,
            Err(_) => {
                encoder.flush();
                send(&mut encoder, &work).await?;
                rows.next().await
            }
        };
        let Some(batch) = next? else {
            break;
        };
        encoder.rows(&batch)?;
        rows.recycle(batch);
    }
    encoder.end();
    send(&mut encoder, &work).await
}

async fn send(encoder: &mut XlsxEncoder, work: &mpsc::Sender<Work>) -> Result<(), DownloadError> {
    let rows = encoder.rows_written();
    let pieces = encoder.take_pieces();
    if !pieces.is_empty() {
        // Only a thread that died takes no more.
        let sent = work.send(Work { pieces, rows }).await;
        sent.map_err(|_| SourceError::Cut)?;
    }
    Ok(())
}

/// Deflates pieces until the last, or until nobody wants more.
fn deflate(mut work: mpsc::Receiver<Work>, chunks: &mpsc::Sender<Chunk>) {
    let mut container = Container::default();
    while let Some(Work { pieces, rows }) = work.blocking_recv() {
        for piece in &pieces {
            container.write_piece(piece);
        }
        let bytes = container.take();
        // Deflate keeps what does not fill a block yet.
        if bytes.is_empty() {
            continue;
        }
        let is_last = matches!(pieces.last(), Some(Piece::Finish));
        if chunks
            .blocking_send(Chunk {
                bytes,
                rows,
                is_last,
            })
            .is_err()
        {
            return;
        }
    }
}
