//! Access tokens of users that programs show, kept in memory as long as they are believed.

use std::sync::Arc;
use std::time::Duration;

use super::{By, Error, Fault, Found, Named, Visitor};
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::identity::headers::Plan;
use crate::mosaic::{self, Bearer, Mosaic};
use crate::secret::{Secret, sha256};
use crate::session::Sessions;

/// A token is believed this long before its user is looked up again: what bounds the life of one whose user was
/// disabled.
const FRESH: Duration = Duration::from_secs(60);
/// While Mosaic cannot be asked, it is asked again this often.
const RETRY: Duration = Duration::from_secs(10);
/// A token that took work to refute is turned away this long without more.
const REFUTED: Duration = Duration::from_secs(5);
/// At most so many tokens are kept, of each kind.
const MOST_TOKENS: u64 = 20_000;

/// SHA-256 of a token.
type Key = [u8; 32];

/// A token that holds.
struct Held {
    named: Arc<Named>,
    expires_at: Timestamp,
    fresh_until: Timestamp,
}

/// A token that does not, with the moment until which that is believed.
type Refuted = (Fault, Timestamp);

pub(super) struct AccessTokens {
    sessions: Arc<Sessions>,
    mosaic: Mosaic,
    plan: Plan,
    clock: Clock,
    held: Cache<Key, Held>,
    /// A cache of its own, so that made-up tokens push no good one out.
    refuted: Cache<Key, Refuted>,
}

impl AccessTokens {
    pub(super) fn new(sessions: Arc<Sessions>, mosaic: Mosaic, plan: Plan, clock: Clock) -> Self {
        let (held, refuted) = (Cache::new(MOST_TOKENS), Cache::new(MOST_TOKENS));
        Self { sessions, mosaic, plan, clock, held, refuted }
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// When Mosaic cannot be asked, and nothing is known of the token.
    pub(super) async fn find(&self, token: &str) -> Result<Found, Error> {
        if let Err(error) = self.mosaic.might_be_bearer(token) {
            return refusal(error);
        }
        let (key, now) = (sha256(token.as_bytes()), self.clock.now());
        if let Some(held) = self.held.get(key).await
            && now < held.fresh_until
        {
            return Ok(Found::Visitor(Visitor::Named(Arc::clone(&held.named))));
        }
        if let Some(refuted) = self.refuted.get(key).await
            && now < refuted.1
        {
            return Ok(Found::Refused(refuted.0));
        }
        match self.held.load(key, |held| self.load(token, held, now)).await {
            Ok(Some(held)) => Ok(Found::Visitor(Visitor::Named(Arc::clone(&held.named)))),
            Ok(None) => Ok(Found::Refused(NOT_ADMITTED)),
            Err(error) => {
                let refused = refusal(error)?;
                if let Found::Refused(fault) = refused {
                    self.held.forget(key).await;
                    self.refuted.keep(key, (fault, now.plus(REFUTED))).await;
                }
                Ok(refused)
            }
        }
    }

    async fn load(
        &self,
        token: &str,
        held: Option<Arc<Held>>,
        now: Timestamp,
    ) -> Result<Option<Arc<Held>>, mosaic::Error> {
        if let Some(held) = held.as_ref().filter(|held| now < held.fresh_until) {
            return Ok(Some(Arc::clone(held)));
        }
        let bearer = match (self.mosaic.bearer(token).await, held) {
            (Ok(bearer), _) => bearer,
            // Whoever was let in goes on while Mosaic is away, as those with a session do.
            (Err(error), Some(held)) if error.refutes_token().is_none() && now < held.expires_at => {
                tracing::warn!(%error, "failed to look the user of an access token up again");
                let (named, expires_at) = (Arc::clone(&held.named), held.expires_at);
                return Ok(Some(Arc::new(Held { named, expires_at, fresh_until: expires_at.min(now.plus(RETRY)) })));
            }
            (Err(error), _) => return Err(error),
        };
        let Bearer { identity, authenticated_at, expires_at } = bearer;
        if !self.sessions.admission().admits(&identity) {
            return Ok(None);
        }
        let named = Named {
            headers: self.plan.headers(&identity),
            identity,
            // Tokens are issued anew without their user, so a rule that wants a recent sign-in wants one that is told.
            signed_in_at: authenticated_at.unwrap_or(Timestamp::from_unix_seconds(0)),
            by: By::AccessToken(Secret::new(token.to_owned())),
        };
        let fresh_until = expires_at.min(now.plus(FRESH));
        Ok(Some(Arc::new(Held { named: Arc::new(named), expires_at, fresh_until })))
    }
}

/// The token holds, and its user may not sign in.
const NOT_ADMITTED: Fault = Fault("not_admitted");

fn refusal(error: mosaic::Error) -> Result<Found, Error> {
    error.refutes_token().map(|word| Found::Refused(Fault(word))).ok_or(Error::User(error))
}
