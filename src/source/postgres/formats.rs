//! Asks for each column of a result in text or in binary, as suits it best.
//!
//! The driver asks for all of them in one format, binary, which costs the server a tenth more where
//! there are texts. So the `Bind` message of a query is rewritten on its way out: it ends with the
//! formats of the result.
//!
//! Messages: "Message Formats" in PostgreSQL's manual.

use std::io;

use bytes::{BufMut as _, BytesMut};

use super::row_interceptor::{HEAD_BYTES, read_head};

const BIND: u8 = b'B';
const QUERY: u8 = b'Q';
const SYNC: u8 = b'S';
/// How the driver's `Bind` ends: one format for all columns, binary.
const ALL_BINARY: [u8; 4] = [0, 1, 0, 1];

/// How the values of a column are sent: with its type's output function, or its send function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireFormat {
    Text,
    Binary,
}

/// The formats that one of the next requests asks for.
pub(super) struct FormatRewrite {
    pub(super) requests_before: usize,
    pub(super) formats: Vec<WireFormat>,
}

impl FormatRewrite {
    /// Copies whole messages, the `Bind` of that request with its formats. Says whether it was among
    /// them.
    ///
    /// # Errors
    /// They are not what the driver is known to send.
    pub(super) fn rewrite(&mut self, mut messages: &[u8], out: &mut BytesMut) -> io::Result<bool> {
        while let Some(head) = messages.first_chunk::<HEAD_BYTES>() {
            let (tag, length) = read_head(head)?;
            let (message, rest) = messages.split_at_checked(length).ok_or_else(unexpected)?;
            if tag == BIND && self.requests_before == 0 {
                self.rewrite_bind(message, out)?;
                out.extend_from_slice(rest);
                return Ok(true);
            }
            if tag == QUERY || tag == SYNC {
                self.requests_before =
                    self.requests_before.checked_sub(1).ok_or_else(unexpected)?;
            }
            out.extend_from_slice(message);
            messages = rest;
        }
        if messages.is_empty() {
            Ok(false)
        } else {
            Err(unexpected())
        }
    }

    fn rewrite_bind(&self, bind: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let unchanged = bind[HEAD_BYTES..].strip_suffix(&ALL_BINARY);
        let unchanged = unchanged.ok_or_else(unexpected)?;
        let count = u16::try_from(self.formats.len()).map_err(|_| unexpected())?;
        let length = HEAD_BYTES - 1 + unchanged.len() + 2 + 2 * self.formats.len();
        let length = u32::try_from(length).map_err(|_| unexpected())?;
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

fn unexpected() -> io::Error {
    let message = "a request is not what the driver is known to send";
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::super::row_interceptor::message;
    use super::*;

    fn bind(formats: &[u8]) -> Vec<u8> {
        message(BIND, &[b"\0\0values", formats].concat())
    }

    fn wanted(requests_before: usize) -> FormatRewrite {
        FormatRewrite {
            requests_before,
            formats: vec![WireFormat::Text, WireFormat::Binary, WireFormat::Text],
        }
    }

    #[test]
    fn the_bind_of_the_request_that_is_meant_asks_for_the_formats() {
        let others = [
            message(QUERY, b"begin\0"),
            bind(&ALL_BINARY),
            message(SYNC, b""),
        ]
        .concat();
        let end = [message(b'E', b"\0"), message(SYNC, b"")].concat();
        let asked = [&others[..], &bind(&ALL_BINARY), &end].concat();
        let rewritten = [&others[..], &bind(&[0, 3, 0, 0, 0, 1, 0, 0]), &end].concat();

        let mut together = BytesMut::new();
        assert!(wanted(2).rewrite(&asked, &mut together).expect("messages"));
        assert_eq!(together, rewritten);

        let (mut wanted, mut apart) = (wanted(2), BytesMut::new());
        assert!(!wanted.rewrite(&others, &mut apart).expect("messages"));
        assert!(
            wanted
                .rewrite(&asked[others.len()..], &mut apart)
                .expect("messages")
        );
        assert_eq!(apart, rewritten);
    }

    #[test]
    fn what_the_driver_does_not_send_is_an_error() {
        for asked in [
            bind(&[0, 1, 0, 0]),
            bind(&ALL_BINARY)[..9].to_vec(),
            message(SYNC, b""),
        ] {
            wanted(0)
                .rewrite(&asked, &mut BytesMut::new())
                .expect_err("refused");
        }
    }
}
