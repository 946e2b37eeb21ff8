//! The queue between the writer of one file and its reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::block::{Block, BlockWriter};
use super::{DamagedBlock, Obstacle, Spool};

/// The bytes that wait in memory before a block goes to the disk, and the size of a block.
const BLOCK_BYTES: usize = 256 * 1024;
/// How often a block is tried again for which the disk had no space.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns both sides of a queue. Each chunk has a mark, such as the number of its last row; a block of several chunks
/// has the mark of the last one.
///
/// # Errors
/// Returns an error if the operating system provides no randomness for the key.
pub fn queue<M: Copy, E>(spool: &Arc<Spool>) -> Result<Sides<M, E>, getrandom::Error> {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            head: VecDeque::new(),
            head_bytes: 0,
            blocks: VecDeque::new(),
            is_writing: false,
            tail: None,
            end: None,
        }),
        spooled_bytes: Arc::default(),
        readable: Notify::new(),
        writable: Notify::new(),
    });
    let blocks = Some(BlockWriter::new(spool.clone())?);
    let reader = SpoolReader {
        shared: shared.clone(),
    };
    Ok((SpoolWriter { shared, blocks }, reader))
}

/// Both sides of a queue.
pub type Sides<M, E> = (SpoolWriter<M, E>, SpoolReader<M, E>);

/// Appends chunks. If its reader is dropped first, an append waits without end once the disk has no space.
pub struct SpoolWriter<M, E> {
    shared: Arc<Shared<M, E>>,
    /// `None` while a thread writes a block.
    blocks: Option<BlockWriter>,
}

/// Returns the chunks in order.
pub struct SpoolReader<M, E> {
    shared: Arc<Shared<M, E>>,
}

/// Why there is no next chunk.
#[derive(Debug)]
pub enum ReadError<E> {
    /// The error that the writer has ended with.
    Writer(E),
    /// The writer was dropped before the end.
    NoEnd,
    /// A block on the disk cannot be read back.
    Damaged(DamagedBlock),
}

struct Shared<M, E> {
    queue: Mutex<Queue<M, E>>,
    /// Something that the reader may wait for has happened.
    readable: Notify,
    /// The reader has taken the tail or a block.
    writable: Notify,
    spooled_bytes: Arc<AtomicU64>,
}

/// The chunks are in the order `head`, `blocks`, `tail`.
struct Queue<M, E> {
    head: VecDeque<(Vec<u8>, M)>,
    head_bytes: usize,
    blocks: VecDeque<(Block, M)>,
    /// Whether a thread writes the block between `blocks` and `tail`.
    is_writing: bool,
    tail: Option<(Vec<u8>, M)>,
    end: Option<End<E>>,
}

enum End<E> {
    Complete,
    Failed(E),
    Dropped,
}

impl<M: Copy, E> SpoolWriter<M, E> {
    /// Appends a chunk. If it fits neither memory nor disk, reports the obstacle and waits for the reader.
    pub async fn append(&mut self, chunk: Vec<u8>, mark: M, mut report: impl FnMut(Obstacle)) {
        self.shared.lock().append(chunk, mark);
        self.shared.readable.notify_one();
        loop {
            let Some((block, mark)) = self.shared.lock().take_full_tail() else {
                return;
            };
            let (block, written) = self.write(block).await;
            let obstacle = {
                let mut queue = self.shared.lock();
                queue.is_writing = false;
                match written {
                    Ok(written) => {
                        let spooled_bytes = &self.shared.spooled_bytes;
                        spooled_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
                        queue.blocks.push_back((written, mark));
                        None
                    }
                    Err(obstacle) => {
                        queue.tail = Some((block, mark));
                        Some(obstacle)
                    }
                }
            };
            self.shared.readable.notify_one();
            let Some(obstacle) = obstacle else {
                return;
            };
            report(obstacle);
            let _ = timeout(RETRY_AFTER, self.shared.writable.notified()).await;
        }
    }

