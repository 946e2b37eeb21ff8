//! What is in a buffer: which bytes are where, and what may be discarded.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use tokio::time::Instant;

use super::block::Block;

/// The size of a block. Two of them wait in memory before the first one goes to the disk.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// What stays in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// What its readers have not read yet.
    Unread,
    /// Everything, until other downloads need the space.
    All,
}

/// The bytes are in the order `blocks`, `tail`, without a gap.
pub(super) struct Content<M, E> {
    retention: Retention,
    /// Only the last one may be in memory.
    blocks: VecDeque<Stored<M>>,
    tail: Vec<u8>,
    /// The offset of the tail in the file.
    tail_start: u64,
    tail_mark: M,
    pub(super) end: Option<End<E>>,
    /// The offset of each reader's next byte.
    readers: BTreeMap<u64, u64>,
    readers_so_far: u64,
    /// Since when there is no reader.
    idle_since: Instant,
}

/// A part of the file.
struct Stored<M> {
    start: u64,
    end: u64,
    /// That of its last chunk.
    mark: M,
    place: Place,
}

enum Place {
    Memory(Arc<Vec<u8>>),
    Disk(Arc<Block>),
}

impl Place {
    fn is_beside(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Disk(one), Place::Disk(other)) => one.is_beside(other),
            _ => false,
        }
    }
}

pub(super) enum End<E> {
    Complete,
    Failed(E),
    Dropped,
    /// Other downloads needed the space.
    Discarded,
}

/// A block to write, and its offset in the file.
pub(super) type ToWrite = (u64, Arc<Vec<u8>>);

/// What a reader finds: a chunk or block with its offset in the file and its mark.
pub(super) enum Next<M, E> {
    Chunk(Vec<u8>, u64, M),
    Block(Arc<Block>, u64, M),
    End,
    Failed(E),
    NoEnd,
    Later,
}

impl<M, E> Content<M, E> {
    /// Tells whether something was discarded because there was no space, or nothing is retained.
    pub(super) fn is_full(&self) -> bool {
        self.retention == Retention::Unread
    }

    pub(super) fn is_discarded(&self) -> bool {
        matches!(self.end, Some(End::Discarded))
    }

    pub(super) fn add_reader(&mut self, position: u64) -> Option<u64> {
        let first = self.blocks.front().map_or(self.tail_start, |it| it.start);
        let is_readable = matches!(self.end, None | Some(End::Complete));
        if position < first || !is_readable {
            return None;
        }
        self.readers_so_far += 1;
        self.readers.insert(self.readers_so_far, position);
        Some(self.readers_so_far)
    }

    pub(super) fn remove_reader(&mut self, reader: u64) {
        self.readers.remove(&reader);
        self.idle_since = Instant::now();
        if self.retention == Retention::Unread {
            self.discard_if_idle();
        }
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.readers.is_empty().then_some(self.idle_since)
    }

    /// Returns the offset of the first byte that a reader still needs, if there are readers.
    fn unread(&self) -> Option<u64> {
        self.readers.values().min().copied()
    }

    /// Returns the number of blocks that end before this offset.
    fn blocks_before(&self, offset: u64) -> usize {
        self.blocks.partition_point(|block| block.end <= offset)
    }

    /// Discards what every reader has read.
    fn discard_read(&mut self) {
        let Some(unread) = self.unread() else {
            return;
        };
        self.blocks.drain(..self.blocks_before(unread));
        if unread > self.tail_start {
            self.tail.drain(..(unread - self.tail_start) as usize);
            self.tail_start = unread;
        }
    }

    /// Discards the blocks that every reader has read, up to the last one whose file has no later block; returns whether
    /// there were any.
    pub(super) fn discard_read_files(&mut self) -> bool {
        let read = self.unread().map_or(0, |unread| self.blocks_before(unread));
        let frees_file = |end: &usize| match (self.blocks.get(end - 1), self.blocks.get(*end)) {
            (Some(last), Some(next)) => !last.place.is_beside(&next.place),
            _ => false,
        };
        let end = (1..=read).rev().find(frees_file);
        end.map(|end| self.blocks.drain(..end)).is_some()
    }

    pub(super) fn retain_unread(&mut self) {
        // A file that was never retained may not have its reader yet.
        if self.retention == Retention::All {
            self.retention = Retention::Unread;
            self.discard_if_idle();
        }
        self.discard_read();
    }

