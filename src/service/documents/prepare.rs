//! From a verified link to the documents that its query lists.

use std::sync::Arc;
use std::time::Duration;

use rowlink_link::{ClientAddr, DownloadPath, VerifiedLink};
use tokio::time::{Instant, timeout_at};

use super::document::{DocumentColumns, make_names_unique};
use super::{Document, DocumentError, FoundDocument};
use crate::catalog::{BoundQuery, DocumentSettings};
use crate::service::begun::Begun;
use crate::service::errors::{OpenError, TooLarge};
use crate::service::export_service::file_name;
use crate::service::exports::ServedExport;
use crate::service::open::{bind_documents, open_error};
use crate::service::stored::PRESIGNED_MAX;
use crate::service::{Deadlines, ExportService, QuotaPermit};
use crate::source::{ConnectionTime, Passes, SourceError};
use crate::store::Store;
use crate::zip::Archive;

/// The most documents of an archive. All of them are in memory, about 300 bytes each.
const DOCUMENTS_MAX: usize = 100_000;

/// A verified link to documents whose query is bound but not run.
pub struct PreparedDocuments {
    /// The link.
    pub link: VerifiedLink,
    /// The document that the client has begun.
    pub begun: Begun,
    query: BoundQuery,
    served: Arc<ServedExport>,
    store: Arc<Store>,
    /// In Unix seconds.
    prepared_at: u64,
    connection_time: ConnectionTime,
}

/// The documents of a link.
pub enum Documents {
    /// One file.
    File(Box<FoundDocument>),
    /// An archive of at least one document. The object of the first one exists.
    Archive {
        /// In the order of the rows, with different names.
        documents: Vec<Document>,
        /// Where their objects are.
        store: Arc<Store>,
        /// The length of the archive in bytes, if that of each document is known.
        length: Option<u64>,
    },
}

impl PreparedDocuments {
    /// Returns the measure of how long the query holds a database connection.
    #[must_use]
    pub fn connection_time(&self) -> ConnectionTime {
        self.connection_time.clone()
    }

    /// Returns the largest document that is sent through the server, in bytes.
    #[must_use]
    pub fn proxy_up_to(&self) -> u64 {
        self.settings().proxy_up_to
    }

    /// Returns the file name that the browser suggests for a document.
    #[must_use]
    pub fn file_name(&self, document: &Document) -> String {
        let own = document.file_name.as_str();
        match (&self.link.link().filename, own.rsplit_once('.')) {
            (Some(name), Some((_, extension))) => name.with_extension(extension),
            (Some(name), None) => name.to_string(),
            (None, _) => own.to_owned(),
        }
    }

    /// Returns the file name that the browser suggests for an archive.
    #[must_use]
    pub fn archive_name(&self) -> String {
        file_name(self.link.link(), "zip")
    }

    fn settings(&self) -> &DocumentSettings {
        let documents = self.served.export.documents.as_ref();
        documents.expect("only exports of documents are prepared")
    }
}

impl ExportService {
    /// Verifies a link to documents that `client` follows at `now`, in Unix seconds, and binds its query without running it.
    /// A client that continues a download has the `entity_tag` of its file.
    ///
    /// # Errors
    /// Returns the [`OpenError`] that refuses the link.
    pub fn prepare_documents(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
        entity_tag: Option<&str>,
    ) -> Result<PreparedDocuments, OpenError> {
        let resumption = self.verify(path, raw_query, now, client, entity_tag)?;
        let begun = Begun::of(&resumption);
        let link = resumption.link;
        let served = self.export_of(link.link())?;
        let (query, settings) = bind_documents(&served.export, &link, self.policy.ttl_seconds_max)?;
        let store = self.document_stores.get(&settings.store).cloned();
        let store = store.ok_or_else(|| OpenError::ExportUnavailable(path.export().to_owned()))?;
        Ok(PreparedDocuments {
            begun,
            query,
            served,
            store,
            prepared_at: now,
            connection_time: ConnectionTime::default(),
            link,
        })
    }

    /// Checks a link that `client` follows at `now`, in Unix seconds, as if its file was downloaded.
    ///
    /// # Errors
    /// Returns the [`OpenError`] that refuses the link.
    pub fn check(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
    ) -> Result<(), OpenError> {
        match path.format() {
            Some(_) => self.prepare(path, raw_query, now, client, None).map(drop),
            None => self
                .prepare_documents(path, raw_query, now, client, None)
                .map(drop),
        }
    }

    /// Returns the times at which a download of documents that starts now is aborted.
    #[must_use]
    pub fn deadlines_of_documents(&self, prepared: &PreparedDocuments) -> Deadlines {
        self.deadlines_of(prepared.query.export())
    }

