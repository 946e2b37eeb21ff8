//! Content codings of a stream: gzip and zstd, flushed with every chunk so that a client gets each row
//! as soon as without them. actix's middleware delays streams (its issue 3410).

use actix_web::HttpRequest;
use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, Encoding, Header as _, Preference, Quality,
};

use super::gzip_stream::{self, GzipStream};
use super::zstd_stream::{self, ZstdStream};
use crate::format::deflate_pool::DeflatePool;
use crate::format::{EMPTY_DEFLATE_BLOCK, EncodeError, Format};

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

    /// Tells whether the system has threads for it. They are started at the first call.
    pub(in crate::http) fn is_available(self) -> bool {
        match self {
            Coding::Gzip => DeflatePool::shared().is_ok(),
            Coding::Zstd => true,
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

/// Compresses the chunks of a stream. Each has a mark, such as the number of its last row, which is returned with it.
pub(in crate::http) struct ContentEncoder<M> {
    stream: CodedStream<M>,
    /// Whether the start of the stream was returned.
    has_begun: bool,
}

/// A stream without its start.
enum CodedStream<M> {
    Gzip(GzipStream<M>),
    Zstd(ZstdStream<M>),
}

impl<M> ContentEncoder<M> {
    /// Starts a stream.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left, and [`EncodeError::Failed`] if memory cannot be
    /// allocated.
    pub(in crate::http) fn new(coding: Coding) -> Result<ContentEncoder<M>, EncodeError> {
        let stream = match coding {
            Coding::Gzip => CodedStream::Gzip(GzipStream::new()?),
            Coding::Zstd => CodedStream::Zstd(ZstdStream::new()?),
        };
        Ok(ContentEncoder {
            stream,
            has_begun: false,
        })
    }

    /// Tells whether it takes another chunk before it returns one. It does if it has none.
    pub(in crate::http) fn has_space(&self) -> bool {
        match &self.stream {
            CodedStream::Gzip(gzip) => gzip.has_space(),
            CodedStream::Zstd(zstd) => zstd.has_space(),
        }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if memory cannot be allocated.
    pub(in crate::http) fn push(&mut self, chunk: Vec<u8>, mark: M) -> Result<(), EncodeError> {
        match &mut self.stream {
            CodedStream::Gzip(gzip) => gzip.push(chunk, mark),
            CodedStream::Zstd(zstd) => zstd.push(&chunk, mark)?,
        }
        Ok(())
    }

    /// Returns the oldest chunk in its coding as soon as it is compressed, flushed and never empty, with its mark; `None`
    /// if it has no chunk. Dropping the future before it resolves loses nothing.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if a compression thread has panicked.
    pub(in crate::http) async fn next(&mut self) -> Option<Result<(Vec<u8>, M), EncodeError>> {
        let next = match &mut self.stream {
            CodedStream::Gzip(gzip) => gzip.next().await.transpose()?,
            CodedStream::Zstd(zstd) => Ok(zstd.next()?),
        };
        Some(next.map(|(coded, mark)| (self.after_start(coded), mark)))
    }

    /// Returns a heartbeat: bytes that decode to nothing. They fit after the start and after every chunk, which ends a
    /// block.
    pub(in crate::http) fn heartbeat(&mut self) -> Vec<u8> {
        let beat = match &self.stream {
            CodedStream::Gzip(_) => EMPTY_DEFLATE_BLOCK,
            CodedStream::Zstd(_) => zstd_stream::EMPTY_BLOCK,
        };
        self.after_start(beat.to_vec())
    }

    /// Ends the stream, all of whose chunks were returned. Without this end every decoder reports truncation.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if memory cannot be allocated.
    pub(in crate::http) fn finish(mut self) -> Result<Vec<u8>, EncodeError> {
        let start = self.after_start(Vec::new());
        let end = match self.stream {
            CodedStream::Gzip(gzip) => gzip.finish(),
            CodedStream::Zstd(zstd) => zstd.finish()?,
        };
        Ok([start, end].concat())
    }

    /// Returns the next bytes of the stream, after its start if that was not returned yet.
    fn after_start(&mut self, coded: Vec<u8>) -> Vec<u8> {
        if std::mem::replace(&mut self.has_begun, true) {
            return coded;
        }
        let start = match &self.stream {
            CodedStream::Gzip(_) => gzip_stream::START,
            CodedStream::Zstd(_) => zstd_stream::START,
        };
        [start, &coded].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::LazyLock;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use tokio::runtime::Builder;

    use super::*;

    /// Returns what a decoder finds, and whether it finds the end.
    fn decode(coding: Coding, coded: &[u8]) -> (Vec<u8>, bool) {
        let mut decoder: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(MultiGzDecoder::new(coded)),
            Coding::Zstd => Box::new(zstd::Decoder::new(coded).expect("memory")),
        };
        let mut text = Vec::new();
        let decoded = decoder.read_to_end(&mut text);
        (text, decoded.is_ok())
    }

    /// Codes chunks, and heartbeats where there is `None`. Each is taken as early as possible.
    async fn code(coding: Coding, events: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut encoder = ContentEncoder::new(coding).expect("threads");
        let mut coded = Vec::new();
        for event in events {
            let Some(chunk) = event else {
                coded.extend(encoder.heartbeat());
                continue;
            };
            while !encoder.has_space() {
                coded.extend(next(&mut encoder).await.expect("a chunk"));
            }
            let pushed = encoder.push(chunk.clone(), ());
            pushed.expect("memory");
        }
        while let Some(chunk) = next(&mut encoder).await {
            coded.extend(chunk);
        }
        coded.extend(encoder.finish().expect("memory"));
        coded
    }

    async fn next(encoder: &mut ContentEncoder<()>) -> Option<Vec<u8>> {
        let next = encoder.next().await?;
        Some(next.expect("no panic").0)
    }

    /// Parts of one text, so that most chunks repeat what is in those before them, and noise.
    fn any_chunk() -> impl Strategy<Value = Vec<u8>> {
        static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let rows = (0..20_000_u32).map(|n| format!("{n},row {} of alice\r\n", n * 7919 % 1000));
            rows.collect::<String>().into_bytes()
        });
        let length = prop_oneof![1..100_usize, 1..300_000_usize];
        let text = (0..50_000_usize, length)
            .prop_map(|(start, length)| TEXT[start..start + length].to_vec());
        let noise = prop::collection::vec(any::<u8>(), 1..3000);
        prop_oneof![4 => text, 1 => noise]
    }

    fn any_coding() -> impl Strategy<Value = Coding> {
        prop::sample::select(vec![Coding::Gzip, Coding::Zstd])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// `None` is a heartbeat.
        #[test]
        fn chunks_keep_their_order_and_heartbeats_decode_to_nothing_wherever_they_are(
            events in prop::collection::vec(prop::option::weighted(0.7, any_chunk()), 0..16),
            coding in any_coding(),
        ) {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let coded = runtime.block_on(code(coding, &events));
            let text: Vec<u8> = events.into_iter().flatten().flatten().collect();
            prop_assert!(decode(coding, &coded) == (text.clone(), true));
            if coding == Coding::Gzip {
                let deflated = &coded[gzip_stream::START.len()..coded.len() - 8];
                let inflated = miniz_oxide::inflate::decompress_to_vec(deflated);
                prop_assert!(inflated.expect("deflate") == text);
            }
        }

        #[test]
        fn a_chunk_arrives_without_a_further_one_and_no_part_looks_complete(
            chunks in prop::collection::vec(any_chunk(), 1..6),
            coding in any_coding(),
        ) {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let mut encoder = ContentEncoder::new(coding).expect("threads");
            let (mut coded, mut text) = (Vec::new(), Vec::new());
            for chunk in chunks {
                text.extend_from_slice(&chunk);
                encoder.push(chunk, ()).expect("memory");
                coded.extend(runtime.block_on(next(&mut encoder)).expect("a chunk"));
                prop_assert!(decode(coding, &coded) == (text.clone(), false));
            }
        }
    }

    #[tokio::test]
    async fn each_chunk_is_returned_with_its_mark() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let mut encoder = ContentEncoder::new(coding).expect("threads");
            for mark in 0..3 {
                encoder.push(vec![b'x'; 9], mark).expect("memory");
            }
            for mark in 0..3 {
                let next = encoder.next().await.expect("a chunk");
                assert_eq!(next.expect("no panic").1, mark);
            }
            assert!(encoder.next().await.is_none());
        }
    }
}
