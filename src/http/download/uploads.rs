//! The files that this server uploads to the store, or will if they are large enough.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::file_upload::FileUpload;
use super::kept_files::{FileId, KeptFile, UploadReader};
use crate::service::{Estimate, PreparedSoFar};

/// How long a request waits for another one that begins the same file.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The most uploads of small files at the same time. Further files are not stored.
const SMALL_UPLOADS_MAX: usize = 64;

/// The uploads of this server, by the names of their files in the store.
pub(in crate::http) struct Uploads {
    running: Mutex<HashMap<String, RunningUpload>>,
    turns: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
    /// Limits the uploads of small files, which have no download any more that counts.
    small: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// The turn of one request to begin a file. Others for the same file wait meanwhile, and then find it.
pub(in crate::http) type Turn = OwnedMutexGuard<()>;

/// A file whose query runs, or that is being uploaded.
#[derive(Clone)]
pub(in crate::http) struct RunningUpload {
    /// What its entity tag holds.
    pub(in crate::http) id: FileId,
    /// The file.
    pub(in crate::http) file: KeptFile,
    /// The planner's estimate, once it is known.
    pub(super) estimate: Arc<OnceLock<Estimate>>,
    cancel: CancellationToken,
    /// Cancelled when the file is wanted in the store whatever its size.
    wanted: CancellationToken,
}

impl RunningUpload {
    /// Returns what there is of the file so far.
    pub(in crate::http) fn so_far(&self) -> PreparedSoFar {
        let written = self.file.written();
        let estimate = self.estimate.get();
        PreparedSoFar {
            rows: written.rows,
            bytes: written.bytes,
            estimated_rows: estimate.map(|estimate| estimate.rows),
            estimated_bytes: estimate.and_then(|estimate| estimate.bytes),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Stores the file whatever its size, unless its start is no longer in the spool.
    pub(in crate::http) fn want(&self) {
        self.wanted.cancel();
    }

    /// Resolves when the file is wanted whatever its size.
    pub(super) async fn wanted(&self) {
        self.wanted.cancelled().await;
    }

    /// Cancels the upload, and the query unless a client reads the file.
    pub(in crate::http) fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Uploads {
    /// Returns the upload of the file with this name, unless it is cancelled.
    pub(in crate::http) fn find(&self, name: &str) -> Option<RunningUpload> {
        let running = self.lock().get(name).cloned();
        running.filter(|running| !running.cancel.is_cancelled())
    }

    /// Returns the turn to begin the file with this name, once no other request has it; `None` if that takes long. Also
    /// returns whether it waited.
    pub(in crate::http) async fn turn(&self, name: &str) -> (Option<Turn>, bool) {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(AsyncMutex::new(()));
                turns.insert(name.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        match turn.clone().try_lock_owned() {
            Ok(turn) => (Some(turn), false),
            Err(_) => (timeout(TURN_MAX, turn.lock_owned()).await.ok(), true),
        }
    }

    /// Resolves when there are no uploads.
    pub(in crate::http) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs the upload of a small file, for which a graceful shutdown waits; does nothing if there are many.
    pub(super) fn spawn_small(&self, upload: impl Future<Output = ()> + Send + 'static) {
        if let Ok(permit) = self.small.clone().try_acquire_owned() {
            self.tasks.spawn(async move {
                upload.await;
                drop(permit);
            });
        }
    }

    /// Begins the upload of a file; returns the rest of it, or `None` if the same file is being uploaded already.
    pub(super) fn begin(
        self: &Arc<Self>,
        upload: FileUpload,
        id: FileId,
        file: &KeptFile,
        abort: &CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let running = RunningUpload {
            id,
            file: file.clone(),
            estimate: Arc::default(),
            cancel: abort.child_token(),
            wanted: CancellationToken::new(),
        };
        let registration = self.register(upload.name(), &running)?;
        // Taken now: the client may leave before the task runs.
        let reader = if upload.is_certain() {
            file.upload_reader()
        } else {
            None
        };
        Some(self.tasks.track_future(async move {
            run(upload, &running, reader).await;
            drop(registration);
        }))
    }

    /// Records an upload, unless there is one with the same name.
    fn register(self: &Arc<Self>, name: &str, running: &RunningUpload) -> Option<Registration> {
        let mut uploads = self.lock();
        let other = uploads.get(name);
        if other.is_some_and(|other| !other.cancel.is_cancelled()) {
            return None;
        }
        uploads.insert(name.to_owned(), running.clone());
        Some(Registration {
            uploads: self.clone(),
            name: name.to_owned(),
            id: running.id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, RunningUpload>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uploads a file as soon as it is known to be large enough.
async fn run(mut upload: FileUpload, running: &RunningUpload, reader: Option<UploadReader>) {
    let is_wanted = reader.is_some() || upload.is_wanted(running).await;
    if !is_wanted {
        return;
    }
    let Some(reader) = reader.or_else(|| running.file.upload_reader()) else {
        return upload.give_up();
    };
    if !upload.is_prepared() {
        // The download and its query come first: an upload would slow them down.
        tokio::select! {
            () = running.file.query_ended_or_waits() => {}
            () = running.cancel.cancelled() => {}
        }
    }
    upload.run(running, reader, running.cancel.clone()).await;
}

/// The entry of an upload, which is removed when this is dropped.
struct Registration {
    uploads: Arc<Uploads>,
    name: String,
    id: FileId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = self.uploads.lock();
        if running.get(&self.name).is_some_and(|it| it.id == self.id) {
            running.remove(&self.name);
        }
    }
}

impl Default for Uploads {
    fn default() -> Uploads {
        Uploads {
            running: Mutex::default(),
            turns: Mutex::default(),
            small: Arc::new(Semaphore::new(SMALL_UPLOADS_MAX)),
            tasks: TaskTracker::new(),
        }
    }
}
