//! `GET` and `HEAD /v1/exports/{export}.{format}?…`: a signed link becomes the file.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream::{self, Stream};

use super::audit::DownloadLog;
use super::coding::Coding;
use super::file::{ExpiringStream, ResponseStream};
use super::headers::{fixed, id_value};
use super::origin::proven_address;
use super::problem::{self, Problem, unknown_format, unknown_path};
use super::{AppState, redirect};
use crate::catalog::is_export_name;
use crate::format::Format;
use crate::service::{OpenError, PreparedDownload};
use crate::source::SourceError;
use rowlink_link::{ClientAddr, percent_encode};

/// The route of files, as the documents write it.
pub(super) const ROUTE: &str = "/v1/exports/{export}.{format}";

/// Whether a path is of [`ROUTE`].
pub(super) fn is_file(path: &str) -> bool {
    let file = path.strip_prefix("/v1/exports/");
    file.is_some_and(|file| has_dot(file) && !file.contains('/'))
}

/// Whether there is a dot, escaped or not: no export has one in its name.
pub(super) fn has_dot(path: &str) -> bool {
    path.contains('.') || path.contains("%2E") || path.contains("%2e")
}

/// The file itself, or its head alone.
pub async fn file(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    match *request.method() {
        Method::GET => get(request, state).await,
        Method::HEAD => head(request, state).await,
        _ => Err(problem::method_not_allowed("GET, HEAD")),
    }
}

/// Streams the file, or sends to the signed link where the request has none.
async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    refuse_prefetch(request.headers())?;
    refuse_late_range(request.headers())?;
    let prepared = match accept(&request, &state).await? {
        Target::File(prepared) => prepared,
        Target::Link(answer) => return Ok(answer),
    };
    // In memory of its own: refusals, which may be many, do not pay for its size.
    Box::pin(stream_file(request, state, *prepared)).await
}

async fn stream_file(
    request: HttpRequest,
    state: Data<AppState>,
    prepared: PreparedDownload,
) -> Result<HttpResponse, Problem> {
    let mut response = response_to(&prepared);
    let mut audit = DownloadLog::start(&request, &state, &prepared.link);
    let coding = Coding::negotiate(&request, prepared.link.format);
    let download = state.service.open(prepared).await;
    let download = download.inspect_err(|error| audit.outcome = outcome_of_refusal(error))?;
    let (is_complete, length) = (download.is_complete(), download.length());
    // A coding would make another length, which nobody knows.
    let coding = coding.filter(|_| length.is_none());
    let mut file = ResponseStream::new(download, coding, audit)?;
    if let Some(coding) = coding {
        response.insert_header((header::CONTENT_ENCODING, coding.header()));
    }
    if !is_complete {
        let chunks = chunks(file, state);
        return Ok(match length {
            Some(length) => response.body(SizedStream::new(length, chunks)),
            None => response.body(BodyStream::new(chunks)),
        });
    }
    // Small enough to be here already: with its length, a cut can be seen through any proxy.
    let mut whole = Vec::new();
    while let Some(chunk) = file.next_chunk().await? {
        whole.extend(chunk);
    }
    Ok(response.body(whole))
}

/// The same headers, and no query.
async fn head(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let prepared = match accept(&request, &state).await? {
        Target::File(prepared) => prepared,
        Target::Link(answer) => return Ok(answer),
    };
    let no_chunks = stream::empty::<Result<Bytes, Aborted>>();
    Ok(response_to(&prepared).body(BodyStream::new(no_chunks)))
}

/// What a request is for.
enum Target {
    /// The file of a good link.
    File(Box<PreparedDownload>),
    /// A link, and this is the way there.
    Link(HttpResponse),
}

/// Verifies the link of a request, or issues one.
async fn accept(request: &HttpRequest, state: &AppState) -> Result<Target, Problem> {
    refuse_http_1_0(request.version())?;
    let (export, format) = file_of(request.uri().path())?;
    let query = request.uri().query().unwrap_or_default();
    if let Some(plain) = redirect::plain_query(query)? {
        // In memory of its own: signed links, which are more, do not pay for its size.
        let answer = Box::pin(redirect::to_link(request, state, export, format, plain));
        return Ok(Target::Link(answer.await?));
    }
    let now = (state.clock)();
    let client = ClientAddr::At(proven_address(request, &state.http_config));
    let service = &state.service;
    let prepared = service.prepare(export, format, query, now, client)?;
    Ok(Target::File(Box::new(prepared)))
}

/// The export and the format that a path names. It is taken as it was sent: decoding it here too,
/// after the router, is how two parsers come to disagree.
pub(super) fn file_of(path: &str) -> Result<(&str, Format), Problem> {
    let file = path.strip_prefix("/v1/exports/").ok_or_else(unknown_path)?;
    let (export, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let format = extension.parse().ok().filter(|_| is_export_name(export));
    // The path is not repeated: one in which `?` was escaped holds the whole link.
    let format = format.ok_or_else(|| {
        unknown_format("expected the name of an export, a dot and a format".to_owned())
    })?;
    Ok((export, format))
}

fn outcome_of_refusal(error: &OpenError) -> &'static str {
    match error {
        OpenError::Quota(_) | OpenError::Source(SourceError::Busy { .. }) => "refused",
        OpenError::Invalid(_) => "invalid_values",
        OpenError::Source(SourceError::TooSlow) => "timed_out",
        OpenError::Encode(_) => "does_not_fit_format",
        OpenError::TooLarge(_) => "too_large",
        _ => "database_failed",
    }
}

/// The file's chunks. An error aborts the connection, so that no client takes what it got for a
/// whole file.
fn chunks(
    file: ResponseStream,
    state: Data<AppState>,
) -> impl Stream<Item = Result<Bytes, Aborted>> {
    let parked = ExpiringStream::new(file, state.clone());
    stream::unfold(Some((parked, state)), |state| async {
        let (parked, state) = state?;
        let next = match parked.take() {
            None => Err(Aborted),
            Some(mut file) => tokio::select! {
                next = file.next_chunk() => next.map(|chunk| (chunk, file)).map_err(|_| Aborted),
                () = state.lifecycle.aborted() => Err(Aborted),
            },
        };
        match next {
            Ok((Some(chunk), file)) => {
                parked.put(file);
                Some((Ok(Bytes::from(chunk)), Some((parked, state))))
            }
            Ok((None, _)) => None,
            Err(aborted) => {
                // Lets the server send the chunks it still holds: they would go with the error.
                tokio::task::yield_now().await;
                Some((Err(aborted), None))
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

/// What the answer to every file says.
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
    response.insert_header((LINK_ID, id_value(prepared.link.id)));
    response
}

/// RFC 6266: a plain ASCII name for old clients, and the real one as RFC 8187 has it.
fn content_disposition(filename: &str) -> HeaderValue {
    let is_odd = |c: char| !c.is_ascii() || ['"', '\\', '%'].contains(&c);
    let (ascii, encoded) = (filename.replace(is_odd, "_"), percent_encode(filename));
    let value = [
        "attachment; filename=\"",
        &ascii,
        "\"; filename*=UTF-8''",
        &encoded,
    ];
    let value = HeaderValue::try_from(value.concat());
    value.expect("a file name has no control characters, and these are its ASCII ones")
}
