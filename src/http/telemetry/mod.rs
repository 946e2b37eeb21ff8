//! Metrics, traces and request ids.

pub(super) mod line_limit;
pub(super) mod metrics;
pub(super) mod request_id;
pub(super) mod trace;

pub use metrics::LostLines;
pub(super) use metrics::{FileLabels, Metrics, RefusalLabels, Snapshot};
pub use trace::TRACE_TARGET;
