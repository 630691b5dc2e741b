//! Sessions in memory, each with the header values that its requests need: a hit does no I/O.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::id::{Key, SessionId};
use super::refusals::Refusals;
use super::renewal::Turns;
use super::{Ending, Session};
use crate::clock::Timestamp;

/// A session as requests use it.
pub struct Live {
    id: SessionId,
    key: Key,
    reference: String,
    session: Session,
    headers: Vec<(HeaderName, HeaderValue)>,
    used_at: AtomicI64,
    use_saved_at: AtomicI64,
    fresh_until: Timestamp,
    pub(super) kept: Kept,
}

/// What an entry shares with those before and after it.
#[derive(Clone, Default)]
pub(super) struct Kept {
    pub(super) turns: Arc<Turns>,
    refusals: Arc<Refusals>,
}

impl Live {
    pub(super) fn new(
        id: SessionId,
        session: Session,
        headers: Vec<(HeaderName, HeaderValue)>,
        used_at: Timestamp,
        fresh_until: Timestamp,
        kept: Kept,
    ) -> Self {
        Self {
            key: id.key(),
            reference: id.reference(),
            id,
            session,
            headers,
            used_at: AtomicI64::new(used_at.unix_millis()),
            use_saved_at: AtomicI64::new(used_at.unix_millis()),
            fresh_until,
            kept,
        }
    }

    /// What is known about the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The identity headers for the upstream, ready-made.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// A token that only this session's own pages can carry.
    pub fn csrf_token(&self) -> String {
        self.id.csrf_token()
    }

    /// Why requests of it were refused lately.
    pub fn refusals(&self) -> &Refusals {
        &self.kept.refusals
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// A name of the session that others may know: it leads nobody to it.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    pub(super) const fn key(&self) -> Key {
        self.key
    }

    pub(super) const fn id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn used_at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.used_at.load(Ordering::Relaxed))
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }

    /// How the session has come to its end by `now`, if it has.
    pub fn ending(&self, now: Timestamp, idle_timeout: Duration) -> Option<Ending> {
        if now >= self.session.expires_at {
            Some(Ending::Ended)
        } else if now >= self.used_at().plus(idle_timeout) {
            Some(Ending::Idle)
        } else {
            None
        }
    }

    /// Notes a use. Whether it is time to note it in the store too: true for one caller per `interval`.
    pub(super) fn touch(&self, now: Timestamp, interval: Duration) -> bool {
        let now = now.unix_millis();
        self.used_at.fetch_max(now, Ordering::Relaxed);
        let saved = self.use_saved_at.load(Ordering::Relaxed);
        let due = Timestamp::from_unix_millis(saved).plus(interval).unix_millis();
        now >= due && self.use_saved_at.compare_exchange(saved, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// At most this many sessions are kept ready; others are loaded again when they are used.
const MOST_ENTRIES: u64 = 200_000;

/// The sessions, and what leads to them.
pub(super) struct Cache {
    pub(super) sessions: crate::cache::Cache<Key, Live>,
    /// The sessions that seats on other hosts lead to. That never changes.
    pub(super) seats: crate::cache::Cache<Key, SessionId>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { sessions: crate::cache::Cache::new(MOST_ENTRIES), seats: crate::cache::Cache::new(MOST_ENTRIES) }
    }

    /// Forgets every session.
    pub(super) fn forget_all(&self) {
        self.sessions.forget_all();
        self.seats.forget_all();
    }
}
