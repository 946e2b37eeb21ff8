//! The files of links in the store.
//!
//! A file's name is derived from all that the request decides about its bytes, so any server finds it, and there is no table. Under that
//! name is only its record, which names the object with the bytes: an object is never replaced, because browsers continue
//! a download at the store, and some stores ignore the condition under which they may. A file is served only to a link that
//! was verified.

mod claim;
mod found_files;
mod record;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rowlink_link::Link;

use super::export_service::ExportService;
use super::open::PreparedDownload;
use super::options::Storing;
use crate::store::{MediaHeaders, ObjectBytes, ObjectHead, Store, StoreError, Upload};

pub use claim::{Claim, ClaimState, PreparedSoFar, REFRESH_SECONDS};
pub(super) use found_files::FoundFiles;
pub use record::FileRecord;

/// The longest time that a presigned URL works.
pub(super) const PRESIGNED_MAX: Duration = Duration::from_secs(3600);

/// The file of a link, which may be stored already.
#[derive(Clone)]
pub struct StoredFile {
    store: Arc<Store>,
    found_files: Arc<FoundFiles>,
    /// The name for a new file, then the one of the reuse window before, unless the first one is known to be there.
    names: Vec<String>,
    extension: &'static str,
    headers: MediaHeaders,
    storing: Storing,
    /// When the link was issued, in Unix seconds.
    issued: u64,
    reuse_seconds: u64,
    redirects: bool,
    /// Browsers continue at the store, so its URL works as long as a download may take.
    presigned_for: Duration,
}

/// A complete file in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    name: String,
    head: ObjectHead,
    /// What its server has recorded about it.
    pub record: FileRecord,
}

impl FoundFile {
    /// Tells whether one of these entity tags, separated by commas, is that of the store.
    #[must_use]
    pub fn has_store_tag(&self, entity_tags: &str) -> bool {
        self.head.has_tag(entity_tags)
    }
}

impl ExportService {
    /// Tells whether the file of a download may be in the store.
    #[must_use]
    pub fn may_be_stored(&self, prepared: &PreparedDownload) -> bool {
        self.has_store() && prepared.output.storing != Storing::Never
    }

    /// Returns the stored file of a download, if there is a store and the export uses it. Browsers get its
    /// `content_disposition` with it.
    #[must_use]
    pub fn stored_file(
        &self,
        prepared: &PreparedDownload,
        content_disposition: String,
    ) -> Option<StoredFile> {
        let store = self.store.clone()?;
        let storing = prepared.output.storing;
        if storing == Storing::Never {
            return None;
        }
        let settings = prepared.served.export().store;
        let link = prepared.link.link();
        let keyring = self.keyring.load();
        let mut names = Vec::new();
        for window in windows(link, settings.reuse_seconds) {
            let content = content_of_name(prepared, &window);
            let name = hex::encode(prepared.link.object_name(&keyring, &content)?);
            let is_known = self.found_files.get(&name).is_some();
            names.push(name);
            // Most redirects end here, and need no other name.
            if is_known {
                break;
            }
        }
        Some(StoredFile {
            store,
            found_files: self.found_files.clone(),
            names,
            extension: prepared.format.extension(),
            headers: MediaHeaders {
                content_type: prepared.content_type.to_owned(),
                content_disposition,
            },
            storing,
            issued: link.issued,
            reuse_seconds: settings.reuse_seconds,
            redirects: settings.redirect && link.conditions.may_redirect(),
            presigned_for: self
                .download_max(prepared.query.export())
                .min(PRESIGNED_MAX),
        })
    }
}

/// Returns the reuse window of a link and the one before, or only the link's id if files are not reused.
fn windows(link: &Link, reuse_seconds: u64) -> Vec<String> {
    match link.issued.checked_div(reuse_seconds) {
        None => vec![link.id.to_string()],
        Some(window) => vec![window.to_string(), window.saturating_sub(1).to_string()],
    }
}

