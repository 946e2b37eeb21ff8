//! The bytes of a response, as they are sent: a download with its content coding and heartbeats.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::archive_reader::ArchiveReader;
use super::kept_files::KeptReader;
use super::object_reader::ObjectReader;
use super::outcome::StreamError;
use super::receipt::{PendingReceipt, ReceiptWriter};
use crate::format::Heartbeats;
use crate::http::response::content_encoding::{Coding, ContentEncoder};
use crate::service::{Download, OpenError, OpenedDownload, PreparedDownload, QuotaPermit};

/// When heartbeats are sent, and which.
pub(in crate::http) struct HeartbeatPlan {
    /// The time without a row after which the response begins.
    pub(in crate::http) after: Duration,
    /// The time between two heartbeats.
    pub(in crate::http) every: Duration,
    /// Those of the format, if no content coding has them.
    of_format: Option<Heartbeats>,
}

impl HeartbeatPlan {
    /// Returns the plan for a download, if there are heartbeats in its content coding or format.
    pub(in crate::http) fn of(
        prepared: &PreparedDownload,
        coding: Option<Coding>,
    ) -> Option<HeartbeatPlan> {
        let (after, every) = (prepared.heartbeat_after()?, prepared.heartbeat_every()?);
        let of_format = match coding {
            Some(_) => None,
            None => Some(prepared.format_heartbeats()?),
        };
        Some(HeartbeatPlan {
            after,
            every,
            of_format,
        })
    }
}

/// A download with its content coding and heartbeats. Dropping it cancels the query unless the file is kept.
pub(in crate::http) struct CodedFile {
    source: Source,
    /// `None` without a content coding, and after its end.
    encoder: Option<ContentEncoder<Progress>>,
    /// What the chunks that the encoder has returned contain, without heartbeats of the content coding.
    coded: Progress,
    /// How the source has ended, while the encoder has chunks.
    end: Option<Result<(), StreamError>>,
    heartbeat_every: Option<Duration>,
    /// Whether the response begins with a heartbeat of the content coding.
    is_heartbeat_due: bool,
    /// Without those within the file.
    heartbeats: u64,
    /// `None` if no receipt is wanted.
    receipt: Option<ReceiptWriter>,
}

/// What the chunks so far contain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The rows, with those that an encoder still holds back.
    pub(super) rows: u64,
    /// The bytes of the file, before any content coding.
    pub(super) bytes: u64,
    pub(super) heartbeats: u64,
}

/// Resolves when the first rows have arrived.
pub(in crate::http) type Opening =
    Pin<Box<dyn Future<Output = Result<OpenedDownload, OpenError>> + Send>>;

enum Source {
    /// The query has no row yet.
    Opening {
        opening: Opening,
        of_format: Option<Heartbeats>,
    },
    Open(Box<Download>),
    /// Another task reads the query.
    Kept(KeptReader),
    /// There is no query.
    Stored(ObjectReader),
    Archive(Box<ArchiveReader>),
}

impl CodedFile {
    /// Returns the file of a download.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot start.
    pub(in crate::http) fn new(
        download: Download,
        coding: Option<Coding>,
        heartbeat_every: Option<Duration>,
    ) -> Result<CodedFile, StreamError> {
        let source = Source::Open(Box::new(download));
        CodedFile::create(source, coding, heartbeat_every)
    }

    /// Returns the file of a download whose query has no row yet; it begins with a heartbeat.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot start.
    pub(in crate::http) fn begin(
        opening: Opening,
        coding: Option<Coding>,
        plan: &HeartbeatPlan,
    ) -> Result<CodedFile, StreamError> {
        let source = Source::Opening {
            opening,
            of_format: plan.of_format.clone(),
        };
        CodedFile::create(source, coding, Some(plan.every))
    }

    /// Returns the file of a download whose query has no row yet, without heartbeats.
    pub(in crate::http) fn without_heartbeats(opening: Opening) -> CodedFile {
        let of_format = None;
        CodedFile::uncoded(Source::Opening { opening, of_format })
    }

