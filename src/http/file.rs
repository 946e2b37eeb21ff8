//! A file on its way to its client: its rows, the coding they are sent in, and its audit line.

use std::io;

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
        audit: Audit,
    ) -> Result<File, Broken> {
        Ok(File {
            download,
            encoder: coding.map(Encoder::new).transpose()?,
            audit,
        })
    }

    /// The next piece as it is sent, never empty, or `None` once the file is whole.
    ///
    /// # Errors
    /// It will not be whole.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
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

    /// Writes down why it will not be whole.
    pub(super) fn abort(&mut self, why: &Broken) {
        self.audit.abort(why);
    }
}