    pub(super) fn discard_if_idle(&mut self) -> bool {
        let is_idle = self.readers.is_empty() && !self.is_discarded();
        if is_idle {
            self.discard();
        }
        is_idle
    }

    pub(super) fn end(&mut self, end: End<E>) {
        if self.end.is_none() {
            self.end = Some(end);
            // A client may be waiting for the end before it continues.
            self.idle_since = Instant::now();
        }
    }

    fn discard(&mut self) {
        self.blocks.clear();
        self.tail = Vec::new();
        self.end = Some(End::Discarded);
    }
}

impl<M: Copy, E: Clone> Content<M, E> {
    pub(super) fn new(retention: Retention, mark: M) -> Content<M, E> {
        Content {
            retention,
            blocks: VecDeque::new(),
            tail: Vec::new(),
            tail_start: 0,
            tail_mark: mark,
            end: None,
            readers: BTreeMap::new(),
            readers_so_far: 0,
            idle_since: Instant::now(),
        }
    }

    pub(super) fn append(&mut self, chunk: Vec<u8>, mark: M) {
        if self.is_discarded() {
            return;
        }
        match self.tail.is_empty() {
            true => self.tail = chunk,
            false => self.tail.extend(chunk),
        }
        self.tail_mark = mark;
    }

    pub(super) fn length(&self) -> u64 {
        self.tail_start + self.tail.len() as u64
    }

    /// Returns the mark of the last chunk.
    pub(super) fn mark(&self) -> M {
        self.tail_mark
    }

    /// Returns the block in memory if the tail is as large as a block, too.
    pub(super) fn full_block(&mut self) -> Option<ToWrite> {
        if self.tail.len() < BLOCK_BYTES {
            return None;
        }
        let block = self.block_in_memory();
        if block.is_none() {
            self.close_tail();
        }
        block
    }

    /// Returns a block in memory of a complete file that is retained.
    pub(super) fn retained_block(&mut self) -> Option<ToWrite> {
        let is_complete = matches!(self.end, Some(End::Complete));
        if !is_complete || self.retention == Retention::Unread {
            return None;
        }
        let block = self.block_in_memory();
        if block.is_some() || self.tail.is_empty() {
            return block;
        }
        self.close_tail();
        self.block_in_memory()
    }

    fn block_in_memory(&self) -> Option<ToWrite> {
        let block = self.blocks.back()?;
        match &block.place {
            Place::Memory(content) => Some((block.start, content.clone())),
            Place::Disk(_) => None,
        }
    }

    /// Makes a block of the tail.
    fn close_tail(&mut self) {
        let (start, end) = (self.tail_start, self.length());
        let content = mem::take(&mut self.tail);
        self.tail_start = end;
        self.blocks.push_back(Stored {
            start,
            end,
            mark: self.tail_mark,
            place: Place::Memory(Arc::new(content)),
        });
    }

    /// Records that the block with this offset is on the disk. It may have been read meanwhile.
    pub(super) fn set_written(&mut self, start: u64, written: Block) {
        if let Some(block) = self.blocks.back_mut().filter(|it| it.start == start) {
            block.place = Place::Disk(Arc::new(written));
        }
    }

    pub(super) fn next(&mut self, reader: u64, end: u64) -> Next<M, E> {
        // The file cannot become complete, so its readers need not wait for the rest.
        match &self.end {
            Some(End::Failed(error)) => return Next::Failed(error.clone()),
            Some(End::Dropped | End::Discarded) => return Next::NoEnd,
            Some(End::Complete) | None => {}
        }
        let position = self.readers[&reader];
        if position >= end {
            return Next::End;
        }
        if let Some(block) = self.blocks.get(self.blocks_before(position)) {
            return match &block.place {
                Place::Memory(content) => {
                    let unread = content[(position - block.start) as usize..].to_vec();
                    Next::Chunk(unread, position, block.mark)
                }
                Place::Disk(content) => Next::Block(content.clone(), block.start, block.mark),
            };
        }
        if position < self.length() {
            let unread = self.tail[(position - self.tail_start) as usize..].to_vec();
            return Next::Chunk(unread, position, self.tail_mark);
        }
        match &self.end {
            Some(_) => Next::End,
            None => Next::Later,
        }
    }

    /// Sets the position of a reader; returns the one before.
    pub(super) fn advance(&mut self, reader: u64, position: u64) -> u64 {
        let before = self.readers.insert(reader, position);
        if self.retention == Retention::Unread {
            self.discard_read();
        }
        before.expect("a reader is removed when it is dropped")
    }
}
