//! A socket that can be left alone.
//!
//! A backend sends 8 KiB at a time. A socket that is watched wakes its reader for each of these,
//! thousands of times a second, and costs the two processes more than the bytes do. While a long
//! result streams, the socket is therefore not watched: what comes gathers in the kernel, and is
//! asked for now and then.

use std::io::{self, Read as _};
use std::net;
use std::os::unix::net as unix_net;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Read at once from a socket that is not watched: space has to be cleared before it is read into,
/// and what is clear and stays empty was cleared in vain.
const READ_BYTES: usize = 32 * 1024;

/// A connected socket.
pub(super) struct Socket {
    socket: Watch,
    unwatched: ReadinessMode,
    /// The last read, of a socket that is not watched, took all there was: the next has nothing.
    drained: bool,
}

/// Says, from outside, that a socket shall not be watched. Reads that find nothing are then pending
/// without anybody being woken: whoever says so must come back by itself.
#[derive(Clone, Default)]
pub(super) struct ReadinessMode(Arc<AtomicBool>);

impl ReadinessMode {
    pub(super) fn set(&self, unwatched: bool) {
        self.0.store(unwatched, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

enum Watch {
    Tcp(TcpStream),
    Unix(UnixStream),
    UnwatchedTcp(net::TcpStream),
    UnwatchedUnix(unix_net::UnixStream),
    /// Changing from one to the other failed.
    Lost,
}

impl Socket {
    pub(super) fn tcp(socket: TcpStream, unwatched: ReadinessMode) -> Socket {
        Socket::new(Watch::Tcp(socket), unwatched)
    }

    pub(super) fn unix(socket: UnixStream, unwatched: ReadinessMode) -> Socket {
        Socket::new(Watch::Unix(socket), unwatched)
    }

    fn new(socket: Watch, unwatched: ReadinessMode) -> Socket {
        Socket {
            socket,
            unwatched,
            drained: false,
        }
    }

    /// Watches the socket or not.
    fn switch_mode(&mut self, unwatched: bool) -> io::Result<()> {
        let is_unwatched = matches!(
            self.socket,
            Watch::UnwatchedTcp(_) | Watch::UnwatchedUnix(_)
        );
        if is_unwatched == unwatched {
            return Ok(());
        }
        self.socket = match std::mem::replace(&mut self.socket, Watch::Lost) {
            Watch::Tcp(socket) => Watch::UnwatchedTcp(socket.into_std()?),
            Watch::Unix(socket) => Watch::UnwatchedUnix(socket.into_std()?),
            Watch::UnwatchedTcp(socket) => Watch::Tcp(TcpStream::from_std(socket)?),
            Watch::UnwatchedUnix(socket) => Watch::Unix(UnixStream::from_std(socket)?),
            Watch::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(())
    }

    /// The socket as what can be waited for.
    fn watched(&mut self) -> io::Result<Pin<&mut dyn Stream>> {
        self.switch_mode(false)?;
        match &mut self.socket {
            Watch::Tcp(socket) => Ok(Pin::new(socket)),
            Watch::Unix(socket) => Ok(Pin::new(socket)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn read_now(&mut self, out: &mut ReadBuf<'_>) -> io::Result<()> {
        self.switch_mode(true)?;
        if std::mem::take(&mut self.drained) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let space_bytes = out.remaining().min(READ_BYTES);
        let space = out.initialize_unfilled_to(space_bytes);
        let count = match &mut self.socket {
            Watch::UnwatchedTcp(socket) => socket.read(space)?,
            Watch::UnwatchedUnix(socket) => socket.read(space)?,
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
        if !self.unwatched.is_set() {
            return self.watched()?.poll_read(cx, out);
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
        self.watched()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket {
            // There is nothing to flush in a socket; and what is not watched shall stay so.
            Watch::UnwatchedTcp(_) | Watch::UnwatchedUnix(_) => Poll::Ready(Ok(())),
            _ => self.watched()?.poll_flush(cx),
        }
    }

    /// Waits until the server has closed its side: a pooler forgets a request to cancel whose sender
    /// closes first. libpq waits too.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut passed_over = [0; 64];
            let mut space = ReadBuf::new(&mut passed_over);
            let read = ready!(self.watched()?.poll_read(cx, &mut space));
            // A reset is an end too: over TLS the server leaves without reading our goodbye.
            if read.is_err() || space.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
