//! JSON Web Tokens, RFC 7519, by the rules of RFC 8725: the algorithms are fixed by configuration,
//! and are all of one family.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::jwks::KeySet;
use super::{AuthError, Caller};
use rowlink_link::{UserId, check_text};

/// An HS256 secret is at least as long as the hash's output (RFC 7518, section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;

/// An RSA key's modulus is at least this long (RFC 7518, section 3.3).
pub(super) const RSA_BYTES_MIN: usize = 256;

/// Clocks of the identity provider and of this replica may differ by this much.
const LEEWAY_SECONDS: f64 = 30.0;

const RS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const PS: [Algorithm; 3] = [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const ES: [Algorithm; 2] = [Algorithm::ES256, Algorithm::ES384];

/// What the tokens of an issuer are verified with.
pub enum JwtKey {
    /// A secret that the issuer shares with us.
    Secret(Zeroizing<Vec<u8>>),
    /// Its public key: RSA, P-256, P-384 or Ed25519, in PEM.
    PublicPem(String),
    /// Where it publishes its keys (RFC 7517).
    KeySetUrl(String),
}

/// What the tokens of an issuer must say.
#[derive(Debug, Clone)]
pub struct JwtRules {
    /// The algorithms they may be signed with. Without any: HS256 for a secret, RS256 for a key.
    pub algorithms: Vec<String>,
    /// Their `iss`.
    pub issuer: Option<String>,
    /// Their `aud`. A token that names an audience is refused where none is given (RFC 7519,
    /// section 4.1.3).
    pub audience: Option<String>,
    /// The claim that is the user id.
    pub user_claim: String,
    /// What the audit line calls them.
    pub name: String,
    /// The only exports they are good for; any without.
    pub exports: Option<BTreeSet<String>>,
}

impl Default for JwtRules {
    fn default() -> JwtRules {
        JwtRules {
            algorithms: Vec::new(),
            issuer: None,
            audience: None,
            user_claim: "sub".to_owned(),
            name: "jwt".to_owned(),
            exports: None,
        }
    }
}

/// Why an issuer cannot be configured like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The algorithms do not fit the key, or each other.
    #[error("{0}")]
    Algorithms(String),
    /// The key cannot be used.
    #[error("{0}")]
    Key(String),
}

/// Verifies the tokens of one issuer.
pub struct JwtVerifier {
    keys: Keys,
    rules: JwtRules,
    validation: Validation,
}

enum Keys {
    One(DecodingKey),
    Published(KeySet),
}

impl JwtVerifier {
    /// Accepts tokens under `key` that follow the rules.
    ///
    /// # Errors
    /// Key and rules do not fit.
    pub fn new(key: JwtKey, rules: JwtRules) -> Result<JwtVerifier, JwtError> {
        let algorithms = algorithms(&key, &rules.algorithms).map_err(JwtError::Algorithms)?;
        let keys = match key {
            JwtKey::Secret(secret) => secret_key(&secret).map(Keys::One),
            JwtKey::PublicPem(pem) => public_key(&pem, &algorithms).map(Keys::One),
            JwtKey::KeySetUrl(url) => KeySet::at(url).map(Keys::Published),
        };
        let keys = keys.map_err(JwtError::Key)?;
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms;
        // Times are checked here, against the caller's clock and not the library's.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        if let Some(issuer) = &rules.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        if let Some(audience) = &rules.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        Ok(JwtVerifier {
            keys,
            rules,
            validation,
        })
    }

    /// The `iss` of its tokens, where that is configured.
    pub fn issuer(&self) -> Option<&str> {
        self.rules.issuer.as_deref()
    }

    /// Fetches the published keys, so that the first token need not wait for them.
    ///
    /// # Errors
    /// They cannot be had now. They are asked for again when a token comes.
    pub async fn warm_up(&self) -> Result<(), AuthError> {
        match &self.keys {
            Keys::One(_) => Ok(()),
            Keys::Published(set) => set.warm_up().await,
        }
    }

    /// Verifies a token at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        let header = decode_header(token).map_err(refusal)?;
        check_header(&header)?;
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(refusal(ErrorKind::InvalidAlgorithm.into()));
        }
        let claims = match &self.keys {
            Keys::One(key) => self.claims(token, key),
            Keys::Published(set) => self.claims(token, &set.find(&header).await?),
        }?;
        check_times(&claims, now)?;

        let user_claim = &self.rules.user_claim;
        let user = claims
            .get(user_claim)
            .and_then(Value::as_str)
            .and_then(|user| UserId::parse(user).ok())
            .ok_or_else(|| {
                AuthError::Refused(format!("the token's `{user_claim}` is not a user id").into())
            })?;
        Ok(Caller {
            credential: self.rules.name.clone(),
            user: Some(user),
            scopes: scopes(&claims)?,
            claims: pinnable(&claims),
            exports: self.rules.exports.clone(),
            acts_for_others: false,
        })
    }

    fn claims(&self, token: &str, key: &DecodingKey) -> Result<Map<String, Value>, AuthError> {
        let decoded = decode(token, key, &self.validation).map_err(refusal)?;
        Ok(decoded.claims)
    }
}

