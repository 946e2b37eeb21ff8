//! The settings of commands that serve nothing: signing needs no database, and exporting no key.

use std::ffi::OsString;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

use super::database::{databases, exports_dir};
use super::files::store;
use super::http_config::cors_origins;
use super::link_settings::{keyring, policy, public_url, revocations};
use super::{Config, ConfigError, Databases};
use crate::service::Policy;
use crate::store::StoreUrl;
use rowlink_link::{Keyring, Revocations};

/// The settings of commands that sign and verify links.
pub struct KeysConfig {
    /// The keys.
    pub keyring: Keyring,
    /// The genuine links that are refused.
    pub revocations: Revocations,
    /// The limits of links. The public URL is empty if none is configured.
    pub policy: Policy,
}

/// The settings of the command that revokes links.
pub struct RevokeConfig {
    /// The file of revocations, if it is configured.
    pub revocations_file: Option<PathBuf>,
    /// The keys, if they are configured. They tell whether a link is genuine.
    pub keyring: Option<Keyring>,
}

/// The settings of commands that read rows.
pub struct RowsConfig {
    /// The databases.
    pub databases: Databases,
    /// The folder of `.sql` files.
    pub exports_dir: PathBuf,
    /// The limits of downloads.
    pub policy: Policy,
}

/// The settings of the command that writes a configuration.
pub struct InitConfig {
    /// The URL of the database, if it is configured.
    pub database_url: Option<Zeroizing<String>>,
}

/// The settings of the command that checks the store.
pub struct StoreConfig {
    /// The store.
    pub url: StoreUrl,
    /// The origins of pages that fetch files: that of Rowlink, if it is configured, and those in `ROWLINK_CORS_ORIGINS`.
    pub page_origins: Vec<String>,
}

impl KeysConfig {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable of these that is missing or invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<KeysConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let keyring = keyring(&mut variables, &mut errors);
        let revocations = revocations(&mut variables, &mut errors);
        let mut policy = policy(&mut variables, &mut errors);
        policy.public_url = public_url(&mut variables, &mut errors).unwrap_or_default();
        match keyring {
            Some(keyring) if errors.0.is_empty() => Ok(KeysConfig {
                keyring,
                revocations,
                policy,
            }),
            _ => Err(errors.0),
        }
    }
}

impl RevokeConfig {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable of these that is invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<RevokeConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let has_keys = variables.signing_keys.is_some() || variables.signing_keys_file.is_some();
        let keyring = has_keys.then(|| keyring(&mut variables, &mut errors));
        match errors.0.is_empty() {
            true => Ok(RevokeConfig {
                revocations_file: variables.revocations_file.take(),
                keyring: keyring.flatten(),
            }),
            false => Err(errors.0),
        }
    }
}

impl RowsConfig {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable of these that is missing or invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<RowsConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let policy = policy(&mut variables, &mut errors);
        let databases = databases(&mut variables, &mut errors, &policy);
        match databases {
            Some(databases) if errors.0.is_empty() => Ok(RowsConfig {
                databases,
                exports_dir: exports_dir(&mut variables),
                policy,
            }),
            _ => Err(errors.0),
        }
    }
}

impl InitConfig {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable of these that is invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<InitConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let url = variables.database_url.take();
        let database_url = errors.secret("DATABASE_URL", url, variables.database_url_file.take());
        match errors.0.is_empty() {
            true => Ok(InitConfig { database_url }),
            false => Err(errors.0),
        }
    }
}

impl StoreConfig {
    /// Parses the environment, for example [`std::env::vars_os`].
    ///
    /// # Errors
    /// Returns every variable of these that is missing or invalid.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<StoreConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let own = public_url(&mut variables, &mut errors);
        let own = own.and_then(|url| Url::parse(&url).ok());
        let own = own.map(|url| url.origin().ascii_serialization());
        let others = cors_origins(&mut variables, &mut errors).into_iter();
        let others = others.filter(|origin| Some(origin) != own.as_ref());
        let page_origins = own.iter().cloned().chain(others).collect();
        // The check uploads nothing from a spool.
        let url = store(&mut variables, &mut errors, true);
        match errors.required("STORE_URL", url) {
            Some(url) if errors.0.is_empty() => Ok(StoreConfig { url, page_origins }),
            _ => Err(errors.0),
        }
    }
}
