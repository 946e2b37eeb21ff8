//! A file on its way to its client: its rows, the coding they are sent in, and its audit line.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Data;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::Service;
use super::audit::Audit;
use super::coding::{Coding, Encoder};
use crate::export::{Download, DownloadError};

/// A file on its way. Dropping it cancels the query, and writes the audit line.
pub(super) struct File {
    download: Download,
    encoder: Option<Encoder>,
    audit: Audit,
}

/// Why a file ends before it is whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("the file could not be compressed")]
    Coding(#[from] io::Error),
}

impl File {
    /// # Errors
    /// There is no memory for the coding.
    pub(super) fn new(
        download: Download,
        coding: Option<Coding>,
        mut audit: Audit,
    ) -> Result<File, Broken> {
        let encoder = coding.map(Encoder::new).transpose();
        let encoder = encoder.map_err(Broken::from);
        Ok(File {
            encoder: encoder.inspect_err(|why| audit.abort(why))?,
            download,
            audit,
        })
    }

    /// The next piece as it is sent, never empty, or `None` once the file is whole.
    ///
    /// # Errors
    /// It will not be whole. That is in the log already.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        self.audit.waits_for_rows(true);
        let next = self.coded_chunk().await;
        self.audit.waits_for_rows(false);
        next.inspect_err(|why| self.audit.abort(why))
    }

    async fn coded_chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let Some(chunk) = self.download.next_chunk().await? else {
            let end = self.encoder.take().map(Encoder::finish).transpose()?;
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
pub(super) struct Parked {
    place: Arc<Mutex<Place>>,
    watch: JoinHandle<()>,
}

struct Place {
    file: Option<File>,
    is_closed: bool,
}

impl Parked {
    pub(super) fn new(file: File, service: Data<Service>) -> Parked {
        let deadline = file.download.deadline();
        let place = Arc::new(Mutex::new(Place {
            file: Some(file),
            is_closed: false,
        }));
        let watched = place.clone();
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = service.lifecycle.when_cut() => {}
            }
            lock(&watched).close();
        });
        Parked { place, watch }
    }

    /// The file, unless its time is up.
    pub(super) fn take(&self) -> Option<File> {
        lock(&self.place).file.take()
    }

    pub(super) fn put(&self, file: File) {
        let mut place = lock(&self.place);
        place.file = Some(file);
        if place.is_closed {
            place.close();
        }
    }
}

impl Place {
    fn close(&mut self) {
        self.is_closed = true;
        if let Some(mut file) = self.file.take() {
            file.audit.time_is_up();
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
