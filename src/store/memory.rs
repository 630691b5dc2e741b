//! The store in this process's memory: for tests, and for trying things out. It ends with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::listeners::Listeners;
use super::{Announcement, Count, Error, Store};
use crate::clock::{Clock, Timestamp};

/// Writes between two sweeps. A sweep only frees memory; every read judges expiry itself.
const SWEEP_EVERY: u32 = 1024;

/// A store in memory.
pub struct Memory {
    clock: Clock,
    state: Mutex<State>,
    listeners: Listeners,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    counts: HashMap<String, Count>,
    sets: HashMap<String, HashMap<String, Timestamp>>,
    writes: u32,
}

struct Entry {
    value: Vec<u8>,
    expires_at: Timestamp,
}

impl Memory {
    /// An empty store that judges expiry by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), listeners: Listeners::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_for_writing(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.writes = state.writes.wrapping_add(1);
        if state.writes.is_multiple_of(SWEEP_EVERY) {
            state.sweep(self.clock.now());
        }
        state
    }
}

impl State {
    fn present(&self, key: &str, now: Timestamp) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.expires_at > now)
    }

    fn put(&mut self, key: &str, value: &[u8], expires_at: Timestamp) {
        self.entries.insert(key.to_owned(), Entry { value: value.to_vec(), expires_at });
    }

    fn sweep(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| entry.expires_at > now);
        self.counts.retain(|_, count| count.resets_at > now);
        self.sets.retain(|_, members| {
            members.retain(|_, expires_at| *expires_at > now);
            !members.is_empty()
        });
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().present(key, self.clock.now()).map(|entry| entry.value.clone()))
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        self.state_for_writing().put(key, value, expires_at);
        Ok(())
    }

    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        let mut state = self.state_for_writing();
        let present = state.present(key, self.clock.now()).is_some();
        if present {
            state.put(key, value, expires_at);
        }
        Ok(present)
    }

    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        let mut state = self.state_for_writing();
        let absent = state.present(key, self.clock.now()).is_none();
        if absent {
            state.put(key, value, expires_at);
        }
        Ok(absent)
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.state_for_writing().entries.remove(key);
        Ok(())
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let taken = self.state_for_writing().entries.remove(key);
        Ok(taken.filter(|entry| entry.expires_at > self.clock.now()).map(|entry| entry.value))
    }

    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        let mut state = self.state_for_writing();
        let count = Count::after(state.counts.get(key).copied(), self.clock.now(), window);
        state.counts.insert(key.to_owned(), count);
        Ok(count)
    }

    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        self.state_for_writing().sets.entry(set.to_owned()).or_default().insert(member.to_owned(), expires_at);
        Ok(())
    }

    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        let now = self.clock.now();
        let state = self.state();
        let members = state.sets.get(set).into_iter().flatten();
        Ok(members.filter(|(_, expires_at)| **expires_at > now).map(|(member, _)| member.clone()).collect())
    }

    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        if let Some(members) = self.state_for_writing().sets.get_mut(set) {
            members.remove(member);
        }
        Ok(())
    }

    async fn announce(&self, message: &str) -> Result<(), Error> {
        self.listeners.tell(&Announcement::Message(message.to_owned()));
        Ok(())
    }

    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        Ok(self.listeners.add())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_expired_does_not_pile_up() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let store = Memory::new(clock.clone());
        for number in 0..SWEEP_EVERY * 4 {
            let key = number.to_string();
            store.put(&key, b"", clock.now().plus(Duration::from_secs(1))).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        assert!(store.state().entries.len() <= SWEEP_EVERY as usize);
    }
}
