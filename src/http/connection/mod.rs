//! Client connections: how many there are, what is read from them when, and how they end.
//!
//! actix-http limits the time of the first request head only, discards unread bodies without limit, ends the connection
//! of a truncated file in the same way as that of a complete one, and refuses a request without a valid head with only a head.
//! [`ClientStream`](stream::ClientStream) and [`HttpStream`](http_stream::HttpStream) stand below it and correct that.

pub(super) mod accept;
pub(super) mod admission;
pub(super) mod exchange;
mod http_stream;
pub(super) mod stream;
