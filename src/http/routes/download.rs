//! `GET`, `HEAD` and `POST /v1/exports/{export}.{format}?…`: downloads the file of a signed link.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;
use tokio::time::timeout;
use uuid::Uuid;

use super::accept::{Target, accept, accept_confirmed};
use super::answer::{Answer, Keeper, Sending};
use super::confirmation;
use super::parts::{ACCEPT_RANGES, file_changed, insert_validators, late_range, may_tag_head};
use super::stored::{Known, StoredPart, stored_file};
use crate::http::download::audit_log::DownloadLog;
use crate::http::download::coded_file::{CodedFile, HeartbeatPlan};
use crate::http::download::receipt;
use crate::http::download::single_use;
use crate::http::download::stream::Aborted;
use crate::http::request::continuation::{Continuation, Otherwise};
use crate::http::request::json_body::discard_body;
use crate::http::response::content_encoding::Coding;
use crate::http::response::headers::{fixed, id_value};
use crate::http::response::problem::{self, Problem};
use crate::http::state::AppState;
use crate::service::PreparedDownload;
use rowlink_link::percent_encode;

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

/// Streams the file, or redirects an unsigned request to a link.
async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let continuation = Continuation::of(request.headers()).map_err(late_range)?;
    let entity_tags = continuation.as_ref().map(|it| it.entity_tags.as_str());
    let mut prepared: Box<PreparedDownload> = match accept(&request, &state, entity_tags).await? {
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
    let prepared = accept_confirmed::<PreparedDownload>(&request, &state)?;
    discard_body(payload).await?;
    single_use::check(&state, &prepared.link).await?;
    Box::pin(stream_file(request, state, *prepared, None)).await
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
        wants_receipt: receipt::is_wanted(&request),
        state,
    };
    let continuation = continuation.as_ref();
    let part = answer.kept_part(&request, &prepared, continuation);
    if let Some((file, length)) = part.await? {
        return Ok(answer.stream(&request, file, Some(length)));
    }
    let coding = Coding::negotiate(&request, prepared.format);
    // The file is sent without one that cannot start: an error later on would use a link that works once.
    let coding = coding.filter(|coding| coding.is_available());
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
    let prepared: Box<PreparedDownload> = match accept(&request, &state, None).await? {
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
