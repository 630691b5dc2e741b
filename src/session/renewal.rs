//! Renewal: a session is shown to Mosaic again ahead of its access token's expiry.
//!
//! At most one renewal per session runs, across tasks (a lock in the entry) and across instances (a lease in the
//! store). It runs in a task of its own, so that a visitor who leaves does not lose a rotated token. Mosaic's
//! "session not found" ends the session; a failure on the way keeps it to its own limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Chain, FRESH, Live, Session, Sessions, record_name, sealed};
use crate::clock::Timestamp;
use crate::mosaic::{self, SignedIn};
use crate::store;

/// How far ahead of the access token's expiry a renewal begins: a margin for a slow or briefly absent Mosaic.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// The pause after a failure on the way.
const PAUSE: Duration = Duration::from_secs(20);
/// The pause while another instance renews.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// How long an instance may take before another one tries.
const LEASE: Duration = Duration::from_secs(30);

/// What became of a renewal.
enum Outcome {
    Renewed(Arc<Live>),
    /// Not now: another instance is at it, or Mosaic did not answer.
    Kept,
    Ended,
}

impl Sessions {
    /// Renews the session where that is due: in the background while the access token lasts, and before going on
    /// once it has run out. `None` when the session turned out to be over.
    pub(super) async fn renew_if_due(self: &Arc<Self>, live: Arc<Live>, now: Timestamp) -> Option<Arc<Live>> {
        let expires_at = live.session().access_expires_at;
        let paused = now.unix_millis() < live.renew_after.load(Ordering::Relaxed);
        if paused || now < expires_at.minus(AHEAD) {
            return Some(live);
        }
        if now < expires_at {
            // One background attempt at a time: the pause keeps the other requests from asking.
            live.renew_after.store(now.plus(PAUSE).unix_millis(), Ordering::Relaxed);
            self.spawn_renewal(live.clone());
            return Some(live);
        }
        match self.spawn_renewal(live.clone()).await {
            Ok(Outcome::Renewed(renewed)) => Some(renewed),
            Ok(Outcome::Kept) | Err(_) => Some(live),
            Ok(Outcome::Ended) => None,
        }
    }

    fn spawn_renewal(self: &Arc<Self>, live: Arc<Live>) -> tokio::task::JoinHandle<Outcome> {
        let sessions = Arc::clone(self);
        self.tasks.spawn(async move {
            let lock = Arc::clone(&live.renewing).lock_owned().await;
            let outcome = sessions.renew(&live).await;
            drop(lock);
            outcome.unwrap_or_else(|error| {
                tracing::warn!(error = %Chain(&error), "failed to store a renewed session");
                Outcome::Kept
            })
        })
    }

    /// Runs with the entry's lock held, so whoever waited finds what the first one did.
    async fn renew(&self, live: &Arc<Live>) -> Result<Outcome, store::Error> {
        let now = self.clock.now();
        if let Some(cached) = self.cache.get(live.key()).await
            && cached.session().access_expires_at > live.session().access_expires_at
        {
            return Ok(Outcome::Renewed(cached));
        }
        let lease = format!("renewal:{}", live.key().to_text());
        if !self.store.put_if_absent(&lease, &[], now.plus(LEASE)).await? {
            live.renew_after.store(now.plus(ELSEWHERE).unix_millis(), Ordering::Relaxed);
            return Ok(Outcome::Kept);
        }
        let outcome = self.renew_with_lease(live, now).await;
        self.store.remove(&lease).await?;
        outcome
    }

    async fn renew_with_lease(&self, live: &Arc<Live>, now: Timestamp) -> Result<Outcome, store::Error> {
        let Some(stored) = self.read_record(live.id()).await? else {
            self.cache.forget(live.key()).await;
            return Ok(Outcome::Ended);
        };
        if stored.access_expires_at > live.session().access_expires_at {
            return Ok(Outcome::Renewed(self.keep(live, stored, now).await));
        }
        match self.mosaic.authenticate_session(&stored.mosaic_session).await {
            Ok(signed_in) if signed_in.identity.subject == stored.identity.subject => {
                self.store_renewed(live, renewed(&stored, &signed_in), now).await
            }
            Ok(_) => {
                tracing::error!("Mosaic answered a renewal with another user; the session is ended");
                self.end_here(live).await
            }
            Err(error) if ends_session(&error) => {
                tracing::info!(error = %Chain(&error), "a session is over at Mosaic");
                self.end_here(live).await
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "failed to renew a session; it is kept for now");
                live.renew_after.store(now.plus(PAUSE).unix_millis(), Ordering::Relaxed);
                Ok(Outcome::Kept)
            }
        }
    }

    async fn store_renewed(&self, live: &Arc<Live>, session: Session, now: Timestamp) -> Result<Outcome, store::Error> {
        let record = sealed(live.id(), &session);
        if self.store.replace(&record_name(live.key()), &record, session.expires_at).await? {
            return Ok(Outcome::Renewed(self.keep(live, session, now).await));
        }
        // Ended while Mosaic was asked: what was removed stays removed.
        self.cache.forget(live.key()).await;
        Ok(Outcome::Ended)
    }

    async fn end_here(&self, live: &Live) -> Result<Outcome, store::Error> {
        self.forget(live.key(), &live.session().identity.subject).await?;
        Ok(Outcome::Ended)
    }

    /// Puts the renewed session in the place of the old one, unless that was forgotten meanwhile.
    async fn keep(&self, live: &Arc<Live>, session: Session, now: Timestamp) -> Arc<Live> {
        let headers = self.plan.headers(&session.identity);
        let entry = Live::new(live.id().clone(), session, headers, live.used_at(), now.plus(FRESH));
        let entry = Arc::new(entry);
        let put = Arc::clone(&entry);
        let kept = self.cache.load(live.key(), |cached| async move { Ok(cached.map(|_| put)) });
        // The closure cannot fail and the entry is good whether or not it is kept in memory.
        drop(kept.await);
        entry
    }
}

fn renewed(stored: &Session, signed_in: &SignedIn) -> Session {
    Session {
        identity: signed_in.identity.clone(),
        signed_in_at: stored.signed_in_at,
        expires_at: stored.expires_at,
        mosaic_session: signed_in.session_id.expose().clone(),
        refresh_token: signed_in.refresh_token.as_ref().map(|token| token.expose().clone()),
        access_expires_at: signed_in.access_expires_at,
    }
}

/// Answers that say something about the user, not about the way to Mosaic.
const fn ends_session(error: &mosaic::Error) -> bool {
    matches!(error, mosaic::Error::SessionNotFound | mosaic::Error::UserNotFound | mosaic::Error::UserNotActive)
}
