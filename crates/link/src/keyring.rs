//! The signing keys: the first one signs, all of them verify.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::scope::Scope;
use super::seal::SealKey;
use super::text::is_bare_name;

type HmacSha256 = Hmac<Sha256>;

/// The least length of a decoded key in bytes: the output size of the hash (RFC 2104, section 3).
pub const KEY_BYTES_MIN: usize = 32;
/// The largest length of a key id in bytes.
pub const KEY_ID_BYTES_MAX: usize = 16;

/// The first line of the text whose MAC is a child key, so that a link's signature never equals a key.
const SCOPE_LABEL: &str = "ROWLINK1-SCOPE\n";

/// Accepts base64 with and without padding: key generators differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys that sign and verify links. Never empty.
///
/// It holds keyed hash states and derived keys. `Debug` prints ids only; dropping wipes the keys.
pub struct Keyring {
    keys: Vec<Key>,
}

/// A signing key.
pub(super) struct Key {
    pub(super) id: String,
    /// The links it may sign, if it is a child key.
    pub(super) scope: Option<Scope>,
    pub(super) seal: SealKey,
    mac: HmacSha256,
}

/// Why a key was refused. Names its position and id, never its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The text has no key.
    #[error("no signing key; make one with `rowlink keygen`")]
    Empty,
    /// The entry is neither `id:base64` nor `id:base64:scope`.
    #[error("key {0}: expected `id:base64`")]
    Syntax(usize),
    /// The id breaks its rule.
    #[error("key {0}: expected an id of 1 to {KEY_ID_BYTES_MAX} of A-Z a-z 0-9 _ -")]
    Id(usize),
    /// Two keys have this id.
    #[error("duplicate key id `{0}`")]
    Duplicate(String),
    /// The secret is not base64.
    #[error("key `{0}`: expected base64")]
    Base64(String),
    /// The secret is too short.
    #[error("key `{0}`: expected at least {KEY_BYTES_MIN} bytes")]
    Short(String),
    /// Every byte is the same, which no generator produces.
    #[error("key `{0}`: expected random bytes, not one byte repeated")]
    Repeated(String),
    /// The scope after the secret is malformed.
    #[error("key `{0}`: {1}")]
    Scope(String, &'static str),
}

