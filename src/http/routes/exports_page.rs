//! The page of exports: `GET /exports` lists them, `GET /exports/{export}` is the form of one, and its buttons lead to
//! `GET /exports/{export}.{format}`. No URL of the page has a credential.

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use rowlink_link::{DownloadPath, UserId, is_export_name, parse_query, percent_encode};

use super::catalog::described_export;
use crate::catalog::{ExportKind, StoreMode};
use crate::format::Format;
use crate::http::config::{StaticContent, StaticFile};
use crate::http::request::accept_language::accepted_languages;
use crate::http::request::authenticate::authenticate;
use crate::http::request::page_language::page_texts;
use crate::http::request::plain_query::PlainQuery;
use crate::http::response::document;
use crate::http::response::exports_page::{
    DOCUMENTS, FormPage, Frame, HEADERS, ListPage, PAGE_PATH, PageColumn, SCRIPT, SCRIPT_PATH,
    STYLE, STYLE_PATH, WordedExport, root_of,
};
use crate::http::response::problem::{Problem, malformed, unknown_path};
use crate::http::state::AppState;
use crate::texts::Texts;

/// The most names and values of a page's query that are read. They only fill in the form.
const GIVEN_MAX: usize = 500;

/// Returns the files of the page.
pub(in crate::http) fn files() -> [StaticFile; 2] {
    let file = |path, content_type, content: &'static str| StaticFile {
        path,
        content_type,
        content: StaticContent::Constant(content.into()),
    };
    [
        file(STYLE_PATH, "text/css; charset=utf-8", STYLE),
        file(SCRIPT_PATH, "text/javascript; charset=utf-8", SCRIPT),
    ]
}

/// Lists the caller's exports. A query that names an export, as the error page of a refused download adds it, leads to its
/// form.
pub async fn list(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let given = given(&request);
    if let Some(form) = form_of(&given) {
        return Ok(redirect(form));
    }
    let caller = authenticate(&request, &state).await?;
    let (texts, accepted) = (page_texts(&request, None), accepted_languages(&request));
    let exports = state.service.exports_for(&caller);
    let exports = exports.iter().map(|served| served.export());
    let search = given.iter().find(|(name, _)| name == "q");
    let page = ListPage {
        frame: frame(&request, texts),
        user: caller.user.as_ref().map(UserId::as_str),
        exports: exports
            .map(|export| WordedExport::new(export, &accepted, texts))
            .collect(),
        search: search.map_or("", |(_, words)| words.as_str()),
    };
    Ok(respond(texts, page.render()))
}

/// Shows the form of an export, if the list includes it. The query fills it in.
pub async fn show(
    request: HttpRequest,
    state: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let served = described_export(&state, &caller, &name)?;
    let (texts, accepted) = (page_texts(&request, None), accepted_languages(&request));
    let export = served.export();
    let worded = WordedExport::new(export, &accepted, texts);
    let mut sheets = served.sheets_for(&caller.scopes);
    // The columns of stored documents are the server's, and those of a book cannot be chosen.
    let columns = match (sheets.next(), sheets.next(), export.kind()) {
        (Some((sheet, columns)), None, ExportKind::Rows) => columns
            .into_iter()
            .map(|column| {
                let label = sheet.labels.get(&column.name);
                let label = label.map_or(column.name.as_str(), |label| worded.text(label));
                PageColumn {
                    name: column.name.clone(),
                    label: label.to_owned(),
                }
            })
            .collect(),
        _ => Vec::new(),
    };
    let is_stored = export.kind() == ExportKind::Rows && export.store.mode != StoreMode::Never;
    let given = given(&request);
    let page = FormPage {
        frame: frame(&request, texts),
        user: caller.user.as_ref().map(UserId::as_str),
        worded,
        columns,
        given: &given,
        can_prepare: is_stored && state.service.has_store() && state.kept_files.is_some(),
    };
    Ok(respond(texts, page.render()))
}

/// Redirects the query of a form to the plain link, without its empty fields: a form cannot leave them out, and a filter
/// might accept an empty text. It needs no credential, because it only rewrites the URL.
pub async fn file(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let path = download_path(request.uri().path()).ok_or_else(unknown_path)?;
    let query = request.uri().query().unwrap_or_default();
    let plain = PlainQuery::parse(query, &state.config)?;
    let plain = plain.ok_or_else(|| malformed("expected only filters".to_owned()))?;
    let pairs = plain.filters.iter().filter(|(_, value)| !value.is_empty());
    let query = encoded(pairs);
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(redirect(format!("..{path}{mark}{query}")))
}

/// Returns the path of the download to which a path of the page leads.
fn download_path(path: &str) -> Option<DownloadPath<'_>> {
    let name = path.strip_prefix(PAGE_PATH)?.strip_prefix('/')?;
    match name.split_once('.')? {
        (export, DOCUMENTS) => DownloadPath::of_files(export),
        (export, format) => {
            let is_known = format.parse::<Format>().is_ok();
            DownloadPath::new(export, format).filter(|_| is_known)
        }
    }
}

/// Returns the names and values of the page's query. A malformed one counts as absent.
fn given(request: &HttpRequest) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = parse_query(query).unwrap_or_default().into_iter();
    let owned = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
    owned.take(GIVEN_MAX).collect()
}

/// Returns the form of the export that a query names, with the other parameters.
fn form_of(given: &[(String, String)]) -> Option<String> {
    let (_, export) = given.iter().find(|(name, _)| name == "export")?;
    let others = given.iter().filter(|(name, _)| name != "export");
    let form = format!("exports/{export}?{}", encoded(others));
    is_export_name(export).then_some(form)
}

/// Returns the query with these names and values.
fn encoded<'p>(pairs: impl Iterator<Item = &'p (String, String)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    pairs.join("&")
}

fn frame<'p>(request: &HttpRequest, texts: &'p Texts) -> Frame<'p> {
    Frame {
        texts,
        root: root_of(request.path()),
    }
}

fn respond(texts: &'static Texts, page: String) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for header in HEADERS.into_iter().chain(document::headers(texts)) {
        response.insert_header(header);
    }
    response.body(page)
}

/// Leads to a URL that is relative to that of the request.
fn redirect(location: String) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((header::LOCATION, location));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    // The error page of a refused download finds the way back to the form by it.
    response.insert_header((header::REFERRER_POLICY, "same-origin"));
    response.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_page_leads_to_one_download() {
        for (path, expected) in [
            ("/exports/orders.csv", Some("/v1/exports/orders.csv")),
            ("/exports/invoice.file", Some("/v1/files/invoice")),
            ("/exports/orders", None),
            ("/exports/orders.pdf", None),
            ("/exports/a/b.csv", None),
            ("/exports/..csv", None),
            ("/exports/%2e%2e.csv", None),
            ("/exports/orders.csv.csv", None),
            ("/exports//evil.example", None),
            ("/exports", None),
        ] {
            let found = download_path(path).map(|path| path.to_string());
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_query_leads_to_the_form_of_an_export_and_nowhere_else() {
        let form = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            form_of(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        let found = form(&[
            ("export", "orders"),
            ("format", "csv"),
            ("filter.note", "a&b #"),
        ]);
        let expected = "exports/orders?format=csv&filter.note=a%26b%20%23";
        assert_eq!(found.as_deref(), Some(expected));
        for export in [
            "",
            "../x",
            "//evil.example",
            "a/b",
            "https://evil.example",
            "a.b",
        ] {
            assert_eq!(form(&[("export", export)]), None, "{export}");
        }
        assert_eq!(form(&[("q", "orders")]), None);
    }
}
