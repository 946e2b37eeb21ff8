//! Files that are kept for clients whose connection broke. They continue on this server without another query.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::audit_log::QueryLog;
use super::coded_file::{CodedFile, Progress};
use super::outcome::StreamError;
use super::spooled_file::{FileBuffer, fill, next_chunk};
use crate::http::response::content_encoding::Coding;
use crate::service::QuotaPermit;
use crate::spool::{Obstacle, Retention, Spool, SpoolReader};

/// Identifies a file: the id of its link, and what its entity tag holds.
pub(in crate::http) type FileKey = (Uuid, [u8; 32]);

/// The files that are kept.
pub(in crate::http) struct KeptFiles {
    spool: Arc<Spool>,
    /// How long a file without a reader is kept.
    keep: Duration,
    files: Mutex<HashMap<FileKey, KeptFile>>,
}

/// A file that is kept, or will be. Its query runs to its end, whether the client reads or not.
#[derive(Clone)]
pub(in crate::http) struct KeptFile {
    buffer: Arc<FileBuffer>,
    /// The content coding of its first response. The file itself has none.
    coding: Option<Coding>,
    /// Its length, if it was measured.
    length: Option<u64>,
    permit: Arc<Mutex<SharedPermit>>,
}

/// The permit of a query and of one reader. It is released when both have ended.
#[derive(Default)]
struct SharedPermit {
    is_filling: bool,
    has_reader: bool,
    permit: Option<QuotaPermit>,
}

/// Reads a part of a kept file.
pub(in crate::http) struct KeptReader {
    reader: SpoolReader<Progress, StreamError>,
    /// Of the chunks so far; the bytes are those that were read here.
    progress: Progress,
    bytes: u64,
    _permit: ReaderPermit,
}

/// What counts a reader as a download.
pub(in crate::http) enum ReaderPermit {
    Own { _permit: QuotaPermit },
    Shared { _share: Share },
}

/// A reader's share in the permit of a query.
pub(in crate::http) struct Share(Arc<Mutex<SharedPermit>>);

/// A file that is to be kept.
pub(in crate::http) struct Filling {
    /// The file, without a content coding.
    pub(in crate::http) file: CodedFile,
    /// The content coding of the response.
    pub(in crate::http) coding: Option<Coding>,
    /// The length, if it was measured.
    pub(in crate::http) length: Option<u64>,
}

/// A file that has begun to be kept.
pub(in crate::http) struct NewlyKept {
    /// Its first reader.
    pub(in crate::http) reader: KeptReader,
    /// The counter of the bytes that went to the disk.
    pub(in crate::http) spooled_bytes: Arc<AtomicU64>,
}

impl KeptFiles {
    /// Returns the files of a spool, if it keeps any.
    pub(in crate::http) fn new(spool: Arc<Spool>) -> Option<Arc<KeptFiles>> {
        Some(Arc::new(KeptFiles {
            keep: spool.keep()?,
            spool,
            files: Mutex::default(),
        }))
    }

    /// Tells whether a file with this key is kept.
    pub(in crate::http) fn has(&self, key: FileKey) -> bool {
        lock(&self.files).contains_key(&key)
    }

    /// Returns the file with this key, if it is kept. The offsets in a file that was sent with a content coding are those
    /// of its decoded bytes, so only a client that `has_decoded` them may continue it.
    pub(in crate::http) fn find(&self, key: FileKey, has_decoded: bool) -> Option<KeptFile> {
        let file = lock(&self.files).get(&key).cloned();
        file.filter(|file| file.coding.is_none() || has_decoded)
    }

    /// Starts to read a file, all of which must be encoded at `query_deadline`, and keeps it until `abort` is cancelled.
    ///
    /// # Errors
    /// Returns [`StreamError::NoKey`] if the operating system provides no randomness.
    pub(in crate::http) fn keep(
        self: &Arc<KeptFiles>,
        key: FileKey,
        filling: Filling,
        query_deadline: Instant,
        abort: CancellationToken,
        report: impl FnMut(Obstacle) + Send + 'static,
        query_log: QueryLog,
    ) -> Result<NewlyKept, StreamError> {
        let (writer, buffer) = FileBuffer::new(&self.spool, Retention::All)?;
        let file = KeptFile::new(buffer, filling.coding, filling.length);
        let permit = file.share_permit();
        let reader = permit.and_then(|permit| file.reader(0..u64::MAX, permit));
        let newly = NewlyKept {
            reader: reader.expect("a new file has its start and no reader"),
            spooled_bytes: file.buffer.spooled_bytes(),
        };
        // Not before it has a reader.
        file.buffer.leave_space_to_others(&self.spool);
        lock(&self.files).insert(key, file.clone());
        let files = self.clone();
        let filled = fill(filling.file, writer, query_deadline, report);
        tokio::spawn(async move {
            tokio::select! {
                () = file.kept_for(files.keep, filled, query_log) => {}
                () = abort.cancelled() => {}
            }
            files.remove(key, &file);
            // Closing large files takes long.
            spawn_blocking(|| drop(file));
        });
        Ok(newly)
    }

