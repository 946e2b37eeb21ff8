//! The receipt of a file, for programs that check what they have received: the number of its rows and its hash. It follows
//! the file as trailer fields (RFC 9110, section 6.5), or precedes it as header fields if it is known before.

use std::sync::{Arc, OnceLock};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use sha2::{Digest as _, Sha256};

use crate::http::response::headers::fixed;

const ROWS: HeaderName = HeaderName::from_static("rowlink-rows");
const SHA256: HeaderName = HeaderName::from_static("rowlink-sha256");

/// The headers of a response with trailer fields: their names, and the only coding that has them.
pub(super) const ANNOUNCEMENT: [(HeaderName, HeaderValue); 2] = [
    fixed(header::TRAILER, "rowlink-rows, rowlink-sha256"),
    fixed(header::TRANSFER_ENCODING, "chunked"),
];

/// Tells whether a client accepts trailer fields: RFC 9110, section 10.1.4.
pub(in crate::http) fn is_wanted(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(header::TE);
    values
        .filter_map(|value| value.to_str().ok())
        .any(names_trailers)
}

fn names_trailers(te: &str) -> bool {
    te.split(',')
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// What a client checks a file by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Receipt {
    pub(in crate::http) rows: u64,
    /// The SHA-256 hash of all bytes of the file, before any content coding.
    pub(in crate::http) sha256: [u8; 32],
}

impl Receipt {
    /// Returns the fields, for the header section or for the trailer section.
    pub(in crate::http) fn fields(self) -> [(HeaderName, HeaderValue); 2] {
        let sha256 = HeaderValue::try_from(hex::encode(self.sha256));
        let sha256 = sha256.expect("hexadecimal digits are valid in a header");
        [(ROWS, HeaderValue::from(self.rows)), (SHA256, sha256)]
    }

    /// Returns the last chunk of a body, and its trailer section: RFC 9112, section 7.1.
    pub(super) fn last_chunk(self) -> Bytes {
        let mut chunk = b"0\r\n".to_vec();
        for (name, value) in self.fields() {
            chunk.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        chunk.extend(b"\r\n");
        chunk.into()
    }
}

/// Returns a chunk of a body, which must not be empty: RFC 9112, section 7.1.
pub(super) fn chunk(content: &[u8]) -> Bytes {
    let size = format!("{:X}\r\n", content.len());
    Bytes::from([size.as_bytes(), content, b"\r\n"].concat())
}

/// The receipt of a file that is being sent. It is known once the file is complete.
#[derive(Clone, Default)]
pub(in crate::http) struct PendingReceipt(Arc<OnceLock<Receipt>>);

impl PendingReceipt {
    /// Returns the receipt, if the file is complete.
    pub(in crate::http) fn known(&self) -> Option<Receipt> {
        self.0.get().copied()
    }
}

/// Hashes a file while it is sent.
pub(super) struct ReceiptWriter {
    hash: Sha256,
    pending: PendingReceipt,
}

impl ReceiptWriter {
    pub(super) fn new(pending: PendingReceipt) -> ReceiptWriter {
        let hash = Sha256::default();
        ReceiptWriter { hash, pending }
    }

    /// Hashes a chunk of the file, before any content coding.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
    }

    /// Makes the receipt known: the file is complete, with so many rows.
    pub(super) fn finish(self, rows: u64) {
        let sha256 = self.hash.finalize().into();
        // There is one writer, and this consumes it.
        let _ = self.pending.0.set(Receipt { rows, sha256 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keyword_asks_for_trailer_fields() {
        for te in [
            "trailers",
            "Trailers",
            "gzip;q=0.5, trailers",
            "deflate,TRAILERS",
        ] {
            assert!(names_trailers(te), "{te}");
        }
        for te in ["", "gzip", "trailer", "xtrailers", "gzip;x=trailers"] {
            assert!(!names_trailers(te), "{te}");
        }
    }

    #[test]
    fn a_receipt_is_known_only_after_the_end_of_the_file() {
        let pending = PendingReceipt::default();
        let mut writer = ReceiptWriter::new(pending.clone());
        writer.update(b"a");
        writer.update(b"bc");
        assert_eq!(pending.known(), None);
        writer.finish(7);
        let receipt = pending.known().expect("the file has ended");
        let expected = "0\r\nrowlink-rows: 7\r\nrowlink-sha256: \
                        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\r\n\r\n";
        assert_eq!(receipt.last_chunk(), expected);
    }

    #[test]
    fn a_writer_that_is_dropped_makes_no_receipt() {
        let pending = PendingReceipt::default();
        let mut writer = ReceiptWriter::new(pending.clone());
        writer.update(b"a");
        drop(writer);
        assert_eq!(pending.known(), None);
    }

    #[test]
    fn a_chunk_has_its_size_in_hexadecimal_digits() {
        assert_eq!(chunk(&[b'x'; 26]), format!("1A\r\n{}\r\n", "x".repeat(26)));
    }
}
