//! What a child key may sign.
//!
//! A child key is derived from its parent and a scope, so whoever holds it can make links inside that scope and no
//! others, and no replica needs to know that it exists: the scope stands in the link, and the verifier derives the key
//! again. As macaroons' caveats (Birgisson et al., NDSS 2014), without their chain.

use std::collections::{BTreeMap, BTreeSet};

use super::canonical::{Pair, canonical_query, parse_query};
use super::{Link, check_text, is_claim_name};

/// The links that a child key may sign. Its text is a canonical query, and so has one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    text: String,
    exports: BTreeSet<String>,
    user_prefix: String,
    claims: BTreeMap<String, String>,
}

impl Scope {
    /// A scope of these exports, or of all if there are none, for users whose ids start with `user_prefix`. Links
    /// carry exactly these claims.
    ///
    /// # Errors
    /// It allows everything, or a part of it has a form that no link can have.
    pub fn new(
        exports: &[String],
        user_prefix: Option<&str>,
        claims: &[(String, String)],
    ) -> Result<Scope, &'static str> {
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        pairs.extend(exports.iter().map(|name| ("export".into(), name.into())));
        pairs.extend(user_prefix.map(|prefix| ("user_prefix".into(), prefix.into())));
        pairs.extend(
            claims
                .iter()
                .map(|(name, value)| (format!("claim.{name}").into(), value.into())),
        );
        Scope::parse(&canonical_query(&pairs, |_| true))
    }

    /// Reads the text of a scope.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Scope, &'static str> {
        let pairs = parse_query(text).map_err(|_| "not a scope")?;
        if canonical_query(&pairs, |_| true) != text {
            return Err("not a scope in its canonical form");
        }
        let mut scope = Scope {
            text: text.to_owned(),
            exports: BTreeSet::new(),
            user_prefix: String::new(),
            claims: BTreeMap::new(),
        };
        for (name, value) in &pairs {
            if check_text(value).is_err() {
                return Err("not a scope: each part has 1 to 256 bytes without control characters");
            }
            let is_first = match (name.as_ref(), name.strip_prefix("claim.")) {
                ("export", _) => scope.exports.insert(value.to_string()),
                ("user_prefix", _) => {
                    let before = std::mem::replace(&mut scope.user_prefix, value.to_string());
                    before.is_empty()
                }
                (_, Some(claim)) if is_claim_name(claim) => {
                    let before = scope.claims.insert(claim.to_owned(), value.to_string());
                    before.is_none()
                }
                // A restriction this version does not know must not be ignored.
                _ => return Err("not a scope: its parts are export, user_prefix and claim.NAME"),
            };
            if !is_first {
                return Err("not a scope: a part stands twice");
            }
        }
        Ok(scope)
    }

    /// Its canonical text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a link is inside.
    ///
    /// # Errors
    /// What is outside.
    pub fn check(&self, link: &Link) -> Result<(), &'static str> {
        if !self.exports.is_empty() && !self.exports.contains(&link.export) {
            return Err("its export");
        }
        if !link.user.as_str().starts_with(&self.user_prefix) {
            return Err("its user");
        }
        // A claim that the scope does not name would choose a tenant, say, as its holder likes.
        if link.claims != self.claims {
            return Err("its claims");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_one_spelling() {
        let exports = ["orders".to_owned(), "a b".to_owned()];
        let claims = [("org".to_owned(), "7".to_owned())];
        let scope = Scope::new(&exports, Some("tenant7:"), &claims).expect("a scope");
        let text = "claim.org=7&export=a%20b&export=orders&user_prefix=tenant7%3A";
        assert_eq!(scope.as_str(), text);
        assert_eq!(Scope::parse(text), Ok(scope));
        for bad in [
            "",
            "export=",
            "export=orders&export=orders",
            "export=orders&export=a",
            "export",
            "user_prefix=a&user_prefix=b",
            "claim.=7",
            "claim.a=7&claim.a=8",
            "export=a+b",
            "users=a",
            "user_prefix=a%0A",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Scope::new(&[], None, &[]).is_err());
    }
}
