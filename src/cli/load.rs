//! From the configuration to a running state: sources, catalog, service.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;

use super::errors::{ErrorLines, error_line, error_lines};
use super::export_files::ExportFiles;
use super::reload::Reloader;
use super::reload_exports::ExportsReloader;
use super::system_clock;
use crate::catalog::Catalog;
use crate::config::{Config, Databases, RowsConfig};
use crate::http::AppState;
use crate::service::{
    DocumentStores, ExportError, ExportService, ExportsToDescribe, ExportsUpdate,
};
use crate::source::{Sources, causes, dialects};
use crate::spool::Spool;
use crate::store::{Store, StoreUrl};
use crate::used_links::{UseError, UsedLinks};

/// A server that is ready to start.
pub(super) struct Loaded {
    pub(super) state: AppState,
    pub(super) reloader: Reloader,
    pub(super) exports: ExportsReloader,
    /// The exports that are served, and the errors of others.
    pub(super) update: ExportsUpdate,
    /// What works, but not well.
    pub(super) warnings: Vec<String>,
}

/// Which errors of exports stop a start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    /// Any.
    Stop,
    /// Those that leave no export to serve, unless a database is only unavailable.
    Tolerate,
    /// None: their author is about to correct them.
    Ignore,
}

/// Opens the databases, reads the catalog, and prepares it against them.
pub(super) async fn load(config: Config, on_error: OnError) -> Result<Loaded, ErrorLines> {
    let sources = sources(config.databases)?;
    let exports = ExportsReloader::new(&config.exports_dir, dialects(&sources));
    let exports = exports.map_err(error_line)?;
    let store = config.store.as_ref();
    let store = store.map(|url| connect_store("ROWLINK_STORE_URL", url));
    let store = store.transpose()?;
    let document_stores = connect_document_stores(&config.document_stores)?;
    let service = ExportService::new(sources.clone(), config.keyring, config.policy);
    let used_links = UsedLinks::new(config.redis.as_ref(), store.clone());
    let used_links =
        used_links.map_err(|error| error_line(format!("ROWLINK_REDIS_URL: {error}")))?;
    let service = service
        .with_store(store.clone())
        .with_document_stores(document_stores.clone());
    let update = service.update_exports(exports.catalog(), ExportsToDescribe::All);
    let update = update.await;
    let is_unavailable = |error: &ExportError| matches!(error, ExportError::Database { .. });
    let is_temporary = update.errors.iter().any(is_unavailable);
    let stops = match on_error {
        OnError::Stop => true,
        OnError::Tolerate => service.count() == 0 && !is_temporary,
        OnError::Ignore => false,
    };
    if stops && !update.errors.is_empty() {
        return Err(error_lines(update.errors));
    }
    service.set_revocations(config.revocations);
    let mut warnings = database_warnings(&sources).await;
    if let Some(spool) = &config.spool {
        warnings.extend(spool_warning(spool)?);
    }
    let of_store = match &store {
        Some(store) => store_warning("ROWLINK_STORE_URL", store).await,
        None => None,
    };
    // A store that is down is not asked again, and needs no second warning.
    if let Some(used_links) = &used_links
        && (of_store.is_none() || config.redis.is_some())
    {
        warnings.extend(single_use_warning(used_links).await);
    }
    warnings.extend(of_store);
    // Together, because a store that is down takes seconds to fail.
    let of_documents = document_stores.iter().map(|(name, store)| async move {
        store_warning(&format!("ROWLINK_STORES: {name}"), store).await
    });
    warnings.extend(join_all(of_documents).await.into_iter().flatten());
    let state = AppState::new(
        service.with_used_links(used_links),
        config.authenticator,
        system_clock(),
        config.http_config,
    )
    .with_spool(config.spool)
    .with_audit_recipient(config.log.audit_recipient);
    if let Some(pem) = config.tls {
        let set = state.set_certificate(&pem.certificate, &pem.key);
        set.map_err(|error| error_line(format!("ROWLINK_TLS_CERT_FILE: {error}")))?;
    }
    Ok(Loaded {
        state,
        reloader: Reloader::new(config.reloaded_files),
        exports,
        update,
        warnings,
    })
}

