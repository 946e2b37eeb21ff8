//! Requests that continue a file which is kept in the spool.

use std::ops::Range;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponseBuilder};
use tokio::time::timeout;

use super::parts::{choose_part, has_decoded, insert_digest, insert_validators, set_part};
use crate::http::download::audit_log::{DownloadLog, ServedBy};
use crate::http::download::coded_file::CodedFile;
use crate::http::download::kept_files::KeptReader;
use crate::http::download::outcome::StreamError;
use crate::http::request::continuation::{Continuation, Otherwise};
use crate::http::response::problem::{Problem, unavailable};
use crate::http::state::AppState;
use crate::service::PreparedDownload;

/// How long a client waits that continues a file whose query still runs: the file's length is not known before. Proxies
/// wait longer for the head of a response.
const QUERY_WAIT: Duration = Duration::from_secs(20);

/// The part of a kept file with which a client continues.
pub(super) struct KeptPart {
    reader: KeptReader,
    /// `None` for the whole file.
    range: Option<Range<u64>>,
    /// That of the whole file.
    length: u64,
    /// Whether the response says it.
    is_length_told: bool,
    entity_tag: String,
    /// Of the whole file, if it was measured.
    sha256: Option<[u8; 32]>,
}

impl KeptPart {
    /// Returns the part that a request asks for, once the file's query has ended; `None` if the file is not kept here.
    ///
    /// # Errors
    /// Returns the problem of a part that the file does not have, of a limit, or of a query that takes long.
    pub(super) async fn find(
        state: &AppState,
        request: &HttpRequest,
        prepared: &PreparedDownload,
        continuation: &Continuation,
    ) -> Result<Option<KeptPart>, Problem> {
        let Some(id) = prepared.begun.file_id else {
            return Ok(None);
        };
        let files = state.kept_files.as_ref();
        let file = files.and_then(|files| files.find(id, has_decoded(request, prepared)));
        let Some(file) = file else {
            return Ok(None);
        };
        state.service.check_continuation(prepared)?;
        let shared = file.share_permit();
        let length = timeout(QUERY_WAIT, file.length()).await;
        let Some(length) = length.map_err(|_| unfinished())? else {
            return Ok(None);
        };
        let range = choose_part(length, true, Some(continuation))?;
        let permit = match shared {
            Some(permit) => permit,
            None => state.service.acquire(prepared)?.into(),
        };
        let reader = file.reader(range.clone().unwrap_or(0..length), permit);
        Ok(reader.map(|reader| KeptPart {
            reader,
            range,
            length,
            // Firefox requires what the first response said, and sends `If-Match`; Chromium requires the length.
            is_length_told: prepared.is_measured()
                || continuation.otherwise == Otherwise::WholeFile,
            entity_tag: state.service.entity_tag(&prepared.link, id),
            sha256: prepared.is_measured().then_some(id),
        }))
    }

    /// Sets the headers of the response; returns the bytes of the part and their number.
    ///
    /// # Errors
    /// Returns a [`StreamError`] if the part cannot be sent.
    pub(super) fn into_file(
        self,
        response: &mut HttpResponseBuilder,
        request: &HttpRequest,
        log: &mut DownloadLog,
    ) -> Result<(CodedFile, u64), StreamError> {
        log.set_served_by(ServedBy::Spool);
        insert_validators(response, &self.entity_tag);
        if let Some(sha256) = self.sha256 {
            insert_digest(response, sha256, request.headers());
        }
        if let Some(range) = &self.range {
            let length = Some(self.length).filter(|_| self.is_length_told);
            set_part(response, range, length);
            log.resume_from(range.start);
        }
        let bytes = self.range.unwrap_or(0..self.length);
        let file = CodedFile::of_kept(self.reader, None, None)?;
        Ok((file, bytes.end - bytes.start))
    }
}

pub(super) fn unfinished() -> Problem {
    unavailable(
        "file-unfinished",
        "its query still runs; try again in some seconds",
    )
}
