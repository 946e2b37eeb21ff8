//! Verifies JSON Web Tokens (RFC 7519) by the best practices of RFC 8725: configuration fixes the
//! algorithms, all of one family.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::jwks::{KeySet, RSA_BYTES_MIN};
use super::{AuthError, Caller};
use rowlink_link::{UserId, check_text};

/// The minimum length of an HS256 secret: that of the hash output (RFC 7518, section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;

/// The subject, which is the user id by default (RFC 7519, section 4.1.2).
const SUBJECT: &str = "sub";
/// The accepted clock difference between the identity provider and this server.
const LEEWAY_SECONDS: f64 = 30.0;

pub(super) const UNKNOWN_ISSUER: &str = "unknown issuer (`iss`)";

const RS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const PS: [Algorithm; 3] = [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const ES: [Algorithm; 2] = [Algorithm::ES256, Algorithm::ES384];

/// The key that verifies the tokens of an issuer.
pub enum JwtKey {
    /// A secret shared with the issuer.
    Secret(Zeroizing<Vec<u8>>),
    /// The issuer's public key in PEM: RSA, P-256, P-384 or Ed25519.
    PublicPem(String),
    /// The URL of the issuer's key set (RFC 7517).
    KeySetUrl(String),
}

/// The requirements for the tokens of an issuer.
#[derive(Debug, Clone)]
pub struct JwtRules {
    /// The accepted algorithms. If empty: HS256 for a secret, RS256 for a public key.
    pub algorithms: Vec<String>,
    /// The required `iss`.
    pub issuer: Option<String>,
    /// The required `aud`. If `None`, a token with an audience is rejected (RFC 7519, section 4.1.3).
    pub audience: Option<String>,
    /// The claim with the user id.
    pub user_claim: String,
    /// The name of these tokens in the audit log.
    pub name: String,
    /// The exports that these tokens allow; `None` allows all.
    pub exports: Option<BTreeSet<String>>,
}

impl Default for JwtRules {
    fn default() -> JwtRules {
        JwtRules {
            algorithms: Vec::new(),
            issuer: None,
            audience: None,
            user_claim: SUBJECT.to_owned(),
            name: "jwt".to_owned(),
            exports: None,
        }
    }
}

/// Why the configuration of an issuer is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The algorithms do not match the key or are not all of one family.
    #[error("{0}")]
    Algorithms(String),
    /// The key is malformed, too short or of the wrong type.
    #[error("{0}")]
    Key(String),
}

/// Verifies the tokens of one issuer.
pub struct JwtVerifier {
    key_source: KeySource,
    rules: JwtRules,
    validation: Validation,
}

enum KeySource {
    Static(DecodingKey),
    Published(KeySet),
}

