//! The response of a download, before it begins: its headers, its log line, and how its file is sent.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::kept::KeptPart;
use super::parts::{choose_part, insert_digest, insert_validators, refuse_another, set_part};
use crate::http::connection::exchange::Exchange;
use crate::http::download::audit_log::DownloadLog;
use crate::http::download::coded_file::CodedFile;
use crate::http::download::file_upload::FileUpload;
use crate::http::download::kept_files::{FileId, Filling, KeptFiles, random_file_id};
use crate::http::download::outcome::{Outcome, StreamError};
use crate::http::download::receipt::{PendingReceipt, Receipt};
use crate::http::download::single_use;
use crate::http::download::stream::ResponseStream;
use crate::http::download::uploads::Turn;
use crate::http::request::continuation::Continuation;
use crate::http::response::content_encoding::Coding;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::{Deadlines, Measure, MeasuredFile, PreparedDownload, StoredFile};
use rowlink_link::VerifiedLink;

/// A response that has not begun.
pub(super) struct Answer {
    pub(super) state: Data<AppState>,
    pub(super) response: HttpResponseBuilder,
    pub(super) log: DownloadLog,
    pub(super) deadlines: Deadlines,
    /// The link whose use is not recorded yet, if it works once.
    pub(super) to_take: Option<VerifiedLink>,
    /// Whether the client asks for the receipt of the file, and does not have it yet.
    pub(super) wants_receipt: bool,
}

/// How a file is sent.
pub(super) struct Sending {
    pub(super) coding: Option<Coding>,
    pub(super) heartbeat_every: Option<Duration>,
    /// `None` if it is not kept.
    pub(super) kept: Option<NewFile>,
}

/// Names the file of a response that is to be kept.
pub(super) struct Keeper {
    files: Arc<KeptFiles>,
    link: VerifiedLink,
    /// `None` if it is not stored.
    upload: Option<FileUpload>,
    turn: Option<Turn>,
}

/// A file that will be kept.
pub(super) struct NewFile {
    files: Arc<KeptFiles>,
    id: FileId,
    /// If it was measured.
    length: Option<u64>,
    entity_tag: String,
    upload: Option<FileUpload>,
    _turn: Option<Turn>,
}

impl Keeper {
    /// Returns the keeper of a download, if the spool keeps files or this one may be stored.
    pub(super) fn of(
        state: &Data<AppState>,
        prepared: &PreparedDownload,
        stored: Option<StoredFile>,
        turn: Option<Turn>,
    ) -> Option<Keeper> {
        let files = state.kept_files.clone()?;
        let is_used = files.keeps() || stored.is_some();
        is_used.then(|| Keeper {
            files,
            link: prepared.link.clone(),
            upload: stored.map(|stored| FileUpload::new(state, prepared, stored)),
            turn,
        })
    }

    /// Returns the file. What identifies it is its hash if it was measured, else random. A file with the same hash may be
    /// kept already, and without randomness none is.
    pub(super) fn file(self, state: &AppState, measure: Option<Measure>) -> Option<NewFile> {
        let id = match measure {
            Some(measure) => measure.sha256,
            None => random_file_id().ok()?,
        };
        let is_new = !self.files.has(id) || self.upload.is_some();
        is_new.then(|| NewFile {
            id,
            length: measure.map(|measure| measure.bytes),
            entity_tag: state.service.entity_tag(&self.link, id),
            files: self.files,
            upload: self.upload,
            _turn: self.turn,
        })
    }
}

impl Answer {
    /// Records the use of a link that works once. From here on the response is a file: an error does not use the link.
    ///
    /// # Errors
    /// Returns the problem of a link that was used meanwhile, or whose use may not be recorded.
    pub(super) async fn take_use(&mut self) -> Result<(), Problem> {
        let Some(link) = self.to_take.take() else {
            return Ok(());
        };
        let taken = single_use::take(&self.state, &link).await;
        Ok(taken.inspect_err(|error| self.log.refuse(error))?)
    }

    /// Returns the part of a kept file with which the client continues, and its length; `None` if another file is sent.
    ///
    /// # Errors
    /// Returns the problem that refuses the request.
    pub(super) async fn kept_part(
        &mut self,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        continuation: Option<&Continuation>,
    ) -> Result<Option<(CodedFile, u64)>, Problem> {
        let Some(continuation) = continuation else {
            return Ok(None);
        };
        let part = KeptPart::find(&self.state, request, prepared, continuation).await;
        let Some(part) = self.unless_refused(part)? else {
            return Ok(None);
        };
        self.take_use().await?;
        let file = part.into_file(&mut self.response, request, &mut self.log);
        Ok(Some(file.inspect_err(|error| self.log.abort(error))?))
    }

    /// Checks that the client accepts a new file, unless only a measure tells whether it is the one that it has begun.
    ///
    /// # Errors
    /// Returns the problem that refuses the request.
    pub(super) fn check_another(
        &mut self,
        prepared: &PreparedDownload,
        continuation: Option<&Continuation>,
    ) -> Result<(), Problem> {
        let may_be_begun = prepared.is_measured() && prepared.begun.file_id.is_some();
        match continuation.filter(|_| !may_be_begun) {
            Some(continuation) => self.unless_refused(refuse_another(continuation)),
            None => Ok(()),
        }
    }

    pub(super) fn set_coding(&mut self, coding: Option<Coding>) {
        if let Some(coding) = coding {
            let header = (header::CONTENT_ENCODING, coding.header());
            self.response.insert_header(header);
        }
    }

