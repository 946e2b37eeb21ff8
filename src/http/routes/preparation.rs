//! Files that are prepared in the store before a client downloads them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::kept::unfinished;
use super::stored::stored_file;
use crate::http::download::audit_log::{QueryLog, obstacle_report};
use crate::http::download::claim_refresh::ClaimRefresh;
use crate::http::download::coded_file::CodedFile;
use crate::http::download::file_upload::FileUpload;
use crate::http::download::kept_files::{Filling, KeptFiles, random_file_id};
use crate::http::download::single_use;
use crate::http::download::uploads::RunningUpload;
use crate::http::response::problem::{Problem, internal};
use crate::http::state::AppState;
use crate::service::{Claim, ClaimState, FoundFile, PreparedDownload, PreparedSoFar, StoredFile};

/// How often a request that waits asks again.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The file of a link that may be prepared.
#[derive(Clone)]
pub(super) struct Preparation {
    state: Data<AppState>,
    prepared: PreparedDownload,
    stored: StoredFile,
    kept_files: Arc<KeptFiles>,
}

/// Whether the server that prepared a file has stopped.
struct IsStale(bool);

/// The state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileState {
    /// No server prepares it.
    Absent,
    Preparing(PreparedSoFar),
    Ready(FoundFile),
    /// With the code of the problem.
    Failed(String),
    Cancelled,
}

impl Preparation {
    /// Returns the file of a download; `None` if it is not one that is stored.
    pub(super) fn of(state: &Data<AppState>, prepared: PreparedDownload) -> Option<Preparation> {
        Some(Preparation {
            stored: stored_file(state, &prepared)?.always(),
            kept_files: state.kept_files.clone()?,
            state: state.clone(),
            prepared,
        })
    }

    /// Checks that the link was not used, if it works once: then no query runs for it.
    ///
    /// # Errors
    /// Returns the problem of a link that was used, or of which that is not known.
    pub(super) async fn check_unused(&self) -> Result<(), Problem> {
        let checked = single_use::check(&self.state, &self.prepared.link).await;
        Ok(checked?)
    }

    /// Starts to prepare the file, unless it is ready or being prepared; returns its state.
    ///
    /// # Errors
    /// Returns the problem of a limit, or of the store.
    pub(super) async fn begin(self) -> Result<FileState, Problem> {
        if let Some(known) = self.begun().await? {
            return Ok(known);
        }
        let (turn, has_waited) = self.kept_files.uploads.turn(self.stored.name()).await;
        let Some(_turn) = turn else {
            return Err(unfinished());
        };
        if has_waited && let Some(known) = self.begun().await? {
            return Ok(known);
        }
        let other = self.stored.claim().await?;
        if let Some(other) = &other
            && let ClaimState::Preparing(so_far) = &other.state
            && !self.is_stale(other)
            && !self.stored.is_cancelled(other.id).await?
        {
            return Ok(FileState::Preparing(*so_far));
        }
        let permit = self.state.service.acquire(&self.prepared)?;
        let claim = self.claim_refresh();
        let mine = claim.claim(ClaimState::Preparing(PreparedSoFar::default()));
        let is_mine = match other {
            None => self.stored.create_claim(&mine).await,
            Some(_) => self.stored.write_claim(&mine).await.map(|()| true),
        };
        if !is_mine? {
            return Ok(FileState::Preparing(PreparedSoFar::default()));
        }
        let Preparation {
            state,
            prepared,
            stored,
            kept_files,
        } = self;
        let id = random_file_id().map_err(|error| internal(error.to_string()))?;
        let deadline = state.service.deadlines(&prepared).query;
        let query_log = QueryLog::of_prepared(&state, &prepared);
        let report = obstacle_report(state.clone().into_inner(), prepared.link.link().id);
        let upload = FileUpload::new(&state, &prepared, stored).with_claim(claim);
        let abort = state.lifecycle.abort_token();
        let opening = Box::pin(async move {
            let opened = state.service.open_with(prepared, permit, deadline);
            opened.await
        });
        let filling = Filling {
            file: CodedFile::without_heartbeats(opening),
            coding: None,
            length: None,
            upload: Some(upload),
        };
        // Only the upload reads the file.
        let kept = kept_files.keep(id, filling, deadline, abort, report, query_log);
        drop(kept?);
        Ok(FileState::Preparing(PreparedSoFar::default()))
    }

    /// Returns the state of the file. A file whose server has stopped is prepared here.
    ///
    /// # Errors
    /// Returns the problem of the store, or of a limit.
    pub(super) async fn look_up(&self) -> Result<FileState, Problem> {
        match self.peek().await? {
            (_, IsStale(true)) => {
                let link_id = self.prepared.link.link().id;
                tracing::warn!(%link_id, "taking over a file that another replica prepared");
                self.clone().begin().await
            }
            (state, _) => Ok(state),
        }
    }

