//! Rows become chunks of a file, in the task that reads them or on a thread of its own.

use std::num::NonZeroU64;

use rowlink_link::Conditions;
use sha2::{Digest as _, Sha256};
use tokio::task::yield_now;

use super::encoder_thread::{EncoderThread, Pauses};
use super::errors::{DownloadError, TooLarge};
use crate::catalog::ExportLimits;
use crate::format::{Encoder, IntegrityLine};
use crate::source::{RowStream, Rows, SourceError};

/// The capacity kept for the next chunk: one huge cell must not keep its memory for the whole download.
const CHUNK_BYTES_KEPT: usize = 256 * 1024;

/// A file that is being encoded. Dropping it cancels the query.
pub(super) enum Encoding {
    Inline(InlineEncoding),
    Thread(EncoderThread),
}

impl Encoding {
    /// Starts encoding; `encoder` has not begun yet.
    ///
    /// # Errors
    /// Returns the [`DownloadError::Encode`] of the encoder, also if the system has no thread left.
    pub(super) fn start(
        rows: RowStream,
        encoder: Box<dyn Encoder>,
        pauses: Pauses,
    ) -> Result<Encoding, DownloadError> {
        if encoder.wants_thread() {
            let thread = EncoderThread::start(rows, encoder, pauses);
            Ok(Encoding::Thread(thread?))
        } else {
            Ok(Encoding::Inline(InlineEncoding::start(rows, encoder)?))
        }
    }

    /// Tells whether all rows are in memory already: the file is then small.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Encoding::Inline(inline) => inline.rows.is_complete(),
            Encoding::Thread(thread) => thread.is_complete(),
        }
    }

    /// Tells whether the last chunk was returned.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Encoding::Inline(inline) => inline.is_finished,
            Encoding::Thread(thread) => thread.is_finished(),
        }
    }

    /// Returns the number of rows that the encoder has got, some of which it may still hold back.
    pub(super) fn rows_written(&self) -> u64 {
        match self {
            Encoding::Inline(inline) => inline.rows_written,
            Encoding::Thread(thread) => thread.rows_written(),
        }
    }

    /// Returns the number of the format's own heartbeats so far.
    pub(super) fn heartbeats(&self) -> u64 {
        match self {
            Encoding::Inline(_) => 0,
            Encoding::Thread(thread) => thread.heartbeats(),
        }
    }

    /// Encodes to the end without keeping the file; returns its length and hash, the number of its rows, and the rows for
    /// the second pass.
    ///
    /// # Errors
    /// Returns the error of the query or the encoder, or [`TooLarge`].
    pub(super) async fn measure(
        mut self,
        mut line: Option<IntegrityLine>,
        size_max: SizeMax,
    ) -> Result<(Measure, u64, RowStream), DownloadError> {
        let mut hash = FileHash::default();
        while let Some(chunk) = self.next_chunk().await? {
            line.iter_mut().for_each(|line| line.update(&chunk));
            hash.update(&chunk);
            size_max.check(self.rows_written(), hash.bytes)?;
            // Rows that are always ready would starve other tasks and the deadline.
            yield_now().await;
        }
        if let Some(line) = line {
            hash.update(&line.finish(self.rows_written()));
        }
        let measure = hash.finish();
        let row_count = self.rows_written();
        size_max.check(row_count, measure.bytes)?;
        let rows = match self {
            Encoding::Inline(inline) => Some(inline.rows),
            Encoding::Thread(thread) => thread.into_rows(),
        };
        let rows = rows.ok_or(SourceError::Truncated)?;
        Ok((measure, row_count, rows.again().await?))
    }

    /// Returns the next chunk, never empty, or `None` after the last.
    ///
    /// # Errors
    /// Returns the error of the query or the encoder.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        match self {
            Encoding::Inline(inline) => inline.next_chunk().await,
            Encoding::Thread(thread) => thread.next_chunk().await,
        }
    }
}

/// The length and the SHA-256 hash of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// In bytes, before content coding.
    pub bytes: u64,
    /// The hash.
    pub sha256: [u8; 32],
}

/// Measures a file chunk by chunk.
#[derive(Default)]
pub(super) struct FileHash {
    bytes: u64,
    sha256: Sha256,
}

impl FileHash {
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.sha256.update(chunk);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(self) -> Measure {
        Measure {
            bytes: self.bytes,
            sha256: self.sha256.finalize().into(),
        }
    }
}

/// Encodes rows in the task that reads the chunks.
pub(super) struct InlineEncoding {
    rows: RowStream,
    encoder: Box<dyn Encoder>,
    /// The start of the file, until the first chunk takes it.
    chunk: Vec<u8>,
    /// The expected length of the next chunk.
    chunk_bytes: usize,
    rows_written: u64,
    is_finished: bool,
}

impl InlineEncoding {
    pub(super) fn start(
        rows: RowStream,
        mut encoder: Box<dyn Encoder>,
    ) -> Result<InlineEncoding, DownloadError> {
        let mut chunk = Vec::new();
        encoder.begin(&mut chunk)?;
        Ok(InlineEncoding {
            rows,
            encoder,
            chunk,
            chunk_bytes: 0,
            rows_written: 0,
            is_finished: false,
        })
    }

    pub(super) fn rows_written(&self) -> u64 {
        self.rows_written
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        loop {
            self.chunk.reserve(self.chunk_bytes);
            match self.rows.next().await? {
                Some(Rows::Batch(batch)) => {
                    self.encoder.rows(&batch, &mut self.chunk)?;
                    self.rows_written += batch.rows() as u64;
                    self.rows.recycle(batch);
                }
                Some(Rows::NextStatement(columns)) => {
                    self.encoder.next_statement(&columns, &mut self.chunk)?;
                }
                None if self.is_finished => return Ok(None),
                None => {
                    self.encoder.finish(&mut self.chunk)?;
                    self.is_finished = true;
                }
            }
            if !self.chunk.is_empty() {
                self.chunk_bytes = self.chunk.len().min(CHUNK_BYTES_KEPT);
                return Ok(Some(std::mem::take(&mut self.chunk)));
            }
        }
    }
}

/// The largest file that a link and its export allow.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeMax {
    rows: u64,
    bytes: u64,
}

impl SizeMax {
    pub(super) fn of(conditions: &Conditions, limits: &ExportLimits) -> SizeMax {
        let least = |of_link: Option<u64>, of_export: Option<NonZeroU64>| {
            let limits = [of_link, of_export.map(NonZeroU64::get)];
            limits.into_iter().flatten().min().unwrap_or(u64::MAX)
        };
        SizeMax {
            rows: least(conditions.rows_max, limits.max_rows),
            bytes: least(conditions.bytes_max, limits.max_bytes),
        }
    }

    /// Checks a file's size so far.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if it exceeds the limit.
    pub(super) fn check(&self, rows: u64, bytes: u64) -> Result<(), TooLarge> {
        if rows > self.rows {
            return Err(TooLarge::Rows(self.rows));
        }
        if bytes > self.bytes {
            return Err(TooLarge::Bytes(self.bytes));
        }
        Ok(())
    }
}
