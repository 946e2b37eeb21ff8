//! A Parquet file on its way: the thread turns rows into columns, and compresses them.

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::download::DownloadError;
use super::packed::{Chunk, Chunks, EncoderThread};
use crate::encode::{EncodeError, ParquetEncoder};
use crate::row::RowBatch;
use crate::source::{RowStream, SourceError};

/// What the thread gets.
enum Work {
    Rows(RowBatch),
    End,
}

/// # Errors
/// The machine has no thread left.
pub(super) fn start(
    rows: RowStream,
    encoder: ParquetEncoder,
) -> Result<EncoderThread, SourceError> {
    let is_complete = rows.is_complete();
    let write = |work| -> BoxFuture<_> { Box::pin(write(rows, work)) };
    let pack = |work, chunks: &Chunks| pack(encoder, work, chunks);
    EncoderThread::start("rowlink-parquet", is_complete, write, pack)
}

/// Hands rows on, as fast as they are taken.
async fn write(mut rows: RowStream, work: mpsc::Sender<Work>) -> Result<(), DownloadError> {
    while let Some(batch) = rows.next().await? {
        // The thread takes no more where it has failed, which the reader of its chunks is told.
        if work.send(Work::Rows(batch)).await.is_err() {
            return Ok(());
        }
    }
    // The end is said, never inferred from a closed channel.
    let _ = work.send(Work::End).await;
    Ok(())
}

/// Encodes rows until the last, or until nobody wants more.
fn pack(mut encoder: ParquetEncoder, mut work: mpsc::Receiver<Work>, chunks: &Chunks) {
    while let Some(work) = work.blocking_recv() {
        let is_last = matches!(work, Work::End);
        let chunk = encode(&mut encoder, work).map(|bytes| Chunk {
            bytes,
            rows: encoder.rows_written(),
            is_last,
        });
        // Rows wait for their row group.
        if matches!(&chunk, Ok(chunk) if chunk.bytes.is_empty()) {
            continue;
        }
        let is_failed = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || is_failed {
            return;
        }
    }
}

fn encode(encoder: &mut ParquetEncoder, work: Work) -> Result<Vec<u8>, EncodeError> {
    match work {
        Work::Rows(batch) => encoder.rows(&batch)?,
        Work::End => encoder.end()?,
    }
    encoder.take()
}
