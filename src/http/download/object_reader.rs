//! Bytes of an object in the store, while they are sent to a client.

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::outcome::StreamError;
use crate::service::{DocumentError, QuotaPermit};
use crate::store::{ObjectBytes, StoreError};

/// Reads a part of an object.
pub(in crate::http) struct ObjectReader {
    chunks: ObjectBytes,
    bytes_left: u64,
    bytes_read: u64,
    expected: Option<ExpectedHash>,
    _permit: Option<QuotaPermit>,
}

/// The hash that the bytes must have.
struct ExpectedHash {
    object: String,
    hasher: Sha256,
    sha256: [u8; 32],
}

impl ObjectReader {
    /// Returns a reader of so many bytes.
    pub(in crate::http) fn new(
        chunks: ObjectBytes,
        bytes: u64,
        permit: Option<QuotaPermit>,
    ) -> ObjectReader {
        ObjectReader {
            chunks,
            bytes_left: bytes,
            bytes_read: 0,
            expected: None,
            _permit: permit,
        }
    }

    /// Lets it fail before its last chunk if the bytes of this object have another hash.
    #[must_use]
    pub(in crate::http) fn with_sha256(
        mut self,
        object: &str,
        sha256: Option<[u8; 32]>,
    ) -> ObjectReader {
        self.expected = sha256.map(|sha256| ExpectedHash {
            object: object.to_owned(),
            hasher: Sha256::new(),
            sha256,
        });
        self
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Returns the next chunk, never empty, or `None` after the last.
    ///
    /// # Errors
    /// Returns a [`StreamError`] if the store failed, or the object does not have the length that the store has reported, or
    /// another hash than is expected.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        while let Some(chunk) = self.chunks.next().await {
            let chunk = chunk?;
            let left = self.bytes_left.checked_sub(chunk.len() as u64);
            self.bytes_left = left.ok_or(StoreError::Changed)?;
            self.bytes_read += chunk.len() as u64;
            self.check_hash(&chunk)?;
            if !chunk.is_empty() {
                return Ok(Some(chunk.into()));
            }
        }
        match self.bytes_left {
            0 => Ok(None),
            _ => Err(StoreError::Changed.into()),
        }
    }

    fn check_hash(&mut self, chunk: &[u8]) -> Result<(), DocumentError> {
        let Some(expected) = &mut self.expected else {
            return Ok(());
        };
        expected.hasher.update(chunk);
        let is_last = self.bytes_left == 0 && !chunk.is_empty();
        if is_last && expected.hasher.finalize_reset() != expected.sha256 {
            let object = expected.object.clone();
            return Err(DocumentError::WrongHash { object });
        }
        Ok(())
    }
}
