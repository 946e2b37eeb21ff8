//! A running download: rows in, chunks of the file out.

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::OpenError;
use super::options::Output;
use super::packed::EncoderThread;
use super::quota::QuotaPermit;
use crate::encode::{CsvEncoder, EncodeError, Encoder, NdjsonEncoder};
use crate::format::Format;
use crate::integrity_line::IntegrityLine;
use crate::source::{RowStream, SourceError};
use rowlink_link::Conditions;

/// A chunk that is longer than this is no reason to make the next one as long: one huge cell must
/// not keep its memory for the rest of the download.
const CHUNK_BYTES_FORESEEN: usize = 256 * 1024;

/// A file on its way. Dropping it cancels the query.
pub struct Download {
    file: File,
    running: Running,
    bytes_written: u64,
    length: Option<u64>,
}

/// What a download runs under.
pub(super) struct Running {
    pub(super) deadline: Instant,
    /// Its place, which is free again once it has ended.
    pub(super) _slot: QuotaPermit,
    pub(super) size_max: SizeMax,
}

/// How large its link allows a file to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeMax {
    rows: u64,
    bytes: u64,
}

/// A file is larger than its link allows. It is never cut to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// In rows.
    #[error("the file has more than the {0} rows that its link allows")]
    Rows(u64),
    /// In bytes.
    #[error("the file has more than the {0} bytes that its link allows")]
    Bytes(u64),
}

impl SizeMax {
    pub(super) fn of(conditions: &Conditions) -> SizeMax {
        SizeMax {
            rows: conditions.rows_max.unwrap_or(u64::MAX),
            bytes: conditions.bytes_max.unwrap_or(u64::MAX),
        }
    }

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

enum File {
    Text(Box<TextFile>),
    EncoderThread(EncoderThread),
}

/// Why a file ends before it is whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The rows ended early, or took too long.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The format cannot hold one of them.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There are more of them than the link allows.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The same query gave other rows when it was read again.
    #[error(
        "the rows were others at the second reading: the query depends on more than its values"
    )]
    NotRepeatable,
}

impl Download {
    /// A file of text, of that many bytes where that is known.
    pub(super) fn text(file: TextFile, length: Option<u64>, running: Running) -> Download {
        let download = Download::new(File::Text(Box::new(file)), running);
        Download { length, ..download }
    }

    pub(super) fn packed(packed: EncoderThread, running: Running) -> Download {
        Download::new(File::EncoderThread(packed), running)
    }

    fn new(file: File, running: Running) -> Download {
        Download {
            file,
            running,
            bytes_written: 0,
            length: None,
        }
    }

    /// Whether every row is here already: the whole file is then in the chunks to come, and small.
    pub fn is_complete(&self) -> bool {
        match &self.file {
            File::Text(file) => file.rows.is_complete(),
            File::EncoderThread(file) => file.is_complete(),
        }
    }

    /// How many bytes the file has, where that was found out.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// When it must have ended.
    pub fn deadline(&self) -> Instant {
        self.running.deadline
    }

    /// How many rows the chunks so far hold.
    pub fn rows_written(&self) -> u64 {
        match &self.file {
            File::Text(file) => file.rows_written,
            File::EncoderThread(file) => file.rows_written(),
        }
    }

    /// How many bytes the chunks so far hold.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// The next piece of the file, never empty, or `None` once the file is whole.
    ///
    /// # Errors
    /// The rows ended early, took too long, are too many, or do not fit into the format. What was sent so far must
    /// not look like a whole file.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        // What is ready would be taken however late it is.
        if Instant::now() >= self.running.deadline {
            return Err(SourceError::TooSlow.into());
        }
        let chunk = self.read().await?;
        let Some(length) = self.length else {
            return Ok(chunk);
        };
        // With its last byte a client takes the file for whole. So it must be, before that byte is sent.
        let is_as_long = match &chunk {
            Some(_) if self.bytes_written == length => self.read().await?.is_none(),
            Some(_) => self.bytes_written < length,
            None => self.bytes_written == length,
        };
        if is_as_long {
            Ok(chunk)
        } else {
            Err(DownloadError::NotRepeatable)
        }
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        let next = async {
            match &mut self.file {
                File::Text(file) => Ok(file.next_chunk().await?),
                File::EncoderThread(file) => file.next_chunk().await,
            }
        };
        let next = timeout_at(self.running.deadline, next).await;
        let chunk = next.unwrap_or(Err(SourceError::TooSlow.into()))?;
        self.bytes_written += chunk.as_ref().map_or(0, Vec::len) as u64;
        let size_max = self.running.size_max;
        size_max.check(self.rows_written(), self.bytes_written)?;
        Ok(chunk)
    }
}

/// A format that is written as the rows come.
pub(super) struct TextFile {
    rows: RowStream,
    encoder: Box<dyn Encoder>,
    begun: bool,
    /// What the next chunk will need, as far as the last one tells.
    chunk_bytes: usize,
    rows_written: u64,
    end_line: Option<IntegrityLine>,
}

impl TextFile {
    pub(super) fn new(rows: RowStream, format: Format, output: Output) -> TextFile {
        let encoder: Box<dyn Encoder> = match format {
            Format::Ndjson => Box::new(NdjsonEncoder::new(output.ndjson, output.time_zone)),
            // The rows of the others are only counted here.
            Format::Csv | Format::Xlsx | Format::Parquet => {
                let labels = output.export.labels.clone();
                let encoder = CsvEncoder::new(output.csv, labels, output.time_zone);
                Box::new(encoder)
            }
        };
        TextFile {
            rows,
            encoder,
            begun: false,
            chunk_bytes: 0,
            rows_written: 0,
            end_line: output.end_line.then(|| IntegrityLine::new(format)),
        }
    }

    pub(super) fn rows_written(&self) -> u64 {
        self.rows_written
    }

    /// Reads to the end; returns how many bytes that was, and the rows for the second reading.
    pub(super) async fn measure(
        mut self,
        size_max: SizeMax,
    ) -> Result<(u64, RowStream), OpenError> {
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk().await? {
            bytes += chunk.len() as u64;
            size_max.check(self.rows_written, bytes)?;
            // Rows that are always ready would let nobody else have a turn, nor see that the time is up.
            yield_now().await;
        }
        Ok((bytes, self.rows.again().await?))
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let mut chunk = Vec::with_capacity(self.chunk_bytes);
        while chunk.is_empty() {
            if !self.begun {
                self.encoder.begin(self.rows.columns(), &mut chunk);
                self.begun = true;
            }
            let Some(batch) = self.rows.next().await? else {
                break;
            };
            self.encoder.rows(&batch, &mut chunk);
            self.rows_written += batch.rows() as u64;
            self.rows.recycle(batch);
        }
        if !chunk.is_empty() {
            self.end_line.iter_mut().for_each(|it| it.update(&chunk));
        } else if let Some(end_line) = self.end_line.take() {
            chunk = end_line.finish(self.rows_written);
        }
        self.chunk_bytes = chunk.len().min(CHUNK_BYTES_FORESEEN);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}
