//! A file on its way to its client: its rows, the coding they are sent in, and its audit line.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Data;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::AppState;
use super::audit::DownloadLog;
use super::coding::{Coding, ContentEncoder};
use crate::service::{Download, DownloadError};

/// A file on its way. Dropping it cancels the query, and writes the audit line.
pub(super) struct ResponseStream {
    download: Download,
    encoder: Option<ContentEncoder>,
    audit: DownloadLog,
}

/// Why a file ends before it is whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("the file could not be compressed")]
    Coding(#[from] io::Error),
}

impl ResponseStream {
    /// # Errors
    /// There is no memory for the coding.
    pub(super) fn new(
        download: Download,
        coding: Option<Coding>,
        mut audit: DownloadLog,
    ) -> Result<ResponseStream, StreamError> {
        let encoder = coding.map(ContentEncoder::new).transpose();
        let encoder = encoder.map_err(StreamError::from);
        Ok(ResponseStream {
            encoder: encoder.inspect_err(|why| audit.abort(why))?,
            download,
            audit,
        })
    }

    /// The next piece as it is sent, never empty, or `None` once the file is whole.
    ///
    /// # Errors
    /// It will not be whole. That is in the log already.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        self.audit.waits_for_rows(true);
        let next = self.coded_chunk().await;
        self.audit.waits_for_rows(false);
        next.inspect_err(|why| self.audit.abort(why))
    }

    async fn coded_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let Some(chunk) = self.download.next_chunk().await? else {
            let end = self
                .encoder
                .take()
                .map(ContentEncoder::finish)
                .transpose()?;
            if end.is_none() {
                self.audit.outcome = "complete";
            }
            return Ok(end);
        };
        self.audit.written(&self.download);
        match &mut self.encoder {
            Some(encoder) => Ok(Some(encoder.chunk(&chunk)?)),
            None => Ok(Some(chunk)),
        }
    }
}

/// Where a file waits while its reader is busy with the last piece. A reader so slow that the time of
/// the download is up finds the place closed: its query must not wait for it.
pub(super) struct ExpiringStream {
    place: Arc<Mutex<Inner>>,
    watch: JoinHandle<()>,
}

struct Inner {
    file: Option<ResponseStream>,
    is_closed: bool,
}

impl ExpiringStream {
    pub(super) fn new(file: ResponseStream, state: Data<AppState>) -> ExpiringStream {
        let deadline = file.download.deadline();
        let place = Arc::new(Mutex::new(Inner {
            file: Some(file),
            is_closed: false,
        }));
        let watched = place.clone();
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = state.lifecycle.aborted() => {}
            }
            lock(&watched).close();
        });
        ExpiringStream { place, watch }
    }

    /// The file, unless its time is up.
    pub(super) fn take(&self) -> Option<ResponseStream> {
        lock(&self.place).file.take()
    }

    pub(super) fn put(&self, file: ResponseStream) {
        let mut place = lock(&self.place);
        place.file = Some(file);
        if place.is_closed {
            place.close();
        }
    }
}

impl Inner {
    fn close(&mut self) {
        self.is_closed = true;
        if let Some(mut file) = self.file.take() {
            file.audit.time_is_up();
        }
    }
}

impl Drop for ExpiringStream {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn lock(place: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
