//! Signing a link in three steps: canonical request, string to sign, signature.

use super::error::Malformed;
use super::keyring::Keyring;
use super::path::DownloadPath;
use super::query::canonical_query;
use super::string_to_sign::{associated_data, string_to_sign};
use super::verifier::VerifiedLink;
use super::{Link, URL_BYTES_MAX, parameters};

/// Whether the contents of a link are readable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seal {
    /// Readable by anyone who sees the URL.
    #[default]
    Open,
    /// Encrypted; readable only with the key.
    Sealed,
}

/// Why a link was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A name or value breaks the grammar.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The signing key is a child key, and the link is outside its scope.
    #[error("the link is outside the scope of the signing key: {0}")]
    OutsideScope(&'static str),
    /// The operating system gave no random nonce for a sealed link.
    #[error("the operating system provides no randomness")]
    NoRandomness,
}

/// A URL would be longer than [`URL_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the link would have {bytes} bytes, more than {URL_BYTES_MAX}; use fewer or shorter values"
)]
pub struct UrlTooLong {
    /// The length of the URL in bytes.
    pub bytes: usize,
}

/// A link that was just signed. It is verified by construction: its signature, grammar and scope are
/// right. Its times, address and revocation are not checked.
#[derive(Debug, Clone)]
pub struct SignedLink {
    path_and_query: String,
    link: VerifiedLink,
}

impl SignedLink {
    /// Returns path and query in canonical order, ready to follow an origin.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Returns the whole URL under a public URL: an origin and perhaps a path prefix.
    ///
    /// # Errors
    /// Returns [`UrlTooLong`] if browsers and proxies might not accept its length.
    pub fn url(&self, public_url: &str) -> Result<String, UrlTooLong> {
        let url = [public_url.trim_end_matches('/'), &self.path_and_query].concat();
        match url.len() {
            bytes if bytes > URL_BYTES_MAX => Err(UrlTooLong { bytes }),
            _ => Ok(url),
        }
    }

    /// Returns the link as a verified one.
    #[must_use]
    pub fn verified(&self) -> &VerifiedLink {
        &self.link
    }

    /// Turns the link into a verified one.
    #[must_use]
    pub fn into_verified(self) -> VerifiedLink {
        self.link
    }
}

/// Signs a link with the first key of the keyring.
///
/// # Errors
/// Returns [`SignError::Malformed`] if a name or value breaks the grammar,
/// [`SignError::OutsideScope`] if a child key may not sign the link, and
/// [`SignError::NoRandomness`] if there is no nonce for a sealed link.
pub fn sign(link: Link, keyring: &Keyring, seal: Seal) -> Result<SignedLink, SignError> {
    parameters::check(&link)?;
    let key = keyring.signing_key();
    if let Some(scope) = &key.scope {
        scope.check(&link).map_err(SignError::OutsideScope)?;
    }
    let path = DownloadPath::of(&link).expect("its names were checked");
    let mut pairs = parameters::envelope(&link, key);
    let contents = parameters::contents(&link);
    match seal {
        Seal::Open => pairs.extend(contents),
        Seal::Sealed => {
            let associated = associated_data(path, &pairs);
            let contents = canonical_query(&contents, |_| true);
            let sealed = key.seal.seal(&associated, &contents);
            let sealed = sealed.map_err(|_| SignError::NoRandomness)?;
            pairs.push(("rl_sealed".into(), sealed.into()));
        }
    }
    let query = canonical_query(&pairs, |_| true);
    let signature = key.sign(&string_to_sign(path, &query));
    let hex = hex::encode(signature);
    let path_and_query = format!("{path}?{query}&rl_signature={hex}");
    Ok(SignedLink {
        path_and_query,
        link: VerifiedLink::signed_here(link, &key.id, signature, seal),
    })
}
