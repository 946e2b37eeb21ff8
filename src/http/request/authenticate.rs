//! The credential of a request: in its header, a cookie, or a query parameter.

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest};

use super::cross_site::refuse_cross_site;
use crate::auth::{AuthError, Caller};
use crate::http::response::problem::Problem;
use crate::http::state::AppState;

/// Authenticates the caller by the header or the cookie.
///
/// # Errors
/// Returns 401 if no valid credential is present, 503 if the issuer's keys are unavailable, and the problems of
/// [`refuse_cross_site`] for a cookie.
pub(in crate::http) async fn authenticate(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Caller, Problem> {
    if let Some(token) = bearer(request) {
        return authenticate_token(request, state, Some(token)).await;
    }
    let cookie = state.config.jwt_cookie.as_deref();
    let tokens = cookie.map_or_else(Vec::new, |name| cookie_values(request, name));
    if !tokens.is_empty() {
        let public_url = &state.service.policy().public_url;
        refuse_cross_site(
            request.method(),
            request.headers(),
            &state.config,
            public_url,
        )?;
    }
    // A browser sends one cookie per path and domain, the most specific first (RFC 6265, section 5.4). An older one may
    // be left of another application.
    let mut authenticated = Err(AuthError::Missing.into());
    for token in tokens {
        authenticated = authenticate_token(request, state, Some(token)).await;
        if authenticated.is_ok() {
            break;
        }
    }
    authenticated
}

/// Authenticates the caller of an unsigned URL, whose query may carry the token.
///
/// # Errors
/// As for [`authenticate`].
pub(in crate::http) async fn authenticate_with_query(
    request: &HttpRequest,
    state: &AppState,
    query_token: Option<&str>,
) -> Result<Caller, Problem> {
    match query_token {
        Some(token) if bearer(request).is_none() => {
            authenticate_token(request, state, Some(token)).await
        }
        _ => authenticate(request, state).await,
    }
}

async fn authenticate_token(
    request: &HttpRequest,
    state: &AppState,
    token: Option<&str>,
) -> Result<Caller, Problem> {
    let token = token.ok_or(AuthError::Missing)?;
    let now = (state.clock)();
    let caller = state.authenticator.authenticate(token, now).await?;
    let user = caller.user.as_ref().map(ToString::to_string);
    request.extensions_mut().insert(KnownCaller {
        credential: caller.credential.clone(),
        user: user.unwrap_or_default(),
    });
    Ok(caller)
}

/// The caller of a request that was authenticated, for the log.
pub(in crate::http) struct KnownCaller {
    pub(in crate::http) credential: String,
    pub(in crate::http) user: String,
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

/// How many cookies of one name are tried.
const COOKIES_MAX: usize = 4;

/// Returns the values of the cookies of a name. RFC 6265, section 5.4: pairs separated by semicolons. Other cookies may
/// hold any bytes: scripts can write them.
pub(super) fn cookie_values<'r>(request: &'r HttpRequest, name: &str) -> Vec<&'r str> {
    let headers = request.headers().get_all(header::COOKIE);
    let pairs = headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let named = pairs.filter_map(|pair| {
        let pair = str::from_utf8(pair).ok()?;
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then(|| value.trim_matches('"'))
    });
    named.take(COOKIES_MAX).collect()
}
