//! Message framing: "Message Formats" in PostgreSQL's manual.
//!
//! A message is a tag of one byte, a length of four bytes that counts itself and the body, and the body.

use std::io;

/// The size of the tag and the length.
pub(super) const HEADER_BYTES: usize = 5;

pub(super) const DATA_ROW: u8 = b'D';
pub(super) const READY_FOR_QUERY: u8 = b'Z';
pub(super) const BIND: u8 = b'B';
pub(super) const QUERY: u8 = b'Q';
pub(super) const SYNC: u8 = b'S';

/// Parses a header; returns the tag and the size of the whole message in bytes.
///
/// # Errors
/// Returns `InvalidData` if the length does not include its own four bytes.
pub(super) fn parse_header(header: &[u8; HEADER_BYTES]) -> io::Result<(u8, usize)> {
    let [tag, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    if length < HEADER_BYTES - 1 {
        let message = "protocol message: expected a length of at least 4";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok((tag, 1 + length))
}

/// Encodes a message.
#[cfg(test)]
pub(super) fn encode(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag], &length[..], body].concat()
}