impl JwtVerifier {
    /// Creates a verifier for tokens that are signed with `key` and meet the rules.
    ///
    /// # Errors
    /// Returns [`JwtError::Algorithms`] if the algorithms do not match the key or are of several
    /// families, and [`JwtError::Key`] if the key is malformed, too short or of the wrong type.
    pub fn new(key: JwtKey, rules: JwtRules) -> Result<JwtVerifier, JwtError> {
        let algorithms = parse_algorithms(&key, &rules.algorithms).map_err(JwtError::Algorithms)?;
        let key_source = match key {
            JwtKey::Secret(secret) => parse_secret(&secret).map(KeySource::Static),
            JwtKey::PublicPem(pem) => parse_public_key(&pem, &algorithms).map(KeySource::Static),
            JwtKey::KeySetUrl(url) => KeySet::new(url).map(KeySource::Published),
        };
        let key_source = key_source.map_err(JwtError::Key)?;
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms;
        // `check_times` uses the `now` argument; the library would read the system clock.
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
            key_source,
            rules,
            validation,
        })
    }

    /// Returns the required `iss`, if one is configured.
    pub fn issuer(&self) -> Option<&str> {
        self.rules.issuer.as_deref()
    }

    /// Fetches the published keys, so that the first token need not wait for them.
    ///
    /// # Errors
    /// Returns [`AuthError::KeysUnavailable`] if no fetch has succeeded yet. A later token triggers
    /// another fetch.
    pub async fn warm_up(&self) -> Result<(), AuthError> {
        match &self.key_source {
            KeySource::Static(_) => Ok(()),
            KeySource::Published(set) => set.warm_up().await,
        }
    }

    /// Verifies a token at `now`, in Unix seconds, and returns its caller.
    ///
    /// # Errors
    /// Returns [`AuthError::Refused`] if the token is invalid or expired, and
    /// [`AuthError::KeysUnavailable`] if the issuer's keys were never fetched.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        let header = decode_header(token).map_err(jwt_error)?;
        check_header(&header)?;
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(jwt_error(ErrorKind::InvalidAlgorithm.into()));
        }
        let claims = match &self.key_source {
            KeySource::Static(key) => self.verify_signature(token, key),
            KeySource::Published(set) => self.verify_signature(token, &set.find(&header).await?),
        }?;
        check_times(&claims, now)?;

        let user_claim = &self.rules.user_claim;
        let user = claims
            .get(user_claim)
            .and_then(|user| user_text(user_claim, user))
            .and_then(|user| UserId::parse(&user).ok())
            .ok_or_else(|| token_error(format!("claim `{user_claim}`: expected a user id")))?;
        Ok(Caller {
            credential: self.rules.name.clone(),
            user: Some(user),
            scopes: scopes_of(&claims),
            claims: pinnable_claims(&claims),
            exports: self.rules.exports.clone(),
            acts_for_others: false,
            settable_claims: BTreeSet::new(),
        })
    }

    /// Returns the claims if signature, issuer and audience are valid.
    fn verify_signature(
        &self,
        token: &str,
        key: &DecodingKey,
    ) -> Result<Map<String, Value>, AuthError> {
        let decoded = decode(token, key, &self.validation).map_err(jwt_error)?;
        Ok(decoded.claims)
    }
}

/// Returns the `iss` of a token that is not verified yet.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    let claims: Map<String, Value> = insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Parses the algorithms. All must be of one family, so that a key is never used with an algorithm
/// of another type (RFC 8725, section 3.1).
fn parse_algorithms(key: &JwtKey, names: &[String]) -> Result<Vec<Algorithm>, String> {
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
    let parsed = families.iter().find_map(|family| {
        let parse = |name: &String| name.parse().ok().filter(|it| family.contains(it));
        names.iter().map(parse).collect()
    });
    parsed.ok_or_else(|| {
        if is_secret {
            "expected HS256: the key is a secret".to_owned()
        } else {
            "expected algorithms of one family: RS256, RS384, RS512; PS256, PS384, PS512; ES256, \
             ES384; or EdDSA"
                .to_owned()
        }
    })
}

fn parse_secret(secret: &[u8]) -> Result<DecodingKey, String> {
    if secret.len() < JWT_SECRET_BYTES_MIN {
        return Err(format!("expected at least {JWT_SECRET_BYTES_MIN} bytes"));
    }
    Ok(DecodingKey::from_secret(secret))
}

fn parse_public_key(pem: &str, algorithms: &[Algorithm]) -> Result<DecodingKey, String> {
    let first = algorithms[0];
    let key_error = || format!("expected a public key for {first:?} in PEM");
    let pem = pem.as_bytes();
    let key = match first {
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => DecodingKey::from_rsa_pem(pem),
    };
    let key = key.map_err(|_| key_error())?;
    let bytes = key.try_get_as_bytes().map_err(|_| key_error())?;
    match first {
        // An uncompressed point: 0x04, x, y (SEC 1, section 2.3.3).
        Algorithm::ES256 | Algorithm::ES384 => {
            let matches =
                |algorithm: &Algorithm| bytes.len() == 1 + 2 * coordinate_bytes(*algorithm);
            if !algorithms.iter().all(matches) {
                return Err("expected a key on the curve of every algorithm".to_owned());
            }
        }
        Algorithm::EdDSA => {}
        _ => {
            let key = RsaPublicKey::from_pkcs1_der(bytes).map_err(|_| key_error())?;
            if key.size() < RSA_BYTES_MIN {
                return Err(format!("expected at least {} bits", RSA_BYTES_MIN * 8));
            }
        }
    }
    Ok(key)
}

