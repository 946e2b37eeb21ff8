//! From a verified link to the documents that its query lists.

use std::sync::Arc;
use std::time::Duration;

use rowlink_link::{ClientAddr, DownloadPath, VerifiedLink};
use tokio::time::{Instant, timeout_at};

use super::document::{DocumentColumns, make_names_unique};
use super::{Document, DocumentError, FoundDocument};
use crate::catalog::{BoundQuery, DocumentSettings};
use crate::service::errors::{OpenError, TooLarge};
use crate::service::export_service::file_name;
use crate::service::exports::ServedExport;
use crate::service::open::{OnlyBegun, bind_documents, open_error};
use crate::service::stored::PRESIGNED_MAX;
use crate::service::{Deadlines, ExportService, QuotaPermit};
use crate::source::{ConnectionTime, Passes, SourceError};
use crate::store::Store;

/// The most documents of an archive. All of them are in memory, about 300 bytes each.
const DOCUMENTS_MAX: usize = 100_000;

/// A verified link to documents whose query is bound but not run.
pub struct PreparedDocuments {
    /// The link.
    pub link: VerifiedLink,
    /// What identifies the document that the client has begun, if it proved that.
    pub begun: Option<[u8; 32]>,
    /// Why only the document that was begun may be sent; `None` if any may.
    only_begun: Option<OnlyBegun>,
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
        let link = resumption.link;
        let served = self.export_of(link.link())?;
        let (query, settings) = bind_documents(&served.export, &link)?;
        let store = self.document_stores.get(&settings.store).cloned();
        let store = store.ok_or_else(|| OpenError::ExportUnavailable(path.export().to_owned()))?;
        Ok(PreparedDocuments {
            begun: resumption.file_id,
            only_begun: resumption
                .expired_seconds
                .map(|seconds| OnlyBegun::Expired { seconds }),
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
        if prepared.begun.is_some() {
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
        let sizes = documents.iter().map(|document| document.bytes);
        let known: u64 = sizes.flatten().fold(0, u64::saturating_add);
        let is_archive = prepared.is_archive();
        prepared.check_bytes(if is_archive { known } else { first.bytes() })?;
        if is_archive {
            make_names_unique(&mut documents);
            let store = prepared.store.clone();
            return Ok(Documents::Archive { documents, store });
        }
        Ok(Documents::File(Box::new(first)))
    }
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
        while let Some(batch) = rows.next().await.map_err(query_error)? {
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

    /// Checks that the link has neither expired nor was used, unless the client continues this document.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of a link that has.
    pub fn check_begun(&self, is_begun: bool) -> Result<(), OpenError> {
        let refusal = self.only_begun.filter(|_| !is_begun);
        refusal.map_or(Ok(()), |reason| Err(reason.into()))
    }

    /// Lets only the document that was begun be sent, as the continued use of a link that works once.
    pub fn continue_use(&mut self) {
        self.only_begun = Some(OnlyBegun::Used);
    }

    /// Tells whether the use of the link must be recorded before a document is sent.
    #[must_use]
    pub fn must_take_use(&self) -> bool {
        self.only_begun != Some(OnlyBegun::Used)
    }

    /// Tells whether the file is an archive of all documents.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        self.settings().is_archive
    }
}
