//! The body of a download's response.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use futures_util::stream::{self, Stream};
use tokio::time::{Instant, sleep_until, timeout};

use super::audit_log::DownloadLog;
use super::expiring::Expiring;
use super::outcome::{Outcome, StreamError};
use crate::format::Heartbeats;
use crate::http::connection::exchange::{Exchange, SentFile};
use crate::http::response::content_encoding::{Coding, ContentEncoder};
use crate::http::state::AppState;
use crate::service::{Download, OpenError, OpenedDownload, PreparedDownload};

/// When heartbeats are sent, and which.
pub(in crate::http) struct HeartbeatPlan {
    /// The time without a row after which the response begins.
    pub(in crate::http) after: Duration,
    /// The time between two heartbeats.
    pub(in crate::http) every: Duration,
    /// Those of the format, if no content coding has them.
    of_format: Option<fn() -> Heartbeats>,
}

impl HeartbeatPlan {
    /// Returns the plan for a download, if there are heartbeats in its content coding or format.
    pub(in crate::http) fn of(
        prepared: &PreparedDownload,
        coding: Option<Coding>,
    ) -> Option<HeartbeatPlan> {
        let of_format = prepared.format.definition().heartbeats;
        let has_heartbeats = coding.is_some() || of_format.is_some();
        Some(HeartbeatPlan {
            after: prepared.heartbeat_after().filter(|_| has_heartbeats)?,
            every: prepared.heartbeat_every()?,
            of_format: of_format.filter(|_| coding.is_none()),
        })
    }
}

/// A download with its content coding and its log line. Dropping it cancels the query and writes the line.
pub(in crate::http) struct ResponseStream {
    source: Source,
    encoder: Option<ContentEncoder>,
    heartbeat_every: Option<Duration>,
    deadline: Instant,
    log: DownloadLog,
}

type Opening = Pin<Box<dyn Future<Output = Result<OpenedDownload, OpenError>> + Send>>;

enum Source {
    /// The query has no row yet.
    Opening {
        opening: Opening,
        /// The heartbeats of the format, and how many were sent.
        of_format: Option<(Heartbeats, u64)>,
    },
    Open(Box<Download>),
}

impl ResponseStream {
    /// Creates the body.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot allocate memory.
    pub(in crate::http) fn new(
        download: Download,
        coding: Option<Coding>,
        heartbeat_every: Option<Duration>,
        deadline: Instant,
        log: DownloadLog,
    ) -> Result<ResponseStream, StreamError> {
        ResponseStream::create(
            Source::Open(Box::new(download)),
            coding,
            heartbeat_every,
            deadline,
            log,
        )
    }

    /// Creates the body of a download whose query has no row yet; it begins with a heartbeat.
    ///
    /// # Errors
    /// Returns [`StreamError::Coding`] if the content coding cannot allocate memory.
    pub(in crate::http) fn begin(
        opening: Opening,
        coding: Option<Coding>,
        plan: &HeartbeatPlan,
        deadline: Instant,
        mut log: DownloadLog,
    ) -> Result<ResponseStream, StreamError> {
        log.begin_by_heartbeat();
        let source = Source::Opening {
            opening,
            of_format: plan.of_format.map(|heartbeats| (heartbeats(), 0)),
        };
        ResponseStream::create(source, coding, Some(plan.every), deadline, log)
    }

    fn create(
        source: Source,
        coding: Option<Coding>,
        heartbeat_every: Option<Duration>,
        deadline: Instant,
        mut log: DownloadLog,
    ) -> Result<ResponseStream, StreamError> {
        let encoder = coding.map(ContentEncoder::new).transpose();
        let encoder = encoder.map_err(StreamError::from);
        Ok(ResponseStream {
            encoder: encoder.inspect_err(|error| log.abort(error))?,
            source,
            heartbeat_every,
            deadline,
            log,
        })
    }

    /// Returns the next chunk as it is sent, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file. It is already logged.
    pub(in crate::http) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        self.log.set_waiting_for_rows(true);
        let next = self.chunk_or_heartbeat().await;
        self.log.set_waiting_for_rows(false);
        next.inspect_err(|error| self.log.abort(error))
    }

    async fn chunk_or_heartbeat(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        if let Some(beat) = self.heartbeat_before_rows().await? {
            self.log.record_heartbeat();
            return Ok(Some(beat));
        }
        let every = self.heartbeat_every.filter(|_| self.encoder.is_some());
        let Some(every) = every else {
            return self.encoded_chunk().await;
        };
        match timeout(every, self.encoded_chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => {
                let beat = self.coded_heartbeat()?;
                self.log.record_heartbeat();
                Ok(Some(beat))
            }
        }
    }

    /// Waits for the first row; returns a heartbeat if its time comes earlier, and `None` once the download is open.
    async fn heartbeat_before_rows(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let Source::Opening { opening, of_format } = &mut self.source else {
            return Ok(None);
        };
        let every = self.heartbeat_every.unwrap_or_default();
        // The response has begun because the time is up, so the first heartbeat does not wait. Without one the file
        // would lack the start that is sent with it.
        let opened = match self.log.heartbeats() {
            0 => None,
            _ => timeout(every, opening).await.ok(),
        };
        let Some(opened) = opened else {
            return Ok(Some(match of_format {
                Some((heartbeats, sent)) => next_beat(heartbeats, sent),
                None => self.coded_heartbeat()?,
            }));
        };
        let sent = of_format.as_ref().map(|(_, sent)| *sent);
        let download = opened?.encode(sent).map_err(StreamError::from)?;
        self.source = Source::Open(Box::new(download));
        Ok(None)
    }

    fn coded_heartbeat(&mut self) -> Result<Vec<u8>, StreamError> {
        let encoder = self.encoder.as_mut();
        let encoder = encoder.expect("without a content coding the format has heartbeats");
        Ok(encoder.heartbeat()?)
    }

    /// Waits for the next chunk. Dropping the future before it resolves loses nothing.
    async fn encoded_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let Source::Open(download) = &mut self.source else {
            unreachable!("the download is open");
        };
        let Some(chunk) = download.next_chunk().await? else {
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
        self.log.record_chunk(download);
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
        let deadline = self.deadline;
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

fn next_beat(heartbeats: &Heartbeats, sent: &mut u64) -> Vec<u8> {
    let is_first = *sent == 0;
    *sent += 1;
    match is_first {
        true => [&heartbeats.start, heartbeats.beat].concat(),
        false => heartbeats.beat.to_vec(),
    }
}

/// Ends a connection before the end of its body. The reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the download was aborted")]
pub(in crate::http) struct Aborted;
