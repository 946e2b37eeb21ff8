//! A download after its response has started: its body, its log line, how it ended.

pub(super) mod audit_log;
mod expiring;
pub(super) mod outcome;
pub(super) mod stream;
