//! The first rows of a file of JSON objects, one per line.

use std::io::{BufRead as _, BufReader, Read};

use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::errors::ToolError;

/// The most rows of a preview.
const ROWS_MAX: usize = 10;
/// The most bytes that are read of a file.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Some rows.
pub(super) struct Sample {
    /// Values by column.
    pub(super) rows: Vec<Map<String, Value>>,
    pub(super) ending: Ending,
}

/// Why there are no further rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ending {
    AllRows,
    RowLimit,
    SizeLimit,
}

impl Sample {
    /// Reads rows up to a limit. It does not wait for a row beyond.
    ///
    /// # Errors
    /// Returns a [`ToolError`] if the file breaks off, or is not what Rowlink writes.
    pub(super) fn read(file: impl Read) -> Result<Sample, ToolError> {
        let mut file = BufReader::new(file.take(READ_BYTES_MAX));
        let mut rows = Vec::new();
        let mut line = Vec::new();
        loop {
            if rows.len() == ROWS_MAX {
                let ending = Ending::RowLimit;
                return Ok(Sample { rows, ending });
            }
            line.clear();
            let read = file.read_until(b'\n', &mut line);
            read.map_err(|error| broken(rows.len(), &error.to_string()))?;
            let is_limited = file.get_ref().limit() == 0 && file.buffer().is_empty();
            match line.last() {
                Some(b'\n') => rows.extend(parse(&line)?),
                _ if is_limited => {
                    let ending = Ending::SizeLimit;
                    return Ok(Sample { rows, ending });
                }
                None => {
                    let ending = Ending::AllRows;
                    return Ok(Sample { rows, ending });
                }
                Some(_) => return Err(broken(rows.len(), "the last line has no end")),
            }
        }
    }
}

/// Parses a line: that of a row, or of the array around the rows.
fn parse(line: &[u8]) -> Result<Option<Map<String, Value>>, ToolError> {
    let line = line.trim_ascii();
    let line = line.strip_suffix(b",").unwrap_or(line);
    if matches!(line, b"[" | b"]" | b"[]") {
        return Ok(None);
    }
    let row = serde_json::from_slice(line).map(Some);
    row.map_err(|_| {
        let error = "the file of the deployment is not the JSON that Rowlink writes";
        ToolError::Other(error.to_owned())
    })
}

fn broken(rows: usize, cause: &str) -> ToolError {
    ToolError::Other(format!(
        "the download broke off after {rows} rows: {cause}; try again, or create a link"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Cursor};

    fn read(text: &str) -> (usize, Ending) {
        let sample = Sample::read(Cursor::new(text.to_owned())).expect("a sample");
        (sample.rows.len(), sample.ending)
    }

    /// Fails the test if it is read.
    struct Unread;

    impl Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("read beyond the limit");
        }
    }

    #[test]
    fn rows_are_read_up_to_the_limit_and_not_one_more() {
        let row = "{\"a\":1}\n";
        assert_eq!(read(""), (0, Ending::AllRows));
        assert_eq!(read(&row.repeat(9)), (9, Ending::AllRows));
        assert_eq!(read(&row.repeat(11)), (10, Ending::RowLimit));
        let file = Cursor::new(row.repeat(ROWS_MAX)).chain(Unread);
        let sample = Sample::read(file).expect("a sample");
        assert_eq!(sample.ending, Ending::RowLimit);
        assert_eq!(read("[\n{\"a\":1},\n{\"a\":2}\n]\n"), (2, Ending::AllRows));
        assert_eq!(read("[]\n"), (0, Ending::AllRows));
    }

    #[test]
    fn a_row_without_end_is_read_up_to_the_limit_of_bytes() {
        let row = "{\"a\":1}\n";
        let endless = Cursor::new(format!("{row}{{\"a\":\"")).chain(io::repeat(b'x'));
        let sample = Sample::read(endless).expect("a sample");
        assert_eq!((sample.rows.len(), sample.ending), (1, Ending::SizeLimit));
        let filler = "x".repeat(READ_BYTES_MAX as usize - row.len() - "{\"a\":\"\"}\n".len());
        let exact = format!("{row}{{\"a\":\"{filler}\"}}\n");
        assert_eq!(exact.len() as u64, READ_BYTES_MAX);
        assert_eq!(read(&exact), (2, Ending::SizeLimit));
    }

    #[test]
    fn what_breaks_off_is_no_sample() {
        for text in ["{\"a\":1}\n{\"a\"", "no JSON\n", "[1]\n"] {
            let read = Sample::read(Cursor::new(text));
            assert!(matches!(read, Err(ToolError::Other(_))), "{text}");
        }
    }
}
