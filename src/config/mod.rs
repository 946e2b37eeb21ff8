//! The configuration: `ROWLINK_*` variables, parsed into a [`Config`]. All errors are reported together.

mod callers;
mod commands;
mod database;
mod errors;
mod files;
mod http_config;
mod link_settings;
mod log;
pub mod revocations_edit;
pub mod revocations_file;
mod unknown;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::auth::Authenticator;
use crate::http::{DrainTimes, HttpConfig};
use crate::service::Policy;
use crate::source::SourceOptions;
use crate::spool::Spool;
use crate::store::StoreUrl;
use crate::used_links::RedisUrl;
use errors::ConfigErrors;
use rowlink_link::{Keyring, Revocations};

pub use commands::{InitConfig, KeysConfig, RevokeConfig, RowsConfig, StoreConfig};
pub use database::DatabaseUrl;
pub use errors::{ConfigError, read};
pub use http_config::{cors_origin, web_url};
pub use log::{AuditLog, Log};

/// The prefix of every variable.
pub const PREFIX: &str = "ROWLINK_";

const DEFAULT_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The configuration of a deployment.
pub struct Config {
    /// The address of the public port.
    pub bind: SocketAddr,
    /// The address of the operators' port for metrics and probes; without it the public port serves them.
    pub metrics_bind: Option<SocketAddr>,
    /// The certificate, if TLS ends here and not at a proxy.
    pub tls: Option<TlsPem>,
    /// The databases.
    pub databases: Databases,
    /// The folder of `.sql` files.
    pub exports_dir: PathBuf,
    /// The keys that sign and verify links.
    pub keyring: Keyring,
    /// The genuine links that are refused.
    pub revocations: Revocations,
    /// The limits of links and downloads.
    pub policy: Policy,
    /// Authenticates callers.
    pub authenticator: Authenticator,
    /// Browser and proxy settings.
    pub http_config: HttpConfig,
    /// The disk space for downloads whose readers are slow.
    pub spool: Option<Spool>,
    /// The store for files of exports.
    pub store: Option<StoreUrl>,
    /// The stores of documents, by the names that exports use.
    pub document_stores: BTreeMap<String, StoreUrl>,
    /// Where uses of single-use links are recorded. Without it, in the store.
    pub redis: Option<RedisUrl>,
    /// The durations of a graceful shutdown.
    pub drain: DrainTimes,
    /// The files that are read again while the server runs.
    pub reloaded_files: ReloadedFiles,
    /// The log settings.
    pub log: Log,
}

/// The databases, by the names that exports use.
pub struct Databases {
    /// Their URLs.
    pub urls: BTreeMap<String, DatabaseUrl>,
    /// Their limits.
    pub options: SourceOptions,
}

/// A certificate chain and its key, in PEM.
pub struct TlsPem {
    /// The certificate, then its intermediates.
    pub certificate: Zeroizing<String>,
    /// The key.
    pub key: Zeroizing<String>,
}

/// Files that are read again while the server runs.
#[derive(Debug, Clone, Default)]
pub struct ReloadedFiles {
    /// The signing keys.
    pub signing_keys: Option<PathBuf>,
    /// The API keys.
    pub api_keys: Option<PathBuf>,
    /// The revocations.
    pub revocations: Option<PathBuf>,
    /// The certificate chain and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ReloadedFiles {
    fn of(variables: &Variables) -> ReloadedFiles {
        let certificate = variables.tls_cert_file.clone();
        ReloadedFiles {
            signing_keys: variables.signing_keys_file.clone(),
            api_keys: variables.api_keys_file.clone(),
            revocations: variables.revocations_file.clone(),
            certificate: certificate.zip(variables.tls_key_file.clone()),
        }
    }
}

/// Defines the table of variables, without their prefix, and the list of their names. An absent or empty variable is
/// `None`.
macro_rules! variables {
    ($($name:ident: $type:ty,)*) => {
        #[derive(Default, Deserialize)]
        struct Variables {
            $($name: Option<$type>,)*
            #[serde(flatten)]
            unknown: BTreeMap<String, String>,
        }

        impl Variables {
            const NAMES: &[&str] = &[$(stringify!($name)),*];
        }
    };
}

