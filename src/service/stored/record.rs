//! What the server that has uploaded a file records about it.

use serde::{Deserialize, Serialize};

/// What is known about a complete file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// What identifies it in an entity tag, and in the name of its object.
    #[serde(with = "hex::serde")]
    pub file_id: [u8; 32],
    /// When the link was issued for which it was made, in Unix seconds.
    pub(super) issued: u64,
    /// The number of its rows.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 hash.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

impl FileRecord {
    /// Parses the content of a record; returns `None` if it is none.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<FileRecord> {
        serde_json::from_slice(content).ok()
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has no map with other keys than texts")
    }
}

/// Returns the name of the object with the record of a file.
pub(super) fn object(name: &str) -> String {
    [name, ".record"].concat()
}
