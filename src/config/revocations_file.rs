//! The file of revocations: TOML, with `issued_before` for all links and the tables `[users]`, `[keys]` and `[links]` of
//! points in time.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;
use indexmap::IndexMap;
use rowlink_link::Revocations;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;
use uuid::Uuid;

use crate::toml_errors::{self, LineError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationsFile {
    issued_before: Option<Spanned<Datetime>>,
    #[serde(default)]
    users: BTreeMap<String, Spanned<Datetime>>,
    #[serde(default)]
    keys: BTreeMap<String, Spanned<Datetime>>,
    #[serde(default)]
    links: IndexMap<Spanned<String>, Spanned<Datetime>>,
}

/// Parses a file of revocations. An empty file revokes nothing.
///
/// # Errors
/// Returns every entry that is not a point in time or not a link id, or the first syntax error.
pub fn parse(text: &str) -> Result<Revocations, Vec<LineError>> {
    let file: RevocationsFile = toml_errors::read(text)?;
    let mut errors = Vec::new();
    let mut watermark = |at: Spanned<Datetime>| {
        unix_seconds(at.get_ref()).unwrap_or_else(|| {
            let message = "expected a time with its offset: 2026-01-31T10:00:00Z";
            errors.push(LineError::at(text, at.span().start, message));
            0
        })
    };
    let mut watermarks = |table: BTreeMap<String, Spanned<Datetime>>| {
        let entries = table.into_iter();
        entries.map(|(name, at)| (name, watermark(at))).collect()
    };
    let (users, keys) = (watermarks(file.users), watermarks(file.keys));
    let issued_before = file.issued_before.map_or(0, &mut watermark);
    let mut links = HashMap::new();
    let mut invalid_ids = Vec::new();
    for (id, until) in file.links {
        let until = watermark(until);
        match Uuid::try_parse(id.get_ref()) {
            // Two spellings of one id are one entry.
            Ok(link_id) => {
                let entry: &mut u64 = links.entry(link_id).or_default();
                *entry = until.max(*entry);
            }
            Err(_) => {
                let message = "expected the id of a link: 0198c2f4-6f3a-7cc1-9b2e-0242ac120002";
                invalid_ids.push(LineError::at(text, id.span().start, message));
            }
        }
    }
    errors.append(&mut invalid_ids);
    let revocations = Revocations {
        issued_before,
        users,
        keys,
        links,
    };
    if errors.is_empty() {
        Ok(revocations)
    } else {
        Err(errors)
    }
}

/// Returns the first whole second that is not before the given time.
pub(super) fn unix_seconds(at: &Datetime) -> Option<u64> {
    let time = DateTime::parse_from_rfc3339(&at.to_string()).ok()?;
    let fraction = i64::from(time.timestamp_subsec_nanos() > 0);
    u64::try_from(time.timestamp() + fraction).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_whole_seconds() {
        let text = "issued_before = 1970-01-01T00:00:10Z\n[users]\n\"42\" = 1970-01-01T01:00:20.5+01:00\n\
                    [keys]\nk1 = 1970-01-01T00:00:30Z\n[links]\n0198c2f4-6f3a-7cc1-9b2e-0242ac120002 = 1970-01-01T00:00:40Z\n\
                    0198C2F4-6F3A-7CC1-9B2E-0242AC120002 = 1970-01-01T00:00:35Z\n";
        let expected = Revocations {
            issued_before: 10,
            users: BTreeMap::from([("42".into(), 21)]),
            keys: BTreeMap::from([("k1".into(), 30)]),
            links: HashMap::from([(uuid::uuid!("0198c2f4-6f3a-7cc1-9b2e-0242ac120002"), 40)]),
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse("# none\n"), Ok(Revocations::default()));
    }

    #[test]
    fn all_errors_are_reported_with_their_lines() {
        let lines = |text: &str| -> Vec<usize> {
            let errors = parse(text).expect_err("refused");
            errors.iter().map(|error| error.line).collect()
        };
        assert_eq!(
            lines("[users]\na = 2026-01-31\nb = 2026-01-31T10:00:00\n"),
            [2, 3]
        );
        let link = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002";
        let text = format!(
            "[links]\n42 = 2026-01-31T10:00:00Z\n{link} = 2026-01-31\n{link}0 = 2026-01-31T10:00:00Z"
        );
        assert_eq!(lines(&text), [3, 2, 4]);
        assert_eq!(lines(&format!("[links]\n{link} = true\n")), [2]);
        assert_eq!(lines("\n[user]\na = 2026-01-31T10:00:00Z\n"), [2]);
        assert_eq!(lines("[keys]\na = '2026-01-31T10:00:00Z'\n"), [2]);
    }
}
