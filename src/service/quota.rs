//! Limits of concurrency and rate. Each server counts only its own downloads: there is no shared store.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use rowlink_link::{Link, UserId};

/// How many downloads of one link may be continued per second.
const RANGES_PER_SECOND: u32 = 4;
/// How many requests for the state of one link's file are answered per second.
const STATUSES_PER_SECOND: u32 = 4;

/// The limits of one server.
#[derive(Debug, Clone, Copy)]
pub struct QuotaLimits {
    /// All concurrent downloads.
    pub downloads: usize,
    /// Concurrent downloads per user.
    pub downloads_per_user: usize,
    /// Concurrent downloads per link.
    pub downloads_per_link: usize,
    /// Links issued per user and second.
    pub links_per_second: u32,
}

impl Default for QuotaLimits {
    fn default() -> QuotaLimits {
        QuotaLimits {
            downloads: 100,
            downloads_per_user: 5,
            downloads_per_link: 2,
            links_per_second: 20,
        }
    }
}

/// A limit of concurrent downloads was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The limit of this server. Another may have capacity.
    #[error("download limit reached on this replica ({0})")]
    Replica(usize),
    /// The limit of the export on this server. Another may have capacity.
    #[error("download limit reached for this export on this replica ({0})")]
    Export(usize),
    /// The limit per user.
    #[error("download limit reached for this user ({0})")]
    User(usize),
    /// The limit of continued downloads per link and second.
    #[error("rate limit: {0} ranges per second per link")]
    Ranges(u32),
    /// The limit of requests for the state of a file per link and second.
    #[error("rate limit: {0} requests per second per link")]
    Statuses(u32),
    /// The limit per link.
    #[error("download limit reached for this link ({0})")]
    Link(usize),
}

/// Counts downloads and issued links.
#[derive(Debug)]
pub(super) struct Quota {
    limits: QuotaLimits,
    running: Mutex<DownloadCounts>,
    issued: Mutex<PerSecond<UserId>>,
    continued: Mutex<PerSecond<Uuid>>,
    status_requests: Mutex<PerSecond<Uuid>>,
}

#[derive(Debug, Default)]
struct DownloadCounts {
    downloads: usize,
    users: HashMap<UserId, usize>,
    links: HashMap<Uuid, usize>,
    exports: HashMap<String, usize>,
}

/// Events in one second, by key.
#[derive(Debug)]
struct PerSecond<K> {
    second: u64,
    counts: HashMap<K, u32>,
}

/// The permit of one running download. Dropping it releases the capacity.
#[derive(Debug)]
pub struct QuotaPermit {
    quota: Arc<Quota>,
    user: UserId,
    link: Uuid,
    export: String,
}

impl Quota {
    pub(super) fn new(limits: QuotaLimits) -> Quota {
        Quota {
            limits,
            running: Mutex::default(),
            issued: Mutex::default(),
            continued: Mutex::default(),
            status_requests: Mutex::default(),
        }
    }

    /// Returns the number of running downloads.
    pub(super) fn downloads(&self) -> usize {
        lock(&self.running).downloads
    }

    /// Acquires the permit of a download of this link, whose export may have a limit of its own.
    ///
    /// # Errors
    /// Returns the [`QuotaError`] of the first limit that is reached.
    pub(super) fn acquire(
        self: &Arc<Quota>,
        link: &Link,
        export_max: Option<NonZeroUsize>,
    ) -> Result<QuotaPermit, QuotaError> {
        let limits = self.limits;
        let mut running = lock(&self.running);
        let of_link = running.links.get(&link.id).copied().unwrap_or(0);
        let of_user = running.users.get(&link.user).copied().unwrap_or(0);
        if of_link >= limits.downloads_per_link {
            return Err(QuotaError::Link(of_link));
        }
        if of_user >= limits.downloads_per_user {
            return Err(QuotaError::User(of_user));
        }
        let of_export = running.exports.get(&link.export).copied().unwrap_or(0);
        if export_max.is_some_and(|max| of_export >= max.get()) {
            return Err(QuotaError::Export(of_export));
        }
        if running.downloads >= limits.downloads {
            return Err(QuotaError::Replica(running.downloads));
        }
        running.downloads += 1;
        running.links.insert(link.id, of_link + 1);
        running.users.insert(link.user.clone(), of_user + 1);
        running.exports.insert(link.export.clone(), of_export + 1);
        Ok(QuotaPermit {
            quota: self.clone(),
            user: link.user.clone(),
            link: link.id,
            export: link.export.clone(),
        })
    }

