//! The second use case: open a download.

use tokio::time::{Instant, timeout_at};

use super::download::{Running, SizeMax, TextFile};
use super::options::Output;
use super::{Download, ExportService, QuotaError, TooLarge, filename};
use super::{parquet, workbook};
use crate::catalog::{BoundQuery, FieldError, Variable};
use crate::encode::{EncodeError, ParquetEncoder, Properties, SheetStyle, XlsxEncoder};
use crate::format::{self, Format};
use crate::source::{Passes, RowStream, Source, SourceError};
use rowlink_link::{
    ClientAddr, Inspection, Keyring, Link, LinkError, Malformed, Revocations, Verifier,
};

/// Why a download was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The link is not good.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A genuine link to an export that is gone.
    #[error("there is no export `{0}`")]
    UnknownExport(String),
    /// A genuine link to a format that this export may not be downloaded as any more.
    #[error(
        "there is no format `{name}` of this export; its formats are {}",
        format::names(known)
    )]
    UnknownFormat {
        /// The link's.
        name: Format,
        /// What there is.
        known: Vec<Format>,
    },
    /// A genuine link whose values this catalog does not accept.
    #[error("some values of the link do not fit this export any more")]
    Invalid(Vec<FieldError>),
    /// As much goes on as may.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The database failed before the first row.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The format cannot hold the columns.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The link does not allow that much.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// A verified link whose query is bound but not run.
#[derive(Debug)]
pub struct PreparedDownload {
    /// What the link says.
    pub link: Link,
    /// The name the browser will save the file under.
    pub filename: String,
    /// The file's media type.
    pub content_type: &'static str,
    pub(super) query: BoundQuery,
    pub(super) output: Output,
    /// In Unix seconds.
    accepted_at: u64,
}

impl ExportService {
    /// Verifies a link that `client` follows at `now`, in Unix seconds, and binds its query without running it.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn prepare(
        &self,
        export: &str,
        format: Format,
        raw_query: &str,
        now: u64,
        client: ClientAddr,
    ) -> Result<PreparedDownload, OpenError> {
        let (keyring, revocations) = (self.keyring.load(), self.revocations.load());
        let verifier = self.verifier(&keyring, &revocations);
        let verified = verifier.verify(export, format, raw_query, now, client)?;
        let link = verified.link();
        let export = self.catalog.get(&link.export);
        let export = export.ok_or_else(|| OpenError::UnknownExport(link.export.clone()))?;
        if !export.formats.contains(&format) {
            return Err(OpenError::UnknownFormat {
                name: format,
                known: export.formats.clone(),
            });
        }

        let columns = self.columns_of(export);
        let output = Output::parse(export, format, Some(columns), &link.options)
            .map_err(OpenError::Invalid)?;
        let query = export
            .bind(&verified, output.columns.clone())
            .map_err(OpenError::Invalid)?;
        Ok(PreparedDownload {
            filename: filename(link),
            content_type: output.media_type(format),
            query,
            output,
            accepted_at: now,
            link: verified.into_link(),
        })
    }

    /// Takes a link apart, good or bad.
    ///
    /// # Errors
    /// It does not follow the grammar.
    pub fn inspect(
        &self,
        export: &str,
        format: Format,
        raw_query: &str,
    ) -> Result<Inspection, Malformed> {
        let (keyring, revocations) = (self.keyring.load(), self.revocations.load());
        let verifier = self.verifier(&keyring, &revocations);
        verifier.inspect(export, format, raw_query)
    }

    fn verifier<'a>(&self, keyring: &'a Keyring, revocations: &'a Revocations) -> Verifier<'a> {
        Verifier {
            keyring,
            revocations,
            ttl_seconds_max: self.policy.ttl_seconds_max,
        }
    }

    /// Runs the query of an accepted link; returns once its first rows are here.
    ///
    /// # Errors
    /// There is no place for it, or the database failed before that.
    pub async fn open(&self, prepared: PreparedDownload) -> Result<Download, OpenError> {
        let PreparedDownload {
            link,
            query,
            output,
            accepted_at,
            ..
        } = prepared;
        let slot = self.quota.take(&link)?;
        let properties = Properties {
            title: query.export().title.clone(),
            identifier: link.id.to_string(),
            created: accepted_at,
        };
        let variables = query.export().statement.variables.clone();
        let deadline = Instant::now() + self.policy.download_max;
        let size_max = SizeMax::of(&link.conditions);
        let opened = self.rows(query, link.format, &output, size_max);
        let opened = timeout_at(deadline, opened).await;
        let opened = opened.unwrap_or(Err(SourceError::TooSlow.into()));
        let (rows, length) = opened.map_err(|error| match error {
            OpenError::Source(SourceError::BadValue { variable, .. }) => {
                let variable = variable.and_then(|index| variables.get(index));
                OpenError::Invalid(vec![not_taken(variable)])
            }
            error => error,
        })?;
        let running = Running {
            deadline,
            _slot: slot,
            size_max,
        };
        match link.format {
            Format::Csv | Format::Ndjson => {
                let file = TextFile::new(rows, link.format, output);
                Ok(Download::text(file, length, running))
            }
            Format::Xlsx => {
                let looks = SheetStyle {
                    options: output.xlsx,
                    labels: output.export.labels.clone(),
                    number_formats: output.export.number_formats.clone(),
                    time_zone: output.time_zone,
                };
                let encoder = XlsxEncoder::new(rows.columns(), looks, properties)?;
                let packed = workbook::start(rows, encoder).map_err(OpenError::Source)?;
                Ok(Download::packed(packed, running))
            }
            Format::Parquet => {
                let encoder = ParquetEncoder::new(rows.columns(), output.time_zone)?;
                let packed = parquet::start(rows, encoder).map_err(OpenError::Source)?;
                Ok(Download::packed(packed, running))
            }
        }
    }

    /// The rows, and how many bytes of text they will be where that is wanted: then they are read
    /// twice, from one snapshot.
    async fn rows(
        &self,
        query: BoundQuery,
        format: Format,
        output: &Output,
        size_max: SizeMax,
    ) -> Result<(RowStream, Option<u64>), OpenError> {
        let source = self.source_of(&query);
        if !output.exact_length {
            return Ok((source.open(query, Passes::One).await?, None));
        }
        let rows = source.open(query, Passes::Two).await?;
        let measured = TextFile::new(rows, format, output.clone()).measure(size_max);
        let (length, rows) = measured.await?;
        Ok((rows, Some(length)))
    }

    pub(super) fn source_of(&self, query: &BoundQuery) -> &dyn Source {
        self.sources[&query.export().database].as_ref()
    }
}

/// A value that fits its filter, and not what the database compares it with.
fn not_taken(variable: Option<&Variable>) -> FieldError {
    let field = match variable {
        Some(Variable::User) => "user".to_owned(),
        Some(Variable::Claim(name)) => format!("claims.{name}"),
        Some(Variable::Filter(name)) => format!("filters.{name}"),
        None => "filters".to_owned(),
    };
    FieldError::new(field, "the database does not take this value")
}
