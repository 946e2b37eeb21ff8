//! Callers: issuers of tokens, and API keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::Variables;
use super::errors::{ConfigErrors, read};
use crate::auth::{ApiKeys, Authenticator, JwtError, JwtKey, JwtRules, JwtVerifier};
use crate::toml_errors::{self, LineError};

/// The file of issuers: one table `[issuers.NAME]` per issuer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuersFile {
    #[serde(default)]
    issuers: BTreeMap<Spanned<String>, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    issuer: String,
    audience: Option<String>,
    #[serde(default)]
    algorithms: Vec<String>,
    user_claim: Option<String>,
    exports: Option<BTreeSet<String>>,
    hs256_secret_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
    jwks_url: Option<String>,
}

/// Reads the callers; without any the configuration is invalid.
pub(super) fn authenticator(variables: &mut Variables, errors: &mut ConfigErrors) -> Authenticator {
    let has_none = variables.jwt_hs256_secret.is_none()
        && variables.jwt_hs256_secret_file.is_none()
        && variables.jwt_public_key_file.is_none()
        && variables.jwt_jwks_url.is_none()
        && variables.jwt_issuers_file.is_none()
        && variables.api_keys_file.is_none();
    if has_none {
        errors.add(
            "JWT_HS256_SECRET",
            "set this, ROWLINK_JWT_PUBLIC_KEY_FILE, ROWLINK_JWT_JWKS_URL, \
             ROWLINK_JWT_ISSUERS_FILE or ROWLINK_API_KEYS_FILE: without any of them no caller could request a link",
        );
    }
    let mut issuers: Vec<JwtVerifier> = issuer(variables, errors).into_iter().collect();
    if let Some(path) = &variables.jwt_issuers_file {
        let text = errors.check("JWT_ISSUERS_FILE", read(path));
        let further = text.and_then(|text| errors.check_all("JWT_ISSUERS_FILE", listed(&text)));
        issuers.extend(further.unwrap_or_default());
    }
    if issuers.len() > 1 && issuers.iter().any(|issuer| issuer.issuer().is_none()) {
        errors.add("JWT_ISSUER", "is required with several issuers");
    }
    let mut names: Vec<&str> = issuers.iter().filter_map(JwtVerifier::issuer).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.add("JWT_ISSUERS_FILE", "duplicate `issuer`");
    }
    let api_keys = variables.api_keys_file.as_ref().and_then(|path| {
        let text = errors.check("API_KEYS_FILE", read(path))?;
        errors.check_all("API_KEYS_FILE", ApiKeys::parse(&text))
    });
    Authenticator::new(issuers, api_keys)
}

/// Returns the issuer of the variables.
fn issuer(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<JwtVerifier> {
    let secret = errors.secret(
        "JWT_HS256_SECRET",
        variables.jwt_hs256_secret.take(),
        variables.jwt_hs256_secret_file.take(),
    );
    let public_key = variables.jwt_public_key_file.take();
    let public_key = public_key.and_then(|path| errors.check("JWT_PUBLIC_KEY_FILE", read(&path)));
    let (variable, key) = match (secret, public_key, variables.jwt_jwks_url.take()) {
        (Some(secret), None, None) => ("JWT_HS256_SECRET", secret_key(&secret)),
        (None, Some(pem), None) => ("JWT_PUBLIC_KEY_FILE", JwtKey::PublicPem(pem.to_string())),
        (None, None, Some(url)) => ("JWT_JWKS_URL", JwtKey::KeySetUrl(url)),
        (None, None, None) => {
            for (variable, rule) in [
                ("JWT_ALGORITHMS", &variables.jwt_algorithms),
                ("JWT_ISSUER", &variables.jwt_issuer),
                ("JWT_AUDIENCE", &variables.jwt_audience),
                ("JWT_USER_CLAIM", &variables.jwt_user_claim),
            ] {
                if rule.is_some() {
                    errors.add(variable, "has no effect without a JWT key");
                }
            }
            return None;
        }
        _ => {
            let message = "set one of this, ROWLINK_JWT_PUBLIC_KEY_FILE and ROWLINK_JWT_JWKS_URL; \
                           further issuers go into ROWLINK_JWT_ISSUERS_FILE";
            errors.add("JWT_HS256_SECRET", message);
            return None;
        }
    };
    let names = variables.jwt_algorithms.take().unwrap_or_default();
    let rules = JwtRules {
        algorithms: list(&names).map(str::to_owned).collect(),
        issuer: variables.jwt_issuer.take(),
        audience: variables.jwt_audience.take(),
        user_claim: user_claim(variables.jwt_user_claim.take()),
        ..JwtRules::default()
    };
    match JwtVerifier::new(key, rules) {
        Ok(issuer) => Some(issuer),
        Err(JwtError::Algorithms(message)) => {
            errors.add("JWT_ALGORITHMS", message);
            None
        }
        Err(JwtError::Key(message)) => {
            errors.add(variable, message);
            None
        }
    }
}

/// Parses the file of issuers.
fn listed(text: &str) -> Result<Vec<JwtVerifier>, Vec<LineError>> {
    let file: IssuersFile = toml_errors::read(text)?;
    let (mut issuers, mut errors) = (Vec::new(), Vec::new());
    for (name, entry) in file.issuers {
        match entry.into_issuer(name.get_ref()) {
            Ok(issuer) => issuers.push(issuer),
            Err(message) => {
                let message = format!("issuer `{}`: {message}", name.get_ref());
                errors.push(LineError::at(text, name.span().start, message));
            }
        }
    }
    if issuers.is_empty() && errors.is_empty() {
        errors.push(LineError::at(text, 0, "expected [issuers.NAME]"));
    }
    if errors.is_empty() {
        Ok(issuers)
    } else {
        Err(errors)
    }
}

impl Entry {
    fn into_issuer(self, name: &str) -> Result<JwtVerifier, String> {
        let key = match (self.hs256_secret_file, self.public_key_file, self.jwks_url) {
            (Some(path), None, None) => secret_key(&read(&path)?),
            (None, Some(path), None) => JwtKey::PublicPem(read(&path)?.to_string()),
            (None, None, Some(url)) => JwtKey::KeySetUrl(url),
            _ => {
                return Err(
                    "expected one of `hs256_secret_file`, `public_key_file` and `jwks_url`".into(),
                );
            }
        };
        let rules = JwtRules {
            algorithms: self.algorithms,
            issuer: Some(self.issuer),
            audience: self.audience,
            user_claim: user_claim(self.user_claim),
            name: format!("jwt {name}"),
            exports: self.exports,
        };
        JwtVerifier::new(key, rules).map_err(|error| match error {
            JwtError::Algorithms(message) => format!("`algorithms`: {message}"),
            JwtError::Key(message) => format!("key: {message}"),
        })
    }
}

fn secret_key(secret: &str) -> JwtKey {
    JwtKey::Secret(Zeroizing::new(secret.as_bytes().to_vec()))
}

fn user_claim(configured: Option<String>) -> String {
    configured.unwrap_or_else(|| JwtRules::default().user_claim)
}

/// Returns the entries of a list separated by commas.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty())
}
