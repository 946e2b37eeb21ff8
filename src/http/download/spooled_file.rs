//! A file whose reader is slower than its query: a task reads the query at its own speed, and the chunks wait in the
//! spool.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::coded_file::{CodedFile, Progress};
use super::outcome::StreamError;
use crate::service::QuotaPermit;
use crate::source::SourceError;
use crate::spool::{Obstacle, ReadError, Retention, Spool, SpoolBuffer, SpoolReader, SpoolWriter};

/// Where chunks wait.
pub(super) type FileBuffer = SpoolBuffer<Progress, Arc<StreamError>>;

/// The chunks of a [`CodedFile`], from the spool. Dropping it cancels the query and removes what is spooled.
pub(super) struct SpooledFile {
    reader: SpoolReader<Progress, Arc<StreamError>>,
    spooled_bytes: Arc<AtomicU64>,
    progress: Progress,
    _task: AbortOnDropHandle<()>,
}

impl SpooledFile {
    /// Starts to read a file, all of which must be encoded at `query_deadline`. Whenever neither memory nor disk has
    /// space, `report` gets the obstacle and the query waits. Returns the file itself if the operating system provides
    /// no randomness for a key.
    pub(super) fn start(
        file: Box<CodedFile>,
        spool: &Arc<Spool>,
        query_deadline: Instant,
        report: impl FnMut(Obstacle) + Send + 'static,
    ) -> Result<SpooledFile, Box<CodedFile>> {
        let Ok((writer, buffer)) = FileBuffer::new(spool, Retention::Unread) else {
            return Err(file);
        };
        let reader = buffer.reader(0..u64::MAX);
        let progress = file.progress();
        let task = async move {
            // The query ends here; the download counts until its reader has the file, which drops this task.
            let _permit = fill(*file, writer, query_deadline, report).await;
            pending().await
        };
        Ok(SpooledFile {
            reader: reader.expect("a new buffer has its start"),
            spooled_bytes: buffer.spooled_bytes(),
            progress,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        })
    }

    /// Returns what the chunks so far contain.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns the counter of the bytes that went to the disk.
    pub(super) fn spooled_bytes(&self) -> Arc<AtomicU64> {
        self.spooled_bytes.clone()
    }

    /// Returns the next chunk, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file, as soon as it is known.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let next = next_chunk(&mut self.reader).await?;
        Ok(next.map(|(chunk, progress)| {
            self.progress = progress;
            chunk
        }))
    }
}

/// Returns the next chunk of a buffer with what all chunks so far contain.
///
/// # Errors
/// Returns the [`StreamError`] that truncates the file.
pub(super) async fn next_chunk(
    reader: &mut SpoolReader<Progress, Arc<StreamError>>,
) -> Result<Option<(Vec<u8>, Progress)>, StreamError> {
    reader.next().await.map_err(|error| match error {
        ReadError::Writer(error) => StreamError::Shared(error),
        ReadError::NoEnd => truncated(),
        ReadError::Damaged(error) => error.into(),
    })
}

/// Reads a file to its end or error; returns what counts the download, if it was opened.
pub(super) async fn fill(
    mut file: CodedFile,
    mut writer: SpoolWriter<Progress, Arc<StreamError>>,
    query_deadline: Instant,
    mut report: impl FnMut(Obstacle),
) -> Option<QuotaPermit> {
    let end = loop {
        match file.next_chunk().await {
            Ok(Some(chunk)) => {
                let holds_query = file.holds_query();
                let appended = writer.append(chunk, file.progress(), &mut report);
                if !holds_query {
                    appended.await;
                } else if timeout_at(query_deadline, appended).await.is_err() {
                    break Err(too_slow());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    writer.finish(end.map_err(Arc::new)).await;
    file.into_permit()
}

fn too_slow() -> StreamError {
    StreamError::Download(SourceError::TooSlow.into())
}

fn truncated() -> StreamError {
    StreamError::Download(SourceError::Truncated.into())
}
