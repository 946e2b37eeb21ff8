//! The buffer between the writer of one file and its readers.

use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::block::BlockWriter;
use super::content::{Content, End, Next, Retention, ToWrite};
use super::{DamagedBlock, Obstacle, Retained, Spool};

/// How often a block is tried again for which the disk had no space.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The content of one file, from its first byte that is still there to its last one that is written. Each chunk has a
/// mark, such as the number of its last row.
pub struct SpoolBuffer<M, E> {
    content: Mutex<Content<M, E>>,
    /// Wakes the writer and the readers.
    changed: Notify,
    spooled_bytes: Arc<AtomicU64>,
}

/// Appends chunks to a buffer.
pub struct SpoolWriter<M, E> {
    buffer: Arc<SpoolBuffer<M, E>>,
    /// `None` while a thread writes a block.
    blocks: Option<BlockWriter>,
}

/// Returns the bytes of a buffer in order.
pub struct SpoolReader<M, E> {
    buffer: Arc<SpoolBuffer<M, E>>,
    number: u64,
    /// The offset after the last byte to return.
    end: u64,
}

/// A writer and its buffer.
pub type Sides<M, E> = (SpoolWriter<M, E>, Arc<SpoolBuffer<M, E>>);

/// Why there is no next chunk.
#[derive(Debug)]
pub enum ReadError<E> {
    /// The error that the writer has ended with.
    Writer(E),
    /// The writer was dropped before the end, or what comes next is no longer there.
    NoEnd,
    /// A block on the disk cannot be read back.
    Damaged(DamagedBlock),
}

