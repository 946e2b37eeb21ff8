//! The body of a download's response.

use std::rc::Rc;

use actix_web::web::{Bytes, Data};
use futures_util::stream::{self, Stream};
use tokio::time::sleep_until;

use super::audit_log::DownloadLog;
use super::expiring::Expiring;
use super::outcome::{Outcome, StreamError};
use crate::http::connection::exchange::{Exchange, SentFile};
use crate::http::response::content_encoding::{Coding, ContentEncoder};
use crate::http::state::AppState;
use crate::service::Download;

/// A download with its content coding and its log line. Dropping it cancels the query and writes the line.
pub(in crate::http) struct ResponseStream {
    download: Download,
    encoder: Option<ContentEncoder>,
    log: DownloadLog,
}

impl ResponseStream {
    /// Creates the body.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot allocate memory.
    pub(in crate::http) fn new(
        download: Download,
        coding: Option<Coding>,
        mut log: DownloadLog,
    ) -> Result<ResponseStream, StreamError> {
        let encoder = coding.map(ContentEncoder::new).transpose();
        let encoder = encoder.map_err(StreamError::from);
        Ok(ResponseStream {
            encoder: encoder.inspect_err(|error| log.abort(error))?,
            download,
            log,
        })
    }

    /// Returns the next chunk as it is sent, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file. It is already logged.
    pub(in crate::http) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        self.log.set_waiting_for_rows(true);
        let next = self.encoded_chunk().await;
        self.log.set_waiting_for_rows(false);
        next.inspect_err(|error| self.log.abort(error))
    }

    async fn encoded_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let Some(chunk) = self.download.next_chunk().await? else {
            let end = self
                .encoder
                .take()
                .map(ContentEncoder::finish)
                .transpose()?;
            if end.is_none() {
                self.log.set_outcome(Outcome::Complete);
            }
            return Ok(end);
        };
        self.log.record_chunk(&self.download);
        match &mut self.encoder {
            Some(encoder) => Ok(Some(encoder.chunk(&chunk)?)),
            None => Ok(Some(chunk)),
        }
    }

    /// Returns the chunks as a stream for the response. An error resets the connection, so that no
    /// client accepts the truncated file as complete.
    pub(in crate::http) fn into_stream(
        self,
        state: Data<AppState>,
        exchange: Rc<Exchange>,
    ) -> impl Stream<Item = Result<Bytes, Aborted>> {
        let deadline = self.download.deadline();
        let watched = state.clone();
        let expiry = async move {
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = watched.lifecycle.aborted() => {}
            }
        };
        let waiting = Expiring::new(self, expiry, ResponseStream::expire);
        let sent = SentFile::begin(exchange);
        stream::unfold(Some((waiting, state, sent)), |open| async {
            let (waiting, state, sent) = open?;
            let next = match waiting.take() {
                None => Err(Aborted),
                Some(mut body) => tokio::select! {
                    next = body.next_chunk() => next.map(|chunk| (chunk, body)).map_err(|_| Aborted),
                    () = state.lifecycle.aborted() => Err(Aborted),
                },
            };
            match next {
                Ok((Some(chunk), body)) => {
                    waiting
                        .put(body)
                        .into_iter()
                        .for_each(ResponseStream::expire);
                    Some((Ok(Bytes::from(chunk)), Some((waiting, state, sent))))
                }
                Ok((None, _)) => {
                    sent.complete();
                    None
                }
                Err(aborted) => {
                    // Lets the server send the chunks it still holds; the error would discard them.
                    tokio::task::yield_now().await;
                    Some((Err(aborted), None))
                }
            }
        })
    }

    /// Ends a download whose time is up, or that the shutdown aborts.
    fn expire(mut self) {
        self.log.expire();
    }
}

/// Ends a connection before the end of its body. The reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the download was aborted")]
pub(in crate::http) struct Aborted;