    /// Returns the state of the file, and prepares nothing: a file whose server has stopped is absent.
    ///
    /// # Errors
    /// Returns the problem of the store.
    pub(super) async fn look_up_only(&self) -> Result<FileState, Problem> {
        match self.peek().await? {
            (_, IsStale(true)) => Ok(FileState::Absent),
            (state, _) => Ok(state),
        }
    }

    /// Returns the state of the file, and whether its server has stopped.
    async fn peek(&self) -> Result<(FileState, IsStale), Problem> {
        if let Some(known) = self.known().await? {
            return Ok((known, IsStale(false)));
        }
        let Some(claim) = self.stored.claim().await? else {
            // Its claim was removed with the file.
            return Ok((FileState::Absent, IsStale(false)));
        };
        let is_stale = self.is_stale(&claim);
        let state = match claim.state {
            // It is ready by now, or was removed.
            ClaimState::Complete => self.known().await?.unwrap_or(FileState::Absent),
            ClaimState::Failed { code } => FileState::Failed(code),
            ClaimState::Cancelled => FileState::Cancelled,
            ClaimState::Preparing(_) if self.stored.is_cancelled(claim.id).await? => {
                FileState::Cancelled
            }
            ClaimState::Preparing(so_far) => {
                let is_stale = IsStale(is_stale);
                return Ok((FileState::Preparing(so_far), is_stale));
            }
        };
        Ok((state, IsStale(false)))
    }

    /// Returns the state of the file once it is final, or after `wait`.
    ///
    /// # Errors
    /// Returns the problem of the store, or of a limit.
    pub(super) async fn look_up_within(&self, wait: Duration) -> Result<FileState, Problem> {
        let deadline = Instant::now() + wait;
        loop {
            let state = self.look_up().await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !matches!(state, FileState::Preparing(_)) || left.is_zero() {
                return Ok(state);
            }
            sleep(left.min(POLL_INTERVAL)).await;
        }
    }

    /// Cancels the preparation, here or at another server; returns its state then.
    ///
    /// # Errors
    /// Returns the problem of the store.
    pub(super) async fn cancel(&self) -> Result<FileState, Problem> {
        let (state, _) = self.peek().await?;
        if !matches!(state, FileState::Preparing(_)) {
            return Ok(state);
        }
        if let Some(claim) = self.stored.claim().await? {
            self.stored.cancel(claim.id).await?;
        }
        if let Some(running) = self.running() {
            running.cancel();
        }
        Ok(FileState::Cancelled)
    }

    /// Returns the state of the file, if it is ready or this server prepares it.
    async fn known(&self) -> Result<Option<FileState>, Problem> {
        // An upload that ends now is found.
        if let Some(running) = self.running() {
            return Ok(Some(FileState::Preparing(running.so_far())));
        }
        let found = self.stored.find().await?;
        Ok(found.map(FileState::Ready))
    }

    /// Returns the state of the file, if it is ready or this server has begun it. A download's file is then stored, too.
    async fn begun(&self) -> Result<Option<FileState>, Problem> {
        if let Some(running) = self.running() {
            running.want();
        }
        self.known().await
    }

    fn is_stale(&self, claim: &Claim) -> bool {
        claim.is_stale((self.state.clock)())
    }

    fn running(&self) -> Option<RunningUpload> {
        self.kept_files.uploads.find(self.stored.name())
    }

    fn claim_refresh(&self) -> ClaimRefresh {
        ClaimRefresh::new(self.stored.clone(), self.state.clock.clone())
    }
}

impl FileState {
    /// Returns the JSON object of a response. It has the same fields in every state.
    pub(super) fn describe(&self) -> Value {
        let record = match self {
            FileState::Ready(found) => Some(&found.record),
            _ => None,
        };
        let so_far = match self {
            FileState::Preparing(so_far) => Some(so_far),
            _ => None,
        };
        let code = match self {
            FileState::Failed(code) => Some(code),
            _ => None,
        };
        json!({
            "state": self.name(),
            "rows": record.map(|it| it.rows).or(so_far.map(|it| it.rows)),
            "bytes": record.map(|it| it.bytes).or(so_far.map(|it| it.bytes)),
            "estimated_rows": so_far.and_then(|it| it.estimated_rows),
            "estimated_bytes": so_far.and_then(|it| it.estimated_bytes),
            "sha256": record.map(|it| hex::encode(it.sha256)),
            "code": code,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            FileState::Absent => "absent",
            FileState::Preparing(_) => "preparing",
            FileState::Ready(_) => "ready",
            FileState::Failed(_) => "failed",
            FileState::Cancelled => "cancelled",
        }
    }
}
