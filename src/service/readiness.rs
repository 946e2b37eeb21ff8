//! Which databases do not answer, asked at most once per second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::source::{SourceError, Sources};

/// How long an answer is used again: clients that reach the probe must not be able to load the databases by it.
const FRESH: Duration = Duration::from_secs(1);

/// The databases that do not answer, by name.
pub type SilentDatabases = BTreeMap<String, SourceError>;

type Answer = Shared<BoxFuture<'static, Arc<SilentDatabases>>>;

/// The last time that the databases were asked.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Answer)>>);

/// How long the other databases have after one has answered: a probe must not wait for a database that is silent.
const AFTER_FIRST: Duration = Duration::from_secs(1);

type Ping = BoxFuture<'static, Result<(), SourceError>>;

/// Waits for the databases; returns those that do not answer.
async fn silent(pings: BTreeMap<String, Ping>) -> SilentDatabases {
    let waiting = |name: &String| {
        let error = SourceError::Unavailable("no answer yet".into());
        (name.clone(), error)
    };
    let mut silent: SilentDatabases = pings.keys().map(waiting).collect();
    let named = |(name, ping): (String, Ping)| ping.map(|answer| (name, answer));
    let mut answers: FuturesUnordered<_> = pings.into_iter().map(named).collect();
    let mut until = None;
    loop {
        let next = match until {
            None => answers.next().await,
            Some(until) => timeout_at(until, answers.next()).await.unwrap_or(None),
        };
        match next {
            None => return silent,
            Some((name, Ok(()))) => {
                silent.remove(&name);
                until.get_or_insert(Instant::now() + AFTER_FIRST);
            }
            Some((name, Err(error))) => drop(silent.insert(name, error)),
        }
    }
}

impl Readiness {
    /// Returns the answer of the databases: a new one, or that of the last second, or the one that still waits.
    pub(super) fn ask(&self, sources: &Sources) -> Answer {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, answer)) = &*last
            && (asked.elapsed() < FRESH || answer.peek().is_none())
        {
            return answer.clone();
        }
        let pings = sources
            .iter()
            .map(|(name, source)| (name.clone(), source.ping()));
        let answer = silent(pings.collect()).map(Arc::new).boxed().shared();
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
