//! What is taken from a source, and what is returned of it, in a content coding.

use std::io::{self, Read};
use std::thread;

use futures_util::FutureExt as _;
use futures_util::stream::{self, Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::store::StoreError;

const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Zstd];

/// Returns a file of these chunks, which have so many bytes.
fn coded(
    chunks: impl Stream<Item = Vec<u8>> + Send + 'static,
    bytes: usize,
    coding: Coding,
) -> CodedFile {
    let chunks = chunks.map(|chunk| Ok::<_, StoreError>(chunk.into()));
    let reader = ObjectReader::new(chunks.boxed(), bytes as u64, None);
    CodedFile::create(Source::Stored(reader), Some(coding), None).expect("threads")
}

/// Returns what a decoder finds, and the error if it does not find the end.
fn decode(coding: Coding, coded: &[u8]) -> (Vec<u8>, io::Result<usize>) {
    let mut decoder: Box<dyn Read + '_> = match coding {
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(coded)),
        Coding::Zstd => Box::new(zstd::Decoder::new(coded).expect("memory")),
    };
    let mut text = Vec::new();
    let end = decoder.read_to_end(&mut text);
    (text, end)
}

#[tokio::test]
async fn a_chunk_is_returned_although_the_next_one_never_comes() {
    for coding in CODINGS {
        let chunks = stream::iter([b"1,alice\n".to_vec()]).chain(stream::pending());
        let mut file = coded(chunks, 1000, coding);
        let chunk = file.next_chunk().await.expect("no error");
        let (text, end) = decode(coding, &chunk.expect("a chunk"));
        assert_eq!(text, b"1,alice\n");
        assert!(end.is_err(), "{coding:?}");
    }
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let texts: Vec<_> = (0..40_u8).map(|n| vec![n; 50_000]).collect();
    for coding in CODINGS {
        // Each chunk is ready only when it is polled again.
        let chunks = stream::iter(texts.clone()).then(async |chunk| {
            tokio::task::yield_now().await;
            chunk
        });
        let receipt = PendingReceipt::default();
        let file = coded(chunks, texts.concat().len(), coding);
        let mut file = file.with_receipt(receipt.clone());
        let mut coded = Vec::new();
        loop {
            // Each future is polled once.
            match file.next_chunk().now_or_never() {
                Some(next) => match next.expect("no error") {
                    Some(chunk) => coded.extend(chunk),
                    None => break,
                },
                None => thread::yield_now(),
            }
        }
        let (text, end) = decode(coding, &coded);
        assert!(end.is_ok() && text == texts.concat(), "{coding:?}");
        let receipt = receipt.known().expect("the file has ended");
        assert_eq!(receipt.sha256[..], Sha256::digest(texts.concat())[..]);
    }
}

#[tokio::test]
async fn progress_counts_what_was_returned_and_not_what_was_taken() {
    for coding in CODINGS {
        let chunks = stream::iter(vec![vec![b'x'; 1000]; 5]);
        let mut file = coded(chunks, 5000, coding);
        for bytes in [1000, 2000, 3000, 4000, 5000, 5000] {
            let chunk = file.next_chunk().await.expect("no error");
            assert!(chunk.is_some());
            assert_eq!(file.progress().bytes, bytes, "{coding:?}");
        }
        assert!(file.next_chunk().await.expect("no error").is_none());
    }
}

#[tokio::test]
async fn what_came_before_an_error_is_returned_before_it_and_is_not_complete() {
    for coding in CODINGS {
        let chunks = stream::iter(vec![b"1,alice\n".to_vec(); 2]);
        let mut file = coded(chunks, 1000, coding);
        let mut sent = Vec::new();
        let error = loop {
            match file.next_chunk().await {
                Ok(chunk) => sent.extend(chunk.expect("the file has no end")),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StreamError::Store(StoreError::Changed)));
        let (text, end) = decode(coding, &sent);
        assert_eq!(text, b"1,alice\n1,alice\n");
        assert!(end.is_err(), "{coding:?}");
    }
}
