//! Which single-use links were used: names in Redis, or objects in the store. Of several servers that take a name, one
//! succeeds. Knows neither links nor HTTP.

mod redis;
mod redis_url;
mod store;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::redis::RedisNames;
use self::store::StoredNames;
use crate::store::{Store, StoreError};

pub use redis_url::RedisUrl;

/// The names of the links that were used.
pub struct UsedLinks(Backend);

enum Backend {
    Redis(Box<RedisNames>),
    Store(StoredNames),
}

/// Why it is not known whether a link was used.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// Neither Redis nor a store is configured.
    #[error("neither ROWLINK_REDIS_URL nor ROWLINK_STORE_URL is set")]
    Unconfigured,
    /// The store replaces objects that it is to create, so that several servers would succeed.
    #[error("the store overwrites objects; set ROWLINK_REDIS_URL")]
    Overwrites,
    /// There was no answer in time.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// Redis refused the command, or was not reached.
    #[error("Redis refused the command, or was not reached: {0}")]
    Redis(String),
    /// A request to the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that signed the link was removed meanwhile.
    #[error("the key of the link was removed")]
    NoKey,
}

impl UsedLinks {
    /// Returns the names in Redis, or in the store if there is no Redis; `None` if there is neither. Nothing is sent yet.
    ///
    /// # Errors
    /// Returns a message, without the URL, if the root certificates of Redis cannot be read.
    pub fn new(
        redis: Option<&RedisUrl>,
        store: Option<Arc<Store>>,
    ) -> Result<Option<UsedLinks>, String> {
        let backend = match (redis, store) {
            (Some(redis), _) => Backend::Redis(Box::new(RedisNames::new(redis)?)),
            (None, Some(store)) => Backend::Store(StoredNames::new(store)),
            (None, None) => return Ok(None),
        };
        Ok(Some(UsedLinks(backend)))
    }

    /// Checks that names can be taken.
    ///
    /// # Errors
    /// Returns the [`UseError`] with which links would be refused now.
    pub async fn check(&self) -> Result<(), UseError> {
        match &self.0 {
            Backend::Redis(redis) => redis.exists("probe").await.map(drop),
            Backend::Store(store) => store.check().await,
        }
    }

    /// Probes a store of which it is not known whether it overwrites. A store that does not answer is probed again later.
    pub async fn probe(&self) {
        if let Backend::Store(store) = &self.0 {
            // The next request that needs it gets the error.
            let _ = store.check().await;
        }
    }

    /// Tells whether names can never be taken, as far as that is known: the store overwrites.
    #[must_use]
    pub fn is_unsuitable(&self) -> bool {
        matches!(&self.0, Backend::Store(store) if store.overwrites())
    }

    /// Tells whether a name was taken.
    ///
    /// # Errors
    /// Returns the [`UseError`] if that is not known.
    pub async fn is_used(&self, name: &str) -> Result<bool, UseError> {
        match &self.0 {
            Backend::Redis(redis) => redis.exists(name).await,
            Backend::Store(store) => store.exists(name).await,
        }
    }

    /// Takes a name; returns whether this call was the first. Redis forgets the name after `lifetime`. The store keeps it.
    ///
    /// # Errors
    /// Returns the [`UseError`] if that is not known. The name may be taken then.
    pub async fn take(&self, name: &str, lifetime: Duration) -> Result<bool, UseError> {
        // A command that is sent again, because the answer to the first one was lost, finds its own text.
        let taker = Uuid::now_v7().to_string();
        match &self.0 {
            Backend::Redis(redis) => redis.take(name, &taker, lifetime).await,
            Backend::Store(store) => store.take(name, &taker).await,
        }
    }
}
