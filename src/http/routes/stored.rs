//! Responses with a file from the store: a redirect to it, or its bytes.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;

use super::answer::Answer;
use super::download::LINK_ID;
use super::parts::{choose_part, insert_digest, insert_validators, set_part};
use crate::http::download::audit_log::ServedBy;
use crate::http::download::coded_file::CodedFile;
use crate::http::download::object_reader::ObjectReader;
use crate::http::download::outcome::Outcome;
use crate::http::download::uploads::Turn;
use crate::http::request::continuation::Continuation;
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::id_value;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::{FoundFile, PreparedDownload, StoredFile};
use crate::source::causes;
use crate::store::StoreError;

/// A file in the store that may be sent.
pub(super) struct StoredPart {
    stored: StoredFile,
    found: FoundFile,
    /// Whether the client has begun this file.
    is_begun: bool,
}

impl StoredPart {
    /// Returns the file that a link may have; `None` if there is none, or the store does not tell: then a query returns it.
    pub(super) async fn find(
        state: &AppState,
        prepared: &PreparedDownload,
        stored: &StoredFile,
    ) -> Option<StoredPart> {
        let found = stored.find().await;
        let found = found.unwrap_or_else(|error| {
            report(state, prepared, &error);
            None
        })?;
        let is_begun = prepared.begun == Some(found.record.file_id);
        // An expired link sends only the file that was begun.
        (is_begun || !prepared.has_expired()).then(|| StoredPart {
            stored: stored.clone(),
            found,
            is_begun,
        })
    }

    /// Returns its length in bytes and its entity tag.
    pub(super) fn validators(
        &self,
        state: &AppState,
        prepared: &PreparedDownload,
    ) -> (u64, String) {
        let entity_tag = state
            .service
            .entity_tag(&prepared.link, self.found.record.file_id);
        (self.found.record.bytes, entity_tag)
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
            if let Some(part) = StoredPart::find(&self.state, prepared, stored).await {
                let sent = self.send_stored(request, prepared, part, continuation);
                return Ok(match sent.await? {
                    Ok(response) => Known::Sent(response),
                    Err(answer) => Known::Nothing(Box::new(answer), turn),
                });
            }
            self.check_another(prepared, continuation)?;
            if let Some(file) = self.running_file(prepared, stored, coding)? {
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
    pub(super) async fn send_stored(
        mut self,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        part: StoredPart,
        continuation: Option<&Continuation>,
    ) -> Result<Result<HttpResponse, Answer>, Problem> {
        let StoredPart {
            stored,
            found,
            is_begun,
        } = part;
        let may_redirect = match continuation {
            None => true,
            // Some stores send a part of another file than the client has begun.
            Some(continuation) => found.has_store_tag(&continuation.entity_tags),
        };
        if may_redirect {
            match stored.presigned_url(&found, prepared.link.link()).await {
                Ok(Some(url)) => return Ok(Ok(self.redirect(url))),
                Ok(None) => {}
                Err(error) => report(&self.state, prepared, &error),
            }
        }
        let length = found.record.bytes;
        let range = self.unless_refused(choose_part(length, is_begun, continuation))?;
        let bytes = range.clone().unwrap_or(0..length);
        let permit = self.state.service.acquire(prepared);
        let permit = permit.inspect_err(|error| self.log.refuse(error))?;
        let chunks = match stored.read(&found, bytes.clone()).await {
            Ok(chunks) => chunks,
            Err(error) => {
                report(&self.state, prepared, &error);
                return Ok(Err(self));
            }
        };
        let entity_tag = self
            .state
            .service
            .entity_tag(&prepared.link, found.record.file_id);
        insert_validators(&mut self.response, &entity_tag);
        insert_digest(&mut self.response, found.record.sha256, request.headers());
        if let Some(range) = &range {
            set_part(&mut self.response, range, Some(length));
            self.log.resume_from(range.start);
        }
        self.log.set_served_by(ServedBy::Store);
        let length = bytes.end - bytes.start;
        let file = CodedFile::of_object(ObjectReader::new(chunks, length, permit));
        Ok(Ok(self.stream(request, file, Some(length))))
    }

    /// Returns the response that leads to a presigned URL.
    fn redirect(mut self, url: String) -> HttpResponse {
        self.log.set_served_by(ServedBy::Redirect);
        self.log.set_outcome(Outcome::Redirected);
        let link_id = (LINK_ID, id_value(self.log.link_id()));
        // See Other: the file is fetched by a GET (RFC 9110, section 15.4.4).
        HttpResponse::SeeOther()
            .insert_header((header::LOCATION, url))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header(link_id)
            .finish()
    }
}

/// Logs and counts that the store could not be used for a download.
pub(super) fn report(state: &AppState, prepared: &PreparedDownload, error: &StoreError) {
    let (link_id, cause) = (prepared.link.link().id, causes(error));
    tracing::warn!(%link_id, cause, "the store cannot be used for a download");
    state.metrics.store_errors.inc();
}
