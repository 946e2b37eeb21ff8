//! `GET`, `HEAD` and `POST /v1/exports/{export}.{format}?…`: downloads the file of a signed link.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;
use tokio::time::timeout;
use uuid::Uuid;

use super::answer::{Answer, Keeper, Sending};
use super::confirmation;
use super::parts::{ACCEPT_RANGES, file_changed, insert_validators, late_range, may_tag_head};
use super::redirect;
use super::stored::{Known, StoredPart, stored_file};
use crate::http::download::audit_log::DownloadLog;
use crate::http::download::coded_file::{CodedFile, HeartbeatPlan};
use crate::http::download::single_use;
use crate::http::download::stream::Aborted;
use crate::http::request::browser_cookie;
use crate::http::request::client_ip::verified_address;
use crate::http::request::continuation::{Continuation, Otherwise};
use crate::http::request::json_body::discard_body;
use crate::http::request::path::parse_download;
use crate::http::request::plain_query::PlainQuery;
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::{fixed, id_value};
use crate::http::response::problem::{self, Problem, unknown_format};
use crate::http::state::AppState;
use crate::service::PreparedDownload;
use rowlink_link::{ClientAddr, DownloadPath, percent_encode};

/// Returns the file, or only the head of its response.
pub async fn download(
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

/// Not `POST`: only a link with a condition allows it.
fn method_not_allowed() -> Problem {
    problem::method_not_allowed("GET, HEAD")
}

/// Streams the file, or redirects an unsigned request to a link.
async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let continuation = Continuation::of(request.headers()).map_err(late_range)?;
    let entity_tags = continuation.as_ref().map(|it| it.entity_tags.as_str());
    let mut prepared = match accept(&request, &state, entity_tags).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    let PreparedDownload { link, begun, .. } = &mut *prepared;
    single_use::check_or_continue(&state, link, begun, continuation.as_ref()).await?;
    if let Some(page) = confirmation::page(&request, &state, &prepared).await? {
        return Ok(page);
    }
    let otherwise = continuation.as_ref().map(|it| it.otherwise);
    let is_another = otherwise == Some(Otherwise::Error) && prepared.begun.file_id.is_none();
    if is_another && !state.service.may_be_stored(&prepared) {
        return Err(file_changed());
    }
    // Boxed, so that the many refused requests do not allocate its size.
    Box::pin(stream_file(request, state, *prepared, continuation)).await
}

/// Streams the file of a link that needs confirmation: this is it. Ranges are defined only for `GET` (RFC 9110, section
/// 14.2). Other links refuse the method as any other one.
async fn post(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let prepared = accept_post(&request, &state)?;
    discard_body(payload).await?;
    single_use::check(&state, &prepared.link).await?;
    Box::pin(stream_file(request, state, *prepared, None)).await
}

fn accept_post(request: &HttpRequest, state: &AppState) -> Result<Box<PreparedDownload>, Problem> {
    refuse_http_1_0(request.version())?;
    refuse_unwanted(request.headers())?;
    let (path, _) = parse_download(request.uri().path()).ok_or_else(method_not_allowed)?;
    let query = request.uri().query().unwrap_or_default();
    let prepared = verify(request, state, path, query, None);
    let needs_confirmation = match &prepared {
        Ok(prepared) => prepared.link.link().conditions.confirm,
        Err(_) => confirmation::is_needed(state, path, query),
    };
    match needs_confirmation {
        true => prepared,
        false => Err(method_not_allowed()),
    }
}

async fn stream_file(
    request: HttpRequest,
    state: Data<AppState>,
    prepared: PreparedDownload,
    continuation: Option<Continuation>,
) -> Result<HttpResponse, Problem> {
    let mut answer = Answer {
        response: response_to(&prepared),
        log: DownloadLog::start(
            &request,
            &state,
            prepared.link.link(),
            prepared.connection_time(),
        ),
        deadlines: state.service.deadlines(&prepared),
        to_take: prepared.link_to_take(),
        state,
    };
    let continuation = continuation.as_ref();
    let part = answer.kept_part(&request, &prepared, continuation);
    if let Some((file, length)) = part.await? {
        return Ok(answer.stream(&request, file, Some(length)));
    }
    let coding = Coding::negotiate(&request, prepared.format);
    let stored = stored_file(&answer.state, &prepared);
    let mut turn = None;
    if let Some(stored) = &stored {
        let sent = answer.send_known(&request, &prepared, stored, coding, continuation);
        (answer, turn) = match sent.await? {
            Known::Sent(response) => return Ok(response),
            Known::Nothing(answer, turn) => (*answer, turn),
        };
    }
    answer.check_another(&prepared, continuation)?;
    let plan = HeartbeatPlan::of(&prepared, coding);
    let every = plan.as_ref().map(|plan| plan.every);
    let keeper = Keeper::of(&answer.state, &prepared, stored, turn);
    let (state, query_deadline) = (answer.state.clone(), answer.deadlines.query);
    let opening = async move { state.service.open(prepared, query_deadline).await };
    let mut opening = Box::pin(opening);
    let opened = match &plan {
        None => opening.await,
        Some(plan) => match timeout(plan.after, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                answer.take_use().await?;
                // From here on an error can no longer be a status.
                answer.log.begin_by_heartbeat();
                let sending = Sending {
                    coding,
                    heartbeat_every: every,
                    kept: keeper.and_then(|it| it.file(&answer.state, None)),
                };
                let create = |coding| CodedFile::begin(opening, coding, plan);
                let file = answer.file(sending, create)?.begin_by_heartbeat();
                return Ok(answer.stream(&request, file, None));
            }
        },
    };
    let mut opened = opened.inspect_err(|error| answer.log.refuse(error))?;
    let measured = opened.file().cloned();
    let mut is_whole = true;
    if let Some(file) = &measured
        && let Some(range) = answer.part_of_measured(&request, file, continuation)?
    {
        opened = opened.with_range(range);
        is_whole = false;
    }
    let download = opened.encode(None);
    let download = download.inspect_err(|error| answer.log.refuse(error))?;
    let (is_complete, length) = (download.is_complete(), download.length());
    let measure = measured.map(|file| file.measure);
    if !is_complete {
        answer.take_use().await?;
    }
    // The rows of a small file are in memory already.
    let (keeper, keeper_of_small) = match is_complete {
        true => (None, keeper.filter(|_| is_whole)),
        false => (keeper.filter(|_| is_whole), None),
    };
    let sending = Sending {
        // The length with a content coding is unknown.
        coding: coding.filter(|_| length.is_none()),
        heartbeat_every: every,
        kept: keeper.and_then(|it| it.file(&answer.state, measure)),
    };
    let create = |coding| CodedFile::new(download, coding, every);
    let file = answer.file(sending, create)?;
    match is_complete {
        false => Ok(answer.stream(&request, file, length)),
        true => answer.collect(file, keeper_of_small).await,
    }
}

