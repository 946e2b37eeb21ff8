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

/// Returns the index of the column of a `DataRow` whose value ends beyond `bytes_max`, from the part of the message
/// that has arrived; `None` as long as that part does not reach so far.
pub(super) fn column_beyond(message: &[u8], bytes_max: usize) -> Option<usize> {
    let mut end = HEADER_BYTES + 2;
    let count = message.get(HEADER_BYTES..end)?;
    let count = u16::from_be_bytes(count.try_into().expect("two bytes"));
    (0..usize::from(count)).find_map(|column| {
        let length = message.get(end..end + 4)?;
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        // -1 is NULL.
        end += 4 + usize::try_from(length).unwrap_or(0);
        (end > bytes_max).then_some(column)
    })
}

/// Encodes a message.
#[cfg(test)]
pub(super) fn encode(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag], &length[..], body].concat()
}