    /// Returns a kept file, from where its reader is.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot start.
    pub(in crate::http) fn of_kept(
        reader: KeptReader,
        coding: Option<Coding>,
        heartbeat_every: Option<Duration>,
    ) -> Result<CodedFile, StreamError> {
        CodedFile::create(Source::Kept(reader), coding, heartbeat_every)
    }

    /// Returns a part of an object.
    pub(in crate::http) fn of_object(reader: ObjectReader) -> CodedFile {
        CodedFile::uncoded(Source::Stored(reader))
    }

    /// Returns an archive of stored documents.
    pub(in crate::http) fn of_archive(reader: ArchiveReader) -> CodedFile {
        CodedFile::uncoded(Source::Archive(Box::new(reader)))
    }

    fn uncoded(source: Source) -> CodedFile {
        CodedFile {
            source,
            encoder: None,
            coded: Progress::default(),
            end: None,
            heartbeat_every: None,
            is_heartbeat_due: false,
            heartbeats: 0,
            receipt: None,
        }
    }

    /// Lets the receipt of the file be known at its end. It must not have begun.
    #[must_use]
    pub(in crate::http) fn with_receipt(mut self, receipt: PendingReceipt) -> CodedFile {
        self.receipt = Some(ReceiptWriter::new(receipt));
        self
    }

    /// Lets the response begin with a heartbeat, if its content coding has one: the query has no row yet.
    #[must_use]
    pub(in crate::http) fn begin_by_heartbeat(mut self) -> CodedFile {
        self.is_heartbeat_due = self.encoder.is_some();
        self
    }

    fn create(
        source: Source,
        coding: Option<Coding>,
        heartbeat_every: Option<Duration>,
    ) -> Result<CodedFile, StreamError> {
        Ok(CodedFile {
            encoder: coding.map(ContentEncoder::new).transpose()?,
            heartbeat_every,
            ..CodedFile::uncoded(source)
        })
    }

    /// Returns what the chunks so far contain.
    pub(super) fn progress(&self) -> Progress {
        let file = match &self.encoder {
            // Later chunks may have been taken, but were not returned.
            Some(_) => self.coded,
            None => self.source.progress(),
        };
        Progress {
            heartbeats: file.heartbeats + self.heartbeats,
            ..file
        }
    }

    /// Tells whether the query waits whenever no chunk is taken. After its last row there may still be chunks.
    pub(super) fn holds_query(&self) -> bool {
        match &self.source {
            Source::Opening { .. } => true,
            Source::Open(download) => !download.is_encoded(),
            Source::Kept(_) | Source::Stored(_) | Source::Archive(_) => false,
        }
    }

    /// Tells whether the whole file is in the spool or in the store, or will be.
    pub(super) fn is_kept(&self) -> bool {
        matches!(
            &self.source,
            Source::Kept(_) | Source::Stored(_) | Source::Archive(_)
        )
    }

    /// Returns what counts the download, if it was opened. Cancels the query unless it has ended.
    pub(super) fn into_permit(self) -> Option<QuotaPermit> {
        match self.source {
            Source::Opening { .. } | Source::Kept(_) | Source::Stored(_) | Source::Archive(_) => {
                None
            }
            Source::Open(download) => Some(download.into_permit()),
        }
    }

