//! `GET` and `HEAD /v1/exports/{export}.{format}?…`: downloads the file of a signed link.

use std::ops::Range;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream;
use tokio::time::timeout;

use super::redirect;
use crate::http::connection::exchange::Exchange;
use crate::http::download::audit_log::DownloadLog;
use crate::http::download::coded_file::{CodedFile, HeartbeatPlan};
use crate::http::download::outcome::Outcome;
use crate::http::download::stream::{Aborted, ResponseStream};
use crate::http::request::client_ip::verified_address;
use crate::http::request::continuation::{Continuation, Otherwise, UnconditionalRange};
use crate::http::request::path::parse_download;
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::{fixed, id_value};
use crate::http::response::problem::{self, Problem, unknown_format};
use crate::http::state::AppState;
use crate::service::{MeasuredFile, PreparedDownload};
use rowlink_link::{ClientAddr, percent_encode};

/// Returns the file, or only the head of its response.
pub async fn download(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    match *request.method() {
        Method::GET => get(request, state).await,
        Method::HEAD => head(request, state).await,
        _ => Err(problem::method_not_allowed("GET, HEAD")),
    }
}

/// Streams the file, or redirects an unsigned request to a link.
async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let continuation = Continuation::of(request.headers()).map_err(late_range)?;
    let entity_tags = continuation.as_ref().map(|it| it.entity_tags.as_str());
    let prepared = match accept(&request, &state, entity_tags).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    let otherwise = continuation.as_ref().map(|it| it.otherwise);
    if otherwise == Some(Otherwise::Error) && prepared.begun.is_none() {
        return Err(file_changed());
    }
    // Boxed, so that the many refused requests do not allocate its size.
    Box::pin(stream_file(request, state, *prepared, continuation)).await
}

async fn stream_file(
    request: HttpRequest,
    state: Data<AppState>,
    prepared: PreparedDownload,
    continuation: Option<Continuation>,
) -> Result<HttpResponse, Problem> {
    let mut response = response_to(&prepared);
    let mut log = DownloadLog::start(&request, &state, &prepared);
    let coding = Coding::negotiate(&request, prepared.format);
    let deadlines = state.service.deadlines(&prepared);
    let heartbeats = HeartbeatPlan::of(&prepared, coding);
    let service = state.clone();
    let opening = async move { service.service.open(prepared, deadlines.query).await };
    let mut opening = Box::pin(opening);
    let opened = match &heartbeats {
        None => opening.await,
        Some(plan) => match timeout(plan.after, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                // From here on an error can no longer be a status.
                log.begin_by_heartbeat();
                let file = CodedFile::begin(opening, coding, plan);
                let file = file.inspect_err(|error| log.abort(error))?;
                let body = ResponseStream::new(file, deadlines, log);
                insert_coding(&mut response, coding);
                let chunks = body.into_stream(state, Exchange::of(&request));
                return Ok(response.body(BodyStream::new(chunks)));
            }
        },
    };
    let mut opened = opened.inspect_err(|error| log.refuse(error))?;
    if let Some(file) = opened.file().cloned() {
        insert_validators(&mut response, &file, request.headers());
        if let Some(range) = choose_part(&file, continuation.as_ref())
            .inspect_err(|_| log.set_outcome(Outcome::NotContinued))?
        {
            response.status(StatusCode::PARTIAL_CONTENT);
            response.insert_header((header::CONTENT_RANGE, content_range(&range, &file)));
            log.resume_from(range.start);
            opened = opened.with_range(range);
        }
    }
    let download = opened.encode(None);
    let download = download.inspect_err(|error| log.refuse(error))?;
    let (is_complete, length) = (download.is_complete(), download.length());
    // The length with a content coding is unknown.
    let coding = coding.filter(|_| length.is_none());
    let every = heartbeats.map(|plan| plan.every);
    let file = CodedFile::new(download, coding, every);
    let file = file.inspect_err(|error| log.abort(error))?;
    let mut body = ResponseStream::new(file, deadlines, log);
    insert_coding(&mut response, coding);
    if !is_complete {
        let chunks = body.into_stream(state, Exchange::of(&request));
        return Ok(match length {
            Some(length) => response.body(SizedStream::new(length, chunks)),
            None => response.body(BodyStream::new(chunks)),
        });
    }
    // All rows are in memory: with its length, truncation is detected through any proxy.
    let mut whole = Vec::new();
    while let Some(chunk) = body.next_chunk().await? {
        whole.extend(chunk);
    }
    Ok(response.body(whole))
}

