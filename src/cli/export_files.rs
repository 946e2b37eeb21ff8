//! The `.sql` files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::inode::{Inode, inode};
use crate::catalog::{Catalog, Dialects};
use crate::toml_errors::LineError;
use rowlink_link::is_export_name;

/// The `.sql` files of a folder at one moment, by name.
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
        let unreadable = |error: io::Error| format!("cannot read {}: {error}", folder.display());
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let name = entry.file_name();
            // Hidden: editors and `rsync` keep copies so.
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            let is_sql = path.extension().is_some_and(|extension| extension == "sql");
            // Reading a pipe would wait for its writer.
            if !is_hidden && is_sql && !is_special(&path) {
                let name = name.to_string_lossy().into_owned();
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

    /// Reads the file of one export, so that errors of others do not matter.
    ///
    /// # Errors
    /// Returns an error if there is no such file.
    pub(super) fn read_one(folder: &Path, name: &str) -> Result<ExportFiles, String> {
        let path = folder.join(format!("{name}.sql"));
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
                catalog.add_error(name, LineError::new(1, error.clone()));
            }
        }
        catalog
    }

    /// Returns the files that are the same as in an earlier read, and for the others those in use: a file that has just
    /// changed may still be being written.
    pub(super) fn settled(&self, earlier: &ExportFiles, in_use: &ExportFiles) -> ExportFiles {
        let names: BTreeSet<&String> = self.0.keys().chain(in_use.0.keys()).collect();
        let settled = names.into_iter().filter_map(|name| {
            let is_settled = self.0.get(name) == earlier.0.get(name);
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

    /// Replaces one file by that of another read.
    pub(super) fn keep(&mut self, name: &str, before: &ExportFiles) {
        if let Some(file) = before.0.get(name) {
            self.0.insert(name.to_owned(), file.clone());
        }
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

/// Tells whether the path leads to something that is neither a file nor missing.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}
