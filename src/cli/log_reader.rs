//! Reads a log line by line, also while it grows and is rotated.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::mem;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The longest line in bytes. Audit lines are shorter, and memory must be bounded.
const LINE_MAX: usize = 1 << 20;

/// Splits what is read into lines.
#[derive(Default)]
pub(super) struct LineSplitter {
    /// The start of the next line.
    start: Vec<u8>,
    /// Whether that line is too long, and its start was dropped.
    is_too_long: bool,
}

impl LineSplitter {
    /// Returns the lines that end in a chunk, without their end; `None` for one that is too long.
    pub(super) fn lines(&mut self, chunk: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.add(piece);
            if pieces.peek().is_some() {
                lines.push(self.end());
            }
        }
        lines
    }

    /// Returns the last line, which has no end.
    pub(super) fn rest(&mut self) -> Vec<Option<Vec<u8>>> {
        match self.start.is_empty() && !self.is_too_long {
            true => Vec::new(),
            false => vec![self.end()],
        }
    }

    fn add(&mut self, piece: &[u8]) {
        self.is_too_long |= self.start.len() + piece.len() > LINE_MAX;
        match self.is_too_long {
            true => self.start.clear(),
            false => self.start.extend_from_slice(piece),
        }
    }

    fn end(&mut self) -> Option<Vec<u8>> {
        let line = mem::take(&mut self.start);
        (!mem::take(&mut self.is_too_long)).then_some(line)
    }
}

/// A file under a path that may lead to another file later.
pub(super) struct FollowedFile {
    path: PathBuf,
    file: File,
}

impl FollowedFile {
    /// Opens the file.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<FollowedFile> {
        Ok(FollowedFile {
            path: path.to_owned(),
            file: File::open(path)?,
        })
    }

    /// Returns what reads the file from where it was read last.
    pub(super) fn reader(&mut self) -> &mut File {
        &mut self.file
    }

    /// Goes on with the file that has replaced this one, or from the start of this one if it was truncated. Call it after the
    /// end was read; returns whether there is something else to read.
    ///
    /// # Errors
    /// Returns an error if the new file cannot be opened. One that does not exist yet is awaited.
    pub(super) fn reopen_if_replaced(&mut self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if (found.dev(), found.ino()) != (own.dev(), own.ino()) {
            // Lines may have been written to the old file since its end was read.
            if own.len() > self.file.stream_position()? {
                return Ok(false);
            }
            self.file = File::open(&self.path)?;
            return Ok(true);
        }
        // `copytruncate` of logrotate.
        if own.len() < self.file.stream_position()? {
            self.file.seek(SeekFrom::Start(0))?;
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn texts(lines: Vec<Option<Vec<u8>>>) -> Vec<Option<String>> {
        let text = |line| String::from_utf8(line).expect("UTF-8");
        lines.into_iter().map(|line| line.map(text)).collect()
    }

    #[test]
    fn lines_may_be_split_anywhere_and_long_ones_take_no_memory() {
        let is = |text: &str| Some(text.to_owned());
        let mut splitter = LineSplitter::default();
        assert_eq!(texts(splitter.lines(b"a\n\nb")), [is("a"), is("")]);
        assert!(texts(splitter.lines(b"")).is_empty());
        assert_eq!(texts(splitter.lines(b"c\n")), [is("bc")]);
        assert!(texts(splitter.rest()).is_empty());
        for _ in 0..3 {
            assert!(texts(splitter.lines(&vec![b'x'; LINE_MAX - 1])).is_empty());
            assert!(splitter.start.len() < LINE_MAX);
        }
        assert_eq!(texts(splitter.lines(b"\nd")), [None]);
        assert_eq!(texts(splitter.rest()), [is("d")]);
    }

    #[test]
    fn a_file_is_followed_when_it_is_renamed_or_truncated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "first\n").expect("a file");
        let mut followed = FollowedFile::open(&path).expect("a file");
        let read = |followed: &mut FollowedFile| {
            let mut text = String::new();
            followed.reader().read_to_string(&mut text).expect("text");
            text
        };
        assert_eq!(read(&mut followed), "first\n");
        assert!(!followed.reopen_if_replaced().expect("a file"));

        fs::rename(&path, folder.path().join("log.1")).expect("a file");
        assert!(!followed.reopen_if_replaced().expect("no new file yet"));
        let old = File::options()
            .append(true)
            .open(folder.path().join("log.1"));
        let mut old = old.expect("a file");
        old.write_all(b"late\n").expect("written");
        fs::write(&path, "second\n").expect("a file");
        assert!(!followed.reopen_if_replaced().expect("the rest comes first"));
        assert_eq!(read(&mut followed), "late\n");
        assert!(followed.reopen_if_replaced().expect("a new file"));
        assert_eq!(read(&mut followed), "second\n");

        File::create(&path).expect("truncated");
        assert!(followed.reopen_if_replaced().expect("a file"));
        assert_eq!(read(&mut followed), "");
        fs::write(&path, "x\n").expect("a file");
        assert_eq!(read(&mut followed), "x\n");
    }
}
