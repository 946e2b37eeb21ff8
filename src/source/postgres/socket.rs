//! A socket whose readiness events can be suspended.
//!
//! A backend sends 8 KiB at a time. Each readiness event wakes the reader, thousands of times per second, which costs
//! both processes more CPU time than the data. While a long result streams, the socket is therefore deregistered: the
//! kernel buffers the data, and the reader polls for it.

use std::io::{self, Read as _};
use std::net;
use std::os::unix::net as unix_net;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The size of one read from a deregistered socket. The buffer is zeroed before each read, so a larger one would be
/// zeroed in vain.
const READ_BYTES: usize = 32 * 1024;

/// A connected socket.
pub(super) struct Socket {
    registration: Registration,
    readiness: ReadinessMode,
    /// The last read of a deregistered socket emptied it, so the next read returns without a system call.
    drained: bool,
}

/// A shared flag that suspends the readiness events of a socket. While it is set, a read without data is pending and
/// registers no waker: the caller must poll again on a timer.
#[derive(Clone, Default)]
pub(super) struct ReadinessMode(Arc<AtomicBool>);

impl ReadinessMode {
    pub(super) fn set_suspended(&self, suspended: bool) {
        self.0.store(suspended, Ordering::Relaxed);
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A socket with or without a registration in the runtime's event loop.
enum Registration {
    Tcp(TcpStream),
    Unix(UnixStream),
    DeregisteredTcp(net::TcpStream),
    DeregisteredUnix(unix_net::UnixStream),
    /// A change of the registration failed, and the socket is closed.
    Failed,
}

impl Socket {
    pub(super) fn tcp(socket: TcpStream, readiness: ReadinessMode) -> Socket {
        Socket::new(Registration::Tcp(socket), readiness)
    }

    pub(super) fn unix(socket: UnixStream, readiness: ReadinessMode) -> Socket {
        Socket::new(Registration::Unix(socket), readiness)
    }

    fn new(registration: Registration, readiness: ReadinessMode) -> Socket {
        Socket {
            registration,
            readiness,
            drained: false,
        }
    }

    /// Registers or deregisters the socket.
    fn switch_mode(&mut self, suspended: bool) -> io::Result<()> {
        let is_suspended = matches!(
            self.registration,
            Registration::DeregisteredTcp(_) | Registration::DeregisteredUnix(_)
        );
        if is_suspended == suspended {
            return Ok(());
        }
        self.registration = match std::mem::replace(&mut self.registration, Registration::Failed) {
            Registration::Tcp(socket) => Registration::DeregisteredTcp(socket.into_std()?),
            Registration::Unix(socket) => Registration::DeregisteredUnix(socket.into_std()?),
            Registration::DeregisteredTcp(socket) => {
                Registration::Tcp(TcpStream::from_std(socket)?)
            }
            Registration::DeregisteredUnix(socket) => {
                Registration::Unix(UnixStream::from_std(socket)?)
            }
            Registration::Failed => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(())
    }

    /// Returns the socket as an asynchronous stream; registers it first.
    fn registered(&mut self) -> io::Result<Pin<&mut dyn Stream>> {
        self.switch_mode(false)?;
        match &mut self.registration {
            Registration::Tcp(socket) => Ok(Pin::new(socket)),
            Registration::Unix(socket) => Ok(Pin::new(socket)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads without waiting; deregisters the socket first.
    fn read_now(&mut self, out: &mut ReadBuf<'_>) -> io::Result<()> {
        self.switch_mode(true)?;
        if std::mem::take(&mut self.drained) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let space_bytes = out.remaining().min(READ_BYTES);
        let space = out.initialize_unfilled_to(space_bytes);
        let count = match &mut self.registration {
            Registration::DeregisteredTcp(socket) => socket.read(space)?,
            Registration::DeregisteredUnix(socket) => socket.read(space)?,
            _ => return Err(io::ErrorKind::NotConnected.into()),
        };
        self.drained = (1..space_bytes).contains(&count);
        out.advance(count);
        Ok(())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.readiness.is_suspended() {
            return self.registered()?.poll_read(cx, out);
        }
        match self.read_now(out) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.registered()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.registration {
            // A socket needs no flush, and a deregistered one must stay so.
            Registration::DeregisteredTcp(_) | Registration::DeregisteredUnix(_) => {
                Poll::Ready(Ok(()))
            }
            _ => self.registered()?.poll_flush(cx),
        }
    }

    /// Waits until the server has closed its side, as libpq does: a pooler drops a cancel request whose sender closes
    /// first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut discarded = [0; 64];
            let mut space = ReadBuf::new(&mut discarded);
            let read = ready!(self.registered()?.poll_read(cx, &mut space));
            // A reset is an end too: over TLS the server closes without reading the close notification.
            if read.is_err() || space.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
