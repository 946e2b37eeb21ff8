//! Uploads an object of unknown length.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    UploadPart,
};
use tokio::task::JoinHandle;

use super::StoreError;

/// The size of a part in bytes. S3 needs at least 5 MiB, and some compatible stores need parts of one size.
pub const PART_BYTES: usize = 8 << 20;
/// The most parts of an object in S3.
const PARTS_MAX: usize = 10_000;

/// An upload in progress. The object appears under its name when it is complete, and not before. Dropping it leaves
/// parts in the store: use [`abort`](Upload::abort).
pub struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    attributes: Attributes,
    /// The chunks of the next part.
    chunks: Vec<Bytes>,
    bytes: usize,
    /// `None` until there is more than one part.
    parts: Option<Parts>,
    /// The request that creates an upload of parts. In a task, so that its answer is never lost.
    creating: Option<JoinHandle<object_store::Result<Box<dyn MultipartUpload>>>>,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    begun: usize,
    /// The part that is being sent while the next one is filled.
    sending: Option<JoinHandle<object_store::Result<()>>>,
}

impl Upload {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, path: Path, attributes: Attributes) -> Upload {
        Upload {
            objects,
            path,
            attributes,
            chunks: Vec::new(),
            bytes: 0,
            parts: None,
            creating: None,
        }
    }

    /// Appends a chunk. Waits while two parts are in memory.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a part was not accepted, or there are too many.
    pub async fn append(&mut self, chunk: Vec<u8>) -> Result<(), StoreError> {
        let mut chunk = Bytes::from(chunk);
        while self.bytes + chunk.len() >= PART_BYTES {
            let rest = chunk.split_off(PART_BYTES - self.bytes);
            self.chunks.push(mem::replace(&mut chunk, rest));
            self.bytes = 0;
            let part = mem::take(&mut self.chunks).into_iter().collect();
            self.send(part).await?;
        }
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// Uploads an object whose content is in memory.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the store did not confirm it.
    pub async fn whole(&mut self, content: Vec<u8>) -> Result<(), StoreError> {
        self.append(content).await?;
        self.complete().await
    }

    /// Ends the object, which appears under its name.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the store did not confirm it.
    pub async fn complete(&mut self) -> Result<(), StoreError> {
        let rest: PutPayload = mem::take(&mut self.chunks).into_iter().collect();
        if self.parts.is_none() {
            let options = PutOptions {
                attributes: self.attributes.clone(),
                ..PutOptions::default()
            };
            self.objects.put_opts(&self.path, rest, options).await?;
            return Ok(());
        }
        if self.bytes > 0 {
            self.send(rest).await?;
        }
        let parts = self.parts.as_mut().expect("checked above");
        parts.wait().await?;
        parts.upload.complete().await?;
        Ok(())
    }

    /// Removes the parts from the store.
    ///
    /// # Errors
    /// Returns [`StoreError`] if they are still there. Then only a lifecycle rule of the bucket removes them.
    pub async fn abort(mut self) -> Result<(), StoreError> {
        if self.creating.is_some() {
            self.created().await?;
        }
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        if let Some(sending) = parts.sending.take() {
            sending.abort();
        }
        Ok(parts.upload.abort().await?)
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), StoreError> {
        if self.parts.is_none() {
            let options = PutMultipartOptions {
                attributes: self.attributes.clone(),
                ..PutMultipartOptions::default()
            };
            let (objects, path) = (self.objects.clone(), self.path.clone());
            let created = async move { objects.put_multipart_opts(&path, options).await };
            self.creating = Some(tokio::spawn(created));
            self.created().await?;
        }
        let parts = self.parts.as_mut().expect("created above");
        parts.begin(part).await
    }

    /// Waits until the upload of parts is created.
    async fn created(&mut self) -> Result<(), StoreError> {
        if let Some(creating) = &mut self.creating {
            let created = creating.await;
            self.creating = None;
            self.parts = Some(Parts {
                upload: created.map_err(object_store::Error::from)??,
                begun: 0,
                sending: None,
            });
        }
        Ok(())
    }
}

impl Parts {
    async fn begin(&mut self, part: PutPayload) -> Result<(), StoreError> {
        self.wait().await?;
        if self.begun == PARTS_MAX {
            return Err(StoreError::TooLarge);
        }
        self.begun += 1;
        let sent: UploadPart = self.upload.put_part(part);
        self.sending = Some(tokio::spawn(sent));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        if let Some(sending) = &mut self.sending {
            let sent = sending.await;
            self.sending = None;
            sent.map_err(object_store::Error::from)??;
        }
        Ok(())
    }
}
