//! The `.sql` files of a folder, and those of its books.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::inode::{Inode, inode};
use crate::catalog::{BOOK_FILE, Catalog, Dialects, export_name};
use crate::toml_errors::LineError;
use rowlink_link::is_export_name;

/// The files of exports at one moment, by name; those of a book have its folder in their names.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ExportFiles(BTreeMap<String, ExportFile>);

#[derive(Clone, PartialEq, Eq)]
struct ExportFile {
    inode: Inode,
    /// The text, or why it cannot be read.
    text: Result<String, String>,
}

impl ExportFiles {
    /// Reads all files of a folder.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read, or has no file.
    pub(super) fn read(folder: &Path) -> Result<ExportFiles, String> {
        let mut files = BTreeMap::new();
        let unreadable = |error| format!("cannot read {}: {error}", folder.display());
        for (name, path) in visible_entries(folder).map_err(unreadable)? {
            if let Some(book) = read_book(&name, &path) {
                files.extend(book);
            } else if is_sql(&path) {
                files.insert(name, ExportFile::read(&path));
            }
        }
        if files.is_empty() {
            return Err(format!(
                "{}: expected at least one .sql file",
                folder.display()
            ));
        }
        Ok(ExportFiles(files))
    }

    /// Reads the files of one export, so that errors of others do not matter.
    ///
    /// # Errors
    /// Returns an error if there is no such file.
    pub(super) fn read_one(folder: &Path, name: &str) -> Result<ExportFiles, String> {
        let unknown = || format!("unknown export `{name}` in {}", folder.display());
        if !is_export_name(name) {
            return Err(unknown());
        }
        let path = folder.join(format!("{name}.sql"));
        if path.is_file() {
            let file = (format!("{name}.sql"), ExportFile::read(&path));
            return Ok(ExportFiles(BTreeMap::from([file])));
        }
        let book = read_book(name, &folder.join(name));
        book.map(ExportFiles).ok_or_else(unknown)
    }

    /// Parses the files. The other files of a book with an unreadable one are left out: without it they would have errors that
    /// are none, such as a filter that no file uses.
    pub(super) fn parse(&self, dialects: &Dialects) -> Catalog {
        let files = self.0.iter();
        let unreadable: BTreeSet<&str> = files
            .filter(|(_, file)| file.text.is_err())
            .map(|(name, _)| export_name(name))
            .collect();
        let texts = self.0.iter().filter_map(|(name, file)| {
            let text = file.text.as_ref().ok()?;
            let is_whole = !unreadable.contains(export_name(name));
            is_whole.then_some((name.as_str(), text.as_str()))
        });
        let mut catalog = Catalog::parse(texts, dialects);
        for (name, file) in &self.0 {
            if let Err(error) = &file.text {
                catalog.add_error(name, LineError::new(1, error.clone()));
            }
        }
        catalog
    }

    /// Returns the files of exports that are the same as in an earlier read, and for the others those in use: a file that has
    /// just changed may still be being written, and the files of a book belong together.
    pub(super) fn settled(&self, earlier: &ExportFiles, in_use: &ExportFiles) -> ExportFiles {
        let names: BTreeSet<&String> = self.0.keys().chain(in_use.0.keys()).collect();
        let all_names = self.0.keys().chain(earlier.0.keys());
        let changed = all_names.filter(|name| self.0.get(*name) != earlier.0.get(*name));
        let changed: BTreeSet<&str> = changed.map(|name| export_name(name)).collect();
        let settled = names.into_iter().filter_map(|name| {
            let is_settled = !changed.contains(export_name(name));
            let files = if is_settled { self } else { in_use };
            Some((name.clone(), files.0.get(name)?.clone()))
        });
        ExportFiles(settled.collect())
    }

    /// Returns the names of the files that were written in place since another read: they may be incomplete. Each with
    /// whether it is the beginning of what it was.
    pub(super) fn written_in_place<'a>(
        &'a self,
        before: &'a ExportFiles,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        self.0.iter().filter_map(|(name, file)| {
            let before = before.0.get(name)?;
            let in_place = before.inode == file.inode && before.text != file.text;
            let is_cut = match (&before.text, &file.text) {
                (Ok(before), Ok(text)) => before.starts_with(text.as_str()),
                _ => false,
            };
            in_place.then_some((name.as_str(), is_cut))
        })
    }

    /// Returns the files that later ones are compared with: these, but those of before for an export that is not valid. A file
    /// that was renamed over another one is complete, whatever its export is.
    pub(super) fn accepted(
        &self,
        before: &ExportFiles,
        is_valid: impl Fn(&str) -> bool,
    ) -> ExportFiles {
        let mut accepted = self.clone();
        for (name, file) in &before.0 {
            let export = export_name(name);
            let is_renamed = |next: &ExportFile| next.text.is_ok() && next.inode != file.inode;
            let is_replaced = self.0.get(name).is_some_and(is_renamed);
            if !is_valid(export) && self.has_export(export) && !is_replaced {
                accepted.0.insert(name.clone(), file.clone());
            }
        }
        accepted
    }

    fn has_export(&self, export: &str) -> bool {
        self.0.keys().any(|name| export_name(name) == export)
    }
}

impl ExportFile {
    fn read(path: &Path) -> ExportFile {
        // First the inode: if the file is replaced meanwhile, the next check finds a new one.
        let inode = inode(path);
        let text = match is_special(path) {
            // Reading a pipe would wait for its writer.
            true => Err("expected a file".to_owned()),
            false => fs::read_to_string(path).map_err(|error| error.to_string()),
        };
        ExportFile { inode, text }
    }
}

