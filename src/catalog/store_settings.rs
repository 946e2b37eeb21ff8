//! Whether the files of an export are stored: its table `[store]`.

use bytesize::ByteSize;
use serde::Deserialize;

/// Which files of an export are stored, and how they are served from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Which files are stored.
    pub mode: StoreMode,
    /// The smallest file that `auto` stores, in bytes.
    pub above: ByteSize,
    /// For how many seconds another link for the same file gets the stored one; 0 for never.
    pub reuse_seconds: u64,
    /// Whether clients are redirected to the store, if it can sign URLs.
    pub redirect: bool,
}

/// Which files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// None.
    #[default]
    Never,
    /// Large ones.
    Auto,
    /// All.
    Always,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            mode: StoreMode::Never,
            above: ByteSize::mb(100),
            reuse_seconds: 0,
            redirect: true,
        }
    }
}
