//! Fetches and caches an identity provider's JSON Web Key Set (JWKS, RFC 7517).
//!
//! A token with an unknown `kid` triggers a fetch, and any client can send one. Fetches are therefore
//! limited to one at a time and one per [`FETCH_INTERVAL_MIN`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use ureq::Agent;
use url::{Host, Url};

use super::AuthError;
use crate::http_client::build_agent;

/// The minimum RSA modulus length in bytes (RFC 7518, section 3.3).
pub(super) const RSA_BYTES_MIN: usize = 256;

/// The minimum time between two requests to the provider, successful or not.
const FETCH_INTERVAL_MIN: Duration = Duration::from_secs(30);
/// The age at which keys are fetched again, so that withdrawn keys are dropped.
const MAX_AGE: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum size of a key set.
const BYTES_MAX: u64 = 64 * 1024;

/// The published keys of one issuer.
pub(super) struct KeySet(Arc<Provider>);

struct Provider {
    url: String,
    agent: Agent,
    cache: Mutex<Cache>,
    /// Held during a fetch, so that only one runs.
    fetch_lock: Arc<tokio::sync::Mutex<()>>,
}

/// The keys of the last successful fetch. A failed fetch keeps them.
#[derive(Default)]
struct Cache {
    keys: Arc<Vec<Jwk>>,
    last_attempt: Option<Instant>,
    last_success: Option<Instant>,
}

#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<Value>,
}

impl KeySet {
    /// Creates a key set that is fetched from an https URL, or from http on a loopback address.
    ///
    /// # Errors
    /// Returns what was expected if the URL is any other.
    pub(super) fn new(url: String) -> Result<KeySet, String> {
        let expected = "expected an https:// URL, or http:// on a loopback address";
        let parsed = Url::parse(&url).map_err(|_| expected)?;
        let is_loopback = match parsed.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => return Err(expected.to_owned()),
        };
        let is_local_http = parsed.scheme() == "http" && is_loopback;
        if parsed.scheme() != "https" && !is_local_http {
            return Err(expected.to_owned());
        }
        Ok(KeySet(Arc::new(Provider {
            url,
            agent: build_agent(TIMEOUT),
            cache: Mutex::default(),
            fetch_lock: Arc::default(),
        })))
    }

    /// Returns the key for a token's header. Fetches the keys first if none matches or they are stale.
    ///
    /// # Errors
    /// Returns [`AuthError::Refused`] if no key matches, and [`AuthError::KeysUnavailable`] if no
    /// fetch has succeeded yet.
    pub(super) async fn find(&self, header: &Header) -> Result<DecodingKey, AuthError> {
        let (found, is_fresh) = self.find_cached(header);
        if let Some(key) = found {
            // A stale key stays valid while another request fetches newer ones.
            if is_fresh || self.0.fetch_lock.try_lock().is_err() {
                return Ok(key);
            }
        }
        self.refresh().await;
        let (found, _) = self.find_cached(header);
        match found {
            Some(key) => Ok(key),
            None if self.0.cache().last_success.is_none() => Err(AuthError::KeysUnavailable),
            None => Err(AuthError::Refused(
                "unknown or ambiguous key (`kid`)".into(),
            )),
        }
    }

    /// Fetches the keys, unless they were requested within [`FETCH_INTERVAL_MIN`].
    ///
    /// # Errors
    /// Returns [`AuthError::KeysUnavailable`] if no fetch has succeeded yet.
    pub(super) async fn warm_up(&self) -> Result<(), AuthError> {
        self.refresh().await;
        let last_success = self.0.cache().last_success;
        last_success.map(drop).ok_or(AuthError::KeysUnavailable)
    }

    /// Returns the cached key for a token, and whether the cache is fresh.
    fn find_cached(&self, header: &Header) -> (Option<DecodingKey>, bool) {
        let cache = self.0.cache();
        let is_fresh = cache.last_success.is_some_and(|at| at.elapsed() < MAX_AGE);
        let keys = cache.keys.clone();
        drop(cache);
        let mut candidates = keys.iter().filter(|key| key_matches(key, header));
        let key = match (candidates.next(), &header.kid, candidates.next()) {
            // Without a `kid`, several candidates are ambiguous.
            (_, None, Some(_)) => None,
            (key, _, _) => key,
        };
        (
            key.and_then(|key| DecodingKey::from_jwk(key).ok()),
            is_fresh,
        )
    }

    /// Fetches the keys, unless they were requested within [`FETCH_INTERVAL_MIN`].
    async fn refresh(&self) {
        let guard = self.0.fetch_lock.clone().lock_owned().await;
        let last_attempt = self.0.cache().last_attempt;
        if last_attempt.is_some_and(|at| at.elapsed() < FETCH_INTERVAL_MIN) {
            return;
        }
        self.0.cache().last_attempt = Some(Instant::now());
        let provider = self.0.clone();
        // Continues if the request with the token is cancelled: other requests wait for the keys.
        let task = spawn_blocking(move || {
            provider.fetch();
            drop(guard);
        });
        if let Err(error) = task.await {
            tracing::error!(died = %error, "JWKS fetch task failed");
        }
    }
}

impl Provider {
    fn fetch(&self) {
        match fetch(&self.agent, &self.url) {
            Ok(keys) => {
                let mut cache = self.cache();
                cache.keys = Arc::new(keys);
                cache.last_success = Some(Instant::now());
            }
            Err(cause) => tracing::warn!(url = self.url, cause, "JWKS fetch failed"),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fetch(agent: &Agent, url: &str) -> Result<Vec<Jwk>, String> {
    let accept = "application/jwk-set+json, application/json";
    let response = agent.get(url).header("accept", accept).call();
    let mut response = response.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("status {}", response.status()));
    }
    let body = response.body_mut().with_config().limit(BYTES_MAX);
    let body = body.read_to_vec().map_err(|error| error.to_string())?;
    let document: KeySetDocument =
        serde_json::from_slice(&body).map_err(|_| "expected a JSON Web Key Set")?;
    // Keys of an unsupported type are ignored (RFC 7517, section 5).
    let parse = |key: Value| serde_json::from_value(key).ok();
    Ok(document.keys.into_iter().filter_map(parse).collect())
}

/// Returns whether a key has the token's `kid` and may verify signatures of its algorithm.
fn key_matches(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let has_key_id = header.kid.is_none() || common.key_id == header.kid;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let is_for_algorithm = common
        .key_algorithm
        .is_none_or(|algorithm| algorithm.to_string() == format!("{:?}", header.alg));
    has_key_id && is_for_signatures && is_for_algorithm && supports_algorithm(key, header.alg)
}

fn supports_algorithm(key: &Jwk, algorithm: Algorithm) -> bool {
    match (&key.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => {
            key.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => {
            key.curve == EllipticCurve::Ed25519
        }
        (AlgorithmParameters::RSA(key), algorithm) => {
            let is_rsa = format!("{algorithm:?}").starts_with(['R', 'P']);
            let modulus = URL_SAFE_NO_PAD.decode(&key.n).unwrap_or_default();
            let leading_zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            is_rsa && modulus.len() - leading_zeros >= RSA_BYTES_MIN
        }
        _ => false,
    }
}
