//! Takes the rows of a result off the wire before the driver sees them.
//!
//! The driver makes a value of several allocations of every row, which costs as much as all the
//! rest of ours. It keeps what it is good at: logging in, asking, errors, the end of a result. The
//! rows alone, `DataRow` messages, are diverted, many at a time, as they came.
//!
//! Reads are coalesced on the way: past the first rows of a result, a read that emptied the
//! [socket](super::socket) is followed by a short pause, in which the next gather in the kernel.
//!
//! Messages: "Message Formats" in PostgreSQL's manual. Each is a tag of one byte and a length of
//! four, which counts itself and what follows.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::PollSender;

use super::formats::{FormatRewrite, WireFormat};
use super::socket::ReadinessMode;

/// What is read at once, as long as no row is longer.
const READ_BUF_BYTES: usize = 128 * 1024;
/// A small result, and the first rows of a large one, are not delayed.
const PROMPT_BYTES: usize = 256 * 1024;
/// The shortest that tokio's timer knows.
const PAUSE: Duration = Duration::from_millis(1);
/// After so many pauses in which nothing came, the query is slow, and the socket is watched again.
const PAUSES_MAX: u32 = 10;
/// Chunks of rows that may wait to be decoded.
const CHUNKS_IN_FLIGHT: usize = 1;

pub(super) const HEAD_BYTES: usize = 5;
const DATA_ROW: u8 = b'D';
const READY_FOR_QUERY: u8 = b'Z';

/// Whole `DataRow` messages, one after the other.
pub(super) type RowChunk = Bytes;

/// Lets a query have its rows from the tap of its connection.
#[derive(Clone, Default)]
pub(super) struct InterceptState {
    state: Arc<Mutex<State>>,
    /// Of the socket that the tap is on.
    pub(super) unwatched: ReadinessMode,
}

#[derive(Default)]
enum State {
    /// Not logged in yet: what comes is not made of messages alone.
    #[default]
    Raw,
    /// Everything is the driver's.
    Driver,
    /// The rows of one answer are diverted.
    Intercepting {
        answers_before: usize,
        rows: PollSender<RowChunk>,
        /// Until its request was sent.
        wanted: Option<FormatRewrite>,
    },
}

impl InterceptState {
    /// From now on everything that comes is messages.
    pub(super) fn logged_in(&self) {
        *self.lock() = State::Driver;
    }

    /// Diverts the rows of one answer: of those still to come the one after `answers_before`. Its
    /// columns come in these formats.
    pub(super) fn intercept(
        &self,
        answers_before: usize,
        formats: Vec<WireFormat>,
    ) -> mpsc::Receiver<RowChunk> {
        let (rows, diverted) = mpsc::channel(CHUNKS_IN_FLIGHT);
        *self.lock() = State::Intercepting {
            answers_before,
            rows: PollSender::new(rows),
            wanted: Some(FormatRewrite {
                requests_before: answers_before,
                formats,
            }),
        };
        diverted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn takes_rows(&self) -> bool {
        matches!(
            self,
            State::Intercepting {
                answers_before: 0,
                ..
            }
        )
    }

    /// Takes requests to rewrite them, while there is one that must be. Says whether it did.
    fn rewrite(&mut self, requests: &[u8], out: &mut BytesMut) -> io::Result<bool> {
        let State::Intercepting { wanted, .. } = self else {
            return Ok(false);
        };
        let Some(still_wanted) = wanted else {
            return Ok(false);
        };
        if still_wanted.rewrite(requests, out)? {
            *wanted = None;
        }
        Ok(true)
    }

    /// An answer ended.
    fn ready_for_query(&mut self) {
        match self {
            State::Intercepting { answers_before, .. } if *answers_before > 0 => {
                *answers_before -= 1
            }
            State::Intercepting { .. } => *self = State::Driver,
            State::Raw | State::Driver => {}
        }
    }
}

/// A stream from a server, with its rows taken out while the valve is open.
pub(super) struct RowInterceptor<S> {
    stream: S,
    intercept: InterceptState,
    /// What was read and is not dealt with yet.
    read_buf: BytesMut,
    /// How much of it is rows, which come first.
    rows: usize,
    /// How much is still to come of a message that is the driver's.
    rest: usize,
    /// Requests that were rewritten, and are not sent yet.
    rewritten: BytesMut,
    /// What came since the last request.
    received: usize,
    pause: Pin<Box<Sleep>>,
    pausing: bool,
    /// Pauses in which nothing came.
    pauses: u32,
}

impl<S> RowInterceptor<S> {
    /// Gives way to a tap of the stream that is spoken inside this one.
    pub(super) fn take_state(&mut self) -> InterceptState {
        std::mem::take(&mut self.intercept)
    }

    pub(super) fn new(stream: S, intercept: InterceptState) -> RowInterceptor<S> {
        RowInterceptor {
            stream,
            intercept,
            read_buf: BytesMut::new(),
            rows: 0,
            rest: 0,
            rewritten: BytesMut::new(),
            received: 0,
            pause: Box::pin(sleep(Duration::ZERO)),
            pausing: false,
            pauses: 0,
        }
    }

