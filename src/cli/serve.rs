//! `rowlink serve`: runs servers, signals and reloads until shutdown.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::errors::{ErrorLines, error_line};
use super::reload::Reloader;
use super::signals::Stops;
pub(super) use super::signals::hangup;
use crate::http::{self, AppState, DrainTimes, Tls};

/// How often files are read. They are small, and a change of a mounted secret sends no signal.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// How long aborted downloads have to close their connections after an interrupt.
const ABORT_GRACE: Duration = Duration::from_millis(100);
/// How long stopping may take in addition to the time of downloads.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The open sockets.
pub(super) struct Sockets {
    pub(super) public: TcpListener,
    /// The operators' port.
    pub(super) metrics: Option<TcpListener>,
    pub(super) tls: Tls,
}

/// Serves until SIGTERM or SIGINT.
pub(super) async fn run(
    sockets: Sockets,
    state: Arc<AppState>,
    mut reloader: Reloader,
    hangup: Signal,
    drain: DrainTimes,
) -> Result<(), ErrorLines> {
    let address = sockets.public.local_addr().map_err(error_line)?;
    let stops = Stops::install().map_err(error_line)?;
    // Now, so that a file that is truncated later does not count as the first version.
    reloader.check(&state);
    let stop_max = drain.max + STOP_GRACE;
    let server = http::server(sockets.public, state.clone(), sockets.tls, stop_max);
    let server = server.map_err(error_line)?;
    if let Some(listener) = sockets.metrics {
        let address = listener.local_addr().map_err(error_line)?;
        let metrics = http::metrics_server(listener, state.clone()).map_err(error_line)?;
        tokio::spawn(metrics);
        tracing::info!(%address, "metrics");
    }
    tokio::spawn(reload_forever(reloader, state.clone(), hangup));
    tracing::info!(%address, "listening");
    let handle = server.handle();
    tokio::select! {
        ended = server => ended.map_err(error_line)?,
        () = interrupted(stops.interrupt, &state) => {}
        () = shut_down(stops.terminate, &handle, &state, drain) => {}
    }
    state.service.close().await;
    Ok(())
}

/// Resolves on SIGINT: stops immediately, also during a graceful shutdown.
async fn interrupted(mut interrupt: Signal, state: &AppState) {
    interrupt.recv().await;
    state.abort_downloads();
    // Lets response bodies abort their connections.
    sleep(ABORT_GRACE).await;
}

/// Resolves when the graceful shutdown after SIGTERM has ended.
async fn shut_down(
    mut terminate: Signal,
    server: &ServerHandle,
    state: &AppState,
    drain: DrainTimes,
) {
    terminate.recv().await;
    tracing::info!("draining");
    state.drain();
    sleep(drain.delay).await;
    state.stop();
    let stopped = async {
        // Uploads run in the server's threads, and their clients may have left.
        state.uploaded().await;
        server.stop(true).await;
    };
    tokio::pin!(stopped);
    if timeout(drain.max, &mut stopped).await.is_err() {
        tracing::warn!(downloads = state.service.downloads(), "aborting downloads");
        state.abort_downloads();
        stopped.await;
    }
}

async fn reload_forever(mut reloader: Reloader, state: Arc<AppState>, mut hangup: Signal) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = sleep(RELOAD_EVERY) => {}
        }
        let state = state.clone();
        let checked = spawn_blocking(move || {
            reloader.check(&state);
            reloader
        });
        match checked.await {
            Ok(returned) => reloader = returned,
            Err(died) => {
                tracing::error!(%died, "reloading has stopped; restart the server");
                return;
            }
        }
    }
}
