//! The stream of a connection, below TLS and HTTP.

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::admission::Admission;
use super::exchange::{Exchange, Reading};

/// How often a connection is checked. Coarse, so that a request sets no timer of its own.
const TICK: Duration = Duration::from_secs(5);

/// How many bytes are read in one call. More could hold many requests, each of which would be parsed and kept.
const PIECE_BYTES: usize = 1024;

/// A connection that ends if its client does not send requests in time, or more than is read; and that is
/// reset if it ends within a file.
pub(in crate::http) struct ClientStream {
    tcp: TcpStream,
    exchange: Rc<Exchange>,
    tick: Pin<Box<Sleep>>,
    /// Resolves when the server stops.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether the next read waits, so that the HTTP service sees whether it has a complete head.
    yields: bool,
    /// Whether closing the socket resets the connection.
    resets: bool,
    _admission: Admission,
}

impl ClientStream {
    /// Watches an admitted connection. When `stop` is cancelled, it ends as soon as it is idle.
    pub(in crate::http) fn new(
        tcp: TcpStream,
        admission: Admission,
        stop: CancellationToken,
    ) -> ClientStream {
        ClientStream {
            tcp,
            exchange: Rc::default(),
            tick: Box::pin(sleep(TICK)),
            stop: Box::pin(stop.cancelled_owned()),
            yields: false,
            resets: false,
            _admission: admission,
        }
    }

    pub(in crate::http) fn exchange(&self) -> Rc<Exchange> {
        self.exchange.clone()
    }

    /// Tells whether the connection must end although its client has not closed it.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while self.tick.as_mut().poll(context).is_ready() {
            if self.exchange.tick() {
                return true;
            }
            self.tick.as_mut().reset(Instant::now() + TICK);
        }
        self.exchange.is_idle() && self.stop.as_mut().poll(context).is_ready()
    }

    /// Sets whether closing the socket resets the connection; so it does when the process is killed.
    fn set_resets(&mut self, resets: bool) -> io::Result<()> {
        if self.resets != resets {
            let linger = resets.then_some(Duration::ZERO);
            SockRef::from(&self.tcp).set_linger(linger)?;
            self.resets = resets;
        }
        Ok(())
    }
}

impl AsyncRead for ClientStream {
    /// Reads nothing, as at the end of the stream, once the connection must end.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let reading = this.exchange.reading();
        match reading {
            Reading::Ended => return Poll::Ready(Ok(())),
            Reading::Paused => {
                this.exchange.pause(context.waker());
                return Poll::Pending;
            }
            Reading::Head if mem::take(&mut this.yields) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Reading::Head | Reading::Body => {}
        }
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece[..buffer.remaining().min(PIECE_BYTES)]);
        match Pin::new(&mut this.tcp).poll_read(context, &mut piece) {
            Poll::Ready(read) => {
                this.yields = reading == Reading::Head && piece.remaining() == 0;
                this.exchange.record_read(piece.filled().len());
                buffer.put_slice(piece.filled());
                Poll::Ready(read)
            }
            Poll::Pending if this.is_over(context) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.exchange.is_sending_file() {
            self.set_resets(true)?;
        }
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    /// Called when the socket has accepted all that was written, so also the end of a complete file.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(context))?;
        if !self.exchange.is_sending_file() {
            self.set_resets(false)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Fails within a file: closing the connection in good order would make the file look complete.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.is_sending_file() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
