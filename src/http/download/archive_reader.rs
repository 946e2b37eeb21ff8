//! An archive of stored documents, while it is sent to a client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::spawn;
use tokio_util::task::AbortOnDropHandle;

use super::object_reader::ObjectReader;
use super::outcome::StreamError;
use crate::service::{Document, DocumentError, FoundDocument, QuotaPermit, TooLarge};
use crate::store::{Store, StoreError};
use crate::zip::Archive;

/// How many small documents are read ahead, because each costs two requests to the store.
const READ_AHEAD: usize = 8;
/// The largest document that is read ahead, in bytes.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Reads documents, and frames them as an archive.
pub(in crate::http) struct ArchiveReader {
    archive: Archive,
    /// Finds and opens the documents in their order.
    opening: BoxStream<'static, Result<OpenDocument, StreamError>>,
    open: Option<OpenDocument>,
    is_finished: bool,
    /// The most bytes of the archive.
    bytes_max: u64,
    documents_read: u64,
    bytes_read: u64,
    _permit: QuotaPermit,
}

struct OpenDocument {
    name: String,
    bytes: u64,
    reader: ObjectReader,
    checksum: crc32fast::Hasher,
}

impl ArchiveReader {
    /// Returns a reader of an archive of at most `bytes_max` bytes.
    pub(in crate::http) fn new(
        store: Arc<Store>,
        documents: Vec<Document>,
        bytes_max: Option<u64>,
        permit: QuotaPermit,
    ) -> ArchiveReader {
        // A task reads on also while the client takes long for the document before.
        let find = move |document| {
            let found = AbortOnDropHandle::new(spawn(find(store.clone(), document)));
            async move {
                found
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Changed.into()))
            }
        };
        // Large ones are opened at their turn: a store does not wait long for a reader.
        let opening = stream::iter(documents)
            .map(find)
            .buffered(READ_AHEAD)
            .and_then(open);
        ArchiveReader {
            archive: Archive::default(),
            opening: opening.boxed(),
            open: None,
            is_finished: false,
            bytes_max: bytes_max.unwrap_or(u64::MAX),
            documents_read: 0,
            bytes_read: 0,
            _permit: permit,
        }
    }

    pub(super) fn documents_read(&self) -> u64 {
        self.documents_read
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Returns the next chunk, never empty, or `None` after the last. Dropping the future before it resolves loses nothing.
    ///
    /// # Errors
    /// Returns a [`StreamError`] if a document is missing, was changed or cannot be read, or the archive is too large.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let chunk = self.chunk().await?;
        self.bytes_read += chunk.as_ref().map_or(0, Vec::len) as u64;
        if self.bytes_read > self.bytes_max {
            return Err(DocumentError::from(TooLarge::Bytes(self.bytes_max)).into());
        }
        Ok(chunk)
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        if let Some(open) = &mut self.open {
            if let Some(chunk) = open.reader.next_chunk().await? {
                open.checksum.update(&chunk);
                return Ok(Some(chunk));
            }
            let checksum = open.checksum.clone().finalize();
            self.open = None;
            self.documents_read += 1;
            return Ok(Some(self.archive.end(checksum)));
        }
        if self.is_finished {
            return Ok(None);
        }
        match self.opening.next().await.transpose()? {
            Some(document) => {
                let header = self.archive.begin(&document.name, document.bytes);
                self.open = Some(document);
                Ok(Some(header))
            }
            None => {
                self.is_finished = true;
                Ok(Some(self.archive.finish()))
            }
        }
    }
}

/// A document that was found, and its content if it is small.
type Found = (FoundDocument, Option<Bytes>);

async fn find(store: Arc<Store>, document: Document) -> Result<Found, StreamError> {
    let found = FoundDocument::find(store, document).await?;
    if found.bytes() > SMALL_BYTES_MAX {
        return Ok((found, None));
    }
    let mut chunks = found.read(0..found.bytes()).await?;
    let mut content = Vec::with_capacity(found.bytes() as usize);
    while let Some(chunk) = chunks.try_next().await? {
        content.extend_from_slice(&chunk);
    }
    Ok((found, Some(content.into())))
}

async fn open((found, content): Found) -> Result<OpenDocument, StreamError> {
    let bytes = found.bytes();
    let chunks = match content {
        Some(content) => stream::iter([Ok(content)]).boxed(),
        None => found.read(0..bytes).await?,
    };
    let reader = ObjectReader::new(chunks, bytes, None);
    let document = found.document;
    Ok(OpenDocument {
        bytes,
        reader: reader.with_sha256(&document.object, document.sha256),
        name: document.file_name.to_string(),
        checksum: crc32fast::Hasher::new(),
    })
}
