//! From the configuration to a running state: sources, catalog, service.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::errors::{ErrorLines, error_line, error_lines};
use super::reload::Reloader;
use super::system_clock;
use crate::catalog::{Catalog, Dialects};
use crate::config::{Config, Databases, RowsConfig};
use crate::http::AppState;
use crate::service::ExportService;
use crate::source::{Sources, dialects};
use crate::toml_errors::LineError;
use rowlink_link::is_export_name;

/// A server that is ready to start.
pub(super) struct Loaded {
    pub(super) state: AppState,
    pub(super) reloader: Reloader,
    /// What works, but not well.
    pub(super) warnings: Vec<String>,
}

/// Opens the databases, reads the catalog, and prepares it against them.
pub(super) async fn load(config: Config) -> Result<Loaded, ErrorLines> {
    let sources = sources(config.databases)?;
    let catalog = read_catalog(&config.exports_dir, &dialects(&sources))?;
    let service = ExportService::start(catalog, sources.clone(), config.keyring, config.policy);
    let service = service.await.map_err(error_lines)?;
    service.set_revocations(config.revocations);
    let mut warnings = service.warnings();
    warnings.extend(database_warnings(&sources).await);
    let state = AppState::new(
        service,
        config.authenticator,
        system_clock(),
        config.http_config,
    );
    if let Some(pem) = config.tls {
        let set = state.set_certificate(&pem.certificate, &pem.key);
        set.map_err(|error| error_line(format!("ROWLINK_TLS_CERT_FILE: {error}")))?;
    }
    Ok(Loaded {
        state,
        reloader: Reloader::new(config.reloaded_files),
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

pub(super) fn read_catalog(folder: &Path, dialects: &Dialects) -> Result<Catalog, ErrorLines> {
    let unreadable = |error: io::Error| vec![format!("cannot read {}: {error}", folder.display())];
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let name = entry.file_name();
        // Hidden: editors and `rsync` keep copies so.
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if !is_hidden && path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(vec![format!(
            "{}: expected at least one .sql file",
            folder.display()
        )]);
    }
    paths.sort();
    Ok(parse_catalog(&paths, dialects))
}

/// Reads a catalog for a command that contacts no database; the configured databases only tell the dialects.
///
/// # Errors
/// Returns every error of the configuration and of the files.
pub(super) fn valid_catalog(folder: &Path) -> Result<Catalog, ErrorLines> {
    let config = RowsConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let sources = sources(config.databases)?;
    let catalog = read_catalog(folder, &dialects(&sources))?;
    match catalog.errors() {
        [] => Ok(catalog),
        errors => Err(error_lines(errors.to_vec())),
    }
}

/// Reads a catalog of one export, so that errors of others do not matter.
pub(super) fn read_export(
    folder: &Path,
    name: &str,
    dialects: &Dialects,
) -> Result<Catalog, ErrorLines> {
    let path = folder.join(format!("{name}.sql"));
    if !is_export_name(name) || !path.is_file() {
        return Err(error_line(format!(
            "unknown export `{name}` in {}",
            folder.display()
        )));
    }
    Ok(parse_catalog(&[path], dialects))
}

fn parse_catalog(paths: &[PathBuf], dialects: &Dialects) -> Catalog {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        match fs::read_to_string(path) {
            Ok(text) => files.push((name, text)),
            Err(error) => unreadable.push((name, error)),
        }
    }
    let texts = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let mut catalog = Catalog::parse(texts, dialects);
    for (name, error) in unreadable {
        catalog.add_error(&name, LineError::new(1, error.to_string()));
    }
    catalog
}
