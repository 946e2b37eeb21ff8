//! `GET`, `HEAD` and `POST /v1/files/{export}?…`: downloads the stored documents of a signed link: one file, or an archive.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;

use super::accept::{Target, accept, accept_confirmed};
use super::answer::outcome_of;
use super::confirmation;
use super::download::{content_disposition, file_response};
use super::parts::{
    choose_part, insert_digest, insert_validators, late_range, may_tag_head, refuse_another,
    set_part,
};
use super::stored::redirect_to;
use crate::http::connection::exchange::Exchange;
use crate::http::download::archive_reader::ArchiveReader;
use crate::http::download::audit_log::{DownloadLog, ServedBy};
use crate::http::download::coded_file::CodedFile;
use crate::http::download::object_reader::ObjectReader;
use crate::http::download::outcome::Outcome;
use crate::http::download::single_use;
use crate::http::download::stream::{Aborted, ResponseStream};
use crate::http::request::continuation::Continuation;
use crate::http::request::json_body::discard_body;
use crate::http::response::problem::{self, Problem};
use crate::http::state::AppState;
use crate::service::{
    Deadlines, DocumentError, Documents, FoundDocument, PreparedDocuments, QuotaPermit,
    ZIP_MEDIA_TYPE,
};
use crate::source::causes;
use crate::store::{MediaHeaders, StoreError};

/// Returns the documents, or only the head of their response.
pub async fn documents(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    match *request.method() {
        Method::GET => get(request, state).await,
        Method::HEAD => head(request, state).await,
        Method::POST => post(request, state, payload).await,
        _ => Err(problem::method_not_allowed("GET, HEAD, POST")),
    }
}

async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let continuation = Continuation::of(request.headers()).map_err(late_range)?;
    let entity_tags = continuation.as_ref().map(|it| it.entity_tags.as_str());
    let mut prepared: Box<PreparedDocuments> = match accept(&request, &state, entity_tags).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    let continuation = continuation.as_ref();
    let PreparedDocuments { link, begun, .. } = &mut *prepared;
    single_use::check_or_continue(&state, link, begun, continuation).await?;
    if let Some(page) = confirmation::page_of_documents(&request, &state, &prepared)? {
        return Ok(page);
    }
    Box::pin(send(request, state, *prepared, continuation)).await
}

/// Sends the documents of a link that needs confirmation: this is it.
async fn post(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let prepared = accept_confirmed::<PreparedDocuments>(&request, &state)?;
    discard_body(payload).await?;
    single_use::check(&state, &prepared.link).await?;
    Box::pin(send(request, state, *prepared, None)).await
}

/// Returns the headers of the documents. Runs the query, which knows their names.
async fn head(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let prepared: Box<PreparedDocuments> = match accept(&request, &state, None).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    single_use::check(&state, &prepared.link).await?;
    // A program that tries every link runs no query.
    confirmation::refuse_unconfirmed(prepared.link.link())?;
    let service = &state.service;
    let _permit = service.acquire_for_documents(&prepared)?;
    let deadlines = service.deadlines_of_documents(&prepared);
    let (mut response, length) = match service.find_documents(&prepared, deadlines.query).await? {
        Documents::File(file) => (
            file_head(&request, &state, &prepared, &file),
            Some(file.bytes()),
        ),
        Documents::Archive { length, .. } => (archive_head(&prepared), length),
    };
    let no_chunks = stream::empty::<Result<Bytes, Aborted>>();
    Ok(match length {
        Some(length) => response.body(SizedStream::new(length, no_chunks)),
        None => response.body(BodyStream::new(no_chunks)),
    })
}

/// Returns a response with the headers of a document.
fn file_head(
    request: &HttpRequest,
    state: &AppState,
    prepared: &PreparedDocuments,
    file: &FoundDocument,
) -> HttpResponseBuilder {
    let content_type = HeaderValue::try_from(&file.document.content_type);
    let content_type = content_type.expect("its characters were checked");
    let filename = prepared.file_name(&file.document);
    let mut response = file_response(&filename, content_type, prepared.link.link().id);
    let entity_tag = state.service.entity_tag(&prepared.link, file.id());
    if request.method() != Method::HEAD || may_tag_head(prepared.link.link()) {
        insert_validators(&mut response, &entity_tag);
    }
    if let Some(sha256) = file.document.sha256 {
        insert_digest(&mut response, sha256, request.headers());
    }
    response
}

/// Returns a response with the headers of an archive.
fn archive_head(prepared: &PreparedDocuments) -> HttpResponseBuilder {
    let content_type = HeaderValue::from_static(ZIP_MEDIA_TYPE);
    let link_id = prepared.link.link().id;
    file_response(&prepared.archive_name(), content_type, link_id)
}

/// Runs the query, and sends what it lists.
async fn send(
    request: HttpRequest,
    state: Data<AppState>,
    prepared: PreparedDocuments,
    continuation: Option<&Continuation>,
) -> Result<HttpResponse, Problem> {
    let (link, time) = (prepared.link.link(), prepared.connection_time());
    let mut log = DownloadLog::start(&request, &state, link, time);
    let service = &state.service;
    let permit = service.acquire_for_documents(&prepared);
    let permit = permit.inspect_err(|error| log.refuse(error))?;
    let deadlines = service.deadlines_of_documents(&prepared);
    let found = service.find_documents(&prepared, deadlines.query).await;
    let found = found.inspect_err(|error| {
        log.refuse(error);
        if matches!(error, DocumentError::Store(_)) {
            state.metrics.store_errors.inc();
        }
    })?;
    let reply = Reply {
        request,
        state,
        prepared,
        log,
        deadlines,
        permit,
    };
    match found {
        Documents::File(file) => reply.send_file(*file, continuation).await,
        Documents::Archive {
            documents,
            store,
            length,
        } => {
            let archive =
                |permit, bytes_max| ArchiveReader::new(store, documents, bytes_max, permit);
            reply.send_archive(archive, length, continuation).await
        }
    }
}

