//! How many streams are open under each session. This instance counts its own in memory; now and then it notes them in
//! the store, where whoever lists a user's sessions adds up what all instances noted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::cache::Live;
use super::id::Key;
use crate::clock::{Clock, Timestamp};
use crate::secret::random_token;
use crate::store::{self, Shared};

/// How often it is looked whether there is something to note.
const LOOK: Duration = Duration::from_secs(2);
/// A note is good for so long after it was written: what an instance leaves behind that is gone.
const GOOD_FOR: Duration = Duration::from_secs(90);
/// A note is written again after so many looks.
const LOOKS: u32 = 15;
/// So many notes are written after one look at most; the others wait for the next.
const MOST_NOTES: usize = 500;

/// The open streams of this instance.
#[derive(Default)]
pub struct OpenStreams {
    open: Mutex<HashMap<Key, usize>>,
}

/// One open stream of a session, until it is dropped.
pub struct StreamOfSession {
    streams: Arc<OpenStreams>,
    key: Key,
}

impl OpenStreams {
    /// Counts one more under the session of `live`.
    pub fn enter(self: &Arc<Self>, live: &Live) -> StreamOfSession {
        self.enter_by(live.key())
    }

    fn enter_by(self: &Arc<Self>, key: Key) -> StreamOfSession {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        StreamOfSession { streams: Arc::clone(self), key }
    }

    /// Notes in `store` what is open, for as long as this goes on.
    pub async fn keep_noted(self: Arc<Self>, store: Shared, clock: Clock) {
        let mut notes = Notes::new(store, clock);
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = notes.update(&self.counts()).await {
                tracing::debug!(error = %super::Chain(&error), "failed to note the open streams of sessions");
            }
        }
    }

    fn counts(&self) -> HashMap<Key, usize> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for StreamOfSession {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// What this instance has noted.
struct Notes {
    store: Shared,
    clock: Clock,
    /// What this instance calls itself.
    instance: String,
    written: HashMap<Key, Note>,
}

#[derive(Clone, Copy)]
struct Note {
    count: usize,
    looks: u32,
}

impl Notes {
    fn new(store: Shared, clock: Clock) -> Self {
        Self { store, clock, instance: random_token().expose().clone(), written: HashMap::new() }
    }

    /// Brings what is noted closer to `counts`.
    async fn update(&mut self, counts: &HashMap<Key, usize>) -> Result<(), store::Error> {
        for note in self.written.values_mut() {
            note.looks += 1;
        }
        let gone = self.written.keys().filter(|key| !counts.contains_key(key)).map(|key| (*key, 0));
        let changed = counts.iter().map(|(key, count)| (*key, *count)).filter(|(key, count)| {
            self.written.get(key).is_none_or(|note| note.count != *count || note.looks >= LOOKS)
        });
        let due: Vec<(Key, usize)> = gone.chain(changed).take(MOST_NOTES).collect();
        for (key, count) in due {
            self.write(key, count).await?;
        }
        Ok(())
    }

    async fn write(&mut self, key: Key, count: usize) -> Result<(), store::Error> {
        let set = set_name(key);
        if count > 0 {
            self.store.index_add(&set, &self.member(count), self.expires_at()).await?;
        }
        let before = match count {
            0 => self.written.remove(&key),
            _ => self.written.insert(key, Note { count, looks: 0 }),
        };
        if let Some(before) = before.filter(|before| before.count != count) {
            self.store.index_remove(&set, &self.member(before.count)).await?;
        }
        Ok(())
    }

    fn member(&self, count: usize) -> String {
        format!("{}:{count}", self.instance)
    }

    fn expires_at(&self) -> Timestamp {
        self.clock.now().plus(GOOD_FOR)
    }
}

/// How many streams all instances have noted under a session.
pub(super) async fn noted(store: &Shared, key: Key) -> Result<usize, store::Error> {
    let mut by_instance: HashMap<String, usize> = HashMap::new();
    for member in store.index_members(&set_name(key)).await? {
        let Some((instance, count)) = member.rsplit_once(':') else { continue };
        let Ok(count) = count.parse::<usize>() else { continue };
        // While a note is replaced there are two of an instance.
        let most = by_instance.entry(instance.to_owned()).or_default();
        *most = count.max(*most);
    }
    Ok(by_instance.values().sum())
}

fn set_name(key: Key) -> String {
    format!("session_streams:{}", key.to_text())
}

#[cfg(test)]
mod tests {
    use super::super::id::SessionId;
    use super::*;
    use crate::store::memory::Memory;

    const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn store() -> (Shared, Clock) {
        let clock = Clock::manual(START);
        (Arc::new(Memory::new(clock.clone())), clock)
    }

    #[tokio::test]
    async fn instances_add_up_and_closed_streams_are_gone() {
        let (store, clock) = store();
        let key = SessionId::random().key();
        let (here, there) = (Arc::new(OpenStreams::default()), Arc::new(OpenStreams::default()));
        let mut notes = [Notes::new(Arc::clone(&store), clock.clone()), Notes::new(Arc::clone(&store), clock)];
        let first = here.enter_by(key);
        let second = here.enter_by(key);
        let third = there.enter_by(key);
        notes[0].update(&here.counts()).await.unwrap();
        notes[1].update(&there.counts()).await.unwrap();
        assert_eq!(noted(&store, key).await.unwrap(), 3);
        drop((first, third));
        notes[0].update(&here.counts()).await.unwrap();
        notes[1].update(&there.counts()).await.unwrap();
        assert_eq!(noted(&store, key).await.unwrap(), 1);
        drop(second);
        notes[0].update(&here.counts()).await.unwrap();
        assert_eq!(store.index_members(&set_name(key)).await.unwrap(), [""; 0]);
        assert!(here.counts().is_empty(), "what is not open takes no memory");
    }

    #[tokio::test]
    async fn a_note_is_renewed_while_the_stream_is_open_and_soon_gone_without_its_instance() {
        let (store, clock) = store();
        let key = SessionId::random().key();
        let streams = Arc::new(OpenStreams::default());
        let _open = streams.enter_by(key);
        let mut notes = Notes::new(Arc::clone(&store), clock.clone());
        for _ in 0..100 {
            notes.update(&streams.counts()).await.unwrap();
            assert_eq!(noted(&store, key).await.unwrap(), 1);
            clock.advance(LOOK);
        }
        drop(notes);
        clock.advance(GOOD_FOR);
        assert_eq!(noted(&store, key).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn so_many_notes_are_written_at_a_time() {
        let (store, clock) = store();
        let streams = Arc::new(OpenStreams::default());
        let open: Vec<_> = (0..MOST_NOTES + 1).map(|_| streams.enter_by(SessionId::random().key())).collect();
        let mut notes = Notes::new(store, clock);
        notes.update(&streams.counts()).await.unwrap();
        assert_eq!(notes.written.len(), MOST_NOTES);
        notes.update(&streams.counts()).await.unwrap();
        assert_eq!(notes.written.len(), open.len());
    }
}
