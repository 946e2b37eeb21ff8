//! An XLSX file on its way: rows become XML here, and the thread deflates it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::download::DownloadError;
use super::packed::{Chunk, Chunks, EncoderThread};
use crate::encode::{Container, Piece, XlsxEncoder};
use crate::source::{RowStream, SourceError};

/// How long a row is waited for before those that are here are sent.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// What the thread gets.
struct Work {
    pieces: Vec<Piece>,
    /// How many rows these and all before hold.
    rows: u64,
}

/// # Errors
/// The machine has no thread left.
pub(super) fn start(rows: RowStream, encoder: XlsxEncoder) -> Result<EncoderThread, SourceError> {
    let is_complete = rows.is_complete();
    let write = |work| -> BoxFuture<_> { Box::pin(write(rows, encoder, work)) };
    EncoderThread::start("rowlink-xlsx", is_complete, write, deflate)
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
        sent.map_err(|_| SourceError::Truncated)?;
    }
    Ok(())
}

/// Deflates pieces until the last, or until nobody wants more.
fn deflate(mut work: mpsc::Receiver<Work>, chunks: &Chunks) {
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
        let chunk = Chunk {
            bytes,
            rows,
            is_last: matches!(pieces.last(), Some(Piece::Finish)),
        };
        if chunks.blocking_send(Ok(chunk)).is_err() {
            return;
        }
    }
}
