//! Chunks of a file that wait for a slow reader: some in memory, the rest in sealed blocks in anonymous files on a local
//! disk. Knows neither HTTP nor formats.

mod block;
mod buffer;
mod content;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

pub use buffer::{ReadError, Sides, SpoolBuffer, SpoolReader, SpoolWriter};
pub use content::Retention;

/// The most files without a reader when another one is retained. Each has at least one file descriptor.
const IDLE_FILES_MAX: usize = 200;

/// The disk space of all spooled files.
pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    keep: Duration,
    retained: Mutex<Vec<Weak<dyn Retained>>>,
}

/// A file of which more is on the disk than its readers still need.
trait Retained: Send + Sync {
    /// Returns since when it has no reader, if it has none and was not discarded.
    fn idle_since(&self) -> Option<Instant>;
    /// Discards all of it, if it has no reader and was not discarded; returns whether it did.
    fn discard_if_idle(&self) -> bool;
    /// Discards what its readers have read, as far as that frees space; returns whether it did.
    fn discard_read(&self) -> bool;
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpace {
    /// Its size.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

/// Why a block is not on the disk. The writer then waits for a reader.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// Other blocks use the space.
    #[error("the spool is full: {0} bytes are in use")]
    Full(u64),
    /// A file cannot be created or written.
    #[error("the spool's disk: {0}")]
    Disk(#[from] io::Error),
}

/// Why a block cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DamagedBlock {
    /// A file cannot be read.
    #[error("the spool's disk: {0}")]
    Disk(#[from] io::Error),
    /// The block is not the one that was written.
    #[error("a block of the spool is damaged")]
    Changed,
}

impl Spool {
    /// Returns the spool of a folder that may use `bytes_max` bytes.
    #[must_use]
    pub fn new(folder: PathBuf, bytes_max: u64) -> Spool {
        Spool {
            folder,
            bytes_max,
            bytes: AtomicU64::new(0),
            keep: Duration::ZERO,
            retained: Mutex::default(),
        }
    }

    /// Sets how long files are kept for clients whose connection broke. Zero keeps none.
    #[must_use]
    pub fn with_keep(mut self, keep: Duration) -> Spool {
        self.keep = keep;
        self
    }

    /// Returns how long a file without a reader is kept, unless others need its space; `None` if files are not kept.
    #[must_use]
    pub fn keep(&self) -> Option<Duration> {
        Some(self.keep).filter(|keep| !keep.is_zero())
    }

    /// Checks that files can be created in the folder and written; returns the space of its file system.
    ///
    /// # Errors
    /// Returns the error of the first operation that fails.
    pub fn check(&self) -> io::Result<DiskSpace> {
        let mut file = tempfile::tempfile_in(&self.folder)?;
        file.write_all(b"rowlink")?;
        let status = rustix::fs::fstatvfs(&file)?;
        Ok(DiskSpace {
            total: status.f_blocks.saturating_mul(status.f_frsize),
            free: status.f_bavail.saturating_mul(status.f_frsize),
        })
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes that may be in use.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the most files that may be open.
    #[must_use]
    pub fn files_max(&self) -> u64 {
        IDLE_FILES_MAX as u64 + self.bytes_max / block::file_bytes(self.bytes_max)
    }

    /// Takes space: what is free, or what retained files leave for others.
    fn reserve(&self, bytes: u64) -> Result<(), Obstacle> {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        loop {
            let reserved = self
                .bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            match reserved {
                Ok(_) => return Ok(()),
                Err(_) if self.make_room() => {}
                Err(used) => return Err(Obstacle::Full(used)),
            }
        }
    }

    fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds a file that leaves its space to others.
    fn retain(&self, file: &Arc<dyn Retained>) {
        let files = {
            let mut files = self.lock();
            files.retain(|file| file.strong_count() > 0);
            files.push(Arc::downgrade(file));
            upgrade(&files)
        };
        let idle = files.iter().filter(|file| file.idle_since().is_some());
        for _ in IDLE_FILES_MAX..idle.count() {
            discard_longest_idle(&files);
        }
    }

    /// Discards something that is retained; returns whether there was anything.
    fn make_room(&self) -> bool {
        let files = upgrade(&self.lock());
        discard_longest_idle(&files) || files.iter().any(|file| file.discard_read())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Retained>>> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn upgrade(files: &[Weak<dyn Retained>]) -> Vec<Arc<dyn Retained>> {
    files.iter().filter_map(Weak::upgrade).collect()
}

/// Discards the file that has had no reader for the longest time; returns whether there was one.
fn discard_longest_idle(files: &[Arc<dyn Retained>]) -> bool {
    let idle = files
        .iter()
        .filter_map(|file| Some((file.idle_since()?, file)));
    let mut idle: Vec<_> = idle.collect();
    idle.sort_by_key(|(since, _)| *since);
    // A client may have come back meanwhile.
    idle.iter().any(|(_, file)| file.discard_if_idle())
}