variables! {
    bind: String,
    metrics_bind: String,
    tls_cert_file: PathBuf,
    tls_key_file: PathBuf,
    public_url: String,
    database_url: Zeroizing<String>,
    database_url_file: PathBuf,
    databases: Zeroizing<String>,
    databases_file: PathBuf,
    database_connections: String,
    parallel_connections: String,
    exports_dir: PathBuf,
    signing_keys: Zeroizing<String>,
    signing_keys_file: PathBuf,
    revocations_file: PathBuf,
    default_ttl_seconds: String,
    max_ttl_seconds: String,
    max_download_seconds: String,
    max_query_seconds: String,
    heartbeat_seconds: String,
    stall_seconds: String,
    max_connections: String,
    max_connections_per_client: String,
    max_downloads: String,
    max_downloads_per_user: String,
    max_downloads_per_link: String,
    max_links_per_second: String,
    max_row_bytes: String,
    spool_dir: PathBuf,
    spool_bytes: String,
    spool_keep_seconds: String,
    store_url: String,
    stores: String,
    redis_url: Zeroizing<String>,
    redis_url_file: PathBuf,
    sqlite_lock_seconds: String,
    sqlite_sorts: String,
    seal: String,
    drain_delay_seconds: String,
    drain_seconds: String,
    jwt_hs256_secret: Zeroizing<String>,
    jwt_hs256_secret_file: PathBuf,
    jwt_public_key_file: PathBuf,
    jwt_jwks_url: String,
    jwt_algorithms: String,
    jwt_issuer: String,
    jwt_audience: String,
    jwt_user_claim: String,
    jwt_issuers_file: PathBuf,
    jwt_cookie: String,
    jwt_query_param: String,
    api_keys_file: PathBuf,
    cors_origins: String,
    trusted_proxies: String,
    proxy_header: String,
    return_url: String,
    page: String,
    page_oidc_issuer: String,
    page_oidc_client_id: String,
    log: String,
    log_format: String,
    log_full: String,
    audit_log: String,
    audit_recipient: String,
    otlp_endpoint: String,
}

impl Config {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable that is missing or invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<ConfigError>> {
        let (variables, errors) = Config::variables(environment)?;
        Config::from_variables(variables, errors)
    }

    fn variables(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Variables, ConfigErrors), Vec<ConfigError>> {
        let mut errors = ConfigErrors::default();
        let mut set = Vec::new();
        for (name, value) in environment {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                // Templates leave unset variables empty.
                Ok(value) if value.is_empty() => {}
                Ok(value) => set.push((format!("{PREFIX}{name}"), value)),
                Err(_) => errors.add(name, "expected UTF-8"),
            }
        }
        match envy::prefixed(PREFIX).from_iter::<_, Variables>(set) {
            Ok(variables) => {
                for (name, message) in unknown::errors(variables.unknown.keys(), Variables::NAMES) {
                    errors.add(&name, message);
                }
                Ok((variables, errors))
            }
            Err(error) => {
                errors.add("", error);
                Err(errors.0)
            }
        }
    }

    fn from_variables(
        mut variables: Variables,
        mut errors: ConfigErrors,
    ) -> Result<Config, Vec<ConfigError>> {
        let bind = address(&mut errors, "BIND", variables.bind.take());
        let metrics_bind = address(&mut errors, "METRICS_BIND", variables.metrics_bind.take());
        let tls = http_config::tls(&variables, &mut errors);
        let mut policy = link_settings::policy(&mut variables, &mut errors);
        let databases = database::databases(&mut variables, &mut errors, &policy);
        let exports_dir = database::exports_dir(&mut variables);
        let reloaded_files = ReloadedFiles::of(&variables);
        let keyring = link_settings::keyring(&mut variables, &mut errors);
        let revocations = link_settings::revocations(&mut variables, &mut errors);
        let public_url = link_settings::public_url(&mut variables, &mut errors);
        let public_url = errors.required("PUBLIC_URL", public_url);
        policy.public_url = public_url.unwrap_or_default();
        let drain = link_settings::drain(&mut variables, &mut errors);
        let authenticator = callers::authenticator(&mut variables, &mut errors);
        let http_config =
            http_config::http_config(&mut variables, &mut errors, metrics_bind.is_some());
        let has_spool = variables.spool_dir.is_some();
        let spool = files::spool(&mut variables, &mut errors);
        let store = files::store(&mut variables, &mut errors, has_spool);
        let document_stores = files::document_stores(&mut variables, &mut errors);
        let redis = link_settings::redis(&mut variables, &mut errors);
        let log = log::log(&mut variables, &mut errors);

        match (databases, keyring, log) {
            (Some(databases), Some(keyring), Some(log)) if errors.0.is_empty() => Ok(Config {
                bind: bind.unwrap_or(DEFAULT_BIND),
                metrics_bind,
                tls,
                databases,
                exports_dir,
                keyring,
                revocations,
                policy,
                authenticator,
                http_config,
                spool,
                store,
                document_stores,
                redis,
                drain,
                reloaded_files,
                log,
            }),
            _ => Err(errors.0),
        }
    }
}

fn address(errors: &mut ConfigErrors, variable: &str, text: Option<String>) -> Option<SocketAddr> {
    let parsed = text?.parse();
    errors.check(
        variable,
        parsed.map_err(|_| "expected an address and port like 0.0.0.0:8080"),
    )
}

#[cfg(test)]
mod tests;
