//! The files that were found in the store a moment ago.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::FoundFile;

/// How long a file is taken to be still there. Then each redirect needs no request to the store.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// The most files that are known.
const FILES_MAX: usize = 1000;

/// Files by name, each with the time at which it was found.
#[derive(Default)]
pub(in crate::service) struct FoundFiles(Mutex<HashMap<String, (Instant, FoundFile)>>);

impl FoundFiles {
    pub(super) fn get(&self, name: &str) -> Option<FoundFile> {
        let files = self.lock();
        let (since, found) = files.get(name)?;
        (since.elapsed() < KNOWN_FOR).then(|| found.clone())
    }

    pub(super) fn insert(&self, found: FoundFile) {
        let mut files = self.lock();
        if files.len() >= FILES_MAX {
            files.retain(|_, (since, _)| since.elapsed() < KNOWN_FOR);
        }
        if files.len() < FILES_MAX {
            files.insert(found.name.clone(), (Instant::now(), found));
        }
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, FoundFile)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