    /// Ends the queue. The reader gets an error immediately, and the end after the last chunk.
    pub fn finish(self, end: Result<(), E>) {
        self.shared.end(match end {
            Ok(()) => End::Complete,
            Err(error) => End::Failed(error),
        });
    }

    /// Writes a block on a thread; returns its content too.
    async fn write(&mut self, content: Vec<u8>) -> (Vec<u8>, Result<Block, Obstacle>) {
        let mut blocks = self.blocks.take().expect("each write returns the writer");
        let writing = spawn_blocking(move || {
            let written = blocks.write(&content);
            (blocks, content, written)
        });
        let (blocks, content, written) = writing.await.expect("writing does not panic");
        self.blocks = Some(blocks);
        (content, written)
    }
}

impl<M, E> Drop for SpoolWriter<M, E> {
    fn drop(&mut self) {
        self.shared.end(End::Dropped);
    }
}

impl<M: Copy, E> SpoolReader<M, E> {
    /// Returns the next chunk with its mark, never empty, or `None` after the last. Dropping the future before it
    /// resolves may lose a chunk.
    ///
    /// # Errors
    /// Returns the [`ReadError`]: an error of the writer immediately, before the chunks that still wait.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, M)>, ReadError<E>> {
        loop {
            let next = self.shared.lock().next();
            match next {
                Next::Chunk(chunk, mark) => {
                    self.shared.writable.notify_one();
                    return Ok(Some((chunk, mark)));
                }
                Next::Block(block, mark) => {
                    let read = spawn_blocking(move || block.read()).await;
                    let read = read.expect("reading does not panic");
                    // Its space may be what the writer waits for.
                    self.shared.writable.notify_one();
                    return Ok(Some((read.map_err(ReadError::Damaged)?, mark)));
                }
                Next::End(End::Complete) => return Ok(None),
                Next::End(End::Failed(error)) => return Err(ReadError::Writer(error)),
                Next::End(End::Dropped) => return Err(ReadError::NoEnd),
                Next::Later => self.shared.readable.notified().await,
            }
        }
    }

    /// Returns the counter of the bytes that went to the disk.
    #[must_use]
    pub fn spooled_bytes(&self) -> Arc<AtomicU64> {
        self.shared.spooled_bytes.clone()
    }
}

/// What the reader finds.
enum Next<M, E> {
    Chunk(Vec<u8>, M),
    Block(Block, M),
    End(End<E>),
    Later,
}

impl<M, E> Shared<M, E> {
    fn lock(&self) -> MutexGuard<'_, Queue<M, E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End<E>) {
        self.lock().end.get_or_insert(end);
        self.readable.notify_one();
    }
}

impl<M: Copy, E> Queue<M, E> {
    fn append(&mut self, chunk: Vec<u8>, mark: M) {
        let is_only_head = self.blocks.is_empty() && !self.is_writing && self.tail.is_none();
        if is_only_head && self.head_bytes < BLOCK_BYTES {
            self.head_bytes += chunk.len();
            self.head.push_back((chunk, mark));
        } else if let Some((bytes, last)) = &mut self.tail {
            bytes.extend_from_slice(&chunk);
            *last = mark;
        } else {
            self.tail = Some((chunk, mark));
        }
    }

    /// Takes the tail once it is as large as a block.
    fn take_full_tail(&mut self) -> Option<(Vec<u8>, M)> {
        let full = self.tail.take_if(|(bytes, _)| bytes.len() >= BLOCK_BYTES);
        self.is_writing = full.is_some();
        full
    }

