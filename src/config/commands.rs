//! What commands that serve nothing need of the configuration, and no more: whoever signs needs no database, and
//! whoever exports no key.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{
    Config, ConfigFault, Databases, databases, exports_dir, keyring, policy, public_url,
    revocations,
};
use crate::export::Policy;
use crate::link::{Keyring, Revocations};

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
    ) -> Result<KeysConfig, Vec<ConfigFault>> {
        let (mut variables, mut faults) = Config::variables(environment)?;
        let keyring = keyring(&mut variables, &mut faults);
        let revocations = revocations(&mut variables, &mut faults);
        let mut policy = policy(&mut variables, &mut faults);
        policy.public_url = public_url(&mut variables, &mut faults).unwrap_or_default();
        match keyring {
            Some(keyring) if faults.0.is_empty() => Ok(KeysConfig {
                keyring,
                revocations,
                policy,
            }),
            _ => Err(faults.0),
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
    ) -> Result<RowsConfig, Vec<ConfigFault>> {
        let (mut variables, mut faults) = Config::variables(environment)?;
        let databases = databases(&mut variables, &mut faults);
        let policy = policy(&mut variables, &mut faults);
        match databases {
            Some(databases) if faults.0.is_empty() => Ok(RowsConfig {
                databases,
                exports_dir: exports_dir(&mut variables),
                policy,
            }),
            _ => Err(faults.0),
        }
    }
}
