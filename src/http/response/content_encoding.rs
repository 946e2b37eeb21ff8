//! Content codings of a stream: gzip and zstd, flushed with every chunk so that a client gets each row
//! as soon as without them. actix's middleware delays streams (its issue 3410).

use std::io::{self, Write as _};

use actix_web::HttpRequest;
use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, Encoding, Header as _, Preference, Quality,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::format::Format;

/// The fastest level: compression must not take longer than it saves.
const ZSTD_LEVEL: i32 = 1;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// Returns the coding for a request, if any: zstd before gzip at equal quality (RFC 9110, section
    /// 12.5.3). Files that are not text are compressed already.
    pub(in crate::http) fn negotiate(request: &HttpRequest, format: Format) -> Option<Coding> {
        let accepted = AcceptEncoding::parse(request).ok()?;
        if !format.is_text() || !request.headers().contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let quality = |encoding: Encoding| {
            let listed = |wanted: &Preference<Encoding>| {
                accepted
                    .iter()
                    .find(|it| it.item == *wanted)
                    .map(|it| it.quality)
            };
            listed(&Preference::Specific(encoding))
                .or_else(|| listed(&Preference::Any))
                .unwrap_or(Quality::ZERO)
        };
        let (zstd, gzip) = (quality(Encoding::zstd()), quality(Encoding::gzip()));
        if zstd > Quality::ZERO && zstd >= gzip {
            Some(Coding::Zstd)
        } else {
            (gzip > Quality::ZERO).then_some(Coding::Gzip)
        }
    }

    /// Returns its name in `Content-Encoding`.
    pub(in crate::http) fn header(self) -> ContentEncoding {
        match self {
            Coding::Gzip => ContentEncoding::Gzip,
            Coding::Zstd => ContentEncoding::Zstd,
        }
    }
}

/// Compresses a stream.
pub(in crate::http) enum ContentEncoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl ContentEncoder {
    /// Starts a stream.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn new(coding: Coding) -> io::Result<ContentEncoder> {
        Ok(match coding {
            Coding::Gzip => ContentEncoder::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => ContentEncoder::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Compresses a chunk and flushes; returns all bytes to send, never empty for a chunk that is not.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn chunk(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let coded = match self {
            ContentEncoder::Gzip(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            ContentEncoder::Zstd(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(coded))
    }

    /// Ends the stream. Without this end every decoder reports truncation.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            ContentEncoder::Gzip(encoder) => encoder.finish(),
            ContentEncoder::Zstd(encoder) => encoder.finish(),
        }
    }
}
