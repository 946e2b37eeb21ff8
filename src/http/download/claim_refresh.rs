//! Tells other servers the state of a file that this one prepares.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::uploads::RunningUpload;
use crate::http::state::Clock;
use crate::service::{Claim, ClaimState, REFRESH_SECONDS, StoredFile};
use crate::source::causes;
use crate::store::StoreError;

/// Refreshes the claim on a file.
pub(in crate::http) struct ClaimRefresh {
    stored: StoredFile,
    /// Identifies the preparation. A later one has a greater id.
    id: Uuid,
    clock: Clock,
    writes: TaskTracker,
}

/// How a prepared file has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    Cancelled,
    /// With the code of the problem.
    Failed(&'static str),
    /// Another server may prepare it.
    Shutdown,
}

impl ClaimRefresh {
    pub(in crate::http) fn new(stored: StoredFile, clock: Clock) -> ClaimRefresh {
        ClaimRefresh {
            stored,
            id: Uuid::now_v7(),
            clock,
            writes: TaskTracker::new(),
        }
    }

    /// Returns the claim of this server.
    pub(in crate::http) fn claim(&self, state: ClaimState) -> Claim {
        Claim {
            id: self.id,
            written: (self.clock)(),
            state,
        }
    }

    /// Refreshes the claim until another server has taken it over, or a client has cancelled it: then this cancels it here.
    pub(super) async fn refresh(&self, running: &RunningUpload) {
        loop {
            let (claim, is_cancelled) =
                tokio::join!(self.stored.claim(), self.stored.is_cancelled(self.id));
            match (claim, is_cancelled) {
                (_, Ok(true)) => return running.cancel(),
                (Ok(Some(claim)), _) if claim.id > self.id => return,
                (Err(error), _) | (_, Err(error)) => report(&error),
                _ => {}
            }
            self.write(self.claim(ClaimState::Preparing(running.so_far())));
            self.writes.close();
            self.writes.wait().await;
            sleep(Duration::from_secs(REFRESH_SECONDS)).await;
        }
    }

    /// Writes a claim in a task: if its request was dropped, the store could still apply it after the last one.
    fn write(&self, claim: Claim) {
        let stored = self.stored.clone();
        self.writes.spawn(async move {
            let written = stored.write_claim(&claim).await;
            written.unwrap_or_else(|error| report(&error));
        });
    }

    /// Tells whether the file was begun again since, here or by another server.
    async fn is_taken_over(&self) -> bool {
        let claim = self.stored.claim().await;
        claim.is_ok_and(|claim| claim.is_some_and(|claim| claim.id > self.id))
    }

    /// Ends the claim.
    pub(super) async fn end(self, ended: Ended) {
        self.writes.close();
        self.writes.wait().await;
        if self.is_taken_over().await {
            return;
        }
        let state = match ended {
            Ended::Complete => ClaimState::Complete,
            Ended::Cancelled => ClaimState::Cancelled,
            Ended::Failed(code) => ClaimState::Failed {
                code: code.to_owned(),
            },
            Ended::Shutdown => ClaimState::Preparing(Default::default()),
        };
        let mut claim = self.claim(state);
        if ended == Ended::Shutdown {
            // Stale.
            claim.written = 0;
        }
        let written = self.stored.write_claim(&claim).await;
        written.unwrap_or_else(|error| report(&error));
    }
}

fn report(error: &StoreError) {
    let cause = causes(error);
    tracing::warn!(cause, "other replicas are not told about a prepared file");
}
