//! Diverts the rows of a result before the driver reads them.
//!
//! The driver makes several allocations per row, which costs as much as the rest of a download. It still handles
//! login, requests, errors and the end of a result. Only `DataRow` messages are diverted, many at a time and
//! undecoded.
//!
//! Reads are coalesced: after the first rows of a result, a read that empties the [socket](super::socket) is followed
//! by a short delay, during which the kernel buffers the next ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;

use super::intercept_state::{InterceptState, RowChunk, RowTooLarge, State};
use super::message::{DATA_ROW, READY_FOR_QUERY, column_beyond, parse_header};

#[cfg(test)]
mod tests;

/// The size of the read buffer; longer rows extend it.
const READ_BUF_BYTES: usize = 128 * 1024;
/// Reads of a response are coalesced after this many bytes, so small results and first rows are not delayed.
const COALESCE_AFTER_BYTES: usize = 256 * 1024;
/// The resolution of tokio's timer.
const COALESCE_DELAY: Duration = Duration::from_millis(1);
/// The size of the largest message for the driver, which keeps it in memory. An error may quote a value, however large.
const DRIVER_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// After this many reads without data the query is slow, and readiness events are resumed.
const EMPTY_READS_MAX: u32 = 10;

/// A server's stream. It passes messages to the driver, except the rows that [`InterceptState`] selects.
pub(super) struct RowInterceptor<S> {
    stream: S,
    intercept: InterceptState,
    /// Bytes that were read and not processed yet.
    read_buf: BytesMut,
    /// The size of the complete rows at the start of `read_buf`.
    row_bytes: usize,
    /// The rest of the current driver message, in bytes; part of it may not have been read yet.
    driver_bytes: usize,
    /// Rewritten requests to send.
    write_buf: BytesMut,
    /// Bytes received since the last request.
    received_bytes: usize,
    delay: Pin<Box<Sleep>>,
    is_delayed: bool,
    /// Consecutive reads without data.
    empty_reads: u32,
}

impl<S> RowInterceptor<S> {
    /// Takes the state, for an interceptor inside the TLS stream that uses this one.
    pub(super) fn take_state(&mut self) -> InterceptState {
        std::mem::take(&mut self.intercept)
    }

    pub(super) fn new(stream: S, intercept: InterceptState) -> RowInterceptor<S> {
        RowInterceptor {
            stream,
            intercept,
            read_buf: BytesMut::new(),
            row_bytes: 0,
            driver_bytes: 0,
            write_buf: BytesMut::new(),
            received_bytes: 0,
            delay: Box::pin(sleep(Duration::ZERO)),
            is_delayed: false,
            empty_reads: 0,
        }
    }

    /// Counts the complete rows at the start of `read_buf`, and moves other messages to the driver's buffer.
    fn split_messages(&mut self, out: &mut ReadBuf<'_>) -> io::Result<SplitOutcome> {
        let mut state = self.intercept.lock();
        loop {
            let available = self.driver_bytes.min(self.read_buf.len());
            let copied = available.min(out.remaining());
            out.put_slice(&self.read_buf[..copied]);
            self.read_buf.advance(copied);
            self.driver_bytes -= copied;
            if copied < available {
                return Ok(SplitOutcome::DriverBufferFull);
            }
            let unparsed = &self.read_buf[self.row_bytes..];
            let Some(header) = unparsed.first_chunk().filter(|_| self.driver_bytes == 0) else {
                return Ok(SplitOutcome::NeedsInput);
            };
            let (tag, length) = parse_header(header)?;
            if tag == DATA_ROW
                && let Some(row_bytes_max) = state.intercepted_row_bytes_max()
            {
                // Before the rest of the row is read.
                if length > row_bytes_max
                    && let Some(column) = column_beyond(unparsed, row_bytes_max)
                {
                    return Ok(SplitOutcome::RowTooLarge(RowTooLarge { column }));
                }
                if unparsed.len() < length {
                    return Ok(SplitOutcome::NeedsInput);
                }
                self.row_bytes += length;
            } else if length > DRIVER_MESSAGE_BYTES_MAX {
                return Err(io::Error::other("a message of the server is too large"));
            } else if self.row_bytes > 0 {
                return Ok(SplitOutcome::RowsEnded);
            } else {
                if tag == READY_FOR_QUERY {
                    state.ready_for_query();
                }
                self.driver_bytes = length;
            }
        }
    }

