//! A running download: rows in, chunks of the file out.

use indexmap::IndexMap;
use tokio::time::{Instant, timeout_at};

use crate::encode::{CsvEncoder, Encoder};
use crate::format::CsvOptions;
use crate::source::{RowStream, SourceError};

/// A chunk that is longer than this is no reason to make the next one as long: one huge cell must
/// not keep its memory for the rest of the download.
const CHUNK_BYTES_FORESEEN: usize = 256 * 1024;

/// A file on its way. Dropping it cancels the query.
pub struct Download {
    rows: RowStream,
    deadline: Instant,
    encoder: Box<dyn Encoder>,
    begun: bool,
    /// What the next chunk will need, as far as the last one tells.
    chunk_bytes: usize,
    rows_written: u64,
    bytes_written: u64,
}

impl Download {
    pub(super) fn csv(
        rows: RowStream,
        deadline: Instant,
        options: CsvOptions,
        labels: IndexMap<String, String>,
    ) -> Download {
        Download {
            rows,
            deadline,
            encoder: Box::new(CsvEncoder::new(options, labels)),
            begun: false,
            chunk_bytes: 0,
            rows_written: 0,
            bytes_written: 0,
        }
    }

    /// Whether every row is here already: the whole file is then in the chunks to come, and small.
    pub fn is_complete(&self) -> bool {
        self.rows.is_complete()
    }

    /// How many rows the chunks so far hold.
    pub fn rows_written(&self) -> u64 {
        self.rows_written
    }

    /// How many bytes the chunks so far hold.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// The next piece of the file, never empty, or `None` once the file is whole.
    ///
    /// # Errors
    /// The rows ended early, or took too long. What was sent so far must not look like a whole file.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let mut chunk = Vec::with_capacity(self.chunk_bytes);
        while chunk.is_empty() {
            if !self.begun {
                self.encoder.begin(self.rows.columns(), &mut chunk);
                self.begun = true;
            }
            // Rows that are ready would be taken however late it is.
            if Instant::now() >= self.deadline {
                return Err(SourceError::TooSlow);
            }
            let next = timeout_at(self.deadline, self.rows.next()).await;
            let Some(batch) = next.unwrap_or(Err(SourceError::TooSlow))? else {
                break;
            };
            self.encoder.rows(&batch, &mut chunk);
            self.rows_written += batch.rows() as u64;
            self.rows.recycle(batch);
        }
        self.chunk_bytes = chunk.len().min(CHUNK_BYTES_FORESEEN);
        self.bytes_written += chunk.len() as u64;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}
