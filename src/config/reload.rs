//! Files that are read again while the service runs: on SIGHUP, and when what they say changes.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Variables;
use super::errors::read;
use crate::auth::ApiKeys;
use crate::http::AppState;
use rowlink_link::{Keyring, Revocations};

/// What is read again.
#[derive(Default)]
pub struct Reload {
    files: Vec<Watched>,
}

/// Files that mean something together.
struct Watched {
    what: &'static str,
    paths: Vec<PathBuf>,
    /// The hash of what was read last, good or bad.
    last: Option<[u8; 32]>,
    apply: fn(&AppState, &[Zeroizing<String>]) -> Result<(), String>,
}

impl Reload {
    pub(super) fn new(variables: &Variables) -> Reload {
        let mut files = Vec::new();
        let mut watch = |what, paths: Vec<PathBuf>, apply| {
            files.push(Watched {
                what,
                paths,
                last: None,
                apply,
            });
        };
        if let Some(path) = &variables.signing_keys_file {
            watch("signing keys", vec![path.clone()], signing_keys);
        }
        if let Some(path) = &variables.api_keys_file {
            watch("API keys", vec![path.clone()], api_keys);
        }
        if let Some(path) = &variables.revocations_file {
            watch("revocations", vec![path.clone()], revocations);
        }
        if let (Some(certificate_file), Some(key)) =
            (&variables.tls_cert_file, &variables.tls_key_file)
        {
            let paths = vec![certificate_file.clone(), key.clone()];
            watch("certificate", paths, certificate);
        }
        Reload { files }
    }

    /// Reads every file; what changed since the last time is used from now on. A file that is
    /// faulty is reported, and what was good before stays.
    pub fn check(&mut self, state: &AppState) {
        for file in &mut self.files {
            let what = file.what;
            match file.check(state) {
                Ok(true) => tracing::info!(what, "reloaded"),
                Ok(false) => {}
                Err(cause) => tracing::error!(what, cause, "not reloaded: the last good stays"),
            }
        }
    }
}

impl Watched {
    /// Whether there was something new, and it was good.
    fn check(&mut self, state: &AppState) -> Result<bool, String> {
        let read: Result<Vec<_>, String> = self.paths.iter().map(|path| read(path)).collect();
        let texts = read.as_deref().unwrap_or_default();
        let hash = texts.iter().fold(Sha256::new(), |hash, text| {
            hash.chain_update(Sha256::digest(text.as_bytes()))
        });
        let first = self.last.is_none();
        let hash = hash.finalize().into();
        if self.last.replace(hash) == Some(hash) {
            return Ok(false);
        }
        // Also the first time: the file may have changed since the configuration was read.
        (self.apply)(state, &read?)?;
        Ok(!first)
    }
}

fn signing_keys(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let keyring = Keyring::parse(&texts[0]).map_err(joined)?;
    state.service.set_keyring(keyring);
    Ok(())
}

fn api_keys(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let keys = ApiKeys::parse(&texts[0]).map_err(joined)?;
    state.authenticator.set_api_keys(keys);
    Ok(())
}

fn revocations(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let revocations = Revocations::parse(&texts[0]).map_err(joined)?;
    state.service.set_revocations(revocations);
    Ok(())
}

fn certificate(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    state.set_certificate(&texts[0], &texts[1])
}

fn joined<T: ToString>(errors: Vec<T>) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}
