//! The line with which a file of text proves that it is whole, for those who cannot see how its
//! connection ended: some proxies make a clean end of a cut.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

use crate::format::Format;

/// What stands around the number of rows and the hash.
struct Form {
    before: &'static str,
    between: &'static str,
    after: &'static str,
}

/// To a reader of CSV it is a comment, or a row that looks like none of the others.
const CSV: Form = Form {
    before: "#rowlink-end,rows=",
    between: ",sha256=",
    after: "\r\n",
};
/// JSON like every other line.
const NDJSON: Form = Form {
    before: r#"{"rowlink_end":{"rows":"#,
    between: r#","sha256":""#,
    after: "\"}}\n",
};
/// The line is never longer.
const BYTES_MAX: u64 = 128;

/// Sees a file go by, and writes its last line.
pub struct IntegrityLine {
    seen: Sha256,
    form: &'static Form,
}

impl IntegrityLine {
    /// The line of a file of text in this format.
    pub fn new(format: Format) -> IntegrityLine {
        let form = match format {
            Format::Ndjson => &NDJSON,
            Format::Csv | Format::Xlsx | Format::Parquet => &CSV,
        };
        let seen = Sha256::default();
        IntegrityLine { seen, form }
    }

    /// A piece of the file.
    pub fn update(&mut self, piece: &[u8]) {
        self.seen.update(piece);
    }

    /// The line after `rows` rows: their number and the SHA-256 of all that stands before it.
    pub fn finish(self, rows: u64) -> Vec<u8> {
        let hash = hex::encode(self.seen.finalize());
        let Form {
            before,
            between,
            after,
        } = self.form;
        format!("{before}{rows}{between}{hash}{after}").into_bytes()
    }
}

impl Form {
    /// Where the line starts with which a file ends, the number of rows in it, and the hash.
    fn find<'t>(&self, tail: &'t [u8]) -> Option<(usize, u64, &'t str)> {
        let before = self.before.as_bytes();
        let start = tail.windows(before.len()).rposition(|it| it == before)?;
        // A cell that reads like it stands in a line of others.
        if !matches!(tail[..start].last(), None | Some(b'\n')) {
            return None;
        }
        let rest = std::str::from_utf8(&tail[start + before.len()..]).ok()?;
        let (rows, hash) = rest.strip_suffix(self.after)?.split_once(self.between)?;
        Some((start, rows.parse().ok()?, hash))
    }
}

/// Why a file is not known to be whole.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
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
pub fn check<F: Read + Seek>(mut file: F) -> Result<u64, IntegrityError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
    file.read_to_end(&mut tail)?;
    let mut found = [&CSV, &NDJSON]
        .into_iter()
        .filter_map(|form| form.find(&tail));
    let (start, rows, hash) = found.next().ok_or(IntegrityError::NoEndLine)?;

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
        Err(IntegrityError::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn file(format: Format, content: &[u8], rows: u64) -> Vec<u8> {
        let mut end = IntegrityLine::new(format);
        content.chunks(3).for_each(|piece| end.update(piece));
        [content, &end.finish(rows)].concat()
    }

    #[test]
    fn a_file_is_whole_as_it_was_written_and_no_byte_of_it_can_be_missing_or_other() {
        for (format, content, before) in [
            (Format::Csv, "id,name\r\n1,x\r\n", CSV.before),
            (Format::Ndjson, "{\"id\":1}\n", NDJSON.before),
        ] {
            let whole = file(format, content.as_bytes(), 1);
            assert!(matches!(check(Cursor::new(&whole)), Ok(1)));
            for cut in 0..whole.len() {
                assert!(check(Cursor::new(&whole[..cut])).is_err(), "{format} {cut}");
            }
            let number = content.len() + before.len();
            for at in (0..whole.len()).filter(|at| *at != number) {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert!(check(Cursor::new(&changed)).is_err(), "{format} {at}");
            }
        }
    }

    #[test]
    fn a_cell_that_reads_like_the_line_ends_nothing() {
        let content = file(Format::Csv, b"id\r\n", 0);
        let whole = file(Format::Csv, &content, 7);
        assert!(matches!(check(Cursor::new(&whole)), Ok(7)));
        let cut = &whole[..content.len() + 4];
        assert!(matches!(
            check(Cursor::new(cut)),
            Err(IntegrityError::NoEndLine)
        ));
        let line = IntegrityLine::new(Format::Csv).finish(0);
        let in_a_cell = [b"id;".as_slice(), &line].concat();
        let said = check(Cursor::new(in_a_cell));
        assert!(matches!(said, Err(IntegrityError::NoEndLine)));
    }
}
