//! Files that are read again while the server runs: on SIGHUP, and when their content changes.

use std::path::PathBuf;

use rowlink_link::Keyring;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::inode::{Inode, inode};
use super::key_file::KeyFile;
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
    /// The version in use; `None` before the first check.
    in_use: Option<Version>,
    /// The hash of the last content that was applied or refused.
    last_hash: [u8; 32],
    /// The hash of a content that was written in place, and may be incomplete.
    unsettled: Option<[u8; 32]>,
    apply: Apply,
    /// `None` for a certificate: a truncated one is invalid.
    kind: Option<KeyFile>,
}

/// What the files of a group hold.
struct Version {
    texts: Vec<Zeroizing<String>>,
    /// The device and inode of each file. A file that was renamed over another one has a new inode.
    inodes: Vec<Inode>,
}

/// A row of the table: what the files hold, the files if they are configured, and how they are used.
type Entry = (&'static str, Option<Vec<PathBuf>>, Apply, Option<KeyFile>);

type Apply = fn(&AppState, &[Zeroizing<String>]) -> Result<(), String>;

impl Reloader {
    pub(super) fn new(files: ReloadedFiles) -> Reloader {
        let certificate = files.certificate.map(|(chain, key)| vec![chain, key]);
        let single = |path: Option<PathBuf>| path.map(|path| vec![path]);
        let table: [Entry; 4] = [
            (
                "signing keys",
                single(files.signing_keys),
                set_signing_keys,
                Some(KeyFile::SigningKeys),
            ),
            (
                "API keys",
                single(files.api_keys),
                set_api_keys,
                Some(KeyFile::ApiKeys),
            ),
            (
                "revocations",
                single(files.revocations),
                set_revocations,
                Some(KeyFile::Revocations),
            ),
            ("certificate", certificate, set_certificate, None),
        ];
        let groups = table.into_iter().filter_map(|(what, paths, apply, kind)| {
            Some(FileGroup {
                what,
                paths: paths?,
                in_use: None,
                last_hash: [0; 32],
                unsettled: None,
                apply,
                kind,
            })
        });
        Reloader {
            groups: groups.collect(),
        }
    }

    /// Reads every file, and applies those whose content has changed. An invalid or incomplete file is logged
    /// and counted, and the previous version stays in use.
    pub(super) fn check(&mut self, state: &AppState) {
        for group in &mut self.groups {
            let what = group.what;
            match group.check(state) {
                Ok(true) => tracing::info!(what, "reloaded"),
                Ok(false) => {}
                Err(cause) => {
                    state.count_failed_reload(what);
                    tracing::error!(what, cause, "reload failed; keeping the previous version");
                }
            }
        }
    }
}

impl FileGroup {
    /// Returns whether new content was applied.
    fn check(&mut self, state: &AppState) -> Result<bool, String> {
        let version = Version::read(&self.paths);
        let texts = version.as_ref().map_or(&[][..], |version| &version.texts);
        let hash = texts.iter().fold(Sha256::new(), |hash, text| {
            hash.chain_update(Sha256::digest(text.as_bytes()))
        });
        let hash: [u8; 32] = hash.finalize().into();
        if self.in_use.is_some() && self.last_hash == hash {
            self.unsettled = None;
            return Ok(false);
        }
        if let (Some(in_use), Ok(version)) = (&self.in_use, &version)
            && in_use.inodes == version.inodes
            && self.unsettled.replace(hash) != Some(hash)
        {
            // It may still be being written. At the next check it must be the same.
            return Ok(false);
        }
        self.last_hash = hash;
        let version = version?;
        if let Some(in_use) = &self.in_use {
            in_use.check_successor(&version, self.kind)?;
        }
        // Applied the first time too: the file may have changed since the configuration was read.
        (self.apply)(state, &version.texts)?;
        Ok(self.in_use.replace(version).is_some())
    }
}

impl Version {
    fn read(paths: &[PathBuf]) -> Result<Version, String> {
        // First the inodes: if a file is replaced meanwhile, the next check finds a new one.
        let inodes = paths.iter().map(|path| inode(path)).collect();
        let texts: Result<_, String> = paths.iter().map(|path| read(path)).collect();
        Ok(Version {
            texts: texts?,
            inodes,
        })
    }

    /// Refuses a version that was written over this one and has lost a part: it may be incomplete, and without
    /// that part more would be allowed.
    fn check_successor(&self, next: &Version, kind: Option<KeyFile>) -> Result<(), String> {
        if self.inodes != next.inodes || next.texts.iter().all(|text| has_end(text)) {
            return Ok(());
        }
        let mut pairs = self.texts.iter().zip(&next.texts);
        match pairs.find_map(|(text, next)| kind?.lost(text, next)) {
            None => Ok(()),
            Some(lost) => Err(format!(
                "written in place without {lost}; rename the new file over the old one, or end it with the line `{END}`"
            )),
        }
    }
}

/// The last line of a file that is complete although it was written in place.
const END: &str = "# end";

fn has_end(text: &str) -> bool {
    text.trim_end().lines().next_back().map(str::trim) == Some(END)
}

fn set_signing_keys(state: &AppState, texts: &[Zeroizing<String>]) -> Result<(), String> {
    let keyring = Keyring::parse(&texts[0]).map_err(join)?;
    state.set_keyring(keyring);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_ends_a_file() {
        assert!(has_end("a\n# end\n\n") && has_end(" # end"));
        assert!(!has_end("# end\na\n") && !has_end("a # end") && !has_end(""));
    }
}