fn insert_coding(response: &mut HttpResponseBuilder, coding: Option<Coding>) {
    if let Some(coding) = coding {
        response.insert_header((header::CONTENT_ENCODING, coding.header()));
    }
}

/// Returns the same headers without running the query.
async fn head(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let prepared = match accept(&request, &state, None).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    let no_chunks = stream::empty::<Result<Bytes, Aborted>>();
    Ok(response_to(&prepared).body(BodyStream::new(no_chunks)))
}

/// What a request asks for.
enum Target {
    /// The file of a valid link.
    File(Box<PreparedDownload>),
    /// Unsigned request: redirect to a new link.
    Redirect(HttpResponse),
}

/// Verifies the link of a request, or issues one.
async fn accept(
    request: &HttpRequest,
    state: &AppState,
    entity_tags: Option<&str>,
) -> Result<Target, Problem> {
    refuse_http_1_0(request.version())?;
    refuse_unwanted(request.headers())?;
    let (path, format) = parse_download(request.uri().path()).ok_or_else(unknown_file)?;
    let query = request.uri().query().unwrap_or_default();
    if let Some(plain) = redirect::plain_query(query)? {
        // Boxed, so that the more frequent signed requests do not allocate its size.
        let response = redirect::to_link(request, state, path.export(), format, plain);
        let response = Box::pin(response);
        return Ok(Target::Redirect(response.await?));
    }
    let now = (state.clock)();
    let client = ClientAddr::At(verified_address(request, &state.config));
    let service = &state.service;
    let prepared = service.prepare(path, query, now, client, entity_tags)?;
    Ok(Target::File(Box::new(prepared)))
}

/// The path names no export and known format. It is not quoted: one with an escaped `?` holds the link.
pub(super) fn unknown_file() -> Problem {
    unknown_format("expected the name of an export, a dot and a format".to_owned())
}

/// Refuses HTTP/1.0, which has no chunks: a closed connection would look like the end of the file.
fn refuse_http_1_0(version: Version) -> Result<(), Problem> {
    if version >= Version::HTTP_11 {
        return Ok(());
    }
    let title = "HTTP/1.1 is required";
    let detail = "expected HTTP/1.1; with HTTP/1.0 a truncated file would look complete";
    let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    Err(Problem::new(
        status,
        "http-version-not-supported",
        title,
        detail,
    ))
}

/// Headers by which browsers tell that no person has asked for the file yet: current ones, then older ones of Chromium,
/// Firefox and Safari.
const PREFETCH: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("sec-purpose"), "prefetch"),
    (HeaderName::from_static("purpose"), "prefetch"),
    (HeaderName::from_static("x-moz"), "prefetch"),
    (HeaderName::from_static("x-purpose"), "preview"),
];
/// The destinations of a download: a navigation, also in a frame, and a script's `fetch` (Fetch Metadata, section 2.1).
const DESTINATIONS: [&[u8]; 4] = [b"document", b"iframe", b"frame", b"empty"];

/// Refuses what no person and no program has asked for, because it would run a query, or issue a link: a browser's
/// guess, and a link in the place of an image, a script or a style.
fn refuse_unwanted(headers: &HeaderMap) -> Result<(), Problem> {
    let is_prefetch = PREFETCH.iter().any(|(name, purpose)| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.is_some_and(|value| value.starts_with(purpose.as_bytes()))
    });
    if is_prefetch {
        let title = "Exports cannot be prefetched";
        let detail = "open the link to download the file";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "prefetch-refused", title, detail));
    }
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    if destination.is_some_and(|destination| !DESTINATIONS.contains(&destination)) {
        let title = "Exports cannot be embedded";
        let detail = "an export is no image, script, style or medium; link to it";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "embedding-refused",
            title,
            detail,
        ));
    }
    Ok(())
}

