//! Who is asking. Takes a token and the time, whatever the request was that brought it. The only
//! I/O is that of [`JwtKey::KeySetUrl`].

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
    Refused(Cow<'static, str>),
    /// The issuer's keys were never to be had, so its tokens cannot be told from others.
    #[error("the token's issuer does not publish its keys now")]
    KeysUnavailable,
}

/// Everything that lets callers in.
pub struct Authenticator {
    issuers: Vec<JwtVerifier>,
    api_keys: ArcSwapOption<ApiKeys>,
}

impl Authenticator {
    /// Lets in who has a token of an issuer, or an API key. Where there are several issuers, each
    /// has an `iss` of its own.
    pub fn new(issuers: Vec<JwtVerifier>, api_keys: Option<ApiKeys>) -> Authenticator {
        Authenticator {
            issuers,
            api_keys: ArcSwapOption::new(api_keys.map(Arc::new)),
        }
    }

    /// Lets in from now on who has one of other API keys.
    pub fn set_api_keys(&self, keys: ApiKeys) {
        self.api_keys.store(Some(Arc::new(keys)));
    }

    /// Fetches what issuers publish, so that the first token need not wait for it. Returns the
    /// issuers whose keys cannot be had now; they are asked again when a token comes.
    pub async fn warm_up(&self) -> Vec<String> {
        let mut silent = Vec::new();
        for issuer in &self.issuers {
            if issuer.warm_up().await.is_err() {
                silent.push(issuer.issuer().unwrap_or("of the tokens").to_owned());
            }
        }
        silent
    }

    /// Finds out who holds a token. `now` is in Unix seconds.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn authenticate(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        let keys = self.api_keys.load();
        if let Some(caller) = keys.as_ref().and_then(|keys| keys.find(token)) {
            return Ok(caller);
        }
        match self.issuers.as_slice() {
            [] => Err(AuthError::Refused("the API key is not known".into())),
            [issuer] => issuer.verify(token, now).await,
            issuers => {
                let claimed = jwt::claimed_issuer(token);
                let named = |issuer: &&JwtVerifier| issuer.issuer() == claimed.as_deref();
                let issuer = issuers.iter().find(named).filter(|_| claimed.is_some());
                let unknown = || AuthError::Refused("the token is by another issuer".into());
                issuer.ok_or_else(unknown)?.verify(token, now).await
            }
        }
    }
}
