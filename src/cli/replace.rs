//! `rowlink replace`: checks a new version of a file of keys or revocations, and renames it over the old one.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::errors::{ErrorLines, error_line};
use super::key_file::KeyFile;
use super::locked_file::lock;

#[derive(Args)]
pub(super) struct ReplaceArgs {
    /// What the file holds
    kind: KeyFile,
    /// File to replace
    file: PathBuf,
    /// Allow the new version to lack a key or a revocation, or to change a key
    #[arg(long)]
    drop: bool,
}

/// Replaces the file by what standard input holds. Readers see the old version or the new one, never a part.
pub(super) fn replace(args: &ReplaceArgs) -> Result<(), ErrorLines> {
    let named = |message: &dyn std::fmt::Display| format!("{}: {message}", args.file.display());
    let mut text = Zeroizing::new(String::new());
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|error| error_line(format!("standard input: {error}")))?;
    let checked = args.kind.check(&text);
    checked.map_err(|errors| errors.iter().map(|error| named(error)).collect::<Vec<_>>())?;
    // No entry of a `rowlink revoke` that runs at the same time is lost.
    let _lock = match lock(&args.file) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error_line(named(&error))),
    };
    let old = match fs::read_to_string(&args.file) {
        Ok(old) => Some(Zeroizing::new(old)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error_line(named(&error))),
    };
    let lost = old.and_then(|old| args.kind.lost(&old, &text));
    if let Some(lost) = lost.filter(|_| !args.drop) {
        let message = format!("the new version is without {lost}; add --drop if that is meant");
        return Err(error_line(named(&message)));
    }
    write(&args.file, &text).map_err(|error| error_line(named(&error)))
}

/// Writes a new file beside the old one, with its owner and permissions, and renames it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    // Of a link, what it leads to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Readable only by its owner, until it has the permissions of the old file.
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(&path) {
        let (user, group) = (old.uid(), old.gid());
        let own = new.as_file().metadata()?;
        if (own.uid(), own.gid()) != (user, group) {
            fchown(new.as_file(), Some(user), Some(group))?;
        }
        new.as_file()
            .set_permissions(Permissions::from_mode(old.mode()))?;
    }
    new.as_file().sync_all()?;
    new.persist(&path)?;
    File::open(folder)?.sync_all()
}