impl<M, E> SpoolBuffer<M, E>
where
    M: Copy + Default + Send + 'static,
    E: Clone + Send + 'static,
{
    /// Returns an empty buffer and its writer.
    ///
    /// # Errors
    /// Returns an error if the operating system provides no randomness for the key.
    pub fn new(spool: &Arc<Spool>, retention: Retention) -> Result<Sides<M, E>, getrandom::Error> {
        let buffer = Arc::new(SpoolBuffer {
            content: Mutex::new(Content::new(retention, M::default())),
            changed: Notify::new(),
            spooled_bytes: Arc::default(),
        });
        let blocks = Some(BlockWriter::new(spool.clone())?);
        let writer = SpoolWriter {
            buffer: buffer.clone(),
            blocks,
        };
        Ok((writer, buffer))
    }

    /// Lets the file leave its space to others: all of it while it has no reader, else what its readers have read.
    pub fn leave_space_to_others(self: &Arc<Self>, spool: &Spool) {
        let retained: Arc<dyn Retained> = self.clone();
        spool.retain(&retained);
    }

    /// Returns a reader of these bytes of the file, or of those up to its end; `None` if the first one is no longer there, or
    /// the file has ended incomplete.
    #[must_use]
    pub fn reader(self: &Arc<Self>, bytes: Range<u64>) -> Option<SpoolReader<M, E>> {
        let number = self.lock().add_reader(bytes.start)?;
        Some(SpoolReader {
            buffer: self.clone(),
            number,
            end: bytes.end,
        })
    }

    /// Returns the counter of the bytes that went to the disk.
    #[must_use]
    pub fn spooled_bytes(&self) -> Arc<AtomicU64> {
        self.spooled_bytes.clone()
    }

    /// Resolves when the file has ended: to its length, if it is complete.
    pub async fn length(&self) -> Option<u64> {
        self.when(|content| match &content.end {
            Some(End::Complete) => Some(Some(content.length())),
            Some(_) => Some(None),
            None => None,
        })
        .await
    }

    /// Returns the length of the file so far, and the mark of its last chunk.
    pub fn written(&self) -> (u64, M) {
        let content = self.lock();
        (content.length(), content.mark())
    }

    /// Discards the content, unless it has a reader.
    pub fn discard_if_idle(&self) {
        Retained::discard_if_idle(self);
    }

    /// Resolves when the file has ended, or waits for space that its readers take.
    pub async fn ended_or_full(&self) {
        self.when(|content| (content.end.is_some() || content.is_full()).then_some(()))
            .await;
    }

    /// Resolves when the file is known to be longer than this, or not to be; returns which.
    pub async fn is_longer_than(&self, bytes: u64) -> bool {
        self.when(|content| match content.length() > bytes {
            true => Some(true),
            false => content.end.is_some().then_some(false),
        })
        .await
    }

    /// Resolves when other downloads needed the space of this file.
    pub async fn discarded(&self) {
        self.when(|content| content.is_discarded().then_some(()))
            .await;
    }

    /// Resolves when there was no reader for this long, or when other downloads needed the space.
    pub async fn unused_for(&self, duration: Duration) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let idle_since = {
                let content = self.lock();
                if content.is_discarded() {
                    return;
                }
                content.idle_since()
            };
            match idle_since.map(|since| since + duration) {
                Some(end) if end <= Instant::now() => return,
                Some(end) => {
                    let _ = timeout_at(end, changed).await;
                }
                None => changed.await,
            }
        }
    }

    async fn when<T>(&self, find: impl Fn(&Content<M, E>) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = find(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

impl<M, E> SpoolBuffer<M, E> {
    fn lock(&self) -> MutexGuard<'_, Content<M, E>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End<E>) {
        self.lock().end(end);
        self.changed.notify_waiters();
    }

    /// Retains from now on only what readers have not read: there is no space for more.
    fn retain_unread(&self) {
        self.lock().retain_unread();
        self.changed.notify_waiters();
    }
}

impl<M: Copy + Send + 'static, E: Clone + Send + 'static> Retained for SpoolBuffer<M, E> {
    fn idle_since(&self) -> Option<Instant> {
        let content = self.lock();
        content.idle_since().filter(|_| !content.is_discarded())
    }

    fn discard_if_idle(&self) -> bool {
        let is_discarded = self.lock().discard_if_idle();
        self.changed.notify_waiters();
        is_discarded
    }

    fn discard_read(&self) -> bool {
        let has_read = self.lock().discard_read_files();
        self.changed.notify_waiters();
        has_read
    }
}

impl<M, E> SpoolWriter<M, E>
where
    M: Copy + Default + Send + 'static,
    E: Clone + Send + 'static,
{
    /// Appends a chunk, unless the content was discarded. If it fits neither memory nor disk, reports the obstacle and
    /// waits for a reader. From then on nothing is retained that was read.
    pub async fn append(&mut self, chunk: Vec<u8>, mark: M, mut report: impl FnMut(Obstacle)) {
        let buffer = self.buffer.clone();
        buffer.lock().append(chunk, mark);
        buffer.changed.notify_waiters();
        loop {
            let mut changed = pin!(buffer.changed.notified());
            changed.as_mut().enable();
            let Some(block) = buffer.lock().full_block() else {
                return;
            };
            if let Err(obstacle) = self.write(block).await {
                report(obstacle);
                buffer.retain_unread();
                let _ = timeout(RETRY_AFTER, changed).await;
            }
        }
    }

    /// Ends the file. After an error readers get no further chunk. A buffer that retains everything then has nothing in
    /// memory.
    pub async fn finish(mut self, end: Result<(), E>) {
        self.buffer.end(match end {
            Ok(()) => End::Complete,
            Err(error) => End::Failed(error),
        });
        loop {
            let block = self.buffer.lock().retained_block();
            let Some(block) = block else {
                return;
            };
            if self.write(block).await.is_err() {
                self.buffer.retain_unread();
            }
        }
    }

    /// Writes a block, for which what is retained of other files may make room.
    async fn write(&mut self, (start, content): ToWrite) -> Result<(), Obstacle> {
        let mut blocks = self.blocks.take().expect("each write returns the writer");
        let length = content.len() as u64;
        let writing = spawn_blocking(move || {
            let written = blocks.write(&content);
            (blocks, written)
        });
        let (blocks, written) = writing.await.expect("writing does not panic");
        self.blocks = Some(blocks);
        let written = written?;
        self.buffer
            .spooled_bytes
            .fetch_add(length, Ordering::Relaxed);
        self.buffer.lock().set_written(start, written);
        Ok(())
    }
}

impl<M, E> Drop for SpoolWriter<M, E> {
    fn drop(&mut self) {
        self.buffer.end(End::Dropped);
    }
}

impl<M, E> SpoolReader<M, E>
where
    M: Copy + Default + Send + 'static,
    E: Clone + Send + 'static,
{
    /// Returns the next chunk with its mark, never empty, or `None` after the last. Dropping the future before it
    /// resolves loses nothing.
    ///
    /// # Errors
    /// Returns the [`ReadError`]: an error of the writer immediately, before the chunks that still wait.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, M)>, ReadError<E>> {
        loop {
            let mut changed = pin!(self.buffer.changed.notified());
            changed.as_mut().enable();
            let next = self.buffer.lock().next(self.number, self.end);
            let (mut chunk, start, mark) = match next {
                Next::Chunk(chunk, start, mark) => (chunk, start, mark),
                Next::Block(block, start, mark) => {
                    let read = spawn_blocking(move || block.read()).await;
                    let read = read.expect("reading does not panic");
                    (read.map_err(ReadError::Damaged)?, start, mark)
                }
                Next::End => return Ok(None),
                Next::Failed(error) => return Err(ReadError::Writer(error)),
                Next::NoEnd => return Err(ReadError::NoEnd),
                Next::Later => {
                    changed.await;
                    continue;
                }
            };
            let after = start + chunk.len() as u64;
            let position = self.buffer.lock().advance(self.number, after);
            self.buffer.changed.notify_waiters();
            chunk.truncate(self.end.saturating_sub(start) as usize);
            chunk.drain(..(position - start) as usize);
            return Ok(Some((chunk, mark)));
        }
    }
}

