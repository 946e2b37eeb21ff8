//! Heartbeats: bytes that decode to nothing, sent while no row arrives, so that no proxy closes the connection as idle.

/// An empty stored block of deflate, on a byte boundary: RFC 1951, section 3.2.4.
pub const EMPTY_DEFLATE_BLOCK: &[u8] = &[0x00, 0x00, 0x00, 0xff, 0xff];

/// How a stream begins before its first row is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeats {
    /// The first bytes of the stream.
    pub start: Vec<u8>,
    /// What follows them, once per heartbeat.
    pub beat: &'static [u8],
}
