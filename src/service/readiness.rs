//! Which databases do not answer, asked at most once per second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};

use crate::source::{SourceError, Sources};

/// How long an answer is used again: clients that reach the probe must not be able to load the databases by it.
const FRESH: Duration = Duration::from_secs(1);

/// The databases that do not answer, by name.
pub type SilentDatabases = BTreeMap<String, SourceError>;

type Answer = Shared<BoxFuture<'static, Arc<SilentDatabases>>>;

/// The last time that the databases were asked.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Answer)>>);

impl Readiness {
    /// Returns the answer of the databases: a new one, or that of the last second, or the one that still waits.
    pub(super) fn ask(&self, sources: &Sources) -> Answer {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, answer)) = &*last
            && (asked.elapsed() < FRESH || answer.peek().is_none())
        {
            return answer.clone();
        }
        let pings = sources.iter().map(|(name, source)| {
            let (name, ping) = (name.clone(), source.ping());
            ping.map(|answer| answer.err().map(|error| (name, error)))
        });
        let silent = join_all(pings).map(|found| Arc::new(found.into_iter().flatten().collect()));
        let answer = silent.boxed().shared();
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
