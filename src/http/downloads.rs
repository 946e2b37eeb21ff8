//! `GET` and `HEAD /v1/exports/{export}.{format}?…`: a signed link becomes the file.

use std::time::{Duration, Instant};

use actix_web::body::BodyStream;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream::{self, Stream};

use super::problem::{Problem, unknown_format, unknown_path};
use super::{Service, request_id};
use crate::catalog::is_export_name;
use crate::export::{Accepted, Download, DownloadError};
use crate::format::Format;
use crate::link::{Link, percent_encode};
use crate::source::{SourceError, causes};

/// Streams the file.
pub async fn get(request: HttpRequest, service: Data<Service>) -> Result<HttpResponse, Problem> {
    refuse_prefetch(request.headers())?;
    refuse_late_range(request.headers())?;
    let accepted = accept(&request, &service)?;
    let mut response = response_to(&accepted);
    let stall_max = service.exporter.policy().stall_max;
    let mut audit = Audit::start(&request, &accepted.link, stall_max);
    let mut download = service
        .exporter
        .open(accepted)
        .await
        .inspect_err(|_| audit.outcome = "database_failed")?;
    if !download.is_complete() {
        return Ok(response.body(BodyStream::new(chunks(download, audit))));
    }
    // Small enough to be here already: with its length, a cut can be seen through any proxy.
    let mut file = Vec::new();
    while let Some(chunk) = download.next_chunk().await? {
        file.extend(chunk);
    }
    audit.written(&download);
    audit.outcome = "complete";
    Ok(response.body(file))
}

/// The same headers, and no query.
pub async fn head(request: HttpRequest, service: Data<Service>) -> Result<HttpResponse, Problem> {
    let accepted = accept(&request, &service)?;
    let no_chunks = stream::empty::<Result<Bytes, Aborted>>();
    Ok(response_to(&accepted).body(BodyStream::new(no_chunks)))
}

/// Verifies the link of a request. The path is taken as it was sent: decoding it here too, after
/// the router, is how two parsers come to disagree.
fn accept(request: &HttpRequest, service: &Service) -> Result<Accepted, Problem> {
    refuse_http_1_0(request.version())?;
    let path = request.uri().path();
    let file = path.strip_prefix("/v1/exports/").ok_or_else(unknown_path)?;
    let (export, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let format: Format = extension
        .parse()
        .ok()
        .filter(|_| is_export_name(export))
        .ok_or_else(|| unknown_format(format!("there is no file `{file}`")))?;
    let query = request.uri().query().unwrap_or_default();
    let now = (service.clock)();
    Ok(service.exporter.accept(export, format, query, now)?)
}

/// The file's chunks. An error aborts the connection, so that no client takes what it got for a
/// whole file.
fn chunks(download: Download, audit: Audit) -> impl Stream<Item = Result<Bytes, Aborted>> {
    stream::unfold(Some((download, audit)), |state| async {
        let (mut download, mut audit) = state?;
        match download.next_chunk().await {
            Ok(Some(chunk)) => {
                audit.written(&download);
                Some((Ok(Bytes::from(chunk)), Some((download, audit))))
            }
            Ok(None) => {
                audit.outcome = "complete";
                None
            }
            Err(error) => {
                let (request_id, link_id) = (&audit.request_id, &audit.link_id);
                tracing::error!(
                    request_id,
                    link_id,
                    cause = causes(&error),
                    "download aborted"
                );
                audit.outcome = match error {
                    DownloadError::Source(SourceError::TooSlow) => "too_slow",
                    DownloadError::Source(_) => "database_failed",
                    DownloadError::Encode(_) => "does_not_fit_format",
                };
                // Lets the server send the chunks it still holds: they would go with the error.
                tokio::task::yield_now().await;
                Some((Err(Aborted), None))
            }
        }
    })
}

/// Ends a connection without the end of its body. The reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the download was aborted")]
struct Aborted;

/// HTTP/1.0 has no chunks: the end of the connection is the end of the file, whole or not.
fn refuse_http_1_0(version: Version) -> Result<(), Problem> {
    if version >= Version::HTTP_11 {
        return Ok(());
    }
    let title = "The HTTP version is too old";
    let detail = "expected HTTP/1.1; with HTTP/1.0 a cut file would look like a whole one";
    let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    Err(Problem::new(
        status,
        "http-version-not-supported",
        title,
        detail,
    ))
}

/// A browser that guesses what its user will click must not run queries.
fn refuse_prefetch(headers: &HeaderMap) -> Result<(), Problem> {
    let purpose = headers
        .get("sec-purpose")
        .and_then(|value| value.to_str().ok());
    if !purpose.is_some_and(|purpose| purpose.starts_with("prefetch")) {
        return Ok(());
    }
    let title = "Exports are not prefetched";
    let detail = "open the link to download the file";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Err(Problem::new(status, "prefetch-refused", title, detail))
}

/// Each export is made anew, so a part of one never fits a part of another: after a 200 or a 416
/// some clients would splice the two, or keep half a file and report success.
fn refuse_late_range(headers: &HeaderMap) -> Result<(), Problem> {
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let Some(ranges) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Ok(());
    };
    if ranges
        .split(',')
        .all(|range| range.trim().starts_with("0-"))
    {
        return Ok(());
    }
    let title = "A live export cannot be resumed";
    let detail = "the rows may have changed; request the whole file without `Range`";
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "range-not-supported",
        title,
        detail,
    ))
}