impl<M, E> Drop for SpoolReader<M, E> {
    fn drop(&mut self) {
        self.buffer.lock().remove_reader(self.number);
        self.buffer.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::super::content::BLOCK_BYTES;
    use super::*;

    type Writer = SpoolWriter<usize, &'static str>;
    type Reader = SpoolReader<usize, &'static str>;
    type Buffer = Arc<SpoolBuffer<usize, &'static str>>;

    fn spool_of(bytes_max: u64) -> (tempfile::TempDir, Arc<Spool>) {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path().to_owned(), bytes_max);
        (folder, Arc::new(spool))
    }

    /// Returns both sides of a buffer.
    fn sides(spool: &Arc<Spool>, retention: Retention) -> (Writer, Reader) {
        let (writer, buffer) = SpoolBuffer::new(spool, retention).expect("randomness");
        (writer, buffer.reader(0..u64::MAX).expect("a reader"))
    }

    /// Returns a retained file that is complete.
    async fn retained(spool: &Arc<Spool>, length: usize) -> Buffer {
        let (mut writer, buffer) = SpoolBuffer::new(spool, Retention::All).expect("randomness");
        buffer.leave_space_to_others(spool);
        for piece in chunk(0, length).chunks(BLOCK_BYTES) {
            writer.append(piece.to_vec(), 0, |_| ()).await;
        }
        writer.finish(Ok(())).await;
        buffer
    }

    fn chunk(number: usize, length: usize) -> Vec<u8> {
        (0..length)
            .map(|index| (number * 31 + index) as u8)
            .collect()
    }

    /// Reads to the end; returns the content and the marks.
    async fn read_all(mut reader: Reader) -> (Vec<u8>, Vec<usize>) {
        let (mut content, mut marks) = (Vec::new(), Vec::new());
        while let Some((chunk, mark)) = reader.next().await.expect("a chunk") {
            assert!(!chunk.is_empty());
            content.extend(chunk);
            marks.push(mark);
        }
        (content, marks)
    }