    /// Counts a link for `user` at `now`, in Unix seconds; returns whether the rate limit allows it.
    pub(super) fn may_issue(&self, user: &UserId, now: u64) -> bool {
        lock(&self.issued).count(user.clone(), now) <= self.limits.links_per_second
    }

    /// Counts a download that a client continues at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Returns [`QuotaError::Ranges`] if there were too many of this link in this second: each may cost a query.
    pub(super) fn check_continuation(&self, link: &Link, now: u64) -> Result<(), QuotaError> {
        match lock(&self.continued).count(link.id, now) {
            ..=RANGES_PER_SECOND => Ok(()),
            _ => Err(QuotaError::Ranges(RANGES_PER_SECOND)),
        }
    }

    /// Counts a request for the state of a link's file at `now`, in Unix seconds.
    ///
    /// # Errors
    /// Returns [`QuotaError::Statuses`] if there were too many in this second: each may cost requests to the store.
    pub(super) fn check_status(&self, link: &Link, now: u64) -> Result<(), QuotaError> {
        match lock(&self.status_requests).count(link.id, now) {
            ..=STATUSES_PER_SECOND => Ok(()),
            _ => Err(QuotaError::Statuses(STATUSES_PER_SECOND)),
        }
    }
}

impl<K: Eq + Hash> PerSecond<K> {
    /// Counts an event at `now`; returns how many this second had.
    fn count(&mut self, key: K, now: u64) -> u32 {
        // Another request may have read the clock later, and come first. A clock that was set back counts anew.
        let is_same = now == self.second || now + 1 == self.second;
        if !is_same {
            // Older counts are useless, and would grow with the number of keys.
            self.second = now;
            self.counts = HashMap::new();
        }
        let count = self.counts.entry(key).or_default();
        *count += 1;
        *count
    }
}

impl<K> Default for PerSecond<K> {
    fn default() -> PerSecond<K> {
        PerSecond {
            second: 0,
            counts: HashMap::new(),
        }
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut running = lock(&self.quota.running);
        running.downloads -= 1;
        decrement(&mut running.links, &self.link);
        decrement(&mut running.users, &self.user);
        decrement(&mut running.exports, &self.export);
    }
}

fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Locks counts. A poisoned lock is used on: no code panics between two changes of a count.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(user: &str, id: u128) -> Link {
        Link {
            export: "orders".into(),
            format: Some("csv".into()),
            user: UserId::parse(user).expect("a user id"),
            id: Uuid::from_u128(id),
            issued: 0,
            expires: 60,
            conditions: Default::default(),
            filename: None,
            claims: Default::default(),
            reveal: Vec::new(),
            options: Default::default(),
            filters: Vec::new(),
        }
    }

    #[test]
    fn each_limit_holds_and_a_dropped_permit_frees_its_capacity() {
        let quota = Arc::new(Quota::new(QuotaLimits {
            downloads: 3,
            downloads_per_user: 2,
            downloads_per_link: 1,
            links_per_second: 1,
        }));
        let first = quota.acquire(&link("a", 1), None).expect("a permit");
        assert_eq!(
            quota.acquire(&link("a", 1), None).err(),
            Some(QuotaError::Link(1))
        );
        let second = quota.acquire(&link("a", 2), None).expect("a permit");
        assert_eq!(
            quota.acquire(&link("a", 3), None).err(),
            Some(QuotaError::User(2))
        );
        assert_eq!(
            quota.acquire(&link("b", 4), NonZeroUsize::new(2)).err(),
            Some(QuotaError::Export(2))
        );
        let third = quota.acquire(&link("b", 4), None).expect("a permit");
        assert_eq!(
            quota.acquire(&link("c", 5), None).err(),
            Some(QuotaError::Replica(3))
        );
        drop(first);
        assert_eq!(quota.downloads(), 2);
        let again = quota.acquire(&link("a", 1), None).expect("a permit");
        drop((second, third, again));
        let running = lock(&quota.running);
        assert!(running.users.is_empty() && running.links.is_empty() && running.exports.is_empty());
    }

    #[test]
    fn links_are_counted_by_user_and_second() {
        let quota = Quota::new(QuotaLimits {
            links_per_second: 2,
            ..QuotaLimits::default()
        });
        let [a, b] = ["a", "b"].map(|user| UserId::parse(user).expect("a user id"));
        assert!(quota.may_issue(&a, 1) && quota.may_issue(&a, 1) && quota.may_issue(&b, 1));
        assert!(!quota.may_issue(&a, 1));
        assert!(quota.may_issue(&a, 2));
    }
}
