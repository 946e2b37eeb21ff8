//! How much may go on at a time. Counts what runs on this replica alone: there is no store.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use rowlink_link::{Link, UserId};

/// The most that a replica does at a time.
#[derive(Debug, Clone, Copy)]
pub struct QuotaLimits {
    /// Downloads in all.
    pub downloads: usize,
    /// Downloads of one user.
    pub downloads_per_user: usize,
    /// Downloads of one link.
    pub downloads_per_link: usize,
    /// Links issued for one user within one second.
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

/// Why a download has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// This replica is full. Another may not be.
    #[error("this replica runs {0} downloads, as many as it may")]
    Replica(usize),
    /// The user has as many as one may.
    #[error("{0} downloads of this user are running, as many as may")]
    User(usize),
    /// The link has as many as one may.
    #[error("{0} downloads of this link are running, as many as may")]
    Link(usize),
}

/// Counts downloads and issued links.
#[derive(Debug)]
pub(super) struct Quota {
    limits: QuotaLimits,
    running: Mutex<DownloadCounts>,
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct DownloadCounts {
    downloads: usize,
    users: HashMap<UserId, usize>,
    links: HashMap<Uuid, usize>,
}

/// What was issued in one second, by user.
#[derive(Debug, Default)]
struct Issued {
    second: u64,
    links: HashMap<UserId, u32>,
}

/// The right of one download to run. Dropping it gives the place to the next.
#[derive(Debug)]
pub(super) struct QuotaPermit {
    quota: Arc<Quota>,
    user: UserId,
    link: Uuid,
}

impl Quota {
    pub(super) fn new(limits: QuotaLimits) -> Quota {
        Quota {
            limits,
            running: Mutex::default(),
            issued: Mutex::default(),
        }
    }

    /// How many downloads run.
    pub(super) fn downloads(&self) -> usize {
        lock(&self.running).downloads
    }

    /// A place for a download of this link.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn take(self: &Arc<Quota>, link: &Link) -> Result<QuotaPermit, QuotaError> {
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
        if running.downloads >= limits.downloads {
            return Err(QuotaError::Replica(running.downloads));
        }
        running.downloads += 1;
        running.links.insert(link.id, of_link + 1);
        running.users.insert(link.user.clone(), of_user + 1);
        Ok(QuotaPermit {
            quota: self.clone(),
            user: link.user.clone(),
            link: link.id,
        })
    }

    /// Counts a link that is issued for `user` at `now`, in Unix seconds; returns whether it may be.
    pub(super) fn may_issue(&self, user: &UserId, now: u64) -> bool {
        let mut issued = lock(&self.issued);
        if issued.second != now {
            // What was counted before is of no use, and would grow with the number of users.
            *issued = Issued {
                second: now,
                links: HashMap::new(),
            };
        }
        let count = issued.links.entry(user.clone()).or_default();
        *count += 1;
        *count <= self.limits.links_per_second
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut running = lock(&self.quota.running);
        running.downloads -= 1;
        release(&mut running.links, &self.link);
        release(&mut running.users, &self.user);
    }
}

fn release<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Counts stay true whatever a thread did that held them: nothing in between can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    fn link(user: &str, id: u128) -> Link {
        Link {
            export: "orders".into(),
            format: Format::Csv,
            user: UserId::parse(user).expect("a user id"),
            id: Uuid::from_u128(id),
            issued: 0,
            expires: 60,
            conditions: Default::default(),
            filename: None,
            claims: Default::default(),
            options: Default::default(),
            filters: Vec::new(),
        }
    }

    #[test]
    fn each_limit_holds_and_a_place_that_is_left_is_free() {
        let quota = Arc::new(Quota::new(QuotaLimits {
            downloads: 3,
            downloads_per_user: 2,
            downloads_per_link: 1,
            links_per_second: 1,
        }));
        let first = quota.take(&link("a", 1)).expect("a place");
        assert_eq!(quota.take(&link("a", 1)).err(), Some(QuotaError::Link(1)));
        let second = quota.take(&link("a", 2)).expect("a place");
        assert_eq!(quota.take(&link("a", 3)).err(), Some(QuotaError::User(2)));
        let third = quota.take(&link("b", 4)).expect("a place");
        assert_eq!(
            quota.take(&link("c", 5)).err(),
            Some(QuotaError::Replica(3))
        );
        drop(first);
        assert_eq!(quota.downloads(), 2);
        let again = quota.take(&link("a", 1)).expect("a place");
        drop((second, third, again));
        let running = lock(&quota.running);
        assert!(running.users.is_empty() && running.links.is_empty());
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
