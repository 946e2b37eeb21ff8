//! The edge: nothing below it knows HTTP.

mod audit;
mod body;
mod coding;
mod cors;
mod credential;
mod downloads;
mod exports;
mod file;
mod headers;
mod inspect;
mod lifecycle;
mod links;
mod metrics;
mod middleware;
mod ops;
mod origin;
mod page;
mod problem;
mod redirect;
mod tls;
mod trace;

use std::borrow::Cow;
use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::guard::{GuardContext, fn_guard};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, Resource};
use ipnet::IpNet;
use socket2::SockRef;

use crate::auth::Authenticator;
use crate::service::ExportService;
use lifecycle::Lifecycle;
use metrics::Metrics;
use middleware::answer_every_request;
use problem::Problem;
use tls::Certificate;

pub use lifecycle::Drain;
pub use origin::ProxyHeader;
pub use trace::TRACE_TARGET;

/// Connections that send no request head are closed after this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are kept for longer than load balancers usually keep them, so that it is they
/// who close and never race with us.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What every handler needs.
pub struct AppState {
    /// The two use cases.
    pub service: ExportService,
    /// Who may come in.
    pub authenticator: Authenticator,
    /// The time, in Unix seconds. Tests hold it still.
    pub clock: Clock,
    http_config: HttpConfig,
    metrics: Metrics,
    lifecycle: Lifecycle,
    certificate: Arc<Certificate>,
    files: Vec<StaticFile>,
}

/// A file that is always the same.
#[derive(Debug, Clone)]
pub struct StaticFile {
    /// Where it is.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub content: Cow<'static, str>,
}

/// Tells the time, in Unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How browsers and proxies see us. The default: no cross-origin requests, no credential but the
/// header's, no trusted proxy.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// The origins whose scripts may use `/v1/`.
    pub cors_origins: Vec<String>,
    /// The proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they say it.
    pub proxy_header: ProxyHeader,
    /// Where the button of an error page leads.
    pub return_url: Option<String>,
    /// The cookie in which a token may come.
    pub jwt_cookie: Option<String>,
    /// The query parameter in which a token may come, where a plain link is asked for.
    pub jwt_query_param: Option<String>,
    /// Whether metrics are served on a port of their own, and so not here.
    pub metrics_apart: bool,
}

impl AppState {
    /// A service that runs.
    pub fn new(
        service: ExportService,
        authenticator: Authenticator,
        clock: Clock,
        http_config: HttpConfig,
    ) -> AppState {
        AppState {
            service,
            authenticator,
            clock,
            http_config,
            metrics: Metrics::new(),
            lifecycle: Lifecycle::default(),
            certificate: Arc::default(),
            files: Vec::new(),
        }
    }

    /// The same, with files beside the routes.
    pub fn with_files(mut self, files: Vec<StaticFile>) -> AppState {
        self.files = files;
        self
    }

    /// Serves new connections under another certificate; both texts are PEM.
    ///
    /// # Errors
    /// They are not a certificate and its key.
    pub fn set_certificate(&self, certificate: &str, key: &str) -> Result<(), String> {
        self.certificate.set(certificate, key)
    }

    /// Is not ready from now on, and serves as before.
    pub fn drain(&self) {
        self.lifecycle.drain();
    }

    /// Ends every download, visibly broken.
    pub fn abort_downloads(&self) {
        self.lifecycle.abort_downloads();
    }
}

/// Who ends TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// A proxy.
    Elsewhere,
    /// We do, under the service's certificate.
    Here,
}

/// A server on an open socket. It runs when it is awaited, until its handle stops it; downloads then
/// have `drain_max`.
///
/// # Errors
/// The socket cannot be used.
pub fn server(
    listener: TcpListener,
    state: Arc<AppState>,
    tls: Tls,
    drain_max: Duration,
) -> io::Result<Server> {
    limit_stalls(&listener, state.service.policy().stall_max);
    let certificate = state.certificate.clone();
    let state = Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(answer_every_request))
            .configure(|config| routes(config, &state))
    })
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    // A client that closed its side has left: a half-closed connection would hide that.
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(drain_max.as_secs());
    let server = match tls {
        Tls::Elsewhere => server.listen(listener)?,
        Tls::Here => server.listen_rustls_0_23(listener, tls::server_config(certificate))?,
    };
    Ok(server.run())
}

/// A server for operators alone: metrics and probes.
///
/// # Errors
/// The socket cannot be used.
pub fn metrics_server(listener: TcpListener, state: Arc<AppState>) -> io::Result<Server> {
    let state = Data::from(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(answer_every_request))
            .configure(probes)
            .configure(metrics_route)
            .default_service(web::to(no_such_path))
    });
    Ok(server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)?
        .run())
}

/// Has the kernel close a connection whose peer accepts nothing for that long. Only it knows: what
/// we write is accepted by a buffer first. RFC 5482; Linux counts a closed window as well, and
/// gives accepted connections what their listener has.
fn limit_stalls(listener: &TcpListener, stall_max: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(listener).set_tcp_user_timeout(Some(stall_max)) {
        tracing::warn!(%error, "a stalled download will not be cut");
    }
}

/// The route table.
fn routes(config: &mut ServiceConfig, state: &AppState) {
    config
        // What is asked for most comes first, and without a pattern, which each request would be searched for.
        .service(
            web::scope("/v1/exports")
                .guard(fn_guard(|request| {
                    downloads::is_file(path_as_sent(request))
                }))
                .default_service(web::to(downloads::file)),
        )
        .service(resource("/v1/links", "POST").route(web::post().to(links::issue)))
        .service(resource("/v1/links/inspect", "POST").route(web::post().to(inspect::inspect)))
        .service(resource("/v1/exports", "GET").route(web::get().to(exports::list)))
        .service(
            resource("/v1/exports/{export}", "GET")
                .guard(fn_guard(|request| {
                    !downloads::has_dot(path_as_sent(request))
                }))
                .route(web::get().to(exports::show)),
        )
        .service(resource("/openapi.yaml", "GET").route(web::get().to(ops::openapi)))
        .configure(probes);
    if !state.http_config.metrics_apart {
        config.configure(metrics_route);
    }
    for file in &state.files {
        let (path, file) = (file.path, file.clone());
        let serve = move || ready(ops::file(&file));
        config.service(resource(path, "GET").route(web::get().to(serve)));
    }
    config.default_service(web::to(no_such_path));
}

fn probes(config: &mut ServiceConfig) {
    config
        .service(resource("/healthz", "GET").route(web::get().to(ops::healthz)))
        .service(resource("/readyz", "GET").route(web::get().to(ops::readyz)));
}

fn metrics_route(config: &mut ServiceConfig) {
    config.service(resource("/metrics", "GET").route(web::get().to(ops::metrics)));
}

/// The path before the router decodes it.
fn path_as_sent<'r>(request: &'r GuardContext<'_>) -> &'r str {
    request.head().uri.path()
}

/// A resource that answers 405 to every method but `allowed`.
fn resource(path: &str, allowed: &'static str) -> Resource {
    let refuse =
        move || async move { Err::<HttpResponse, Problem>(problem::method_not_allowed(allowed)) };
    web::resource(path).default_service(web::to(refuse))
}

async fn no_such_path() -> Result<HttpResponse, Problem> {
    Err(problem::unknown_path())
}
