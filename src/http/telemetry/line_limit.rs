//! A limit on lines that any client can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most lines of a kind per second. A flood of requests would otherwise fill the disk, and hide the other lines.
const LINES_PER_SECOND: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Counts the lines of one kind.
#[derive(Default)]
pub(in crate::http) struct LineLimit(Mutex<Window>);

#[derive(Default)]
struct Window {
    /// `None` before the first line.
    start: Option<Instant>,
    lines: u32,
    omitted: u64,
}

impl LineLimit {
    /// Returns whether a line may be written now. Before the first line after a flood it calls `report` with the
    /// number of lines that were omitted.
    pub(in crate::http) fn allows(&self, now: Instant, report: impl FnOnce(u64)) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = window
            .start
            .is_none_or(|start| now.duration_since(start) >= SECOND);
        if is_over {
            let omitted = window.omitted;
            *window = Window {
                start: Some(now),
                lines: 1,
                omitted: 0,
            };
            drop(window);
            if omitted > 0 {
                report(omitted);
            }
            return true;
        }
        let is_allowed = window.lines < LINES_PER_SECOND;
        match is_allowed {
            true => window.lines += 1,
            false => window.omitted += 1,
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_a_hundred_per_second_are_omitted_and_reported_later() {
        let limit = LineLimit::default();
        let start = Instant::now();
        let silent = |omitted| panic!("{omitted} lines were omitted");
        assert!((0..100).all(|_| limit.allows(start, silent)));
        let almost = start + Duration::from_millis(999);
        assert!((0..7).all(|_| !limit.allows(almost, silent)));
        let mut omitted = 0;
        assert!(limit.allows(start + SECOND, |count| omitted = count));
        assert_eq!(omitted, 7);
        assert!(limit.allows(start + SECOND, silent));
        assert!(limit.allows(start + 3 * SECOND, silent));
    }
}
