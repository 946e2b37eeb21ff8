//! Signing a link.

use super::canonical::{Pair, canonical_query, signed_path};
use super::keyring::Key;
use super::{Keyring, Link, parameters, seal};

/// The first line of the string to sign: version and algorithm, so that no other protocol's
/// string can ever equal one of ours.
const LABEL: &str = "ROWLINK1-HMAC-SHA256\n";

/// Whether a link's contents can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seal {
    /// By everybody who sees it.
    #[default]
    Open,
    /// By those who hold its key alone.
    Sealed,
}

/// Why a link was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key is a child key, and the link is not inside its scope.
    #[error("the signing key may not sign this link: {0} is outside its scope")]
    OutsideScope(&'static str),
    /// Nothing to draw a nonce from.
    #[error("the operating system has no randomness to give")]
    NoRandomness,
}

/// Signs a link with the first key.
///
/// Returns its path and query in canonical order, ready to follow the public origin.
///
/// # Errors
/// The key may not, or the box of a sealed link has no nonce.
pub fn sign(link: &Link, keyring: &Keyring, seal: Seal) -> Result<String, SignError> {
    let key = keyring.signing_key();
    if let Some(scope) = &key.scope {
        scope.check(link).map_err(SignError::OutsideScope)?;
    }
    let path = signed_path(&link.export, link.format);
    let mut pairs = parameters::envelope(link, key);
    let contents = parameters::contents(link);
    match seal {
        Seal::Open => pairs.extend(contents),
        Seal::Sealed => {
            let associated = associated_data(&path, &pairs);
            let contents = canonical_query(&contents, |_| true);
            let sealed = key.seal.seal(&associated, &contents);
            let sealed = sealed.map_err(|_| SignError::NoRandomness)?;
            pairs.push(("rl_sealed".into(), sealed.into()));
        }
    }
    Ok(signed(key, &path, &pairs))
}

fn signed(key: &Key, path: &[&str; 4], pairs: &[Pair<'_>]) -> String {
    let query = canonical_query(pairs, |_| true);
    let signature = key.sign(&string_to_sign(path, &query));
    let path = path.concat();
    format!("{path}?{query}&rl_signature={signature}")
}

pub(super) fn string_to_sign<'a>(path: &[&'a str; 4], canonical_query: &'a str) -> [&'a str; 7] {
    let [prefix, export, dot, format] = *path;
    [LABEL, prefix, export, dot, format, "\n", canonical_query]
}

/// What a box belongs to: the path, and the envelope that everybody can read.
pub(super) fn associated_data(path: &[&str; 4], pairs: &[Pair<'_>]) -> String {
    let is_envelope = |name: &str| !matches!(name, "rl_sealed" | "rl_signature");
    let envelope = canonical_query(pairs, is_envelope);
    [seal::LABEL, &path.concat(), "\n", &envelope].concat()
}
