//! Renewal: a session is shown to Mosaic again ahead of its access token's expiry.
//!
//! At most one renewal per session runs, across tasks (a turn) and across instances (a lease in the store). It runs in
//! a task of its own, so that a visitor who leaves does not lose what Mosaic answered. Mosaic's "session not found"
//! ends the session; another refusal ends it together with its access token; a failure on the way keeps it to its own
//! limits, and nobody waits for the next try.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use super::{Chain, FRESH, Live, Renewal, Session, Sessions, record_name, sealed};
use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::mosaic::{self, Refreshed, SignedIn};
use crate::store;

/// How far ahead of the access token's expiry a renewal begins: a margin for a slow or briefly absent Mosaic. Of a
/// short-lived token it is the last quarter, since Mosaic forbids polling.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// The pause after the first failure on the way; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(20);
/// The longest pause, unless Mosaic asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that Mosaic can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// The pause while another instance renews.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// How long an instance may take before another one tries.
const LEASE: Duration = Duration::from_secs(30);

/// Who renews a session, and when the next try is due. All entries of one session share it, so that reading the
/// session again forgets nothing.
pub(super) struct Turns {
    /// Held by the one task that renews, which is never the visitor's own.
    turn: Arc<Mutex<()>>,
    not_before: AtomicI64,
    failures: AtomicU32,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turn: Arc::default(), not_before: AtomicI64::new(i64::MIN), failures: AtomicU32::new(0) }
    }
}

impl Turns {
    fn is_resting(&self, now: Timestamp) -> bool {
        now.unix_millis() < self.not_before.load(Ordering::Relaxed)
    }

    fn has_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    fn rest(&self, now: Timestamp, pause: Duration) {
        self.not_before.store(now.plus(pause).unix_millis(), Ordering::Relaxed);
    }

    /// Rests longer after each failure, and at least as long as Mosaic asks.
    fn fail(&self, now: Timestamp, asked: Option<Duration>) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = (PAUSE * 2_u32.pow(failures)).min(LONGEST_PAUSE);
        self.rest(now, pause.max(asked.unwrap_or_default().min(LONGEST_ASKED)));
    }

    fn succeed(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.not_before.store(i64::MIN, Ordering::Relaxed);
    }
}

/// What became of a renewal.
enum Outcome {
    Renewed(Arc<Live>),
    /// Not now: another instance is at it, or Mosaic did not answer.
    Kept,
    Ended,
}

impl Live {
    /// Whether the session is to be renewed by now, and nothing speaks against trying.
    pub(super) fn is_renewal_due(&self, now: Timestamp) -> bool {
        now >= self.moments().renew_at && !self.kept.turns().is_resting(now)
    }
}

impl Sessions {
    /// Renews a session that is due: in the background while the access token lasts, and before going on once it has run
    /// out. `None` when the session turned out to be over.
    pub(super) async fn renew_due(self: &Arc<Self>, live: Arc<Live>, now: Timestamp) -> Option<Arc<Live>> {
        let turn = Arc::clone(&live.kept.turns().turn);
        if now < live.moments().access_expires_at || live.kept.turns().has_failed() {
            if let Ok(turn) = turn.try_lock_owned() {
                self.spawn_renewal(&live, turn);
            }
            return Some(live);
        }
        match self.spawn_renewal(&live, turn.lock_owned().await).await {
            Ok(Outcome::Renewed(renewed)) => Some(renewed),
            Ok(Outcome::Kept) | Err(_) => Some(live),
            Ok(Outcome::Ended) => None,
        }
    }

    fn spawn_renewal(self: &Arc<Self>, live: &Arc<Live>, turn: OwnedMutexGuard<()>) -> JoinHandle<Outcome> {
        let (sessions, live) = (Arc::clone(self), Arc::clone(live));
        self.tasks.spawn(async move {
            let outcome = sessions.renew(&live).await;
            drop(turn);
            outcome
        })
    }

    /// Runs in the session's turn, so whoever waited finds what the one before did.
    async fn renew(&self, live: &Arc<Live>) -> Outcome {
        let now = self.clock.now();
        if let Some(cached) = self.cache.get(live.key()).await
            && cached.moments().access_expires_at > live.moments().access_expires_at
        {
            return Outcome::Renewed(cached);
        }
        if live.kept.turns().is_resting(now) {
            return Outcome::Kept;
        }
        self.renew_leased(live, now).await.unwrap_or_else(|error| {
            tracing::warn!(error = %Chain(&error), "failed to renew a session; it is kept for now");
            live.kept.turns().fail(now, None);
            Outcome::Kept
        })
    }

