//! From a request to a verified link, for rows and for stored documents: what is refused, and what issues a link.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse};
use rowlink_link::{ClientAddr, DownloadPath, VerifiedLink};

use super::{confirmation, redirect};
use crate::format::Format;
use crate::http::request::browser_cookie;
use crate::http::request::client_ip::verified_address;
use crate::http::request::path::parse_download;
use crate::http::request::plain_query::PlainQuery;
use crate::http::response::problem::{self, Problem, unknown_format, unknown_path};
use crate::http::state::AppState;
use crate::service::{ExportService, OpenError, PreparedDocuments, PreparedDownload};

/// What a request asks for.
pub(super) enum Target<P> {
    /// The file of a valid link.
    File(Box<P>),
    /// Unsigned request: redirect to a new link.
    Redirect(HttpResponse),
}

/// A verified link, prepared for its download.
pub(super) trait Prepared: Sized {
    /// Parses a path; returns the format, too, unless documents have none.
    fn parse(path: &str) -> Option<(DownloadPath<'_>, Option<Format>)>;

    /// Returns the problem of a path that is none.
    fn unknown() -> Problem;

    /// Verifies a link.
    ///
    /// # Errors
    /// Returns the [`OpenError`] that refuses the link.
    fn prepare(service: &ExportService, visit: Visit<'_>) -> Result<Self, OpenError>;

    /// Returns the link.
    fn link(&self) -> &VerifiedLink;
}

/// The circumstances in which a link is followed.
pub(super) struct Visit<'v> {
    path: DownloadPath<'v>,
    query: &'v str,
    /// In Unix seconds.
    now: u64,
    client: ClientAddr,
    entity_tags: Option<&'v str>,
}

impl Prepared for PreparedDownload {
    fn parse(path: &str) -> Option<(DownloadPath<'_>, Option<Format>)> {
        let (path, format) = parse_download(path)?;
        Some((path, Some(format)))
    }

    fn unknown() -> Problem {
        unknown_file()
    }

    fn prepare(service: &ExportService, visit: Visit<'_>) -> Result<Self, OpenError> {
        let Visit {
            path,
            query,
            now,
            client,
            entity_tags,
        } = visit;
        service.prepare(path, query, now, client, entity_tags)
    }

    fn link(&self) -> &VerifiedLink {
        &self.link
    }
}

impl Prepared for PreparedDocuments {
    fn parse(path: &str) -> Option<(DownloadPath<'_>, Option<Format>)> {
        DownloadPath::parse(path).map(|path| (path, None))
    }

    fn unknown() -> Problem {
        unknown_path()
    }

    fn prepare(service: &ExportService, visit: Visit<'_>) -> Result<Self, OpenError> {
        let Visit {
            path,
            query,
            now,
            client,
            entity_tags,
        } = visit;
        service.prepare_documents(path, query, now, client, entity_tags)
    }

    fn link(&self) -> &VerifiedLink {
        &self.link
    }
}

/// Verifies the link of a request, or issues one.
pub(super) async fn accept<P: Prepared>(
    request: &HttpRequest,
    state: &AppState,
    entity_tags: Option<&str>,
) -> Result<Target<P>, Problem> {
    refuse_http_1_0(request.version())?;
    refuse_unwanted(request.headers())?;
    let (path, format) = P::parse(request.uri().path()).ok_or_else(P::unknown)?;
    let query = request.uri().query().unwrap_or_default();
    if let Some(plain) = PlainQuery::parse(query, &state.config)? {
        // Boxed, so that the more frequent signed requests do not allocate its size.
        let response = redirect::to_link(request, state, path.export(), format, plain);
        return Ok(Target::Redirect(Box::pin(response).await?));
    }
    let prepared = verify(request, state, path, query, entity_tags)?;
    Ok(Target::File(prepared))
}

/// Verifies the link of a `POST`, which confirms a download. Other links refuse the method as any other one.
pub(super) fn accept_confirmed<P: Prepared>(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Box<P>, Problem> {
    // Not `POST`: only a link with a condition allows it.
    let not_allowed = || problem::method_not_allowed("GET, HEAD");
    refuse_http_1_0(request.version())?;
    refuse_unwanted(request.headers())?;
    let (path, _) = P::parse(request.uri().path()).ok_or_else(not_allowed)?;
    let query = request.uri().query().unwrap_or_default();
    let prepared: Result<Box<P>, Problem> = verify(request, state, path, query, None);
    let needs_confirmation = match &prepared {
        Ok(prepared) => prepared.link().link().conditions.confirm,
        Err(_) => confirmation::is_needed(state, path, query),
    };
    match needs_confirmation {
        true => prepared,
        false => Err(not_allowed()),
    }
}

/// Verifies a link for the client, and the browser, that sends the request.
fn verify<P: Prepared>(
    request: &HttpRequest,
    state: &AppState,
    path: DownloadPath<'_>,
    query: &str,
    entity_tags: Option<&str>,
) -> Result<Box<P>, Problem> {
    let visit = Visit {
        path,
        query,
        now: (state.clock)(),
        client: ClientAddr::At(verified_address(request, &state.config)),
        entity_tags,
    };
    let prepared = P::prepare(&state.service, visit)?;
    browser_cookie::check(request, state, prepared.link())?;
    Ok(Box::new(prepared))
}

/// The path names no export and known format. It is not quoted: one with an escaped `?` holds the link.
pub(super) fn unknown_file() -> Problem {
    unknown_format("expected the name of an export, a dot and a format".to_owned())
}

/// Refuses HTTP/1.0, which has no chunks: a closed connection could be the end of the file.
fn refuse_http_1_0(version: Version) -> Result<(), Problem> {
    if version >= Version::HTTP_11 {
        return Ok(());
    }
    let detail = "expected HTTP/1.1; with HTTP/1.0 a truncated file would look complete";
    let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    Err(Problem::new(status, "http-version-not-supported", detail))
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
        let detail = "open the link to download the file";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "prefetch-refused", detail));
    }
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    if destination.is_some_and(|destination| !DESTINATIONS.contains(&destination)) {
        let detail = "an export is no image, script, style or medium; link to it";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "embedding-refused",
            detail,
        ));
    }
    Ok(())
}
