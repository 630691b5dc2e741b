//! How sessions end: in the store, in every instance's memory, and at Mosaic.
//!
//! An end that is removed is told of in the same step, and whoever has sessions in memory listens for it, so that none is
//! believed after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::id::Key;
use super::{Live, Sessions, at_mosaic, beginning, index_name, record_name, seat, used_name};
use crate::identity::Subject;
use crate::mosaic::SignedIn;
use crate::secret::Secret;
use crate::store;

const ENDED: &str = "session_ended:";

impl Sessions {
    /// Ends one session everywhere: its record, every instance's memory of it, and, in the background, its
    /// session at Mosaic.
    ///
    /// # Errors
    /// When the store cannot remove it: then it is not ended, and nobody is told that it was.
    pub async fn end(self: &Arc<Self>, live: &Live) -> Result<(), store::Error> {
        let stored = self.read_record(live.id()).await?;
        self.remove_record(live.key()).await?;
        // Nobody can ask for this a second time, whatever else goes wrong.
        match stored {
            Some(stored) => self.end_at_mosaic(&stored.mosaic_session),
            // An earlier try may have removed the record without hearing of it.
            None => {
                let beginning = self.beginning(live.key()).await?;
                let name = beginning.map(|beginning| beginning.mosaic_session().to_owned());
                self.end_named_at_mosaic(live.subject(), name.into_iter().collect());
            }
        }
        self.tidy(live.key(), &live.subject()).await
    }

    /// Ends one session in whose place the same browser has a new one. Its session at Mosaic lives on where the new
    /// one shares it.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub async fn end_replaced(self: &Arc<Self>, live: &Live, by: &SignedIn) -> Result<(), store::Error> {
        match self.at_mosaic(live).await? {
            Some(replaced) if replaced.expose() != by.session_id.expose() => self.end(live).await,
            _ => self.forget(live.key(), &live.subject()).await,
        }
    }

    /// Ends a session at Mosaic, in the background.
    pub fn end_at_mosaic(&self, session_id: &str) {
        let (mosaic, id) = (self.mosaic.clone(), Arc::new(Secret::new(session_id.to_owned())));
        self.tasks.spawn(at_mosaic::end(at_mosaic::OF_ONE, move || {
            let (mosaic, id) = (mosaic.clone(), Arc::clone(&id));
            async move { mosaic.end_session(id.expose()).await }
        }));
    }

    /// Ends every session of the user of `live`, here and at Mosaic, and that one last: as long as it lives, its
    /// visitor can ask again.
    ///
    /// # Errors
    /// When the store cannot remove them all.
    pub async fn end_all(self: &Arc<Self>, live: &Live) -> Result<(), store::Error> {
        let subject = live.subject();
        for key in self.keys_of(&subject).await?.into_iter().filter(|key| *key != live.key()) {
            self.forget(key, &subject).await?;
        }
        self.end(live).await?;
        let mosaic = self.mosaic.clone();
        self.tasks.spawn(at_mosaic::end(at_mosaic::OF_ALL, move || {
            let (mosaic, subject) = (mosaic.clone(), subject.clone());
            async move { mosaic.end_sessions_of(&subject).await }
        }));
        Ok(())
    }

    pub(super) async fn forget(&self, key: Key, subject: &Subject) -> Result<(), store::Error> {
        self.remove_record(key).await?;
        self.tidy(key, subject).await
    }

    /// The one place that removes a session's record: what was not told of its end would be believed in memory.
    async fn remove_record(&self, key: Key) -> Result<(), store::Error> {
        self.store.remove_told(&record_name(key), &ended(key)).await
    }

    /// Puts away what is left of a session without a record.
    async fn tidy(&self, key: Key, subject: &Subject) -> Result<(), store::Error> {
        self.cache.forget(key).await;
        self.store.announce(&ended(key)).await?;
        self.store.remove(&used_name(key)).await?;
        self.store.remove(&beginning::began_name(key)).await?;
        self.store.index_remove(&index_name(subject), &key.to_text()).await
    }

    /// Forgets what other instances ended, for as long as the store can be listened to.
    ///
    /// # Errors
    /// When the store cannot be listened to at all.
    pub async fn listen(self: Arc<Self>) -> Result<(), store::Error> {
        let mut announcements = self.store.announcements().await?;
        // Whatever was announced before this moment did not reach us.
        self.look_again().await?;
        let _listening = Listening::to(&self.is_listening);
        while let Some(announcement) = announcements.recv().await {
            match announcement {
                store::Announcement::Message(message) => {
                    if let Some(key) = message.strip_prefix(ENDED).and_then(Key::from_text) {
                        self.cache.forget(key).await;
                    }
                    if let Some(key) = message.strip_prefix(seat::LEFT).and_then(Key::from_text) {
                        self.cache.seats.forget(key).await;
                    }
                }
                store::Announcement::Missed => self.look_again().await?,
            }
        }
        Ok(())
    }

    /// Believes nothing in memory after the store was out of sight.
    async fn look_again(&self) -> Result<(), store::Error> {
        self.cache.forget_all();
        self.ring.agree_again().await
    }
}

/// Says that somebody listens, for as long as that lasts.
struct Listening<'a>(&'a AtomicBool);

impl<'a> Listening<'a> {
    fn to(said: &'a AtomicBool) -> Self {
        said.store(true, Ordering::Release);
        Self(said)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What is announced of a session that has ended.
fn ended(key: Key) -> String {
    format!("{ENDED}{}", key.to_text())
}
