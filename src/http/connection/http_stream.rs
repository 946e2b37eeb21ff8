//! The stream of a connection, above TLS and below HTTP. Without a valid request head no handler is called, and actix-http
//! answers with a head of its own. Here it gets the problem document of other refusals.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use actix_http::body::MessageBody as _;
use actix_web::ResponseError as _;
use actix_web::http::StatusCode;
use actix_web::web::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::exchange::Exchange;
use super::stream::ClientStream;
use crate::http::response::headers::{REQUEST_ID, id_value};
use crate::http::response::problem::{self, Problem};

/// The header of a head without a body.
const NO_BODY: &str = "content-length: 0\r\n";

/// A connection, with TLS or without.
pub(super) struct HttpStream {
    io: Either<ClientStream, TlsStream<ClientStream>>,
    exchange: Rc<Exchange>,
    /// What is left to write instead of a bare refusal.
    refusal: Bytes,
    /// Whether nothing was written since the last flush: what is written next begins a response, or a chunk.
    is_flushed: bool,
}

impl HttpStream {
    pub(super) fn new(
        io: Either<ClientStream, TlsStream<ClientStream>>,
        exchange: Rc<Exchange>,
    ) -> HttpStream {
        HttpStream {
            io,
            exchange,
            refusal: Bytes::new(),
            is_flushed: true,
        }
    }

    pub(super) fn exchange(&self) -> Rc<Exchange> {
        self.exchange.clone()
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // A file may contain such a head.
        let may_refuse = mem::take(&mut this.is_flushed) && !this.exchange.is_sending_file();
        if let Some((head, problem)) = bare_refusal(bytes).filter(|_| may_refuse) {
            this.refusal = with_body(head, &problem, &this.exchange);
        }
        if this.refusal.is_empty() {
            return Pin::new(&mut this.io).poll_write(context, bytes);
        }
        while !this.refusal.is_empty() {
            let written = ready!(Pin::new(&mut this.io).poll_write(context, &this.refusal))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.refusal.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Returns the whole head of a refusal by actix-http, and its problem. A response of a handler has a request id.
fn bare_refusal(bytes: &[u8]) -> Option<(&str, Problem)> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let problem = match status.get(..2)? {
        b"00" => problem::malformed(
            "expected a request head by RFC 9112; in a URL write other characters than ASCII, and `\"<>`, as %XX".to_owned(),
        ),
        b"08" => problem::head_too_slow(),
        b"31" => problem::header_too_long(),
        _ => return None,
    };
    let head = std::str::from_utf8(bytes).ok()?;
    let is_bare = head.contains(NO_BODY) && head.find("\r\n\r\n") == Some(head.len() - 4);
    (is_bare && !head.contains("x-request-id")).then_some((head, problem))
}

/// Completes a head, and tells `exchange` what its log line needs.
fn with_body(head: &str, problem: &Problem, exchange: &Exchange) -> Bytes {
    // A connection that has sent nothing is idle: browsers open some in advance.
    if problem.status_code() == StatusCode::REQUEST_TIMEOUT && !exchange.is_idle() {
        exchange.record_late();
    }
    let request_id = exchange.refused_id();
    let mut response = problem.document(request_id);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id_value(request_id));
    let mut fields = String::new();
    for (name, value) in headers.iter() {
        let value = value.to_str().expect("the headers of a problem are ASCII");
        fields.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let length = body.len();
    let head = head.replace(NO_BODY, &format!("content-length: {length}\r\n{fields}"));
    Bytes::from([head.as_bytes(), &body].concat())
}
