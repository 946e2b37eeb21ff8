//! The two use cases: issue a link, open a download. Takes values and the time, knows no HTTP.

mod download;
mod estimate;
mod issue;
mod mint;
mod open;
mod options;
mod packed;
mod parquet;
mod quota;
mod request;
mod workbook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use crate::auth::Caller;
use crate::catalog::{Catalog, Export, FileError};
use crate::row::Column;
use crate::source::{PoolStatus, SourceError, Sources, causes};
use crate::toml_errors::LineError;
use rowlink_link::{FileName, Keyring, Link, Revocations};

pub use download::{Download, DownloadError, TooLarge};
pub use estimate::{Estimate, EstimateKind};
use issue::pinned_claims;
pub use issue::{IssueError, IssuedLink};
pub use mint::mint;
pub use open::{OpenError, PreparedDownload};
use quota::Quota;
pub use quota::{QuotaError, QuotaLimits};
pub use request::LinkRequest;

/// How many estimates are made at a time. Whoever comes then gets none.
const ESTIMATES_MAX: usize = 4;

/// Issues links and opens downloads for one deployment.
pub struct ExportService {
    catalog: Catalog,
    columns: BTreeMap<String, Vec<Column>>,
    sources: Sources,
    keyring: ArcSwap<Keyring>,
    revocations: ArcSwap<Revocations>,
    policy: Policy,
    quota: Arc<Quota>,
    estimates: Semaphore,
}

/// What the operator decides about links and downloads.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Origin and prefix of every link, without a slash at the end. Never taken from a request.
    pub public_url: String,
    /// How long a link lives unless the request says otherwise.
    pub ttl_seconds_default: u64,
    /// How long a link may live.
    pub ttl_seconds_max: u64,
    /// How long a download may take.
    pub download_max: Duration,
    /// How long a download's reader may accept nothing.
    pub stall_max: Duration,
    /// How long an answer may wait for its estimate.
    pub estimate_max: Duration,
    /// How much may go on at a time.
    pub limits: QuotaLimits,
    /// Whether every link hides its contents.
    pub seals_always: bool,
}

impl Policy {
    /// What holds unless the operator decides otherwise: links of a minute, at most of an hour;
    /// downloads of at most 15 minutes, cut when nothing is accepted for 30 seconds.
    pub fn with_defaults(public_url: String) -> Policy {
        Policy {
            public_url,
            ttl_seconds_default: 60,
            ttl_seconds_max: 3600,
            download_max: Duration::from_secs(900),
            stall_max: Duration::from_secs(30),
            estimate_max: Duration::from_millis(500),
            limits: QuotaLimits::default(),
            seals_always: false,
        }
    }
}

/// Why the service cannot start with this catalog and database.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A fault of a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A database cannot be reached.
    #[error("database `{name}`: {}", causes(.error))]
    Database {
        /// Its name in the configuration.
        name: String,
        /// Why not.
        #[source]
        error: SourceError,
    },
}

impl ExportService {
    /// Prepares every export against its database.
    ///
    /// # Errors
    /// Every fault of every file and every database that cannot be reached, at once.
    pub async fn start(
        catalog: Catalog,
        sources: Sources,
        keyring: Keyring,
        policy: Policy,
    ) -> Result<ExportService, Vec<StartError>> {
        let mut columns = BTreeMap::new();
        let found = catalog.errors().iter().cloned();
        let mut errors: Vec<StartError> = found.map(StartError::File).collect();
        let mut unreachable = BTreeSet::new();
        for export in catalog.iter() {
            // The other exports of a database that is not there would only say so again.
            if unreachable.contains(&export.database) {
                continue;
            }
            match sources[&export.database].describe(export).await {
                Ok(found) => {
                    let in_columns = check_columns(export, &found);
                    errors.extend(in_columns.map(|error| file_fault(export, error)));
                    columns.insert(export.name.clone(), found);
                }
                Err(SourceError::Query { offset, cause }) => {
                    let statement = &export.statement;
                    let line = statement.line_at(offset.unwrap_or(0));
                    let message = cause.to_string().replace(&statement.sql, "the SQL");
                    errors.push(file_fault(export, LineError::new(line, message)));
                }
                Err(error) => {
                    unreachable.insert(export.database.clone());
                    let name = export.database.clone();
                    errors.push(StartError::Database { name, error });
                }
            }
        }
        if errors.is_empty() {
            Ok(ExportService {
                catalog,
                columns,
                sources,
                keyring: ArcSwap::from_pointee(keyring),
                revocations: ArcSwap::default(),
                quota: Arc::new(Quota::new(policy.limits)),
                estimates: Semaphore::new(ESTIMATES_MAX),
                policy,
            })
        } else {
            Err(errors)
        }
    }

