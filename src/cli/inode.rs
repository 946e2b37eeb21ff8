//! Tells a file that was renamed over another one from a file that was written in place.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The device and inode of a file.
pub(super) type Inode = (u64, u64);

/// Returns the device and inode of the file; zeros if there is none.
pub(super) fn inode(path: &Path) -> Inode {
    let metadata = std::fs::metadata(path);
    metadata.map_or((0, 0), |file| (file.dev(), file.ino()))
}
