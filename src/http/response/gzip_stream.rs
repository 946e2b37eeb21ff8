//! The content coding gzip: RFC 1952. Chunks are compressed on the threads of the pool, several at the same time.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::format::EncodeError;
use crate::format::deflate_pool::{DeflatePool, Deflated, LAST_BLOCK, TextBlocks, no_answer};

/// The start without optional fields: the magic number, deflate, no flags, no time, the fastest level, an unknown system
/// (section 2.3).
pub(super) const START: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Chunks of one stream that may wait to be compressed, or are. Three keep two processors busy while the next one is read.
/// More would only take memory, and turns on the threads from other downloads.
const CHUNKS_IN_FLIGHT: usize = 3;
/// With so many bytes in flight no further chunk is taken: a large row is one chunk.
const BYTES_IN_FLIGHT: u64 = 1 << 20;

/// Compresses the chunks of a stream. Each has a mark.
pub(super) struct GzipStream<M> {
    pool: &'static DeflatePool,
    blocks: TextBlocks,
    in_flight: VecDeque<(oneshot::Receiver<Deflated>, M)>,
    /// Of all chunks that were taken.
    bytes_taken: u64,
    /// Of the chunks that were returned.
    bytes_returned: u64,
    /// Of the chunks that were returned.
    checksum: crc32fast::Hasher,
}

impl<M> GzipStream<M> {
    /// Returns a stream without chunks.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left.
    pub(super) fn new() -> Result<GzipStream<M>, EncodeError> {
        Ok(GzipStream {
            pool: DeflatePool::shared()?,
            blocks: TextBlocks::default(),
            in_flight: VecDeque::new(),
            bytes_taken: 0,
            bytes_returned: 0,
            checksum: crc32fast::Hasher::new(),
        })
    }

    /// Tells whether it takes another chunk now.
    pub(super) fn has_space(&self) -> bool {
        self.in_flight.len() < CHUNKS_IN_FLIGHT
            && self.bytes_taken - self.bytes_returned < BYTES_IN_FLIGHT
    }

    /// Takes a chunk.
    pub(super) fn push(&mut self, chunk: Vec<u8>, mark: M) {
        self.bytes_taken += chunk.len() as u64;
        let (answer, deflated) = oneshot::channel();
        // The download may be gone.
        let answer = move |block| drop(answer.send(block));
        self.pool.compress(self.blocks.next(chunk), answer);
        self.in_flight.push_back((deflated, mark));
    }

    /// Returns the next chunk in its coding, up to the end of a block, as soon as it is compressed; `None` if none is in
    /// flight. Dropping the future before it resolves loses nothing.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if its thread has panicked. So does every later call.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<u8>, M)>, EncodeError> {
        let Some((block, _)) = self.in_flight.front_mut() else {
            return Ok(None);
        };
        // One without an answer stays, so that the stream cannot end.
        if block.is_terminated() {
            return Err(no_answer());
        }
        let block = block.await.map_err(|_| no_answer())?;
        self.bytes_returned += block.content_bytes;
        self.checksum.combine(&block.checksum);
        let in_flight = self.in_flight.pop_front();
        Ok(in_flight.map(|(_, mark)| (block.bytes, mark)))
    }

    /// Returns the end of the stream, all of whose chunks were returned: the last block, the checksum, and the length
    /// modulo 2³² (section 2.3.1).
    pub(super) fn finish(self) -> Vec<u8> {
        assert!(self.in_flight.is_empty(), "a chunk would be missing");
        let checksum = self.checksum.finalize().to_le_bytes();
        let length = (self.bytes_returned as u32).to_le_bytes();
        [LAST_BLOCK, &checksum, &length].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::deflate_pool::Block;

    /// Returns bytes that do not repeat.
    fn noise(length: usize) -> Vec<u8> {
        let numbers = (0_u32..).map(|n| n.wrapping_mul(2_654_435_761) >> 8);
        let bytes = numbers.flat_map(|n| (n ^ (n >> 11)).to_le_bytes());
        bytes.take(length).collect()
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_an_error_of_its_stream_and_of_no_other() {
        let mut stream = GzipStream::new().expect("threads");
        let (answer, deflated) = oneshot::channel();
        let answer = move |block| drop(answer.send(block));
        stream.pool.compress(Block::that_panics(), answer);
        stream.in_flight.push_back((deflated, ()));
        stream.push(b"a text".to_vec(), ());
        for _ in 0..2 {
            let next = stream.next().await;
            assert!(matches!(next, Err(EncodeError::Failed(_))));
        }
        let mut other = GzipStream::new().expect("threads");
        other.push(b"a text".to_vec(), 7);
        let next = other.next().await.expect("no panic");
        assert_eq!(next.map(|(_, mark)| mark), Some(7));
    }

    #[tokio::test]
    async fn few_chunks_or_one_large_one_are_in_flight() {
        let mut stream = GzipStream::new().expect("threads");
        for length in [1, 1, BYTES_IN_FLIGHT as usize] {
            assert!(stream.has_space());
            stream.push(vec![b'x'; length], ());
        }
        for _ in 0..3 {
            assert!(!stream.has_space());
            stream.next().await.expect("no panic").expect("a chunk");
        }
        assert!(stream.has_space());
    }

    #[tokio::test]
    async fn small_chunks_refer_to_those_before_them() {
        let mut stream = GzipStream::new().expect("threads");
        let mut sizes = [0, 0];
        for size in &mut sizes {
            for chunk in noise(30_000).chunks(1000) {
                stream.push(chunk.to_vec(), ());
                let next = stream.next().await.expect("no panic");
                *size += next.expect("a chunk").0.len();
            }
        }
        let [once, again] = sizes;
        assert!(again < once / 5, "{once}, {again}");
    }
}