/// A response with documents that has not begun.
struct Reply {
    request: HttpRequest,
    state: Data<AppState>,
    prepared: PreparedDocuments,
    log: DownloadLog,
    deadlines: Deadlines,
    permit: QuotaPermit,
}

impl Reply {
    /// Sends one document, or leads to it.
    async fn send_file(
        mut self,
        file: FoundDocument,
        continuation: Option<&Continuation>,
    ) -> Result<HttpResponse, Problem> {
        let is_begun = self.prepared.begun.file_id == Some(file.id());
        self.check_begun(is_begun)?;
        let filename = self.prepared.file_name(&file.document);
        let may_redirect = match continuation {
            None => true,
            // Otherwise the client could join parts of two files.
            Some(continuation) => file.has_store_tag(&continuation.entity_tags),
        };
        if may_redirect && let Some(url) = self.presigned_url(&file, &filename).await {
            self.log.set_documents_served_by(ServedBy::Redirect);
            return Ok(redirect_to(url, &mut self.log));
        }
        let length = file.bytes();
        let range = choose_part(length, is_begun, continuation);
        let range = range.inspect_err(|problem| self.log.set_outcome(outcome_of(problem)))?;
        let mut response = file_head(&self.request, &self.state, &self.prepared, &file);
        if let Some(range) = &range {
            set_part(&mut response, range, Some(length));
            self.log.resume_from(range.start);
        }
        let bytes = range.clone().unwrap_or(0..length);
        let chunks = file.read(bytes.clone()).await.inspect_err(|error| {
            self.report(error);
            self.log.set_outcome(Outcome::StoreFailed);
        })?;
        self.take_use().await?;
        let sha256 = file.document.sha256.filter(|_| range.is_none());
        let length = bytes.end - bytes.start;
        let object = file.document.object;
        let file = move |permit| {
            let reader = ObjectReader::new(chunks, length, Some(permit));
            CodedFile::of_object(reader.with_sha256(&object, sha256))
        };
        Ok(self.stream(response, file, Some(length)))
    }

    /// Returns the URL of a large document in a store that signs URLs, unless the link restricts who may follow it.
    async fn presigned_url(&self, file: &FoundDocument, filename: &str) -> Option<String> {
        let link = self.prepared.link.link();
        if file.bytes() <= self.prepared.proxy_up_to() || !link.conditions.may_redirect() {
            return None;
        }
        let headers = MediaHeaders {
            content_type: file.document.content_type.clone(),
            content_disposition: content_disposition(filename),
        };
        let lifetime = self.state.service.presigned_for(&self.prepared);
        let link_id = link.id.to_string();
        let parameters = [("rowlink-link", link_id.as_str())];
        let signed = file.presigned_url(&headers, lifetime, &parameters).await;
        signed.unwrap_or_else(|error| {
            self.report(&error);
            None
        })
    }

    /// Sends the archive of all documents.
    async fn send_archive(
        mut self,
        archive: impl FnOnce(QuotaPermit, Option<u64>) -> ArchiveReader,
        length: Option<u64>,
        continuation: Option<&Continuation>,
    ) -> Result<HttpResponse, Problem> {
        self.check_begun(false)?;
        // No archive is continued: none has an entity tag.
        let accepted = continuation.map_or(Ok(()), refuse_another);
        accepted.inspect_err(|problem| self.log.set_outcome(outcome_of(problem)))?;
        self.take_use().await?;
        let response = archive_head(&self.prepared);
        let bytes_max = self.prepared.bytes_max();
        let file = |permit| CodedFile::of_archive(archive(permit, bytes_max));
        Ok(self.stream(response, file, length))
    }

    fn check_begun(&mut self, is_begun: bool) -> Result<(), Problem> {
        let checked = match is_begun {
            true => Ok(()),
            false => self.prepared.begun.refuse_another(),
        };
        Ok(checked.inspect_err(|error| self.log.refuse(error))?)
    }

    /// Records the use of a link that works once.
    async fn take_use(&mut self) -> Result<(), Problem> {
        let PreparedDocuments { link, begun, .. } = &self.prepared;
        if !begun.must_take_use(link.link()) {
            return Ok(());
        }
        let taken = single_use::take(&self.state, link).await;
        Ok(taken.inspect_err(|error| self.log.refuse(error))?)
    }

    /// Logs and counts that a store has failed.
    fn report(&self, error: &StoreError) {
        let (link_id, cause) = (self.log.link_id(), causes(error));
        tracing::warn!(%link_id, cause, "the store of a document cannot be used");
        self.state.metrics.store_errors.inc();
    }

    /// Sends a file, of this length if it is known.
    fn stream(
        mut self,
        response: HttpResponseBuilder,
        file: impl FnOnce(QuotaPermit) -> CodedFile,
        length: Option<u64>,
    ) -> HttpResponse {
        self.log.set_documents_served_by(ServedBy::Store);
        let file = file(self.permit);
        let body = ResponseStream::new(file, self.deadlines, self.log);
        body.respond(response, self.state, Exchange::of(&self.request), length)
    }
}
