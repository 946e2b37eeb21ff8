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
    user: Option<String>,
    user_prefix: String,
    claims: BTreeMap<String, String>,
    /// The columns with a scope that its links may reveal.
    reveal: BTreeSet<String>,
}

impl Scope {
    /// Creates a scope of these exports (an empty slice means all) for one user, and for users whose ids
    /// start with `user_prefix`. Its links carry exactly these claims, and may reveal these columns.
    ///
    /// # Errors
    /// Returns what is wrong if the scope would allow everything, if no link could match a part, or if the
    /// prefix does not end with a delimiter.
    pub fn new(
        exports: &[String],
        user: Option<&str>,
        user_prefix: Option<&str>,
        claims: &[(String, String)],
        reveal: &[String],
    ) -> Result<Scope, &'static str> {
        if user_prefix.is_some_and(|prefix| prefix.ends_with(char::is_alphanumeric)) {
            return Err(
                "expected a user prefix that ends with a delimiter, such as `tenant7:`; `tenant7` would include `tenant70`",
            );
        }
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        pairs.extend(exports.iter().map(|name| ("export".into(), name.into())));
        pairs.extend(user.map(|user| ("user".into(), user.into())));
        pairs.extend(user_prefix.map(|prefix| ("user_prefix".into(), prefix.into())));
        pairs.extend(
            claims
                .iter()
                .map(|(name, value)| (format!("claim.{name}").into(), value.into())),
        );
        if pairs.is_empty() {
            return Err("expected an export, a user, a user prefix or a claim");
        }
        pairs.extend(reveal.iter().map(|name| ("reveal".into(), name.into())));
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
            user: None,
            user_prefix: String::new(),
            claims: BTreeMap::new(),
            reveal: BTreeSet::new(),
        };
        for (name, value) in &pairs {
            if check_text(value).is_err() {
                return Err("expected scope values of 1 to 256 bytes without control characters");
            }
            let is_first = match (name.as_ref(), name.strip_prefix("claim.")) {
                ("export", _) => scope.exports.insert(value.to_string()),
                ("reveal", _) => scope.reveal.insert(value.to_string()),
                ("user", _) => scope.user.replace(value.to_string()).is_none(),
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
                        "unknown part of a scope; the parts are export, user, user_prefix, claim.NAME and reveal",
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
        let user = link.user.as_str();
        if self.user.as_ref().is_some_and(|own| own != user) || !user.starts_with(&self.user_prefix)
        {
            return Err("user");
        }
        // With other claims the holder could choose a tenant, for example.
        if link.claims != self.claims {
            return Err("claims");
        }
        // The holder would choose the scopes of its users.
        if !link.reveal.iter().all(|name| self.reveal.contains(name)) {
            return Err("reveal");
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
        let (user, prefix) = (Some("tenant7:bob"), Some("tenant7:"));
        let reveal = ["email".to_owned()];
        let scope = Scope::new(&exports, user, prefix, &claims, &reveal).expect("a scope");
        let text = "claim.org=7&export=a%20b&export=orders&reveal=email&user=tenant7%3Abob&user_prefix=tenant7%3A";
        assert_eq!(scope.as_str(), text);
        assert_eq!(Scope::parse(text), Ok(scope));
        for bad in [
            "",
            "export=",
            "export=orders&export=orders",
            "export=orders&export=a",
            "export",
            "user=a&user=b",
            "export=a&reveal=b&reveal=b",
            "export=a&reveal=",
            "user=",
            "user_prefix=a&user_prefix=b",
            "claim.=7",
            "claim.a=7&claim.a=8",
            "export=a+b",
            "users=a",
            "user_prefix=a%0A",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Scope::new(&[], None, None, &[], &["email".to_owned()]).is_err());
    }

    #[test]
    fn a_new_prefix_ends_with_a_delimiter_but_an_old_key_keeps_its_scope() {
        for (prefix, is_accepted) in [
            ("tenant7", false),
            ("ü", false),
            ("tenant7:", true),
            ("auth0|", true),
        ] {
            let created = Scope::new(&[], None, Some(prefix), &[], &[]);
            assert_eq!(created.is_ok(), is_accepted, "{prefix}");
        }
        assert!(Scope::parse("user_prefix=tenant7").is_ok());
    }
}