    /// Tells rows from all else, which is moved to the driver.
    fn sort(&mut self, out: &mut ReadBuf<'_>) -> io::Result<Sorted> {
        let mut state = self.intercept.lock();
        loop {
            let count = self.rest.min(self.read_buf.len());
            let taken = count.min(out.remaining());
            out.put_slice(&self.read_buf[..taken]);
            self.read_buf.advance(taken);
            self.rest -= taken;
            if taken < count {
                return Ok(Sorted::UntilTheDriverIsFull);
            }
            let held = &self.read_buf[self.rows..];
            let Some(head) = held.first_chunk().filter(|_| self.rest == 0) else {
                return Ok(Sorted::All);
            };
            let (tag, length) = read_head(head)?;
            if tag == DATA_ROW && state.takes_rows() {
                if held.len() < length {
                    return Ok(Sorted::All);
                }
                self.rows += length;
            } else if self.rows > 0 {
                return Ok(Sorted::UpToWhatFollowsRows);
            } else {
                if tag == READY_FOR_QUERY {
                    state.ready_for_query();
                }
                self.rest = length;
            }
        }
    }

    /// Hands on the rows that are whole.
    fn poll_flush_rows(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rows == 0 {
            return Poll::Ready(());
        }
        let mut state = self.intercept.lock();
        let place = match &mut *state {
            State::Intercepting { rows, .. } => {
                let reserved = ready!(rows.poll_reserve(cx));
                reserved.is_ok().then_some(rows)
            }
            State::Raw | State::Driver => None,
        };
        let chunk = self.read_buf.split_to(std::mem::take(&mut self.rows));
        // Without a place for them nobody wants them any more.
        if let Some(rows) = place {
            let _ = rows.send_item(chunk.freeze());
        }
        Poll::Ready(())
    }
}

/// Whoever waits for rows learns that none come.
impl<S> Drop for RowInterceptor<S> {
    fn drop(&mut self) {
        *self.intercept.lock() = State::Raw;
    }
}

/// How far the messages of a gulp were sorted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sorted {
    /// All that are whole.
    All,
    /// Rows must be handed on before what comes after them.
    UpToWhatFollowsRows,
    /// The driver must take what it has.
    UntilTheDriverIsFull,
}

/// How long a row is that begins with this head, which a tap has let through.
pub(super) fn row_bytes(head: &[u8; HEAD_BYTES]) -> usize {
    read_head(head).map_or(usize::MAX, |(_, length)| length)
}

