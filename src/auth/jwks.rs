//! The keys that an identity provider publishes at a URL: a JSON Web Key Set, RFC 7517.
//!
//! Anybody can send a token that names a key we have not seen, so what makes us ask the provider is
//! bounded: one request at a time, and one in [`COOL_DOWN`].

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
use super::jwt::RSA_BYTES_MIN;
use crate::http_client::agent;

/// Between two requests to the provider at least this passes, whatever comes of them.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// After this the keys are fetched again, so that one which was withdrawn is not accepted for ever.
const MAX_AGE: Duration = Duration::from_secs(600);
/// A provider must answer within this.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A set is at most this long.
const BYTES_MAX: u64 = 64 * 1024;

/// The published keys of one issuer.
pub(super) struct KeySet(Arc<Provider>);

struct Provider {
    url: String,
    agent: Agent,
    known: Mutex<Known>,
    /// Held by the one who asks.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What the last answers gave. A failure leaves the keys as they are.
#[derive(Default)]
struct Known {
    keys: Arc<Vec<Jwk>>,
    asked: Option<Instant>,
    fetched: Option<Instant>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Keys at a URL: https, or http on this machine.
    ///
    /// # Errors
    /// Another URL.
    pub(super) fn at(url: String) -> Result<KeySet, String> {
        let expected = "expected an https:// URL, or http:// on a loopback address";
        let parsed = Url::parse(&url).map_err(|_| expected)?;
        let is_loopback = match parsed.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => return Err(expected.to_owned()),
        };
        let plain = parsed.scheme() == "http" && is_loopback;
        if parsed.scheme() != "https" && !plain {
            return Err(expected.to_owned());
        }
        Ok(KeySet(Arc::new(Provider {
            url,
            agent: agent(TIMEOUT),
            known: Mutex::default(),
            asking: Arc::default(),
        })))
    }

    /// The key of a token's header.
    ///
    /// # Errors
    /// There is none, or no key was ever to be had.
    pub(super) async fn find(&self, header: &Header) -> Result<DecodingKey, AuthError> {
        let (found, is_fresh) = self.look(header);
        if let Some(key) = found {
            // Keys that are old but known are good while another request looks for newer ones.
            if is_fresh || self.0.asking.try_lock().is_err() {
                return Ok(key);
            }
        }
        self.refresh().await;
        let (found, _) = self.look(header);
        match found {
            Some(key) => Ok(key),
            None if self.0.known().fetched.is_none() => Err(AuthError::KeysUnavailable),
            None => Err(AuthError::Refused("the token's key is not known".into())),
        }
    }

    /// Fetches the keys now.
    ///
    /// # Errors
    /// They are not to be had.
    pub(super) async fn warm_up(&self) -> Result<(), AuthError> {
        self.refresh().await;
        let fetched = self.0.known().fetched;
        fetched.map(drop).ok_or(AuthError::KeysUnavailable)
    }

    /// The key of a token, and whether what is known is fresh.
    fn look(&self, header: &Header) -> (Option<DecodingKey>, bool) {
        let known = self.0.known();
        let is_fresh = known.fetched.is_some_and(|at| at.elapsed() < MAX_AGE);
        let keys = known.keys.clone();
        drop(known);
        let mut fitting = keys.iter().filter(|key| fits(key, header));
        let key = match (fitting.next(), &header.kid, fitting.next()) {
            // Of several keys without a name to choose by, none is meant.
            (_, None, Some(_)) => None,
            (key, _, _) => key,
        };
        (
            key.and_then(|key| DecodingKey::from_jwk(key).ok()),
            is_fresh,
        )
    }

    /// Asks the provider, unless somebody else has just done so.
    async fn refresh(&self) {
        let asking = self.0.asking.clone().lock_owned().await;
        let asked = self.0.known().asked;
        if asked.is_some_and(|at| at.elapsed() < COOL_DOWN) {
            return;
        }
        self.0.known().asked = Some(Instant::now());
        let provider = self.0.clone();
        // Goes on when the request that brought the token is gone: others wait for the keys.
        let fetching = spawn_blocking(move || {
            provider.fetch();
            drop(asking);
        });
        if let Err(died) = fetching.await {
            tracing::error!(%died, "keys were not fetched");
        }
    }
}

impl Provider {
    fn fetch(&self) {
        match fetch(&self.agent, &self.url) {
            Ok(keys) => {
                let mut known = self.known();
                known.keys = Arc::new(keys);
                known.fetched = Some(Instant::now());
            }
            Err(cause) => tracing::warn!(url = self.url, cause, "no keys from the issuer"),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
    let document: Document = serde_json::from_slice(&body).map_err(|_| "not a key set")?;
    // Keys of kinds that we do not know are left out (RFC 7517, section 5).
    let known = |key: Value| serde_json::from_value(key).ok();
    Ok(document.keys.into_iter().filter_map(known).collect())
}

/// Whether a key is the one that a token names, and meant for verifying with the token's algorithm.
fn fits(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let is_named = header.kid.is_none() || common.key_id == header.kid;
    let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let is_for_algorithm = common
        .key_algorithm
        .is_none_or(|algorithm| algorithm.to_string() == format!("{:?}", header.alg));
    is_named && is_for_signatures && is_for_algorithm && has_kind_of(key, header.alg)
}

fn has_kind_of(key: &Jwk, algorithm: Algorithm) -> bool {
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