/// Returns the same headers without running the query.
async fn head(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let prepared = match accept(&request, &state, None).await? {
        Target::File(prepared) => prepared,
        Target::Redirect(response) => return Ok(response),
    };
    single_use::check(&state, &prepared.link).await?;
    let mut response = response_to(&prepared);
    let no_chunks = stream::empty::<Result<Bytes, Aborted>>();
    if let Some(stored) = stored_file(&state, &prepared)
        && let Some(part) = StoredPart::find(&state, &request, &prepared, &stored).await
    {
        let (length, entity_tag) = part.validators(&state, &prepared);
        if may_tag_head(prepared.link.link()) {
            insert_validators(&mut response, &entity_tag);
        }
        return Ok(response.body(SizedStream::new(length, no_chunks)));
    }
    Ok(response.body(BodyStream::new(no_chunks)))
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
    if let Some(plain) = PlainQuery::parse(query, &state.config)? {
        // Boxed, so that the more frequent signed requests do not allocate its size.
        let response = redirect::to_link(request, state, path.export(), Some(format), plain);
        let response = Box::pin(response);
        return Ok(Target::Redirect(response.await?));
    }
    let prepared = verify(request, state, path, query, entity_tags)?;
    Ok(Target::File(prepared))
}

/// Verifies a link for the client, and the browser, that sends the request.
fn verify(
    request: &HttpRequest,
    state: &AppState,
    path: DownloadPath<'_>,
    query: &str,
    entity_tags: Option<&str>,
) -> Result<Box<PreparedDownload>, Problem> {
    let now = (state.clock)();
    let client = ClientAddr::At(verified_address(request, &state.config));
    let service = &state.service;
    let prepared = service.prepare(path, query, now, client, entity_tags)?;
    browser_cookie::check(request, state, &prepared.link)?;
    Ok(Box::new(prepared))
}

/// The path names no export and known format. It is not quoted: one with an escaped `?` holds the link.
pub(super) fn unknown_file() -> Problem {
    unknown_format("expected the name of an export, a dot and a format".to_owned())
}

/// Refuses HTTP/1.0, which has no chunks: a closed connection would look like the end of the file.
pub(super) fn refuse_http_1_0(version: Version) -> Result<(), Problem> {
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
pub(super) fn refuse_unwanted(headers: &HeaderMap) -> Result<(), Problem> {
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

pub(super) const LINK_ID: HeaderName = HeaderName::from_static("rowlink-link-id");

fn response_to(prepared: &PreparedDownload) -> HttpResponseBuilder {
    let content_type = HeaderValue::from_static(prepared.content_type);
    let link_id = prepared.link.link().id;
    let mut response = file_response(&prepared.filename, content_type, link_id);
    if prepared.is_measured() {
        response.insert_header(ACCEPT_RANGES);
    }
    response
}

/// Returns a response with a file of this name and type.
pub(super) fn file_response(
    filename: &str,
    content_type: HeaderValue,
    link_id: Uuid,
) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    for header in FIXED {
        response.insert_header(header);
    }
    response.insert_header((header::CONTENT_TYPE, content_type));
    let disposition = HeaderValue::try_from(content_disposition(filename));
    let disposition = disposition
        .expect("a file name has no control characters, and its other bytes are encoded");
    response.insert_header((header::CONTENT_DISPOSITION, disposition));
    response.insert_header((LINK_ID, id_value(link_id)));
    response
}

/// Returns the header of RFC 6266: an ASCII name for old clients, and the real one by RFC 8187.
pub(super) fn content_disposition(filename: &str) -> String {
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
    value.concat()
}
