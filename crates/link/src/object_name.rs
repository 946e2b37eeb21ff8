//! Names of what servers store for links.
//!
//! Any server with the keys derives the same name from a link, and no other program can guess it.

use super::keyring::Keyring;
use super::verifier::VerifiedLink;

/// The first line of the text whose MAC is a name, so that it never equals a link's signature.
const LABEL: &str = "ROWLINK1-OBJECT\n";

impl VerifiedLink {
    /// Returns the name of what `content` describes: a MAC under the key that signed the link. Links under the same key and
    /// with the same content have the same name. Returns `None` if the keyring has that key no longer.
    #[must_use]
    pub fn object_name(&self, keyring: &Keyring, content: &str) -> Option<[u8; 32]> {
        keyring.mac_by(&self.key_id, &[LABEL, content].concat())
    }

    /// Returns the name of what `content` describes about this link only. It covers the signature: a child key can sign other
    /// links with the same id. Returns `None` as [`object_name`](VerifiedLink::object_name) does.
    #[must_use]
    pub fn own_name(&self, keyring: &Keyring, content: &str) -> Option<[u8; 32]> {
        let signature = hex::encode(self.signature);
        self.object_name(keyring, &[content, "\n", &signature].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Link, Seal, UserId, sign};

    const A: &str = "a:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const B: &str = "b:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

    #[test]
    fn a_name_depends_on_the_content_and_the_key_that_signed_and_outlives_a_rotation() {
        let user = UserId::parse("42").expect("a user id");
        let keyring = |text: &str| Keyring::parse(text).expect("keys");
        let signed_by = |text: &str| {
            let link = Link::new("orders", "csv", user.clone(), 0, 60);
            let signed = sign(link, &keyring(text), Seal::Open).expect("a link");
            signed.into_verified()
        };
        let (of_a, of_b) = (signed_by(A), signed_by(B));
        let both = keyring(&format!("{B},{A}"));
        let name = of_a.object_name(&keyring(A), "x");
        assert!(name.is_some());
        assert_eq!(name, of_a.object_name(&both, "x"));
        assert_ne!(name, of_a.object_name(&both, "y"));
        assert_ne!(name, of_b.object_name(&both, "x"));
        assert_eq!(of_a.object_name(&keyring(B), "x"), None);
    }

    #[test]
    fn an_own_name_is_that_of_one_link_also_among_links_with_its_id() {
        let user = UserId::parse("42").expect("a user id");
        let keys = Keyring::parse(A).expect("keys");
        let link = Link::new("orders", "csv", user, 0, 60);
        let name_of = |link: &Link| {
            let signed = sign(link.clone(), &keys, Seal::Open).expect("a link");
            let name = signed.into_verified().own_name(&keys, "x");
            name.expect("the key is there")
        };
        let mut other = link.clone();
        other.expires += 1;
        assert_eq!(name_of(&link), name_of(&link));
        assert_ne!(name_of(&link), name_of(&other));
    }
}
