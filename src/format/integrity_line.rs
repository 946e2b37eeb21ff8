//! The integrity line: the last line of a text file, by which a reader detects truncation. Needed where
//! a client cannot see how the connection ended: some proxies turn an abort into a normal end.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

use super::Format;

/// The syntax of the line: the text around the number of rows and the hash.
pub struct LineSyntax {
    /// Precedes the number of rows.
    pub before_rows: &'static str,
    /// Precedes the hash.
    pub before_hash: &'static str,
    /// Ends the line.
    pub end: &'static str,
}

/// The longest line in bytes.
const BYTES_MAX: u64 = 128;

/// Hashes a file while it is streamed, and produces its integrity line.
pub struct IntegrityLine {
    hash: Sha256,
    syntax: &'static LineSyntax,
}

impl IntegrityLine {
    /// Creates the line of an empty file; `None` if the format has no such line.
    #[must_use]
    pub fn new(format: Format) -> Option<IntegrityLine> {
        let syntax = format.definition().integrity_line?;
        let hash = Sha256::default();
        Some(IntegrityLine { hash, syntax })
    }

    /// Hashes a chunk of the file.
    pub fn update(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
    }

    /// Returns the line of a file with so many rows: their number, and the SHA-256 of all preceding bytes.
    #[must_use]
    pub fn finish(self, rows: u64) -> Vec<u8> {
        let hash = hex::encode(self.hash.finalize());
        let LineSyntax {
            before_rows,
            before_hash,
            end,
        } = self.syntax;
        format!("{before_rows}{rows}{before_hash}{hash}{end}").into_bytes()
    }
}

impl LineSyntax {
    /// Finds the line at the end of a file; returns its offset, the number of rows, and the hash.
    fn find<'t>(&self, tail: &'t [u8]) -> Option<(usize, u64, &'t str)> {
        let before = self.before_rows.as_bytes();
        let start = tail.windows(before.len()).rposition(|it| it == before)?;
        // Inside a cell, other text of its line precedes it.
        if !matches!(tail[..start].last(), None | Some(b'\n')) {
            return None;
        }
        let rest = std::str::from_utf8(&tail[start + before.len()..]).ok()?;
        let (rows, hash) = rest.strip_suffix(self.end)?.split_once(self.before_hash)?;
        Some((start, rows.parse().ok()?, hash))
    }
}

/// Why a file is not known to be complete.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    /// It has no integrity line.
    #[error("no end line: the file is truncated, or was exported without `end_line`")]
    NoEndLine,
    /// The content differs from what was sent.
    #[error("the content does not match the end line: the file was changed")]
    Changed,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// Checks that a file is complete by its integrity line; returns its number of rows.
///
/// # Errors
/// Returns [`IntegrityError::NoEndLine`] if the line is missing, [`IntegrityError::Changed`] if the hash
/// differs, and [`IntegrityError::Unreadable`] if reading fails.
pub fn check<F: Read + Seek>(mut file: F) -> Result<u64, IntegrityError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
    file.read_to_end(&mut tail)?;
    let formats = Format::ALL.into_iter();
    let mut found = formats
        .filter_map(|format| format.definition().integrity_line)
        .filter_map(|syntax| syntax.find(&tail));
    let (start, rows, expected) = found.next().ok_or(IntegrityError::NoEndLine)?;

    file.seek(SeekFrom::Start(0))?;
    let before = length - (tail.len() - start) as u64;
    if hex::encode(sha256(file, before)?) == expected {
        Ok(rows)
    } else {
        Err(IntegrityError::Changed)
    }
}

/// Returns the SHA-256 hash of the next `bytes_max` bytes of a file, or of those up to its end.
///
/// # Errors
/// Returns the error of the file.
pub fn sha256(file: impl Read, bytes_max: u64) -> io::Result<[u8; 32]> {
    let mut reader = BufReader::with_capacity(256 * 1024, file.take(bytes_max));
    let mut hash = Sha256::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hash.finalize().into());
        }
        let read = chunk.len();
        hash.update(chunk);
        reader.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn line(format: &str) -> IntegrityLine {
        let format = format.parse().expect("a format");
        IntegrityLine::new(format).expect("a format with the line")
    }

    fn file(format: &str, content: &[u8], rows: u64) -> Vec<u8> {
        let mut line = line(format);
        content.chunks(3).for_each(|chunk| line.update(chunk));
        [content, &line.finish(rows)].concat()
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_detected() {
        let mut tried = Vec::new();
        for format in Format::ALL {
            let Some(syntax) = format.definition().integrity_line else {
                assert!(IntegrityLine::new(format).is_none());
                continue;
            };
            tried.push(format.extension());
            let content = "id,name\n1,x\n";
            let whole = file(format.extension(), content.as_bytes(), 1);
            assert!(matches!(check(Cursor::new(&whole)), Ok(1)));
            for end in 0..whole.len() {
                assert!(check(Cursor::new(&whole[..end])).is_err(), "{format} {end}");
            }
            let number = content.len() + syntax.before_rows.len();
            for at in (0..whole.len()).filter(|at| *at != number) {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert!(check(Cursor::new(&changed)).is_err(), "{format} {at}");
            }
        }
        assert_eq!(tried, ["csv", "ndjson", "tsv"]);
    }

    #[test]
    fn a_cell_that_reads_like_the_line_ends_nothing() {
        let content = file("csv", b"id\r\n", 0);
        let whole = file("csv", &content, 7);
        assert!(matches!(check(Cursor::new(&whole)), Ok(7)));
        let truncated = &whole[..content.len() + 4];
        let found = check(Cursor::new(truncated));
        assert!(matches!(found, Err(IntegrityError::NoEndLine)));
        let in_a_cell = [b"id;".as_slice(), &line("csv").finish(0)].concat();
        let found = check(Cursor::new(in_a_cell));
        assert!(matches!(found, Err(IntegrityError::NoEndLine)));
    }
}
