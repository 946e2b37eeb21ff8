//! Revocations. Links are not stored, so no single one can be marked; watermarks in time revoke all
//! links that were issued earlier.

use std::collections::BTreeMap;

/// The watermarks below which genuine links are refused, in Unix seconds. The default revokes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Refuses every link issued before.
    pub issued_before: u64,
    /// Refuses links of a user issued before, by user id.
    pub users: BTreeMap<String, u64>,
    /// Refuses links under a key issued before, by key id.
    pub keys: BTreeMap<String, u64>,
}

impl Revocations {
    /// Tells whether a link of `user`, issued at `issued` under the key `key_id`, is refused.
    #[must_use]
    pub fn is_revoked(&self, user: &str, key_id: &str, issued: u64) -> bool {
        let of = |table: &BTreeMap<String, u64>, name| table.get(name).copied().unwrap_or(0);
        let watermark = self
            .issued_before
            .max(of(&self.users, user))
            .max(of(&self.keys, key_id));
        issued < watermark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_issued_before_any_of_its_watermarks_is_revoked() {
        let revocations = Revocations {
            issued_before: 10,
            users: BTreeMap::from([("42".into(), 21)]),
            keys: BTreeMap::from([("k1".into(), 30)]),
        };
        for (user, key, issued, revoked) in [
            ("7", "k2", 9, true),
            ("7", "k2", 10, false),
            ("42", "k2", 20, true),
            ("42", "k2", 21, false),
            ("7", "k1", 29, true),
            ("42", "k1", 30, false),
        ] {
            let found = revocations.is_revoked(user, key, issued);
            assert_eq!(found, revoked, "{user} {key} {issued}");
        }
        assert!(!Revocations::default().is_revoked("42", "k1", 0));
    }
}
