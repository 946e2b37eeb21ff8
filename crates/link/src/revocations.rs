//! Revocations: single links by their ids, and watermarks in time that revoke all links issued earlier.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::Link;

/// The genuine links that are refused. Times are in Unix seconds. The default revokes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Refuses every link issued before.
    pub issued_before: u64,
    /// Refuses links of a user issued before, by user id.
    pub users: BTreeMap<String, u64>,
    /// Refuses links under a key issued before, by key id.
    pub keys: BTreeMap<String, u64>,
    /// Refuses single links, by link id. The time is that from which a link has expired, so that its entry can be
    /// removed. Until then, and after it, the entry refuses the link.
    pub links: HashMap<Uuid, u64>,
}

impl Revocations {
    /// Tells whether a link that was signed with the key `key_id` is refused.
    #[must_use]
    pub fn is_revoked(&self, link: &Link, key_id: &str) -> bool {
        let of = |table: &BTreeMap<String, u64>, name| table.get(name).copied().unwrap_or(0);
        let watermark = self
            .issued_before
            .max(of(&self.users, link.user.as_str()))
            .max(of(&self.keys, key_id));
        link.issued < watermark || self.links.contains_key(&link.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserId;

    fn link(user: &str, issued: u64) -> Link {
        let user = UserId::parse(user).expect("a user id");
        Link::new("orders", "csv", user, issued, 60)
    }

    #[test]
    fn a_link_issued_before_any_of_its_watermarks_is_revoked() {
        let revocations = Revocations {
            issued_before: 10,
            users: BTreeMap::from([("42".into(), 21)]),
            keys: BTreeMap::from([("k1".into(), 30)]),
            ..Revocations::default()
        };
        for (user, key, issued, revoked) in [
            ("7", "k2", 9, true),
            ("7", "k2", 10, false),
            ("42", "k2", 20, true),
            ("42", "k2", 21, false),
            ("7", "k1", 29, true),
            ("42", "k1", 30, false),
        ] {
            let found = revocations.is_revoked(&link(user, issued), key);
            assert_eq!(found, revoked, "{user} {key} {issued}");
        }
        assert!(!Revocations::default().is_revoked(&link("42", 0), "k1"));
    }

    #[test]
    fn a_link_whose_id_is_listed_is_revoked_also_after_the_time_of_its_entry() {
        let (revoked, other) = (link("42", 100), link("42", 100));
        for until in [0, 160, u64::MAX] {
            let revocations = Revocations {
                links: HashMap::from([(revoked.id, until)]),
                ..Revocations::default()
            };
            assert!(revocations.is_revoked(&revoked, "k1"));
            assert!(!revocations.is_revoked(&other, "k1"));
        }
    }
}