    /// Sets the headers of a measured file; returns the part with which the client continues, or `None` for all of it.
    ///
    /// # Errors
    /// Returns the problem that refuses the request.
    pub(super) fn part_of_measured(
        &mut self,
        request: &HttpRequest,
        file: &MeasuredFile,
        continuation: Option<&Continuation>,
    ) -> Result<Option<Range<u64>>, Problem> {
        insert_validators(&mut self.response, &file.entity_tag);
        insert_digest(&mut self.response, file.measure.sha256, request.headers());
        let length = file.measure.bytes;
        let range = self.unless_refused(choose_part(length, file.is_begun, continuation))?;
        if let Some(range) = &range {
            set_part(&mut self.response, range, Some(length));
            self.log.resume_from(range.start);
        }
        self.insert_receipt(range.is_none().then_some(Receipt {
            rows: file.rows,
            sha256: file.measure.sha256,
        }));
        Ok(range)
    }

    /// Sets the headers with a receipt that is known before the file is sent, if the client asks for it; `None` if the
    /// response has only a part of the file.
    pub(super) fn insert_receipt(&mut self, receipt: Option<Receipt>) {
        if std::mem::take(&mut self.wants_receipt) {
            for field in receipt.into_iter().flat_map(Receipt::fields) {
                self.response.insert_header(field);
            }
        }
    }

    /// Returns a file whose receipt is known at its end, with that receipt, if the client asks for it.
    fn with_receipt(&self, file: CodedFile) -> (CodedFile, Option<PendingReceipt>) {
        if !self.wants_receipt {
            return (file, None);
        }
        let receipt = PendingReceipt::default();
        (file.with_receipt(receipt.clone()), Some(receipt))
    }

    pub(super) fn unless_refused<T>(&mut self, result: Result<T, Problem>) -> Result<T, Problem> {
        result.inspect_err(|problem| self.log.set_outcome(outcome_of(problem)))
    }

    /// Sets the headers of a file; returns it as it is sent: from the spool, if it is kept. `create` returns it with a
    /// content coding.
    ///
    /// # Errors
    /// Returns the [`StreamError`] if it cannot be sent.
    pub(super) fn file(
        &mut self,
        sending: Sending,
        create: impl FnOnce(Option<Coding>) -> Result<CodedFile, StreamError>,
    ) -> Result<CodedFile, StreamError> {
        let coding = sending.coding;
        self.set_coding(coding);
        let file = match sending.kept {
            None => create(coding),
            // A client continues it without the content coding.
            Some(new) => {
                create(None).and_then(|file| self.keep(file, coding, new, sending.heartbeat_every))
            }
        };
        file.inspect_err(|error| self.log.abort(error))
    }

    /// Keeps a file; returns it as it is sent.
    fn keep(
        &mut self,
        file: CodedFile,
        coding: Option<Coding>,
        new: NewFile,
        heartbeat_every: Option<Duration>,
    ) -> Result<CodedFile, StreamError> {
        let filling = Filling {
            file,
            coding,
            length: new.length,
            upload: new.upload,
        };
        let (deadline, report) = (self.deadlines.query, self.log.obstacle_report());
        let abort = self.state.lifecycle.abort_token();
        let query = self.log.hand_over_query();
        let kept = new
            .files
            .keep(new.id, filling, deadline, abort, report, query)?;
        insert_validators(&mut self.response, &new.entity_tag);
        self.log.count_spooled(kept.spooled_bytes);
        CodedFile::of_kept(kept.reader, coding, heartbeat_every)
    }

    /// Sends a file, of this length if it is known.
    pub(super) fn stream(
        self,
        request: &HttpRequest,
        file: CodedFile,
        length: Option<u64>,
    ) -> HttpResponse {
        let exchange = Exchange::of(request);
        let (file, receipt) = match length {
            // Its body has no trailer section.
            Some(_) => (file, None),
            None => self.with_receipt(file),
        };
        let body = ResponseStream::new(file, self.deadlines, self.log);
        match receipt {
            Some(receipt) => {
                body.respond_with_receipt(self.response, self.state, exchange, receipt)
            }
            None => body.respond(self.response, self.state, exchange, length),
        }
    }

    /// Sends a file whose rows are all in memory, and stores it if its keeper does. With its length, truncation is detected
    /// through any proxy.
    ///
    /// # Errors
    /// Returns the problem of the first error.
    pub(super) async fn collect(
        mut self,
        file: CodedFile,
        keeper: Option<Keeper>,
    ) -> Result<HttpResponse, Problem> {
        let (file, receipt) = self.with_receipt(file);
        let mut body = ResponseStream::new(file, self.deadlines, self.log);
        let mut whole = Vec::new();
        while let Some(chunk) = body.next_chunk().await? {
            whole.extend(chunk);
        }
        if let Some(link) = &self.to_take {
            let taken = single_use::take(&self.state, link).await;
            taken.inspect_err(|error| body.refuse(error))?;
        }
        if let Some(keeper) = keeper
            && let Some(upload) = keeper.upload
        {
            let uploads = &keeper.files.uploads;
            upload.begin_whole(uploads, &whole, body.rows(), keeper.turn);
        }
        let receipt = receipt.and_then(|receipt| receipt.known());
        for field in receipt.into_iter().flat_map(Receipt::fields) {
            self.response.insert_header(field);
        }
        Ok(self.response.body(whole))
    }
}

/// Returns how a download ends that a problem refuses.
pub(super) fn outcome_of(problem: &Problem) -> Outcome {
    match problem.status() {
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
            Outcome::NotContinued
        }
        _ => Outcome::Refused,
    }
}
