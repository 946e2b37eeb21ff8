//! The state of the service, and what it tells about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use rowlink_link::{FileName, Keyring, Link, Revocations, Verifier};
use tokio::sync::Semaphore;

use super::errors::IssueError;
use super::policy::Policy;
use super::quota::Quota;
use super::readiness::Readiness;
use crate::auth::Caller;
use crate::catalog::{Catalog, Export, FilterType, SqlDialect};
use crate::format::Format;
use crate::row::{Column, Kind, TimeZone};
use crate::source::{PoolStatus, Source, SourceError, Sources};

/// The number of concurrent estimates. Further requests get none.
const ESTIMATES_MAX: usize = 4;

/// Issues links and opens downloads for one deployment.
pub struct ExportService {
    pub(super) catalog: Catalog,
    pub(super) columns: BTreeMap<String, Vec<Column>>,
    pub(super) sources: Sources,
    pub(super) keyring: ArcSwap<Keyring>,
    pub(super) revocations: ArcSwap<Revocations>,
    pub(super) policy: Policy,
    pub(super) quota: Arc<Quota>,
    pub(super) estimates: Semaphore,
    readiness: Readiness,
}

impl ExportService {
    pub(super) fn new(
        catalog: Catalog,
        columns: BTreeMap<String, Vec<Column>>,
        sources: Sources,
        keyring: Keyring,
        policy: Policy,
    ) -> ExportService {
        ExportService {
            catalog,
            columns,
            sources,
            keyring: ArcSwap::from_pointee(keyring),
            revocations: ArcSwap::default(),
            quota: Arc::new(Quota::new(policy.limits)),
            estimates: Semaphore::new(ESTIMATES_MAX),
            readiness: Readiness::default(),
            policy,
        }
    }

    /// Returns the number of exports.
    #[must_use]
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// Returns what the author of an export should change: dates that are days of UTC in a file with another time zone.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for export in self.catalog.iter() {
            let is_mysql = self.source_of(export).dialect() == SqlDialect::Mysql;
            let columns = self.columns_of(export).iter();
            let mut kinds = columns.map(|column| column.kind);
            let shows_instants = kinds.any(|kind| kind == Kind::Timestamp { utc: true });
            if !is_mysql || !shows_instants || export.time_zone == TimeZone::default() {
                continue;
            }
            let mut filters = export.filters.iter();
            if let Some(filter) = filters.find(|filter| filter.bound_type() == FilterType::Date) {
                warnings.push(format!(
                    "{}.sql: filter `{}` is a day of UTC, but the file shows {}; add `instant = \"start\"` or \"end\" if it \
                     is compared with a timestamp",
                    export.name,
                    filter.name,
                    export.time_zone.name()
                ));
            }
        }
        warnings
    }

    /// Returns the operator's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Replaces the keys. Requests in progress keep theirs.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// Replaces the revocations.
    pub fn set_revocations(&self, revocations: Revocations) {
        self.revocations.store(Arc::new(revocations));
    }

    /// Returns the number of running downloads.
    #[must_use]
    pub fn downloads(&self) -> usize {
        self.quota.downloads()
    }

    /// Returns the ids of the signing keys; the first one signs.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        let keyring = self.keyring.load();
        keyring.key_ids().map(str::to_owned).collect()
    }

    /// Returns the state of each bounded connection pool, by the name of its database.
    pub fn pools(&self) -> impl Iterator<Item = (&str, PoolStatus)> {
        let sources = self.sources.iter();
        sources.filter_map(|(name, source)| Some((name.as_str(), source.pool_status()?)))
    }

    /// Checks that every database answers. Asks them at most once per second, however often it is called.
    ///
    /// # Errors
    /// Returns the first [`SourceError`].
    pub async fn ping(&self) -> Result<(), Arc<SourceError>> {
        self.readiness.ask(&self.sources).await
    }

    /// Waits briefly until cancelled queries have ended in their databases.
    pub async fn close(&self) {
        join_all(self.sources.values().map(|source| source.close())).await;
    }

    /// Returns the exports that a caller may use, each with its columns.
    pub fn exports_for(&self, caller: &Caller) -> impl Iterator<Item = (&Export, &[Column])> {
        self.catalog
            .iter()
            .filter(|export| check_access(caller, export).is_ok())
            .map(|export| (export.as_ref(), self.columns_of(export)))
    }

    pub(super) fn columns_of(&self, export: &Export) -> &[Column] {
        self.columns.get(&export.name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn source_of(&self, export: &Export) -> &dyn Source {
        self.sources[&export.database].as_ref()
    }

    pub(super) fn verifier<'a>(
        &self,
        keyring: &'a Keyring,
        revocations: &'a Revocations,
    ) -> Verifier<'a> {
        Verifier {
            keyring,
            revocations,
            ttl_seconds_max: self.policy.ttl_seconds_max,
        }
    }
}

/// Checks that the credential allows the export.
///
/// # Errors
/// Returns [`IssueError::MissingScope`] or [`IssueError::NotAllowed`].
pub(super) fn check_access(caller: &Caller, export: &Export) -> Result<(), IssueError> {
    let listed = caller.exports.as_ref();
    if !listed.is_none_or(|names| names.contains(&export.name)) {
        return Err(IssueError::NotAllowed(export.name.clone()));
    }
    match &export.scope {
        Some(scope) if !caller.scopes.contains(scope) => Err(IssueError::MissingScope {
            export: export.name.clone(),
            scope: scope.clone(),
        }),
        _ => Ok(()),
    }
}

/// Returns the file name that the browser suggests.
pub(super) fn file_name(link: &Link, format: Format) -> String {
    let extension = format.extension();
    match &link.filename {
        Some(name) => FileName::with_extension(name, extension),
        None => [&link.export, ".", extension].concat(),
    }
}
