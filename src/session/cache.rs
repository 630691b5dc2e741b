//! Sessions in memory, each with the header values that its requests need: a hit does no I/O.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::id::{Key, Mac, SessionId};
use super::packed::Packed;
use super::refusals::Refusals;
use super::renewal::{self, Turns};
use super::{Ending, Session};
use crate::clock::Timestamp;
use crate::identity::headers::Plan;
use crate::identity::{Identity, Subject};
use crate::secret;
use crate::store;

/// A session as requests use it. There are many, so it holds what most requests need, and the rest in one piece. What
/// Mosaic knows it by is in the store only: few requests ask for it, and it is a secret.
pub struct Live {
    id: SessionId,
    moments: Moments,
    /// Which headers tell about the visitor.
    plan: Arc<Plan>,
    packed: Packed,
    /// What was packed, once a request needed it.
    identity: OnceLock<Box<Identity>>,
    used_at: AtomicI64,
    fresh_until: AtomicI64,
    proven: OnceLock<Mac>,
    /// What [`Cache::changes`] said just before it was last found in the cache.
    found_at: AtomicU64,
    pub(super) kept: Kept,
}

/// When something about a session changes.
#[derive(PartialEq, Eq)]
pub(super) struct Moments {
    pub(super) signed_in_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) access_expires_at: Timestamp,
    pub(super) renew_at: Timestamp,
}

impl Moments {
    pub(super) fn of(session: &Session) -> Self {
        let Session { signed_in_at, expires_at, access_expires_at, renew_at, .. } = *session;
        let renew_at = renew_at.unwrap_or_else(|| renewal::due_without_word(access_expires_at));
        Self { signed_in_at, expires_at, access_expires_at, renew_at }
    }
}

/// What an entry shares with those before and after it. Most sessions never need it.
#[derive(Default)]
pub(super) struct Kept(OnceLock<Arc<Shared>>);

#[derive(Default)]
struct Shared {
    turns: Turns,
    refusals: Refusals,
}

impl Kept {
    pub(super) fn turns(&self) -> &Turns {
        &self.shared().turns
    }

    fn refusals(&self) -> &Refusals {
        &self.shared().refusals
    }

    fn shared(&self) -> &Arc<Shared> {
        self.0.get_or_init(Arc::default)
    }

    /// The same for the entry that comes after. It is made now at the latest: later, each of the two would make its own.
    fn handed_on(&self) -> Self {
        Self(Arc::clone(self.shared()).into())
    }
}

impl Live {
    /// The entry for what was just read, which is the one before where that tells the same.
    pub(super) fn read(
        before: Option<Arc<Self>>,
        id: SessionId,
        session: &Session,
        plan: &Arc<Plan>,
        used_at: Timestamp,
        fresh_until: Timestamp,
    ) -> Arc<Self> {
        match before {
            Some(before) if before.is_made_of(session) => {
                before.used_at.fetch_max(used_at.unix_millis(), Ordering::Relaxed);
                before.fresh_until.store(fresh_until.unix_millis(), Ordering::Relaxed);
                before
            }
            before => {
                let kept = before.map(|before| before.kept()).unwrap_or_default();
                Arc::new(Self::new(id, session, plan, used_at, fresh_until, kept))
            }
        }
    }

    pub(super) fn new(
        id: SessionId,
        session: &Session,
        plan: &Arc<Plan>,
        used_at: Timestamp,
        fresh_until: Timestamp,
        kept: Kept,
    ) -> Self {
        Self {
            id,
            moments: Moments::of(session),
            plan: Arc::clone(plan),
            packed: Packed::new(&session.identity, &plan.values(&session.identity)),
            identity: OnceLock::new(),
            used_at: AtomicI64::new(used_at.unix_millis()),
            fresh_until: AtomicI64::new(fresh_until.unix_millis()),
            proven: OnceLock::new(),
            found_at: AtomicU64::new(NOT_FOUND_YET),
            kept,
        }
    }

    /// Notes that it was found in the cache after `changes` of it.
    pub(super) fn found_after(&self, changes: u64) {
        self.found_at.store(changes, Ordering::Release);
    }

    /// Whether `mac` is the one of the cookie that was found to be good before.
    pub(super) fn was_proven_by(&self, mac: &Mac) -> bool {
        self.proven.get().is_some_and(|proven| secret::same(proven, mac))
    }

    /// Notes the MAC of a good cookie.
    pub(super) fn proven_by(&self, mac: &Mac) {
        self.proven.get_or_init(|| *mac);
    }