impl Keyring {
    /// Parses keys as `id:base64`, or `id:base64:scope` for a child key, separated by commas or line
    /// ends; `#` starts a comment line.
    ///
    /// # Errors
    /// Returns the errors of all keys, or [`KeyringError::Empty`] if there is none.
    pub fn parse(text: &str) -> Result<Keyring, Vec<KeyringError>> {
        let mut keys: Vec<Key> = Vec::new();
        let mut errors = Vec::new();
        let entries = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            match Key::parse(entry, index + 1) {
                Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                    errors.push(KeyringError::Duplicate(key.id));
                }
                Ok(key) => keys.push(key),
                Err(error) => errors.push(error),
            }
        }
        if keys.is_empty() && errors.is_empty() {
            errors.push(KeyringError::Empty);
        }
        if errors.is_empty() {
            Ok(Keyring { keys })
        } else {
            Err(errors)
        }
    }

    /// Returns the ids of all keys; the first one signs.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Returns the key that signs.
    pub(super) fn signing_key(&self) -> &Key {
        &self.keys[0]
    }

    /// Tells in constant time whether `signature` is that of the key `id`, or of its child for `scope`.
    ///
    /// An unknown id computes as many MACs as a known one and gets the same answer as a bad signature,
    /// so that ids cannot be guessed.
    pub(super) fn verify(
        &self,
        id: &str,
        scope: Option<&Scope>,
        string_to_sign: &[&str],
        signature: &[u8],
    ) -> bool {
        let (key, is_known) = self.find(id, scope);
        let mac = match scope {
            None => feed(&key.mac, string_to_sign),
            Some(scope) => {
                // Computed for a child key too, and then unused, to take the same time.
                let derived = keyed(child(&key.mac, scope).as_ref());
                let is_parent = key.scope.is_none();
                feed(if is_parent { &derived } else { &key.mac }, string_to_sign)
            }
        };
        let is_genuine = Choice::from(u8::from(mac.verify_slice(signature).is_ok()));
        (is_genuine & is_known).into()
    }

    /// Returns the MAC of a text that only servers exchange, under the first key that is no child key, if there is one:
    /// others hold child keys too.
    pub(super) fn tag(&self, text: &str) -> [u8; 32] {
        let key = self.keys.iter().find(|key| key.scope.is_none());
        let mac = feed(&key.unwrap_or(self.signing_key()).mac, &[text]);
        mac.finalize().into_bytes().into()
    }

    /// Returns the MAC of a text under the key with this id; `None` if there is none.
    pub(super) fn mac_by(&self, id: &str, text: &str) -> Option<[u8; 32]> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        Some(feed(&key.mac, &[text]).finalize().into_bytes().into())
    }

    /// Tells whether `mac` is the MAC of such a text under any key that is no child key.
    pub(super) fn verify_tag(&self, text: &str, mac: &[u8]) -> bool {
        let is_of = |key: &Key| feed(&key.mac, &[text]).verify_slice(mac).is_ok();
        let mut keys = self.keys.iter().filter(|key| key.scope.is_none());
        keys.any(is_of)
    }

    /// Returns the sealing key of the key `id`, or of its child for `scope`; `None` if the id is unknown.
    pub(super) fn seal_key(&self, id: &str, scope: Option<&Scope>) -> Option<SealKey> {
        let (key, is_known) = self.find(id, scope);
        let derived = scope.filter(|_| key.scope.is_none());
        bool::from(is_known).then(|| match derived {
            Some(scope) => SealKey::derive(child(&key.mac, scope).as_ref()),
            None => key.seal.clone(),
        })
    }

    /// Finds the key that a link names. If there is none, returns the first key, to compute with, and a
    /// false choice. Looks at all keys and does not branch, to take the same time.
    fn find(&self, id: &str, scope: Option<&Scope>) -> (&Key, Choice) {
        let (mut found, mut is_known) = (0, Choice::from(0));
        for (index, key) in (0_u64..).zip(&self.keys) {
            let in_scope = key.scope.is_none() | (key.scope.as_ref() == scope);
            let matches = key.id.as_bytes().ct_eq(id.as_bytes()) & Choice::from(u8::from(in_scope));
            found.conditional_assign(&index, matches);
            is_known |= matches;
        }
        (&self.keys[found as usize], is_known)
    }
}

impl Key {
    /// Returns the signature. A link has its lower-case hex digits.
    pub(super) fn sign(&self, string_to_sign: &[&str]) -> [u8; 32] {
        let mac = feed(&self.mac, string_to_sign);
        mac.finalize().into_bytes().into()
    }

    fn parse(entry: &str, position: usize) -> Result<Key, KeyringError> {
        let (id, secret) = entry
            .split_once(':')
            .ok_or(KeyringError::Syntax(position))?;
        let (secret, scope) = match secret.split_once(':') {
            Some((secret, scope)) => (secret, Some(scope)),
            None => (secret, None),
        };
        if !is_key_id(id) {
            return Err(KeyringError::Id(position));
        }
        let id = id.to_owned();
        let Ok(secret) = BASE64.decode(secret).map(Zeroizing::new) else {
            return Err(KeyringError::Base64(id));
        };
        if secret.len() < KEY_BYTES_MIN {
            return Err(KeyringError::Short(id));
        }
        if secret.iter().all(|byte| *byte == secret[0]) {
            return Err(KeyringError::Repeated(id));
        }
        let scope = scope.map(Scope::parse).transpose();
        Ok(Key {
            scope: scope.map_err(|error| KeyringError::Scope(id.clone(), error))?,
            seal: SealKey::derive(&secret),
            mac: keyed(&secret),
            id,
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

/// Generates a key of 32 random bytes as the line `id:base64` that [`Keyring::parse`] reads.
///
/// # Errors
/// Returns an error if the operating system provides no randomness.
pub fn generate(id: &str) -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0; KEY_BYTES_MIN]);
    getrandom::fill(secret.as_mut())?;
    let encoded = Zeroizing::new(BASE64.encode(secret.as_ref()));
    Ok(Zeroizing::new(format!("{id}:{}", encoded.as_str())))
}

/// Derives the child of a key for a scope, as the line `id:base64:scope`.
///
/// # Errors
/// Returns [`NoParentKey`] if the id is unknown, or names a child key.
pub fn generate_child(
    keyring: &Keyring,
    id: &str,
    scope: &Scope,
) -> Result<Zeroizing<String>, NoParentKey> {
    let mut parents = keyring.keys.iter().filter(|key| key.scope.is_none());
    let parent = parents.find(|key| key.id == id);
    let parent = parent.ok_or_else(|| NoParentKey(id.to_owned()))?;
    let secret = Zeroizing::new(BASE64.encode(child(&parent.mac, scope).as_ref()));
    let (secret, scope) = (secret.as_str(), scope.as_str());
    Ok(Zeroizing::new(format!("{id}:{secret}:{scope}")))
}

/// No key with this id can have a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown parent key `{0}`; expected the id of a key that is not a child key")]
pub struct NoParentKey(String);

/// Tells whether `id` can name a key: 1 to 16 of `A-Z a-z 0-9 _ -`.
#[must_use]
pub fn is_key_id(id: &str) -> bool {
    is_bare_name(id, KEY_ID_BYTES_MAX)
}

fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("HMAC accepts keys of any length (RFC 2104)")
}

