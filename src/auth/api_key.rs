//! API keys for scripts and back ends. The file stores only the SHA-256 of each random token.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use toml::Spanned;
use zeroize::Zeroizing;

use super::Caller;
use crate::toml_errors::{self, LineError};
use rowlink_link::{UserId, check_text, is_claim_name};

/// The keys of an API key file.
pub struct ApiKeys {
    keys: Vec<ApiKey>,
}

struct ApiKey {
    sha256: [u8; 32],
    caller: Caller,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: String,
    user: Option<String>,
    #[serde(default)]
    scopes: BTreeSet<String>,
    exports: Option<BTreeSet<String>>,
    #[serde(default)]
    act_for_others: bool,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    claims_from_requests: BTreeSet<String>,
}

impl ApiKeys {
    /// Parses an API key file: TOML with one `[keys.NAME]` table per key.
    ///
    /// # Errors
    /// Returns every error in the file. A file without a key is an error.
    pub fn parse(text: &str) -> Result<ApiKeys, Vec<LineError>> {
        let file: File = toml_errors::read(text)?;
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        for (name, entry) in file.keys {
            let key = entry.into_key(name.get_ref());
            match key.and_then(|key| ensure_unique(key, &keys)) {
                Ok(key) => keys.push(key),
                Err(message) => {
                    let message = format!("key `{}`: {message}", name.get_ref());
                    errors.push(LineError::at(text, name.span().start, message));
                }
            }
        }
        if keys.is_empty() && errors.is_empty() {
            errors.push(LineError::at(
                text,
                0,
                "expected at least one [keys.NAME] table",
            ));
        }
        if errors.is_empty() {
            Ok(ApiKeys { keys })
        } else {
            Err(errors)
        }
    }

    /// Returns the caller of this API key. Compares it with every key in constant time.
    pub(super) fn find(&self, token: &str) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.sha256.ct_eq(&digest)) {
                found = Some(&key.caller);
            }
        }
        found.cloned()
    }
}

impl Entry {
    fn into_key(self, name: &str) -> Result<ApiKey, String> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut sha256)
            .map_err(|_| "`sha256`: expected 64 hex digits")?;
        let user = self.user.map(UserId::parse).transpose();
        let user = user.map_err(|error| format!("`user`: {error}"))?;
        if user.is_none() && !self.act_for_others {
            return Err("`user`: is required unless `act_for_others = true`".into());
        }
        for (claim, value) in &self.claims {
            check_text(value).map_err(|error| format!("claim `{claim}`: {error}"))?;
        }
        if !self.claims_from_requests.is_empty() && !self.act_for_others {
            return Err("`claims_from_requests`: expected `act_for_others = true`".into());
        }
        if let Some(claim) = self
            .claims_from_requests
            .iter()
            .find(|it| !is_claim_name(it))
        {
            let expected = "expected names of 1 to 64 of A-Z a-z 0-9 _";
            return Err(format!("`claims_from_requests`: `{claim}`: {expected}"));
        }
        let caller = Caller {
            credential: name.to_owned(),
            user,
            claims: self.claims,
            scopes: self.scopes,
            exports: self.exports,
            acts_for_others: self.act_for_others,
            settable_claims: self.claims_from_requests,
        };
        Ok(ApiKey { sha256, caller })
    }
}

/// Rejects a hash that is listed twice: which entry's permissions apply would be ambiguous.
fn ensure_unique(key: ApiKey, others: &[ApiKey]) -> Result<ApiKey, String> {
    match others.iter().find(|other| other.sha256 == key.sha256) {
        None => Ok(key),
        Some(other) => {
            let name = &other.caller.credential;
            Err(format!("`sha256`: duplicate of key `{name}`"))
        }
    }
}

/// A new API key: the token, and the hash that the file stores.
pub struct NewApiKey {
    /// The token that the caller sends.
    pub token: Zeroizing<String>,
    /// The SHA-256 of the token, in hex.
    pub sha256: String,
}

impl NewApiKey {
    /// Generates a key from 32 random bytes of the operating system.
    ///
    /// # Errors
    /// Returns an error if the operating system provides no random bytes.
    pub fn generate() -> Result<NewApiKey, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut())?;
        // The prefix lets secret scanners recognise a leaked key.
        let token = Zeroizing::new(format!("rlk_{}", URL_SAFE_NO_PAD.encode(secret.as_slice())));
        let sha256 = hex::encode(Sha256::digest(token.as_bytes()));
        Ok(NewApiKey { token, sha256 })
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_found_by_its_hash_and_another_is_not() {
        let key = NewApiKey::generate().expect("randomness");
        let file = format!(
            "[keys.cron]\nsha256 = '{}'\nuser = 'svc'\nscopes = ['a:b']\nexports = ['orders']\n",
            key.sha256
        );
        let keys = ApiKeys::parse(&file).expect("keys");
        let caller = keys.find(&key.token).expect("the holder");
        assert_eq!(caller.credential, "cron");
        assert_eq!(caller.user, UserId::parse("svc").ok());
        assert!(caller.scopes.contains("a:b") && !caller.acts_for_others);
        assert!(keys.find("rlk_other").is_none());
        assert!(keys.find(&key.sha256).is_none());
    }

    #[test]
    fn all_errors_are_returned_with_their_lines() {
        let lines = |text: &str| -> Vec<usize> {
            let errors = ApiKeys::parse(text).err().expect("refused");
            errors.iter().map(|error| error.line).collect()
        };
        let hash = "0".repeat(64);
        assert_eq!(lines(""), [1]);
        let entry = format!("[keys.a]\nsha256 = '{hash}'\nuser = 'u'\n");
        assert_eq!(
            lines(&format!("{entry}{}", entry.replace("keys.a", "keys.b"))),
            [4]
        );
        assert_eq!(
            lines("[keys.a]\nsha256 = 'x'\nuser = 'u'\n[keys.b]\nsha256 = 'y'\n"),
            [1, 4]
        );
        assert_eq!(lines(&format!("[keys.a]\nsha256 = '{hash}'\n")), [1]);
        assert_eq!(
            lines(&format!("\n[keys.a]\nsha256 = '{hash}'\nuser = ''\n")),
            [2]
        );
        assert_eq!(
            lines(&format!("[keys.a]\nsha256 = '{hash}'\nscope = 'x'\n")),
            [3]
        );
    }
}
