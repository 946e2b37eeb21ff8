//! The state that every handler shares.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::config::{HttpConfig, StaticFile};
use super::download::kept_files::KeptFiles;
use super::lifecycle::Lifecycle;
use super::refusal_log::RefusalLog;
use super::telemetry::{LostLines, Metrics};
use super::tls::Certificate;
use crate::audit_values::AuditRecipient;
use crate::auth::Authenticator;
use crate::service::ExportService;
use crate::spool::Spool;
use rowlink_link::Keyring;

/// How long aborted uploads have to remove their parts from the store.
const UPLOAD_ABORT_MAX: Duration = Duration::from_secs(2);

/// The state that every handler shares.
pub struct AppState {
    /// Issues links and opens downloads.
    pub service: ExportService,
    /// Authenticates callers.
    pub authenticator: Authenticator,
    /// Returns the time in Unix seconds. Tests fix it.
    pub clock: Clock,
    pub(super) config: HttpConfig,
    pub(super) metrics: Metrics,
    pub(super) lifecycle: Lifecycle,
    pub(super) certificate: Arc<Certificate>,
    pub(super) files: Vec<StaticFile>,
    pub(super) lost_lines: LostLines,
    pub(super) refusal_log: RefusalLog,
    pub(super) audit_recipient: Option<AuditRecipient>,
    pub(super) spool: Option<Arc<Spool>>,
    pub(super) kept_files: Option<Arc<KeptFiles>>,
}

/// Returns the time in Unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

impl AppState {
    /// Creates the state of a server.
    #[must_use]
    pub fn new(
        service: ExportService,
        authenticator: Authenticator,
        clock: Clock,
        config: HttpConfig,
    ) -> AppState {
        let metrics = Metrics::new();
        metrics.record_keys(&service.key_ids(), clock());
        AppState {
            service,
            authenticator,
            clock,
            config,
            metrics,
            lifecycle: Lifecycle::default(),
            certificate: Arc::default(),
            files: Vec::new(),
            lost_lines: LostLines::default(),
            refusal_log: RefusalLog::default(),
            audit_recipient: None,
            spool: None,
            kept_files: None,
        }
    }

    /// Adds files that are served next to the API.
    #[must_use]
    pub fn with_files(mut self, files: Vec<StaticFile>) -> AppState {
        self.files = files;
        self
    }

    /// Sets the spool for downloads whose readers are slow.
    #[must_use]
    pub fn with_spool(mut self, spool: Option<Spool>) -> AppState {
        self.spool = spool.map(Arc::new);
        let has_store = self.service.has_store();
        let spool = self.spool.clone();
        self.kept_files = spool.and_then(|spool| KeptFiles::new(spool, has_store));
        self
    }

    /// Sets what counts the lines that the log has lost.
    #[must_use]
    pub fn with_lost_lines(mut self, lost_lines: LostLines) -> AppState {
        self.lost_lines = lost_lines;
        self
    }

    /// Sets the key that audit lines encrypt the values of filters to.
    #[must_use]
    pub fn with_audit_recipient(mut self, recipient: Option<AuditRecipient>) -> AppState {
        self.audit_recipient = recipient;
        self
    }

    /// Replaces the certificate of new connections; both texts are PEM.
    ///
    /// # Errors
    /// Returns a message if they are not a certificate chain and its key.
    pub fn set_certificate(&self, certificate: &str, key: &str) -> Result<(), String> {
        self.certificate.set(certificate, key)
    }

    /// Replaces the signing keys. Requests in progress keep theirs.
    pub fn set_keyring(&self, keyring: Keyring) {
        self.service.set_keyring(keyring);
        let key_ids = self.service.key_ids();
        self.metrics.record_keys(&key_ids, (self.clock)());
    }

    /// Counts a file that could not be reloaded.
    pub fn count_failed_reload(&self, what: &'static str) {
        self.metrics.count_failed_reload(what);
    }

    /// Fails readiness; keeps serving.
    pub fn drain(&self) {
        self.lifecycle.drain();
    }

    /// Closes every connection that serves no request, now or as soon as it serves none.
    pub fn stop(&self) {
        self.lifecycle.stop();
    }

    /// Resolves when no file is being uploaded to the store, or soon after downloads were aborted.
    pub async fn uploaded(&self) {
        let Some(files) = &self.kept_files else {
            return;
        };
        let aborted = async {
            self.lifecycle.aborted().await;
            sleep(UPLOAD_ABORT_MAX).await;
        };
        tokio::select! {
            () = files.uploads.ended() => {}
            () = aborted => {}
        }
    }

    /// Aborts every download.
    pub fn abort_downloads(&self) {
        self.lifecycle.abort_downloads();
    }
}
