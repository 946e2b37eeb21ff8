//! API keys for scripts and back ends: random tokens of which only the SHA-256 is stored.

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
use rowlink_link::{UserId, check_text};

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
}

impl ApiKeys {
    /// Reads an API key file: TOML, a table `[keys.NAME]` a key.
    ///
    /// # Errors
    /// Every fault at once. No key at all is a fault.
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
            errors.push(LineError::at(text, 0, "no [keys.NAME]"));
        }
        if errors.is_empty() {
            Ok(ApiKeys { keys })
        } else {
            Err(errors)
        }
    }

    /// Who holds this key. Compares with every key in constant time.
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
            .map_err(|_| "`sha256` is not 64 hex digits")?;
        let user = self.user.map(UserId::parse).transpose();
        let user = user.map_err(|error| format!("`user`: {error}"))?;
        if user.is_none() && !self.act_for_others {
            return Err("needs a `user`, or `act_for_others = true`".into());
        }
        for (claim, value) in &self.claims {
            check_text(value).map_err(|error| format!("claim `{claim}`: {error}"))?;
        }
        let caller = Caller {
            credential: name.to_owned(),
            user,
            claims: self.claims,
            scopes: self.scopes,
            exports: self.exports,
            acts_for_others: self.act_for_others,
        };
        Ok(ApiKey { sha256, caller })
    }
}

/// One token is one key: of two entries the wrong one would say what its holder may do.
fn ensure_unique(key: ApiKey, others: &[ApiKey]) -> Result<ApiKey, String> {
    match others.iter().find(|other| other.sha256 == key.sha256) {
        None => Ok(key),
        Some(other) => Err(format!("is the same as `{}`", other.caller.credential)),
    }
}

/// A fresh API key: the token for its holder, and what the file stores of it.
pub struct NewApiKey {
    /// What the holder sends.
    pub token: Zeroizing<String>,
    /// What the file holds, in hex.
    pub sha256: String,
}

impl NewApiKey {
    /// A key of 32 bytes from the operating system.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn generate() -> Result<NewApiKey, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut())?;
        // The prefix lets secret scanners recognise a key that leaked.
        let token = Zeroizing::new(format!("rlk_{}", URL_SAFE_NO_PAD.encode(secret.as_ref())));
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
    fn faults_are_found_all_at_once_with_their_lines() {
        let lines = |text: &str| -> Vec<usize> {
            let errors = ApiKeys::parse(text).err().expect("refused");
            errors.iter().map(|error| error.line).collect()
        };
        let hash = "0".repeat(64);
        assert_eq!(lines(""), [1]);
        let twice = format!("[keys.a]\nsha256 = '{hash}'\nuser = 'u'\n");
        assert_eq!(
            lines(&format!("{twice}{}", twice.replace("keys.a", "keys.b"))),
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
