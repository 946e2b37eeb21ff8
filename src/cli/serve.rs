//! Running: servers, signals and reloads, until it is time to stop.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::signals::Signals;
use super::{ErrorLines, error_line};
use crate::config::Reload;
use crate::http::{self, AppState, Drain, Tls};

/// How often files are looked at. They are small, and a change in a mounted secret has no signal.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// What is left of it after an interrupt.
const ABORT_GRACE: Duration = Duration::from_millis(100);
/// What a stopping server needs beyond the time that it gives to downloads.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where to serve.
pub(super) struct Sockets {
    pub(super) public: TcpListener,
    /// For operators alone.
    pub(super) metrics: Option<TcpListener>,
    pub(super) tls: Tls,
}

/// Serves until SIGTERM or SIGINT.
pub(super) async fn run(
    sockets: Sockets,
    state: AppState,
    reload: Reload,
    drain: Drain,
) -> Result<(), ErrorLines> {
    let address = sockets.public.local_addr().map_err(error_line)?;
    let signals = Signals::install().map_err(error_line)?;
    let state = Arc::new(state);
    let patience = drain.max + STOP_GRACE;
    let server = http::server(sockets.public, state.clone(), sockets.tls, patience);
    let server = server.map_err(error_line)?;
    if let Some(listener) = sockets.metrics {
        let address = listener.local_addr().map_err(error_line)?;
        let metrics = http::metrics_server(listener, state.clone()).map_err(error_line)?;
        tokio::spawn(metrics);
        tracing::info!(%address, "metrics");
    }
    tokio::spawn(reload_for_ever(reload, state.clone(), signals.hangup));
    tracing::info!(%address, "listening");
    let handle = server.handle();
    tokio::select! {
        ended = server => ended.map_err(error_line)?,
        () = interrupted(signals.interrupt, &state) => {}
        () = wind_down(signals.terminate, &handle, &state, drain) => {}
    }
    state.service.close().await;
    Ok(())
}

/// Comes on SIGINT: stops at once, also while downloads wind down.
async fn interrupted(mut interrupt: Signal, state: &AppState) {
    interrupt.recv().await;
    state.abort_downloads();
    // Lets bodies that are on their way see it, and break visibly.
    sleep(ABORT_GRACE).await;
}

/// Comes some time after SIGTERM, once everything has ended.
async fn wind_down(mut terminate: Signal, server: &ServerHandle, state: &AppState, drain: Drain) {
    terminate.recv().await;
    tracing::info!("draining");
    state.drain();
    sleep(drain.delay).await;
    let stopped = server.stop(true);
    tokio::pin!(stopped);
    if timeout(drain.max, &mut stopped).await.is_err() {
        tracing::warn!(downloads = state.service.downloads(), "cut");
        state.abort_downloads();
        stopped.await;
    }
}

async fn reload_for_ever(mut reload: Reload, state: Arc<AppState>, mut hangup: Signal) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = sleep(RELOAD_EVERY) => {}
        }
        let state = state.clone();
        let checked = spawn_blocking(move || {
            reload.check(&state);
            reload
        });
        match checked.await {
            Ok(back) => reload = back,
            Err(died) => {
                tracing::error!(%died, "files are not read again any more: restart");
                return;
            }
        }
    }
}
