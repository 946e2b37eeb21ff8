//! Files that are read again while the server runs: on SIGHUP, and when their content changes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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
    /// The version in use; `None` before the first check.
    in_use: Option<Version>,
    /// The hash of the last content that was applied or refused.
    last_hash: [u8; 32],
    /// The hash of a content that was written in place, and may be incomplete.
    unsettled: Option<[u8; 32]>,
    apply: Apply,
    lost: Lost,
}

/// What the files of a group hold.
struct Version {
    texts: Vec<Zeroizing<String>>,
    /// The device and inode of each file. A file that was renamed over another one has a new inode.
    inodes: Vec<(u64, u64)>,
}

type Apply = fn(&AppState, &[Zeroizing<String>]) -> Result<(), String>;

/// Returns what the second text lacks of the first.
type Lost = fn(&str, &str) -> Option<String>;

impl Reloader {
    pub(super) fn new(files: ReloadedFiles) -> Reloader {
        let certificate = files.certificate.map(|(chain, key)| vec![chain, key]);
        let single = |path: Option<PathBuf>| path.map(|path| vec![path]);
        let table: [(&str, Option<Vec<PathBuf>>, Apply, Lost); 4] = [
            (
                "signing keys",
                single(files.signing_keys),
                set_signing_keys,
                lost_signing_key,
            ),
            (
                "API keys",
                single(files.api_keys),
                set_api_keys,
                lost_api_key,
            ),
            (
                "revocations",
                single(files.revocations),
                set_revocations,
                lost_revocation,
            ),
            // A truncated certificate or key is invalid.
            ("certificate", certificate, set_certificate, |_, _| None),
        ];
        let groups = table.into_iter().filter_map(|(what, paths, apply, lost)| {
            Some(FileGroup {
                what,
                paths: paths?,
                in_use: None,
                last_hash: [0; 32],
                unsettled: None,
                apply,
                lost,
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
            in_use.check_successor(&version, self.lost)?;
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
    fn check_successor(&self, next: &Version, lost: Lost) -> Result<(), String> {
        if self.inodes != next.inodes || next.texts.iter().all(|text| has_end(text)) {
            return Ok(());
        }
        let mut pairs = self.texts.iter().zip(&next.texts);
        match pairs.find_map(|(text, next)| lost(text, next)) {
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

/// Returns the device and inode of the file; zeros if there is none.
fn inode(path: &Path) -> (u64, u64) {
    let metadata = std::fs::metadata(path);
    metadata.map_or((0, 0), |file| (file.dev(), file.ino()))
}

fn lost_signing_key(text: &str, next: &str) -> Option<String> {
    let entries = |text: &'_ str| -> BTreeSet<String> {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let entries = lines.flat_map(|line| line.split(','));
        entries.map(|entry| entry.trim().to_owned()).collect()
    };
    let lost = entries(text).difference(&entries(next)).next().cloned();
    lost.map(|entry| {
        format!(
            "the key `{}` as it was",
            entry.split(':').next().unwrap_or_default()
        )
    })
}

fn lost_api_key(text: &str, next: &str) -> Option<String> {
    let keys = |text: &str| -> toml::Table {
        let file: toml::Table = toml::from_str(text).unwrap_or_default();
        let keys = file.get("keys").and_then(toml::Value::as_table);
        keys.cloned().unwrap_or_default()
    };
    let next = keys(next);
    let lost = keys(text)
        .into_iter()
        .find(|(name, key)| next.get(name) != Some(key));
    lost.map(|(name, _)| format!("the key `{name}` as it was"))
}

fn lost_revocation(text: &str, next: &str) -> Option<String> {
    let parse = |text: &str| revocations_file::parse(text).unwrap_or_default();
    let (before, next) = (parse(text), parse(next));
    let lost = |before: BTreeMap<String, u64>, next: &BTreeMap<String, u64>| {
        let mut before = before.into_iter();
        let lost = before.find(|(name, at)| next.get(name).is_none_or(|next| next < at));
        lost.map(|(name, _)| format!("the revocation of `{name}`"))
    };
    if next.issued_before < before.issued_before {
        return Some("the revocation of all links".to_owned());
    }
    lost(before.users, &next.users).or_else(|| lost(before.keys, &next.keys))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_truncated_file_has_lost_is_named() {
        let keys = "# two\nk1:AAAA\nk2:BBBB,k3:CCCC\n";
        for (next, lost) in [
            ("k3:CCCC\nk2:BBBB\nk1:AAAA\nk4:DDDD\n", None),
            ("k1:AAAA\nk2:BB", Some("the key `k2` as it was")),
            ("k2:BBBB,k3:CCCC", Some("the key `k1` as it was")),
            ("", Some("the key `k1` as it was")),
        ] {
            assert_eq!(lost_signing_key(keys, next).as_deref(), lost, "{next}");
        }
        let keys = "[keys.a]\nuser = 'x'\nexports = ['orders']\n[keys.b]\nuser = 'y'\n";
        for (next, lost) in [
            (
                "[keys.b]\nuser = 'y'\n[keys.a]\nexports = ['orders']\nuser = 'x'\n[keys.c]\n",
                None,
            ),
            ("[keys.a]\nuser = 'x'\n", Some("the key `a` as it was")),
            (
                "[keys.a]\nuser = 'x'\nexports = ['orders']\n",
                Some("the key `b` as it was"),
            ),
        ] {
            assert_eq!(lost_api_key(keys, next).as_deref(), lost, "{next}");
        }
        let times = "issued_before = 2026-01-01T00:00:00Z\n[users]\na = 2026-01-02T00:00:00Z\n[keys]\nk = 2026-01-02T00:00:00Z\n";
        for (next, lost) in [
            (times.to_owned() + "k2 = 2026-01-02T00:00:00Z\n", None),
            (times.replace("01-02", "01-03"), None),
            (
                times.replace("a = 2026-01-02", "a = 2026-01-01"),
                Some("the revocation of `a`"),
            ),
            (
                times.split("[keys]").next().unwrap_or_default().to_owned(),
                Some("the revocation of `k`"),
            ),
            (String::new(), Some("the revocation of all links")),
        ] {
            assert_eq!(lost_revocation(times, &next).as_deref(), lost, "{next}");
        }
    }

    #[test]
    fn only_the_last_line_ends_a_file() {
        assert!(has_end("a\n# end\n\n") && has_end(" # end"));
        assert!(!has_end("# end\na\n") && !has_end("a # end") && !has_end(""));
    }
}
