//! Content codings of a stream: gzip and zstd, flushed with every chunk so that a client has each row
//! as soon as it would without. actix's own middleware holds streams back (its issue 3410).

use std::io::{self, Write as _};

use actix_web::HttpRequest;
use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, Encoding, Header as _, Preference, Quality,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::format::Format;

/// The fastest level: what is saved on the way must not be lost in waiting.
const ZSTD_LEVEL: i32 = 1;

/// What a client accepts and we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// What to write for a request, if it is not the file as it is: zstd before gzip where the client
    /// likes both as much (RFC 9110, section 12.5.3). A file that is no text is
    /// compressed already.
    pub(super) fn negotiate(request: &HttpRequest, format: Format) -> Option<Coding> {
        let prepared = AcceptEncoding::parse(request).ok()?;
        if !format.is_text() || !request.headers().contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let quality = |encoding: Encoding| {
            let listed = |wanted: &Preference<Encoding>| {
                prepared
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

    /// Its name in `Content-Encoding`.
    pub(super) fn header(self) -> ContentEncoding {
        match self {
            Coding::Gzip => ContentEncoding::Gzip,
            Coding::Zstd => ContentEncoding::Zstd,
        }
    }
}

/// A stream on its way through a coding.
pub(super) enum ContentEncoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl ContentEncoder {
    /// # Errors
    /// There is no memory for it.
    pub(super) fn new(coding: Coding) -> io::Result<ContentEncoder> {
        Ok(match coding {
            Coding::Gzip => ContentEncoder::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => ContentEncoder::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// All that there is to send once `chunk` is in: never empty if that is not.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn chunk(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
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

    /// The end, without which no decoder takes what it got for whole.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            ContentEncoder::Gzip(encoder) => encoder.finish(),
            ContentEncoder::Zstd(encoder) => encoder.finish(),
        }
    }
}
