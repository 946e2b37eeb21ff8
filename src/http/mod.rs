//! The edge: nothing below it knows HTTP.

mod downloads;
mod exports;
mod links;
mod ops;
mod problem;

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig};
use actix_web::{App, Error, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, Resource};
use socket2::SockRef;
use uuid::Uuid;

use crate::auth::{AuthError, Caller, Door};
use crate::export::Exporter;
use crate::link::URL_BYTES_MAX;
use problem::Problem;

/// A body is at most this long.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// All header fields of a request together are at most this long.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Connections that send no request head are closed after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are kept for longer than load balancers usually keep them, so that it is they
/// who close and never race with us.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every handler needs.
pub struct Service {
    /// The two use cases.
    pub exporter: Exporter,
    /// Who may come in.
    pub door: Door,
    /// The time, in Unix seconds. Tests hold it still.
    pub clock: Clock,
}

/// Tells the time, in Unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A server on an open socket. It runs when it is awaited and stops on SIGTERM and SIGINT.
///
/// # Errors
/// The socket cannot be used.
pub fn server(listener: TcpListener, service: Arc<Service>) -> io::Result<Server> {
    let stall_max = service.exporter.policy().stall_max;
    let service = Data::from(service);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(service.clone())
            .app_data(PayloadConfig::new(BODY_BYTES_MAX))
            .wrap(from_fn(answer_every_request))
            .configure(routes)
    })
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    // A client that closed its side has left: a half-closed connection would hide that.
    .h1_allow_half_closed(false)
    .on_connect(move |socket, _| limit_stalls(socket, stall_max))
    .listen(listener)?
    .run();
    Ok(server)
}

/// Has the kernel close a connection whose peer accepts nothing for that long. Only it knows: what
/// we write is accepted by a buffer first. RFC 5482; Linux counts a closed window as well.
fn limit_stalls(socket: &dyn Any, stall_max: Duration) {
    #[cfg(target_os = "linux")]
    if let Some(socket) = socket.downcast_ref::<TcpStream>()
        && let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(stall_max))
    {
        tracing::warn!(%error, "a stalled download will not be cut");
    }
}

/// The route table.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/v1/links", "POST").route(web::post().to(links::issue)))
        .service(resource("/v1/exports", "GET").route(web::get().to(exports::list)))
        .service(resource("/v1/exports/{export:[^/.]*}", "GET").route(web::get().to(exports::show)))
        .service(
            resource("/v1/exports/{file}", "GET, HEAD")
                .route(web::method(Method::GET).to(downloads::get))
                .route(web::method(Method::HEAD).to(downloads::head)),
        )
        .service(resource("/healthz", "GET").route(web::get().to(ops::healthz)))
        .service(resource("/readyz", "GET").route(web::get().to(ops::readyz)))
        .service(resource("/openapi.yaml", "GET").route(web::get().to(ops::openapi)))
        .default_service(web::to(no_such_path));
}

/// A resource that answers 405 to every method but `allowed`.
fn resource(path: &str, allowed: &'static str) -> Resource {
    let refuse = move || async move {
        let detail = format!("expected {allowed}");
        let title = "The method is not allowed here";
        let code = "method-not-allowed";
        Err::<HttpResponse, Problem>(
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, code, title, detail)
                .with_header(header::ALLOW, HeaderValue::from_static(allowed)),
        )
    };
    web::resource(path).default_service(web::to(refuse))
}

async fn no_such_path() -> Result<HttpResponse, Problem> {
    Err(problem::unknown_path())
}

/// Gives every request an id, refuses oversized heads, and renders every problem.
async fn answer_every_request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = Uuid::now_v7();
    request.extensions_mut().insert(RequestId(request_id));
    let mut response = match check_head(&request) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.into_response(problem.answer(request_id)),
    };
    if let Some(error) = response.response().error() {
        let problem = error.as_error::<Problem>().cloned();
        let problem = problem.unwrap_or_else(|| unexpected(error));
        response = response.into_response(problem.answer(request_id));
    }
    let value = HeaderValue::from_str(&request_id.to_string()).expect("a UUID is ASCII");
    response.headers_mut().insert(REQUEST_ID, value);
    Ok(response)
}

/// The id under which a request is logged.
#[derive(Clone, Copy)]
struct RequestId(Uuid);

fn request_id(request: &HttpRequest) -> Uuid {
    request
        .extensions()
        .get()
        .map_or(Uuid::nil(), |RequestId(id)| *id)
}

fn check_head(request: &ServiceRequest) -> Result<(), Problem> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |it| it.as_str().len());
    if target > URL_BYTES_MAX {
        let detail = format!("expected at most {URL_BYTES_MAX} bytes");
        let title = "The URL is too long";
        return Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "url-too-long",
            title,
            detail,
        ));
    }
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

/// An error of the framework's own, such as a body that breaks off.
fn unexpected(error: &Error) -> Problem {
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("expected at most {BODY_BYTES_MAX} bytes");
            let title = "The body is too long";
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-long",
                title,
                detail,
            )
        }
        status if status.is_client_error() => {
            let title = "The request cannot be read";
            Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed-request",
                title,
                error.to_string(),
            )
        }
        _ => problem::internal(error.to_string()),
    }
}

/// Who sends this request.
fn caller(request: &HttpRequest, service: &Service) -> Result<Caller, Problem> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(AuthError::Missing)?;
    Ok(service.door.admit(token, (service.clock)())?)
}
