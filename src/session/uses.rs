//! Notes of when sessions were used, for the store. They are gathered for a moment and written together: written one by
//! one, each would cost more than the request that it is about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::id::Key;
use super::{Chain, used_name};
use crate::clock::Timestamp;
use crate::store::{Entry, Shared};

/// So long is waited for more of them after the first.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// So many are one call of the store at most, so that other calls need not wait for all of them.
const MOST_TOGETHER: usize = 256;

/// A use is noted this often at most: what is not noted cannot delay the end of a session at another gateway or after a
/// restart, and the list of sessions does not tell of it. With many sessions the notes are most of what the store has to
/// write, so they come a hundred times in the time that a session may rest. Where that is short they come once a minute, as
/// long as that is a tenth of it, and where it is long every ten minutes, for the sake of the list.
pub(super) fn noted_every(idle_timeout: Duration) -> Duration {
    (idle_timeout / 100).clamp(Duration::from_secs(60), Duration::from_secs(600)).min(idle_timeout / 10)
}

/// What was noted and is not written yet.
#[derive(Default)]
pub(super) struct Uses(Mutex<Vec<Use>>);

struct Use {
    key: Key,
    at: Timestamp,
    expires_at: Timestamp,
}

impl Uses {
    /// Notes that a session was used, for as long as it may rest. The first one since the others were written must have
    /// [`Uses::write`] called.
    pub(super) fn note(&self, key: Key, at: Timestamp, idle_timeout: Duration) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(Use { key, at, expires_at: at.plus(idle_timeout) });
        noted.len() == 1
    }

    /// Writes what is noted until it begins. Of a session that ends meanwhile nothing is.
    pub(super) async fn write(self: Arc<Self>, store: Shared) {
        tokio::time::sleep(GATHERED_FOR).await;
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for together in noted.chunks(MOST_TOGETHER) {
            let entry = |used: &Use| Entry {
                key: used_name(used.key),
                value: used.at.unix_millis().to_be_bytes().into(),
                expires_at: used.expires_at,
            };
            if let Err(error) = store.replace_all(together.iter().map(entry).collect()).await {
                let sessions = together.len();
                tracing::warn!(error = %Chain(&error), sessions, "failed to note the use of sessions");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_a_session_may_rest_the_less_often_its_use_is_noted() {
        let minutes = [(1, 6), (10, 60), (30, 60), (100, 60), (200, 120), (12 * 60, 432), (7 * 24 * 60, 600)];
        for (idle_timeout, seconds) in minutes {
            let idle_timeout = Duration::from_secs(idle_timeout * 60);
            assert_eq!(noted_every(idle_timeout), Duration::from_secs(seconds), "{idle_timeout:?}");
        }
    }
}
