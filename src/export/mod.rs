//! The two use cases: issue a link, open a download. Takes values and the time, knows no HTTP.

mod download;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::auth::Caller;
use crate::catalog::{BoundQuery, Catalog, Export, Fault, FieldFault, FileFault};
use crate::format::{CsvOptions, Format};
use crate::link::{self, FileName, Keyring, Link, LinkError, URL_BYTES_MAX, UserId};
use crate::row::Column;
use crate::source::{Source, SourceError};

pub use download::Download;
pub use request::LinkRequest;

/// Issues links and opens downloads for one deployment.
pub struct Exporter {
    catalog: Catalog,
    columns: BTreeMap<String, Vec<Column>>,
    source: Arc<dyn Source>,
    keyring: Keyring,
    policy: LinkPolicy,
}

/// What the operator decides about links.
#[derive(Debug, Clone)]
pub struct LinkPolicy {
    /// Origin and prefix of every link, without a slash at the end. Never taken from a request.
    pub public_url: String,
    /// How long a link lives unless the request says otherwise.
    pub ttl_seconds_default: u64,
    /// How long a link may live.
    pub ttl_seconds_max: u64,
}

/// Why the service cannot start with this catalog and database.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A fault of a file.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The database cannot be reached.
    #[error("database: {}", causes(.0))]
    Database(#[source] SourceError),
}

/// A link as its caller gets it.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// What the link says.
    pub link: Link,
    /// The URL to open.
    pub url: String,
    /// The name the browser will save the file under.
    pub filename: String,
    /// The file's media type.
    pub content_type: &'static str,
}

/// Why no link was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// There is no such export.
    #[error("there is no export `{0}`")]
    UnknownExport(String),
    /// There is no such format.
    #[error("there is no format `{name}`; the formats are {}", formats(), name = .0)]
    UnknownFormat(String),
    /// The caller may not have this export.
    #[error("this credential may not export `{0}`")]
    NotAllowed(String),
    /// The request names a user, but the credential may not act for others.
    #[error("this credential may not act for another user; leave `user` out")]
    MayNotActForOthers,
    /// The export pins a claim that the credential does not have.
    #[error("this export needs the claim `{0}`, which this credential does not have")]
    MissingClaim(String),
    /// Values that do not fit.
    #[error("some values do not fit")]
    Invalid(Vec<FieldFault>),
    /// The URL would be too long for browsers and proxies.
    #[error(
        "the link would have {bytes} bytes, more than {URL_BYTES_MAX}; use fewer or shorter values"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Why a download was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The link is not good.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A genuine link to an export that is gone.
    #[error("there is no export `{0}`")]
    UnknownExport(String),
    /// A genuine link whose values this catalog does not accept.
    #[error("some values of the link do not fit this export any more")]
    Invalid(Vec<FieldFault>),
    /// The database failed before the first row.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A verified link whose query is bound but not run.
#[derive(Debug)]
pub struct Accepted {
    /// What the link says.
    pub link: Link,
    /// The name the browser will save the file under.
    pub filename: String,
    /// The file's media type.
    pub content_type: &'static str,
    query: BoundQuery,
    output: Output,
}

/// The output options of one link, checked.
#[derive(Debug, Default)]
struct Output {
    columns: Option<Vec<String>>,
    csv: CsvOptions,
}

impl Exporter {
    /// Prepares every export against the database.
    ///
    /// # Errors
    /// Every fault of every file at once; or that the database cannot be reached.
    pub async fn start(
        catalog: Catalog,
        source: Arc<dyn Source>,
        keyring: Keyring,
        policy: LinkPolicy,
    ) -> Result<Exporter, Vec<StartFault>> {
        let (mut columns, mut faults) = (BTreeMap::new(), Vec::new());
        for export in catalog.iter() {
            match source.describe(&export.statement).await {
                Ok(found) => {
                    let in_columns = check_columns(export, &found);
                    faults.extend(in_columns.map(|fault| file_fault(export, fault)));
                    columns.insert(export.name.clone(), found);
                }
                Err(SourceError::Query { offset, cause }) => {
                    let statement = &export.statement;
                    let line = statement.line_at(offset.unwrap_or(0));
                    let message = cause.to_string().replace(&statement.sql, "the SQL");
                    faults.push(file_fault(export, Fault::at(line, message)));
                }
                Err(error) => return Err(vec![StartFault::Database(error)]),
            }
        }
        if faults.is_empty() {
            Ok(Exporter {
                catalog,
                columns,
                source,
                keyring,
                policy,
            })
        } else {
            Err(faults)
        }
    }

