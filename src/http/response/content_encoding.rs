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

use crate::format::{EMPTY_DEFLATE_BLOCK, Format};

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
pub(in crate::http) struct ContentEncoder {
    codec: Codec,
    coding: Coding,
    state: State,
}

enum Codec {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

/// How much of the start of the stream was sent.
enum State {
    Nothing,
    /// The start without content, for heartbeats. The codec does not know.
    Start(Vec<u8>),
    Content,
}

/// The header of gzip without optional fields: RFC 1952, section 2.3.
const GZIP_HEADER_BYTES: usize = 10;
/// The magic number, the descriptor and the window of a zstd frame of unknown size: RFC 8878, section 3.1.1.1.
const ZSTD_HEADER_BYTES: usize = 6;
/// An empty raw block of zstd, and the same as the last block: RFC 8878, section 3.1.1.2.
const EMPTY_ZSTD_BLOCK: &[u8] = &[0x00, 0x00, 0x00];
const LAST_ZSTD_BLOCK: &[u8] = &[0x01, 0x00, 0x00];

impl Codec {
    fn new(coding: Coding) -> io::Result<Codec> {
        Ok(match coding {
            Coding::Gzip => Codec::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => Codec::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    fn chunk(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let coded = match self {
            Codec::Gzip(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Codec::Zstd(encoder) => {
                encoder.write_all(chunk)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(coded))
    }
}

impl Coding {
    /// Returns the first bytes of every stream that begins with a flushed chunk.
    fn start(self) -> io::Result<Vec<u8>> {
        let length = match self {
            Coding::Gzip => GZIP_HEADER_BYTES,
            Coding::Zstd => ZSTD_HEADER_BYTES,
        };
        let mut start = Codec::new(self)?.chunk(b"x")?;
        start.truncate(length);
        Ok(start)
    }
}

impl ContentEncoder {
    /// Starts a stream.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn new(coding: Coding) -> io::Result<ContentEncoder> {
        Ok(ContentEncoder {
            codec: Codec::new(coding)?,
            coding,
            state: State::Nothing,
        })
    }

    /// Returns a heartbeat: bytes that decode to nothing. They fit after the start and after every chunk, which ends a
    /// block.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn heartbeat(&mut self) -> io::Result<Vec<u8>> {
        let beat = match self.coding {
            Coding::Gzip => EMPTY_DEFLATE_BLOCK,
            Coding::Zstd => EMPTY_ZSTD_BLOCK,
        };
        if !matches!(self.state, State::Nothing) {
            return Ok(beat.to_vec());
        }
        let start = self.coding.start()?;
        let sent = [&start, beat].concat();
        self.state = State::Start(start);
        Ok(sent)
    }

    /// Compresses a chunk and flushes; returns all bytes to send, never empty for a chunk that is not.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn chunk(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let coded = self.codec.chunk(chunk)?;
        let state = std::mem::replace(&mut self.state, State::Content);
        without_start(coded, &state)
    }

    /// Ends the stream. Without this end every decoder reports truncation.
    ///
    /// # Errors
    /// Returns an error if memory cannot be allocated.
    pub(in crate::http) fn finish(self) -> io::Result<Vec<u8>> {
        match (self.codec, &self.state) {
            (Codec::Gzip(encoder), state) => without_start(encoder.finish()?, state),
            // Without content the codec would write the start of a frame of known size.
            (Codec::Zstd(_), State::Start(_)) => Ok(LAST_ZSTD_BLOCK.to_vec()),
            (Codec::Zstd(encoder), _) => encoder.finish(),
        }
    }
}

/// Removes the start that was sent already.
fn without_start(mut coded: Vec<u8>, state: &State) -> io::Result<Vec<u8>> {
    if let State::Start(start) = state {
        if !coded.starts_with(start) {
            return Err(io::Error::other("the stream starts in another way"));
        }
        coded.drain(..start.len());
    }
    Ok(coded)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match coding {
            Coding::Gzip => {
                let decoded = MultiGzDecoder::new(coded).read_to_end(&mut text);
                decoded.expect("gzip");
                text
            }
            Coding::Zstd => zstd::decode_all(coded).expect("zstd"),
        }
    }

    proptest! {
        /// `None` is a heartbeat.
        #[test]
        fn heartbeats_decode_to_nothing_wherever_they_are(
            events in prop::collection::vec(prop::option::of("[a-z\n]{1,200}"), 0..20),
            coding in prop::sample::select(vec![Coding::Gzip, Coding::Zstd]),
        ) {
            let mut encoder = ContentEncoder::new(coding).expect("memory");
            let mut coded = Vec::new();
            for event in &events {
                let bytes = match event {
                    Some(text) => encoder.chunk(text.as_bytes()),
                    None => encoder.heartbeat(),
                };
                coded.extend(bytes.expect("memory"));
            }
            coded.extend(encoder.finish().expect("memory"));
            let text = events.into_iter().flatten().collect::<String>();
            prop_assert_eq!(decode(coding, &coded), text.into_bytes());
        }
    }
}