/// Returns all that the request, the export and this version decide about the bytes of a file, and whether there is one.
fn content_of_name(prepared: &PreparedDownload, window: &str) -> String {
    let link = prepared.link.link();
    let mut filters = link.filters.clone();
    // The values of a list keep their order: the query may depend on it.
    filters.sort_by(|one, other| one.0.cmp(&other.0));
    let options = link.options.iter();
    let options: Vec<_> = options.filter(|(name, _)| *name != "delivery").collect();
    let mut reveal = link.reveal.clone();
    reveal.sort();
    let content = (
        &prepared.served.definition,
        window,
        &link.export,
        &link.format,
        link.user.as_str(),
        &link.claims,
        filters,
        options,
        reveal,
        // Some stores cannot change the name that an object was uploaded with.
        &prepared.filename,
        link.conditions.rows_max,
        link.conditions.bytes_max,
    );
    serde_json::to_string(&content).expect("a link has no map with other keys than texts")
}

impl StoredFile {
    /// Returns the name that a new file gets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    /// Returns the size in bytes above which the file is stored.
    #[must_use]
    pub fn above(&self) -> Option<u64> {
        match self.storing {
            Storing::Above(bytes) => Some(bytes),
            Storing::Always | Storing::Never => None,
        }
    }

    /// Returns it as one that is stored whatever its size.
    #[must_use]
    pub fn always(self) -> StoredFile {
        StoredFile {
            storing: Storing::Always,
            ..self
        }
    }

    /// Returns the complete file, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a request fails.
    pub async fn find(&self) -> Result<Option<FoundFile>, StoreError> {
        let known = self
            .names
            .iter()
            .find_map(|name| self.found_files.get(name));
        if let Some(known) = known.filter(|found| self.is_recent(found)) {
            return Ok(Some(known));
        }
        let found = try_join_all(self.names.iter().map(|name| self.find_by_name(name))).await?;
        let found = found
            .into_iter()
            .flatten()
            .find(|found| self.is_recent(found));
        if let Some(found) = &found {
            self.found_files.insert(found.clone());
        }
        Ok(found)
    }

    async fn find_by_name(&self, name: &str) -> Result<Option<FoundFile>, StoreError> {
        let record = self.store.read_small(&record::object(name)).await?;
        let Some(record) = record.and_then(|record| FileRecord::parse(&record)) else {
            return Ok(None);
        };
        let head = self.store.head(&self.object(name, record.file_id)).await?;
        // A lifecycle rule removes the object first.
        let head = head.filter(|head| head.bytes == record.bytes);
        Ok(head.map(|head| FoundFile {
            name: name.to_owned(),
            record,
            head,
        }))
    }

    /// Tells whether the link may have this file: its own, or one that is not older than the reuse allows.
    fn is_recent(&self, found: &FoundFile) -> bool {
        let is_reused = found.record.issued + self.reuse_seconds >= self.issued;
        found.name == self.names[0] || is_reused
    }

    /// Returns a URL of the store by which anyone can download the file for a short time; `None` if the server sends it.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it cannot be signed.
    pub async fn presigned_url(
        &self,
        found: &FoundFile,
        link: &Link,
    ) -> Result<Option<String>, StoreError> {
        if !self.redirects {
            return Ok(None);
        }
        let object = self.object(&found.name, found.record.file_id);
        let link_id = link.id.to_string();
        let parameters = [("rowlink-link", link_id.as_str())];
        let (headers, lifetime) = (&self.headers, self.presigned_for);
        let signed = self
            .store
            .presigned_url(&object, headers, lifetime, &parameters);
        signed.await
    }

    /// Starts to read some bytes of a complete file.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it is gone or cannot be read.
    pub async fn read(
        &self,
        found: &FoundFile,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        let object = self.object(&found.name, found.record.file_id);
        let read = self.store.read(&object, &found.head, range).await;
        if read.is_err() {
            self.found_files.remove(&found.name);
        }
        read
    }

    /// Starts to upload the file with this id.
    #[must_use]
    pub fn upload(&self, file_id: [u8; 32]) -> Upload {
        let object = self.object(self.name(), file_id);
        self.store.upload(&object, &self.headers)
    }

    /// Records a file that is uploaded, so that it is found.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it may not be recorded.
    pub async fn record(
        &self,
        file_id: [u8; 32],
        rows: u64,
        bytes: u64,
        sha256: [u8; 32],
    ) -> Result<(), StoreError> {
        let record = FileRecord {
            file_id,
            issued: self.issued,
            rows,
            bytes,
            sha256,
        };
        let object = record::object(self.name());
        self.store.write_small(&object, record.to_json()).await
    }

    fn object(&self, name: &str, file_id: [u8; 32]) -> String {
        [name, "-", &hex::encode(&file_id[..16]), ".", self.extension].concat()
    }
}
