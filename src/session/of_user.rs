//! The sessions of one user, as whoever administers them sees and ends them: the records are sealed, so what can be
//! told is that they are there and when they were last used.

use super::id::Key;
use super::{Sessions, index_name, record_name, streams, used_at_of, used_name};
use crate::clock::Timestamp;
use crate::identity::Subject;
use crate::store;

/// A session that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the store calls it; nobody can use it by that name.
    pub key: Key,
    /// When it was last used, to within a minute.
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
                listed.push(Listed { key, used_at: used_at_of(key, note)?, streams });
            }
        }
        listed.sort_by_key(|session| std::cmp::Reverse(session.used_at));
        Ok(listed)
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
