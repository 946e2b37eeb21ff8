//! What holds for every request: it has an id, is not oversized, and its answer is rendered as its
//! client wants it.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderName;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use tracing::field::display;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::headers::id_value;
use super::metrics::RefusalLabels;
use super::problem::{self, Problem};
use super::trace;
use super::{AppState, cors, page};
use rowlink_link::URL_BYTES_MAX;

/// All header fields of a request together are at most this long.
const HEADER_BYTES_MAX: usize = 16 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every request an id, refuses oversized heads, answers preflights, and renders every problem.
pub(super) async fn answer_every_request(
    state: Data<AppState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let span = trace::of_request(&request);
    let (http_config, head) = (&state.http_config, request.head());
    let preflight = cors::preflight(http_config, &head.method, request.path(), &head.headers);
    let mut response = match (preflight, check_head(&request)) {
        (Some(answer), _) => request.into_response(answer),
        (None, Ok(())) => {
            let answered = next.call(request).instrument(span.clone());
            answered.await?.map_into_boxed_body()
        }
        (None, Err(problem)) => request.error_response(problem),
    };
    // Not kept: nothing asks for it after this.
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
    if state.lifecycle.is_draining() {
        // Or a proxy sends a request on a connection that is just being closed, and cannot tell whether it was served.
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id_value(request_id));
    cors::allow(http_config, request.path(), request.headers(), headers);
    Ok(response)
}

/// The id under which a request is logged.
#[derive(Clone, Copy)]
struct RequestId(Uuid);

fn known_id(request: &HttpRequest) -> Option<Uuid> {
    let extensions = request.extensions();
    extensions.get().map(|RequestId(id)| *id)
}

/// The id of a request, made when it is first asked for and kept for the rest of it. Most requests that are refused end
/// before that.
pub(super) fn request_id(request: &HttpRequest) -> Uuid {
    known_id(request).unwrap_or_else(|| {
        let id = Uuid::now_v7();
        request.extensions_mut().insert(RequestId(id));
        // Now, because a client that leaves gets no answer.
        Span::current().record("request_id", display(id));
        id
    })
}

/// The answer to a problem, its line in the log, and its count.
fn render(
    request: &HttpRequest,
    state: &AppState,
    problem: &Problem,
    request_id: Uuid,
) -> HttpResponse {
    problem.log(request_id);
    let labels = RefusalLabels {
        route: trace::route_of(request),
        code: problem.code(),
    };
    state.metrics.refused.get_or_create(&labels).inc();
    if page::is_wanted(request) {
        problem.page(request_id, state.http_config.return_url.as_deref())
    } else {
        problem.document(request_id)
    }
}

fn check_head(request: &ServiceRequest) -> Result<(), Problem> {
    let target = request.uri().path_and_query();
    check_length(target.map_or("", |target| target.as_str()))?;
    let fields = request.headers().iter();
    let header_bytes: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > HEADER_BYTES_MAX {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let title = "The header is too long";
        let detail = format!("expected at most {HEADER_BYTES_MAX} bytes");
        return Err(Problem::new(status, "header-too-long", title, detail));
    }
    Ok(())
}

/// Refuses a path and query that are too long.
pub(super) fn check_length(target: &str) -> Result<(), Problem> {
    if target.len() <= URL_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("expected at most {URL_BYTES_MAX} bytes");
    let title = "The URL is too long";
    let status = StatusCode::URI_TOO_LONG;
    Err(Problem::new(status, "url-too-long", title, detail))
}

/// An error of the framework's own.
fn unexpected(error: &Error) -> Problem {
    match error.as_response_error().status_code() {
        status if status.is_client_error() => problem::malformed(error.to_string()),
        _ => problem::internal(error.to_string()),
    }
}