    /// How many exports there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// The database, for its readiness.
    pub fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// The exports that a caller may have, each with its columns.
    pub fn exports_for(&self, caller: &Caller) -> impl Iterator<Item = (&Export, &[Column])> {
        self.catalog
            .iter()
            .filter(|export| may_export(caller, export))
            .map(|export| (export, self.columns_of(export)))
    }

    /// Issues a link for a caller at `now`, in Unix seconds, under the id `link_id`.
    ///
    /// # Errors
    /// Why not.
    pub fn issue(
        &self,
        caller: &Caller,
        request: LinkRequest,
        now: u64,
        link_id: Uuid,
    ) -> Result<IssuedLink, IssueError> {
        let misfits = request.misfits;
        if request.export.is_empty() || request.format.is_empty() {
            return Err(IssueError::Invalid(misfits));
        }
        let export = self.catalog.get(&request.export);
        let export = export.ok_or(IssueError::UnknownExport(request.export))?;
        let format = request.format.parse();
        let format: Format = format.map_err(|_| IssueError::UnknownFormat(request.format))?;
        if !may_export(caller, export) {
            return Err(IssueError::NotAllowed(export.name.clone()));
        }
        if request.user.is_some() && !caller.acts_for_others {
            return Err(IssueError::MayNotActForOthers);
        }

        let mut faults = Vec::new();
        let filters = collect(&mut faults, export.resolve(&request.filters));
        let output = collect(&mut faults, self.output(export, &request.options));
        let ttl_seconds = collect(&mut faults, self.ttl_seconds(request.ttl_seconds));
        let user = collect(&mut faults, user_of(caller, request.user));
        // A field that did not even have its type was left out, so it seems to be missing too.
        faults.retain(|fault| !misfits.iter().any(|misfit| misfit.field == fault.field));
        faults.extend(misfits);
        let (Some(filters), Some(output), Some(ttl_seconds), Some(user), true) =
            (filters, output, ttl_seconds, user, faults.is_empty())
        else {
            return Err(IssueError::Invalid(faults));
        };

        let link = Link {
            export: export.name.clone(),
            format,
            user,
            id: link_id,
            issued: now,
            expires: now + ttl_seconds,
            not_before: None,
            filename: request.filename,
            claims: pinned_claims(caller, export)?,
            options: request.options,
            filters,
        };
        let url = self.policy.public_url.clone() + &link::sign(&link, &self.keyring);
        if url.len() > URL_BYTES_MAX {
            return Err(IssueError::TooLong { bytes: url.len() });
        }
        Ok(IssuedLink {
            url,
            filename: filename(&link),
            content_type: output.csv.media_type(),
            link,
        })
    }

