//! Authenticates callers by JSON Web Token or API key. Independent of HTTP; the only I/O is fetching
//! the key set of a [`JwtKey::KeySetUrl`].

mod api_key;
mod jwks;
mod jwt;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use rowlink_link::UserId;

pub use api_key::{ApiKeys, NewApiKey};
pub use jwt::{JWT_SECRET_BYTES_MIN, JwtError, JwtKey, JwtRules, JwtVerifier};

/// A caller whose credential was verified.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The credential's name in the audit log: `jwt`, or the API key's name.
    pub credential: String,
    /// The user whose rows the caller gets, unless it may act for others.
    pub user: Option<UserId>,
    /// Claims of the credential that can be pinned into a link.
    pub claims: BTreeMap<String, String>,
    /// The granted scopes.
    pub scopes: BTreeSet<String>,
    /// The exports the caller may use; `None` allows all.
    pub exports: Option<BTreeSet<String>>,
    /// Whether the caller may choose the user.
    pub acts_for_others: bool,
    /// The claims whose values the caller may choose.
    pub settable_claims: BTreeSet<String>,
}

/// Why authentication failed. Contains nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no credential.
    #[error("missing credential; send a token as `Authorization: Bearer …`")]
    Missing,
    /// The credential is unknown, invalid or expired.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The issuer's keys were never fetched, so its tokens cannot be verified.
    #[error("the issuer's keys are unavailable; try again later")]
    KeysUnavailable,
}

/// Authenticates callers by JWT or API key.
pub struct Authenticator {
    issuers: Vec<JwtVerifier>,
    api_keys: ArcSwapOption<ApiKeys>,
}

impl Authenticator {
    /// Creates an authenticator for tokens of these issuers and for API keys. Several issuers must
    /// each have a distinct `iss`.
    pub fn new(issuers: Vec<JwtVerifier>, api_keys: Option<ApiKeys>) -> Authenticator {
        Authenticator {
            issuers,
            api_keys: ArcSwapOption::new(api_keys.map(Arc::new)),
        }
    }

    /// Replaces all API keys.
    pub fn set_api_keys(&self, keys: ApiKeys) {
        self.api_keys.store(Some(Arc::new(keys)));
    }

    /// Fetches the issuers' key sets, so that the first token need not wait for them. Returns the
    /// issuers whose keys are unavailable; a later token triggers another fetch.
    pub async fn warm_up(&self) -> Vec<String> {
        let mut unavailable = Vec::new();
        for issuer in &self.issuers {
            if issuer.warm_up().await.is_err() {
                unavailable.push(issuer.issuer().unwrap_or("(unnamed)").to_owned());
            }
        }
        unavailable
    }

    /// Returns the caller that a token identifies. `now` is in Unix seconds.
    ///
    /// # Errors
    /// Returns [`AuthError::Refused`] if the token is unknown, invalid or expired, and
    /// [`AuthError::KeysUnavailable`] if its issuer's keys were never fetched.
    pub async fn authenticate(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        let keys = self.api_keys.load();
        if let Some(caller) = keys.as_ref().and_then(|keys| keys.find(token)) {
            return Ok(caller);
        }
        match self.issuers.as_slice() {
            [] => Err(AuthError::Refused("unknown API key".into())),
            [issuer] => issuer.verify(token, now).await,
            issuers => {
                let claimed = jwt::claimed_issuer(token);
                let matches = |issuer: &&JwtVerifier| issuer.issuer() == claimed.as_deref();
                let issuer = issuers.iter().find(matches).filter(|_| claimed.is_some());
                let unknown = || AuthError::Refused(jwt::UNKNOWN_ISSUER.into());
                issuer.ok_or_else(unknown)?.verify(token, now).await
            }
        }
    }
}