/// The problem of a range after byte 0 without a condition: each download of a live export is a new file.
fn late_range(_: UnconditionalRange) -> Problem {
    let title = "A range needs a condition";
    let detail = "the rows may have changed; remove the incomplete file, and request the whole one without `Range`, or send \
                  `If-Range` with the `ETag` of a file that was requested with `\"length\": \"exact\"`";
    Problem::new(
        StatusCode::BAD_REQUEST,
        "range-not-supported",
        title,
        detail,
    )
}

/// Returns the part of the file with which the client continues; `None` for the whole file.
fn choose_part(
    file: &MeasuredFile,
    continuation: Option<&Continuation>,
) -> Result<Option<Range<u64>>, Problem> {
    let Some(Continuation {
        part, otherwise, ..
    }) = continuation
    else {
        return Ok(None);
    };
    if !file.is_begun {
        return match otherwise {
            Otherwise::WholeFile => Ok(None),
            Otherwise::Error => Err(file_changed()),
        };
    }
    let Some(part) = part else {
        return Ok(None);
    };
    let length = file.measure.bytes;
    match part.of(length) {
        Some(range) => Ok(Some(range)),
        None => Err(outside_of_file(length)),
    }
}

fn file_changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "file-changed",
        "The file has changed",
        "the rows are not those of the file that was begun; remove the incomplete file, and request the whole one",
    )
}

fn outside_of_file(length: u64) -> Problem {
    let value = HeaderValue::try_from(format!("bytes */{length}"));
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range-outside",
        "The range is outside of the file",
        format!("expected a range within {length} bytes"),
    )
    .with_header(
        header::CONTENT_RANGE,
        value.expect("digits are valid in a header"),
    )
}

fn content_range(range: &Range<u64>, file: &MeasuredFile) -> String {
    let (last, length) = (range.end - 1, file.measure.bytes);
    format!("bytes {}-{last}/{length}", range.start)
}

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const WANT_DIGEST: HeaderName = HeaderName::from_static("want-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// Inserts what a client needs to check the file, and to continue it: RFC 9110, section 8.8.3, and RFC 9530, section 3;
/// for older clients that ask for it, RFC 3230.
fn insert_validators(response: &mut HttpResponseBuilder, file: &MeasuredFile, request: &HeaderMap) {
    let sha256 = BASE64.encode(file.measure.sha256);
    response.insert_header((header::ETAG, file.entity_tag.as_str()));
    response.insert_header((REPR_DIGEST, format!("sha-256=:{sha256}:")));
    if request.contains_key(WANT_DIGEST) {
        response.insert_header((DIGEST, format!("sha-256={sha256}")));
    }
}

/// Headers of every download.
const FIXED: [(HeaderName, HeaderValue); 7] = [
    fixed(header::CACHE_CONTROL, "private, no-store"),
    fixed(header::REFERRER_POLICY, "no-referrer"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    fixed(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; sandbox",
    ),
    fixed(HeaderName::from_static("x-robots-tag"), "noindex"),
    fixed(HeaderName::from_static("x-accel-buffering"), "no"),
    fixed(header::VARY, "Accept-Encoding"),
];

const LINK_ID: HeaderName = HeaderName::from_static("rowlink-link-id");

fn response_to(prepared: &PreparedDownload) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    for header in FIXED {
        response.insert_header(header);
    }
    let content_type = HeaderValue::from_static(prepared.content_type);
    response.insert_header((header::CONTENT_TYPE, content_type));
    let disposition = content_disposition(&prepared.filename);
    response.insert_header((header::CONTENT_DISPOSITION, disposition));
    if prepared.can_be_continued() {
        response.insert_header(fixed(header::ACCEPT_RANGES, "bytes"));
    }
    response.insert_header((LINK_ID, id_value(prepared.link.link().id)));
    response
}

/// Returns the header of RFC 6266: an ASCII name for old clients, and the real one by RFC 8187.
fn content_disposition(filename: &str) -> HeaderValue {
    let needs_encoding = |c: char| !c.is_ascii() || ['"', '\\', '%'].contains(&c);
    let (ascii, encoded) = (
        filename.replace(needs_encoding, "_"),
        percent_encode(filename),
    );
    let value = [
        "attachment; filename=\"",
        &ascii,
        "\"; filename*=UTF-8''",
        &encoded,
    ];
    let value = HeaderValue::try_from(value.concat());
    value.expect("a file name has no control characters, and its other bytes are encoded")
}