    /// Who signed in. To ask costs memory for as long as the session is kept, so what every request needs has ways of its
    /// own.
    pub fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| Box::new(self.packed.identity(self.plan.names().len())))
    }

    /// The lasting name of who signed in.
    pub fn subject(&self) -> Subject {
        self.packed.subject()
    }

    /// When they did.
    pub const fn signed_in_at(&self) -> Timestamp {
        self.moments.signed_in_at
    }

    /// When the session ends, whatever happens.
    pub const fn expires_at(&self) -> Timestamp {
        self.moments.expires_at
    }

    pub(super) const fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The identity headers for the upstream, ready-made.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.plan.told(self.packed.header_values())
    }

    /// A token that only this session's own pages can carry.
    pub fn csrf_token(&self) -> String {
        self.id.csrf_token()
    }

    /// Why requests of it were refused lately.
    pub fn refusals(&self) -> &Refusals {
        self.kept.refusals()
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept.handed_on()
    }

    fn is_made_of(&self, session: &Session) -> bool {
        let Session { identity, .. } = session;
        self.moments == Moments::of(session) && self.packed == Packed::new(identity, &self.plan.values(identity))
    }

    /// A name of the session that others may know: it leads nobody to it.
    pub fn reference(&self) -> String {
        self.id.reference()
    }

    /// What the store calls it; nobody can use it by that name.
    pub fn key(&self) -> Key {
        self.id.key()
    }

    pub(super) const fn id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn used_at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.used_at.load(Ordering::Relaxed))
    }

    /// What is known of it is as good as what would be read, for so long.
    pub(super) fn stays_fresh(&self, until: Timestamp) {
        self.fresh_until.store(until.unix_millis(), Ordering::Relaxed);
    }

    /// Whether it was read, or found to be as good, a while ago at most.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.unix_millis() < self.fresh_until.load(Ordering::Relaxed)
    }

    /// How the session has come to its end by `now`, if it has.
    pub fn ending(&self, now: Timestamp, idle_timeout: Duration) -> Option<Ending> {
        if now >= self.moments.expires_at {
            Some(Ending::Ended)
        } else if now >= self.used_at().plus(idle_timeout) {
            Some(Ending::Idle)
        } else {
            None
        }
    }

    /// Notes a use. Whether it is time to note it in the store too: true for the first caller in each `interval`.
    pub(super) fn touch(&self, now: Timestamp, interval: Duration) -> bool {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        // Intervals begin with the sign-in: those of all sessions together would bring their notes at one moment.
        let start = self.moments.signed_in_at.unix_millis();
        let interval_of = |used_at: i64| used_at.saturating_sub(start) / interval;
        let now = now.unix_millis();
        interval_of(self.used_at.fetch_max(now, Ordering::Relaxed)) < interval_of(now)
    }
}

/// The sessions whose keys begin alike.
#[derive(Clone, Copy)]
struct Group(u8);

impl Group {
    fn of(key: Key) -> Self {
        Self(key.first_byte())
    }

    /// The group whose changes a number counts.
    const fn counted_by(changes: u64) -> Self {
        Self(changes.to_be_bytes()[0])
    }

    /// The number that says of this group that it has changed so often.
    const fn changes(self, count: u64) -> u64 {
        u64::from_be_bytes([self.0, 0, 0, 0, 0, 0, 0, 0]) | count
    }
}

/// No group changes so often.
const NOT_FOUND_YET: u64 = u64::MAX;

/// At most this many sessions are kept ready; others are loaded again when they are used.
const MOST_ENTRIES: u64 = 200_000;

