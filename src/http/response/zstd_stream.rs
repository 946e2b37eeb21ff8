//! The content coding zstd: RFC 8878. Chunks are compressed where they are taken, because that costs little.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use zstd::stream::write::Encoder;

use crate::format::EncodeError;

/// The fastest level: compression must not take longer than it saves.
const LEVEL: i32 = 1;
/// The magic number, the descriptor and the window of a frame of unknown size at this level: section 3.1.1.1.
pub(super) const START: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x48];
/// An empty raw block, and the same as the last block: section 3.1.1.2.
pub(super) const EMPTY_BLOCK: &[u8] = &[0x00, 0x00, 0x00];
const LAST_BLOCK: &[u8] = &[0x01, 0x00, 0x00];

/// Compresses the chunks of a stream. Each has a mark.
pub(super) struct ZstdStream<M> {
    encoder: Encoder<'static, Vec<u8>>,
    has_content: bool,
    /// The chunks that are compressed.
    chunks: VecDeque<(Vec<u8>, M)>,
}

impl<M> ZstdStream<M> {
    /// Returns a stream without chunks.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if memory cannot be allocated.
    pub(super) fn new() -> Result<ZstdStream<M>, EncodeError> {
        Ok(ZstdStream {
            encoder: Encoder::new(Vec::new(), LEVEL).map_err(failed)?,
            has_content: false,
            chunks: VecDeque::new(),
        })
    }

    /// Tells whether it takes another chunk now.
    pub(super) fn has_space(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if memory cannot be allocated.
    pub(super) fn push(&mut self, chunk: &[u8], mark: M) -> Result<(), EncodeError> {
        let coded = self.compress(chunk).map_err(failed)?;
        self.chunks.push_back((coded, mark));
        Ok(())
    }

    fn compress(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        self.encoder.write_all(chunk)?;
        self.encoder.flush()?;
        let mut coded = std::mem::take(self.encoder.get_mut());
        // The start is sent with whatever comes first, which may be a heartbeat.
        if !std::mem::replace(&mut self.has_content, true) {
            if !coded.starts_with(START) {
                return Err(io::Error::other("the stream starts in another way"));
            }
            coded.drain(..START.len());
        }
        Ok(coded)
    }

    /// Returns the next chunk in its coding, up to the end of a block; `None` if there is none.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, M)> {
        self.chunks.pop_front()
    }

    /// Returns the end of the stream, all of whose chunks were returned.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if memory cannot be allocated.
    pub(super) fn finish(self) -> Result<Vec<u8>, EncodeError> {
        assert!(self.chunks.is_empty(), "a chunk would be missing");
        match self.has_content {
            true => self.encoder.finish().map_err(failed),
            // The encoder would write a whole frame.
            false => Ok(LAST_BLOCK.to_vec()),
        }
    }
}

fn failed(error: io::Error) -> EncodeError {
    EncodeError::Failed(error.to_string())
}
