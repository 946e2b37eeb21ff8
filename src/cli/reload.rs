//! Files that are read again while the server runs: on SIGHUP, and when their content changes.

use std::path::PathBuf;

use rowlink_link::Keyring;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::auth::ApiKeys;
use crate::config::{ReloadedFiles, read, revocations_file};
use crate::http::AppState;

/// The files that are read again.
#[derive(Default)]
pub(super) struct Reloader {
    groups: Vec<FileGroup>,
}

/// Files that are valid only together.
struct FileGroup {
    what: &'static str,
    paths: Vec<PathBuf>,
    /// The hash of the last content, valid or not.
    last_hash: Option<[u8; 32]>,
    apply: Apply,
}

type Apply = fn(&AppState, &[Zeroizing<String>]) -> Result<(), String>;

impl Reloader {
    pub(super) fn new(files: ReloadedFiles) -> Reloader {
        let certificate = files.certificate.map(|(chain, key)| vec![chain, key]);
        let single = |path: Option<PathBuf>| path.map(|path| vec![path]);
        let table: [(&str, Option<Vec<PathBuf>>, Apply); 4] = [
            ("signing keys", single(files.signing_keys), set_signing_keys),
            ("API keys", single(files.api_keys), set_api_keys),
            ("revocations", single(files.revocations), set_revocations),
            ("certificate", certificate, set_certificate),
        ];
        let groups = table.into_iter().filter_map(|(what, paths, apply)| {
            Some(FileGroup {
                what,
                paths: paths?,
                last_hash: None,
                apply,
            })
        });
        Reloader {
            groups: groups.collect(),
        }
    }

    /// Reads every file, and applies those whose content has changed. An invalid file is logged, and the
    /// previous version stays in use.
    pub(super) fn check(&mut self, state: &AppState) {
        for group in &mut self.groups {
            let what = group.what;
            match group.check(state) {
                Ok(true) => tracing::info!(what, "reloaded"),
                Ok(false) => {}
                Err(cause) => {
                    tracing::error!(what, cause, "reload failed; keeping the previous version");
                }
            }
        }
    }
}

impl FileGroup {
    /// Returns whether new content was applied.
    fn check(&mut self, state: &AppState) -> Result<bool, String> {
        let contents: Result<Vec<_>, String> = self.paths.iter().map(|path| read(path)).collect();
        let texts = contents.as_deref().unwrap_or_default();
        let hash = texts.iter().fold(Sha256::new(), |hash, text| {
            hash.chain_update(Sha256::digest(text.as_bytes()))
        });
        let is_first = self.last_hash.is_none();
        let hash = hash.finalize().into();
        if self.last_hash.replace(hash) == Some(hash) {
            return Ok(false);
        }
        // Applied the first time too: the file may have changed since the configuration was read.
        (self.apply)(state, &contents?)?;
        Ok(!is_first)
    }
}

fn set_signing_keys(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let keyring = Keyring::parse(&texts[0]).map_err(join)?;
    state.service.set_keyring(keyring);
    Ok(())
}

fn set_api_keys(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let keys = ApiKeys::parse(&texts[0]).map_err(join)?;
    state.authenticator.set_api_keys(keys);
    Ok(())
}

fn set_revocations(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let revocations = revocations_file::parse(&texts[0]).map_err(join)?;
    state.service.set_revocations(revocations);
    Ok(())
}

fn set_certificate(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    state.set_certificate(&texts[0], &texts[1])
}

fn join<T: ToString>(errors: Vec<T>) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}
