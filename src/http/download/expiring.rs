//! A value that must not outlive a deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

/// Keeps a value while its user is busy elsewhere, and drops it when its time is up: a reader that is
/// too slow must not keep a query.
pub(super) struct Expiring<T> {
    slot: Arc<Mutex<Slot<T>>>,
    watcher: JoinHandle<()>,
}

struct Slot<T> {
    value: Option<T>,
    is_expired: bool,
}

impl<T: Send + 'static> Expiring<T> {
    /// Keeps a value until `expiry` resolves; then `expire` consumes it.
    pub(super) fn new(
        value: T,
        expiry: impl Future<Output = ()> + Send + 'static,
        expire: impl Fn(T) + Send + 'static,
    ) -> Expiring<T> {
        let slot = Arc::new(Mutex::new(Slot {
            value: Some(value),
            is_expired: false,
        }));
        let watched = slot.clone();
        let watcher = tokio::spawn(async move {
            expiry.await;
            let value = {
                let mut slot = lock(&watched);
                slot.is_expired = true;
                slot.value.take()
            };
            value.into_iter().for_each(expire);
        });
        Expiring { slot, watcher }
    }

    /// Takes the value, unless its time is up.
    pub(super) fn take(&self) -> Option<T> {
        lock(&self.slot).value.take()
    }

    /// Puts the value back; returns it if its time is up.
    pub(super) fn put(&self, value: T) -> Option<T> {
        let mut slot = lock(&self.slot);
        if slot.is_expired {
            return Some(value);
        }
        slot.value = Some(value);
        None
    }
}

impl<T> Drop for Expiring<T> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
