//! Selects the response whose rows a connection's [interceptor](super::row_interceptor) diverts.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::formats::{FormatRewrite, WireFormat};
use super::socket::ReadinessMode;

/// The capacity of the channel between interceptor and decoder, in chunks.
const CHUNKS_IN_FLIGHT: usize = 1;

/// Consecutive, complete `DataRow` messages.
pub(super) type RowChunk = Result<Bytes, RowTooLarge>;

/// A row that was not read, because it exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowTooLarge {
    /// The index of the column with which it does.
    pub(super) column: usize,
}

/// Shared between a query and the interceptor of its connection.
#[derive(Clone, Default)]
pub(super) struct InterceptState {
    state: Arc<Mutex<State>>,
    /// The readiness mode of the connection's socket.
    pub(super) readiness: ReadinessMode,
}

#[derive(Default)]
pub(super) enum State {
    /// Before login: the TLS negotiation is not framed as messages.
    #[default]
    Unframed,
    /// All messages go to the driver.
    PassThrough,
    /// The rows of one response are diverted.
    Intercepting {
        /// Responses that end before this one starts.
        responses_before: usize,
        rows: PollSender<RowChunk>,
        /// The size of the largest row, as a message.
        row_bytes_max: usize,
        /// `None` once the request was sent.
        rewrite: Option<FormatRewrite>,
    },
}

impl InterceptState {
    /// Starts parsing messages: the connection is authenticated.
    pub(super) fn logged_in(&self) {
        *self.lock() = State::PassThrough;
    }

    /// Diverts the rows of the response that follows the next `responses_before` responses. Its request asks for
    /// `formats`, one per column. A row of more than `row_bytes_max` bytes ends the connection.
    pub(super) fn intercept(
        &self,
        responses_before: usize,
        formats: Vec<WireFormat>,
        row_bytes_max: usize,
    ) -> mpsc::Receiver<RowChunk> {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        *self.lock() = State::Intercepting {
            responses_before,
            rows: PollSender::new(sender),
            row_bytes_max,
            rewrite: Some(FormatRewrite {
                requests_before: responses_before,
                formats,
            }),
        };
        receiver
    }

    /// Drops the row channel, so its receiver ends.
    pub(super) fn reset(&self) {
        *self.lock() = State::Unframed;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the size of the largest row if the rows of this response are diverted.
    pub(super) fn intercepted_row_bytes_max(&self) -> Option<usize> {
        match self {
            State::Intercepting {
                responses_before: 0,
                row_bytes_max,
                ..
            } => Some(*row_bytes_max),
            _ => None,
        }
    }

    /// Copies requests to `out` while a rewrite is pending; returns whether it did.
    ///
    /// # Errors
    /// Returns the error of [`FormatRewrite::rewrite`].
    pub(super) fn rewrite(&mut self, requests: &[u8], out: &mut BytesMut) -> io::Result<bool> {
        let State::Intercepting { rewrite, .. } = self else {
            return Ok(false);
        };
        let Some(pending) = rewrite else {
            return Ok(false);
        };
        if pending.rewrite(requests, out)? {
            *rewrite = None;
        }
        Ok(true)
    }

    /// Counts the end of a response.
    pub(super) fn ready_for_query(&mut self) {
        match self {
            State::Intercepting {
                responses_before, ..
            } if *responses_before > 0 => *responses_before -= 1,
            State::Intercepting { .. } => *self = State::PassThrough,
            State::Unframed | State::PassThrough => {}
        }
    }
}
