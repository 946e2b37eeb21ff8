//! The log line of a refused request: who asked for what, as far as it is known. Every refusal is counted; of a
//! flood only some lines are written.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use actix_http::error::{DispatchError, ParseError};

use actix_web::{HttpMessage as _, HttpRequest};
use rowlink_link::{DownloadPath, Inspection, is_too_long};
use uuid::Uuid;

use super::request::authenticate::KnownCaller;
use super::request::client_ip::client_text;
use super::request::path::is_format_known;
use super::response::problem::Problem;
use super::state::AppState;
use super::telemetry::line_limit::LineLimit;
use super::telemetry::{RefusalLabels, trace};

/// Limits the lines.
#[derive(Default)]
pub(super) struct RefusalLog {
    refused: LineLimit,
    failed: LineLimit,
}

impl RefusalLog {
    fn allows_refused(&self) -> bool {
        self.refused.allows(Instant::now(), |lines| {
            tracing::warn!(lines, "refused requests without a line");
        })
    }

    fn allows_failed(&self) -> bool {
        self.failed.allows(Instant::now(), |lines| {
            tracing::warn!(lines, "failed requests without a line");
        })
    }
}

/// Counts and logs a problem, whose texts are short. Of invalid values it logs only the field names.
pub(super) fn record_refusal(
    request: &HttpRequest,
    state: &AppState,
    problem: &Problem,
    request_id: Uuid,
) {
    let code = problem.code();
    count(state, trace::route_of(request), code);
    if let Some(cause) = problem.cause() {
        if state.refusal_log.allows_failed() {
            let path = DownloadPath::parse(request.path());
            let export = path.as_ref().map_or("", DownloadPath::export);
            tracing::error!(%request_id, code, export, cause, "request failed");
        }
        return;
    }
    if !state.refusal_log.allows_refused() {
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
        fields = fields.join(","),
        method = request.method().as_str(),
        route = trace::route_of(request).as_ref(),
        client = client_text(request, &state.config),
        credential = caller.map_or("", |caller| caller.credential.as_str()),
        user,
        link_id = link.as_ref().map_or_else(String::new, |link| link.id.to_string()),
        "request refused"
    );
}

/// Counts and logs a request without a valid head. The HTTP service has refused it before any handler.
pub(super) fn record_unreadable(
    state: &AppState,
    peer: SocketAddr,
    ended: Result<(), DispatchError>,
    is_late: bool,
    request_id: impl FnOnce() -> Uuid,
) {
    let (code, detail) = match ended {
        Err(DispatchError::Parse(ParseError::TooLarge)) => ("header-too-long", String::new()),
        Err(DispatchError::Parse(error)) => ("malformed-request", error.to_string()),
        _ if is_late => ("request-too-slow", String::new()),
        _ => return,
    };
    // As for a request to an unknown path.
    count(state, "".into(), code);
    if state.refusal_log.allows_refused() {
        let (request_id, client) = (request_id(), peer.ip().to_canonical());
        tracing::info!(%request_id, code, detail, %client, "request refused");
    }
}

fn count(state: &AppState, route: Cow<'static, str>, code: &'static str) {
    let labels = RefusalLabels { route, code };
    state.metrics.refused.get_or_create(&labels).inc();
}

const FIELDS_MAX: usize = 10;

/// Returns the parts of the link that a request is for.
fn link_of(request: &HttpRequest, state: &AppState) -> Option<Inspection> {
    let path = DownloadPath::parse(request.uri().path()).filter(|path| is_format_known(*path))?;
    let query = request.uri().query().filter(|query| !is_too_long(query))?;
    state.service.inspect(path, query).ok()
}