/// The sessions, and what leads to them.
pub(super) struct Cache {
    sessions: crate::cache::Cache<Key, Live>,
    /// The sessions that seats on other hosts lead to. That never changes.
    pub(super) seats: crate::cache::Cache<Key, SessionId>,
    /// How often sessions were replaced or forgotten, by their groups.
    changes: [AtomicU64; 256],
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            sessions: crate::cache::Cache::new(MOST_ENTRIES),
            seats: crate::cache::Cache::new(MOST_ENTRIES),
            changes: [const { AtomicU64::new(0) }; 256],
        }
    }

    /// The session, however old what is known of it is.
    pub(super) async fn get(&self, key: Key) -> Option<Arc<Live>> {
        let changes = self.changes(Group::of(key));
        let live = self.sessions.get(key).await?;
        live.found_after(changes);
        Some(live)
    }

    /// Whether a session that was found before is what would be found now.
    pub(super) fn has(&self, live: &Live) -> bool {
        let found_at = live.found_at.load(Ordering::Acquire);
        found_at == self.changes(Group::counted_by(found_at))
    }

    /// As [`crate::cache::Cache::load`].
    pub(super) async fn load<F, Fut>(&self, key: Key, load: F) -> Result<Option<Arc<Live>>, store::Error>
    where
        F: FnOnce(Option<Arc<Live>>) -> Fut,
        Fut: Future<Output = Result<Option<Arc<Live>>, store::Error>>,
    {
        let mut is_changed = false;
        let loaded = self.sessions.load(key, |present| {
            let loading = load(present.clone());
            let is_changed = &mut is_changed;
            async move {
                let loaded = loading.await?;
                *is_changed = match (&present, &loaded) {
                    (Some(present), Some(loaded)) => !Arc::ptr_eq(present, loaded),
                    (present, _) => present.is_some(),
                };
                Ok(loaded)
            }
        });
        let loaded = loaded.await;
        if is_changed {
            self.note_change(key);
        }
        loaded
    }

    /// Forgets a session, after any load of it that is under way.
    pub(super) async fn forget(&self, key: Key) {
        self.sessions.forget(key).await;
        self.note_change(key);
    }

    fn changes(&self, group: Group) -> u64 {
        group.changes(self.changes[usize::from(group.0)].load(Ordering::Acquire))
    }

    /// Comes after the change: whoever finds what was there before has looked at the number before.
    fn note_change(&self, key: Key) {
        self.changes[usize::from(Group::of(key).0)].fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets every session.
    pub(super) fn forget_all(&self) {
        self.sessions.forget_all();
        for changes in &self.changes {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        self.seats.forget_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::headers;

    const START: Timestamp = Timestamp::from_unix_seconds(1_000);

    fn after(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    fn session() -> Session {
        Session {
            identity: Identity::new(Subject::try_from("u1".to_owned()).unwrap()),
            signed_in_at: START,
            expires_at: after(90_000),
            mosaic_session: "s1".to_owned(),
            refresh_token: None,
            access_expires_at: after(3_600),
            renew_at: Some(after(3_000)),
            organization: None,
        }
    }

    /// What is read of `session` at a time when it was last used at `used_at`.
    fn read(before: Option<&Arc<Live>>, session: &Session, used_at: Timestamp) -> Arc<Live> {
        let plan = Arc::new(Plan::new(&headers::Config::default()).unwrap());
        let id = before.map_or_else(SessionId::random, |before| before.id().clone());
        Live::read(before.cloned(), id, session, &plan, used_at, used_at.plus(Duration::from_secs(30)))
    }

    #[test]
    fn a_use_is_noted_in_the_store_once_in_each_interval_since_the_sign_in() {
        let live = read(None, &session(), START);
        let uses =
            [(0, false), (59, false), (60, true), (60, false), (119, false), (121, true), (100, false), (400, true)];
        for (seconds, is_noted) in uses {
            assert_eq!(live.touch(after(seconds), Duration::from_secs(60)), is_noted, "{seconds}");
        }
        assert_eq!(live.used_at(), after(400));
        assert!(!live.touch(START.minus(Duration::from_secs(86_400)), Duration::ZERO), "a clock that jumps back");
    }

    #[test]
    fn an_entry_stays_until_something_else_is_read() {
        let known = read(None, &session(), START);
        let changes: [fn(&mut Session); 6] = [
            |session| session.identity.name = Some("Ada".to_owned()),
            |session| session.identity.groups = vec!["ops".to_owned()],
            |session| session.identity.email_verified = true,
            |session| session.expires_at = after(80_000),
            |session| session.access_expires_at = after(7_200),
            |session| session.renew_at = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut session = session();
            change(&mut session);
            assert!(!Arc::ptr_eq(&known, &read(Some(&known), &session, START)), "{number}");
        }
        assert!(Arc::ptr_eq(&known, &read(Some(&known), &session(), after(40))));
        assert_eq!((known.is_fresh(after(69)), known.is_fresh(after(70)), known.used_at()), (true, false, after(40)));
        read(Some(&known), &session(), after(20));
        assert_eq!(known.used_at(), after(40), "a use that the store has not heard of counts");
    }

    #[test]
    fn entries_of_one_session_share_what_is_kept_whichever_needs_it_first() {
        let mut renewed = session();
        renewed.renew_at = Some(after(6_000));
        let before = read(None, &session(), START);
        let after = read(Some(&before), &renewed, START);
        let last = read(Some(&after), &session(), START);
        for (one, other) in [(&last, &before), (&before, &after), (&after, &last)] {
            assert!(std::ptr::eq(one.kept.turns(), other.kept.turns()));
            assert!(std::ptr::eq(one.refusals(), other.refusals()));
        }
        let another = read(None, &session(), START);
        assert!(!std::ptr::eq(another.refusals(), before.refusals()));
    }

    #[tokio::test]
    async fn a_change_is_seen_by_the_sessions_that_are_counted_with_it() {
        let cache = Cache::new();
        let entry = read(None, &session(), START);
        let key = entry.key();
        assert!(!cache.has(&entry), "it was not found yet");
        let put = Arc::clone(&entry);
        cache.load(key, async |_| Ok(Some(put))).await.unwrap();
        assert!(cache.get(key).await.is_some() && cache.has(&entry));
        cache.load(key, async |present| Ok(present)).await.unwrap();
        assert!(cache.has(&entry), "what stays is no change");
        let mut other = SessionId::random().key();
        while other.first_byte() == key.first_byte() {
            other = SessionId::random().key();
        }
        cache.forget(other).await;
        assert!(cache.has(&entry), "another group");
        cache.forget(key).await;
        assert!(!cache.has(&entry));
    }

    /// With the counts of its `Arc` that is a size that mimalloc has: a word more costs four.
    #[test]
    fn a_session_is_small() {
        assert_eq!(size_of::<Live>() + 2 * size_of::<usize>(), 192);
    }
}
