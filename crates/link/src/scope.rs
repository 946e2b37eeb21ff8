//! The scope of a child key.
//!
//! A child key is derived from its parent and a scope. Its holder can sign links inside that scope and
//! no others. Servers need not store it: a link carries the scope, and the verifier derives the key
//! again. Like the caveats of macaroons (Birgisson et al., NDSS 2014), without their chain.

use std::collections::{BTreeMap, BTreeSet};

use super::Link;
use super::query::{Pair, canonical_query, parse_query};
use super::text::{check_text, is_claim_name};

/// The links that a child key may sign. Its text is a canonical query, so that it has one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    text: String,
    exports: BTreeSet<String>,
    user_prefix: String,
    claims: BTreeMap<String, String>,
}

impl Scope {
    /// Creates a scope of these exports (an empty slice means all) for users whose ids start with
    /// `user_prefix`. Its links carry exactly these claims.
    ///
    /// # Errors
    /// Returns what is wrong if the scope would allow everything, or if no link could match a part.
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

    /// Parses the text of a scope.
    ///
    /// # Errors
    /// Returns what was expected.
    pub fn parse(text: &str) -> Result<Scope, &'static str> {
        let pairs = parse_query(text).map_err(|_| "expected a scope")?;
        if canonical_query(&pairs, |_| true) != text {
            return Err("expected a scope in its canonical form");
        }
        let mut scope = Scope {
            text: text.to_owned(),
            exports: BTreeSet::new(),
            user_prefix: String::new(),
            claims: BTreeMap::new(),
        };
        for (name, value) in &pairs {
            if check_text(value).is_err() {
                return Err("expected scope values of 1 to 256 bytes without control characters");
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
                // An unknown restriction must not be ignored.
                _ => {
                    return Err(
                        "unknown part of a scope; the parts are export, user_prefix and claim.NAME",
                    );
                }
            };
            if !is_first {
                return Err("duplicate part of a scope");
            }
        }
        Ok(scope)
    }

    /// Returns the canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Checks that a link is inside the scope.
    ///
    /// # Errors
    /// Returns the part of the link that is outside.
    pub fn check(&self, link: &Link) -> Result<(), &'static str> {
        if !self.exports.is_empty() && !self.exports.contains(&link.export) {
            return Err("export");
        }
        if !link.user.as_str().starts_with(&self.user_prefix) {
            return Err("user");
        }
        // With other claims the holder could choose a tenant, for example.
        if link.claims != self.claims {
            return Err("claims");
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
