//! Client connections: how many there are, what is read from them when, and how they end.
//!
//! actix-http limits the time of the first request head only, discards unread bodies without limit, and ends the
//! connection of a truncated file in the same way as that of a complete one. [`ClientStream`](stream::ClientStream) stands below it and corrects that.

pub(super) mod accept;
pub(super) mod admission;
pub(super) mod exchange;
pub(super) mod stream;
