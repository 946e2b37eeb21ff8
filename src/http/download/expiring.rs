//! A value that a task watches while nothing uses it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Keeps a value while its user is busy elsewhere. A task may change or drop it meanwhile: a reader that is too slow must
/// not keep a query.
pub(super) struct Expiring<T> {
    slot: Slot<T>,
    watcher: JoinHandle<()>,
}

/// The value as its watcher has it.
pub(super) struct Watched<T>(Slot<T>);

type Slot<T> = Arc<Mutex<Idle<T>>>;

struct Idle<T> {
    value: Option<T>,
    is_expired: bool,
    /// How often the value was put back.
    uses: u64,
}

impl<T: Send + 'static> Expiring<T> {
    /// Keeps a value while a task watches it.
    pub(super) fn new<W>(value: T, watch: impl FnOnce(Watched<T>) -> W) -> Expiring<T>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let slot = Arc::new(Mutex::new(Idle {
            value: Some(value),
            is_expired: false,
            uses: 0,
        }));
        let watcher = tokio::spawn(watch(Watched(slot.clone())));
        Expiring { slot, watcher }
    }

    /// Takes the value, unless it has expired.
    pub(super) fn take(&self) -> Option<T> {
        lock(&self.slot).value.take()
    }

    /// Puts the value back; returns it if it has expired.
    pub(super) fn put(&self, value: T) -> Option<T> {
        let mut slot = lock(&self.slot);
        if slot.is_expired {
            return Some(value);
        }
        slot.value = Some(value);
        slot.uses += 1;
        None
    }
}

impl<T> Watched<T> {
    /// Resolves once the value was not used for at least this duration, and less than twice as long.
    pub(super) async fn unused_for(&self, duration: Duration) {
        let mut uses_before = None;
        loop {
            sleep(duration).await;
            let slot = lock(&self.0);
            let uses = slot.value.is_some().then_some(slot.uses);
            if uses.is_some() && uses == uses_before {
                return;
            }
            uses_before = uses;
        }
    }

    /// Replaces the value, unless it is in use; returns whether it was replaced.
    pub(super) fn replace(&self, replace: impl FnOnce(T) -> T) -> bool {
        let mut slot = lock(&self.0);
        slot.value = slot.value.take().map(replace);
        slot.value.is_some()
    }

    /// Tells whether the value fulfils a condition. One in use does not.
    pub(super) fn is(&self, condition: impl FnOnce(&T) -> bool) -> bool {
        lock(&self.0).value.as_ref().is_some_and(condition)
    }

    /// Ends the use of the value; returns it unless it is in use.
    pub(super) fn expire(&self) -> Option<T> {
        let mut slot = lock(&self.0);
        slot.is_expired = true;
        slot.value.take()
    }
}

impl<T> Drop for Expiring<T> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn lock<T>(slot: &Mutex<Idle<T>>) -> MutexGuard<'_, Idle<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
