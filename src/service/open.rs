//! The second use case: open a download.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rowlink_link::{
    ClientAddr, DownloadPath, Inspection, Keyring, Link, LinkError, Malformed, Resumption,
    VerifiedLink,
};
use tokio::time::{Instant, timeout_at};

use super::begun::Begun;
use super::download::{Download, DownloadLimits};
use super::encoder_thread::Pauses;
use super::encoding::{Encoding, Measure, SizeMax};
use super::errors::{DownloadError, OpenError};
use super::export_service::{ExportService, file_name};
use super::exports::ServedExport;
use super::lifetime::Lifetimes;
use super::options::{Output, unsupported_options};
use super::quota::QuotaPermit;
use crate::catalog::{
    BoundQuery, Catalog, DocumentSettings, Export, FieldError, RowOptions, Variable,
};
use crate::format::{EncoderSettings, Format, Heartbeats, IntegrityLine, Properties};
use crate::row::Column;
use crate::source::{ConnectionTime, Passes, RowStream, SourceError};

/// A verified link whose query is bound but not run.
#[derive(Debug, Clone)]
pub struct PreparedDownload {
    /// The link.
    pub link: VerifiedLink,
    /// The file that the client has begun.
    pub begun: Begun,
    /// The file's format.
    pub format: Format,
    /// The file name that the browser suggests.
    pub filename: String,
    /// The file's media type.
    pub content_type: &'static str,
    pub(super) query: BoundQuery,
    pub(super) served: Arc<ServedExport>,
    pub(super) output: Output,
    /// In Unix seconds.
    prepared_at: u64,
    heartbeat_after: Option<Duration>,
    connection_time: ConnectionTime,
}

/// The time between two heartbeats; most proxies wait at least 30 seconds for the next byte.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

impl PreparedDownload {
    /// Returns the time without a row after which the first heartbeat is sent; `None` if there are none. With an exact
    /// length there are none.
    #[must_use]
    pub fn heartbeat_after(&self) -> Option<Duration> {
        self.heartbeat_after.filter(|_| !self.output.exact_length)
    }

    /// Returns how the file begins before the first row is known; `None` if its format cannot.
    #[must_use]
    pub fn format_heartbeats(&self) -> Option<Heartbeats> {
        self.output.heartbeats()
    }

    /// Returns the link, if its use must be recorded before a file is sent.
    #[must_use]
    pub fn link_to_take(&self) -> Option<VerifiedLink> {
        let must_take = self.begun.must_take_use(self.link.link());
        must_take.then(|| self.link.clone())
    }

    /// Tells whether the file's length and hash are measured first.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.output.exact_length
    }

    /// Returns the measure of how long the query holds a database connection.
    #[must_use]
    pub fn connection_time(&self) -> ConnectionTime {
        self.connection_time.clone()
    }

    /// Returns the time between two heartbeats.
    #[must_use]
    pub fn heartbeat_every(&self) -> Option<Duration> {
        let after = self.heartbeat_after()?;
        Some(after.min(HEARTBEAT_EVERY))
    }
}

/// The times at which a download is aborted.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// By this time all rows must be encoded.
    pub query: Instant,
    /// By this time the reader must have the whole file. It is not earlier than `query`.
    pub download: Instant,
}

impl ExportService {
    /// Verifies a link that `client` follows at `now`, in Unix seconds, and binds its query without
    /// running it. A client that continues a download has the `entity_tag` of its file.
    ///
    /// # Errors
    /// Returns the [`OpenError`] that refuses the link.
    pub fn prepare(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
        entity_tag: Option<&str>,
    ) -> Result<PreparedDownload, OpenError> {
        let resumption = self.verify(path, raw_query, now, client, entity_tag)?;
        let begun = Begun::of(&resumption);
        let mut prepared = self.prepare_verified(resumption.link, now)?;
        prepared.begun = begun;
        Ok(prepared)
    }

    /// Verifies a link that `client` follows at `now`, perhaps to continue a download.
    pub(super) fn verify(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
        entity_tag: Option<&str>,
    ) -> Result<Resumption, LinkError> {
        let (keyring, revocations) = (self.keyring.load(), self.revocations.load());
        let mut verifier = self.verifier(&keyring, &revocations);
        // What a feed requires is checked once the export is bound.
        if let Some(export) = self.exports.load().known(path.export()) {
            verifier.ttl_seconds_max = longest_ttl_seconds(export, self.policy.ttl_seconds_max);
        }
        match entity_tag {
            Some(tag) => verifier.verify_resumption(path, raw_query, now, client, tag),
            None => Ok(Resumption {
                link: verifier.verify(path, raw_query, now, client)?,
                file_id: None,
                expired_seconds: None,
            }),
        }
    }

