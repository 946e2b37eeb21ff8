//! Keeps two commands from editing one file at the same time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::inode::inode;

/// Waits until no other command edits the file, and locks it until the returned value is dropped. The lock is advisory: only
/// commands that call this function wait.
///
/// # Errors
/// Returns the error of a file that does not exist, or cannot be opened or locked.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = open(path)?;
        file.lock()?;
        let metadata = file.metadata()?;
        // While this command waited, the other one has renamed a new file over the one that is locked now.
        if (metadata.dev(), metadata.ino()) == inode(path) {
            return Ok(file);
        }
    }
}

/// Opens the file for writing, which a lock on NFS needs, or else for reading: only its folder must be writable.
fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_lock_is_of_the_file_that_is_there_after_the_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, next) = (folder.path().join("file"), folder.path().join("next"));
        fs::write(&path, "1").expect("written");
        let first = lock(&path).expect("locked");
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || lock(&path).map(|file| file.metadata().map(|it| it.ino())))
        };
        fs::write(&next, "2").expect("written");
        fs::rename(&next, &path).expect("renamed");
        drop(first);
        let locked = waiting.join().expect("no panic").expect("locked");
        let (_, present) = inode(&path);
        assert_eq!(locked.expect("metadata"), present);
        assert!(lock(&folder.path().join("absent")).is_err());
    }
}