    /// Returns for how long a presigned URL of a document works.
    #[must_use]
    pub fn presigned_for(&self, prepared: &PreparedDocuments) -> Duration {
        self.download_max(prepared.query.export())
            .min(PRESIGNED_MAX)
    }

    /// Acquires the permit of a download of documents.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of the first limit that is reached.
    pub fn acquire_for_documents(
        &self,
        prepared: &PreparedDocuments,
    ) -> Result<QuotaPermit, OpenError> {
        let (link, export) = (prepared.link.link(), prepared.query.export());
        if prepared.begun.file_id.is_some() {
            self.quota.check_continuation(link, prepared.prepared_at)?;
        }
        Ok(self.quota.acquire(link, export.limits.max_downloads)?)
    }

    /// Runs the query, and finds the first document.
    ///
    /// # Errors
    /// Returns the [`DocumentError`] of the first row or object that is missing or wrong.
    pub async fn find_documents(
        &self,
        prepared: &PreparedDocuments,
        query_deadline: Instant,
    ) -> Result<Documents, DocumentError> {
        let listed = timeout_at(query_deadline, prepared.list()).await;
        let too_slow = |_| OpenError::Download(SourceError::TooSlow.into());
        let mut documents = listed.map_err(too_slow)??;
        let missing = DocumentError::Missing { object: None };
        let first = documents.first().cloned().ok_or(missing)?;
        let first = FoundDocument::find(prepared.store.clone(), first).await?;
        if prepared.is_archive() {
            make_names_unique(&mut documents);
            let length = archive_length(&documents);
            prepared.check_bytes(length.unwrap_or(first.bytes()))?;
            return Ok(Documents::Archive {
                documents,
                store: prepared.store.clone(),
                length,
            });
        }
        prepared.check_bytes(first.bytes())?;
        Ok(Documents::File(Box::new(first)))
    }
}

/// Returns the length of an archive in bytes, if that of each document is known.
fn archive_length(documents: &[Document]) -> Option<u64> {
    let sizes = documents.iter().map(|document| {
        let bytes = document.bytes?;
        Some((document.file_name.as_str(), bytes))
    });
    let sizes: Vec<(&str, u64)> = sizes.collect::<Option<_>>()?;
    Some(Archive::length(sizes))
}

impl PreparedDocuments {
    /// Runs the query; returns the documents in its rows.
    async fn list(&self) -> Result<Vec<Document>, DocumentError> {
        let link = self.link.link();
        let prefix = match &self.settings().prefix {
            None => Ok(String::new()),
            Some(prefix) => prefix.render(&link.user, &link.claims),
        };
        let row_error = |row, message| DocumentError::Row { row, message };
        let prefix = prefix.map_err(|message| row_error(0, format!("`prefix`: {message}")))?;
        let (query, time) = (self.query.clone(), self.connection_time.clone());
        let opened = self.served.described.open(query, Passes::One, time).await;
        let query_error = |error: SourceError| open_error(&self.served.export, error.into());
        let mut rows = opened.map_err(query_error)?;
        let columns = DocumentColumns::of(rows.columns());
        let mut documents = Vec::new();
        while let Some(batch) = rows.next_batch().await.map_err(query_error)? {
            for row in batch.iter() {
                let document = columns.parse(row, &prefix);
                let number = documents.len() + 1;
                self.check_count(number)?;
                if number > 1 && !self.is_archive() {
                    return Err(DocumentError::Several);
                }
                documents.push(document.map_err(|message| row_error(number, message))?);
            }
            rows.recycle(batch);
        }
        Ok(documents)
    }

    fn check_count(&self, count: usize) -> Result<(), TooLarge> {
        let of_export = self.query.export().limits.max_rows.map(|rows| rows.get());
        let of_link = self.link.link().conditions.rows_max;
        let limits = [of_export, of_link, Some(DOCUMENTS_MAX as u64)];
        let max = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
        match count as u64 > max {
            true => Err(TooLarge::Rows(max)),
            false => Ok(()),
        }
    }

    fn check_bytes(&self, bytes: u64) -> Result<(), TooLarge> {
        match self.bytes_max().filter(|max| bytes > *max) {
            Some(max) => Err(TooLarge::Bytes(max)),
            None => Ok(()),
        }
    }

    /// Returns the most bytes of a file, if there is a limit.
    #[must_use]
    pub fn bytes_max(&self) -> Option<u64> {
        let of_export = self
            .query
            .export()
            .limits
            .max_bytes
            .map(|bytes| bytes.get());
        let of_link = self.link.link().conditions.bytes_max;
        of_export.into_iter().chain(of_link).min()
    }

    /// Tells whether the file is an archive of all documents.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        self.settings().is_archive
    }
}
