//! The files that decide what is allowed: signing keys, API keys and revocations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clap::ValueEnum;
use rowlink_link::Keyring;
use uuid::Uuid;

use crate::auth::ApiKeys;
use crate::config::revocations_file;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyFile {
    SigningKeys,
    ApiKeys,
    Revocations,
}

impl KeyFile {
    /// Checks that a text is a valid file of this kind.
    ///
    /// # Errors
    /// Returns all its errors.
    pub(super) fn check(self, text: &str) -> Result<(), Vec<String>> {
        fn texts<T: ToString>(errors: Vec<T>) -> Vec<String> {
            errors.iter().map(ToString::to_string).collect()
        }
        match self {
            KeyFile::SigningKeys => Keyring::parse(text).map(drop).map_err(texts),
            KeyFile::ApiKeys => ApiKeys::parse(text).map(drop).map_err(texts),
            KeyFile::Revocations => revocations_file::parse(text).map(drop).map_err(texts),
        }
    }

    /// Returns what the second text lacks of the first, in words: without it more would be allowed, or less.
    pub(super) fn lost(self, text: &str, next: &str) -> Option<String> {
        match self {
            KeyFile::SigningKeys => lost_signing_key(text, next),
            KeyFile::ApiKeys => lost_api_key(text, next),
            KeyFile::Revocations => lost_revocation(text, next),
        }
    }
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
    let texts = |links: HashMap<Uuid, u64>| -> BTreeMap<String, u64> {
        let links = links.into_iter();
        links.map(|(id, until)| (id.to_string(), until)).collect()
    };
    lost(before.users, &next.users)
        .or_else(|| lost(before.keys, &next.keys))
        .or_else(|| lost(texts(before.links), &texts(next.links)))
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
        let id = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002";
        let links = format!("[links]\n{id} = 2026-01-02T00:00:00Z\n");
        let revocation = format!("the revocation of `{id}`");
        for (next, lost) in [
            (links.to_uppercase().replace("LINKS", "links"), None),
            (links.replace("01-02", "01-01"), Some(revocation.as_str())),
            (String::new(), Some(revocation.as_str())),
        ] {
            assert_eq!(lost_revocation(&links, &next).as_deref(), lost, "{next}");
        }
    }
}
