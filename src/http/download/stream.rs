//! The body of a download's response.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::audit_log::DownloadLog;
use super::coded_file::CodedFile;
use super::expiring::{Expiring, Watched};
use super::outcome::{Outcome, StreamError};
use super::receipt::{self, PendingReceipt, Receipt};
use super::spooled_file::SpooledFile;
use crate::http::connection::exchange::{Exchange, SentFile};
use crate::http::state::AppState;
use crate::service::{Deadlines, OpenError};
use crate::spool::Spool;

/// A connection that accepts nothing for this long has a reader that is slower than the query.
const SLOW_AFTER: Duration = Duration::from_millis(20);

/// The chunks of a response with their log line. Dropping it writes the line, and cancels the query unless the file is
/// kept.
pub(in crate::http) struct ResponseStream {
    chunks: Chunks,
    deadlines: Deadlines,
    log: DownloadLog,
}

enum Chunks {
    /// The query waits for the reader.
    Direct(Box<CodedFile>),
    Spooled(SpooledFile),
}

impl ResponseStream {
    pub(in crate::http) fn new(
        file: CodedFile,
        deadlines: Deadlines,
        log: DownloadLog,
    ) -> ResponseStream {
        ResponseStream {
            chunks: Chunks::Direct(Box::new(file)),
            deadlines,
            log,
        }
    }

    /// Returns the next chunk as it is sent, never empty, or `None` once the file is complete.
    ///
    /// # Errors
    /// Returns the [`StreamError`] that truncates the file. It is already logged.
    pub(in crate::http) async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        self.log.set_waiting_for_rows(true);
        let next = match &mut self.chunks {
            Chunks::Direct(file) => file.next_chunk().await,
            Chunks::Spooled(file) => file.next_chunk().await,
        };
        self.log.set_waiting_for_rows(false);
        match &self.chunks {
            Chunks::Direct(file) => self.log.record(file.progress()),
            Chunks::Spooled(file) => self.log.record(file.progress()),
        }
        if let Ok(None) = next {
            self.log.set_outcome(Outcome::Complete);
        }
        next.inspect_err(|error| self.log.abort(error))
    }

    /// Records that a file whose chunks are all here is not sent.
    pub(in crate::http) fn refuse(&mut self, error: &OpenError) {
        self.log.refuse(error);
    }

    /// Returns the number of rows in the chunks so far.
    pub(in crate::http) fn rows(&self) -> u64 {
        match &self.chunks {
            Chunks::Direct(file) => file.progress().rows,
            Chunks::Spooled(file) => file.progress().rows,
        }
    }

    /// Returns the chunks as a stream for the response. An error resets the connection, so that no
    /// client accepts the truncated file as complete.
    fn into_stream(
        self,
        state: Data<AppState>,
        exchange: Rc<Exchange>,
    ) -> impl Stream<Item = Result<Bytes, Aborted>> {
        let (deadlines, watched_state) = (self.deadlines, state.clone());
        let waiting = Expiring::new(self, |body| watch(body, deadlines, watched_state));
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

    /// Sends the file, of this length if it is known.
    pub(in crate::http) fn respond(
        mut self,
        mut response: HttpResponseBuilder,
        state: Data<AppState>,
        exchange: Rc<Exchange>,
        length: Option<u64>,
    ) -> HttpResponse {
        match length {
            // The framework never polls such a body, so that the file would not seem to be sent.
            Some(0) => {
                self.log.set_outcome(Outcome::Complete);
                response.body(())
            }
            Some(length) => {
                response.body(SizedStream::new(length, self.into_stream(state, exchange)))
            }
            None => response.body(BodyStream::new(self.into_stream(state, exchange))),
        }
    }

    /// Sends the file in chunks, with its receipt as trailer fields. The framework sends none, so the chunks are framed here.
    pub(in crate::http) fn respond_with_receipt(
        self,
        mut response: HttpResponseBuilder,
        state: Data<AppState>,
        exchange: Rc<Exchange>,
        receipt: PendingReceipt,
    ) -> HttpResponse {
        for header in receipt::ANNOUNCEMENT {
            response.insert_header(header);
        }
        let chunks = with_trailers(self.into_stream(state, exchange), receipt);
        let mut response = response.body(BodyStream::new(chunks));
        response.head_mut().no_chunking(true);
        response
    }

    /// Lets the query run at its own speed.
    fn spool_to(self, spool: &Arc<Spool>) -> ResponseStream {
        let ResponseStream {
            chunks,
            deadlines,
            mut log,
        } = self;
        let chunks = match chunks {
            Chunks::Direct(file) if !file.is_kept() => {
                let report = log.obstacle_report();
                match SpooledFile::start(file, spool, deadlines.query, report) {
                    Ok(file) => {
                        log.count_spooled(file.spooled_bytes());
                        Chunks::Spooled(file)
                    }
                    Err(file) => Chunks::Direct(file),
                }
            }
            spooled => spooled,
        };
        ResponseStream {
            chunks,
            deadlines,
            log,
        }
    }

    /// Tells whether the query waits for the reader.
    fn holds_query(&self) -> bool {
        matches!(&self.chunks, Chunks::Direct(file) if file.holds_query())
    }

    /// Ends a download whose time is up, or that the shutdown aborts.
    fn expire(mut self) {
        self.log.expire();
    }
}

/// Frames a body as chunks (RFC 9112, section 7.1), the last one with the receipt as its trailer section. A body without
/// a receipt is truncated, and gets no last chunk.
fn with_trailers(
    body: impl Stream<Item = Result<Bytes, Aborted>>,
    receipt: PendingReceipt,
) -> impl Stream<Item = Result<Bytes, Aborted>> {
    stream::unfold(Some((Box::pin(body), receipt)), |open| async {
        let (mut body, receipt) = open?;
        Some(match body.next().await {
            Some(Ok(content)) => (Ok(receipt::chunk(&content)), Some((body, receipt))),
            Some(Err(aborted)) => (Err(aborted), None),
            None => (
                receipt.known().map(Receipt::last_chunk).ok_or(Aborted),
                None,
            ),
        })
    })
}

/// Watches a body whose reader accepts nothing at the moment.
async fn watch(body: Watched<ResponseStream>, deadlines: Deadlines, state: Data<AppState>) {
    let spool = async {
        if let Some(spool) = &state.spool {
            body.unused_for(SLOW_AFTER).await;
            while !body.replace(|body| body.spool_to(spool)) {
                body.unused_for(SLOW_AFTER).await;
            }
        }
        pending().await
    };
    let expiry = async {
        sleep_until(deadlines.query).await;
        // One in use ends at its next chunk, or becomes idle.
        while !body.is(ResponseStream::holds_query) && Instant::now() < deadlines.download {
            let later = Instant::now() + Duration::from_secs(1);
            sleep_until(later.min(deadlines.download)).await;
        }
    };
    tokio::select! {
        () = spool => {}
        () = expiry => {}
        () = state.lifecycle.aborted() => {}
    }
    body.expire().into_iter().for_each(ResponseStream::expire);
}

/// Ends a connection before the end of its body. The reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the download was aborted")]
pub(in crate::http) struct Aborted;
