//! Uploads a file to the store while its query runs.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::audit_log::TARGET;
use super::claim_refresh::{ClaimRefresh, Ended};
use super::kept_files::{FileId, UploadReader};
use super::outcome::{Outcome, StreamError};
use super::uploads::{RunningUpload, Turn, Uploads};
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::http::telemetry::FileLabels;
use crate::service::{Estimate, PreparedDownload, StoredFile};
use crate::source::causes;
use crate::store::Upload;
use rowlink_link::Link;

/// How long the parts of an upload may take to be removed.
const ABORT_MAX: Duration = Duration::from_secs(10);

/// A file that is uploaded if it is large enough.
pub(in crate::http) struct FileUpload {
    target: Target,
    estimate: BoxFuture<'static, Option<Estimate>>,
    /// `None` if no other server is told.
    claim: Option<ClaimRefresh>,
}

/// Where a file goes, and the log line about that.
struct Target {
    stored: StoredFile,
    log: UploadLog,
}

/// The log line of an upload.
struct UploadLog {
    state: Arc<AppState>,
    link: Link,
    labels: FileLabels,
    started: Instant,
}

/// What was uploaded so far.
#[derive(Default)]
struct Uploaded {
    rows: u64,
    bytes: u64,
    sha256: Sha256,
}

impl FileUpload {
    pub(in crate::http) fn new(
        state: &Data<AppState>,
        prepared: &PreparedDownload,
        stored: StoredFile,
    ) -> FileUpload {
        let link = prepared.link.link();
        FileUpload {
            estimate: state.service.planned_estimate(prepared),
            claim: None,
            target: Target {
                stored,
                log: UploadLog {
                    state: state.clone().into_inner(),
                    labels: FileLabels::of(link),
                    link: link.clone(),
                    started: Instant::now(),
                },
            },
        }
    }

    /// Lets other servers know that the file is being prepared.
    #[must_use]
    pub(in crate::http) fn with_claim(mut self, claim: ClaimRefresh) -> FileUpload {
        self.claim = Some(claim);
        self
    }

    /// Returns the name of the file in the store.
    pub(super) fn name(&self) -> &str {
        self.target.stored.name()
    }

    /// Tells whether the file is uploaded whatever its size.
    pub(super) fn is_certain(&self) -> bool {
        self.target.stored.above().is_none()
    }

    /// Tells whether the file is prepared, without a download.
    pub(super) fn is_prepared(&self) -> bool {
        self.claim.is_some()
    }

    /// Resolves when the file is known to be large enough, by the planner's estimate or because it is, or wanted whatever
    /// its size, or neither; returns whether to upload it.
    pub(super) async fn is_wanted(&mut self, running: &RunningUpload) -> bool {
        let above = self.target.stored.above().unwrap_or(0);
        let longer = pin!(running.file.is_longer_than(above));
        let estimate = async {
            let estimate = (&mut self.estimate).await;
            let bytes = estimate.and_then(|estimate| estimate.bytes);
            match bytes.is_some_and(|bytes| bytes > above) {
                true => (),
                false => pending().await,
            }
        };
        tokio::select! {
            is_longer = longer => is_longer,
            () = estimate => true,
            () = running.wanted() => true,
        }
    }

    /// Starts to upload a file that is in memory, if it is large enough, and keeps the `turn` of its request until then.
    pub(in crate::http) fn begin_whole(
        self,
        uploads: &Uploads,
        content: &[u8],
        rows: u64,
        turn: Option<Turn>,
    ) {
        let bytes = content.len() as u64;
        let above = self.target.stored.above();
        if above.is_some_and(|above| bytes <= above) {
            return;
        }
        let mut uploaded = Uploaded {
            rows,
            bytes,
            sha256: Sha256::default(),
        };
        uploaded.sha256.update(content);
        let file_id = uploaded.sha256();
        let (target, content) = (self.target, content.to_vec());
        let abort = target.log.state.lifecycle.abort_token();
        uploads.spawn_small(async move {
            let mut upload = target.stored.upload(file_id);
            let completed = tokio::select! {
                biased;
                () = abort.cancelled() => Ok(false),
                completed = upload.whole(content) => completed.map(|()| true),
            };
            let completed = completed.map_err(StreamError::from);
            target.end(upload, uploaded, file_id, completed).await;
            drop(turn);
        });
    }

    /// Records that the start of the file is no longer in the spool.
    pub(super) fn give_up(self) {
        let link_id = self.target.log.link.id;
        tracing::warn!(%link_id, "a file is not stored: the spool had no space for all of it");
        self.target.log.end(&Uploaded::default(), Outcome::NoSpace);
    }

