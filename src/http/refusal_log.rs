//! The log line of a refused request: who asked for what, as far as it is known.

use actix_web::{HttpMessage as _, HttpRequest};
use rowlink_link::{Inspection, is_too_long};
use uuid::Uuid;

use super::request::authenticate::KnownCaller;
use super::request::client_ip::client_text;
use super::request::path::parse_download;
use super::response::problem::Problem;
use super::state::AppState;
use super::telemetry::trace;

/// Logs a problem, whose texts are short. Of invalid values it logs only the field names.
pub(super) fn log_refusal(
    request: &HttpRequest,
    state: &AppState,
    problem: &Problem,
    request_id: Uuid,
) {
    let code = problem.code();
    if let Some(cause) = problem.cause() {
        tracing::error!(%request_id, code, cause, "request failed");
        return;
    }
    let extensions = request.extensions();
    let caller = extensions.get::<KnownCaller>();
    let link = link_of(request, state);
    // Only a genuine link says who its user is.
    let genuine = link.as_ref().filter(|link| link.signature_valid);
    let user = match (caller, genuine.and_then(|link| link.link.as_ref())) {
        (Some(caller), _) => caller.user.as_str(),
        (None, Some(link)) => link.user.as_str(),
        (None, None) => "",
    };
    let fields: Vec<&str> = problem.fields().take(FIELDS_MAX).collect();
    tracing::info!(
        %request_id,
        code,
        detail = problem.detail(),
        ?fields,
        method = request.method().as_str(),
        route = trace::route_of(request).as_ref(),
        client = client_text(request, &state.config),
        credential = caller.map_or("", |caller| caller.credential.as_str()),
        user,
        link_id = link.as_ref().map_or_else(String::new, |link| link.id.to_string()),
        "request refused"
    );
}

const FIELDS_MAX: usize = 10;

/// Returns the parts of the link that a request is for.
fn link_of(request: &HttpRequest, state: &AppState) -> Option<Inspection> {
    let (path, _) = parse_download(request.uri().path())?;
    let query = request.uri().query().filter(|query| !is_too_long(query))?;
    state.service.inspect(path, query).ok()
}
