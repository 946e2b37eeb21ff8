//! Requests each column of a result in text or binary format.
//!
//! The driver requests binary for all columns, which costs the server a tenth more for text columns. So the result
//! formats at the end of a query's `Bind` message are rewritten before it is sent.
//!
//! Messages: "Message Formats" in PostgreSQL's manual.

use std::io;

use bytes::{BufMut as _, BytesMut};

use super::message::{BIND, HEADER_BYTES, QUERY, SYNC, parse_header};

/// The end of the driver's `Bind`: one format for all columns, binary.
const ALL_BINARY: [u8; 4] = [0, 1, 0, 1];

/// The format of a column's values: text is the output of its type's output function, binary of its send function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireFormat {
    Text,
    Binary,
}

/// Rewrites the result formats of one of the next requests.
pub(super) struct FormatRewrite {
    pub(super) requests_before: usize,
    pub(super) formats: Vec<WireFormat>,
}

impl FormatRewrite {
    /// Copies complete messages to `out` and rewrites the `Bind` of the request. Returns whether it was among them.
    ///
    /// # Errors
    /// Returns `InvalidData` if the messages are not what this version of the driver sends.
    pub(super) fn rewrite(&mut self, mut messages: &[u8], out: &mut BytesMut) -> io::Result<bool> {
        while let Some(header) = messages.first_chunk::<HEADER_BYTES>() {
            let (tag, length) = parse_header(header)?;
            let (message, rest) = messages
                .split_at_checked(length)
                .ok_or_else(unsupported_request_error)?;
            if tag == BIND && self.requests_before == 0 {
                self.rewrite_bind(message, out)?;
                out.extend_from_slice(rest);
                return Ok(true);
            }
            if tag == QUERY || tag == SYNC {
                self.requests_before = self
                    .requests_before
                    .checked_sub(1)
                    .ok_or_else(unsupported_request_error)?;
            }
            out.extend_from_slice(message);
            messages = rest;
        }
        if messages.is_empty() {
            Ok(false)
        } else {
            Err(unsupported_request_error())
        }
    }

    fn rewrite_bind(&self, bind: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let unchanged = bind[HEADER_BYTES..].strip_suffix(&ALL_BINARY);
        let unchanged = unchanged.ok_or_else(unsupported_request_error)?;
        let count = u16::try_from(self.formats.len()).map_err(|_| unsupported_request_error())?;
        let length = HEADER_BYTES - 1 + unchanged.len() + 2 + 2 * self.formats.len();
        let length = u32::try_from(length).map_err(|_| unsupported_request_error())?;
        out.put_u8(BIND);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(unchanged);
        out.extend_from_slice(&count.to_be_bytes());
        for format in &self.formats {
            out.extend_from_slice(match format {
                WireFormat::Text => &[0, 0],
                WireFormat::Binary => &[0, 1],
            });
        }
        Ok(())
    }
}

fn unsupported_request_error() -> io::Error {
    let message = "unsupported request layout from tokio-postgres; see its version in Cargo.toml";
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::super::message::encode;
    use super::*;

    fn bind(formats: &[u8]) -> Vec<u8> {
        encode(BIND, &[b"\0\0values", formats].concat())
    }

    fn rewrite_after(requests_before: usize) -> FormatRewrite {
        FormatRewrite {
            requests_before,
            formats: vec![WireFormat::Text, WireFormat::Binary, WireFormat::Text],
        }
    }

    #[test]
    fn only_the_bind_of_the_chosen_request_is_rewritten() {
        let earlier = [
            encode(QUERY, b"begin\0"),
            bind(&ALL_BINARY),
            encode(SYNC, b""),
        ]
        .concat();
        let end = [encode(b'E', b"\0"), encode(SYNC, b"")].concat();
        let sent = [&earlier[..], &bind(&ALL_BINARY), &end].concat();
        let expected = [&earlier[..], &bind(&[0, 3, 0, 0, 0, 1, 0, 0]), &end].concat();

        let mut out = BytesMut::new();
        assert!(rewrite_after(2).rewrite(&sent, &mut out).expect("messages"));
        assert_eq!(out, expected);

        let (mut rewrite, mut out) = (rewrite_after(2), BytesMut::new());
        assert!(!rewrite.rewrite(&earlier, &mut out).expect("messages"));
        let later = &sent[earlier.len()..];
        assert!(rewrite.rewrite(later, &mut out).expect("messages"));
        assert_eq!(out, expected);
    }

    #[test]
    fn a_request_of_another_layout_is_an_error() {
        for request in [
            bind(&[0, 1, 0, 0]),
            bind(&ALL_BINARY)[..9].to_vec(),
            encode(SYNC, b""),
        ] {
            rewrite_after(0)
                .rewrite(&request, &mut BytesMut::new())
                .expect_err("refused");
        }
    }
}