fn response_to(accepted: &Accepted) -> HttpResponseBuilder {
    let fixed = [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = HttpResponse::Ok();
    response.content_type(accepted.content_type);
    fixed.into_iter().for_each(|header| {
        response.insert_header(header);
    });
    response.insert_header((
        header::CONTENT_DISPOSITION,
        content_disposition(&accepted.filename),
    ));
    response.insert_header(("rowlink-link-id", accepted.link.id.to_string()));
    response
}

/// RFC 6266: a plain ASCII name for old clients, and the real one as RFC 8187 has it.
fn content_disposition(filename: &str) -> HeaderValue {
    let plain = |c: char| {
        if c.is_ascii() && !"\"\\%".contains(c) {
            c
        } else {
            '_'
        }
    };
    let ascii: String = filename.chars().map(plain).collect();
    let encoded = percent_encode(filename);
    HeaderValue::from_str(&format!(
        "attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}"
    ))
    .expect("a file name has no control characters, and these are its ASCII ones")
}

/// The outcome of a download that nothing else ended.
const CLIENT_GONE: &str = "client_gone";

/// One line in the log for each download, also for one that its client left.
struct Audit {
    request_id: String,
    link_id: String,
    user: String,
    export: String,
    format: Format,
    started: Instant,
    rows: u64,
    bytes: u64,
    /// When the last chunk was handed to the connection, which asks for the next once it is sent.
    handed_on: Instant,
    stall_max: Duration,
    outcome: &'static str,
}

impl Audit {
    fn start(request: &HttpRequest, link: &Link, stall_max: Duration) -> Audit {
        Audit {
            request_id: request_id(request).to_string(),
            link_id: link.id.to_string(),
            user: link.user.to_string(),
            export: link.export.clone(),
            format: link.format,
            started: Instant::now(),
            rows: 0,
            bytes: 0,
            handed_on: Instant::now(),
            stall_max,
            outcome: CLIENT_GONE,
        }
    }

    fn written(&mut self, download: &Download) {
        self.rows = download.rows_written();
        self.bytes = download.bytes_written();
        self.handed_on = Instant::now();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let stalled = self.bytes > 0 && self.handed_on.elapsed() >= self.stall_max;
        if self.outcome == CLIENT_GONE && stalled {
            self.outcome = "stalled";
        }
        tracing::info!(
            request_id = self.request_id,
            link_id = self.link_id,
            user = self.user,
            export = self.export,
            format = %self.format,
            rows = self.rows,
            bytes = self.bytes,
            milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = self.outcome,
            "download ended"
        );
    }
}
