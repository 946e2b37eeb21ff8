//! Files that are kept while their query runs, and then for clients whose connection broke: these continue on this server
//! without another query. Some are uploaded to the store meanwhile.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audit_log::QueryLog;
use super::coded_file::{CodedFile, Progress};
use super::file_upload::FileUpload;
use super::outcome::StreamError;
use super::spooled_file::{FileBuffer, fill, next_chunk};
use super::uploads::Uploads;
use crate::http::response::content_encoding::Coding;
use crate::service::QuotaPermit;
use crate::spool::{Obstacle, Retention, Spool, SpoolReader};

/// What the entity tag of a file holds.
pub(in crate::http) type FileId = [u8; 32];

/// Returns the id of a file whose hash is not known yet.
///
/// # Errors
/// Returns an error if the operating system provides no randomness.
pub(in crate::http) fn random_file_id() -> Result<FileId, getrandom::Error> {
    let mut id = [0; 32];
    getrandom::fill(&mut id)?;
    Ok(id)
}

/// The files that are kept.
pub(in crate::http) struct KeptFiles {
    spool: Arc<Spool>,
    /// How long a file without a reader is kept; `None` for not.
    keep: Option<Duration>,
    files: Mutex<HashMap<FileId, KeptFile>>,
    pub(in crate::http) uploads: Arc<Uploads>,
}

/// A file that is kept, or will be. Its query runs to its end if files are kept, or as long as it has a reader.
#[derive(Clone)]
pub(in crate::http) struct KeptFile {
    buffer: Arc<FileBuffer>,
    /// Whether a response had a content coding. The file itself has none.
    was_coded: Arc<AtomicBool>,
    /// Its length, if it was measured.
    length: Option<u64>,
    permit: Arc<Mutex<SharedPermit>>,
}

/// The permit of a query, of one reader and of an upload. It is released when all have ended.
#[derive(Default)]
struct SharedPermit {
    is_filling: bool,
    has_reader: bool,
    is_uploading: bool,
    permit: Option<QuotaPermit>,
}

/// Reads a part of a kept file.
pub(in crate::http) struct KeptReader {
    reader: SpoolReader<Progress, Arc<StreamError>>,
    /// Of the chunks so far; the bytes are those that were read here.
    progress: Progress,
    bytes: u64,
    _permit: ReaderPermit,
}

/// What counts a reader as a download.
pub(in crate::http) enum ReaderPermit {
    Own { _permit: QuotaPermit },
    Shared { _share: ReaderShare },
}

/// A reader's share in the permit of a query.
pub(in crate::http) struct ReaderShare(Arc<Mutex<SharedPermit>>);

/// An upload's share in the permit of a query.
struct UploadShare(Arc<Mutex<SharedPermit>>);

/// Reads a whole kept file.
pub(super) struct UploadReader {
    reader: SpoolReader<Progress, Arc<StreamError>>,
    _share: UploadShare,
}

/// A file that is to be kept.
pub(in crate::http) struct Filling {
    /// The file, without a content coding.
    pub(in crate::http) file: CodedFile,
    /// The content coding of the response.
    pub(in crate::http) coding: Option<Coding>,
    /// The length, if it was measured.
    pub(in crate::http) length: Option<u64>,
    /// How it is uploaded, if it may be.
    pub(in crate::http) upload: Option<FileUpload>,
}

/// A file that has begun to be kept.
pub(in crate::http) struct NewlyKept {
    /// Its first reader.
    pub(in crate::http) reader: KeptReader,
    /// The counter of the bytes that went to the disk.
    pub(in crate::http) spooled_bytes: Arc<AtomicU64>,
}

impl KeptFiles {
    /// Returns the files of a spool, if it keeps any, or files are stored.
    pub(in crate::http) fn new(spool: Arc<Spool>, has_store: bool) -> Option<Arc<KeptFiles>> {
        let keep = spool.keep();
        let is_used = keep.is_some() || has_store;
        is_used.then(|| {
            Arc::new(KeptFiles {
                keep,
                spool,
                files: Mutex::default(),
                uploads: Arc::default(),
            })
        })
    }

    /// Tells whether files are kept for clients whose connection broke.
    pub(in crate::http) fn keeps(&self) -> bool {
        self.keep.is_some()
    }

    /// Tells whether a file with this id is kept.
    pub(in crate::http) fn has(&self, id: FileId) -> bool {
        lock(&self.files).contains_key(&id)
    }

    /// Returns the file with this id, if it is kept. The offsets in a file that was sent with a content coding are those
    /// of its decoded bytes, so only a client that `has_decoded` them may continue it.
    pub(in crate::http) fn find(&self, id: FileId, has_decoded: bool) -> Option<KeptFile> {
        let file = lock(&self.files).get(&id).cloned();
        file.filter(|file| has_decoded || !file.was_coded.load(Ordering::Relaxed))
    }

