//! Responses with a file from the store: a redirect to it, or its bytes.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use tokio::time::timeout;

use super::answer::Answer;
use super::download::{LINK_ID, content_disposition};
use super::parts::{choose_part, insert_digest, insert_validators, may_have_decoded, set_part};
use crate::http::download::audit_log::{DownloadLog, ServedBy};
use crate::http::download::coded_file::CodedFile;
use crate::http::download::object_reader::ObjectReader;
use crate::http::download::outcome::Outcome;
use crate::http::download::receipt::Receipt;
use crate::http::download::uploads::{RunningUpload, Turn};
use crate::http::request::continuation::{Continuation, Otherwise};
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::id_value;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::{FoundFile, PreparedDownload, QuotaPermit, StoredFile};
use crate::source::causes;
use crate::store::StoreError;

/// Returns the file of a download in the store, if it uses one.
pub(super) fn stored_file(state: &AppState, prepared: &PreparedDownload) -> Option<StoredFile> {
    let may_be_stored = state.service.may_be_stored(prepared);
    let disposition = may_be_stored.then(|| content_disposition(&prepared.filename));
    state.service.stored_file(prepared, disposition?)
}

/// A file in the store that may be sent.
pub(super) struct StoredPart {
    stored: StoredFile,
    found: FoundFile,
    /// Whether the client has begun this file.
    begun: Option<Begun>,
}

/// What the client has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// The file as a stream from its query.
    Stream,
    /// The file from the store, or one that was measured. Its entity tag holds the hash.
    Stored,
}

impl StoredPart {
    /// Returns the file that a link may have; `None` if there is none, or the request to the store fails: then a query returns
    /// it.
    pub(super) async fn find(
        state: &AppState,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        stored: &StoredFile,
    ) -> Option<StoredPart> {
        let found = stored.find().await;
        let found = found.unwrap_or_else(|error| {
            report(state, prepared, &error);
            None
        })?;
        let begun = match prepared.begun.file_id {
            Some(id) if id == found.record.sha256 => Some(Begun::Stored),
            // A stream may have had a content coding.
            Some(id) if id == found.record.file_id && may_have_decoded(request, prepared) => {
                Some(Begun::Stream)
            }
            _ => None,
        };
        (begun.is_some() || !prepared.begun.is_only()).then(|| StoredPart {
            stored: stored.clone(),
            found,
            begun,
        })
    }

    /// Returns its length in bytes and its entity tag.
    pub(super) fn validators(
        &self,
        state: &AppState,
        prepared: &PreparedDownload,
    ) -> (u64, String) {
        let record = &self.found.record;
        let entity_tag = state.service.entity_tag(&prepared.link, record.sha256);
        (record.bytes, entity_tag)
    }
}

/// The response with a file that is in the store, or is being uploaded.
pub(super) enum Known {
    Sent(HttpResponse),
    /// There is none: a query must return it. With the turn to begin it.
    Nothing(Box<Answer>, Option<Turn>),
}

impl Answer {
    /// Returns the response with a file that is in the store, or is being uploaded here.
    ///
    /// # Errors
    /// Returns the problem that refuses the request.
    pub(super) async fn send_known(
        mut self,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        stored: &StoredFile,
        coding: Option<Coding>,
        continuation: Option<&Continuation>,
    ) -> Result<Known, Problem> {
        let mut turn = None;
        loop {
            let part = StoredPart::find(&self.state, request, prepared, stored).await;
            if let Some(part) = part {
                let sent = self.send_stored(request, prepared, part, continuation);
                return Ok(match sent.await? {
                    Ok(response) => Known::Sent(response),
                    Err(answer) => Known::Nothing(Box::new(answer), turn),
                });
            }
            self.check_another(prepared, continuation)?;
            if let Some(file) = self.running_file(prepared, stored, coding).await? {
                self.take_use().await?;
                return Ok(Known::Sent(self.stream(request, file, None)));
            }
            let Some(files) = self.state.kept_files.clone().filter(|_| turn.is_none()) else {
                return Ok(Known::Nothing(Box::new(self), turn));
            };
            let has_waited;
            (turn, has_waited) = files.uploads.turn(stored.name()).await;
            // The request that had the turn before has begun the file.
            if !has_waited || turn.is_none() {
                return Ok(Known::Nothing(Box::new(self), turn));
            }
        }
    }

