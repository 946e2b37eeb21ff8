//! The credential that a request brings: in its header, a cookie, or a query parameter.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::AppState;
use super::problem::Problem;
use crate::auth::{AuthError, Caller};

/// Who sends this request.
pub(super) async fn caller(request: &HttpRequest, state: &AppState) -> Result<Caller, Problem> {
    let cookie = state.http_config.jwt_cookie.as_deref();
    let token = bearer(request).or_else(|| cookie_value(request, cookie?));
    admit(state, token).await
}

/// The same, where the token may also be a value of the query.
pub(super) async fn caller_of_query(
    request: &HttpRequest,
    state: &AppState,
    parameter: Option<&str>,
) -> Result<Caller, Problem> {
    match parameter {
        Some(token) if bearer(request).is_none() => admit(state, Some(token)).await,
        _ => caller(request, state).await,
    }
}

async fn admit(state: &AppState, token: Option<&str>) -> Result<Caller, Problem> {
    let token = token.ok_or(AuthError::Missing)?;
    Ok(state
        .authenticator
        .authenticate(token, (state.clock)())
        .await?)
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// RFC 6265, section 5.4: pairs separated by semicolons.
fn cookie_value<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let headers = request.headers().get_all(header::COOKIE);
    let pairs = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|it| it.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim_matches('"'))
}