    /// Starts to read a file, all of which must be encoded at `query_deadline`, and keeps it until `abort` is cancelled.
    ///
    /// # Errors
    /// Returns [`StreamError::NoKey`] if the operating system provides no randomness.
    pub(in crate::http) fn keep(
        self: &Arc<KeptFiles>,
        id: FileId,
        filling: Filling,
        query_deadline: Instant,
        abort: CancellationToken,
        report: impl FnMut(Obstacle) + Send + 'static,
        query_log: QueryLog,
    ) -> Result<NewlyKept, StreamError> {
        let (writer, buffer) = FileBuffer::new(&self.spool, Retention::All)?;
        let file = KeptFile::new(buffer, filling.coding.is_some(), filling.length);
        let permit = file.share_permit();
        let reader = permit.and_then(|permit| file.reader(0..u64::MAX, permit));
        let newly = NewlyKept {
            reader: reader.expect("a new file has its start and no reader"),
            spooled_bytes: file.buffer.spooled_bytes(),
        };
        // Not before it has a reader.
        file.buffer.leave_space_to_others(&self.spool);
        lock(&self.files).insert(id, file.clone());
        let filled = fill(filling.file, writer, query_deadline, report);
        let upload = filling.upload;
        let uploaded = upload.and_then(|upload| self.uploads.begin(upload, id, &file, &abort));
        let files = self.clone();
        tokio::spawn(async move {
            let filled = async {
                tokio::select! {
                    is_complete = file.filled(files.keep.is_some(), filled, query_log) => is_complete,
                    () = abort.cancelled() => false,
                }
            };
            let (is_complete, _) = tokio::join!(filled, OptionFuture::from(uploaded));
            if let (true, Some(keep)) = (is_complete, files.keep) {
                tokio::select! {
                    () = file.buffer.unused_for(keep) => {}
                    () = abort.cancelled() => {}
                }
            }
            files.remove(id, &file);
            // Closing large files takes long.
            spawn_blocking(|| drop(file));
        });
        Ok(newly)
    }

    /// Removes a file, unless a later one has its id.
    fn remove(&self, id: FileId, file: &KeptFile) {
        let mut files = lock(&self.files);
        if files
            .get(&id)
            .is_some_and(|kept| Arc::ptr_eq(&kept.buffer, &file.buffer))
        {
            files.remove(&id);
        }
    }
}

impl KeptFile {
    fn new(buffer: Arc<FileBuffer>, was_coded: bool, length: Option<u64>) -> KeptFile {
        let permit = SharedPermit {
            is_filling: true,
            ..SharedPermit::default()
        };
        KeptFile {
            buffer,
            was_coded: Arc::new(AtomicBool::new(was_coded)),
            length,
            permit: Arc::new(Mutex::new(permit)),
        }
    }

    /// Resolves when the query has ended; returns whether the file is complete. It ends early when other downloads need the
    /// file's space, or no reader is left and the file is not kept.
    async fn filled(
        &self,
        is_kept: bool,
        filled: impl Future<Output = Option<QuotaPermit>>,
        query_log: QueryLog,
    ) -> bool {
        let abandoned = async {
            match is_kept {
                true => self.buffer.discarded().await,
                false => self.buffer.unused_for(Duration::ZERO).await,
            }
        };
        tokio::select! {
            permit = filled => lock(&self.permit).end_query(permit),
            () = abandoned => {}
        }
        let is_complete = self.buffer.length().await.is_some();
        let spooled_bytes = self.buffer.spooled_bytes().load(Ordering::Relaxed);
        let has_reader = lock(&self.permit).has_reader;
        query_log.end(is_complete, has_reader, spooled_bytes);
        is_complete
    }

    /// Resolves when the length is known, at the latest when the query has ended; to `None` if the file is incomplete.
    pub(in crate::http) async fn length(&self) -> Option<u64> {
        match self.length {
            Some(length) => Some(length),
            None => self.buffer.length().await,
        }
    }

    /// Returns a share in the permit of the query, if it or an upload still runs and has no reader.
    pub(in crate::http) fn share_permit(&self) -> Option<ReaderPermit> {
        let mut shared = lock(&self.permit);
        let is_free = (shared.is_filling || shared.is_uploading) && !shared.has_reader;
        shared.has_reader |= is_free;
        is_free.then(|| ReaderPermit::Shared {
            _share: ReaderShare(self.permit.clone()),
        })
    }

    /// Returns what there is of the file so far.
    pub(super) fn written(&self) -> Progress {
        let (bytes, progress) = self.buffer.written();
        Progress { bytes, ..progress }
    }

    /// Resolves when the query has ended, or waits for space in the spool.
    pub(super) async fn query_ended_or_waits(&self) {
        self.buffer.ended_or_full().await;
    }

    /// Records that a response has a content coding.
    pub(in crate::http) fn set_coded(&self) {
        self.was_coded.store(true, Ordering::Relaxed);
    }

    /// Resolves when the file is known to be longer than this, or not to be; returns which.
    pub(in crate::http) async fn is_longer_than(&self, bytes: u64) -> bool {
        self.buffer.is_longer_than(bytes).await
    }

    /// Ends the query, unless a client reads the file.
    pub(super) fn discard_if_idle(&self) {
        self.buffer.discard_if_idle();
    }

    /// Returns a reader of the whole file for its upload; `None` if its start is no longer there.
    pub(super) fn upload_reader(&self) -> Option<UploadReader> {
        let reader = self.buffer.reader(0..u64::MAX)?;
        lock(&self.permit).is_uploading = true;
        Some(UploadReader {
            reader,
            _share: UploadShare(self.permit.clone()),
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

impl UploadReader {
    /// Returns the next chunk, never empty, with what the chunks so far contain, or `None` after the last.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<(Vec<u8>, Progress)>, StreamError> {
        next_chunk(&mut self.reader).await
    }
}

impl SharedPermit {
    /// Ends the query's use of its permit.
    fn end_query(&mut self, permit: Option<QuotaPermit>) {
        self.is_filling = false;
        self.permit = permit;
        self.release_if_unused();
    }

    fn release_if_unused(&mut self) {
        if !self.is_filling && !self.has_reader && !self.is_uploading {
            self.permit = None;
        }
    }
}

impl From<QuotaPermit> for ReaderPermit {
    fn from(permit: QuotaPermit) -> ReaderPermit {
        ReaderPermit::Own { _permit: permit }
    }
}

impl Drop for ReaderShare {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.has_reader = false;
        shared.release_if_unused();
    }
}

impl Drop for UploadShare {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.is_uploading = false;
        shared.release_if_unused();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
