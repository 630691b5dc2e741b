//! Personal tokens that programs show, kept in memory as long as they are believed.
//!
//! A token lives no longer than its user: they are looked up again each minute. Groups, address and name are those of
//! that moment; roles, which only a sign-in tells, are those of the making.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::{By, Error, Fault, Found, Named, Visitor};
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::identity::Identity;
use crate::identity::headers::Plan;
use crate::mosaic::Mosaic;
use crate::personal_token::{Bits, Key, PersonalToken, PersonalTokens, Revoked};
use crate::secret::Secret;
use crate::session::Sessions;
use crate::store;

/// A token is believed this long before the store is asked again: what bounds a revocation that no announcement
/// reached.
const FRESH: Duration = Duration::from_secs(30);
/// Its user is believed to be as they were for this long.
const USER_FRESH: Duration = Duration::from_secs(60);
/// While Mosaic cannot be asked, it is asked again this often.
const RETRY: Duration = Duration::from_secs(10);
/// While Mosaic cannot be asked, whoever was let in goes on for this long: as long as a session does there, whose
/// access token lasts an hour.
const OUTAGE: Duration = Duration::from_secs(3600);
/// A token whose user may not come in is turned away this long without more.
const REFUTED: Duration = Duration::from_secs(5);
/// A use is noted this often at most.
const NOTE: Duration = Duration::from_secs(60);
/// At most so many tokens are kept, of each kind.
const MOST_TOKENS: u64 = 20_000;

const MALFORMED: Fault = Fault("malformed");
const UNKNOWN: Fault = Fault("unknown_token");
const NOT_ADMITTED: Fault = Fault("not_admitted");

/// A token that holds.
struct Held {
    token: PersonalToken,
    named: Arc<Named>,
    fresh_until: Timestamp,
    user_fresh_until: Timestamp,
    /// When its user was last looked up with success.
    looked_up_at: Timestamp,
    /// When its use was last noted, in milliseconds.
    noted_at: AtomicI64,
}

/// A token whose user may not come in, with the moment until which that is believed.
type Refuted = (Fault, Timestamp);

/// What a load that finds nothing to hold comes to.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("the token does not hold")]
    Refuted(Fault),
    #[error(transparent)]
    Error(#[from] Error),
}

impl From<store::Error> for Miss {
    fn from(error: store::Error) -> Self {
        Self::Error(error.into())
    }
}

pub(super) struct Personal {
    tokens: Arc<PersonalTokens>,
    sessions: Arc<Sessions>,
    mosaic: Mosaic,
    plan: Plan,
    clock: Clock,
    tasks: TaskTracker,
    held: Cache<Key, Held>,
    /// A cache of its own, so that these push no good one out.
    refuted: Cache<Key, Refuted>,
}

impl Personal {
    pub(super) fn new(parts: super::Parts) -> Self {
        let super::Parts { sessions, personal_tokens: tokens, mosaic, plan, clock, tasks } = parts;
        let (held, refuted) = (Cache::new(MOST_TOKENS), Cache::new(MOST_TOKENS));
        Self { tokens, sessions, mosaic, plan, clock, tasks, held, refuted }
    }

    /// Whose token it is, for the route of that name; for any with none.
    ///
    /// # Errors
    /// When the store or Mosaic cannot be asked, and not enough is known of the token.
    pub(super) async fn find(&self, text: &str, route: Option<&str>) -> Result<Found, Error> {
        if !self.tokens.config().enabled {
            return Ok(Found::Refused(UNKNOWN));
        }
        let Some(bits) = self.tokens.read(text).await? else { return Ok(Found::Refused(MALFORMED)) };
        let held = match self.held(&bits, text).await {
            Ok(held) => held,
            Err(Miss::Refuted(fault)) => return Ok(Found::Refused(fault)),
            Err(Miss::Error(error)) => return Err(error),
        };
        if route.is_some_and(|route| !held.token.is_for(route)) {
            return Ok(Found::NotForThis);
        }
        Ok(Found::Visitor(Visitor::Named(Arc::clone(&held.named))))
    }

    async fn held(&self, bits: &Bits, text: &str) -> Result<Arc<Held>, Miss> {
        let (key, now) = (bits.key(), self.clock.now());
        let held = match self.held.get(key).await.filter(|held| now < held.fresh_until) {
            Some(held) => held,
            None => self.load_once(bits, text, now).await?,
        };
        if now >= held.token.expires_at {
            return Err(Miss::Refuted(UNKNOWN));
        }
        self.note_use(&held, now);
        Ok(held)
    }

