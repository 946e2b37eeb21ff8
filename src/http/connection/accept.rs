//! Accepts connections and serves HTTP/1.1 on them.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::Error;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::admission::Connections;
use super::exchange::Exchange;
use super::http_stream::HttpStream;
use super::stream::ClientStream;
use crate::http::refusal_log::record_unreadable;
use crate::http::state::AppState;

/// The time in which a connection must send its first request head, and in which it must agree on TLS.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are kept longer than load balancers usually keep them. So the load balancer closes
/// first, and never sends a request on a connection that this server is closing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The time in which a client must close its side.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the service that accepts the connections of one worker and serves `app` on them.
pub(in crate::http) fn accept<A, F, B>(
    app: A,
    state: Data<AppState>,
    connections: Arc<Connections>,
    tls: Option<TlsAcceptor>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()>
where
    A: IntoServiceFactory<F, Request>,
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>
        + 'static,
    F::InitError: fmt::Debug,
    B: MessageBody + 'static,
{
    let app = app
        .into_factory()
        .map_err(|error: Error| error.error_response());
    let http = HttpService::build()
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that closes its side has left; a half-closed connection would hide that.
        .h1_allow_half_closed(false)
        .on_connect_ext(|stream: &HttpStream, data| {
            data.insert::<Rc<Exchange>>(stream.exchange());
        })
        .h1(map_config(app, |()| AppConfig::default()));
    fn_factory(move || {
        let http = http.new_service(());
        let (state, connections, tls) = (state.clone(), connections.clone(), tls.clone());
        async move {
            let http = Rc::new(http.await?);
            Ok(fn_service(move |tcp: TcpStream| {
                let (state, connections, tls) = (state.clone(), connections.clone(), tls.clone());
                serve(tcp, http.clone(), state, connections, tls)
            }))
        }
    })
}

/// Serves a connection until it ends.
async fn serve<S>(
    tcp: TcpStream,
    http: Rc<S>,
    state: Data<AppState>,
    connections: Arc<Connections>,
    tls: Option<TlsAcceptor>,
) -> Result<(), ()>
where
    S: Service<(HttpStream, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let Ok(peer) = tcp.peer_addr() else {
        return Ok(());
    };
    // Otherwise the end of a file waits until the client acknowledges what was before it, which takes 40 ms. An error means
    // that the client has left.
    if tcp.set_nodelay(true).is_err() {
        return Ok(());
    }
    let admission = match connections.admit(peer.ip(), &state.config.trusted_proxies) {
        Ok(admission) => admission,
        Err(limit) => {
            state.metrics.count_refused_connection(limit);
            return Ok(());
        }
    };
    let stream = ClientStream::new(tcp, admission, state.lifecycle.stop_token());
    let exchange = stream.exchange();
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => Either::Right(stream),
            Ok(Err(_)) | Err(_) => return Ok(()),
        },
    };
    let stream = HttpStream::new(stream, exchange.clone());
    let ended = http.call((stream, Some(peer))).await;
    record_unreadable(&state, peer, ended, exchange.is_late(), || {
        exchange.refused_id()
    });
    Ok(())
}
