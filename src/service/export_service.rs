//! The state of the service, and what it tells about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use rowlink_link::{FileName, Keyring, Link, Revocations, Verifier};
use tokio::sync::Semaphore;

use super::errors::IssueError;
use super::exports::{ExportError, Exports, ExportsToDescribe, ServedExport};
use super::policy::Policy;
use super::quota::Quota;
use super::readiness::{Readiness, SilentDatabases};
use super::stored::FoundFiles;
use crate::auth::Caller;
use crate::catalog::{Catalog, Export};
use crate::source::{PoolStatus, Sources};
use crate::store::Store;
use crate::used_links::UsedLinks;

/// The stores of documents, by the names that exports use.
pub type DocumentStores = BTreeMap<String, Arc<Store>>;

/// The number of concurrent estimates. Further requests get none.
const ESTIMATES_MAX: usize = 4;

/// Issues links and opens downloads for one deployment.
pub struct ExportService {
    pub(super) exports: ArcSwap<Exports>,
    pub(super) sources: Sources,
    pub(super) keyring: ArcSwap<Keyring>,
    pub(super) revocations: ArcSwap<Revocations>,
    pub(super) policy: Policy,
    pub(super) quota: Arc<Quota>,
    pub(super) estimates: Arc<Semaphore>,
    pub(super) store: Option<Arc<Store>>,
    pub(super) document_stores: DocumentStores,
    pub(super) found_files: Arc<FoundFiles>,
    pub(super) used_links: Option<Arc<UsedLinks>>,
    readiness: Readiness,
}

impl ExportService {
    /// Returns a service that has no exports yet.
    #[must_use]
    pub fn new(sources: Sources, keyring: Keyring, policy: Policy) -> ExportService {
        ExportService {
            exports: ArcSwap::default(),
            sources,
            keyring: ArcSwap::from_pointee(keyring),
            revocations: ArcSwap::default(),
            quota: Arc::new(Quota::new(policy.limits)),
            estimates: Arc::new(Semaphore::new(ESTIMATES_MAX)),
            store: None,
            document_stores: DocumentStores::default(),
            found_files: Arc::default(),
            used_links: None,
            readiness: Readiness::default(),
            policy,
        }
    }

    /// Sets the store for the files of exports that use one.
    #[must_use]
    pub fn with_store(mut self, store: Option<Arc<Store>>) -> ExportService {
        self.store = store;
        self
    }

    /// Sets the stores of documents.
    #[must_use]
    pub fn with_document_stores(mut self, stores: DocumentStores) -> ExportService {
        self.document_stores = stores;
        self
    }

    /// Tells whether there is a store.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Serves every export of a catalog.
    ///
    /// # Errors
    /// Returns all errors of all files, and every database that is unavailable.
    pub async fn start(self, catalog: &Catalog) -> Result<ExportService, Vec<ExportError>> {
        let update = self.update_exports(catalog, ExportsToDescribe::All).await;
        if update.errors.is_empty() {
            Ok(self)
        } else {
            Err(update.errors)
        }
    }

    /// Returns the number of exports that are served.
    #[must_use]
    pub fn count(&self) -> usize {
        self.exports.load().served.len()
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

    /// Returns the databases that do not answer, by name. Asks them at most once per second, however often it is called.
    pub async fn silent_databases(&self) -> Arc<SilentDatabases> {
        self.readiness.ask(&self.sources).await
    }

    /// Returns whether at least one export can be served while these databases do not answer.
    #[must_use]
    pub fn can_serve(&self, silent: &SilentDatabases) -> bool {
        let exports = self.exports.load();
        let mut databases = exports.served.values().map(|it| &it.export.database);
        databases.any(|database| !silent.contains_key(database))
    }

    /// Waits briefly until cancelled queries have ended in their databases.
    pub async fn close(&self) {
        join_all(self.sources.values().map(|source| source.close())).await;
    }

    /// Returns the export with this name that is served.
    #[must_use]
    pub fn served(&self, name: &str) -> Option<Arc<ServedExport>> {
        self.exports.load().served.get(name).cloned()
    }

    /// Returns the exports that are served and that a caller may use, by name.
    #[must_use]
    pub fn exports_for(&self, caller: &Caller) -> Vec<Arc<ServedExport>> {
        let exports = self.exports.load();
        let is_allowed = |it: &&Arc<ServedExport>| check_access(caller, &it.export).is_ok();
        let allowed = exports.served.values().filter(is_allowed);
        allowed.cloned().collect()
    }

    /// Returns the export with this name, if a caller may use it.
    ///
    /// # Errors
    /// Returns [`IssueError::UnknownExport`], [`IssueError::ExportUnavailable`], [`IssueError::NotAllowed`] or
    /// [`IssueError::MissingScope`].
    pub fn export_for(&self, caller: &Caller, name: &str) -> Result<Arc<ServedExport>, IssueError> {
        let exports = self.exports.load();
        if let Some(served) = exports.served.get(name) {
            check_access(caller, &served.export)?;
            return Ok(served.clone());
        }
        let Some(failure) = exports.failed.get(name) else {
            return Err(IssueError::UnknownExport(name.to_owned()));
        };
        match &failure.export {
            Some(export) => check_access(caller, export)?,
            None => check_listed(caller, name)?,
        }
        Err(IssueError::ExportUnavailable(name.to_owned()))
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
fn check_access(caller: &Caller, export: &Export) -> Result<(), IssueError> {
    check_listed(caller, &export.name)?;
    match &export.scope {
        Some(scope) if !caller.scopes.contains(scope) => Err(IssueError::MissingScope {
            export: export.name.clone(),
            scope: scope.clone(),
        }),
        _ => Ok(()),
    }
}

fn check_listed(caller: &Caller, name: &str) -> Result<(), IssueError> {
    let listed = caller.exports.as_ref();
    match listed.is_none_or(|names| names.contains(name)) {
        true => Ok(()),
        false => Err(IssueError::NotAllowed(name.to_owned())),
    }
}

/// Returns the file name that the browser suggests.
pub(super) fn file_name(link: &Link, extension: &str) -> String {
    match &link.filename {
        Some(name) => FileName::with_extension(name, extension),
        None => [&link.export, ".", extension].concat(),
    }
}
