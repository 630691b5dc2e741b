//! Everything that must outlive a request or be seen by another instance: one small contract, a
//! key-value store with expiry.
//!
//! Typed records live beside the part that owns them; here are only names and bytes. An error is never
//! absence: a store that cannot answer says so, and nobody takes that for "signed out".

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::clock::Timestamp;

pub mod memory;
pub mod redis;
pub mod sqlite;

/// A store shared by every part of the process.
pub type Shared = Arc<dyn Store>;

/// The contract. Every call is atomic; an entry whose `expires_at` has come is absent.
///
/// `expires_at` is judged by the clock that the store was handed, and [`Timestamp::NEVER`] keeps an entry for good.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value under `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Writes `value` under `key`, whatever stood there.
    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error>;

    /// Writes `value` only if `key` is present, and says whether it was: what was removed meanwhile stays removed.
    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error>;

    /// Writes `value` only if `key` is absent, and says whether it was: leases, and keys that instances must agree on.
    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error>;

    /// Removes `key`; removing what is absent is fine.
    async fn remove(&self, key: &str) -> Result<(), Error>;

    /// Reads and removes in one step: of many callers exactly one gets the value.
    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Counts one event under `key`. The window opens with its first event and is `window` long.
    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error>;

    /// Adds `member` to `set` until `expires_at`, or moves its expiry.
    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error>;

    /// The members of `set`, in no particular order.
    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error>;

    /// Takes `member` out of `set`.
    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error>;

    /// Tells every instance, this one included, within a second.
    async fn announce(&self, message: &str) -> Result<(), Error>;

    /// What is announced from now on. The listener ends when the receiver is dropped.
    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error>;
}

/// How often something happened in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Events in the window, the one just counted included.
    pub events: u64,
    /// When the window closes and counting starts anew.
    pub resets_at: Timestamp,
}

/// Something that another instance, or this one, announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The message as it was given to [`Store::announce`].
    Message(String),
    /// The connection was lost for a while: anything may have been announced, so nothing cached can be relied on.
    Missed,
}

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached, is locked, or did not answer in time.
    #[error("reach the store")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store answers but takes no more: the disk is full or the file is read-only.
    #[error("write to the store")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what this version of linkgate wrote.
    #[error("understand the record `{0}` in the store")]
    Corrupt(String),
}
