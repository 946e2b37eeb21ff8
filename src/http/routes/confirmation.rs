//! Links with the condition `confirm`: before a download begins, a person presses the button of a page. Programs that open
//! every link, such as mail scanners and chat previews, neither run a query nor use the link up.

use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use rowlink_link::{DownloadPath, Link};
use tokio::time::timeout;

use super::download::LINK_ID;
use super::preparation::{FileState, Preparation};
use crate::http::request::page_language::page_texts;
use crate::http::response::confirm_page::{ConfirmPage, FileOnPage};
use crate::http::response::document;
use crate::http::response::error_page::is_navigation;
use crate::http::response::headers::{fixed, id_value};
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::{LANGUAGE, PreparedDocuments, PreparedDownload};

/// The longest time that a page waits for the store.
const STORE_MAX: Duration = Duration::from_secs(2);

/// The type of a stored document, whose extension is not known, in the texts.
const DOCUMENT: &str = "document";

/// Headers of every page, in any language.
const FIXED: [(HeaderName, HeaderValue); 4] = [
    fixed(header::CACHE_CONTROL, "no-store"),
    fixed(header::REFERRER_POLICY, "no-referrer"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    fixed(HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// Returns the page that asks for confirmation; `None` if the download may begin: its link needs none, or it was confirmed.
///
/// # Errors
/// Returns 403 `confirmation-required` to a program, which would save the page as the file.
pub(super) async fn page(
    request: &HttpRequest,
    state: &Data<AppState>,
    prepared: &PreparedDownload,
) -> Result<Option<HttpResponse>, Problem> {
    let link = prepared.link.link();
    if !needs_page(request, link, prepared.begun.file_id.is_some())? {
        return Ok(None);
    }
    // Boxed, so that other downloads do not allocate its size.
    let file = Box::pin(file_on_page(state, prepared)).await;
    let (filename, file_type) = (&prepared.filename, prepared.format.definition().extension);
    Ok(Some(show(request, state, link, filename, file_type, file)))
}

/// Returns the page for stored documents, as [`page`] does. No query runs, so that their names are not known.
///
/// # Errors
/// Returns 403 `confirmation-required` to a program.
pub(super) fn page_of_documents(
    request: &HttpRequest,
    state: &AppState,
    prepared: &PreparedDocuments,
) -> Result<Option<HttpResponse>, Problem> {
    let link = prepared.link.link();
    if !needs_page(request, link, prepared.begun.file_id.is_some())? {
        return Ok(None);
    }
    let (filename, file_type) = match &link.filename {
        _ if prepared.is_archive() => (prepared.archive_name(), "zip"),
        Some(filename) => (filename.to_string(), DOCUMENT),
        None => (link.export.clone(), DOCUMENT),
    };
    let file = FileOnPage::NotPrepared;
    Ok(Some(show(request, state, link, &filename, file_type, file)))
}

/// Refuses a link that needs confirmation.
///
/// # Errors
/// Returns 403 `confirmation-required`.
pub(super) fn refuse_unconfirmed(link: &Link) -> Result<(), Problem> {
    match link.conditions.confirm {
        true => Err(confirmation_required()),
        false => Ok(()),
    }
}

/// Tells whether a request gets the page.
fn needs_page(request: &HttpRequest, link: &Link, is_begun: bool) -> Result<bool, Problem> {
    // A browser continues by a GET what a POST has begun. It has the entity tag of the file.
    let is_confirmed = request.method() == Method::POST || is_begun;
    if !link.conditions.confirm || is_confirmed {
        return Ok(false);
    }
    match is_navigation(request) {
        true => Ok(true),
        false => Err(confirmation_required()),
    }
}

/// Returns a page. `file_type` is an extension, or [`DOCUMENT`].
fn show(
    request: &HttpRequest,
    state: &AppState,
    link: &Link,
    filename: &str,
    file_type: &str,
    file: FileOnPage,
) -> HttpResponse {
    // Also of a sealed link.
    let language = link.options.get(LANGUAGE).map(String::as_str);
    let texts = page_texts(request, language);
    let page = ConfirmPage {
        texts,
        filename,
        file_type: &texts.file_type(file_type),
        expires: link.expires,
        now: (state.clock)(),
        is_single_use: link.conditions.single_use,
        file,
    };
    let mut response = HttpResponse::Ok();
    for header in FIXED.into_iter().chain(document::headers(texts)) {
        response.insert_header(header);
    }
    let policy = page.content_security_policy();
    response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
    response.insert_header((LINK_ID, id_value(link.id)));
    response.body(page.render())
}

/// Tells whether a link that is refused needs confirmation, as far as it can be read.
pub(super) fn is_needed(state: &AppState, path: DownloadPath<'_>, query: &str) -> bool {
    let inspection = state.service.inspect(path, query).ok();
    let link = inspection.and_then(|inspection| inspection.link);
    link.is_some_and(|link| link.conditions.confirm)
}

/// Returns what the store knows about the file. A page never fails because of it.
async fn file_on_page(state: &Data<AppState>, prepared: &PreparedDownload) -> FileOnPage {
    let Some(preparation) = Preparation::of(state, prepared.clone()) else {
        return FileOnPage::NotPrepared;
    };
    // Counted, because each page requests objects of the store.
    if state.service.check_status(prepared).is_err() {
        return FileOnPage::NotPrepared;
    }
    let cause = match timeout(STORE_MAX, preparation.look_up_only()).await {
        Ok(Ok(FileState::Ready(found))) => {
            return FileOnPage::Ready {
                bytes: found.record.bytes,
                rows: Some(found.record.rows),
            };
        }
        Ok(Ok(FileState::Preparing(so_far))) => {
            return FileOnPage::Preparing { rows: so_far.rows };
        }
        Ok(Ok(FileState::Absent | FileState::Failed(_) | FileState::Cancelled)) => {
            return FileOnPage::NotPrepared;
        }
        Ok(Err(problem)) => problem.cause().unwrap_or_default().to_owned(),
        Err(_) => format!("no answer within {} s", STORE_MAX.as_secs()),
    };
    let link_id = prepared.link.link().id;
    tracing::warn!(%link_id, cause, "the store cannot be used for a page");
    state.metrics.store_errors.inc();
    FileOnPage::NotPrepared
}

fn confirmation_required() -> Problem {
    let detail = "send a POST to the same URL to download the file";
    Problem::new(StatusCode::FORBIDDEN, "confirmation-required", detail)
}
