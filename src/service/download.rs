//! A download: rows in, chunks of the file out.

use std::ops::Range;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::encoding::{Encoding, FileHash, Measure, SizeMax};
use super::errors::DownloadError;
use super::quota::QuotaPermit;
use crate::format::IntegrityLine;
use crate::source::SourceError;

/// A file that is being streamed. Dropping it cancels the query.
pub struct Download {
    encoding: Encoding,
    integrity_line: Option<IntegrityLine>,
    /// What the chunks of the file contain, whether they are returned or not.
    bytes_encoded: u64,
    bytes_written: u64,
    checked: Option<CheckedFile>,
    query_deadline: Instant,
    size_max: SizeMax,
    permit: QuotaPermit,
}

/// The limits a download runs under.
pub(super) struct DownloadLimits {
    pub(super) query_deadline: Instant,
    pub(super) size_max: SizeMax,
    pub(super) permit: QuotaPermit,
}

impl Download {
    /// Creates a download; `measure` is that of its file, if it was measured. Then only its bytes in `range` are returned.
    pub(super) fn new(
        encoding: Encoding,
        integrity_line: Option<IntegrityLine>,
        measure: Option<Measure>,
        range: Range<u64>,
        limits: DownloadLimits,
    ) -> Download {
        Download {
            encoding,
            integrity_line,
            bytes_encoded: 0,
            bytes_written: 0,
            checked: measure.map(|measure| CheckedFile {
                measure,
                range,
                hash: FileHash::default(),
                held: None,
                is_complete: false,
            }),
            query_deadline: limits.query_deadline,
            size_max: limits.size_max,
            permit: limits.permit,
        }
    }

    /// Tells whether all rows are in memory already: the file is then small.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.encoding.is_complete()
    }

    /// Returns the number of bytes that all chunks will have, if the file was measured.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let range = self.checked.as_ref().map(|checked| &checked.range);
        range.map(|range| range.end - range.start)
    }

    /// Tells whether all rows are encoded. There may still be chunks.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.encoding.is_finished()
    }

    /// Returns the number of rows in the chunks so far, and of those that an encoder still holds back.
    #[must_use]
    pub fn rows_written(&self) -> u64 {
        self.encoding.rows_written()
    }

    /// Returns the number of bytes in the chunks so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Returns the number of heartbeats in the chunks so far.
    #[must_use]
    pub fn heartbeats(&self) -> u64 {
        self.encoding.heartbeats()
    }

    /// Returns what counts the download, without its query, which is cancelled unless it has ended.
    #[must_use]
    pub fn into_permit(self) -> QuotaPermit {
        self.permit
    }

    /// Returns the next chunk of the file, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns [`DownloadError`] if the rows ended early, took too long, are too many, or do not fit the
    /// format. The bytes sent so far must then not look like a complete file.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        self.check_deadline()?;
        let chunk = match self.checked.is_some() {
            false => self.read().await?,
            true => self.read_checked().await?,
        };
        self.bytes_written += chunk.as_ref().map_or(0, Vec::len) as u64;
        Ok(chunk)
    }

    /// A ready chunk would be returned even after the deadline.
    fn check_deadline(&self) -> Result<(), DownloadError> {
        match Instant::now() >= self.query_deadline && !self.is_encoded() {
            true => Err(SourceError::TooSlow.into()),
            false => Ok(()),
        }
    }

    async fn read_checked(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        loop {
            if self.checked.as_ref().is_none_or(|it| it.is_complete) {
                return Ok(None);
            }
            let chunk = self.read().await?;
            let Some(checked) = &mut self.checked else {
                return Ok(chunk);
            };
            match chunk {
                Some(chunk) => {
                    if let Some(chunk) = checked.accept(chunk) {
                        return Ok(Some(chunk));
                    }
                }
                None => return checked.finish(),
            }
            // Rows that are skipped and always ready would starve other tasks and the deadline.
            yield_now().await;
            self.check_deadline()?;
        }
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        let next = timeout_at(self.query_deadline, self.encoding.next_chunk()).await;
        let chunk = match next.unwrap_or(Err(SourceError::TooSlow.into()))? {
            Some(chunk) => {
                self.integrity_line
                    .iter_mut()
                    .for_each(|it| it.update(&chunk));
                Some(chunk)
            }
            None => {
                let rows = self.rows_written();
                self.integrity_line.take().map(|line| line.finish(rows))
            }
        };
        self.bytes_encoded += chunk.as_ref().map_or(0, Vec::len) as u64;
        self.size_max
            .check(self.rows_written(), self.bytes_encoded)?;
        Ok(chunk)
    }
}

/// A file that must be the one that was measured.
struct CheckedFile {
    measure: Measure,
    /// The bytes to return.
    range: Range<u64>,
    hash: FileHash,
    /// With its last byte a client accepts the file as complete, so the last chunk waits until all bytes are checked.
    held: Option<Vec<u8>>,
    is_complete: bool,
}

impl CheckedFile {
    /// Takes the next chunk of the file; returns one that may be sent.
    fn accept(&mut self, mut chunk: Vec<u8>) -> Option<Vec<u8>> {
        let start = self.hash.bytes();
        self.hash.update(&chunk);
        let in_chunk = |offset: u64| offset.saturating_sub(start).min(chunk.len() as u64) as usize;
        let (first, end) = (in_chunk(self.range.start), in_chunk(self.range.end));
        chunk.truncate(end);
        chunk.drain(..first.min(end));
        match chunk.is_empty() {
            true => None,
            false => self.held.replace(chunk),
        }
    }

    /// Checks the file and returns its last chunk.
    ///
    /// # Errors
    /// Returns [`DownloadError::NotRepeatable`] if it is not the file that was measured.
    fn finish(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        self.is_complete = true;
        match std::mem::take(&mut self.hash).finish() == self.measure {
            true => Ok(self.held.take()),
            false => Err(DownloadError::NotRepeatable),
        }
    }
}
