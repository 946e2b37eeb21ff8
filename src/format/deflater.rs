//! The second stage of formats that are ZIP archives: blocks are compressed on the threads of a pool while the next rows are
//! encoded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use super::container::{Container, Content, Level, Piece};
use super::deflate_pool::{Block, DeflatePool, Deflated, no_answer};
use super::encoder::EncodeError;

/// Blocks of one archive that may wait to be compressed, or are. More would only take memory, and turns from others.
const BLOCKS_IN_FLIGHT: usize = 4;

/// Writes an archive of pieces, in their order.
pub(super) struct Deflater {
    pool: &'static DeflatePool,
    /// That of the open part.
    level: Level,
    container: Container,
    /// What follows in the archive.
    pending: VecDeque<Pending>,
    blocks_in_flight: usize,
    /// The last block of the open part.
    last: Option<Arc<Content>>,
}

/// Whether to wait for a block.
#[derive(Clone, Copy)]
enum Wait {
    Yes,
    No,
}

enum Pending {
    Piece(Piece),
    Block(Receiver<Deflated>),
}

impl Deflater {
    /// Starts an archive.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left.
    pub(super) fn start() -> Result<Deflater, EncodeError> {
        Ok(Deflater {
            pool: DeflatePool::shared()?,
            level: Level::Fastest,
            container: Container::default(),
            pending: VecDeque::new(),
            blocks_in_flight: 0,
            last: None,
        })
    }

    /// Adds pieces, and appends what is compressed so far.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if a thread has panicked.
    pub(super) fn push(
        &mut self,
        pieces: Vec<Piece>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        for piece in pieces {
            match piece {
                Piece::Content(content) => {
                    while self.blocks_in_flight >= BLOCKS_IN_FLIGHT {
                        self.write_next(Wait::Yes)?;
                    }
                    self.compress(content);
                }
                piece => {
                    if let Piece::Begin(_, level) | Piece::Resume { level, .. } = &piece {
                        self.level = *level;
                    }
                    self.last = None;
                    self.pending.push_back(Pending::Piece(piece));
                }
            }
        }
        while self.write_next(Wait::No)? {}
        out.append(&mut self.container.take());
        Ok(())
    }

    /// Waits until all pieces are compressed, and appends the result.
    ///
    /// # Errors
    /// Returns [`EncodeError::Failed`] if a thread has panicked.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        while self.write_next(Wait::Yes)? {}
        out.append(&mut self.container.take());
        Ok(())
    }

    fn compress(&mut self, content: Content) {
        let content = Arc::new(content);
        let before = self.last.replace(content.clone());
        let block = Block {
            content,
            before,
            level: self.level,
        };
        let (answer, deflated) = sync_channel(1);
        // The file may be gone.
        let answer = move |block| drop(answer.send(block));
        self.pool.compress(block, answer);
        self.pending.push_back(Pending::Block(deflated));
        self.blocks_in_flight += 1;
    }

    /// Writes what follows in the archive. Returns whether there was something, and it was ready.
    fn write_next(&mut self, wait: Wait) -> Result<bool, EncodeError> {
        let deflated = match (self.pending.front(), wait) {
            (None, _) => return Ok(false),
            (Some(Pending::Piece(piece)), _) => {
                write_piece(&mut self.container, piece);
                self.pending.pop_front();
                return Ok(true);
            }
            (Some(Pending::Block(block)), Wait::Yes) => block.recv().map_err(|_| no_answer())?,
            (Some(Pending::Block(block)), Wait::No) => match block.try_recv() {
                Ok(deflated) => deflated,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(no_answer()),
            },
        };
        self.container.write_block(&deflated);
        self.pending.pop_front();
        self.blocks_in_flight -= 1;
        Ok(true)
    }
}

