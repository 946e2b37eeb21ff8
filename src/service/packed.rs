//! A file that a thread of its own packs: what it is made of is prepared here, as fast as the thread takes it.

use std::thread;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::download::DownloadError;
use crate::encode::EncodeError;
use crate::source::SourceError;

/// Pieces of work, and of what was made of them, that may wait.
const IN_FLIGHT: usize = 2;

/// What the thread gives.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// How many rows it and all before it hold.
    pub(super) rows: u64,
    pub(super) is_last: bool,
}

/// Where the thread puts chunks, none of them empty.
pub(super) type Chunks = mpsc::Sender<Result<Chunk, EncodeError>>;

/// Chunks of the file. Dropping it cancels the query, and ends the thread.
pub(super) struct EncoderThread {
    chunks: mpsc::Receiver<Result<Chunk, EncodeError>>,
    /// Rows → work, while there are rows.
    writing: Option<BoxFuture<'static, Result<(), DownloadError>>>,
    is_complete: bool,
    rows_written: u64,
    is_whole: bool,
}

impl EncoderThread {
    /// Starts the thread, which does the work until there is no more, or nobody wants chunks. `is_complete` says
    /// whether every row is here.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub(super) fn start<W: Send + 'static>(
        name: &str,
        is_complete: bool,
        write: impl FnOnce(mpsc::Sender<W>) -> BoxFuture<'static, Result<(), DownloadError>>,
        pack: impl FnOnce(mpsc::Receiver<W>, &Chunks) + Send + 'static,
    ) -> Result<EncoderThread, SourceError> {
        let (work_in, work) = mpsc::channel(IN_FLIGHT);
        let (chunks_in, chunks) = mpsc::channel(IN_FLIGHT);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || pack(work, &chunks_in))
            .map_err(|error| SourceError::Unavailable(error.into()))?;
        Ok(EncoderThread {
            is_complete,
            chunks,
            writing: Some(write(work_in)),
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
        let chunk = chunk.ok_or(SourceError::Truncated)??;
        self.rows_written = chunk.rows;
        self.is_whole = chunk.is_last;
        Ok(Some(chunk.bytes))
    }
}
