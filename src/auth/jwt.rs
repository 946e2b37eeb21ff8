//! JSON Web Tokens, RFC 7519, by the rules of RFC 8725: one algorithm, fixed by configuration.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{AuthError, Caller};
use crate::link::{UserId, check_text};

/// An HS256 secret is at least as long as the hash's output (RFC 7518, section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;

/// Clocks of the identity provider and of this replica may differ by this much.
const LEEWAY_SECONDS: f64 = 30.0;

/// Verifies HS256 tokens of one issuer.
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl JwtVerifier {
    /// Accepts tokens under `secret`, by `issuer` and for `audience` where these are given. A token
    /// that names an audience is refused where none is given (RFC 7519, section 4.1.3).
    pub fn hs256(secret: &[u8], issuer: Option<&str>, audience: Option<&str>) -> JwtVerifier {
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are checked here, against the caller's clock and not the library's.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        JwtVerifier {
            key: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// Verifies a token at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn verify(&self, token: &str, now: u64) -> Result<Caller, AuthError> {
        let header = decode_header(token).map_err(refusal)?;
        check_header(&header)?;
        let claims = decode::<Map<String, Value>>(token, &self.key, &self.validation)
            .map_err(refusal)?
            .claims;
        check_times(&claims, now)?;

        let user = claims
            .get("sub")
            .and_then(Value::as_str)
            .and_then(|sub| UserId::parse(sub).ok())
            .ok_or(AuthError::Refused("the token's `sub` is not a user id"))?;
        Ok(Caller {
            credential: "jwt".to_owned(),
            user: Some(user),
            scopes: scopes(&claims)?,
            claims: pinnable(&claims),
            exports: None,
            acts_for_others: false,
        })
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
        return Err(AuthError::Refused("the token's header asks for too much"));
    }
    Ok(())
}

fn check_times(claims: &Map<String, Value>, now: u64) -> Result<(), AuthError> {
    let now = now as f64;
    let expires = seconds(claims, "exp")?.ok_or(AuthError::Refused("the token has no `exp`"))?;
    if now >= expires + LEEWAY_SECONDS {
        return Err(AuthError::Refused("the token expired"));
    }
    if seconds(claims, "nbf")?.is_some_and(|not_before| now < not_before - LEEWAY_SECONDS) {
        return Err(AuthError::Refused("the token is not valid yet"));
    }
    Ok(())
}

/// A NumericDate, which may have a fraction (RFC 7519, section 2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(AuthError::Refused("a time in the token is not a number")),
    }
}

/// `scope`: names separated by spaces (RFC 8693, section 4.2), or an array of them.
fn scopes(claims: &Map<String, Value>) -> Result<BTreeSet<String>, AuthError> {
    let malformed = AuthError::Refused("the token's `scope` is not a list of names");
    match claims.get("scope") {
        None => Ok(BTreeSet::new()),
        Some(Value::String(names)) => Ok(names.split_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or(malformed),
        Some(_) => Err(malformed),
    }
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
    AuthError::Refused(match error.kind() {
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
