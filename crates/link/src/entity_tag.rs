//! Entity tags (RFC 9110, section 8.8.3) of the file of one link.
//!
//! A tag holds 32 bytes that identify the file and a MAC over them and the link's signature. So any server with the keys
//! can check that one of them has begun to send this file for this link, without a store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keyring::Keyring;
use super::verifier::VerifiedLink;

/// The first line of the text whose MAC is in a tag, so that it never equals a link's signature.
pub(super) const LABEL: &str = "ROWLINK1-ENTITY-TAG\n";

/// The length of an SHA-256 hash, and of other bytes that identify a file.
const ID_BYTES: usize = 32;

impl VerifiedLink {
    /// Returns the entity tag of a file of this link, with its quotes. `file_id` identifies the file: its
    /// SHA-256 hash, or random bytes if only one server has the file.
    #[must_use]
    pub fn entity_tag(&self, keyring: &Keyring, file_id: [u8; 32]) -> String {
        let mac = keyring.tag(&tagged(&self.signature, &file_id));
        let tag = URL_SAFE_NO_PAD.encode([file_id, mac].concat());
        format!("\"{tag}\"")
    }
}

/// Returns the file's id in the first of these entity tags, separated by commas, that is one of a file of the link with this
/// signature.
pub(super) fn verified_file_id(
    keyring: &Keyring,
    signature: &[u8],
    entity_tags: &str,
) -> Option<[u8; 32]> {
    let mut tags = entity_tags.split(',');
    tags.find_map(|tag| file_id_in(keyring, signature, tag.trim()))
}

fn file_id_in(keyring: &Keyring, signature: &[u8], entity_tag: &str) -> Option<[u8; 32]> {
    let tag = entity_tag.strip_prefix('"')?.strip_suffix('"')?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    let (file_id, mac) = tag.split_first_chunk::<ID_BYTES>()?;
    let is_genuine = keyring.verify_tag(&tagged(signature, file_id), mac);
    is_genuine.then_some(*file_id)
}

fn tagged(signature: &[u8], file_id: &[u8; ID_BYTES]) -> String {
    format!(
        "{LABEL}{}\n{}",
        hex::encode(signature),
        hex::encode(file_id)
    )
}
