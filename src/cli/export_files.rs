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
        for (name, path) in visible_entries(folder)? {
            if is_book(&path) {
                files.extend(read_book(&name, &path)?);
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
        let path = folder.join(format!("{name}.sql"));
        let book = folder.join(name);
        if is_export_name(name) && is_book(&book) && !path.is_file() {
            return Ok(ExportFiles(read_book(name, &book)?));
        }
        if !is_export_name(name) || !path.is_file() {
            return Err(format!("unknown export `{name}` in {}", folder.display()));
        }
        let file = (format!("{name}.sql"), ExportFile::read(&path));
        Ok(ExportFiles(BTreeMap::from([file])))
    }

    /// Parses the files.
    pub(super) fn parse(&self, dialects: &Dialects) -> Catalog {
        let texts = self.0.iter().filter_map(|(name, file)| {
            let text = file.text.as_ref().ok()?;
            Some((name.as_str(), text.as_str()))
        });
        let mut catalog = Catalog::parse(texts, dialects);
        for (name, file) in &self.0 {
            if let Err(error) = &file.text {
                // Without one of its files a book would lack a sheet.
                catalog.remove(export_name(name));
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
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        ExportFile { inode, text }
    }
}

/// Returns the names and paths in a folder. Hidden ones are left out: editors and `rsync` keep copies so.
///
/// # Errors
/// Returns an error if the folder cannot be read.
fn visible_entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let unreadable = |error: io::Error| format!("cannot read {}: {error}", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            entries.push((name.to_string_lossy().into_owned(), entry.path()));
        }
    }
    Ok(entries)
}

/// Tells whether a folder is a book.
fn is_book(path: &Path) -> bool {
    path.join(BOOK_FILE).is_file()
}

fn is_sql(path: &Path) -> bool {
    // Reading a pipe would wait for its writer.
    path.extension().is_some_and(|extension| extension == "sql") && !is_special(path)
}

/// Reads the files of a book.
fn read_book(name: &str, folder: &Path) -> Result<BTreeMap<String, ExportFile>, String> {
    let entries = visible_entries(folder)?.into_iter();
    let files = entries.filter(|(name, path)| name == BOOK_FILE || is_sql(path));
    let files = files.map(|(file, path)| (format!("{name}/{file}"), ExportFile::read(&path)));
    Ok(files.collect())
}

/// Tells whether the path leads to something that is neither a file nor missing.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}