    /// Uploads a file, which appears in the store only if it is whole, unless it is cancelled.
    pub(super) async fn run(
        self,
        running: &RunningUpload,
        mut reader: UploadReader,
        cancelled: CancellationToken,
    ) {
        let FileUpload {
            target,
            estimate,
            claim,
        } = self;
        let claimed = async {
            if let Some(claim) = &claim {
                let estimated = async {
                    if let Some(estimate) = estimate.await {
                        let _ = running.estimate.set(estimate);
                    }
                };
                tokio::join!(estimated, claim.refresh(running));
            }
            pending().await
        };
        let mut upload = target.stored.upload(running.id);
        let mut uploaded = Uploaded::default();
        let completed = tokio::select! {
            biased;
            () = cancelled.cancelled() => Ok(false),
            completed = uploaded.copy(&mut reader, &mut upload) => completed.map(|()| true),
            never = claimed => never,
        };
        // The query no longer waits for the store.
        drop(reader);
        let ended = target.end(upload, uploaded, running.id, completed).await;
        if ended != Ended::Complete && (claim.is_some() || running.is_cancelled()) {
            running.file.discard_if_idle();
        }
        if let Some(claim) = claim {
            claim.end(ended).await;
        }
    }
}

impl Target {
    /// Records how an upload has ended, and returns it; `completed` is false if it was cancelled.
    async fn end(
        &self,
        upload: Upload,
        uploaded: Uploaded,
        file_id: FileId,
        completed: Result<bool, StreamError>,
    ) -> Ended {
        let recorded = match completed {
            Ok(true) => self.record(&uploaded, file_id).await.map(|()| true),
            other => other,
        };
        if !matches!(recorded, Ok(true)) {
            remove_parts(upload, &self.log.link).await;
        }
        let is_shutdown = self.log.state.lifecycle.is_aborting();
        let (outcome, ended) = match &recorded {
            Ok(true) => (Outcome::Complete, Ended::Complete),
            Ok(false) if is_shutdown => (Outcome::Shutdown, Ended::Shutdown),
            Ok(false) => (Outcome::Cancelled, Ended::Cancelled),
            Err(error) => {
                let (link_id, cause) = (self.log.link.id, causes(error));
                tracing::error!(target: TARGET, %link_id, cause, "upload aborted");
                (
                    Outcome::from(error),
                    Ended::Failed(Problem::from(error).code()),
                )
            }
        };
        self.log.end(&uploaded, outcome);
        ended
    }

    async fn record(&self, uploaded: &Uploaded, file_id: FileId) -> Result<(), StreamError> {
        let (rows, bytes, sha256) = (uploaded.rows, uploaded.bytes, uploaded.sha256());
        Ok(self.stored.record(file_id, rows, bytes, sha256).await?)
    }
}

impl Uploaded {
    fn sha256(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }

    /// Uploads all that a reader returns.
    async fn copy(
        &mut self,
        reader: &mut UploadReader,
        upload: &mut Upload,
    ) -> Result<(), StreamError> {
        while let Some((chunk, progress)) = reader.next_chunk().await? {
            self.rows = progress.rows;
            self.bytes += chunk.len() as u64;
            self.sha256.update(&chunk);
            upload.append(chunk).await?;
        }
        Ok(upload.complete().await?)
    }
}

/// Removes the parts of an upload that did not end. If that fails, a lifecycle rule of the bucket removes them.
async fn remove_parts(upload: Upload, link: &Link) {
    let cause = match timeout(ABORT_MAX, upload.abort()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => causes(&error),
        Err(_) => "the store did not answer in time".to_owned(),
    };
    tracing::warn!(link_id = %link.id, cause, "parts of an upload stay in the store");
}

impl UploadLog {
    fn end(&self, uploaded: &Uploaded, outcome: Outcome) {
        let outcome = outcome.name();
        let link = &self.link;
        tracing::info!(
            target: TARGET,
            link_id = %link.id,
            user = link.user.as_str(),
            export = link.export,
            format = link.format_name(),
            rows = uploaded.rows,
            bytes = uploaded.bytes,
            milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome,
            "upload ended"
        );
        let metrics = &self.state.metrics;
        let labels = self.labels.clone();
        metrics
            .uploaded_bytes
            .get_or_create(&labels)
            .inc_by(uploaded.bytes);
        let labels = labels.with_outcome(outcome);
        metrics.uploads.get_or_create(&labels).inc();
    }
}
