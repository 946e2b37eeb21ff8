//! A folder that is written whole or not at all.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::errors::{ErrorLines, error_line};

/// A file of a new folder.
pub(super) struct NewFile {
    /// Its name, perhaps with a folder in front.
    name: String,
    text: Zeroizing<String>,
    mode: u32,
}

impl NewFile {
    /// Returns a file that only its owner may read.
    pub(super) fn secret(name: &str, text: Zeroizing<String>) -> NewFile {
        let name = name.to_owned();
        let mode = 0o600;
        NewFile { name, text, mode }
    }

    /// Returns a file that anyone may read who reaches its folder.
    pub(super) fn public(name: &str, text: String) -> NewFile {
        NewFile {
            name: name.to_owned(),
            text: Zeroizing::new(text),
            mode: 0o644,
        }
    }
}

/// Tells whether another user may replace files of a folder.
fn is_of_others(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    Ok(metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0)
}

/// A folder to create, or an empty one.
pub(super) struct NewFolder<'p> {
    path: &'p Path,
    exists: bool,
}

impl<'p> NewFolder<'p> {
    /// Checks that the folder does not exist, or is empty and only this user may write to it: the files are run by a shell.
    ///
    /// # Errors
    /// Returns an error if it has an entry, if others may write to it, or if it cannot be read.
    pub(super) fn at(path: &'p Path) -> Result<NewFolder<'p>, ErrorLines> {
        let named = |error: &dyn Display| error_line(format!("{}: {error}", path.display()));
        let first_entry = fs::read_dir(path).map(|mut entries| entries.next());
        match first_entry {
            Ok(None) if is_of_others(path).map_err(|error| named(&error))? => Err(named(
                &"belongs to another user, or others may write to it; name a new folder",
            )),
            Ok(None) => Ok(NewFolder { path, exists: true }),
            Ok(Some(_)) => Err(named(&"is not empty; name a new folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(NewFolder {
                path,
                exists: false,
            }),
            Err(error) => Err(named(&error)),
        }
    }

    /// Creates the folder and its files. After an error none of them is left.
    ///
    /// # Errors
    /// Returns an error that names the file that cannot be written, or exists.
    pub(super) fn create(self, files: &[NewFile]) -> Result<(), ErrorLines> {
        let mut created = Created::default();
        if !self.exists {
            created.folder(self.path)?;
        }
        for file in files {
            let path = self.path.join(&file.name);
            if let Some(parent) = path.parent().filter(|it| !it.exists()) {
                created.folder(parent)?;
            }
            created.file(&path, file)?;
        }
        created.0.clear();
        Ok(())
    }
}

/// The paths that were created. Dropping it removes them.
#[derive(Default)]
struct Created(Vec<PathBuf>);

impl Created {
    fn folder(&mut self, path: &Path) -> Result<(), ErrorLines> {
        let created = DirBuilder::new().mode(0o700).create(path);
        created.map_err(|error| error_line(format!("{}: {error}", path.display())))?;
        self.0.push(path.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path, file: &NewFile) -> Result<(), ErrorLines> {
        let named = |error: io::Error| error_line(format!("{}: {error}", path.display()));
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(file.mode);
        let mut opened = options.open(path).map_err(named)?;
        self.0.push(path.to_owned());
        let written = opened.write_all(file.text.as_bytes());
        written.and_then(|()| opened.sync_all()).map_err(named)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<NewFile> {
        let files = names.iter();
        files
            .map(|name| NewFile::public(name, "text".to_owned()))
            .collect()
    }

    #[test]
    fn an_empty_folder_to_which_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        for (mode, is_accepted) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false)] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path(), permissions).expect("its mode");
            assert_eq!(
                NewFolder::at(folder.path()).is_ok(),
                is_accepted,
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_folder_has_all_files_or_is_not_there() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("new");
        // The second name is taken by the first.
        let refused = NewFolder::at(&path)
            .expect("new")
            .create(&files(&["a", "b/c", "a"]));
        let error = refused.expect_err("refused");
        assert!(error[0].contains("new/a: File exists"), "{error:?}");
        assert!(!path.exists());
        NewFolder::at(&path)
            .expect("new")
            .create(&files(&["a", "b/c"]))
            .expect("written");
        assert_eq!(
            fs::read_to_string(path.join("b/c")).expect("a file"),
            "text"
        );
        let error = NewFolder::at(&path).err().expect("refused");
        assert!(
            error[0].ends_with("new: is not empty; name a new folder"),
            "{error:?}"
        );
    }

    #[test]
    fn an_empty_folder_is_filled_and_stays_after_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = NewFolder::at(folder.path())
            .expect("empty")
            .create(&files(&["a", "a"]));
        refused.expect_err("refused");
        NewFolder::at(folder.path())
            .expect("empty again")
            .create(&files(&["a"]))
            .expect("written");
        assert!(folder.path().join("a").is_file());
    }
}
