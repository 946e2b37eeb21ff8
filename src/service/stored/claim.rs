//! What a server tells the others about a file that it prepares, in a small object beside it.
//!
//! A claim only spares work: a file appears only when it is whole, and each upload has an object of its own.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoredFile;
use crate::store::StoreError;

/// How often the server that prepares a file refreshes its claim, in seconds.
pub const REFRESH_SECONDS: u64 = 2;
/// The age at which a claim is stale, in seconds: its server has probably stopped.
const STALE_SECONDS: u64 = 15;

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Identifies the preparation.
    pub id: Uuid,
    /// When it was written, in Unix seconds.
    pub written: u64,
    /// The state of the file.
    pub state: ClaimState,
}

/// The state of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// Its query runs, or it is uploaded.
    Preparing(PreparedSoFar),
    /// It was not completed.
    Failed {
        /// The code of the problem.
        code: String,
    },
    /// A client has cancelled it.
    Cancelled,
    /// It is in the store.
    Complete,
}

/// What there is of a file that is being prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedSoFar {
    /// The rows so far.
    pub rows: u64,
    /// The bytes so far.
    pub bytes: u64,
    /// The planner's estimate of all rows.
    pub estimated_rows: Option<u64>,
    /// The planner's estimate of all bytes.
    pub estimated_bytes: Option<u64>,
}

impl Claim {
    /// Tells whether its server has not refreshed it in time, at `now` in Unix seconds.
    #[must_use]
    pub fn is_stale(&self, now: u64) -> bool {
        self.written + STALE_SECONDS < now
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a claim has no map with other keys than texts")
    }
}

impl StoredFile {
    /// Returns the claim on the file, if there is one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn claim(&self) -> Result<Option<Claim>, StoreError> {
        let claim = self.store.read_small(&self.claim_object()).await?;
        Ok(claim.and_then(|claim| serde_json::from_slice(&claim).ok()))
    }

    /// Creates a claim unless there is one; returns whether it did. Some stores replace the other one.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn create_claim(&self, claim: &Claim) -> Result<bool, StoreError> {
        let object = self.claim_object();
        self.store.create_small(&object, claim.to_json()).await
    }

    /// Writes a claim, whatever was claimed before.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it may not have been written.
    pub async fn write_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        let object = self.claim_object();
        self.store.write_small(&object, claim.to_json()).await
    }

    /// Tells whether a client has cancelled a preparation.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the request fails.
    pub async fn is_cancelled(&self, id: Uuid) -> Result<bool, StoreError> {
        let cancelled = self.store.read_small(&self.cancelled_object()).await?;
        Ok(cancelled.is_some_and(|cancelled| cancelled == id.to_string().as_bytes()))
    }

    /// Cancels a preparation. This is no part of the claim, which its server overwrites.
    ///
    /// # Errors
    /// Returns [`StoreError`] if it may not be cancelled.
    pub async fn cancel(&self, id: Uuid) -> Result<(), StoreError> {
        let object = self.cancelled_object();
        self.store.write_small(&object, id.to_string().into()).await
    }

    fn claim_object(&self) -> String {
        [self.name(), ".claim"].concat()
    }

    fn cancelled_object(&self) -> String {
        [self.name(), ".cancelled"].concat()
    }
}
