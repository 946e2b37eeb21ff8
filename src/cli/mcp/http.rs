//! MCP over HTTP: the transport "Streamable HTTP", without sessions. Each request has the credential of its caller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use url::Url;

use super::server::McpServer;
use crate::cli::errors::{ErrorLines, error_line};

/// The most open connections. Others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// The longest time for a request head, also between two requests.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// The longest time for a request with its body and its tool.
const REQUEST_MAX: Duration = Duration::from_secs(180);
/// The longest request body, in bytes: that of a request for a link is as long.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long to wait after a connection could not be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The names of this machine in `Host`.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

type Service = StreamableHttpService<McpServer, NeverSessionManager>;

/// Where the server listens, and to whom it answers.
pub(super) struct HttpOptions {
    pub(super) address: SocketAddr,
    /// Names by which clients reach it in addition to those of this machine.
    pub(super) hosts: Vec<String>,
    /// Origins of pages that may call it.
    pub(super) origins: Vec<String>,
}

/// Serves without end.
///
/// # Errors
/// Returns why the server cannot listen.
pub(super) async fn serve(server: McpServer, options: HttpOptions) -> Result<(), ErrorLines> {
    let HttpOptions {
        address,
        hosts,
        origins,
    } = options;
    if !address.ip().is_loopback() && hosts.is_empty() {
        return Err(error_line(format!(
            "--http: {address} is reachable from other machines; name this server with --host, and put TLS before it"
        )));
    }
    let not_listening = |error| error_line(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(not_listening)?;
    let address = listener.local_addr().map_err(error_line)?;
    // Closes a connection whose client does not read: hyper has no limit for that. Accepted connections inherit it.
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(&listener).set_tcp_user_timeout(Some(REQUEST_MAX)) {
        tracing::warn!(%error, "connections of clients that do not read will stay open");
    }
    let config = config(address, hosts, &origins);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = Service::new(move || Ok(server.clone()), sessions, config);
    eprintln!("rowlink: MCP at http://{address}/mcp");
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let _permit = permit;
            serve_connection(stream, service).await;
        });
    }
}

/// Returns the settings of the transport. Both headers are checked against DNS rebinding: `Host`, and `Origin` if a request has
/// one (MCP specification, Transports, Streamable HTTP, Security Warning).
fn config(
    address: SocketAddr,
    hosts: Vec<String>,
    origins: &[String],
) -> StreamableHttpServerConfig {
    let of_machine = LOOPBACK_NAMES.map(str::to_owned).into_iter();
    let loopback = address.ip().is_loopback().then(|| address.ip().to_string());
    StreamableHttpServerConfig::default()
        .with_allowed_hosts(of_machine.chain(loopback).chain(hosts))
        .with_allowed_origins(origins.iter().map(|origin| with_port(origin)))
        .enforce_origin_validation()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(BODY_BYTES_MAX)
}

/// Returns an origin with its port: without one the transport would accept every port.
fn with_port(origin: &str) -> String {
    let port = Url::parse(origin).ok();
    let port = port.filter(|url| url.port().is_none());
    match port.and_then(|url| url.port_or_known_default()) {
        Some(port) => format!("{origin}:{port}"),
        None => origin.to_owned(),
    }
}

/// Answers the requests of a connection. One that takes too long, or breaks, has no answer.
async fn serve_connection(stream: TcpStream, service: Service) {
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { timeout(REQUEST_MAX, service.handle(request)).await }
    });
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new());
    connection.header_read_timeout(HEAD_MAX);
    let served = connection.serve_connection(TokioIo::new(stream), answer);
    drop(served.await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_allows_only_its_port() {
        assert_eq!(with_port("https://a.example"), "https://a.example:443");
        assert_eq!(with_port("http://a.example"), "http://a.example:80");
        assert_eq!(with_port("http://a.example:5173"), "http://a.example:5173");
        assert_eq!(with_port("tauri://localhost"), "tauri://localhost");
    }
}
