//! The values of filters in audit lines, encrypted to a key of the auditor with age. Servers have only the public key, so
//! they cannot decrypt what they have written.

use std::fmt;
use std::io::Read as _;

use age::x25519::{Identity, Recipient};
use age::{DecryptError, Decryptor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The field of an audit line. Its text is base64.
pub const FIELD: &str = "audit_values";

/// The encrypted texts have a multiple of this number of bytes: their length shows less about short values.
const PADDED_TO: usize = 64;

/// The public key that values are encrypted to: `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditRecipient(Recipient);

impl fmt::Debug for AuditRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditRecipient({})", self.0)
    }
}

impl AuditRecipient {
    /// Parses a public key, as `age-keygen` prints it.
    ///
    /// # Errors
    /// Returns what was expected.
    pub fn parse(text: &str) -> Result<AuditRecipient, &'static str> {
        let recipient = text.trim().parse().map(AuditRecipient);
        recipient.map_err(|_| "expected the public key that age-keygen prints: age1…")
    }

    /// Encrypts the values of filters, an object with an array per name, to base64 on one line; `None` if there are none.
    #[must_use]
    pub fn encrypt(&self, filters: &[(String, String)]) -> Option<String> {
        if filters.is_empty() {
            return None;
        }
        let encrypted = age::encrypt(&self.0, padded_json(filters).as_bytes());
        let encrypted = encrypted.expect("a single recipient, and output in memory");
        Some(BASE64.encode(encrypted))
    }
}

/// Returns the values of filters as JSON of a length that does not tell short ones apart.
fn padded_json(filters: &[(String, String)]) -> String {
    let mut values: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for (name, value) in filters {
        values.entry(name).or_default().push(value);
    }
    let mut text = serde_json::json!(values).to_string();
    let padded = text.len().next_multiple_of(PADDED_TO);
    text.extend((text.len()..padded).map(|_| ' '));
    text
}

/// The private keys that values are decrypted with.
pub struct AuditIdentities(Vec<Identity>);

/// Why values cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditValuesError {
    /// None of the private keys fits.
    #[error("encrypted to another key; add its private key to the file of identities")]
    OtherKey,
    /// They were truncated or changed.
    #[error("damaged: expected base64 of an age file with a JSON object")]
    Damaged,
}

impl AuditIdentities {
    /// Parses a file of `age-keygen`: a private key per line, and comments.
    ///
    /// # Errors
    /// Returns what was expected, without the text of any line.
    pub fn parse(text: &str) -> Result<AuditIdentities, String> {
        let mut identities = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|_| {
                format!("line {number}: expected a private key of age-keygen: AGE-SECRET-KEY-1…")
            });
            identities.push(identity?);
        }
        match identities.is_empty() {
            true => Err("expected a private key of age-keygen, found none".to_owned()),
            false => Ok(AuditIdentities(identities)),
        }
    }

    /// Decrypts what [`AuditRecipient::encrypt`] has returned; returns a JSON object on one line, whose control characters
    /// are escaped.
    ///
    /// # Errors
    /// Returns the [`AuditValuesError`] that tells why not.
    pub fn decrypt(&self, base64: &str) -> Result<String, AuditValuesError> {
        let damaged = |_| AuditValuesError::Damaged;
        let encrypted = BASE64
            .decode(base64)
            .map_err(|_| AuditValuesError::Damaged)?;
        let decryptor = Decryptor::new_buffered(encrypted.as_slice()).map_err(damaged)?;
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let reader = decryptor.decrypt(identities);
        let mut reader = reader.map_err(|error| match error {
            DecryptError::NoMatchingKeys => AuditValuesError::OtherKey,
            _ => AuditValuesError::Damaged,
        })?;
        let mut text = Zeroizing::new(String::new());
        let read = reader.read_to_string(&mut text);
        read.map_err(|_| AuditValuesError::Damaged)?;
        // Anyone with the public key can encrypt another text, such as one with line ends.
        let values: Result<Map<String, Value>, _> = serde_json::from_str(&text);
        let values = values.map_err(|_| AuditValuesError::Damaged)?;
        Ok(escape_controls(&Value::Object(values).to_string()))
    }
}

/// Escapes the control characters that JSON allows in its strings: a terminal would execute them.
fn escape_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character.is_control() {
            true => escaped += &format!("\\u{:04x}", u32::from(character)),
            false => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret as _;

    fn identities(keys: &[&Identity]) -> AuditIdentities {
        let lines = keys.iter().map(|key| key.to_string());
        let lines: Vec<String> = lines.map(|key| key.expose_secret().to_owned()).collect();
        let text = format!("# created: 2026-01-31\n\n{}\n", lines.join("\n"));
        AuditIdentities::parse(&text).expect("identities")
    }

    fn recipient(key: &Identity) -> AuditRecipient {
        AuditRecipient::parse(&key.to_public().to_string()).expect("a public key")
    }

    fn filters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn only_the_private_key_gets_the_values_back() {
        let (key, other) = (Identity::generate(), Identity::generate());
        let values = filters(&[
            ("status", "paid"),
            ("note", "\u{9b}1m\n\"ä"),
            ("status", "open"),
        ]);
        let encrypted = recipient(&key).encrypt(&values).expect("values");
        assert!(encrypted.bytes().all(|byte| byte.is_ascii_graphic()));
        let expected = r#"{"status":["paid","open"],"note":["\u009b1m\n\"ä"]}"#;
        for keys in [vec![&key], vec![&other, &key]] {
            assert_eq!(
                identities(&keys).decrypt(&encrypted).as_deref(),
                Ok(expected)
            );
        }
        let by_other = identities(&[&other]).decrypt(&encrypted);
        assert_eq!(by_other, Err(AuditValuesError::OtherKey));
        assert_eq!(recipient(&key).encrypt(&[]), None);
    }

    #[test]
    fn the_length_does_not_tell_short_values_apart() {
        // age adds a random length to that of the text.
        let length = |value: &str| padded_json(&filters(&[("paid", value)])).len();
        assert_eq!(length("true"), length("false"));
        assert!(length(&"x".repeat(100)) > length("true"));
    }

    #[test]
    fn damaged_values_are_refused() {
        let key = Identity::generate();
        let encrypted = recipient(&key)
            .encrypt(&filters(&[("a", "b")]))
            .expect("values");
        let mut bytes = BASE64.decode(&encrypted).expect("base64");
        *bytes.last_mut().expect("a byte") ^= 1;
        let no_object = age::encrypt(&key.to_public(), b"[1]").expect("encrypted");
        let damaged = [
            String::new(),
            "age".to_owned(),
            encrypted[..encrypted.len() - 8].to_owned(),
            BASE64.encode(bytes),
            BASE64.encode(no_object),
        ];
        for text in damaged {
            let decrypted = identities(&[&key]).decrypt(&text);
            assert_eq!(decrypted, Err(AuditValuesError::Damaged), "{text}");
        }
    }

    #[test]
    fn keys_of_other_kinds_are_refused_without_showing_them() {
        let key = Identity::generate();
        let secret = key.to_string();
        for text in ["", "age1", "ssh-ed25519 AAAA", secret.expose_secret()] {
            assert!(AuditRecipient::parse(text).is_err());
        }
        let public = key.to_public().to_string();
        for text in [
            "",
            "# only a comment\n",
            public.as_str(),
            "AGE-SECRET-KEY-1S3CRET",
        ] {
            let error = AuditIdentities::parse(text).err().expect("refused");
            assert!(
                !error.contains("S3CRET") && !error.contains(&public),
                "{error}"
            );
        }
    }
}
