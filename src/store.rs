//! Everything that must outlive a request or be seen by another instance: one small contract, a
//! key-value store with expiry.
//!
//! Typed records live beside the part that owns them; here are only names and bytes. An error is never
//! absence: a store that cannot answer says so, and nobody takes that for "signed out".

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::clock::{Clock, Timestamp};
use crate::setting;

mod listeners;
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

    /// As [`Store::replace`] for each of `entries`, of which some may be written when it fails.
    async fn replace_all(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let replace = entries.iter().map(|Entry { key, value, expires_at }| self.replace(key, value, *expires_at));
        try_join_all(replace).await.map(drop)
    }

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

    /// As [`Store::remove`]. A store that may say [`Store::has_told_all`] announces `message` in the same step, so that no end
    /// goes untold, whatever becomes of the caller; with any other one the caller announces it.
    async fn remove_told(&self, key: &str, message: &str) -> Result<(), Error> {
        let _ = message;
        self.remove(key).await
    }

    /// Tells every instance, this one included, within a second.
    async fn announce(&self, message: &str) -> Result<(), Error>;

    /// What is announced from now on. The listener ends when the receiver is dropped.
    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error>;

    /// Whether whoever listens has been told all that was announced up to a second ago, or that they missed some of it. What
    /// they keep in memory is then as good as what they would read. A store that cannot be sure says no.
    fn has_told_all(&self) -> bool {
        false
    }
}

/// What is written under a key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub key: String,
    /// What.
    pub value: Vec<u8>,
    /// Until when it is there.
    pub expires_at: Timestamp,
}

/// Where a store is kept: `memory`, `sqlite:FILE`, `redis://HOST:PORT` or `rediss://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// In this process, gone when it ends.
    Memory,
    /// In a file; a relative path begins at the folder of gateway.toml.
    Sqlite(PathBuf),
    /// In Redis or Valkey.
    Redis(redis::Address),
}

impl Location {
    /// Whether what it refers to is there: the password, where one is named.
    ///
    /// # Errors
    /// Why the password cannot be had.
    pub fn check(&self, base_dir: &Path) -> Result<(), setting::BadSecret> {
        match self {
            Self::Memory | Self::Sqlite(_) => Ok(()),
            Self::Redis(address) => address.read_password(base_dir).map(drop),
        }
    }
}

impl Default for Location {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("linkgate.db"))
    }
}

impl TryFrom<String> for Location {
    type Error = BadLocation;

    fn try_from(text: String) -> Result<Self, BadLocation> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", file)) if !file.is_empty() && !file.contains('\0') => Ok(Self::Sqlite(PathBuf::from(file))),
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(text.parse()?)),
            _ => Err(BadLocation::Unknown),
        }
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

/// As it is written in gateway.toml.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Redis(address) => write!(f, "{address}"),
        }
    }
}

/// Why a text does not say where a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// None of the three kinds.
    #[error("expected \"memory\", \"sqlite:FILE\" or \"redis://HOST:PORT\"")]
    Unknown,
    /// Redis, but not an address.
    #[error(
        "expected \"redis://USER@HOST:PORT/DATABASE\", where USER, PORT and DATABASE may be left out, \
         with `prefix`, `password_file` or `password_env` after \"?\" and nothing else"
    )]
    Redis,
    /// The password stands where everybody who reads gateway.toml sees it.
    #[error(
        "expected no password in the address: name the file that holds it with \"?password_file=FILE\", \
         or the environment variable with \"?password_env=NAME\""
    )]
    Password,
}

/// Opens the store at `location`; relative files begin at `base_dir`.
///
/// Redis is not contacted yet: a gateway starts without it, and calls answer [`Error::Unavailable`] until it is there.
///
/// # Errors
/// When the file cannot be opened or is not a store of this version, or the Redis password cannot be read.
pub fn open(location: &Location, base_dir: &Path, clock: Clock) -> Result<Shared, OpenError> {
    Ok(match location {
        Location::Memory => Arc::new(memory::Memory::new(clock)),
        Location::Sqlite(file) => Arc::new(sqlite::Sqlite::open(&base_dir.join(file), clock)?),
        Location::Redis(address) => Arc::new(redis::Redis::open(address, base_dir, clock)?),
    })
}

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file, or the folder it stands in, cannot be made or read.
    #[error("open the store `{path}`: its folder and the file must be writable by the user that runs linkgate")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is damaged, or belongs to another program.
    #[error(
        "read the store `{path}`: it is damaged or not linkgate's; move it away and linkgate starts with an empty one"
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What was wrong, where SQLite said it.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The file was written by a later version.
    #[error(
        "read the store `{path}`: it has format {found} and this linkgate knows up to {known}; \
         run the newer version, or name another file"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format that this version writes.
        known: i64,
    },
    /// The password of the Redis server cannot be had.
    #[error("open the store `{address}`")]
    Password {
        /// The server.
        address: String,
        /// Why.
        #[source]
        source: setting::BadSecret,
    },
    /// The Redis client refuses the address.
    #[error("open the store `{address}`")]
    Address {
        /// The server.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How often something happened in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Events in the window, the one just counted included.
    pub events: u64,
    /// When the window closes and counting starts anew.
    pub resets_at: Timestamp,
}

impl Count {
    /// The count after one more event at `now`.
    ///
    /// A window never ends later than `window` from now, so a clock that was set back does not keep one open for days.
    fn after(previous: Option<Self>, now: Timestamp, window: Duration) -> Self {
        let at_most = now.plus(window);
        match previous.filter(|count| count.resets_at > now) {
            Some(open) => Self { events: open.events + 1, resets_at: open.resets_at.min(at_most) },
            None => Self { events: 1, resets_at: at_most },
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_parsed_and_shown_as_they_are_written() {
        for text in [
            "memory",
            "sqlite:linkgate.db",
            "sqlite:/var/lib/linkgate/store.db",
            "redis://127.0.0.1:6379",
            "redis://[::1]:6379/3",
            "rediss://gate@cache.example.com?prefix=wiki:&password_file=/run/secrets/redis",
        ] {
            let location = Location::try_from(text.to_owned()).expect(text);
            assert_eq!(location.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_location_says_what_is() {
        let check = |text: &str, expected: BadLocation| {
            assert_eq!(Location::try_from(text.to_owned()), Err(expected), "{text:?}");
        };
        for text in ["", "Memory", "memory:", "sqlite:", "sqlite", "postgres://host", "redis", "linkgate.db"] {
            check(text, BadLocation::Unknown);
        }
        for text in ["redis:", "redis://", "redis:///0", "redis://h/x", "redis://h/-1", "redis://h?db=1", "redis://h#x"]
        {
            check(text, BadLocation::Redis);
        }
        check("redis://:hunter2@host", BadLocation::Password);
        check("redis://gate:hunter2@host", BadLocation::Password);
    }

    #[test]
    fn a_clock_set_back_keeps_no_window_open() {
        let window = Duration::from_secs(60);
        let tomorrow = Timestamp::from_unix_seconds(100_000);
        let today = Timestamp::from_unix_seconds(10_000);
        let counted = Count::after(None, tomorrow, window);
        let expected = Count { events: 2, resets_at: today.plus(window) };
        assert_eq!(Count::after(Some(counted), today, window), expected);
    }
}
