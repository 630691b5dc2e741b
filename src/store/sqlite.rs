//! The store in one SQLite file: nothing to install, survives restarts and kills, and two processes may share it.
//!
//! One thread writes, a few read beside it (write-ahead log), and one follows what the processes that share the file
//! announce.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc;

use self::feed::Feed;
use self::readers::Readers;
use self::writer::Writer;
use super::listeners::Listeners;
use super::{Announcement, Count, Entry, Error, OpenError, Store};
use crate::clock::{Clock, Timestamp};

mod feed;
mod file;
mod readers;
mod statement;
mod writer;

/// How long a call may take, its wait for other calls included. A write that is answered late may still happen.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A store in a file.
pub struct Sqlite {
    clock: Clock,
    writer: Writer,
    readers: Readers,
    listeners: Arc<Listeners>,
    feed: Feed,
}

impl Sqlite {
    /// Opens or creates the store at `path`, readable by this user alone.
    ///
    /// # Errors
    /// When the file cannot be used, is damaged, is not linkgate's, or has a newer format.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(|source| file::unusable(path, source))?;
        let writing = file::create_or_open(&path)?;
        let listeners = Arc::new(Listeners::default());
        Ok(Self {
            readers: Readers::open(&path)?,
            feed: Feed::start(&path, Arc::clone(&listeners), clock.clone())?,
            writer: Writer::start(writing, clock.clone()).map_err(|source| file::unusable(&path, source))?,
            clock,
            listeners,
        })
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let (key, now) = (key.to_owned(), self.clock.now());
        in_time(self.readers.run(move |file| statement::get(file, &key, now))).await
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        let (key, value) = (key.to_owned(), value.to_vec());
        in_time(self.writer.run(move |file| statement::put(file, &key, &value, expires_at))).await
    }

    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        let (key, value, now) = (key.to_owned(), value.to_vec(), self.clock.now());
        in_time(self.writer.run(move |file| statement::replace(file, &key, &value, expires_at, now))).await
    }

    async fn replace_all(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let now = self.clock.now();
        let replace_all = move |file: &Connection| {
            entries.iter().try_for_each(|Entry { key, value, expires_at }| {
                statement::replace(file, key, value, *expires_at, now).map(drop)
            })
        };
        in_time(self.writer.run(replace_all)).await
    }

    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        let (key, value, now) = (key.to_owned(), value.to_vec(), self.clock.now());
        in_time(self.writer.run(move |file| statement::put_if_absent(file, &key, &value, expires_at, now))).await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        let key = key.to_owned();
        in_time(self.writer.run(move |file| statement::remove(file, &key))).await
    }

    async fn remove_told(&self, key: &str, message: &str) -> Result<(), Error> {
        let (key, message) = (key.to_owned(), message.to_owned());
        let remove = move |file: &Connection| {
            statement::remove(file, &key)?;
            statement::announce(file, &message)
        };
        in_time(self.writer.run(remove)).await?;
        self.feed.look_now();
        Ok(())
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let (key, now) = (key.to_owned(), self.clock.now());
        in_time(self.writer.run(move |file| statement::take(file, &key, now))).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        let (key, now) = (key.to_owned(), self.clock.now());
        in_time(self.writer.run(move |file| statement::count(file, &key, window, now))).await
    }

    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        let (set, member) = (set.to_owned(), member.to_owned());
        in_time(self.writer.run(move |file| statement::index_add(file, &set, &member, expires_at))).await
    }

    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        let (set, now) = (set.to_owned(), self.clock.now());
        in_time(self.readers.run(move |file| statement::index_members(file, &set, now))).await
    }

    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        let (set, member) = (set.to_owned(), member.to_owned());
        in_time(self.writer.run(move |file| statement::index_remove(file, &set, &member))).await
    }

    async fn announce(&self, message: &str) -> Result<(), Error> {
        let message = message.to_owned();
        in_time(self.writer.run(move |file| statement::announce(file, &message))).await?;
        self.feed.look_now();
        Ok(())
    }

    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        Ok(self.listeners.add())
    }

    fn has_told_all(&self) -> bool {
        self.feed.has_told_all()
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or_else(|late| Err(Error::Unavailable(Box::new(late))))
}

fn failure(cause: Arc<rusqlite::Error>) -> Error {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::TooBig) => Error::Full(Box::new(cause)),
        _ => Error::Unavailable(Box::new(cause)),
    }
}

#[cfg(test)]
mod tests;