    /// Removes a file, unless a later one has its key.
    fn remove(&self, key: FileKey, file: &KeptFile) {
        let mut files = lock(&self.files);
        if files
            .get(&key)
            .is_some_and(|kept| Arc::ptr_eq(&kept.buffer, &file.buffer))
        {
            files.remove(&key);
        }
    }
}

impl KeptFile {
    fn new(buffer: Arc<FileBuffer>, coding: Option<Coding>, length: Option<u64>) -> KeptFile {
        let permit = SharedPermit {
            is_filling: true,
            ..SharedPermit::default()
        };
        KeptFile {
            buffer,
            coding,
            length,
            permit: Arc::new(Mutex::new(permit)),
        }
    }

    /// Resolves when the file is incomplete, or had no reader for this long, or other downloads needed its space.
    async fn kept_for(
        &self,
        keep: Duration,
        filled: impl Future<Output = Option<QuotaPermit>>,
        query_log: QueryLog,
    ) {
        tokio::select! {
            permit = filled => lock(&self.permit).end_query(permit),
            () = self.buffer.discarded() => {}
        }
        let is_complete = self.buffer.length().await.is_some();
        let spooled_bytes = self.buffer.spooled_bytes().load(Ordering::Relaxed);
        let has_reader = lock(&self.permit).has_reader;
        query_log.end(is_complete, has_reader, spooled_bytes);
        if is_complete {
            self.buffer.unused_for(keep).await;
        }
    }

    /// Resolves when the length is known, at the latest when the query has ended; to `None` if the file is incomplete.
    pub(in crate::http) async fn length(&self) -> Option<u64> {
        match self.length {
            Some(length) => Some(length),
            None => self.buffer.length().await,
        }
    }

    /// Returns a share in the permit of the query, if it still runs and has no reader.
    pub(in crate::http) fn share_permit(&self) -> Option<ReaderPermit> {
        let mut shared = lock(&self.permit);
        let is_free = shared.is_filling && !shared.has_reader;
        shared.has_reader |= is_free;
        is_free.then(|| ReaderPermit::Shared {
            _share: Share(self.permit.clone()),
        })
    }

    /// Returns a reader of these bytes; `None` if the first one is no longer there.
    pub(in crate::http) fn reader(
        &self,
        bytes: Range<u64>,
        permit: ReaderPermit,
    ) -> Option<KeptReader> {
        Some(KeptReader {
            reader: self.buffer.reader(bytes)?,
            progress: Progress::default(),
            bytes: 0,
            _permit: permit,
        })
    }
}

impl KeptReader {
    /// Returns what the chunks so far contain: all rows up to their end, and the bytes that were read here.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns the next chunk, never empty, or `None` after the last. Dropping the future before it resolves loses
    /// nothing.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let next = next_chunk(&mut self.reader).await?;
        Ok(next.map(|(chunk, progress)| {
            self.bytes += chunk.len() as u64;
            // Heartbeats before the first row are no bytes of the file.
            let bytes = if progress.bytes == 0 { 0 } else { self.bytes };
            self.progress = Progress { bytes, ..progress };
            chunk
        }))
    }
}

impl SharedPermit {
    /// Ends the query's use of its permit.
    fn end_query(&mut self, permit: Option<QuotaPermit>) {
        self.is_filling = false;
        self.permit = permit.filter(|_| self.has_reader);
    }
}

impl From<QuotaPermit> for ReaderPermit {
    fn from(permit: QuotaPermit) -> ReaderPermit {
        ReaderPermit::Own { _permit: permit }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.has_reader = false;
        shared.permit = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
