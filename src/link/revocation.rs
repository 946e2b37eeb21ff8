//! Links that were good and are not any more. There is no list of links to strike one from; there
//! are watermarks in time instead, which every replica reads from the same small file.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use crate::toml_errors::{self, LineError};

/// Which genuine links are refused: of everybody, of a user or under a key, when they were issued
/// before a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    everything: u64,
    users: BTreeMap<String, u64>,
    keys: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationsFile {
    issued_before: Option<Spanned<Datetime>>,
    #[serde(default)]
    users: BTreeMap<String, Spanned<Datetime>>,
    #[serde(default)]
    keys: BTreeMap<String, Spanned<Datetime>>,
}

impl Revocations {
    /// Reads a file of revocations: TOML, `issued_before` for all links, and the tables `[users]`
    /// and `[keys]` with a moment each.
    ///
    /// # Errors
    /// Every fault at once. An empty file revokes nothing and is none.
    pub fn parse(text: &str) -> Result<Revocations, Vec<LineError>> {
        let file: RevocationsFile = toml_errors::read(text)?;
        let mut errors = Vec::new();
        let mut watermark = |at: Spanned<Datetime>| {
            unix_seconds(at.get_ref()).unwrap_or_else(|| {
                let message = "expected a moment with its offset: 2026-01-31T10:00:00Z";
                errors.push(LineError::at(text, at.span().start, message));
                0
            })
        };
        let mut watermarks = |table: BTreeMap<String, Spanned<Datetime>>| {
            let entries = table.into_iter();
            entries.map(|(name, at)| (name, watermark(at))).collect()
        };
        let (users, keys) = (watermarks(file.users), watermarks(file.keys));
        let revocations = Revocations {
            everything: file.issued_before.map_or(0, watermark),
            users,
            keys,
        };
        if errors.is_empty() {
            Ok(revocations)
        } else {
            Err(errors)
        }
    }

    /// Whether a link of `user`, issued at `issued` under the key `key_id`, is refused.
    pub(super) fn is_revoked(&self, user: &str, key_id: &str, issued: u64) -> bool {
        let of = |table: &BTreeMap<String, u64>, name| table.get(name).copied().unwrap_or(0);
        let watermark = self
            .everything
            .max(of(&self.users, user))
            .max(of(&self.keys, key_id));
        issued < watermark
    }
}

/// The first whole second that is not before the moment.
fn unix_seconds(at: &Datetime) -> Option<u64> {
    let moment = DateTime::parse_from_rfc3339(&at.to_string()).ok()?;
    let fraction = i64::from(moment.timestamp_subsec_nanos() > 0);
    u64::try_from(moment.timestamp() + fraction).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_issued_before_any_watermark_of_its_own_is_covered() {
        let text = "issued_before = 1970-01-01T00:00:10Z\n[users]\n\"42\" = 1970-01-01T01:00:20.5+01:00\n\
                    [keys]\nk1 = 1970-01-01T00:00:30Z\n";
        let revocations = Revocations::parse(text).expect("revocations");
        for (user, key, issued, covered) in [
            ("7", "k2", 9, true),
            ("7", "k2", 10, false),
            ("42", "k2", 20, true),
            ("42", "k2", 21, false),
            ("7", "k1", 29, true),
            ("42", "k1", 30, false),
        ] {
            assert_eq!(
                revocations.is_revoked(user, key, issued),
                covered,
                "{user} {key} {issued}"
            );
        }
        assert!(!Revocations::default().is_revoked("42", "k1", 0));
        assert_eq!(Revocations::parse("# none\n"), Ok(Revocations::default()));
    }

    #[test]
    fn faults_are_found_all_at_once_with_their_lines() {
        let lines = |text: &str| -> Vec<usize> {
            let errors = Revocations::parse(text).expect_err("refused");
            errors.iter().map(|error| error.line).collect()
        };
        assert_eq!(
            lines("[users]\na = 2026-01-31\nb = 2026-01-31T10:00:00\n"),
            [2, 3]
        );
        assert_eq!(lines("\n[user]\na = 2026-01-31T10:00:00Z\n"), [2]);
        assert_eq!(lines("[keys]\na = '2026-01-31T10:00:00Z'\n"), [2]);
    }
}