    /// Returns the response with a file of the store, or the answer itself if it cannot be read.
    ///
    /// # Errors
    /// Returns the problem that refuses the request.
    async fn send_stored(
        mut self,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        part: StoredPart,
        continuation: Option<&Continuation>,
    ) -> Result<Result<HttpResponse, Answer>, Problem> {
        let StoredPart {
            stored,
            found,
            begun,
        } = part;
        let receipt = Receipt {
            rows: found.record.rows,
            sha256: found.record.sha256,
        };
        let may_redirect = match continuation {
            None => true,
            // Some stores send a part of another file than the client has begun.
            Some(continuation) => found.has_store_tag(&continuation.entity_tags),
        };
        if may_redirect {
            match stored.presigned_url(&found, prepared.link.link()).await {
                Ok(Some(url)) => return Ok(Ok(self.redirect(url, receipt))),
                Ok(None) => {}
                Err(error) => report(&self.state, prepared, &error),
            }
        }
        let length = found.record.bytes;
        let range = choose_part(length, begun.is_some(), continuation);
        let range = self.unless_refused(range)?;
        let bytes = range.clone().unwrap_or(0..length);
        let permit = self.permit(prepared, range.is_some())?;
        let chunks = match stored.read(&found, bytes.clone()).await {
            Ok(chunks) => chunks,
            Err(error) => {
                report(&self.state, prepared, &error);
                return Ok(Err(self));
            }
        };
        self.take_use().await?;
        // Its entity tag tells that the client got it with its length.
        let entity_tag = match begun {
            Some(Begun::Stream) => found.record.file_id,
            Some(Begun::Stored) | None => found.record.sha256,
        };
        let entity_tag = self.state.service.entity_tag(&prepared.link, entity_tag);
        insert_validators(&mut self.response, &entity_tag);
        insert_digest(&mut self.response, found.record.sha256, request.headers());
        if let Some(range) = &range {
            // As for a kept file: Firefox requires what the first response said, and sends `If-Match`.
            let is_length_told = begun == Some(Begun::Stored)
                || continuation.is_some_and(|it| it.otherwise == Otherwise::WholeFile);
            set_part(
                &mut self.response,
                range,
                Some(length).filter(|_| is_length_told),
            );
            self.log.resume_from(range.start);
        }
        self.insert_receipt(range.is_none().then_some(receipt));
        self.log.set_served_by(ServedBy::Store);
        let length = bytes.end - bytes.start;
        let file = CodedFile::of_object(ObjectReader::new(chunks, length, Some(permit)));
        Ok(Ok(self.stream(request, file, Some(length))))
    }

    /// Acquires the permit of a download that no query has.
    ///
    /// # Errors
    /// Returns the problem of a limit.
    fn permit(
        &mut self,
        prepared: &PreparedDownload,
        is_continued: bool,
    ) -> Result<QuotaPermit, Problem> {
        let service = &self.state.service;
        let checked = match is_continued {
            true => service.check_continuation(prepared),
            false => Ok(()),
        };
        let permit = checked.and_then(|()| service.acquire(prepared));
        Ok(permit.inspect_err(|error| self.log.refuse(error))?)
    }

    /// Returns the file that another request has begun here and that is being uploaded; `None` if there is none, or its query
    /// fails before its first row.
    ///
    /// # Errors
    /// Returns the problem of a limit.
    async fn running_file(
        &mut self,
        prepared: &PreparedDownload,
        stored: &StoredFile,
        coding: Option<Coding>,
    ) -> Result<Option<CodedFile>, Problem> {
        let files = self.state.kept_files.as_ref();
        let running = files.and_then(|files| files.uploads.find(stored.name()));
        // With an exact length, it is measured first.
        let running = running.filter(|_| !prepared.is_measured() && !prepared.begun.is_only());
        let Some(RunningUpload { id, file, .. }) = running else {
            return Ok(None);
        };
        // An error before the first row is a status, of a query of its own.
        let has_rows = file.is_longer_than(0);
        let has_rows = match prepared.heartbeat_after().filter(|_| coding.is_some()) {
            None => has_rows.await,
            Some(after) => timeout(after, has_rows).await.unwrap_or(true),
        };
        if !has_rows {
            return Ok(None);
        }
        let permit = match file.share_permit() {
            Some(permit) => permit,
            None => self.permit(prepared, false)?.into(),
        };
        let Some(reader) = file.reader(0..u64::MAX, permit) else {
            return Ok(None);
        };
        self.log.set_served_by(ServedBy::Spool);
        let entity_tag = self.state.service.entity_tag(&prepared.link, id);
        insert_validators(&mut self.response, &entity_tag);
        if coding.is_some() {
            file.set_coded();
        }
        self.set_coding(coding);
        let file = CodedFile::of_kept(reader, coding, prepared.heartbeat_every());
        Ok(Some(file.inspect_err(|error| self.log.abort(error))?))
    }

    /// Returns the response that leads to a presigned URL, with the receipt, which the store does not send.
    fn redirect(mut self, url: String, receipt: Receipt) -> HttpResponse {
        self.log.set_served_by(ServedBy::Redirect);
        let mut response = redirect_to(url, &mut self.log);
        if self.wants_receipt {
            for (name, value) in receipt.fields() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Returns the response that leads to a presigned URL, and ends the log line.
pub(super) fn redirect_to(url: String, log: &mut DownloadLog) -> HttpResponse {
    log.set_outcome(Outcome::Redirected);
    // See Other: the file is fetched by a GET (RFC 9110, section 15.4.4).
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, url))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((LINK_ID, id_value(log.link_id())))
        .finish()
}

/// Logs and counts that the store could not be used for a download.
fn report(state: &AppState, prepared: &PreparedDownload, error: &StoreError) {
    let (link_id, cause) = (prepared.link.link().id, causes(error));
    tracing::warn!(%link_id, cause, "the store cannot be used for a download");
    state.metrics.store_errors.inc();
}