/// Returns the length in bytes of a coordinate on the algorithm's curve (RFC 7518, section 3.4).
fn coordinate_bytes(algorithm: Algorithm) -> usize {
    if algorithm == Algorithm::ES384 {
        48
    } else {
        32
    }
}

/// Rejects a header that carries its own key or a critical extension (RFC 8725, section 3.10;
/// RFC 7515, section 4.1.11).
fn check_header(header: &Header) -> Result<(), AuthError> {
    let has_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some();
    if has_key || header.crit.is_some() {
        return Err(token_error(
            "unsupported JOSE header (jku, jwk, x5u, x5c, crit)",
        ));
    }
    Ok(())
}

fn check_times(claims: &Map<String, Value>, now: u64) -> Result<(), AuthError> {
    let now = now as f64;
    let expires = numeric_date(claims, "exp")?.ok_or_else(|| token_error("missing claim `exp`"))?;
    if now >= expires + LEEWAY_SECONDS {
        return Err(token_error("the token has expired (`exp`)"));
    }
    if numeric_date(claims, "nbf")?.is_some_and(|not_before| now < not_before - LEEWAY_SECONDS) {
        return Err(token_error("the token is not valid yet (`nbf`)"));
    }
    Ok(())
}

/// Returns a NumericDate claim in Unix seconds, possibly with a fraction (RFC 7519, section 2).
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|seconds| seconds.is_finite()) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(token_error(format!(
                "claim `{name}`: expected a number of seconds"
            ))),
        },
    }
}

/// Collects the scopes from the claims that providers use: `scope` (RFC 8693, section 4.2), `scp` and
/// `permissions`. Each is a string of names separated by spaces, or an array of names. Another value grants nothing:
/// providers put objects there for other applications, and not every export needs a scope.
fn scopes_of(claims: &Map<String, Value>) -> BTreeSet<String> {
    let names_of = |claim: &str| -> Option<Vec<String>> {
        match claims.get(claim)? {
            Value::String(names) => Some(names.split_whitespace().map(str::to_owned).collect()),
            Value::Array(names) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect()
            }
            _ => None,
        }
    };
    let claims = ["scope", "scp", "permissions"].into_iter();
    claims.filter_map(names_of).flatten().collect()
}

/// Returns the user id in a claim. `sub` is a text (RFC 7519, section 4.1.2); another claim may be an integer.
fn user_text(claim: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(user) => Some(user.clone()),
        Value::Number(number) if claim != SUBJECT && !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the claims that a link can carry: strings, integers and booleans.
fn pinnable_claims(claims: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    claims
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .filter(|(_, text)| check_text(text).is_ok())
        .collect()
}

/// Converts an error of the JWT library.
fn jwt_error(error: jsonwebtoken::errors::Error) -> AuthError {
    token_error(match error.kind() {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) => {
            "expected a JSON Web Token"
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "unsupported algorithm (`alg`)"
        }
        ErrorKind::InvalidIssuer => UNKNOWN_ISSUER,
        ErrorKind::InvalidAudience => "unknown audience (`aud`)",
        ErrorKind::MissingRequiredClaim(_) => "missing claim `iss` or `aud`",
        _ => "the signature does not match the token",
    })
}

fn token_error(message: impl Into<Cow<'static, str>>) -> AuthError {
    AuthError::Refused(message.into())
}
