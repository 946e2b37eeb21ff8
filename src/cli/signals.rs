//! The signals that stop a command or reload its files. Before a handler is installed, its signal kills the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop a command.
pub(super) struct Stops {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

impl Stops {
    /// Installs the handlers.
    pub(super) fn install() -> io::Result<Stops> {
        Ok(Stops {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Installs the handler of SIGHUP, which reloads a server's files.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
