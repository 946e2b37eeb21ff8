//! The signing keys: a list of which the first signs and all verify.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::is_bare_name;
use super::scope::Scope;
use super::seal::SealKey;

type HmacSha256 = Hmac<Sha256>;

/// Decoded keys are at least this long: the output size of the hash (RFC 2104, section 3).
pub const KEY_BYTES_MIN: usize = 32;
/// A key id is at most this long.
pub const KEY_ID_BYTES_MAX: usize = 16;

/// The first line of what a child key is the MAC of, so that no link's signature is ever a key.
const SCOPE_LABEL: &str = "ROWLINK1-SCOPE\n";

/// With or without `=` at the end: key generators differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys that sign and verify links. Never empty.
///
/// It holds keyed hash states and derived keys, cannot print them, and wipes them when it is dropped.
pub struct Keyring {
    keys: Vec<Key>,
    /// What an unknown key id is checked against, so that it costs what a known one costs.
    decoy: HmacSha256,
}

/// A key that signs.
pub(super) struct Key {
    pub(super) id: String,
    /// What it may sign, where it is a child key.
    pub(super) scope: Option<Scope>,
    pub(super) seal: SealKey,
    mac: HmacSha256,
}

/// Why a key was refused. Names its place and id, never its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is not one key.
    #[error("no signing key; make one with `rowlink keygen`")]
    Empty,
    /// Not `id:base64`, nor `id:base64:scope`.
    #[error("key {0} is not `id:base64`")]
    NotAPair(usize),
    /// The id has another form.
    #[error("key {0}: its id must be 1 to {KEY_ID_BYTES_MAX} of A-Z a-z 0-9 _ -")]
    Id(usize),
    /// The id stands twice.
    #[error("key id `{0}` stands twice")]
    Twice(String),
    /// The secret is not base64.
    #[error("key `{0}` is not base64")]
    Base64(String),
    /// The secret is too short.
    #[error("key `{0}` is shorter than {KEY_BYTES_MIN} bytes")]
    Short(String),
    /// Every byte is the same, which no generator makes.
    #[error("key `{0}` repeats one byte")]
    Repeated(String),
    /// What stands behind the secret is no scope.
    #[error("the scope of key `{0}` is {1}")]
    Scope(String, &'static str),
}

impl Keyring {
    /// Reads keys as `id:base64`, or `id:base64:scope` where it is a child key, separated by commas or line ends; `#`
    /// starts a comment line.
    ///
    /// # Errors
    /// Every fault at once. No key at all is a fault.
    pub fn parse(text: &str) -> Result<Keyring, Vec<KeyringError>> {
        let mut keys: Vec<Key> = Vec::new();
        let mut errors = Vec::new();
        let entries = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        for (place, entry) in entries.enumerate() {
            match Key::parse(entry, place + 1) {
                Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                    errors.push(KeyringError::Twice(key.id));
                }
                Ok(key) => keys.push(key),
                Err(error) => errors.push(error),
            }
        }
        if keys.is_empty() && errors.is_empty() {
            errors.push(KeyringError::Empty);
        }
        if errors.is_empty() {
            let decoy = keyed(&[0; KEY_BYTES_MIN]);
            Ok(Keyring { keys, decoy })
        } else {
            Err(errors)
        }
    }

    /// The ids of all keys, that of the one that signs first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The key that signs.
    pub(super) fn signing_key(&self) -> &Key {
        &self.keys[0]
    }

    /// Whether `signature` is that of the key `id`, or of its child for `scope`, in constant time.
    ///
    /// An unknown id costs the same MACs as that of a whole key and gives the same answer as a bad
    /// signature, so that ids cannot be guessed.
    pub(super) fn verify(
        &self,
        id: &str,
        scope: Option<&Scope>,
        string_to_sign: &[&str],
        signature: &[u8],
    ) -> bool {
        let known = self.find(id, scope);
        let (mac, derived) = known.map_or((&self.decoy, scope), |(key, scope)| (&key.mac, scope));
        let mac = match derived {
            Some(scope) => feed(&keyed(child(mac, scope).as_ref()), string_to_sign),
            None => feed(mac, string_to_sign),
        };
        mac.verify_slice(signature).is_ok() && known.is_some()
    }

    /// What the key `id`, or its child for `scope`, seals with; `None` if it is not known.
    pub(super) fn seal_key(&self, id: &str, scope: Option<&Scope>) -> Option<SealKey> {
        let (key, derived) = self.find(id, scope)?;
        Some(match derived {
            Some(scope) => SealKey::derive(child(&key.mac, scope).as_ref()),
            None => key.seal.clone(),
        })
    }

    /// The key that a link names, and the scope of the child key that is still to be derived from it.
    fn find<'s>(&self, id: &str, scope: Option<&'s Scope>) -> Option<(&Key, Option<&'s Scope>)> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        match (&key.scope, scope) {
            (None, scope) => Some((key, scope)),
            (Some(own), Some(scope)) if own == scope => Some((key, None)),
            (Some(_), _) => None,
        }
    }
}

