//! Encryption of a link's contents: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Its nonces are
//! long enough for any number of servers to choose them at random.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first line of the associated data.
pub(super) const LABEL: &str = "ROWLINK1-XCHACHA20-POLY1305\n";

/// HKDF's `info` (RFC 5869, section 3.2): no key serves two purposes.
const KEY_LABEL: &[u8] = b"rowlink seal v1";

const NONCE_BYTES: usize = 24;

/// The sealing key, derived from a signing key. Dropping wipes it.
#[derive(Clone)]
pub(super) struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    pub(super) fn derive(signing_key: &[u8]) -> SealKey {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, signing_key)
            .expand(KEY_LABEL, key.as_mut())
            .expect("HKDF-SHA256 outputs up to 8160 bytes (RFC 5869, section 2.3)");
        SealKey(key)
    }

    /// Encrypts a text; returns nonce, ciphertext and tag as base64url without padding.
    ///
    /// # Errors
    /// Returns an error if the operating system provides no randomness.
    pub(super) fn seal(&self, associated: &str, text: &str) -> Result<String, getrandom::Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let sealed = self.cipher().encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: text.as_bytes(),
                aad: associated.as_bytes(),
            },
        );
        let sealed = sealed.expect("a URL is shorter than 256 GiB");
        Ok(URL_SAFE_NO_PAD.encode([&nonce, sealed.as_slice()].concat()))
    }

    /// Decrypts a sealed text.
    ///
    /// # Errors
    /// Returns a reason if it is not sealed, or not with this key and these associated data.
    pub(super) fn open(&self, associated: &str, sealed: &str) -> Result<String, &'static str> {
        const FAILED: &str = "cannot be decrypted";
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| FAILED)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(FAILED)?;
        let payload = Payload {
            msg: sealed,
            aad: associated.as_bytes(),
        };
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        String::from_utf8(opened.map_err(|_| FAILED)?).map_err(|_| FAILED)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_associated_data_decrypt() {
        let key = SealKey::derive(&[1; 32]);
        let sealed = key.seal("data", "text").expect("randomness");
        assert_eq!(key.open("data", &sealed).as_deref(), Ok("text"));
        assert!(key.open("other", &sealed).is_err());
        assert!(SealKey::derive(&[2; 32]).open("data", &sealed).is_err());
        assert!(key.open("data", &format!("{sealed}=")).is_err());
        assert!(key.open("data", "").is_err());
        assert_ne!(sealed, key.seal("data", "text").expect("randomness"));
    }
}
