//! The servers and the route table.

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::guard::{GuardContext, fn_guard};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, Resource};
use socket2::SockRef;

use super::config::StaticFile;
use super::connection::accept::accept;
use super::connection::admission::{ConnectionLimits, Connections};
use super::middleware::answer_every_request;
use super::request::path::{self, EXPORT_ROUTE, EXPORTS_PATH, ExportsPath, FILES_ROUTE};
use super::response::exports_page::PAGE_PATH;
use super::response::problem::{Problem, method_not_allowed, unknown_path};
use super::routes::{catalog, documents, download, exports_page, inspect, links, ops, status};
use super::state::AppState;
use super::tls;

/// Where TLS ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// At a proxy.
    Elsewhere,
    /// At this server, with the certificate of its state.
    Here,
}

/// Creates a server on an open socket. It runs while it is awaited, until its handle stops it; downloads
/// then have `drain_max`.
///
/// # Errors
/// Returns the error of the socket.
pub fn server(
    listener: TcpListener,
    state: Arc<AppState>,
    tls: Tls,
    drain_max: Duration,
) -> io::Result<Server> {
    limit_stalls(&listener, state.service.policy().stall_max);
    let tls = match tls {
        Tls::Elsewhere => None,
        Tls::Here => Some(tls::acceptor(state.certificate.clone())),
    };
    let connections = Arc::new(Connections::new(state.config.connection_limits));
    let state = Data::from(state);
    let app = {
        let state = state.clone();
        move || {
            App::new()
                .app_data(state.clone())
                .wrap(from_fn(answer_every_request))
                .configure(|app| routes(app, &state))
        }
    };
    let server = Server::build()
        .disable_signals()
        .shutdown_timeout(drain_max.as_secs())
        .listen("rowlink", listener, move || {
            accept(app(), state.clone(), connections.clone(), tls.clone())
        })?;
    Ok(server.run())
}

/// Creates the operators' server: metrics and probes. It counts its connections apart from the public ones, so
/// that it answers also when those have reached their limit.
///
/// # Errors
/// Returns the error of the socket.
pub fn metrics_server(listener: TcpListener, state: Arc<AppState>) -> io::Result<Server> {
    let connections = Arc::new(Connections::new(ConnectionLimits::OPERATORS));
    let state = Data::from(state);
    let app = {
        let state = state.clone();
        move || {
            App::new()
                .app_data(state.clone())
                .wrap(from_fn(answer_every_request))
                .configure(probes)
                .configure(metrics_route)
                .default_service(web::to(no_such_path))
        }
    };
    let server = Server::build()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("metrics", listener, move || {
            accept(app(), state.clone(), connections.clone(), None)
        })?;
    Ok(server.run())
}

/// Makes the kernel close a connection whose peer accepts nothing for that long. Only the kernel knows:
/// its buffer accepts what this server writes. RFC 5482; Linux counts a closed window too, and accepted
/// connections inherit the option of their listener.
fn limit_stalls(listener: &TcpListener, stall_max: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(listener).set_tcp_user_timeout(Some(stall_max)) {
        tracing::warn!(%error, "stalled downloads will not be aborted");
    }
}

/// The route table.
fn routes(app: &mut ServiceConfig, state: &AppState) {
    // Downloads come first and are matched by a prefix and a guard: cheaper than a pattern per request.
    app.service(
        web::scope(EXPORTS_PATH)
            .guard(fn_guard(|request| {
                matches!(sent_path(request), Some(ExportsPath::Download))
            }))
            .default_service(web::to(download::download)),
    )
    .service(web::resource(FILES_ROUTE).default_service(web::to(documents::documents)))
    .service(resource("/v1/links", "POST").route(web::post().to(links::issue)))
    .service(resource("/v1/links/inspect", "POST").route(web::post().to(inspect::inspect)))
    .service(resource("/v1/links/status", "POST").route(web::post().to(status::status)))
    .service(resource("/v1/links/cancel", "POST").route(web::post().to(status::cancel)))
    .service(resource(EXPORTS_PATH, "GET").route(web::get().to(catalog::list)))
    .service(
        resource(EXPORT_ROUTE, "GET")
            .guard(fn_guard(|request| {
                matches!(sent_path(request), Some(ExportsPath::Export))
            }))
            .route(web::get().to(catalog::show)),
    )
    .service(resource("/openapi.yaml", "GET").route(web::get().to(ops::openapi)))
    .configure(probes);
    if !state.config.has_metrics_port {
        app.configure(metrics_route);
    }
    state.files.iter().for_each(|file| file_route(app, file));
    if state.config.has_exports_page {
        // First the files: an export's name has no dot.
        exports_page::files()
            .iter()
            .for_each(|file| file_route(app, file));
        app.configure(exports_page_routes);
    }
    app.default_service(web::to(no_such_path));
}

fn file_route(app: &mut ServiceConfig, file: &StaticFile) {
    let (path, file) = (file.path, file.clone());
    let serve = move |request: HttpRequest| ready(ops::static_file(&request, &file));
    app.service(resource(path, "GET").route(web::get().to(serve)));
}

fn exports_page_routes(app: &mut ServiceConfig) {
    let file = resource("/exports/{export}.{format}", "GET");
    app.service(resource(PAGE_PATH, "GET").route(web::get().to(exports_page::list)))
        .service(file.route(web::get().to(exports_page::file)))
        .service(resource("/exports/{export}", "GET").route(web::get().to(exports_page::show)));
}

fn probes(app: &mut ServiceConfig) {
    app.service(resource("/healthz", "GET").route(web::get().to(ops::healthz)))
        .service(resource("/readyz", "GET").route(web::get().to(ops::readyz)));
}

fn metrics_route(app: &mut ServiceConfig) {
    app.service(resource("/metrics", "GET").route(web::get().to(ops::metrics)));
}

/// Classifies the path as it was sent, before the router decodes it.
fn sent_path(request: &GuardContext<'_>) -> Option<ExportsPath> {
    path::classify(request.head().uri.path())
}

/// Creates a resource that answers 405 to every method but `allowed`.
fn resource(path: &str, allowed: &'static str) -> Resource {
    let refuse = move || async move { Err::<HttpResponse, Problem>(method_not_allowed(allowed)) };
    web::resource(path).default_service(web::to(refuse))
}

async fn no_such_path() -> Result<HttpResponse, Problem> {
    Err(unknown_path())
}