impl Key {
    /// Signs; 64 lower-case hex digits.
    pub(super) fn sign(&self, string_to_sign: &[&str]) -> String {
        hex::encode(feed(&self.mac, string_to_sign).finalize().into_bytes())
    }

    fn parse(entry: &str, place: usize) -> Result<Key, KeyringError> {
        let (id, secret) = entry.split_once(':').ok_or(KeyringError::NotAPair(place))?;
        let (secret, scope) = match secret.split_once(':') {
            Some((secret, scope)) => (secret, Some(scope)),
            None => (secret, None),
        };
        if !is_key_id(id) {
            return Err(KeyringError::Id(place));
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

/// A fresh line `id:base64` of 32 bytes from the operating system, as [`Keyring::parse`] reads it.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn generate(id: &str) -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0; KEY_BYTES_MIN]);
    getrandom::fill(secret.as_mut())?;
    let encoded = Zeroizing::new(BASE64.encode(secret.as_ref()));
    Ok(Zeroizing::new(format!("{id}:{}", encoded.as_str())))
}

/// The line `id:base64:scope` of the child of a key for a scope. It can be derived from a whole key alone.
///
/// # Errors
/// There is no key of that id, or it is a child key itself.
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

/// A child key needs a whole key to be derived from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key `{0}` that is not itself a child key")]
pub struct NoParentKey(String);

/// Whether `id` is 1 to 16 of `A-Z a-z 0-9 _ -`.
pub fn is_key_id(id: &str) -> bool {
    is_bare_name(id, KEY_ID_BYTES_MAX)
}

fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("HMAC takes a key of any length (RFC 2104)")
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
        let signature = hex::decode(old.signing_key().sign(&["text"])).expect("hex");
        assert!(both.verify("a", None, &["text"], &signature));
        assert!(!both.verify("b", None, &["text"], &signature));
        assert!(!old.verify("b", None, &["text"], &signature));
    }

    #[test]
    fn the_decoy_verifies_nothing() {
        let ring = Keyring::parse(A).expect("a key");
        let forged = feed(&ring.decoy, &["text"]).finalize().into_bytes();
        assert!(!ring.verify("unknown", None, &["text"], &forged));
    }

    #[test]
    fn a_child_key_signs_for_its_scope_alone_and_its_parent_verifies() {
        let scope = |text| Scope::parse(text).expect("a scope");
        let (orders, users) = (scope("export=orders"), scope("user_prefix=a"));
        let parent = Keyring::parse(A).expect("a key");
        let line = generate_child(&parent, "a", &orders).expect("a parent");
        assert!(line.ends_with(":export=orders"));
        let child = Keyring::parse(&line).expect("a child key");
        let signature = hex::decode(child.signing_key().sign(&["text"])).expect("hex");
        for ring in [&parent, &child] {
            assert!(ring.verify("a", Some(&orders), &["text"], &signature));
            assert!(!ring.verify("a", Some(&users), &["text"], &signature));
            assert!(!ring.verify("a", None, &["text"], &signature));
        }
        assert!(generate_child(&child, "a", &orders).is_err());
        assert!(generate_child(&parent, "b", &orders).is_err());
        let text = line.replace("export=orders", "all");
        let error = "not a scope in its canonical form";
        assert_eq!(errors(&text), [KeyringError::Scope("a".into(), error)]);
    }

    #[test]
    fn weak_and_broken_keys_are_refused_all_at_once() {
        use KeyringError::*;
        assert_eq!(errors(" \n# none\n"), [Empty]);
        let zeros = format!("zeros:{}", BASE64.encode([0; 32]));
        let short = format!("short:{}", BASE64.encode([1; 31]));
        let text = format!("{A},nothing,b?:xx,c:!!,{short},{zeros},{A}");
        let expected = [
            NotAPair(2),
            Id(3),
            Base64("c".into()),
            Short("short".into()),
            Repeated("zeros".into()),
            Twice("a".into()),
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
