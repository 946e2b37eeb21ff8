//! A file whose reader is slower than its query: a task reads the query at its own speed, and the chunks wait in the
//! spool.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::coded_file::{CodedFile, Progress};
use super::outcome::StreamError;
use crate::source::SourceError;
use crate::spool::{Obstacle, ReadError, Sides, SpoolReader, SpoolWriter};

type Writer = SpoolWriter<Progress, StreamError>;

/// The chunks of a [`CodedFile`], from the spool. Dropping it cancels the query and removes what is spooled.
pub(super) struct SpooledFile {
    reader: SpoolReader<Progress, StreamError>,
    progress: Progress,
    _task: AbortOnDropHandle<()>,
}

impl SpooledFile {
    /// Starts to read a file, all of which must be encoded at `query_deadline`. Whenever neither memory nor disk has
    /// space, `report` gets the obstacle and the query waits.
    pub(super) fn start(
        file: CodedFile,
        (writer, reader): Sides<Progress, StreamError>,
        query_deadline: Instant,
        report: impl FnMut(Obstacle) + Send + 'static,
    ) -> SpooledFile {
        let progress = file.progress();
        let task = tokio::spawn(fill(file, writer, query_deadline, report));
        SpooledFile {
            reader,
            progress,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Returns what the chunks so far contain.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns the counter of the bytes that went to the disk.
    pub(super) fn spooled_bytes(&self) -> Arc<AtomicU64> {
        self.reader.spooled_bytes()
    }

    /// Returns the next chunk, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file, as soon as it is known.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        match self.reader.next().await {
            Ok(Some((chunk, progress))) => {
                self.progress = progress;
                Ok(Some(chunk))
            }
            Ok(None) => Ok(None),
            Err(ReadError::Writer(error)) => Err(error),
            Err(ReadError::NoEnd) => Err(truncated()),
            Err(ReadError::Damaged(error)) => Err(error.into()),
        }
    }
}

/// Reads a file to its end or error.
async fn fill(
    mut file: CodedFile,
    mut writer: Writer,
    query_deadline: Instant,
    mut report: impl FnMut(Obstacle),
) {
    let end = loop {
        match file.next_chunk().await {
            Ok(Some(chunk)) => {
                let is_encoded = file.is_encoded();
                let appended = writer.append(chunk, file.progress(), &mut report);
                if is_encoded {
                    appended.await;
                } else if timeout_at(query_deadline, appended).await.is_err() {
                    break Err(too_slow());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    writer.finish(end);
    // The query ends here; the download counts until its reader has the file, which drops this task.
    let _permit = file.into_permit();
    pending().await
}

fn too_slow() -> StreamError {
    StreamError::Download(SourceError::TooSlow.into())
}

fn truncated() -> StreamError {
    StreamError::Download(SourceError::Truncated.into())
}