fn child(parent: &HmacSha256, scope: &Scope) -> Zeroizing<[u8; 32]> {
    let mac = feed(parent, &[SCOPE_LABEL, scope.as_str()]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn feed(keyed: &HmacSha256, parts: &[&str]) -> HmacSha256 {
    let mut mac = keyed.clone();
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const B: &str = "b:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

    fn errors(text: &str) -> Vec<KeyringError> {
        Keyring::parse(text).expect_err("refused")
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let old = Keyring::parse(A).expect("a key");
        let both = Keyring::parse(&format!("# rotated today\n{B}\n{A}\n")).expect("two keys");
        assert_eq!(both.signing_key().id, "b");
        let signature = old.signing_key().sign(&["text"]);
        assert!(both.verify("a", None, &["text"], &signature));
        assert!(!both.verify("b", None, &["text"], &signature));
        assert!(!old.verify("b", None, &["text"], &signature));
    }

    #[test]
    fn an_unknown_id_verifies_and_opens_nothing() {
        let ring = Keyring::parse(A).expect("a key");
        let signature = ring.signing_key().sign(&["text"]);
        for id in ["unknown", "A", "aa", ""] {
            assert!(!ring.verify(id, None, &["text"], &signature));
            assert!(ring.seal_key(id, None).is_none());
        }
    }

    #[test]
    fn a_child_key_signs_for_its_scope_only_and_its_parent_verifies() {
        let scope = |text| Scope::parse(text).expect("a scope");
        let (orders, users) = (scope("export=orders"), scope("user_prefix=a"));
        let parent = Keyring::parse(A).expect("a key");
        let line = generate_child(&parent, "a", &orders).expect("a parent");
        assert!(line.ends_with(":export=orders"));
        let child = Keyring::parse(&line).expect("a child key");
        let signature = child.signing_key().sign(&["text"]);
        for ring in [&parent, &child] {
            assert!(ring.verify("a", Some(&orders), &["text"], &signature));
            assert!(!ring.verify("a", Some(&users), &["text"], &signature));
            assert!(!ring.verify("a", None, &["text"], &signature));
        }
        assert!(generate_child(&child, "a", &orders).is_err());
        assert!(generate_child(&parent, "b", &orders).is_err());
        let text = line.replace("export=orders", "all");
        let error = "expected a scope in its canonical form";
        assert_eq!(errors(&text), [KeyringError::Scope("a".into(), error)]);
    }

    #[test]
    fn all_weak_and_malformed_keys_are_reported_together() {
        use KeyringError::*;
        assert_eq!(errors(" \n# none\n"), [Empty]);
        let zeros = format!("zeros:{}", BASE64.encode([0; 32]));
        let short = format!("short:{}", BASE64.encode([1; 31]));
        let text = format!("{A},nothing,b?:xx,c:!!,{short},{zeros},{A}");
        let expected = [
            Syntax(2),
            Id(3),
            Base64("c".into()),
            Short("short".into()),
            Repeated("zeros".into()),
            Duplicate("a".into()),
        ];
        assert_eq!(errors(&text), expected);
    }

    #[test]
    fn a_generated_key_is_accepted_and_differs_from_the_next() {
        let first = generate("k1").expect("randomness");
        assert!(Keyring::parse(&first).is_ok());
        assert_ne!(*first, *generate("k1").expect("randomness"));
    }

    #[test]
    fn debug_shows_ids_only() {
        let ring = Keyring::parse(A).expect("a key");
        assert_eq!(format!("{ring:?}"), "[\"a\"]");
    }
}
