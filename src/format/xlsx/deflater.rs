//! The second stage: a thread that compresses pieces while the next rows become XML. Compression takes
//! about four times as long as writing the XML.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use crate::format::container::{Container, Piece};
use crate::format::encoder::EncodeError;

/// Lists of pieces that may wait to be compressed.
const LISTS_IN_FLIGHT: usize = 2;

/// Compresses pieces on a thread, which ends when this is dropped.
pub(super) struct Deflater {
    pieces: SyncSender<Vec<Piece>>,
    /// One answer per list. Unbounded, but at most the lists in flight wait here.
    compressed: Receiver<Vec<u8>>,
    in_flight: usize,
}

impl Deflater {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left.
    pub(super) fn start() -> Result<Deflater, EncodeError> {
        let (pieces, pieces_out) = sync_channel(LISTS_IN_FLIGHT);
        let (compressed_in, compressed) = channel();
        let run = move || {
            let mut container = Container::default();
            while let Ok(list) = pieces_out.recv() {
                let list: Vec<Piece> = list;
                list.iter().for_each(|piece| container.write_piece(piece));
                if compressed_in.send(container.take()).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("rowlink-deflate".to_owned());
        let started = thread.spawn(run);
        started.map_err(|error| EncodeError::NoThread(error.to_string()))?;
        Ok(Deflater {
            pieces,
            compressed,
            in_flight: 0,
        })
    }

    /// Hands pieces to the thread and appends what it has compressed so far.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if the thread has panicked.
    pub(super) fn push(
        &mut self,
        pieces: Vec<Piece>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !pieces.is_empty() {
            self.pieces.send(pieces).map_err(|_| panicked())?;
            self.in_flight += 1;
        }
        while let Ok(compressed) = self.compressed.try_recv() {
            self.in_flight -= 1;
            out.extend_from_slice(&compressed);
        }
        Ok(())
    }

    /// Waits until all pieces are compressed, and appends the result.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if the thread has panicked.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        while self.in_flight > 0 {
            let compressed = self.compressed.recv().map_err(|_| panicked())?;
            self.in_flight -= 1;
            out.extend_from_slice(&compressed);
        }
        Ok(())
    }
}

fn panicked() -> EncodeError {
    EncodeError::Failed("the compression thread ended early".to_owned())
}
