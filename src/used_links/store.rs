//! Names as small objects in a store that refuses to create an object twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::UseError;
use crate::store::{Store, StoreError};

/// The end of the name of each object.
const SUFFIX: &str = ".used";
/// The longest wait for the result of the probe. A download waits for it.
const PROBE_MAX: Duration = Duration::from_secs(5);

pub(super) struct StoredNames {
    store: Arc<Store>,
    /// Whether the store overwrites; empty until a probe has succeeded.
    overwrites: OnceCell<bool>,
}

impl StoredNames {
    pub(super) fn new(store: Arc<Store>) -> StoredNames {
        StoredNames {
            store,
            overwrites: OnceCell::new(),
        }
    }

    pub(super) fn overwrites(&self) -> bool {
        self.overwrites.get() == Some(&true)
    }

    /// Checks that the store refuses to create an object twice. It is asked until it has answered once.
    pub(super) async fn check(&self) -> Result<(), UseError> {
        let probe = || overwrites(&self.store);
        let answer = timeout(PROBE_MAX, self.overwrites.get_or_try_init(probe)).await;
        match answer.map_err(|_| StoreError::TimedOut)?? {
            false => Ok(()),
            true => Err(UseError::Overwrites),
        }
    }

    pub(super) async fn exists(&self, name: &str) -> Result<bool, UseError> {
        self.check().await?;
        let head = self.store.head(&object(name)).await?;
        Ok(head.is_some())
    }

    pub(super) async fn take(&self, name: &str, taker: &str) -> Result<bool, UseError> {
        self.check().await?;
        let object = object(name);
        let created = self.store.create_small(&object, taker.into()).await;
        if let Ok(true) = created {
            return Ok(true);
        }
        // Without an answer the object tells who was first: some stores let racing requests wait for a lock for seconds.
        match (self.store.read_small(&object).await?, created) {
            (Some(first), _) => Ok(first == taker.as_bytes()),
            (None, Ok(_)) => Err(StoreError::Changed.into()),
            (None, Err(error)) => Err(error.into()),
        }
    }
}

fn object(name: &str) -> String {
    [name, SUFFIX].concat()
}

/// Creates an object with a fresh name twice; returns whether the store replaces it.
async fn overwrites(store: &Store) -> Result<bool, StoreError> {
    let random = getrandom::u64().map_err(|error| StoreError::Failed(error.to_string()))?;
    let object = object(&format!("probe-{random:016x}"));
    let create = async || store.create_small(&object, b"probe".to_vec()).await;
    let is_first = create().await?;
    let is_second = create().await?;
    match (is_first, is_second) {
        (true, is_second) => Ok(is_second),
        (false, _) => {
            let message = "it refuses to create an object that does not exist";
            Err(StoreError::Failed(message.to_owned()))
        }
    }
}