    /// Returns the next chunk as it is sent, never empty, or `None` once the file is complete. Dropping the future
    /// before it resolves loses nothing.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let next = self.next_chunk_or_beat().await?;
        if next.is_none()
            && let Some(receipt) = self.receipt.take()
        {
            receipt.finish(self.progress().rows);
        }
        Ok(next)
    }

    async fn next_chunk_or_beat(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        if std::mem::take(&mut self.is_heartbeat_due) {
            self.heartbeats += 1;
            return Ok(Some(self.coded_heartbeat()));
        }
        if let Some(beat) = self.heartbeat_before_rows().await? {
            self.heartbeats += 1;
            return Ok(Some(beat));
        }
        let every = self.heartbeat_every.filter(|_| self.encoder.is_some());
        let Some(every) = every else {
            return self.encoded_chunk().await;
        };
        match timeout(every, self.encoded_chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => {
                self.heartbeats += 1;
                Ok(Some(self.coded_heartbeat()))
            }
        }
    }

    /// Waits for the first row; returns a heartbeat if its time comes earlier, and `None` once the download is open.
    async fn heartbeat_before_rows(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let Source::Opening { opening, of_format } = &mut self.source else {
            return Ok(None);
        };
        let has_heartbeats = of_format.is_some() || self.encoder.is_some();
        let opened = match self.heartbeat_every.filter(|_| has_heartbeats) {
            None => Some(opening.await),
            // The response has begun because the time is up, so the first heartbeat does not wait. Without one the file
            // would lack the start that is sent with it.
            Some(_) if self.heartbeats == 0 => None,
            Some(every) => timeout(every, opening).await.ok(),
        };
        let Some(opened) = opened else {
            let beat = match of_format {
                Some(of_format) if self.heartbeats == 0 => {
                    [&of_format.start, of_format.beat].concat()
                }
                Some(of_format) => of_format.beat.to_vec(),
                None => return Ok(Some(self.coded_heartbeat())),
            };
            // Unlike one of a content coding, it is a part of the file.
            self.add_to_receipt(&beat);
            return Ok(Some(beat));
        };
        let sent = of_format.as_ref().map(|_| self.heartbeats);
        let download = opened?.encode(sent)?;
        self.source = Source::Open(Box::new(download));
        Ok(None)
    }

    fn coded_heartbeat(&mut self) -> Vec<u8> {
        let encoder = self.encoder.as_mut();
        let encoder = encoder.expect("without a content coding the format has heartbeats");
        encoder.heartbeat()
    }

    /// Returns the next chunk in its coding. Further chunks are taken from the source while it is compressed, but it does not
    /// wait for them.
    async fn encoded_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                let chunk = self.source.next_chunk().await?;
                chunk.iter().for_each(|chunk| self.add_to_receipt(chunk));
                return Ok(chunk);
            };
            let takes_chunk = self.end.is_none() && encoder.has_space();
            let taken = tokio::select! {
                biased;
                Some(coded) = encoder.next() => {
                    let (chunk, progress) = coded?;
                    self.coded = progress;
                    return Ok(Some(chunk));
                }
                taken = self.source.next_chunk(), if takes_chunk => taken,
                else => return self.end_coding(),
            };
            match taken {
                Ok(Some(chunk)) => {
                    let receipt = self.receipt.iter_mut();
                    receipt.for_each(|receipt| receipt.update(&chunk));
                    encoder.push(chunk, self.source.progress())?;
                }
                // The chunks before the end come first, also before an error.
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Returns the end of the content coding, all of whose chunks were returned.
    fn end_coding(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let end = self.end.take();
        end.expect("an encoder without chunks takes one")?;
        let encoder = self.encoder.take();
        Ok(encoder.map(ContentEncoder::finish).transpose()?)
    }

    fn add_to_receipt(&mut self, chunk: &[u8]) {
        if let Some(receipt) = &mut self.receipt {
            receipt.update(chunk);
        }
    }
}

impl Source {
    /// Returns the next chunk of the file without a content coding, never empty, or `None` after the last. Dropping the
    /// future before it resolves loses nothing.
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        match self {
            Source::Opening { .. } => unreachable!("the download is open"),
            Source::Open(download) => Ok(download.next_chunk().await?),
            Source::Kept(reader) => reader.next_chunk().await,
            Source::Stored(reader) => reader.next_chunk().await,
            Source::Archive(reader) => reader.next_chunk().await,
        }
    }

    /// Returns what the chunks so far contain.
    fn progress(&self) -> Progress {
        match self {
            Source::Opening { .. } => Progress::default(),
            Source::Open(download) => Progress {
                rows: download.rows_written(),
                bytes: download.bytes_written(),
                heartbeats: download.heartbeats(),
            },
            Source::Kept(reader) => reader.progress(),
            // Its rows are not counted: no query returned them.
            Source::Stored(reader) => Progress {
                rows: 0,
                bytes: reader.bytes_read(),
                heartbeats: 0,
            },
            Source::Archive(reader) => Progress {
                rows: reader.documents_read(),
                bytes: reader.bytes_read(),
                heartbeats: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests;
