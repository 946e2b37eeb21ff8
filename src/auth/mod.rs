//! Who is asking. Pure: takes a bearer token and the time, knows no HTTP.

mod api_key;
mod jwt;

use std::collections::{BTreeMap, BTreeSet};

use crate::link::UserId;

pub use api_key::{ApiKeyFault, ApiKeys, NewApiKey};
pub use jwt::{JWT_SECRET_BYTES_MIN, JwtVerifier};

/// A caller whose credential was verified.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the audit line calls the credential: `jwt`, or the API key's name.
    pub credential: String,
    /// Whose rows the caller gets unless it may act for others.
    pub user: Option<UserId>,
    /// What else is known of the caller and can be pinned into a link.
    pub claims: BTreeMap<String, String>,
    /// What the caller may do.
    pub scopes: BTreeSet<String>,
    /// The only exports the caller may have; any without.
    pub exports: Option<BTreeSet<String>>,
    /// Whether the caller may name the user itself.
    pub acts_for_others: bool,
}

/// Why nobody was let in. Says nothing about keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credential came.
    #[error("send a token as `Authorization: Bearer …`")]
    Missing,
    /// The credential is not one of ours, or no longer good.
    #[error("{0}")]
    Refused(&'static str),
}

/// Everything that lets callers in: at least one of the two.
pub struct Door {
    /// Verifies tokens of an identity provider.
    pub jwt: Option<JwtVerifier>,
    /// Keys for scripts and back ends.
    pub api_keys: Option<ApiKeys>,
}

impl Door {
    /// Finds out who holds a bearer token. `now` is in Unix seconds.
    ///
    /// # Errors
    /// Nobody does.
    pub fn admit(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        if let Some(caller) = self.api_keys.as_ref().and_then(|keys| keys.find(token)) {
            return Ok(caller);
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(token, now),
            None => Err(AuthError::Refused("the API key is not known")),
        }
    }
}
