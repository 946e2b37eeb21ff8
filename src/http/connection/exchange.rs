//! What a connection is doing, as the handlers tell it.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::Waker;

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use actix_web::http::header;
use uuid::Uuid;

/// The most that is read between two events: that a request begins, or ends. It holds the largest head or body
/// that is accepted and some more, so that larger ones get an answer.
const READ_BYTES_MAX: usize = 144 * 1024;
/// The most that is read while a request without a body is served: each head that is read ahead takes memory.
const READ_AHEAD_BYTES_MAX: usize = 1024;
/// A request head must be complete at the second tick after its first byte.
const HEAD_TICKS_MAX: u8 = 2;
/// Somewhat more than the keep-alive time.
const IDLE_TICKS_MAX: u8 = 16;

/// What a connection is doing. Shared by the stream and the requests of one connection, on one thread.
#[derive(Default)]
pub(in crate::http) struct Exchange {
    is_serving: Cell<bool>,
    has_body: Cell<bool>,
    is_sending_file: Cell<bool>,
    /// The bytes read since the last request began or ended.
    bytes_read: Cell<usize>,
    /// The ticks since then, or since the first byte of the next head.
    ticks: Cell<u8>,
    /// Whether a request head was not complete in time.
    is_late: Cell<bool>,
    /// The id of a request that was refused without a valid head.
    refused_id: OnceCell<Uuid>,
    /// Wakes the connection if it has read too much.
    paused: Cell<Option<Waker>>,
}

/// What may be read from a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A head, in pieces: what follows it is read later.
    Head,
    /// The body of the request that is being served.
    Body,
    /// Nothing before the request that is being served ends.
    Paused,
    /// Nothing any more.
    Ended,
}

impl Exchange {
    /// Returns the exchange on whose connection a request came.
    pub(in crate::http) fn of(request: &HttpRequest) -> Rc<Exchange> {
        let exchange = request.conn_data::<Rc<Exchange>>();
        exchange
            .expect("the server sets it on every connection")
            .clone()
    }

    /// Tells that the head of this request is complete.
    pub(in crate::http) fn begin_request(&self, head: &RequestHead) {
        self.is_serving.set(true);
        let names = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let has_body = names.iter().any(|name| head.headers.contains_key(name));
        self.has_body.set(has_body);
        self.restart();
    }

    /// Tells that a request's response is complete, unless it is a file that [`SentFile`] completes.
    pub(in crate::http) fn end_request(&self) {
        if !self.is_sending_file.get() {
            self.is_serving.set(false);
            self.restart();
        }
    }

    fn restart(&self) {
        self.bytes_read.set(0);
        self.ticks.set(0);
        if let Some(waker) = self.paused.take() {
            waker.wake();
        }
    }

    pub(super) fn is_sending_file(&self) -> bool {
        self.is_sending_file.get()
    }

    /// Tells whether the connection waits for a request of which nothing has arrived.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_serving.get() && self.bytes_read.get() == 0
    }

    pub(super) fn reading(&self) -> Reading {
        let bytes_read = self.bytes_read.get();
        if !self.is_serving.get() {
            return match bytes_read > READ_BYTES_MAX {
                false => Reading::Head,
                true => Reading::Ended,
            };
        }
        let max = match self.has_body.get() {
            true => READ_BYTES_MAX,
            false => READ_AHEAD_BYTES_MAX,
        };
        match bytes_read > max {
            false => Reading::Body,
            true => Reading::Paused,
        }
    }

    pub(super) fn record_read(&self, bytes: usize) {
        if self.is_idle() {
            self.ticks.set(0);
        }
        self.bytes_read.set(self.bytes_read.get() + bytes);
    }

    pub(super) fn pause(&self, waker: &Waker) {
        self.paused.set(Some(waker.clone()));
    }

    /// Counts a tick, and tells whether the connection has waited too long for a request.
    pub(super) fn tick(&self) -> bool {
        if self.is_serving.get() {
            return false;
        }
        let ticks = self.ticks.get() + 1;
        self.ticks.set(ticks);
        let max = match self.is_idle() {
            true => IDLE_TICKS_MAX,
            false => HEAD_TICKS_MAX,
        };
        let is_over = ticks >= max;
        self.is_late.set(is_over && !self.is_idle());
        is_over
    }

    /// Returns the id of the request without a valid head, after which the connection ends.
    pub(super) fn refused_id(&self) -> Uuid {
        *self.refused_id.get_or_init(Uuid::now_v7)
    }

    /// Tells that the time of a request head has ended.
    pub(super) fn record_late(&self) {
        self.is_late.set(true);
    }

    /// Tells whether the connection ends because a request head was not complete in time.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.get()
    }
}

/// A file that is being sent. Unless it is completed, the end of its connection is a reset: to some clients,
/// a connection that is closed in good order ends the file, too.
pub(in crate::http) struct SentFile(Rc<Exchange>);

impl SentFile {
    /// Begins a file.
    pub(in crate::http) fn begin(exchange: Rc<Exchange>) -> SentFile {
        exchange.is_sending_file.set(true);
        SentFile(exchange)
    }

    /// Tells that the connection has the last byte of the file.
    pub(in crate::http) fn complete(self) {
        self.0.is_sending_file.set(false);
        self.0.end_request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(exchange: &Exchange, count: u8) -> bool {
        (0..count).any(|_| exchange.tick())
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte_however_long_the_connection_was_idle() {
        let exchange = Exchange::default();
        assert!(!ticks(&exchange, IDLE_TICKS_MAX - 1));
        exchange.record_read(1);
        assert!(!ticks(&exchange, HEAD_TICKS_MAX - 1));
        // A further byte is no new head.
        exchange.record_read(1);
        assert!(exchange.tick());
    }

    #[test]
    fn a_connection_that_serves_has_all_time_and_an_idle_one_a_limit() {
        let exchange = Exchange::default();
        exchange.is_serving.set(true);
        assert!(!ticks(&exchange, u8::MAX));
        exchange.end_request();
        assert!(!ticks(&exchange, IDLE_TICKS_MAX - 1));
        assert!(exchange.tick());
    }
}