    /// Returns the entity tag of a file of a link: `file_id` identifies it.
    #[must_use]
    pub fn entity_tag(&self, link: &VerifiedLink, file_id: [u8; 32]) -> String {
        link.entity_tag(&self.keyring.load(), file_id)
    }

    /// Binds the query of a verified link without running it.
    ///
    /// # Errors
    /// Returns the [`OpenError`] if the export is gone, or the link no longer fits it.
    pub fn prepare_verified(
        &self,
        verified: VerifiedLink,
        now: u64,
    ) -> Result<PreparedDownload, OpenError> {
        let link = verified.link();
        let served = self.export_of(link)?;
        let served = served.for_reveal(&link.reveal);
        // Every set of masks has a variant; without one nothing is sent.
        let served = served.ok_or_else(|| OpenError::ExportUnavailable(link.export.clone()))?;
        let (format, output, query) = bind(
            &served.export,
            Some(served.columns()),
            &verified,
            self.policy.ttl_seconds_max,
        )?;
        Ok(PreparedDownload {
            filename: file_name(link, format.extension()),
            format,
            content_type: output.media_type(),
            query,
            output,
            prepared_at: now,
            heartbeat_after: match served.export.heartbeat_seconds {
                None => self.policy.heartbeat_after,
                Some(seconds) => NonZeroU64::new(seconds).map(|it| Duration::from_secs(it.get())),
            },
            served,
            connection_time: ConnectionTime::default(),
            link: verified,
            begun: Begun::default(),
        })
    }

    pub(super) fn export_of(&self, link: &Link) -> Result<Arc<ServedExport>, OpenError> {
        let exports = self.exports.load();
        let name = &link.export;
        match exports.served.get(name) {
            Some(served) => Ok(served.clone()),
            None if exports.failed.contains_key(name) => {
                Err(OpenError::ExportUnavailable(name.clone()))
            }
            None => Err(OpenError::UnknownExport(name.clone())),
        }
    }

    /// Returns the parts of a link, genuine or not.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the link breaks the grammar.
    pub fn inspect(
        &self,
        path: DownloadPath<'_>,
        raw_query: &str,
    ) -> Result<Inspection, Malformed> {
        let (keyring, revocations) = (self.keyring.load(), self.revocations.load());
        self.verifier(&keyring, &revocations)
            .inspect(path, raw_query)
    }

    /// Returns the times at which a prepared download that starts now is aborted.
    #[must_use]
    pub fn deadlines(&self, prepared: &PreparedDownload) -> Deadlines {
        self.deadlines_of(prepared.query.export())
    }

    pub(super) fn deadlines_of(&self, export: &Export) -> Deadlines {
        let download = self.download_max(export);
        let now = Instant::now();
        Deadlines {
            query: now + download.min(self.policy.query_max),
            download: now + download,
        }
    }

    pub(super) fn download_max(&self, export: &Export) -> Duration {
        let of_export = export.limits.max_seconds;
        let of_export = of_export.map(|seconds| Duration::from_secs(seconds.get()));
        let of_policy = self.policy.download_max;
        of_export.map_or(of_policy, |of_export| of_policy.min(of_export))
    }

    /// Counts a download that a client continues.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of the limit if its link had too many in this second.
    pub fn check_continuation(&self, prepared: &PreparedDownload) -> Result<(), OpenError> {
        let (link, now) = (prepared.link.link(), prepared.prepared_at);
        Ok(self.quota.check_continuation(link, now)?)
    }

    /// Counts a request for the state of a file.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of the limit if its link had too many in this second.
    pub fn check_status(&self, prepared: &PreparedDownload) -> Result<(), OpenError> {
        let (link, now) = (prepared.link.link(), prepared.prepared_at);
        Ok(self.quota.check_status(link, now)?)
    }

    /// Acquires the permit of a download.
    ///
    /// # Errors
    /// Returns the [`OpenError`] of the first limit that is reached.
    pub fn acquire(&self, prepared: &PreparedDownload) -> Result<QuotaPermit, OpenError> {
        let max = prepared.query.export().limits.max_downloads;
        Ok(self.quota.acquire(prepared.link.link(), max)?)
    }

    /// Runs the query of a prepared download. Returns after the first batch, so that earlier failures
    /// still become an HTTP status.
    ///
    /// # Errors
    /// Returns the [`OpenError`] if a limit is reached, the query fails before the first batch, or `query_deadline` passes.
    pub async fn open(
        &self,
        prepared: PreparedDownload,
        query_deadline: Instant,
    ) -> Result<OpenedDownload, OpenError> {
        if !prepared.is_measured() {
            prepared.begun.refuse_another()?;
        } else if prepared.begun.file_id.is_some() {
            self.check_continuation(&prepared)?;
        }
        let permit = self.acquire(&prepared)?;
        self.open_with(prepared, permit, query_deadline).await
    }