    async fn append_all(mut writer: Writer, lengths: Vec<usize>) {
        for (number, length) in lengths.into_iter().enumerate() {
            writer.append(chunk(number, length), number, |_| ()).await;
        }
        writer.finish(Ok(())).await;
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chunks_of_any_size_are_read_in_order_by_fast_and_slow_readers_and_with_a_full_disk(
            lengths in prop::collection::vec(1..300_000_usize, 1..30),
            is_slow in any::<bool>(),
            bytes_max in prop::sample::select(vec![0, 600_000, 1 << 30]),
            retention in prop::sample::select(vec![Retention::Unread, Retention::All]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let (_folder, spool) = spool_of(bytes_max);
            let expected: Vec<u8> = lengths.iter().enumerate().flat_map(|(number, length)| chunk(number, *length)).collect();
            let last = lengths.len() - 1;
            let (content, marks) = runtime.block_on(async {
                let (writer, reader) = sides(&spool, retention);
                let writing = tokio::spawn(append_all(writer, lengths));
                if is_slow {
                    while !writing.is_finished() && bytes_max > 600_000 {
                        tokio::task::yield_now().await;
                    }
                }
                let read = read_all(reader).await;
                writing.await.expect("the writer ends");
                read
            });
            prop_assert!(content == expected);
            prop_assert!(marks.is_sorted() && marks.last() == Some(&last));
            prop_assert_eq!(spool.bytes(), 0);
        }

        #[test]
        fn any_part_of_a_retained_file_is_read(
            length in 1..1_500_000_usize,
            bounds in (0.0..1.0_f64, 0.0..1.2_f64),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let (_folder, spool) = spool_of(1 << 30);
            let at = |part: f64| (part * length as f64) as usize;
            let (start, end) = (at(bounds.0), at(bounds.1));
            let content = runtime.block_on(async {
                let file = retained(&spool, length).await;
                assert_eq!(file.length().await, Some(length as u64));
                assert_eq!(file.spooled_bytes().load(Ordering::Relaxed), length as u64);
                read_all(file.reader(start as u64..end as u64).expect("a reader")).await.0
            });
            let end = end.min(length).max(start);
            prop_assert!(content == chunk(0, length)[start..end]);
        }
    }

    #[tokio::test]
    async fn an_error_of_the_writer_comes_before_the_chunks_that_wait() {
        for retention in [Retention::Unread, Retention::All] {
            let (_folder, spool) = spool_of(1 << 20);
            let (mut writer, mut reader) = sides(&spool, retention);
            let mut other = reader.buffer.reader(0..1).expect("a reader");
            writer.append(vec![1], 0, |_| ()).await;
            writer.finish(Err("failed")).await;
            let next = reader.next().await;
            assert!(matches!(next, Err(ReadError::Writer("failed"))));
            assert!(matches!(
                other.next().await,
                Err(ReadError::Writer("failed"))
            ));
            assert_eq!(reader.buffer.length().await, None);
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_is_not_the_end() {
        let (_folder, spool) = spool_of(1 << 20);
        let (writer, mut reader) = sides(&spool, Retention::Unread);
        drop(writer);
        assert!(matches!(reader.next().await, Err(ReadError::NoEnd)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_that_found_no_space_goes_to_the_disk_when_there_is_some() {
        let (_folder, spool) = spool_of(BLOCK_BYTES as u64 + 1000);
        spool.reserve(2000).expect("space");
        let (mut writer, reader) = sides(&spool, Retention::Unread);
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
        let spooled = reader.buffer.spooled_bytes().load(Ordering::Relaxed);
        assert_eq!((obstacles, spooled), (3, BLOCK_BYTES as u64));
    }

    #[tokio::test]
    async fn a_retained_file_leaves_its_space_to_others_the_longest_idle_first_and_its_unread_part_last()
     {
        let (_folder, spool) = spool_of((4 << 20) + 1000);
        let first = retained(&spool, 1 << 20).await;
        let second = retained(&spool, 1 << 20).await;
        let third = retained(&spool, 1 << 20).await;
        let mut reader = second.reader(0..u64::MAX).expect("a reader");
        for _ in 0..3 {
            reader.next().await.expect("a block");
        }
        spool.reserve(2 << 20).expect("space of the first");
        assert!(first.discarded().now_or_never().is_some() && first.reader(0..1).is_none());
        assert!(third.reader(0..1).is_some() && second.reader(0..1).is_some());
        spool.reserve(1 << 20).expect("space of the third");
        assert!(third.discarded().now_or_never().is_some() && second.reader(0..1).is_some());
        assert!(spool.reserve(4 << 20).is_err());
        assert!(second.reader(0..1).is_none(), "its reader has read it");
        let rest = read_all(reader).await.0;
        assert!(rest == chunk(0, 1 << 20)[3 * BLOCK_BYTES..]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_disk_a_file_is_read_whole_and_not_retained_and_without_a_reader_it_is_given_up()
     {
        let (folder, spool) = spool_of(4 << 20);
        folder.close().expect("an empty folder");
        let (writer, reader) = sides(&spool, Retention::All);
        let buffer = reader.buffer.clone();
        let lengths = vec![BLOCK_BYTES; 8];
        let (_, (content, _)) = tokio::join!(append_all(writer, lengths), read_all(reader));
        assert_eq!(content.len(), 8 * BLOCK_BYTES);
        assert!(buffer.reader(0..1).is_none());
        let (writer, reader) = sides(&spool, Retention::All);
        let buffer = reader.buffer.clone();
        drop(reader);
        let lengths = vec![BLOCK_BYTES; 8];
        tokio::join!(append_all(writer, lengths), buffer.discarded());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_retained_file_begins_at_its_end_and_again_when_its_last_reader_leaves() {
        let (_folder, spool) = spool_of(4 << 20);
        let minute = Duration::from_secs(60);
        let (mut writer, file) =
            SpoolBuffer::<usize, ()>::new(&spool, Retention::All).expect("a key");
        writer.append(vec![1; 1000], 0, |_| ()).await;
        tokio::time::sleep(2 * minute).await;
        writer.finish(Ok(())).await;
        let begun = Instant::now();
        let read = async {
            let reader = file.reader(0..u64::MAX).expect("a reader");
            tokio::time::sleep(minute).await;
            drop(reader);
        };
        tokio::join!(read, file.unused_for(minute));
        assert_eq!(begun.elapsed().as_secs(), 120);
        file.unused_for(minute).await;
        assert_eq!(begun.elapsed().as_secs(), 120);
    }
}