    /// Sends the complete rows to the query.
    fn poll_flush_rows(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.row_bytes == 0 {
            return Poll::Ready(());
        }
        ready!(self.poll_reserve(cx));
        let rows = self.read_buf.split_to(std::mem::take(&mut self.row_bytes));
        self.send(Ok(rows.freeze()));
        Poll::Ready(())
    }

    /// Waits until the query accepts a chunk, or has ended.
    fn poll_reserve(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.intercept.lock() {
            State::Intercepting { rows, .. } => rows.poll_reserve(cx).map(drop),
            State::Unframed | State::PassThrough => Poll::Ready(()),
        }
    }

    /// Sends a chunk to the query, after [`poll_reserve`](RowInterceptor::poll_reserve). A query that has ended needs
    /// none.
    fn send(&self, chunk: RowChunk) {
        if let State::Intercepting { rows, .. } = &mut *self.intercept.lock() {
            let _ = rows.send_item(chunk);
        }
    }
}

/// Ends the row channel, so a query that waits for rows fails.
impl<S> Drop for RowInterceptor<S> {
    fn drop(&mut self) {
        self.intercept.reset();
    }
}

/// Why [`RowInterceptor::split_messages`] stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SplitOutcome {
    /// All complete messages were processed.
    NeedsInput,
    /// A driver message follows the rows, which must be flushed first.
    RowsEnded,
    /// The driver's buffer has no space left.
    DriverBufferFull,
    /// A row that exceeds the limit follows the rows.
    RowTooLarge(RowTooLarge),
}

impl<S: AsyncRead + Unpin> RowInterceptor<S> {
    /// Reads what the stream has into `read_buf`, after a delay if reads are coalesced. Reading nothing is the end.
    fn poll_read_coalesced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.is_delayed {
                ready!(self.delay.as_mut().poll(cx));
                self.is_delayed = false;
            }
            let coalesce =
                self.received_bytes > COALESCE_AFTER_BYTES && self.empty_reads < EMPTY_READS_MAX;
            self.intercept.readiness.set_suspended(coalesce);
            let before = self.read_buf.len();
            let outcome = self.poll_fill_read_buf(cx);
            let read_bytes = self.read_buf.len() - before;
            self.received_bytes += read_bytes;
            self.empty_reads = if read_bytes > 0 {
                0
            } else {
                self.empty_reads + 1
            };
            if coalesce && self.read_buf.len() < self.read_buf.capacity() {
                self.delay.as_mut().reset(Instant::now() + COALESCE_DELAY);
                self.is_delayed = true;
            }
            // While readiness events are suspended, only the delay wakes the task.
            if !(coalesce && outcome.is_pending()) {
                return outcome;
            }
        }
    }

    fn poll_fill_read_buf(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.read_buf.len();
        if self.read_buf.capacity() - before < READ_BUF_BYTES / 2 {
            self.read_buf.reserve(READ_BUF_BYTES);
        }
        while self.read_buf.len() < self.read_buf.capacity() {
            let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read_buf);
            match read {
                Poll::Ready(Ok(1..)) => {}
                // The next read returns the error or the end again, after these bytes.
                _ if self.read_buf.len() > before => break,
                other => return other.map_ok(drop),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RowInterceptor<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(*self.intercept.lock(), State::Unframed) {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let before = out.filled().len();
        loop {
            let outcome = self.split_messages(out)?;
            if out.filled().len() > before || outcome == SplitOutcome::DriverBufferFull {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush_rows(cx));
            if let SplitOutcome::RowTooLarge(row) = outcome {
                ready!(self.poll_reserve(cx));
                self.send(Err(row));
                return Poll::Ready(Err(io::Error::other("a row is too large")));
            }
            if outcome == SplitOutcome::NeedsInput {
                let buffered = self.read_buf.len();
                ready!(self.poll_read_coalesced(cx))?;
                if self.read_buf.len() == buffered {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> RowInterceptor<S> {
    fn poll_drain_write_buf(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write_buf.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(cx, &self.write_buf);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.write_buf.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RowInterceptor<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A new request: its response starts without delay, and an idle connection holds no read buffer.
        self.received_bytes = 0;
        self.is_delayed = false;
        self.empty_reads = 0;
        self.intercept.readiness.set_suspended(false);
        if self.read_buf.is_empty() {
            self.read_buf = BytesMut::new();
        }
        ready!(self.poll_drain_write_buf(cx))?;
        let this = &mut *self;
        if this.intercept.lock().rewrite(bytes, &mut this.write_buf)? {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain_write_buf(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for RowInterceptor<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}
