//! The configuration: `ROWLINK_*` variables, parsed into a [`Config`]. All errors are reported together.

mod callers;
mod commands;
mod database;
mod errors;
mod http_config;
mod link_settings;
mod log;
pub mod revocations_file;

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
use errors::ConfigErrors;
use rowlink_link::{Keyring, Revocations};

pub use commands::{KeysConfig, RowsConfig};
pub use database::DatabaseUrl;
pub use errors::{ConfigError, read};
pub use http_config::cors_origin;
pub use log::Log;

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
    /// The durations of a graceful shutdown.
    pub drain: DrainTimes,
    /// The files that are read again while the server runs.
    pub reloaded_files: ReloadedFiles,
    /// The log settings.
    pub log: Log,
    /// Unknown variables with the prefix: probably typing errors. Only a warning, because Kubernetes adds
    /// such variables for a service named `rowlink`.
    pub unknown: Vec<String>,
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

/// The table of variables, without their prefix. An absent or empty variable is `None`.
#[derive(Default, Deserialize)]
struct Variables {
    bind: Option<String>,
    metrics_bind: Option<String>,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    public_url: Option<String>,
    database_url: Option<Zeroizing<String>>,
    database_url_file: Option<PathBuf>,
    databases: Option<Zeroizing<String>>,
    databases_file: Option<PathBuf>,
    database_connections: Option<String>,
    exports_dir: Option<PathBuf>,
    signing_keys: Option<Zeroizing<String>>,
    signing_keys_file: Option<PathBuf>,
    revocations_file: Option<PathBuf>,
    default_ttl_seconds: Option<String>,
    max_ttl_seconds: Option<String>,
    max_download_seconds: Option<String>,
    stall_seconds: Option<String>,
    max_connections: Option<String>,
    max_connections_per_client: Option<String>,
    max_downloads: Option<String>,
    max_downloads_per_user: Option<String>,
    max_downloads_per_link: Option<String>,
    max_links_per_second: Option<String>,
    max_row_bytes: Option<String>,
    sqlite_lock_seconds: Option<String>,
    sqlite_sorts: Option<String>,
    seal: Option<String>,
    drain_delay_seconds: Option<String>,
    drain_seconds: Option<String>,
    jwt_hs256_secret: Option<Zeroizing<String>>,
    jwt_hs256_secret_file: Option<PathBuf>,
    jwt_public_key_file: Option<PathBuf>,
    jwt_jwks_url: Option<String>,
    jwt_algorithms: Option<String>,
    jwt_issuer: Option<String>,
    jwt_audience: Option<String>,
    jwt_user_claim: Option<String>,
    jwt_issuers_file: Option<PathBuf>,
    jwt_cookie: Option<String>,
    jwt_query_param: Option<String>,
    api_keys_file: Option<PathBuf>,
    cors_origins: Option<String>,
    trusted_proxies: Option<String>,
    proxy_header: Option<String>,
    return_url: Option<String>,
    log: Option<String>,
    log_format: Option<String>,
    log_full: Option<String>,
    otlp_endpoint: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, String>,
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
        match envy::prefixed(PREFIX).from_iter(set) {
            Ok(variables) => Ok((variables, errors)),
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
        let log = log::log(&mut variables, &mut errors);

        let unknown = variables.unknown.into_keys();
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
                drain,
                reloaded_files,
                log,
                unknown: unknown
                    .map(|name| format!("{PREFIX}{}", name.to_uppercase()))
                    .collect(),
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
