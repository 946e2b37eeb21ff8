//! Chunks of a file that wait for a slow reader: some in memory, the rest in sealed blocks in anonymous files on a local
//! disk. Knows neither HTTP nor formats.

mod block;
mod queue;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use queue::{ReadError, Sides, SpoolReader, SpoolWriter, queue};

/// The disk space of all spooled files.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpace {
    /// Its size.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

/// Why a block is not on the disk. The writer then waits for the reader.
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
        }
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

    /// Takes space, if it is free.
    fn reserve(&self, bytes: u64) -> Result<(), Obstacle> {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let reserved = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        reserved.map(drop).map_err(Obstacle::Full)
    }

    fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
