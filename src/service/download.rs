//! A download: rows in, chunks of the file out.

use tokio::time::{Instant, timeout_at};

use super::encoding::{Encoding, SizeMax};
use super::errors::DownloadError;
use super::quota::QuotaPermit;
use crate::format::IntegrityLine;
use crate::source::SourceError;

/// A file that is being streamed. Dropping it cancels the query.
pub struct Download {
    encoding: Encoding,
    integrity_line: Option<IntegrityLine>,
    bytes_written: u64,
    length: Option<u64>,
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
    /// Creates a download; `length` is the exact length of the file in bytes, if it was measured.
    pub(super) fn new(
        encoding: Encoding,
        integrity_line: Option<IntegrityLine>,
        length: Option<u64>,
        limits: DownloadLimits,
    ) -> Download {
        Download {
            encoding,
            integrity_line,
            bytes_written: 0,
            length,
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

    /// Returns the length of the file in bytes, if it was measured.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
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
        // A ready chunk would be returned even after the deadline.
        if Instant::now() >= self.query_deadline && !self.encoding.is_finished() {
            return Err(SourceError::TooSlow.into());
        }
        let chunk = self.read().await?;
        let Some(length) = self.length else {
            return Ok(chunk);
        };
        // With the last byte a client accepts the file as complete, so the end is checked before it.
        let length_fits = match &chunk {
            Some(_) if self.bytes_written == length => self.read().await?.is_none(),
            Some(_) => self.bytes_written < length,
            None => self.bytes_written == length,
        };
        if length_fits {
            Ok(chunk)
        } else {
            Err(DownloadError::NotRepeatable)
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
        self.bytes_written += chunk.as_ref().map_or(0, Vec::len) as u64;
        self.size_max
            .check(self.rows_written(), self.bytes_written)?;
        Ok(chunk)
    }
}
