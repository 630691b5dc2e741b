//! A store that fails, or takes its time, when a story wants it to.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use linkgate::clock::{Clock, Timestamp};
use linkgate::store::memory::Memory;
use linkgate::store::{Announcement, Count, Error, Store};
use tokio::sync::mpsc;

/// Says for each call, by its name and key, how it fails, if it does.
type Rule = Box<dyn FnMut(&str, &str) -> Option<Error> + Send>;

/// A store in memory with a rule about which calls fail. What fails leaves no trace.
pub(crate) struct Failing {
    inner: Memory,
    rule: Mutex<Rule>,
    tells_all: AtomicBool,
    hesitates: AtomicBool,
    reads: AtomicU32,
}

pub(crate) fn unavailable() -> Error {
    Error::Unavailable("unplugged".into())
}

pub(crate) fn full() -> Error {
    Error::Full("no space left on device".into())
}

impl Failing {
    /// A store that works so far.
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(clock),
            rule: Mutex::new(Box::new(|_, _| None)),
            tells_all: AtomicBool::new(false),
            hesitates: AtomicBool::new(false),
            reads: AtomicU32::new(0),
        })
    }

    /// From now on it is sure, or not, that all that was announced was told.
    pub(crate) fn tell_all(&self, tells_all: bool) {
        self.tells_all.store(tells_all, Ordering::Relaxed);
    }

    /// Has each read wait for others from now on, one for longer than another, so that callers overtake each other.
    pub(crate) fn hesitate(&self) {
        self.hesitates.store(true, Ordering::Relaxed);
    }

    /// As a store that is elsewhere has others go on meanwhile.
    async fn wait_for_others(&self) {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let turns = if self.hesitates.load(Ordering::Relaxed) { read.wrapping_mul(89) % 211 } else { 1 };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Works from now on.
    pub(crate) fn work(&self) {
        self.fail_when(|_, _| None);
    }

    /// Fails every call from now on.
    pub(crate) fn fail(&self) {
        self.fail_when(|_, _| Some(unavailable()));
    }

    /// Takes nothing more: reading and removing work.
    pub(crate) fn fill(&self) {
        self.fail_when(|call, _| {
            (!matches!(call, "get" | "remove" | "index_members" | "index_remove" | "announce")).then(full)
        });
    }

    /// Fails the calls for which `rule` gives an error from now on.
    pub(crate) fn fail_when(&self, rule: impl FnMut(&str, &str) -> Option<Error> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    fn inner(&self, call: &str, key: &str) -> Result<&Memory, Error> {
        let failure = (self.rule.lock().unwrap())(call, key);
        failure.map_or(Ok(&self.inner), Err)
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let inner = self.inner("get", key)?;
        self.wait_for_others().await;
        inner.get(key).await
    }
    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        self.inner("put", key)?.put(key, value, expires_at).await
    }
    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.inner("replace", key)?.replace(key, value, expires_at).await
    }
    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.inner("put_if_absent", key)?.put_if_absent(key, value, expires_at).await
    }
    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.inner("remove", key)?.remove(key).await
    }
    async fn remove_told(&self, key: &str, message: &str) -> Result<(), Error> {
        let inner = self.inner("remove", key)?;
        inner.remove(key).await?;
        if self.has_told_all() { inner.announce(message).await } else { Ok(()) }
    }
    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.inner("take", key)?.take(key).await
    }
    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        self.inner("count", key)?.count(key, window).await
    }
    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        self.inner("index_add", set)?.index_add(set, member, expires_at).await
    }
    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        self.inner("index_members", set)?.index_members(set).await
    }
    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        self.inner("index_remove", set)?.index_remove(set, member).await
    }
    async fn announce(&self, message: &str) -> Result<(), Error> {
        self.inner("announce", message)?.announce(message).await
    }
    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        self.inner("announcements", "")?.announcements().await
    }
    fn has_told_all(&self) -> bool {
        self.tells_all.load(Ordering::Relaxed)
    }
}
