//! For every request: a limit on the head, an id, preflights, and problems in the format the client accepts.

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};
use tracing::Instrument as _;
use tracing::field::display;
use uuid::Uuid;

use super::connection::exchange::Exchange;
use super::refusal_log::record_refusal;
use super::refusal_page::refusal_page;
use super::response::headers::{REQUEST_ID, id_value};
use super::response::problem::{self, HEADER_BYTES_MAX, Problem, check_target_length};
use super::response::{cors, error_page};
use super::state::AppState;
use super::telemetry::request_id::known_id;
use super::telemetry::trace;

/// Refuses oversized heads, answers preflights, renders problems, and sets the request id.
pub(super) async fn answer_every_request(
    state: Data<AppState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let exchange = Exchange::of(request.request());
    exchange.begin_request(request.head());
    let span = trace::request_span(&request);
    let (config, head) = (&state.config, request.head());
    let preflight = cors::preflight(config, &head.method, request.path(), &head.headers);
    let mut response = match (preflight, check_head(&request)) {
        (Some(answer), _) => request.into_response(answer),
        (None, Ok(())) => {
            let answered = next.call(request).instrument(span.clone());
            answered.await?.map_into_boxed_body()
        }
        (None, Err(problem)) => request.error_response(problem),
    };
    // Not stored: no later code needs it.
    let request_id = known_id(response.request()).unwrap_or_else(Uuid::now_v7);
    if let Some(error) = response.response().error() {
        let answer = |problem: &Problem| render(response.request(), &state, problem, request_id);
        let answer = match error.as_error::<Problem>() {
            Some(problem) => answer(problem),
            None => answer(&unexpected(error)),
        };
        response = response.into_response(answer);
    }
    let request = response.request().clone();
    span.record("request_id", display(request_id));
    span.record(
        "http.response.status_code",
        i64::from(response.status().as_u16()),
    );
    if must_close(&state, &response) {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id_value(request_id));
    cors::allow(&state.config, request.path(), request.headers(), headers);
    exchange.end_request();
    Ok(response)
}

/// Tells whether the connection must end with this response.
fn must_close(state: &AppState, response: &ServiceResponse<BoxBody>) -> bool {
    // A client that asks for another protocol gets HTTP/1.1; otherwise the framework would announce a change.
    if response.request().head().upgrade() {
        return true;
    }
    // Otherwise a proxy could send a request on a closing connection, and not know whether it was served.
    // A file has chunks: with `Connection: close` some clients take the end of the connection for its end.
    let is_file = response.response().body().size() == BodySize::Stream;
    state.lifecycle.is_draining() && !is_file
}

/// Counts and logs a problem, and returns its response.
fn render(
    request: &HttpRequest,
    state: &AppState,
    problem: &Problem,
    request_id: Uuid,
) -> HttpResponse {
    record_refusal(request, state, problem, request_id);
    if error_page::is_navigation(request) {
        refusal_page(request, state, problem, request_id)
    } else {
        problem.document(request_id)
    }
}

fn check_head(request: &ServiceRequest) -> Result<(), Problem> {
    let target = request.uri().path_and_query();
    check_target_length(target.map_or("", |target| target.as_str()))?;
    let upgrades = request.headers().get_all(header::UPGRADE);
    // The framework would send the body without chunks, so that no client could tell where it ends.
    if upgrades.into_iter().any(names_websocket) {
        let detail = "expected a request without `Upgrade: websocket`";
        return Err(problem::malformed(detail.to_owned()));
    }
    let fields = request.headers().iter();
    let header_bytes: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > HEADER_BYTES_MAX {
        return Err(problem::header_too_long());
    }
    Ok(())
}

fn names_websocket(upgrade: &HeaderValue) -> bool {
    let bytes = upgrade.as_bytes().to_ascii_lowercase();
    bytes.windows(9).any(|name| name == b"websocket")
}

/// Converts an error of the framework.
fn unexpected(error: &Error) -> Problem {
    match error.as_response_error().status_code() {
        status if status.is_client_error() => problem::malformed(error.to_string()),
        _ => problem::internal(error.to_string()),
    }
}
