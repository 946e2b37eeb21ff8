//! Unsigned requests: `GET /v1/exports/{export}.{format}?filters` with a credential issues a link like
//! `POST /v1/links`, and redirects to it. So a plain `<a href>` works where sessions are cookies. It
//! never streams.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use indexmap::IndexMap;

use super::links::issue_for;
use crate::format::Format;
use crate::http::request::authenticate::authenticate_with_query;
use crate::http::response::problem::Problem;
use crate::http::state::AppState;
use crate::service::LinkRequest;
use rowlink_link::{LinkError, RESERVED_PREFIX, parse_query};

/// The parameter that every link has.
const SIGNATURE: &str = "rl_signature";

/// Returns the names and values of a query without reserved parameters; `None` if it has one.
///
/// # Errors
/// Returns 400 if the query is malformed, also if it has the remains of a signature: `&amp;rl_signature=` or
/// `;rl_signature=` come from a link that was escaped once too often.
pub(super) fn plain_query(raw_query: &str) -> Result<Option<Vec<(String, String)>>, Problem> {
    if raw_query.is_empty() {
        return Ok(Some(Vec::new()));
    }
    // True for every link. Only a name with escapes makes it necessary to decode the query twice.
    if raw_query
        .split('&')
        .any(|pair| pair.starts_with(RESERVED_PREFIX))
    {
        return Ok(None);
    }
    let pairs = parse_query(raw_query).map_err(LinkError::from)?;
    if pairs
        .iter()
        .any(|(name, _)| name.starts_with(RESERVED_PREFIX))
    {
        return Ok(None);
    }
    if raw_query.contains(SIGNATURE) {
        let title = "The link is damaged";
        let detail = "the link was changed, perhaps by an escaped `&`; use it as it was issued";
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-link",
            title,
            detail,
        ));
    }
    let owned = |(name, value): (_, _)| (String::from(name), String::from(value));
    Ok(Some(pairs.into_iter().map(owned).collect()))
}

/// Issues a link for the caller, and redirects to it.
pub(super) async fn to_link(
    request: &HttpRequest,
    state: &AppState,
    export: &str,
    format: Format,
    query: Vec<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let token_name = state.config.jwt_query_param.as_deref();
    let (tokens, filters): (Vec<_>, Vec<_>) = query
        .into_iter()
        .partition(|(name, _)| token_name == Some(name.as_str()));
    let token = tokens.first().map(|(_, token)| token.as_str());
    let caller = authenticate_with_query(request, state, token).await?;
    let mut by_name: IndexMap<String, Vec<String>> = IndexMap::new();
    for (name, value) in filters {
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