    async fn renew_leased(&self, live: &Arc<Live>, now: Timestamp) -> Result<Outcome, store::Error> {
        let lease = format!("renewal:{}", live.key().to_text());
        if !self.store.put_if_absent(&lease, &[], now.plus(LEASE)).await? {
            live.kept.turns().rest(now, ELSEWHERE);
            return Ok(Outcome::Kept);
        }
        let outcome = self.renew_with_lease(live, now).await;
        // A lease that stays ends by itself; what came of the renewal counts.
        if let Err(error) = self.store.remove(&lease).await {
            tracing::warn!(error = %Chain(&error), "failed to give a lease back");
        }
        outcome
    }

    async fn renew_with_lease(&self, live: &Arc<Live>, now: Timestamp) -> Result<Outcome, store::Error> {
        let Some(stored) = self.read_record(live.id()).await? else {
            self.cache.forget(live.key()).await;
            return Ok(Outcome::Ended);
        };
        if stored.access_expires_at > live.moments().access_expires_at {
            return Ok(Outcome::Renewed(self.keep(live, &stored, now).await));
        }
        match self.ask_mosaic(&stored).await {
            Ok(session) if session.identity.subject != stored.identity.subject => {
                tracing::error!("Mosaic answered a renewal with another user; the session is ended");
                self.end_at_mosaic(&stored.mosaic_session);
                Ok(self.end_here(live).await)
            }
            Ok(session) if !self.admission.admits(&session.identity) => {
                let subject = &stored.identity.subject;
                tracing::info!(%subject, "the address of a user changed to one that may not sign in, or is not proven");
                self.end_at_mosaic(&stored.mosaic_session);
                Ok(self.end_here(live).await)
            }
            Ok(session) => self.store_renewed(live, session, &stored.mosaic_session, now).await,
            Err(error) if ends_session(&error) => {
                tracing::info!(error = %Chain(&error), "a session is over at Mosaic");
                Ok(self.end_here(live).await)
            }
            Err(error) if refuses_session(&error) && now >= stored.access_expires_at => {
                tracing::info!(error = %Chain(&error), "Mosaic gives a session no new tokens, and the old ones are over");
                Ok(self.end_here(live).await)
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "failed to renew a session; it is kept for now");
                let asked = if let mosaic::Error::RateLimited { retry_after } = error { retry_after } else { None };
                live.kept.turns().fail(now, asked);
                Ok(Outcome::Kept)
            }
        }
    }

    /// Has Mosaic give new tokens, and gives the session with them in it.
    async fn ask_mosaic(&self, stored: &Session) -> Result<Session, mosaic::Error> {
        if let (Renewal::Refresh, Some(token)) = (self.renewal, &stored.refresh_token) {
            match self.mosaic.refresh(token).await {
                Ok(refreshed) => return Ok(refreshed_session(stored, refreshed)),
                // The token may have been used by a process that ended before it could keep the next one: as long as
                // Mosaic's session lives, the visitor need not notice.
                Err(mosaic::Error::SessionNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let organization = stored.organization.as_deref();
        let signed_in = self.mosaic.authenticate_session(&stored.mosaic_session, organization).await?;
        Ok(renewed(stored, &signed_in))
    }

    async fn store_renewed(
        &self,
        live: &Arc<Live>,
        session: Session,
        was_at_mosaic: &str,
        now: Timestamp,
    ) -> Result<Outcome, store::Error> {
        let record = sealed(live.id(), &session);
        if self.store.replace(&record_name(live.key()), &record, session.expires_at).await? {
            if session.mosaic_session != was_at_mosaic {
                self.follow_at_mosaic(live.key(), &session.mosaic_session, session.expires_at).await?;
            }
            return Ok(Outcome::Renewed(self.keep(live, &session, now).await));
        }
        // Ended while Mosaic was asked: what was removed stays removed, and what Mosaic made of it goes too.
        self.end_at_mosaic(&session.mosaic_session);
        self.cache.forget(live.key()).await;
        Ok(Outcome::Ended)
    }

    /// Ends the session by Mosaic's word, which counts even where the store cannot note it.
    async fn end_here(&self, live: &Live) -> Outcome {
        if let Err(error) = self.forget(live.key(), &live.subject()).await {
            tracing::warn!(error = %Chain(&error), "failed to remove a session that is over");
            // Whoever reads the record again asks Mosaic again before going on.
            self.cache.forget(live.key()).await;
        }
        Outcome::Ended
    }

    /// Puts the renewed session in the place of the old one, unless that was forgotten meanwhile.
    async fn keep(&self, live: &Arc<Live>, session: &Session, now: Timestamp) -> Arc<Live> {
        live.kept.turns().succeed();
        let entry = Live::new(live.id().clone(), session, &self.plan, live.used_at(), now.plus(FRESH), live.kept());
        let entry = Arc::new(entry);
        let put = Arc::clone(&entry);
        let kept = self.cache.load(live.key(), |cached| async move { Ok(cached.map(|_| put)) });
        // The closure cannot fail and the entry is good whether or not it is kept in memory.
        drop(kept.await);
        entry
    }
}

/// When a token is renewed that lives so long.
pub(super) fn due(expires_at: Timestamp, lifetime: Duration) -> Timestamp {
    expires_at.minus(AHEAD.min(lifetime / 4))
}

/// The same where only its end is known.
pub(super) fn due_without_word(expires_at: Timestamp) -> Timestamp {
    expires_at.minus(AHEAD)
}

fn renewed(stored: &Session, signed_in: &SignedIn) -> Session {
    let mut session = stored.clone();
    session.identity = signed_in.identity.clone();
    session.mosaic_session = signed_in.session_id.expose().clone();
    session.refresh_token = signed_in.refresh_token.as_ref().map(|token| token.expose().clone());
    session.access_expires_at = signed_in.access_expires_at;
    session.renew_at = Some(due(signed_in.access_expires_at, signed_in.access_lifetime));
    session
}

/// A refresh says what the user record says. What only a login can ask for stays as it was.
fn refreshed_session(stored: &Session, refreshed: Refreshed) -> Session {
    let Refreshed { subject, identity, tells_groups_and_roles, refresh_token, access_expires_at, access_lifetime } =
        refreshed;
    let known = &stored.identity;
    let mut identity = identity.unwrap_or_else(|| Identity { subject, ..known.clone() });
    if !tells_groups_and_roles {
        identity.groups.clone_from(&known.groups);
        identity.roles.clone_from(&known.roles);
    }
    if identity.permissions.is_empty() {
        identity.permissions.clone_from(&known.permissions);
    }
    identity.organization = identity.organization.or_else(|| known.organization.clone());
    if identity.claims.is_empty() {
        identity.claims.clone_from(&known.claims);
    }
    let mut session = stored.clone();
    session.identity = identity;
    session.access_expires_at = access_expires_at;
    session.renew_at = Some(due(access_expires_at, access_lifetime));
    if let Some(token) = refresh_token {
        session.refresh_token = Some(token.expose().clone());
    }
    session
}

/// Answers that say something about the user, not about the way to Mosaic.
const fn ends_session(error: &mosaic::Error) -> bool {
    matches!(error, mosaic::Error::SessionNotFound | mosaic::Error::UserNotFound | mosaic::Error::UserNotActive)
}

/// Answers by which Mosaic itself denies this session new tokens, for whatever reason: it is not known to be over, but
/// nothing speaks for it beyond the tokens that it has.
const fn refuses_session(error: &mosaic::Error) -> bool {
    matches!(error, mosaic::Error::Refused { .. } | mosaic::Error::NotInOrganization)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_at_least_what_mosaic_asks_for() {
        let turns = Turns::default();
        let start = Timestamp::from_unix_seconds(1_000);
        let rests_for = |seconds: u64| {
            let end = start.plus(Duration::from_secs(seconds));
            turns.is_resting(end.minus(Duration::from_millis(1))) && !turns.is_resting(end)
        };
        assert!(!turns.is_resting(start) && !turns.has_failed());
        for pause in [20, 40, 80, 160, 300, 300] {
            turns.fail(start, None);
            assert!(rests_for(pause), "{pause}");
        }
        turns.fail(start, Some(Duration::from_secs(700)));
        assert!(rests_for(700) && turns.has_failed());
        turns.fail(start, Some(Duration::MAX));
        assert!(rests_for(3600));
        turns.succeed();
        assert!(!turns.is_resting(start) && !turns.has_failed());
    }
}