/// Returns the names and paths in a folder. Hidden ones are left out: editors and `rsync` keep copies so.
///
/// # Errors
/// Returns an error if the folder cannot be read.
fn visible_entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            entries.push((name.to_string_lossy().into_owned(), entry.path()));
        }
    }
    Ok(entries)
}

fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sql") && !is_special(path)
}

/// Reads the files of a book. Returns `None` if there is no such folder, or none of its files belongs to a book.
fn read_book(name: &str, folder: &Path) -> Option<BTreeMap<String, ExportFile>> {
    let entries = match visible_entries(folder) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return None,
        // No export has this name: `lost+found` of a disk.
        Err(_) if !is_export_name(name) => return None,
        Err(error) => {
            // Otherwise the export would count as removed.
            let text = Err(format!("cannot read the folder: {error}"));
            let file = ExportFile {
                inode: inode(folder),
                text,
            };
            return Some(BTreeMap::from([(format!("{name}/{BOOK_FILE}"), file)]));
        }
    };
    let files = entries.into_iter();
    let files = files.filter(|(file, path)| file == BOOK_FILE || is_sql(path));
    let files = files.map(|(file, path)| (format!("{name}/{file}"), ExportFile::read(&path)));
    let files: BTreeMap<String, ExportFile> = files.collect();
    (!files.is_empty()).then_some(files)
}

/// Tells whether a folder is a file, or was removed after it was listed.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Tells whether the path leads to something that is neither a file nor missing.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::catalog::{DEFAULT_DATABASE, SqlDialect};

    const ORDERS: &str = "select 1 where :user = ''";

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            write(&folder, name, text);
        }
        folder
    }

    fn write(folder: &TempDir, name: &str, text: &str) {
        let path = folder.path().join(name);
        let parent = path.parent().expect("a folder");
        fs::create_dir_all(parent).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(folder: &TempDir) -> ExportFiles {
        ExportFiles::read(folder.path()).expect("files")
    }

    fn parse(files: &ExportFiles) -> Catalog {
        let dialects = [(DEFAULT_DATABASE.to_owned(), SqlDialect::Sqlite)];
        files.parse(&Dialects::from(dialects))
    }

    fn errors(folder: &TempDir) -> Vec<String> {
        let catalog = parse(&read(folder));
        catalog.errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_with_a_file_of_a_book_is_a_book_unless_it_is_hidden() {
        let folder = folder(&[
            ("orders.sql", ORDERS),
            ("lacks/01_a.sql", ORDERS),
            ("misnamed/Book.toml", ""),
            ("misnamed/01_a.sql", ORDERS),
            ("_draft/01_a.sql", ORDERS),
            ("empty/book.toml", ""),
            (".hidden/01_a.sql", ORDERS),
            ("notes/README.md", ""),
        ]);
        let missing = "missing; add the file with the settings of the book";
        assert_eq!(
            errors(&folder),
            [
                format!("_draft/book.toml:1: {missing}"),
                "empty/book.toml:1: expected 1 to 100 files such as `01_orders.sql`".to_owned(),
                format!("lacks/book.toml:1: {missing}"),
                format!("misnamed/book.toml:1: {missing}"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_the_only_error_of_its_book() {
        let book = "[filters.from]\ntype = 'date'";
        let uses = "select 1 where :user = :from";
        let folder = folder(&[
            ("orders.sql", ORDERS),
            ("sheet/book.toml", book),
            ("sheet/01_a.sql", ORDERS),
            ("settings/01_a.sql", uses),
            ("settings/book.toml/x", ""),
        ]);
        let path = |name: &str| folder.path().join(name);
        fs::write(path("sheet/02_b.sql"), [0xff]).expect("a file");
        // Each leads to itself.
        for name in ["loop", "lost+found"] {
            symlink(name, path(name)).expect("a link");
        }
        let found = errors(&folder);
        let expected = [
            "loop/book.toml:1: cannot read the folder: ",
            "settings/book.toml:1: expected a file",
            "sheet/02_b.sql:1: ",
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_when_it_is_read_is_no_book() {
        let folder = folder(&[("orders.sql", ORDERS)]);
        assert!(read_book("gone", &folder.path().join("gone")).is_none());
        symlink("nowhere", folder.path().join("dangling")).expect("a link");
        assert_eq!(errors(&folder), [""; 0]);
    }

    #[test]
    fn files_of_an_invalid_book_are_compared_with_their_earlier_version_unless_they_were_renamed() {
        let folder = folder(&[
            ("year/book.toml", "title = 'Year'"),
            ("year/01_a.sql", ORDERS),
            ("year/02_b.sql", ORDERS),
        ]);
        let before = read(&folder);
        write(&folder, "year/book.toml", "titel = 'Year'");
        write(&folder, "part", "select 2 where :user = ''");
        let path = |name: &str| folder.path().join(name);
        fs::rename(path("part"), path("year/01_a.sql")).expect("a file");
        fs::remove_file(path("year/02_b.sql")).expect("no file");
        let after = read(&folder);
        let catalog = parse(&after);
        let accepted = after.accepted(&before, |export| catalog.get(export).is_some());
        let is_kept = |name: &str| accepted.0.get(name) == before.0.get(name);
        assert!(is_kept("year/book.toml") && is_kept("year/02_b.sql"));
        assert!(!is_kept("year/01_a.sql"));
        assert!(after.accepted(&before, |_| true) == after);
    }
}
