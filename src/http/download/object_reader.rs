//! Bytes of an object in the store, on their way to a client.

use futures_util::StreamExt as _;

use super::outcome::StreamError;
use crate::service::QuotaPermit;
use crate::store::{ObjectBytes, StoreError};

/// Reads a part of an object.
pub(in crate::http) struct ObjectReader {
    chunks: ObjectBytes,
    bytes_left: u64,
    bytes_read: u64,
    _permit: QuotaPermit,
}

impl ObjectReader {
    /// Returns a reader of so many bytes.
    pub(in crate::http) fn new(
        chunks: ObjectBytes,
        bytes: u64,
        permit: QuotaPermit,
    ) -> ObjectReader {
        ObjectReader {
            chunks,
            bytes_left: bytes,
            bytes_read: 0,
            _permit: permit,
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Returns the next chunk, never empty, or `None` after the last.
    ///
    /// # Errors
    /// Returns a [`StreamError`] if the store failed, or the object does not have the length that the store has told.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        while let Some(chunk) = self.chunks.next().await {
            let chunk = chunk?;
            let left = self.bytes_left.checked_sub(chunk.len() as u64);
            self.bytes_left = left.ok_or(StoreError::Changed)?;
            self.bytes_read += chunk.len() as u64;
            if !chunk.is_empty() {
                return Ok(Some(chunk.into()));
            }
        }
        match self.bytes_left {
            0 => Ok(None),
            _ => Err(StoreError::Changed.into()),
        }
    }
}
