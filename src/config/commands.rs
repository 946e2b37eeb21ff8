//! What commands that serve nothing need of the configuration, and no more: whoever signs needs no database, and
//! whoever exports no key.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{
    Config, ConfigError, Databases, databases, exports_dir, keyring, policy, public_url,
    revocations,
};
use crate::service::Policy;
use rowlink_link::{Keyring, Revocations};

/// What signs and verifies links.
pub struct KeysConfig {
    /// The keys.
    pub keyring: Keyring,
    /// Which links are refused though they are genuine.
    pub revocations: Revocations,
    /// What links may be. Its public URL is empty where none is configured.
    pub policy: Policy,
}

/// Where rows are.
pub struct RowsConfig {
    /// The databases.
    pub databases: Databases,
    /// The folder of `.sql` files.
    pub exports_dir: PathBuf,
    /// How long an export may take, among others.
    pub policy: Policy,
}

impl KeysConfig {
    /// Reads it from variables such as [`std::env::vars_os`] gives.
    ///
    /// # Errors
    /// Every variable of these that is missing or does not fit.
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

impl RowsConfig {
    /// Reads it from variables such as [`std::env::vars_os`] gives.
    ///
    /// # Errors
    /// Every variable of these that is missing or does not fit.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<RowsConfig, Vec<ConfigError>> {
        let (mut variables, mut errors) = Config::variables(environment)?;
        let databases = databases(&mut variables, &mut errors);
        let policy = policy(&mut variables, &mut errors);
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