pub(super) fn read_head(head: &[u8; HEAD_BYTES]) -> io::Result<(u8, usize)> {
    let [tag, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if length < HEAD_BYTES - 1 {
        let message = "a message is shorter than its head";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok((tag, 1 + length))
}

impl<S: AsyncRead + Unpin> RowInterceptor<S> {
    /// Reads all that the stream has, after what is left of the last gulp. Nothing new is the end.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.pausing {
                ready!(self.pause.as_mut().poll(cx));
                self.pausing = false;
            }
            let streams = self.received > PROMPT_BYTES && self.pauses < PAUSES_MAX;
            self.intercept.unwatched.set(streams);
            let before = self.read_buf.len();
            let outcome = self.poll_fill(cx);
            let came = self.read_buf.len() - before;
            self.received += came;
            self.pauses = if came > 0 { 0 } else { self.pauses + 1 };
            if streams && self.read_buf.len() < self.read_buf.capacity() {
                self.pause.as_mut().reset(Instant::now() + PAUSE);
                self.pausing = true;
            }
            // Nothing but the pause wakes the reader of a socket that is not watched.
            if !(streams && outcome.is_pending()) {
                return outcome;
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.read_buf.len();
        if self.read_buf.capacity() - before < READ_BUF_BYTES / 2 {
            self.read_buf.reserve(READ_BUF_BYTES);
        }
        while self.read_buf.len() < self.read_buf.capacity() {
            let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read_buf);
            match read {
                Poll::Ready(Ok(1..)) => {}
                // An error, or the end: it is met again after what came before it.
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
        if matches!(*self.intercept.lock(), State::Raw) {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let before = out.filled().len();
        loop {
            let sorted = self.sort(out)?;
            if out.filled().len() > before || sorted == Sorted::UntilTheDriverIsFull {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush_rows(cx));
            if sorted == Sorted::All {
                let held = self.read_buf.len();
                ready!(self.poll_read_more(cx))?;
                if self.read_buf.len() == held {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> RowInterceptor<S> {
    fn poll_send_rewritten(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rewritten.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(cx, &self.rewritten);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.rewritten.advance(count),
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
        // A request: its answer starts promptly again, and an idle connection keeps no memory.
        self.received = 0;
        self.pausing = false;
        self.pauses = 0;
        self.intercept.unwatched.set(false);
        if self.read_buf.is_empty() {
            self.read_buf = BytesMut::new();
        }
        ready!(self.poll_send_rewritten(cx))?;
        let this = &mut *self;
        if this.intercept.lock().rewrite(bytes, &mut this.rewritten)? {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_rewritten(cx))?;
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

/// A message as a server or a client sends it.
#[cfg(test)]
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag], &length[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What the driver gets and what is diverted, for messages that come in pieces.
    async fn sorted(messages: &[Vec<u8>], piece: usize, before: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut backend, socket) = tokio::io::duplex(50_000);
        let intercept = InterceptState::default();
        intercept.logged_in();
        let mut rows = intercept.intercept(before, Vec::new());
        let mut tap = RowInterceptor::new(socket, intercept);
        let sent = messages.concat();
        let send = async move {
            for piece in sent.chunks(piece) {
                backend.write_all(piece).await.expect("a reader");
            }
        };
        let mut driver = Vec::new();
        let read = async {
            tap.read_to_end(&mut driver).await.expect("all of it");
            drop(tap);
        };
        let mut diverted = Vec::new();
        let divert = async {
            while let Some(chunk) = rows.recv().await {
                diverted.extend(chunk);
            }
        };
        tokio::join!(send, read, divert);
        (driver, diverted)
    }

    fn all_but_rows(messages: &[Vec<u8>]) -> Vec<u8> {
        let others = messages.iter().filter(|message| message[0] != DATA_ROW);
        others.flatten().copied().collect()
    }

    fn rows_of(messages: &[Vec<u8>]) -> Vec<u8> {
        let rows = messages.iter().filter(|message| message[0] == DATA_ROW);
        rows.flatten().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn rows_of_any_size_are_taken_out_whole_and_in_order() {
        let row = |length: usize| message(DATA_ROW, &vec![length as u8; length]);
        let mut messages = vec![message(b'T', b"columns")];
        let lengths = [
            0,
            1,
            100,
            READ_BUF_BYTES - 5,
            READ_BUF_BYTES,
            READ_BUF_BYTES + 1,
            1 << 20,
        ];
        messages.extend(lengths.iter().cycle().take(50).map(|length| row(*length)));
        messages.extend([message(b'C', b"SELECT 50"), message(READY_FOR_QUERY, b"T")]);
        for piece in [7_919, 8_192, 50_000] {
            let (driver, diverted) = sorted(&messages, piece, 0).await;
            assert!(driver == all_but_rows(&messages), "pieces of {piece}");
            assert!(diverted == rows_of(&messages), "pieces of {piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rows_of_other_answers_are_the_drivers() {
        let answer = |name: &[u8]| [message(DATA_ROW, name), message(READY_FOR_QUERY, b"T")];
        let messages = [answer(b"before"), answer(b"wanted"), answer(b"after")].concat();
        let (driver, diverted) = sorted(&messages, 3, 1).await;
        assert_eq!(diverted, message(DATA_ROW, b"wanted"));
        assert_eq!(driver.len(), messages.concat().len() - diverted.len());
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_nobody_wants_are_passed_over() {
        let (mut backend, socket) = tokio::io::duplex(50_000);
        let intercept = InterceptState::default();
        intercept.logged_in();
        drop(intercept.intercept(0, Vec::new()));
        let mut tap = RowInterceptor::new(socket, intercept);
        let end = message(READY_FOR_QUERY, b"T");
        let sent = [message(DATA_ROW, b"row").repeat(1000), end.clone()].concat();
        backend.write_all(&sent).await.expect("a reader");
        drop(backend);
        let mut driver = Vec::new();
        tap.read_to_end(&mut driver).await.expect("all of it");
        assert_eq!(driver, end);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_starts_without_a_pause_also_after_a_long_one() {
        let (mut backend, socket) = tokio::io::duplex(1 << 20);
        let intercept = InterceptState::default();
        intercept.logged_in();
        let mut tap = RowInterceptor::new(socket, intercept);
        let mut long = message(b'd', &vec![0; 3 * PROMPT_BYTES]);
        backend.write_all(&long).await.expect("a reader");
        tap.read_exact(&mut long).await.expect("all of it");

        tap.write_all(b"request").await.expect("a backend");
        let answer = message(READY_FOR_QUERY, b"T");
        backend.write_all(&answer).await.expect("a reader");
        let start = Instant::now();
        tap.read_exact(&mut long[..answer.len()])
            .await
            .expect("an answer");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_connection() {
        let (mut backend, socket) = tokio::io::duplex(100);
        let intercept = InterceptState::default();
        intercept.logged_in();
        let mut tap = RowInterceptor::new(socket, intercept);
        backend
            .write_all(b"D\0\0\0\x03more")
            .await
            .expect("a reader");
        let error = tap.read_u8().await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn messages_are_sorted_however_they_are_cut(
            bodies in prop::collection::vec((prop::sample::select(vec![b'D', b'N', b'T']), 0..2000_usize), 0..60),
            piece in 1..5000_usize,
        ) {
            let mut messages: Vec<Vec<u8>> =
                bodies.iter().map(|(tag, length)| message(*tag, &vec![*tag; *length])).collect();
            messages.push(message(READY_FOR_QUERY, b"T"));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let (driver, diverted) = runtime.expect("a runtime").block_on(sorted(&messages, piece, 0));
            prop_assert_eq!(driver, all_but_rows(&messages));
            prop_assert_eq!(diverted, rows_of(&messages));
        }
    }
}
