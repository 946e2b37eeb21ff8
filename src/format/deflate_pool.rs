//! Threads that compress blocks, shared by all files of the process.
//!
//! The blocks of a file are compressed at the same time: the method of `pigz`. What a block becomes depends only on its content
//! and, unless it has matches of rows or lines, on the end of the one before it, which is its dictionary. It ends at a byte.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{io, thread};

use flate2::FlushCompress;

use super::container::{Content, Level, deflate};
use super::deflate_block::{DISTANCE_MAX, DeflateBlock};
use super::encoder::EncodeError;
use super::line_matcher::LineMatcher;
use super::row_matcher::match_rows;

/// The end of deflate after a block: an empty block with fixed codes, marked as the last (RFC 1951, section 3.2.3).
pub const LAST_BLOCK: &[u8] = &[0x03, 0x00];

/// With fewer lines, what was before them matters more, and so do codes of their own.
const LINES_BYTES_MIN: usize = 16 * 1024;

/// A block to compress.
pub struct Block {
    pub content: Arc<Content>,
    /// The content before it in the same part, if there is some.
    pub before: Option<Arc<Content>>,
    pub level: Level,
}

/// A compressed block.
pub struct Deflated {
    /// In deflate, up to a byte boundary. More blocks, or an end, must follow.
    pub bytes: Vec<u8>,
    pub content_bytes: u64,
    /// Of the content.
    pub checksum: crc32fast::Hasher,
}

/// Makes blocks of the chunks of a text. Each refers to the text before it, also if that came in many small chunks.
#[derive(Default)]
pub struct TextBlocks {
    /// The end of the text so far, as far as deflate refers back.
    window: Vec<u8>,
}

impl TextBlocks {
    /// Returns the block of the next chunk.
    pub fn next(&mut self, chunk: Vec<u8>) -> Block {
        let new = &chunk[chunk.len().saturating_sub(DISTANCE_MAX)..];
        let old_bytes = self.window.len().min(DISTANCE_MAX - new.len());
        let old = &self.window[self.window.len() - old_bytes..];
        let window = [old, new].concat();
        let before = std::mem::replace(&mut self.window, window);
        Block {
            content: Arc::new(chunk.into()),
            before: (!before.is_empty()).then(|| Arc::new(before.into())),
            level: Level::Fastest,
        }
    }
}

/// The threads.
pub struct DeflatePool {
    jobs: Sender<Job>,
}

/// A block, and what takes it once it is compressed.
type Job = (Block, Box<dyn FnOnce(Deflated) + Send>);

impl DeflatePool {
    /// Returns the pool of this process: a thread per processor, which the first call starts.
    ///
    /// # Errors
    /// Returns [`EncodeError::NoThread`] if the system has no thread left.
    pub fn shared() -> Result<&'static DeflatePool, EncodeError> {
        static POOL: OnceLock<DeflatePool> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = POOL.get() {
            return Ok(pool);
        }
        let started = DeflatePool::start();
        let started = started.map_err(|error| EncodeError::NoThread(error.to_string()))?;
        Ok(POOL.get_or_init(|| started))
    }

    fn start() -> io::Result<DeflatePool> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let count = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..count {
            let waiting = waiting.clone();
            let thread = thread::Builder::new().name("rowlink-deflate".to_owned());
            thread.spawn(move || run(&waiting))?;
        }
        Ok(DeflatePool { jobs })
    }

    /// Compresses a block on one of the threads, in the order of the calls, and passes it to `answer` there. If the thread
    /// panics, `answer` is dropped: a channel in it must make that the [error of the file](no_answer).
    pub fn compress(&self, block: Block, answer: impl FnOnce(Deflated) + Send + 'static) {
        // Without a thread the answer is dropped.
        let _ = self.jobs.send((block, Box::new(answer)));
    }
}

/// Returns the error of a file one of whose blocks has no answer.
pub fn no_answer() -> EncodeError {
    EncodeError::Failed("a compression thread ended early".to_owned())
}

/// Compresses blocks until the pool is gone.
fn run(waiting: &Mutex<Receiver<Job>>) {
    let mut compressor = Compressor::default();
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((block, answer)) = next else {
            return;
        };
        // Otherwise each panic would leave the process with a thread less.
        let answered = catch_unwind(AssertUnwindSafe(|| answer(compressor.compress(&block))));
        if answered.is_err() {
            compressor = Compressor::default();
        }
    }
}

/// Compresses a block in this thread.
#[cfg(test)]
pub(super) fn compress(block: &Block) -> Deflated {
    Compressor::default().compress(block)
}

/// The state of a thread: its tables are large, so that they are used again.
#[derive(Default)]
struct Compressor {
    lines: LineMatcher,
    /// The matches in rows and lines.
    matches: DeflateBlock,
}

impl Compressor {
    fn compress(&mut self, block: &Block) -> Deflated {
        let content = &block.content.bytes;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(content);
        Deflated {
            bytes: match self.find_matches(block) {
                true => self.compress_matches(content),
                false => compress_text(block),
            },
            content_bytes: content.len() as u64,
            checksum,
        }
    }

    /// Finds the matches of a block as in rows of cells, or as in lines. Returns whether they are most of the content: long texts
    /// may resemble something else than the cell above.
    fn find_matches(&mut self, block: &Block) -> bool {
        let Content { bytes, marks } = &*block.content;
        self.matches.clear();
        if !marks.is_empty() {
            match_rows(bytes, marks, &mut self.matches);
        } else if block.level == Level::Fastest && bytes.len() >= LINES_BYTES_MIN {
            self.lines.match_lines(bytes, &mut self.matches);
        }
        self.matches.matched_bytes() > bytes.len() / 2
    }