    fn next(&mut self) -> Next<M, E> {
        // The file cannot become complete, so its reader need not wait for the rest.
        if self
            .end
            .as_ref()
            .is_some_and(|end| !matches!(end, End::Complete))
        {
            let end = self.end.replace(End::Dropped);
            return Next::End(end.expect("checked"));
        }
        if let Some((chunk, mark)) = self.head.pop_front() {
            self.head_bytes -= chunk.len();
            return Next::Chunk(chunk, mark);
        }
        if let Some((block, mark)) = self.blocks.pop_front() {
            return Next::Block(block, mark);
        }
        if self.is_writing {
            return Next::Later;
        }
        match (self.tail.take(), &self.end) {
            (Some((chunk, mark)), _) => Next::Chunk(chunk, mark),
            (None, Some(_)) => Next::End(End::Complete),
            (None, None) => Next::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spool_of(bytes_max: u64) -> (tempfile::TempDir, Arc<Spool>) {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path().to_owned(), bytes_max);
        (folder, Arc::new(spool))
    }

    fn sides(spool: &Arc<Spool>) -> Sides<usize, &'static str> {
        queue(spool).expect("randomness")
    }

    fn chunk(number: usize, length: usize) -> Vec<u8> {
        (0..length)
            .map(|index| (number * 31 + index) as u8)
            .collect()
    }

    /// Reads to the end; returns the content and the marks.
    async fn read_all(mut reader: SpoolReader<usize, &'static str>) -> (Vec<u8>, Vec<usize>) {
        let (mut content, mut marks) = (Vec::new(), Vec::new());
        while let Some((chunk, mark)) = reader.next().await.expect("a chunk") {
            assert!(!chunk.is_empty());
            content.extend(chunk);
            marks.push(mark);
        }
        (content, marks)
    }

    async fn append_all(mut writer: SpoolWriter<usize, &'static str>, lengths: Vec<usize>) {
        for (number, length) in lengths.into_iter().enumerate() {
            writer.append(chunk(number, length), number, |_| ()).await;
        }
        writer.finish(Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chunks_of_any_size_are_read_in_order_by_fast_and_slow_readers_and_with_a_full_disk(
            lengths in prop::collection::vec(1..300_000_usize, 1..30),
            is_slow in any::<bool>(),
            bytes_max in prop::sample::select(vec![0, 600_000, 1 << 30]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let (_folder, spool) = spool_of(bytes_max);
            let expected: Vec<u8> = lengths.iter().enumerate().flat_map(|(number, length)| chunk(number, *length)).collect();
            let last = lengths.len() - 1;
            let (content, marks) = runtime.block_on(async {
                let (writer, reader) = sides(&spool);
                let writing = tokio::spawn(append_all(writer, lengths));
                if is_slow {
                    while !writing.is_finished() && bytes_max > 600_000 {
                        tokio::task::yield_now().await;
                    }
                }
                read_all(reader).await
            });
            prop_assert!(content == expected);
            prop_assert!(marks.is_sorted() && marks.last() == Some(&last));
            prop_assert_eq!(spool.bytes(), 0);
        }
    }

    #[tokio::test]
    async fn an_error_of_the_writer_comes_before_the_chunks_that_wait() {
        let (_folder, spool) = spool_of(1 << 20);
        let (mut writer, mut reader) = sides(&spool);
        writer.append(vec![1], 0, |_| ()).await;
        writer.finish(Err("failed"));
        let next = reader.next().await;
        assert!(matches!(next, Err(ReadError::Writer("failed"))));
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_is_not_the_end() {
        let (_folder, spool) = spool_of(1 << 20);
        let (writer, mut reader) = sides(&spool);
        drop(writer);
        assert!(matches!(reader.next().await, Err(ReadError::NoEnd)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_that_found_no_space_goes_to_the_disk_when_there_is_some() {
        let (_folder, spool) = spool_of(BLOCK_BYTES as u64 + 1000);
        spool.reserve(2000).expect("space");
        let (mut writer, reader) = sides(&spool);
        let mut obstacles = 0;
        writer.append(vec![1; BLOCK_BYTES], 0, |_| ()).await;
        let shared = spool.clone();
        let report = |_| {
            obstacles += 1;
            if obstacles == 3 {
                shared.release(2000);
            }
        };
        writer.append(vec![2; BLOCK_BYTES], 1, report).await;
        let spooled = reader.spooled_bytes().load(Ordering::Relaxed);
        assert_eq!((obstacles, spooled), (3, BLOCK_BYTES as u64));
    }
}