    /// Runs the query of a prepared download that has its permit already. Returns as [`open`](ExportService::open) does.
    ///
    /// # Errors
    /// Returns the [`OpenError`] if the query fails before the first batch, or `query_deadline` passes.
    pub async fn open_with(
        &self,
        prepared: PreparedDownload,
        permit: QuotaPermit,
        query_deadline: Instant,
    ) -> Result<OpenedDownload, OpenError> {
        let (export, link) = (prepared.query.export(), prepared.link.link());
        let limits = DownloadLimits {
            query_deadline,
            size_max: SizeMax::of(&link.conditions, &export.limits),
            permit,
        };
        let refusal = prepared.begun.refuse_another();
        let export = prepared.served.export.clone();
        let keyring = self.keyring.load_full();
        let opened = timeout_at(
            query_deadline,
            OpenedDownload::open(prepared, &keyring, limits),
        )
        .await;
        let opened = opened.unwrap_or(Err(SourceError::TooSlow.into()));
        let is_another = |opened: &OpenedDownload| opened.file().is_some_and(|it| !it.is_begun);
        if opened.as_ref().is_ok_and(is_another) {
            refusal?;
        }
        opened.map_err(|error| open_error(&export, error))
    }
}

/// A download whose first rows have arrived. Dropping it cancels the query.
pub struct OpenedDownload {
    rows: RowStream,
    format: Format,
    settings: EncoderSettings,
    integrity_line: Option<IntegrityLine>,
    file: Option<MeasuredFile>,
    /// The bytes to return of a file that was measured.
    range: Range<u64>,
    heartbeat_every: Option<Duration>,
    limits: DownloadLimits,
}

/// A file whose length and hash were measured by a first pass over its rows.
#[derive(Debug, Clone)]
pub struct MeasuredFile {
    /// Its length and hash.
    pub measure: Measure,
    /// The number of its rows.
    pub rows: u64,
    /// Its entity tag, with quotes.
    pub entity_tag: String,
    /// Whether it is the file that the client has begun.
    pub is_begun: bool,
}

impl OpenedDownload {
    /// Opens the rows. An exact length is measured by a first pass over the same snapshot.
    async fn open(
        prepared: PreparedDownload,
        keyring: &Keyring,
        limits: DownloadLimits,
    ) -> Result<OpenedDownload, DownloadError> {
        let heartbeat_every = prepared.heartbeat_every();
        let PreparedDownload {
            link,
            format,
            query,
            served,
            output,
            begun,
            connection_time,
            ..
        } = prepared;
        let export = query.export();
        let title = export.text(&export.title, output.language.as_ref());
        let settings = output.settings(Properties {
            title: title.clone(),
            identifier: link.link().id.to_string(),
            // Not the present time: the same rows give the same file.
            created: link.link().issued,
        });
        let passes = match output.exact_length {
            true => Passes::Two,
            false => Passes::One,
        };
        let mut rows = served
            .described
            .open(query, passes, connection_time)
            .await?;
        let mut file = None;
        if output.exact_length {
            let encoder = format.encoder(rows.columns(), settings.clone())?;
            let first_pass = Encoding::start(rows, encoder, Pauses::Silent)?;
            let line = output.integrity_line();
            let first_pass = first_pass.measure(line, limits.size_max).await?;
            let (measure, row_count, second_pass) = first_pass;
            file = Some(MeasuredFile {
                measure,
                rows: row_count,
                entity_tag: link.entity_tag(keyring, measure.sha256),
                is_begun: begun.file_id == Some(measure.sha256),
            });
            rows = second_pass;
        }
        Ok(OpenedDownload {
            rows,
            format,
            settings,
            integrity_line: output.integrity_line(),
            range: 0..file.as_ref().map_or(0, |file| file.measure.bytes),
            file,
            heartbeat_every,
            limits,
        })
    }

    /// Returns the file, if it was measured.
    #[must_use]
    pub fn file(&self) -> Option<&MeasuredFile> {
        self.file.as_ref()
    }

    /// Limits the download of a measured file to some of its bytes.
    #[must_use]
    pub fn with_range(mut self, range: Range<u64>) -> OpenedDownload {
        self.range = range;
        self
    }

