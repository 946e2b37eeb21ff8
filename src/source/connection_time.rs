//! How long a query has held its database connection.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Measures from when a query gets a connection until it returns or closes it.
#[derive(Debug, Clone, Default)]
pub struct ConnectionTime(Arc<Times>);

#[derive(Debug, Default)]
struct Times {
    start: OnceLock<Instant>,
    end: OnceLock<Instant>,
}

impl ConnectionTime {
    /// Returns the time so far; `None` if the query got no connection yet.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        let start = *self.0.start.get()?;
        let end = self.0.end.get().copied().unwrap_or_else(Instant::now);
        Some(end.saturating_duration_since(start))
    }

    pub(super) fn start(&self) {
        self.0.start.get_or_init(Instant::now);
    }

    pub(super) fn end(&self) {
        self.0.end.get_or_init(Instant::now);
    }
}