    /// How many exports there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// What the operator decided.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Signs and verifies from now on with other keys.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// Refuses from now on what other watermarks say.
    pub fn set_revocations(&self, revocations: Revocations) {
        self.revocations.store(Arc::new(revocations));
    }

    /// How many downloads run.
    pub fn downloads(&self) -> usize {
        self.quota.downloads()
    }

    /// The ids of the signing keys, that of the one that signs first.
    pub fn key_ids(&self) -> Vec<String> {
        let keyring = self.keyring.load();
        keyring.key_ids().map(str::to_owned).collect()
    }

    /// The use of each database that has a bounded number of connections, by its name.
    pub fn connections(&self) -> impl Iterator<Item = (&str, PoolStatus)> {
        let sources = self.sources.iter();
        sources.filter_map(|(name, source)| Some((name.as_str(), source.pool_status()?)))
    }

    /// Whether every database answers.
    ///
    /// # Errors
    /// One does not.
    pub async fn ping(&self) -> Result<(), SourceError> {
        let pings = self.sources.values().map(|source| source.ping());
        try_join_all(pings).await.map(drop)
    }

    /// Waits, for a moment at most, until cancelled queries have ended in their databases.
    pub async fn close(&self) {
        join_all(self.sources.values().map(|source| source.close())).await;
    }

    /// The exports that a caller may have, each with its columns.
    pub fn exports_for(&self, caller: &Caller) -> impl Iterator<Item = (&Export, &[Column])> {
        self.catalog
            .iter()
            .filter(|export| may_export(caller, export))
            .map(|export| (export.as_ref(), self.columns_of(export)))
    }

    /// Whether a caller could ask for a link that says the same: then it may read what it hides.
    pub fn may_read(&self, caller: &Caller, link: &Link) -> bool {
        let is_theirs = caller.acts_for_others || caller.user.as_ref() == Some(&link.user);
        let export = self.catalog.get(&link.export);
        is_theirs
            && export.is_some_and(|export| {
                may_export(caller, export)
                    && pinned_claims(caller, export).is_ok_and(|claims| claims == link.claims)
            })
    }

    fn columns_of(&self, export: &Export) -> &[Column] {
        self.columns.get(&export.name).map_or(&[], Vec::as_slice)
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

/// The name the browser will save the file under.
fn filename(link: &Link) -> String {
    let extension = link.format.extension();
    match &link.filename {
        Some(name) => FileName::with_extension(name, extension),
        None => [&link.export, ".", extension].concat(),
    }
}

fn check_columns<'a>(
    export: &'a Export,
    columns: &'a [Column],
) -> impl Iterator<Item = LineError> + 'a {
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
            (first != Some(index)).then(|| LineError::new(line, message))
        });
    let named: BTreeSet<&String> = export
        .labels
        .keys()
        .chain(export.number_formats.keys())
        .collect();
    let unknown = named.into_iter().filter_map(move |name| {
        let known = columns.iter().any(|column| column.name == *name);
        let message = format!("[columns.{name}], but the query has no such column");
        (!known).then(|| LineError::new(line, message))
    });
    let commas = columns.iter().filter(|column| column.name.contains(','));
    let commas = commas.map(move |column| {
        let message = format!("the column `{}` needs a plain name: add `as`", column.name);
        LineError::new(line, message)
    });
    twice.chain(unknown).chain(commas)
}

fn file_fault(export: &Export, error: LineError) -> StartError {
    let file = format!("{}.sql", export.name);
    StartError::File(FileError { file, error })
}
