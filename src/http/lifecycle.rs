//! Stopping without anybody noticing: not ready at once, then no new connection, then running
//! downloads finish, and only what is left after that is cut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How to stop.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// How long requests are still taken once we are not ready: until every load balancer has seen
    /// that.
    pub delay: Duration,
    /// How long running downloads have after that.
    pub max: Duration,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain {
            delay: Duration::ZERO,
            max: Duration::from_secs(30),
        }
    }
}

/// Whether we run, drain or cut.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    draining: AtomicBool,
    abort: CancellationToken,
}

impl Lifecycle {
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends every download, visibly broken.
    pub(super) fn abort_downloads(&self) {
        self.abort.cancel();
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Comes when downloads shall end.
    pub(super) async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
