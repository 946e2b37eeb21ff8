//! Blocks on the disk: sealed with a key that exists only in memory (AES-256-GCM, RFC 5116), so that rows are unreadable
//! there and a damaged block is detected.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{DamagedBlock, Obstacle, Spool};

/// A file's space returns to the spool when its last block is discarded, so a download uses several files: of this size, or of
/// a smaller part of the spool.
const FILE_BYTES: u64 = 16 << 20;
const FILES_MIN: u64 = 16;

/// The length of the authentication tag.
const TAG_BYTES: usize = 16;

/// Writes the blocks of one download.
pub(super) struct BlockWriter {
    spool: Arc<Spool>,
    key: Arc<LessSafeKey>,
    /// The number of the next block. It is the nonce, so none is used twice.
    next: u64,
    file: Option<Arc<SpoolFile>>,
}

/// A block on the disk. Dropping all blocks of a file closes and so removes it.
pub(super) struct Block {
    file: Arc<SpoolFile>,
    key: Arc<LessSafeKey>,
    number: u64,
    offset: u64,
    /// The length with the tag.
    length: usize,
}

/// An anonymous file: it has no name, so nothing is left of it after a crash.
struct SpoolFile {
    file: File,
    spool: Arc<Spool>,
    bytes: AtomicU64,
}

impl BlockWriter {
    /// Creates a writer with a fresh key.
    ///
    /// # Errors
    /// Returns an error if the operating system provides no randomness.
    pub(super) fn new(spool: Arc<Spool>) -> Result<BlockWriter, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut())?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key of 32 bytes");
        Ok(BlockWriter {
            spool,
            key: Arc::new(LessSafeKey::new(key)),
            next: 0,
            file: None,
        })
    }

    /// Writes a block. Blocks the thread.
    ///
    /// # Errors
    /// Returns the [`Obstacle`]; the block is then not written.
    pub(super) fn write(&mut self, content: &[u8]) -> Result<Block, Obstacle> {
        self.reuse_empty_file();
        let length = content.len() + TAG_BYTES;
        let reserved = length as u64;
        self.spool.reserve(reserved)?;
        let written = self.write_reserved(content);
        if written.is_err() {
            self.spool.release(reserved);
        }
        let (file, number, offset) = written?;
        file.bytes.fetch_add(reserved, Ordering::Relaxed);
        Ok(Block {
            file,
            key: self.key.clone(),
            number,
            offset,
            length,
        })
    }

    fn write_reserved(&mut self, content: &[u8]) -> Result<(Arc<SpoolFile>, u64, u64), Obstacle> {
        let file = self.file()?;
        let offset = file.bytes.load(Ordering::Relaxed);
        let number = self.next;
        // Also after an error: with the same nonce a second block would reveal both.
        self.next += 1;
        let mut sealed = Vec::with_capacity(content.len() + TAG_BYTES);
        sealed.extend_from_slice(content);
        let encrypted = self
            .key
            .seal_in_place_append_tag(nonce(number), Aad::empty(), &mut sealed);
        encrypted.expect("a block is shorter than 64 GiB");
        file.file.write_all_at(&sealed, offset)?;
        Ok((file, number, offset))
    }

    /// Returns the space of the current file if all its blocks are discarded.
    fn reuse_empty_file(&self) {
        if let Some(file) = self
            .file
            .as_ref()
            .filter(|file| Arc::strong_count(file) == 1)
        {
            file.spool.release(file.bytes.swap(0, Ordering::Relaxed));
        }
    }

    fn file(&mut self) -> Result<Arc<SpoolFile>, Obstacle> {
        let bytes_max = file_bytes(self.spool.bytes_max);
        let has_room = |file: &Arc<SpoolFile>| file.bytes.load(Ordering::Relaxed) < bytes_max;
        if let Some(file) = self.file.take().filter(has_room) {
            self.file = Some(file.clone());
            return Ok(file);
        }
        let file = Arc::new(SpoolFile {
            file: tempfile::tempfile_in(&self.spool.folder)?,
            spool: self.spool.clone(),
            bytes: AtomicU64::new(0),
        });
        self.file = Some(file.clone());
        Ok(file)
    }
}

/// Returns how large the files of a spool with this limit become.
pub(super) fn file_bytes(bytes_max: u64) -> u64 {
    FILE_BYTES.min(bytes_max / FILES_MIN).max(1)
}

impl Block {
    /// Tells whether another block is in the same file.
    pub(super) fn is_beside(&self, other: &Block) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// Reads the block. Blocks the thread.
    ///
    /// # Errors
    /// Returns [`DamagedBlock`] if it cannot be read, or is not what was written.
    pub(super) fn read(&self) -> Result<Vec<u8>, DamagedBlock> {
        let mut content = vec![0; self.length];
        self.file.file.read_exact_at(&mut content, self.offset)?;
        let opened = self
            .key
            .open_in_place(nonce(self.number), Aad::empty(), &mut content);
        let length = opened.map_err(|_| DamagedBlock::Changed)?.len();
        content.truncate(length);
        Ok(content)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.spool.release(self.bytes.load(Ordering::Relaxed));
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