    /// Verifies a link at `now`, in Unix seconds, and binds its query without running it.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn accept(
        &self,
        export: &str,
        format: Format,
        raw_query: &str,
        now: u64,
    ) -> Result<Accepted, OpenError> {
        let seconds_max = self.policy.ttl_seconds_max;
        let verified = link::verify(&self.keyring, seconds_max, export, format, raw_query, now)?;
        let link = verified.link();
        let export = self.catalog.get(&link.export);
        let export = export.ok_or_else(|| OpenError::UnknownExport(link.export.clone()))?;

        let mut faults = Vec::new();
        let output = collect(&mut faults, self.output(export, &link.options)).unwrap_or_default();
        let query = collect(&mut faults, export.bind(&verified, output.columns.clone()));
        match query {
            Some(query) if faults.is_empty() => Ok(Accepted {
                filename: filename(link),
                content_type: output.csv.media_type(),
                query,
                output,
                link: link.clone(),
            }),
            _ => Err(OpenError::Invalid(faults)),
        }
    }

    /// Runs the query of an accepted link; returns once its first rows are here.
    ///
    /// # Errors
    /// The database failed before that.
    pub async fn open(&self, accepted: Accepted) -> Result<Download, OpenError> {
        let export = self.catalog.get(&accepted.link.export);
        let labels = export
            .map(|export| export.labels.clone())
            .unwrap_or_default();
        let rows = self.source.open(accepted.query).await?;
        Ok(Download::csv(rows, accepted.output.csv, labels))
    }

    fn columns_of(&self, export: &Export) -> &[Column] {
        self.columns.get(&export.name).map_or(&[], Vec::as_slice)
    }

    fn ttl_seconds(&self, requested: Option<u64>) -> Result<u64, Vec<FieldFault>> {
        let seconds = requested.unwrap_or(self.policy.ttl_seconds_default);
        if (1..=self.policy.ttl_seconds_max).contains(&seconds) {
            return Ok(seconds);
        }
        let message = format!("expected 1 to {} seconds", self.policy.ttl_seconds_max);
        Err(vec![FieldFault::new("expires_in", message)])
    }

    /// Checks output options as they stand in a link.
    fn output(
        &self,
        export: &Export,
        options: &BTreeMap<String, String>,
    ) -> Result<Output, Vec<FieldFault>> {
        let mut output = Output {
            columns: None,
            csv: export.csv.clone(),
        };
        let mut faults = Vec::new();
        for (option, value) in options {
            if option == "columns" {
                output.columns = collect(&mut faults, self.choose_columns(export, value));
                continue;
            }
            let name = option.strip_prefix("csv.").unwrap_or(option);
            if let Err(fault) = output.csv.set(name, value) {
                faults.push(FieldFault::new(option, fault.to_string()));
            }
        }
        if faults.is_empty() {
            Ok(output)
        } else {
            Err(faults)
        }
    }

    fn choose_columns(&self, export: &Export, list: &str) -> Result<Vec<String>, Vec<FieldFault>> {
        let known: Vec<&str> = self
            .columns_of(export)
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        let mut chosen: Vec<String> = Vec::new();
        let mut faults = Vec::new();
        for name in list.split(',') {
            if !known.contains(&name) {
                let message = format!("no column `{name}`; the columns are {}", known.join(", "));
                faults.push(FieldFault::new("columns", message));
            } else if chosen.iter().any(|other| other == name) {
                faults.push(FieldFault::new("columns", format!("`{name}` stands twice")));
            } else {
                chosen.push(name.to_owned());
            }
        }
        if faults.is_empty() {
            Ok(chosen)
        } else {
            Err(faults)
        }
    }
}

/// Whether the credential allows the export.
fn may_export(caller: &Caller, export: &Export) -> bool {
    let scope = export.scope.as_ref();
    scope.is_none_or(|scope| caller.scopes.contains(scope))
        && caller
            .exports
            .as_ref()
            .is_none_or(|names| names.contains(&export.name))
}

/// The user comes from the credential, or from the request where the credential allows it.
fn user_of(caller: &Caller, requested: Option<UserId>) -> Result<UserId, Vec<FieldFault>> {
    requested.or_else(|| caller.user.clone()).ok_or_else(|| {
        vec![FieldFault::new(
            "user",
            "is required: this credential has no user of its own",
        )]
    })
}

fn pinned_claims(caller: &Caller, export: &Export) -> Result<BTreeMap<String, String>, IssueError> {
    export
        .claims()
        .map(|name| match caller.claims.get(name) {
            Some(value) => Ok((name.to_owned(), value.clone())),
            None => Err(IssueError::MissingClaim(name.to_owned())),
        })
        .collect()
}

fn filename(link: &Link) -> String {
    let extension = link.format.extension();
    match &link.filename {
        Some(name) => FileName::with_extension(name, extension),
        None => format!("{}.{extension}", link.export),
    }
}

/// The value, or its faults on the heap with those of the other fields.
fn collect<T>(faults: &mut Vec<FieldFault>, result: Result<T, Vec<FieldFault>>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}

fn check_columns<'a>(
    export: &'a Export,
    columns: &'a [Column],
) -> impl Iterator<Item = Fault> + 'a {
    let line = export.statement.line;
    let twice = columns
        .iter()
        .enumerate()
        .filter_map(move |(index, column)| {
            let first = columns.iter().position(|other| other.name == column.name);
            let message = format!(
                "two columns are named `{}`: rename one with `as`",
                column.name
            );
            (first != Some(index)).then(|| Fault::at(line, message))
        });
    let unknown = export.labels.keys().filter_map(move |label| {
        let known = columns.iter().any(|column| column.name == *label);
        let message = format!("[columns.{label}], but the query has no such column");
        (!known).then(|| Fault::at(line, message))
    });
    twice.chain(unknown)
}

fn file_fault(export: &Export, fault: Fault) -> StartFault {
    let file = format!("{}.sql", export.name);
    StartFault::File(FileFault { file, fault })
}

/// An error with all its causes, for the log.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn formats() -> String {
    Format::ALL.map(|format| format.to_string()).join(", ")
}
