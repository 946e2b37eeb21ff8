//! The line with which a file of text proves that it is whole, for those who cannot see how its
//! connection ended: some proxies make a clean end of a cut.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

/// What the line starts with.
const PREFIX: &[u8] = b"#rowlink-end,rows=";
/// Between the number of rows and the hash.
const HASH: &str = ",sha256=";
/// The line is never longer.
const BYTES_MAX: u64 = 128;

/// Sees a file go by, and writes its last line.
#[derive(Debug, Default)]
pub struct EndLine(Sha256);

impl EndLine {
    /// A piece of the file.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The line after `rows` rows: their number and the SHA-256 of all that stands before it.
    pub fn finish(self, rows: u64) -> Vec<u8> {
        let hash = hex::encode(self.0.finalize());
        let mut line = PREFIX.to_vec();
        line.extend_from_slice(format!("{rows}{HASH}{hash}\r\n").as_bytes());
        line
    }
}

/// Why a file is not known to be whole.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// It has no such line: it was cut, or never had one.
    #[error("it has no end line: it was cut, or was exported without `end_line`")]
    NoEndLine,
    /// What stands before the line is not what was sent.
    #[error("it was changed: its content is not what the end line says")]
    Changed,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// Whether a file is whole; returns how many rows it has.
///
/// # Errors
/// It is not, or that cannot be told.
pub fn check<F: Read + Seek>(mut file: F) -> Result<u64, NotWhole> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
    file.read_to_end(&mut tail)?;
    let start = tail.windows(PREFIX.len()).rposition(|it| it == PREFIX);
    let start = start.ok_or(NotWhole::NoEndLine)?;
    let line = std::str::from_utf8(&tail[start + PREFIX.len()..]).ok();
    let fields = line.and_then(|line| line.strip_suffix("\r\n")?.split_once(HASH));
    let (rows, hash) = fields.ok_or(NotWhole::NoEndLine)?;
    let rows = rows.parse().map_err(|_| NotWhole::NoEndLine)?;

    file.seek(SeekFrom::Start(0))?;
    let before = length - (tail.len() - start) as u64;
    let mut reader = BufReader::with_capacity(256 * 1024, file.take(before));
    let mut seen = Sha256::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let read = piece.len();
        seen.update(piece);
        reader.consume(read);
    }
    if hex::encode(seen.finalize()) == hash {
        Ok(rows)
    } else {
        Err(NotWhole::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn file(content: &[u8], rows: u64) -> Vec<u8> {
        let mut end = EndLine::default();
        content.chunks(3).for_each(|piece| end.update(piece));
        [content, &end.finish(rows)].concat()
    }

    #[test]
    fn a_file_is_whole_as_it_was_written_and_no_byte_of_it_can_be_missing_or_other() {
        let whole = file(b"id,name\r\n1,x\r\n", 1);
        assert!(matches!(check(Cursor::new(&whole)), Ok(1)));
        for cut in 0..whole.len() {
            assert!(check(Cursor::new(&whole[..cut])).is_err(), "{cut}");
        }
        let number = whole
            .windows(5)
            .position(|it| it == b"rows=")
            .expect("a number")
            + 5;
        for at in (0..whole.len()).filter(|at| *at != number) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(check(Cursor::new(&changed)).is_err(), "{at}");
        }
    }

    #[test]
    fn a_cell_that_reads_like_the_line_ends_nothing() {
        let content = file(b"id\r\n", 0);
        let whole = file(&content, 7);
        assert!(matches!(check(Cursor::new(&whole)), Ok(7)));
        let cut = &whole[..content.len() + 4];
        assert!(matches!(check(Cursor::new(cut)), Err(NotWhole::NoEndLine)));
    }
}
