//! The id under which a request is logged.

use actix_web::{HttpMessage as _, HttpRequest};
use tracing::Span;
use tracing::field::display;
use uuid::Uuid;

#[derive(Clone, Copy)]
struct RequestId(Uuid);

/// Returns the id of a request if it has one.
pub(in crate::http) fn known_id(request: &HttpRequest) -> Option<Uuid> {
    let extensions = request.extensions();
    extensions.get().map(|RequestId(id)| *id)
}

/// Returns the id of a request. It is created on first use: most refused requests end before that.
pub(in crate::http) fn request_id(request: &HttpRequest) -> Uuid {
    known_id(request).unwrap_or_else(|| {
        let id = Uuid::now_v7();
        request.extensions_mut().insert(RequestId(id));
        // Recorded now, because a client that leaves gets no response.
        Span::current().record("request_id", display(id));
        id
    })
}
