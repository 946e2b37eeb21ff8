//! Reads from a socket in large gulps.
//!
//! A backend sends 8 KiB at a time. Whoever takes each of these at once wakes the two processes in
//! turn, thousands of times a second. Past the first rows of a result, a read that emptied the
//! socket is followed by a short pause, in which the next ones gather in the kernel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The most that is read at once.
const GULP_BYTES: usize = 256 * 1024;
/// A small result, and the first rows of a large one, are not delayed.
const PROMPT_BYTES: usize = 256 * 1024;
/// The shortest that tokio's timer knows.
const PAUSE: Duration = Duration::from_millis(1);

/// A socket whose reads are coalesced.
pub(super) struct CoalescedReads<S> {
    socket: S,
    gulp: Vec<u8>,
    taken: usize,
    /// What came since the last request.
    received: usize,
    pause: Pin<Box<Sleep>>,
    pausing: bool,
}

impl<S> CoalescedReads<S> {
    pub(super) fn new(socket: S) -> CoalescedReads<S> {
        CoalescedReads {
            socket,
            gulp: Vec::new(),
            taken: 0,
            received: 0,
            pause: Box::pin(sleep(Duration::ZERO)),
            pausing: false,
        }
    }
}

impl<S: AsyncRead + Unpin> CoalescedReads<S> {
    /// Fills the empty gulp with all that the socket has. Nothing in it is the end of the stream.
    fn poll_gulp(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pausing {
            ready!(self.pause.as_mut().poll(cx));
            self.pausing = false;
        }
        self.taken = 0;
        self.gulp.resize(GULP_BYTES, 0);
        let mut space = ReadBuf::new(&mut self.gulp);
        let outcome = loop {
            let before = space.filled().len();
            if space.remaining() == 0 {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.socket).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) if space.filled().len() > before => {}
                // An error, or the end: it is met again when the gulp is empty.
                _ if before > 0 => break Poll::Ready(Ok(())),
                outcome => break outcome,
            }
        };
        let filled = space.filled().len();
        self.gulp.truncate(filled);
        self.received += filled;
        if (1..GULP_BYTES).contains(&filled) {
            self.pause.as_mut().reset(Instant::now() + PAUSE);
            self.pausing = true;
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CoalescedReads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken == self.gulp.len() {
            if self.received < PROMPT_BYTES {
                let before = out.filled().len();
                ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
                self.received += out.filled().len() - before;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_gulp(cx))?;
        }
        let rest = &self.gulp[self.taken..];
        let count = rest.len().min(out.remaining());
        out.put_slice(&rest[..count]);
        self.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescedReads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A request: its answer starts promptly again, and an idle connection keeps no memory.
        self.received = 0;
        self.pausing = false;
        if self.taken == self.gulp.len() {
            self.gulp = Vec::new();
            self.taken = 0;
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_and_the_end_is_seen() {
        let (mut backend, socket) = tokio::io::duplex(10_000);
        let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let sender = tokio::spawn(async move {
            for (index, piece) in sent.chunks(8_191).enumerate() {
                backend.write_all(piece).await.expect("a reader");
                if index % 40 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut received = Vec::new();
        let mut reads = CoalescedReads::new(socket);
        reads.read_to_end(&mut received).await.expect("all of it");
        assert!(received == expected);
        sender.await.expect("a sender");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_starts_without_a_pause_also_after_a_long_one() {
        let (mut backend, socket) = tokio::io::duplex(4 * PROMPT_BYTES);
        let mut reads = CoalescedReads::new(socket);
        let mut buffer = vec![0; 3 * PROMPT_BYTES];
        backend.write_all(&buffer).await.expect("a reader");
        reads.read_exact(&mut buffer).await.expect("all of it");

        reads.write_all(b"request").await.expect("a backend");
        backend.write_all(b"answer").await.expect("a reader");
        let start = Instant::now();
        reads.read_exact(&mut buffer[..6]).await.expect("an answer");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