    fn compress_matches(&mut self, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(content.len() / 3);
        self.matches.write(content, &mut bytes);
        bytes
    }
}

/// Compresses content of any kind.
fn compress_text(block: &Block) -> Vec<u8> {
    let before = block.before.as_ref().map_or(&[][..], |it| &it.bytes);
    let window = &before[before.len().saturating_sub(DISTANCE_MAX)..];
    let content = &block.content.bytes;
    deflate(block.level, window, content, FlushCompress::Sync)
}

#[cfg(test)]
impl Block {
    /// Returns a block whose thread panics: its second cell is outside of its content.
    pub fn that_panics() -> Block {
        let mark = |end| super::row_matcher::Mark { column: 0, end };
        Block {
            content: Arc::new(Content {
                bytes: Vec::new(),
                marks: vec![mark(9), mark(18)],
            }),
            before: None,
            level: Level::Fastest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvError, sync_channel};

    use proptest::prelude::*;

    use super::*;
    use crate::format::deflate_block::tests::inflate;
    use crate::format::row_matcher::Mark;

    /// Returns the sizes of some cells of a column that are compressed as cells, and as any content.
    fn sizes(cells: impl Iterator<Item = String>) -> (usize, usize) {
        let mut content = Content::default();
        for cell in cells {
            content.bytes.extend(cell.bytes());
            let end = content.bytes.len() as u32;
            content.marks.push(Mark { column: 0, end });
        }
        let plain = Content::from(content.bytes.clone());
        let size = |content: Content| {
            let expected = content.bytes.clone();
            let deflated = compress(&Block {
                content: Arc::new(content),
                before: None,
                level: Level::Fastest,
            });
            assert!(inflate(&deflated.bytes) == expected);
            deflated.bytes.len()
        };
        (size(content), size(plain))
    }

    #[test]
    fn rows_of_numbers_are_smaller_than_by_a_search() {
        let cells = (0..9000).map(|n| format!("<c r=\"A{n}\"><v>{}</v></c>", n * 7919 % 100_000));
        let (as_cells, plain) = sizes(cells);
        assert!(as_cells < plain * 9 / 10, "{as_cells}, {plain}");
    }

    #[test]
    fn long_texts_that_resemble_earlier_ones_are_not_larger_than_by_a_search() {
        let words = [
            "paid in advance",
            "sent by mail",
            "asked for a refund",
            "waits for a reply",
        ];
        let text = |n: usize| {
            (0..40)
                .map(|at| words[(n * n + at * at) % 4])
                .collect::<String>()
        };
        let (as_cells, plain) = sizes((0..500).map(|n| format!("<c><t>{}</t></c>", text(n))));
        assert!(as_cells <= plain, "{as_cells}, {plain}");
    }

    fn on_a_thread(block: Block) -> Receiver<Deflated> {
        let (answer, deflated) = sync_channel(1);
        let pool = DeflatePool::shared().expect("threads");
        pool.compress(block, move |block| drop(answer.send(block)));
        deflated
    }

    /// Content of different kinds, with what it may follow.
    fn any_block() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
        let noise = prop::collection::vec(any::<u8>(), 0..3000);
        let repeats = (any::<u8>(), 0..100_000_usize).prop_map(|(byte, count)| vec![byte; count]);
        let words = (0..9000_u64).prop_map(|count| {
            let word =
                |n: u64| ["paid ", "by mail ", "in transit ", "on "][(n * n % 7 % 4) as usize];
            (0..count).map(word).collect::<String>().into_bytes()
        });
        let rows = (0..4000_u32).prop_map(|count| {
            let rows = (0..count).map(|n| format!("{n},{},row {n}\n", n * 7));
            rows.collect::<String>().into_bytes()
        });
        let content = prop_oneof![noise, repeats, words, rows];
        (content.clone(), prop::option::of(content))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_a_thread_compressed_before_does_not_change_a_block(
            blocks in prop::collection::vec(any_block(), 1..8),
        ) {
            let mut compressor = Compressor::default();
            for (content, before) in blocks {
                let block = Block {
                    content: Arc::new(content.into()),
                    before: before.map(|before| Arc::new(before.into())),
                    level: Level::Fastest,
                };
                prop_assert!(compressor.compress(&block).bytes == compress(&block).bytes);
            }
        }
    }

    #[test]
    fn a_block_whose_thread_panics_has_no_answer_and_later_blocks_have_one() {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let panicking: Vec<_> = (0..2 * threads)
            .map(|_| on_a_thread(Block::that_panics()))
            .collect();
        for block in panicking {
            assert_eq!(block.recv().map(|it| it.bytes), Err(RecvError));
        }
        let block = TextBlocks::default().next(b"a text".to_vec());
        let deflated = on_a_thread(block).recv().expect("an answer");
        assert_eq!(inflate(&deflated.bytes), b"a text");
    }

    #[test]
    fn a_block_of_text_has_the_text_before_it_however_small_its_chunks_were() {
        let text: Vec<u8> = (0..50_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
        let (mut blocks, mut end) = (TextBlocks::default(), 0);
        for length in [1, 10_000, 1, 30_000, 2000, 7000] {
            let chunk = text[end..end + length].to_vec();
            let before = blocks.next(chunk).before;
            let before = before.map_or(Vec::new(), |before| before.bytes.clone());
            assert!(
                before == text[end.saturating_sub(DISTANCE_MAX)..end],
                "{end}"
            );
            end += length;
        }
    }
}