fn write_piece(container: &mut Container, piece: &Piece) {
    match piece {
        Piece::Part(name, content) => container.part(name, content.as_bytes()),
        Piece::Begin(name, _) => container.begin(name),
        Piece::Resume {
            name, heartbeats, ..
        } => container.resume(name, *heartbeats),
        Piece::Content(_) => unreachable!("content is compressed first"),
        Piece::Heartbeat => container.heartbeat(),
        Piece::End => container.end(),
        Piece::Finish => container.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Cursor, Read as _};

    /// Returns the archive of some parts, each of which is a list of blocks.
    fn archive(parts: &[(Level, Vec<Vec<u8>>)]) -> Vec<u8> {
        let mut deflater = Deflater::start().expect("threads");
        let mut archive = Vec::new();
        for (index, (level, blocks)) in parts.iter().enumerate() {
            let begin = vec![Piece::Begin(format!("part{index}"), *level)];
            deflater.push(begin, &mut archive).expect("no panic");
            for block in blocks {
                let content = vec![Piece::Content(block.clone().into())];
                deflater.push(content, &mut archive).expect("no panic");
            }
            deflater
                .push(vec![Piece::End], &mut archive)
                .expect("no panic");
        }
        deflater
            .push(vec![Piece::Finish], &mut archive)
            .expect("no panic");
        deflater.drain(&mut archive).expect("no panic");
        archive
    }

    fn any_level() -> impl Strategy<Value = Level> {
        prop::sample::select(vec![Level::Fastest, Level::Stored])
    }

    /// Blocks that repeat what is in those before them, at distances up to the window of deflate and beyond.
    fn any_blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let noise = prop::collection::vec(any::<u8>(), 0..3000);
        let repeats = (any::<u8>(), 0..100_000_usize).prop_map(|(byte, count)| vec![byte; count]);
        let rows = (0..4000_u32).prop_map(|count| {
            let rows = (0..count).map(|n| format!("<row r=\"{n}\"><c><v>{}</v></c></row>", n * 7));
            rows.collect::<String>().into_bytes()
        });
        prop::collection::vec(prop_oneof![noise, repeats, rows], 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn two_libraries_decompress_blocks_in_their_order(
            parts in prop::collection::vec((any_level(), any_blocks()), 0..4),
        ) {
            let file = archive(&parts);
            prop_assert!(file == archive(&parts), "the bytes depend on the threads");
            let mut found = zip::ZipArchive::new(Cursor::new(file)).expect("an archive");
            prop_assert_eq!(found.len(), parts.len());
            for (index, (_, blocks)) in parts.iter().enumerate() {
                let expected = blocks.concat();
                let mut content = Vec::new();
                let mut part = found.by_index(index).expect("a part");
                part.read_to_end(&mut content).expect("its content and checksum");
                drop(part);
                prop_assert!(content == expected);
                let mut deflated = Vec::new();
                let mut part = found.by_index_raw(index).expect("a part");
                part.read_to_end(&mut deflated).expect("its bytes");
                let inflated = miniz_oxide::inflate::decompress_to_vec(&deflated);
                prop_assert!(inflated.expect("deflate") == expected);
            }
        }
    }

    #[test]
    fn a_block_refers_to_the_one_before_it() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..30_000).map(|_| random()).collect();
        let once = archive(&[(Level::Fastest, vec![noise.clone()])]).len();
        let twice = archive(&[(Level::Fastest, vec![noise.clone(), noise])]).len();
        assert!(twice < once + once / 10, "{once}, {twice}");
    }

    #[test]
    fn a_thread_that_panics_is_an_error_of_the_archive() {
        let mut deflater = Deflater::start().expect("threads");
        let content = Arc::into_inner(Block::that_panics().content);
        let content = content.expect("only this block has it");
        let begin = Piece::Begin("part".to_owned(), Level::Fastest);
        let mut archive = Vec::new();
        let pushed = deflater.push(vec![begin, Piece::Content(content)], &mut archive);
        let drained = pushed.and_then(|()| deflater.drain(&mut archive));
        assert!(matches!(drained, Err(EncodeError::Failed(_))));
    }
}
