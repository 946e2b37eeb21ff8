//! Unsigned requests: `GET /v1/exports/{export}.{format}?filters` with a credential issues a link like
//! `POST /v1/links`, and redirects to it. So a plain `<a href>` works where sessions are cookies. It
//! never streams.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use indexmap::IndexMap;

use super::links::issue_for;
use crate::format::Format;
use crate::http::request::authenticate::authenticate_with_query;
use crate::http::request::plain_query::PlainQuery;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::LinkRequest;

/// Issues a link for the caller, and redirects to it.
pub(super) async fn to_link(
    request: &HttpRequest,
    state: &AppState,
    export: &str,
    format: Option<Format>,
    query: PlainQuery,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate_with_query(request, state, query.token.as_deref()).await?;
    let mut by_name: IndexMap<String, Vec<String>> = IndexMap::new();
    for (name, value) in query.filters {
        by_name.entry(name).or_default().push(value);
    }
    let wanted = LinkRequest::for_file(export, format, by_name);
    let issued = issue_for(request, state, &caller, wanted)?;
    // See Other: the file is fetched by a GET (RFC 9110, section 15.4.4).
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, issued.url))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish())
}
