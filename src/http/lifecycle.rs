//! Graceful shutdown: readiness fails immediately, requests are served for a delay, running downloads
//! get time to finish, and the rest are aborted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The durations of a graceful shutdown.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// How long requests are served after readiness fails: until every load balancer has noticed.
    pub delay: Duration,
    /// How long running downloads may continue after that.
    pub max: Duration,
}

impl Default for DrainTimes {
    fn default() -> DrainTimes {
        DrainTimes {
            delay: Duration::ZERO,
            max: Duration::from_secs(30),
        }
    }
}

/// Whether the server runs, drains, stops or aborts its downloads.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    draining: AtomicBool,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Lifecycle {
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Closes every connection that serves no request, now or as soon as it serves none.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns the token that [`stop`](Lifecycle::stop) cancels.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Aborts every download.
    pub(super) fn abort_downloads(&self) {
        self.abort.cancel();
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Returns the token that [`abort_downloads`](Lifecycle::abort_downloads) cancels.
    pub(super) fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Resolves when all downloads must be aborted.
    pub(super) async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
