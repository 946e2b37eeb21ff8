//! The receipt that a server sends with a file: the number of its rows and its hash, as header fields or trailer fields.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::HeaderMap;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

const ROWS: &str = "rowlink-rows";
const SHA256: &str = "rowlink-sha256";
/// Bytes at the end of a connection's input that hold every trailer section of interest.
const TAIL_BYTES: usize = 1024;

/// What a file is checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The number of its rows, if it is known.
    pub(super) rows: Option<u64>,
    /// The SHA-256 hash of its bytes.
    pub(super) sha256: [u8; 32],
}

impl Receipt {
    /// Finds the receipt among lines of fields, such as `curl --dump-header` writes. The last one counts: the file may have
    /// been requested several times.
    pub(super) fn find(lines: &str) -> Option<Receipt> {
        let (mut rows, mut sha256) = (None, None);
        for line in lines.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case(ROWS) {
                rows = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case(SHA256) {
                sha256 = parse_sha256(value.trim()).ok();
            }
        }
        sha256.map(|sha256| Receipt { rows, sha256 })
    }

    /// Returns the receipt in the header section of a response.
    pub(super) fn of(headers: &HeaderMap) -> Option<Receipt> {
        let text = |name| headers.get(name)?.to_str().ok();
        Some(Receipt {
            rows: text(ROWS).and_then(|rows| rows.parse().ok()),
            sha256: parse_sha256(text(SHA256)?).ok()?,
        })
    }
}

/// Parses a SHA-256 hash in hexadecimal digits.
///
/// # Errors
/// Returns what is expected.
pub(super) fn parse_sha256(text: &str) -> Result<[u8; 32], &'static str> {
    let mut sha256 = [0; 32];
    let decoded = hex::decode_to_slice(text, &mut sha256);
    decoded.map_err(|_| "expected 64 hexadecimal digits")?;
    Ok(sha256)
}

/// Records the end of what connections receive: the client discards trailer sections.
#[derive(Debug, Clone, Default)]
pub(super) struct TrailerRecorder(Arc<Mutex<Vec<u8>>>);

impl TrailerRecorder {
    /// Returns the receipt in the trailer section of the response whose body was read last, to its end.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Receipt::find(trailer_section(&tail)?)
    }

    fn record(&self, received: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&received[received.len().saturating_sub(TAIL_BYTES)..]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }
}

/// Returns the lines after the last chunk of a body that ends here: RFC 9112, section 7.1.
fn trailer_section(tail: &[u8]) -> Option<&str> {
    let body = tail.strip_suffix(b"\r\n\r\n")?;
    // From the end: the content of the file may have such lines, too.
    let mut section = body.len();
    loop {
        let start = body[..section].windows(2).rposition(|it| it == b"\r\n")?;
        let line = &body[start + 2..section];
        if !line.is_empty() && line.iter().all(|byte| *byte == b'0') {
            return std::str::from_utf8(&body[section..]).ok();
        }
        if !line.contains(&b':') {
            return None;
        }
        section = start;
    }
}

impl<In: Transport> Connector<In> for TrailerRecorder {
    type Out = Recorded<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Recorded<In>>, ureq::Error> {
        Ok(chained.map(|transport| Recorded {
            transport,
            recorder: self.clone(),
        }))
    }
}

/// A connection whose input is recorded.
#[derive(Debug)]
pub(super) struct Recorded<T> {
    transport: T,
    recorder: TrailerRecorder,
}

impl<T: Transport> Transport for Recorded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // What was not consumed yet stays in front.
        let before = self.transport.buffers().input().len();
        let has_input = self.transport.await_input(timeout)?;
        let input = self.transport.buffers().input();
        self.recorder
            .record(input.get(before..).unwrap_or_default());
        Ok(has_input)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(rows: u64, digit: char) -> String {
        let sha256 = digit.to_string().repeat(64);
        format!("rowlink-rows: {rows}\r\nrowlink-sha256: {sha256}\r\n")
    }

    fn recorded(pieces: &[&str]) -> Option<Receipt> {
        let recorder = TrailerRecorder::default();
        let record = |piece: &&str| recorder.record(piece.as_bytes());
        pieces.iter().for_each(record);
        recorder.receipt()
    }

    #[test]
    fn the_last_receipt_of_several_responses_counts() {
        let (first, last) = (fields(1, 'a'), fields(2, 'b').to_uppercase());
        let dumped = format!("HTTP/1.1 303 See Other\r\n{first}\r\nHTTP/1.1 200 OK\r\n\r\n{last}");
        let receipt = Receipt::find(&dumped).expect("a receipt");
        assert_eq!((receipt.rows, receipt.sha256), (Some(2), [0xbb; 32]));
        assert_eq!(
            Receipt::find("HTTP/1.1 200 OK\r\nrowlink-rows: 2\r\n"),
            None
        );
        assert_eq!(Receipt::find("rowlink-sha256: abc\r\n"), None);
    }

    #[test]
    fn a_trailer_section_is_found_however_it_arrives() {
        let whole = format!("5\r\na\r\nb\n\r\n0\r\n{}\r\n", fields(7, 'c'));
        for at in 0..whole.len() {
            let (start, end) = whole.split_at(at);
            let receipt = recorded(&[start, end]).expect("a receipt");
            assert_eq!((receipt.rows, receipt.sha256), (Some(7), [0xcc; 32]));
        }
    }

    #[test]
    fn what_reads_like_a_receipt_within_the_file_is_none() {
        let content = format!("0\r\n{}x", fields(7, 'c'));
        let chunk = format!("{:x}\r\n{content}\r\n", content.len());
        assert_eq!(recorded(&[&chunk, "0\r\n\r\n"]), None);
        assert_eq!(recorded(&[&fields(7, 'c'), "\r\n"]), None);
        let long = "x".repeat(TAIL_BYTES);
        assert_eq!(
            recorded(&["0\r\n", &fields(7, 'c'), &long, "\r\n\r\n"]),
            None
        );
    }
}