    /// Starts to encode the file. `heartbeats` of its format were sent before; `None` if nothing was.
    ///
    /// # Errors
    /// Returns the [`DownloadError`] if the format cannot hold the columns, or no thread is left.
    pub fn encode(mut self, heartbeats: Option<u64>) -> Result<Download, DownloadError> {
        self.settings.heartbeats = heartbeats;
        let encoder = self.format.encoder(self.rows.columns(), self.settings)?;
        let pauses = match &self.file {
            Some(_) => Pauses::Silent,
            None => Pauses::Flushed {
                heartbeat_every: self.heartbeat_every,
            },
        };
        let encoding = Encoding::start(self.rows, encoder, pauses)?;
        Ok(Download::new(
            encoding,
            self.integrity_line,
            self.file.map(|file| file.measure),
            self.range,
            self.limits,
        ))
    }
}

/// Returns the longest lifetime in seconds of a link to an export, in a deployment with this maximum. A [`Verifier`] accepts
/// it; [`check_link`] then checks what a longer lifetime than that of the deployment requires.
///
/// [`Verifier`]: rowlink_link::Verifier
#[must_use]
pub fn longest_ttl_seconds(export: &Export, deployment_max: u64) -> u64 {
    deployment_max.max(Lifetimes::of(Some(export), deployment_max).max())
}

/// Checks that a verified link fits its export, as far as the catalog tells: not its columns, which only the database knows.
/// `ttl_seconds_max` is the longest lifetime of the deployment.
///
/// # Errors
/// Returns the [`OpenError`] with which a server would refuse the link.
pub fn check_link(
    catalog: &Catalog,
    verified: &VerifiedLink,
    ttl_seconds_max: u64,
) -> Result<(), OpenError> {
    let name = &verified.link().export;
    let export = catalog.get(name);
    let export = export.ok_or_else(|| OpenError::UnknownExport(name.clone()))?;
    match verified.link().format {
        Some(_) => bind(export, None, verified, ttl_seconds_max).map(drop),
        None => bind_documents(export, verified, ttl_seconds_max).map(drop),
    }
}

/// Binds the query of a verified link to its export. `columns` are the export's, if they are known.
fn bind(
    export: &Arc<Export>,
    columns: Option<&[Vec<Column>]>,
    verified: &VerifiedLink,
    ttl_seconds_max: u64,
) -> Result<(Format, Output, BoundQuery), OpenError> {
    let link = verified.link();
    Lifetimes::of(Some(export), ttl_seconds_max).check_link(verified)?;
    let format = link
        .format
        .as_deref()
        .and_then(|format| format.parse().ok());
    let format = format.filter(|format| export.formats.contains(format));
    let format = format.ok_or_else(|| OpenError::UnknownFormat {
        name: link.format_name().to_owned(),
        known: export.formats.clone(),
    })?;
    let output = Output::parse(export, format, columns, &link.options, &link.reveal)
        .map_err(OpenError::Invalid)?;
    let options = RowOptions {
        columns: output.columns.clone(),
        time_zone: output.time_zone,
        arrays_as_json: output.row_format().definition().is_json,
    };
    let query = export.bind(verified, options).map_err(OpenError::Invalid)?;
    Ok((format, output, query))
}

/// Binds the query of a verified link to an export of stored documents.
pub(super) fn bind_documents<'e>(
    export: &'e Arc<Export>,
    verified: &VerifiedLink,
    ttl_seconds_max: u64,
) -> Result<(BoundQuery, &'e DocumentSettings), OpenError> {
    let link = verified.link();
    Lifetimes::of(Some(export), ttl_seconds_max).check_link(verified)?;
    let unknown = || OpenError::UnknownExport(link.export.clone());
    let documents = export.documents.as_ref().ok_or_else(unknown)?;
    let errors = unsupported_options(&link.options);
    if !errors.is_empty() {
        return Err(OpenError::Invalid(errors));
    }
    let options = RowOptions {
        columns: vec![None],
        time_zone: export.time_zone,
        arrays_as_json: false,
    };
    let query = export.bind(verified, options).map_err(OpenError::Invalid)?;
    Ok((query, documents))
}

/// Returns the error of a query that did not open.
pub(super) fn open_error(export: &Export, error: DownloadError) -> OpenError {
    match error {
        DownloadError::Source(SourceError::BadValue { variable, .. }) => {
            OpenError::Invalid(vec![rejected_value(export, variable.as_ref())])
        }
        error => OpenError::Download(error),
    }
}

/// Returns the error of a value that fits its filter, but not the database.
fn rejected_value(export: &Export, variable: Option<&Variable>) -> FieldError {
    let field = match variable {
        Some(Variable::User) => "user".to_owned(),
        Some(Variable::Claim(name)) => format!("claims.{name}"),
        Some(Variable::Filter(name)) => format!("filters.{name}"),
        None if !export.filters.is_empty() => "filters".to_owned(),
        // Only the user id, and claims for policies, are left.
        None => "user".to_owned(),
    };
    FieldError::new(field, "the database rejected this value")
}
