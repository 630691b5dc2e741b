//! The sessions of one user, as they see and end them themselves, and whoever administers them: the records are sealed, so
//! what can be told is that they are there, where they began, and when they were last used.

use std::sync::Arc;

use super::beginning::Beginning;
use super::id::Key;
use super::{Live, Sessions, at_mosaic, index_name, record_name, streams, used_at_of, used_name};
use crate::clock::Timestamp;
use crate::identity::Subject;
use crate::mosaic;
use crate::secret::fingerprint;
use crate::store;

/// A session that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the store calls it; nobody can use it by that name.
    pub key: Key,
    /// Where and when it began; nothing of one that an earlier version began.
    pub beginning: Option<Beginning>,
    /// When it was last used: at this instance, or as far as others have noted it, which they do now and then.
    pub used_at: Timestamp,
    /// How many streams are open under it, as of a few seconds ago.
    pub streams: usize,
}

impl Sessions {
    /// The sessions of a user, the one that was used last first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn of(&self, subject: &Subject) -> Result<Vec<Listed>, store::Error> {
        let mut listed = Vec::new();
        for key in self.keys_of(subject).await? {
            if let Some(note) = self.store.get(&used_name(key)).await?
                && self.store.get(&record_name(key)).await?.is_some()
            {
                let streams = streams::noted(&self.store, key).await?;
                let beginning = self.beginning(key).await?;
                let noted = used_at_of(key, note)?;
                let used_at = self.cache.get(key).await.map_or(noted, |live| live.used_at().max(noted));
                listed.push(Listed { key, beginning, used_at, streams });
            }
        }
        listed.sort_by_key(|session| std::cmp::Reverse(session.used_at));
        Ok(listed)
    }

    /// Ends those sessions of the user of `live` that `ends` names, on every instance and, in the background, at Mosaic. Says
    /// how many there were. That of `live` itself is not among them.
    ///
    /// # Errors
    /// When the store cannot remove them all; those before the failure have ended.
    pub async fn end_others(&self, live: &Live, ends: impl Fn(Key) -> bool) -> Result<usize, store::Error> {
        let subject = live.subject();
        let kept = self.at_mosaic(live).await?.map(|session| fingerprint(session.expose()));
        let (mut ended, mut at_mosaic) = (0, Vec::new());
        for key in self.keys_of(&subject).await?.into_iter().filter(|key| *key != live.key() && ends(*key)) {
            at_mosaic.extend(self.beginning(key).await?.map(|beginning| beginning.mosaic_session().to_owned()));
            ended += usize::from(self.store.get(&record_name(key)).await?.is_some());
            self.forget(key, &subject).await?;
        }
        at_mosaic.retain(|name| kept.as_ref() != Some(name));
        self.end_named_at_mosaic(subject, at_mosaic);
        Ok(ended)
    }

    /// Ends, in the background, those sessions of a user at Mosaic whose names have these fingerprints.
    pub(super) fn end_named_at_mosaic(&self, subject: Subject, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let (mosaic, meant) = (self.mosaic.clone(), Arc::new((subject, names)));
        self.tasks.spawn(at_mosaic::end(at_mosaic::OF_ONE, move || {
            let (mosaic, meant) = (mosaic.clone(), Arc::clone(&meant));
            async move {
                let (subject, names) = &*meant;
                let there = match mosaic.sessions_of(subject).await {
                    Err(mosaic::Error::UserNotFound) => return Ok(()),
                    there => there?,
                };
                for session in there {
                    if names.contains(&fingerprint(session.session_id.expose())) {
                        mosaic.end_session(session.session_id.expose()).await?;
                    }
                }
                Ok(())
            }
        }));
    }

    /// Ends every session of a user on every instance, and says how many there were. At Mosaic nothing is ended.
    ///
    /// # Errors
    /// When the store cannot remove them all; those before the failure have ended.
    pub async fn end_all_of(&self, subject: &Subject) -> Result<usize, store::Error> {
        let mut ended = 0;
        for key in self.keys_of(subject).await? {
            ended += usize::from(self.store.get(&record_name(key)).await?.is_some());
            self.forget(key, subject).await?;
        }
        Ok(ended)
    }

    pub(super) async fn keys_of(&self, subject: &Subject) -> Result<Vec<Key>, store::Error> {
        let members = self.store.index_members(&index_name(subject)).await?;
        Ok(members.iter().filter_map(|member| Key::from_text(member)).collect())
    }
}