/// The issuer that a token claims to be by. Nothing in it is trusted yet.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    let claims: Map<String, Value> = insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// One family, so that a key of one kind is never used as one of another (RFC 8725, section 3.1).
fn algorithms(key: &JwtKey, names: &[String]) -> Result<Vec<Algorithm>, String> {
    let is_secret = matches!(key, JwtKey::Secret(_));
    if names.is_empty() {
        let default = if is_secret {
            Algorithm::HS256
        } else {
            Algorithm::RS256
        };
        return Ok(vec![default]);
    }
    let families: &[&[Algorithm]] = if is_secret {
        &[&[Algorithm::HS256]]
    } else {
        &[&RS, &PS, &ES, &[Algorithm::EdDSA]]
    };
    let of_one_family = families.iter().find_map(|family| {
        let named = |name: &String| name.parse().ok().filter(|it| family.contains(it));
        names.iter().map(named).collect()
    });
    of_one_family.ok_or_else(|| {
        if is_secret {
            "expected HS256: the key is a secret".to_owned()
        } else {
            "expected algorithms of one family: RS256, RS384, RS512; PS256, PS384, PS512; ES256, \
             ES384; or EdDSA"
                .to_owned()
        }
    })
}

fn secret_key(secret: &[u8]) -> Result<DecodingKey, String> {
    if secret.len() < JWT_SECRET_BYTES_MIN {
        return Err(format!("expected at least {JWT_SECRET_BYTES_MIN} bytes"));
    }
    Ok(DecodingKey::from_secret(secret))
}

fn public_key(pem: &str, algorithms: &[Algorithm]) -> Result<DecodingKey, String> {
    let first = algorithms[0];
    let unfit = || format!("expected a public key for {first:?} in PEM");
    let pem = pem.as_bytes();
    let key = match first {
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => DecodingKey::from_rsa_pem(pem),
    };
    let key = key.map_err(|_| unfit())?;
    let bytes = key.try_get_as_bytes().map_err(|_| unfit())?;
    match first {
        // An uncompressed point: 0x04, x, y (SEC 1, section 2.3.3).
        Algorithm::ES256 | Algorithm::ES384 => {
            let fits = |algorithm: &Algorithm| bytes.len() == 1 + 2 * coordinate_bytes(*algorithm);
            if !algorithms.iter().all(fits) {
                return Err("the key's curve is not that of every algorithm".to_owned());
            }
        }
        Algorithm::EdDSA => {}
        _ => {
            let key = RsaPublicKey::from_pkcs1_der(bytes).map_err(|_| unfit())?;
            if key.size() < RSA_BYTES_MIN {
                return Err(format!("expected at least {} bits", RSA_BYTES_MIN * 8));
            }
        }
    }
    Ok(key)
}

/// How long a coordinate of a point on an algorithm's curve is (RFC 7518, section 3.4).
fn coordinate_bytes(algorithm: Algorithm) -> usize {
    if algorithm == Algorithm::ES384 {
        48
    } else {
        32
    }
}

/// A header that brings its own key, or asks for an extension we do not have, is refused
/// (RFC 8725, section 3.10; RFC 7515, section 4.1.11).
fn check_header(header: &Header) -> Result<(), AuthError> {
    let brings_a_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some();
    if brings_a_key || header.crit.is_some() {
        return Err(refused("the token's header asks for too much"));
    }
    Ok(())
}

fn check_times(claims: &Map<String, Value>, now: u64) -> Result<(), AuthError> {
    let now = now as f64;
    let expires = seconds(claims, "exp")?.ok_or(refused("the token has no `exp`"))?;
    if now >= expires + LEEWAY_SECONDS {
        return Err(refused("the token expired"));
    }
    if seconds(claims, "nbf")?.is_some_and(|not_before| now < not_before - LEEWAY_SECONDS) {
        return Err(refused("the token is not valid yet"));
    }
    Ok(())
}

/// A NumericDate, which may have a fraction (RFC 7519, section 2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(refused("a time in the token is not a number")),
    }
}

/// What the caller may do, by any of the names that providers give it: `scope` (RFC 8693, section
/// 4.2), `scp` and `permissions`, each names separated by spaces or an array of them.
fn scopes(claims: &Map<String, Value>) -> Result<BTreeSet<String>, AuthError> {
    let mut scopes = BTreeSet::new();
    for claim in ["scope", "scp", "permissions"] {
        let names: Option<Vec<String>> = match claims.get(claim) {
            None => continue,
            Some(Value::String(names)) => {
                Some(names.split_whitespace().map(str::to_owned).collect())
            }
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect(),
            Some(_) => None,
        };
        scopes.extend(names.ok_or_else(|| {
            AuthError::Refused(format!("the token's `{claim}` is not a list of names").into())
        })?);
    }
    Ok(scopes)
}

/// The claims that a link can carry: texts, whole numbers and truth values.
fn pinnable(claims: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    claims
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .filter(|(_, text)| check_text(text).is_ok())
        .collect()
}

fn refusal(error: jsonwebtoken::errors::Error) -> AuthError {
    refused(match error.kind() {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) => {
            "the token is not a JSON Web Token"
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "the token's algorithm is not accepted here"
        }
        ErrorKind::InvalidIssuer => "the token is by another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks its issuer or audience",
        _ => "the token's signature is not valid",
    })
}

fn refused(why: &'static str) -> AuthError {
    AuthError::Refused(why.into())
}