    async fn load_once(&self, bits: &Bits, text: &str, now: Timestamp) -> Result<Arc<Held>, Miss> {
        let key = bits.key();
        if let Some(refuted) = self.refuted.get(key).await.filter(|refuted| now < refuted.1) {
            return Err(Miss::Refuted(refuted.0));
        }
        match self.held.load(key, |held| self.load(bits, text, held, now)).await {
            Ok(held) => held.ok_or(Miss::Refuted(UNKNOWN)),
            Err(Miss::Refuted(fault)) => {
                self.held.forget(key).await;
                self.refuted.keep(key, (fault, now.plus(REFUTED))).await;
                Err(Miss::Refuted(fault))
            }
            Err(error) => Err(error),
        }
    }

    async fn load(
        &self,
        bits: &Bits,
        text: &str,
        held: Option<Arc<Held>>,
        now: Timestamp,
    ) -> Result<Option<Arc<Held>>, Miss> {
        if let Some(held) = held.as_ref().filter(|held| now < held.fresh_until) {
            return Ok(Some(Arc::clone(held)));
        }
        let Some((token, at_making)) = self.tokens.find(bits).await? else { return Ok(None) };
        let fresh_until = now.plus(FRESH);
        let known = |held: &Held, user_fresh_until: Timestamp| Held {
            token: token.clone(),
            named: Arc::clone(&held.named),
            fresh_until: fresh_until.min(user_fresh_until),
            user_fresh_until,
            looked_up_at: held.looked_up_at,
            noted_at: AtomicI64::new(held.noted_at.load(Ordering::Relaxed)),
        };
        if let Some(held) = held.as_ref().filter(|held| now < held.user_fresh_until) {
            return Ok(Some(Arc::new(known(held, held.user_fresh_until))));
        }
        let identity = match (self.mosaic.identity_now(&token.subject, at_making.roles).await, &held) {
            (Ok(identity), _) => identity,
            (Err(error), Some(held)) if error.refutes_token().is_none() && now < held.looked_up_at.plus(OUTAGE) => {
                tracing::warn!(%error, "failed to look the user of a personal token up again");
                return Ok(Some(Arc::new(known(held, now.plus(RETRY)))));
            }
            (Err(error), _) => {
                return Err(error
                    .refutes_token()
                    .map_or(Miss::Error(Error::User(error)), |word| Miss::Refuted(Fault(word))));
            }
        };
        if !self.sessions.admission().admits(&identity) {
            return Err(Miss::Refuted(NOT_ADMITTED));
        }
        let noted_at = held.map_or(i64::MIN, |held| held.noted_at.load(Ordering::Relaxed));
        Ok(Some(Arc::new(Held {
            named: Arc::new(self.named(identity, &token, text)),
            token,
            fresh_until,
            user_fresh_until: now.plus(USER_FRESH),
            looked_up_at: now,
            noted_at: AtomicI64::new(noted_at),
        })))
    }

    fn named(&self, identity: Identity, token: &PersonalToken, text: &str) -> Named {
        Named {
            headers: self.plan.headers(&identity),
            identity,
            signed_in_at: token.signed_in_at,
            by: By::PersonalToken(Secret::new(text.to_owned())),
        }
    }

    /// Notes a use now and then, off the request's path.
    fn note_use(&self, held: &Held, now: Timestamp) {
        let (before, this) = (held.noted_at.load(Ordering::Relaxed), now.unix_millis());
        let next = Timestamp::from_unix_millis(before).plus(NOTE).unix_millis();
        let is_due = before == i64::MIN || this >= next;
        // Of several that find it due, one notes it.
        if !is_due || held.noted_at.compare_exchange(before, this, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let (tokens, token) = (Arc::clone(&self.tokens), held.token.clone());
        self.tasks.spawn(async move {
            if let Err(error) = tokens.note_use(&token, now).await {
                tracing::warn!(%error, "failed to note the use of a personal token");
            }
        });
    }

    /// Forgets what is revoked elsewhere, for as long as the store can be listened to.
    ///
    /// # Errors
    /// When the store cannot be listened to at all.
    pub(super) async fn listen(&self) -> Result<(), store::Error> {
        let mut revocations = self.tokens.revocations().await?;
        // Whatever was announced before this moment did not reach us.
        self.held.forget_all();
        while let Some(revoked) = revocations.next().await {
            match revoked {
                Revoked::One(key) => self.held.forget(key).await,
                Revoked::Any => self.held.forget_all(),
            }
        }
        Ok(())
    }
}