/// Returns what the operator should change about each database.
async fn database_warnings(sources: &Sources) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, source) in sources {
        let of_source = source.warnings().await.into_iter();
        warnings.extend(of_source.map(|warning| format!("database `{name}`: {warning}")));
    }
    warnings
}

/// Checks the spool's folder; returns what the operator should change about it.
fn spool_warning(spool: &Spool) -> Result<Option<String>, ErrorLines> {
    let folder = spool.folder().display();
    let refused = |error| error_line(format!("ROWLINK_SPOOL_DIR: {folder}: {error}"));
    let space = spool.check().map_err(refused)?;
    let bytes_max = spool.bytes_max();
    if space.total < bytes_max {
        let total = space.total;
        return Err(error_line(format!(
            "ROWLINK_SPOOL_BYTES: {folder} is on a file system of {total} bytes, which is less than {bytes_max}"
        )));
    }
    let free = space.free;
    let message = || format!("ROWLINK_SPOOL_BYTES: {folder} has {free} bytes free of {bytes_max}");
    Ok((free < bytes_max).then(message))
}

/// Creates the stores of documents.
fn connect_document_stores(
    urls: &BTreeMap<String, StoreUrl>,
) -> Result<DocumentStores, ErrorLines> {
    let stores = urls.iter().map(|(name, url)| {
        let store = connect_store(&format!("ROWLINK_STORES: {name}"), url)?;
        Ok((name.clone(), store))
    });
    stores.collect()
}

/// Creates a store. Its credentials are in the variables of the platform.
pub(super) fn connect_store(variable: &str, url: &StoreUrl) -> Result<Arc<Store>, ErrorLines> {
    let environment = env::vars_os();
    let environment = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let store = url.connect(environment);
    let store = store.map_err(|error| error_line(format!("{variable}: {}", causes(&error))))?;
    Ok(Arc::new(store))
}

/// Returns why a store cannot be read. Files of rows are then streamed, and not stored.
async fn store_warning(variable: &str, store: &Store) -> Option<String> {
    let error = store.read_small("probe").await.err()?;
    Some(format!("{variable}: {}", causes(&error)))
}

/// Returns why single-use links are refused now.
async fn single_use_warning(used_links: &UsedLinks) -> Option<String> {
    let error = used_links.check().await.err()?;
    let variable = match error {
        UseError::Overwrites | UseError::Store(_) => "ROWLINK_STORE_URL",
        _ => "ROWLINK_REDIS_URL",
    };
    let cause = causes(&error);
    Some(format!("{variable}: single-use links are refused: {cause}"))
}

/// Creates the sources. No database is contacted yet.
pub(super) fn sources(databases: Databases) -> Result<Sources, ErrorLines> {
    let mut sources = Sources::new();
    for (name, url) in databases.urls {
        let source = url.source(databases.options);
        let source = source.map_err(|error| error_line(format!("database `{name}`: {error}")))?;
        sources.insert(name, source);
    }
    Ok(sources)
}

/// Reads a catalog for a command that contacts no database; the configured databases only tell the dialects.
///
/// # Errors
/// Returns every error of the configuration and of the files.
pub(super) fn valid_catalog(folder: &Path) -> Result<Catalog, ErrorLines> {
    let config = RowsConfig::from_env(env::vars_os()).map_err(error_lines)?;
    let sources = sources(config.databases)?;
    let files = ExportFiles::read(folder).map_err(error_line)?;
    let catalog = files.parse(&dialects(&sources));
    match catalog.errors() {
        [] => Ok(catalog),
        errors => Err(error_lines(errors.to_vec())),
    }
}
