//! Stored documents: an export whose rows name objects in a store.

mod document;
mod prepare;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::errors::{OpenError, TooLarge};
use crate::store::{MediaHeaders, ObjectBytes, ObjectHead, Store, StoreError};

pub use document::Document;
pub use prepare::{Documents, PreparedDocuments};

/// The media type of an archive.
pub const ZIP_MEDIA_TYPE: &str = "application/zip";

/// The media type of a document whose row has none.
pub(super) const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// Why documents were not sent.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The query has failed, or a limit was reached.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A row is no document.
    #[error("row {row}: {message}")]
    Row {
        /// From 1.
        row: usize,
        /// What was expected.
        message: String,
    },
    /// There is no row, or its object does not exist.
    #[error("no file was found")]
    Missing {
        /// The object, if a row names it. Only for the log.
        object: Option<String>,
    },
    /// There are several rows, but only one is a file.
    #[error("several files match; choose one by the filters")]
    Several,
    /// The object has another size than its row says.
    #[error("the object `{object}` has {found} bytes, but its row says {expected}")]
    WrongSize {
        /// The object.
        object: String,
        /// Of the row.
        expected: u64,
        /// Of the object.
        found: u64,
    },
    /// The object has another hash than its row says.
    #[error("the object `{object}` does not have the hash that its row says")]
    WrongHash {
        /// The object.
        object: String,
    },
    /// The store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TooLarge> for DocumentError {
    fn from(error: TooLarge) -> DocumentError {
        DocumentError::Open(OpenError::Download(error.into()))
    }
}

/// A document that exists.
pub struct FoundDocument {
    /// What its row says.
    pub document: Document,
    head: ObjectHead,
    store: Arc<Store>,
}

impl FoundDocument {
    /// Finds the object of a document in its store.
    ///
    /// # Errors
    /// Returns [`DocumentError::Missing`] or [`DocumentError::WrongSize`], or [`DocumentError::Store`] if the request fails.
    pub async fn find(
        store: Arc<Store>,
        document: Document,
    ) -> Result<FoundDocument, DocumentError> {
        let head = store.head(&document.object).await?;
        let Some(head) = head else {
            let object = Some(document.object);
            return Err(DocumentError::Missing { object });
        };
        let found = head.bytes;
        // No chunk of it would ever be compared.
        let is_of_nothing = |hash: &[u8; 32]| *hash == <[u8; 32]>::from(Sha256::digest(b""));
        if found == 0 && !document.sha256.as_ref().is_none_or(is_of_nothing) {
            let object = document.object;
            return Err(DocumentError::WrongHash { object });
        }
        match document.bytes.filter(|expected| *expected != found) {
            Some(expected) => Err(DocumentError::WrongSize {
                object: document.object,
                expected,
                found,
            }),
            None => Ok(FoundDocument {
                document,
                head,
                store,
            }),
        }
    }

    /// Returns its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.head.bytes
    }

    /// Returns what identifies this version of the object.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        let FoundDocument { document, head, .. } = self;
        let e_tag = head.e_tag.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{e_tag}", document.object, head.bytes);
        Sha256::digest(text).into()
    }

    /// Tells whether a client has begun this object at the store: its entity tags have the store's.
    #[must_use]
    pub fn has_store_tag(&self, entity_tags: &str) -> bool {
        self.head.has_tag(entity_tags)
    }

    /// Starts to read a part of it, unless the object has changed.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it cannot be read; its stream returns the same errors.
    pub async fn read(&self, range: Range<u64>) -> Result<ObjectBytes, StoreError> {
        self.store
            .read(&self.document.object, &self.head, range)
            .await
    }

    /// Returns a URL by which anyone can read it for this long; `None` if the store signs none with a type and a name.
    ///
    /// # Errors
    /// Returns [`StoreError`] if there are no credentials.
    pub async fn presigned_url(
        &self,
        headers: &MediaHeaders,
        lifetime: Duration,
        parameters: &[(&str, &str)],
    ) -> Result<Option<String>, StoreError> {
        // Otherwise the object has the type and the name with which another program has uploaded it.
        if !self.store.signs_overrides() {
            return Ok(None);
        }
        let object = &self.document.object;
        self.store
            .presigned_url(object, headers, lifetime, parameters)
            .await
    }
}
