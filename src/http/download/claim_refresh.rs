//! Tells other servers how far a file is that this one prepares.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::uploads::RunningUpload;
use crate::http::state::Clock;
use crate::service::{Claim, ClaimState, REFRESH_SECONDS, StoredFile};
use crate::source::causes;
use crate::store::StoreError;

/// Refreshes the claim on a file.
pub(in crate::http) struct ClaimRefresh {
    stored: StoredFile,
    server: Uuid,
    clock: Clock,
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
    pub(in crate::http) fn new(stored: StoredFile, server: Uuid, clock: Clock) -> ClaimRefresh {
        ClaimRefresh {
            stored,
            server,
            clock,
        }
    }

    /// Returns the claim of this server.
    pub(in crate::http) fn claim(&self, state: ClaimState) -> Claim {
        Claim {
            server: self.server,
            written: (self.clock)(),
            state,
        }
    }

    /// Refreshes the claim until the file is complete, another server has taken it over, or it was cancelled: then this
    /// cancels it here.
    pub(super) async fn refresh(&self, running: &RunningUpload) {
        loop {
            let claim = self.stored.claim().await;
            let claim = claim.unwrap_or_else(|error| {
                report(&error);
                None
            });
            match claim {
                Some(claim) if claim.state == ClaimState::Cancelled => return running.cancel(),
                Some(claim) if claim.server != self.server => return,
                _ => {}
            }
            let claim = self.claim(ClaimState::Preparing(running.so_far()));
            let written = self.stored.write_claim(&claim).await;
            written.unwrap_or_else(|error| report(&error));
            sleep(Duration::from_secs(REFRESH_SECONDS)).await;
        }
    }

    /// Tells whether another server prepares the file now.
    async fn is_taken_over(&self) -> bool {
        let claim = self.stored.claim().await;
        claim.is_ok_and(|claim| claim.is_some_and(|claim| claim.server != self.server))
    }

    /// Ends the claim.
    pub(super) async fn end(self, ended: Ended) {
        let state = match ended {
            Ended::Complete => {
                let removed = self.stored.remove_claim().await;
                return removed.unwrap_or_else(|error| report(&error));
            }
            Ended::Cancelled => ClaimState::Cancelled,
            Ended::Failed(_) if self.is_taken_over().await => return,
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
