//! Sessions: who is signed in, since when, and until when.
//!
//! A session is a record in the store, sealed with a key derived from its own random ID, and for a while a
//! ready-made entry in memory. What runs out, and when, is decided here; how a browser names its session is
//! `cookie` and `id`, how one is kept alive at Mosaic is `renewal`, and how the store hears of its use is `uses`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::identity::headers::Plan;
use crate::identity::{AddressRule, EmailAddress, IdentifierKind, Identity, Subject};
use crate::mosaic::{Mosaic, SignedIn};
use crate::secret::{Seal, Secret};
use crate::setting::Span;
use crate::store::{self, Location, Shared};

mod at_mosaic;
pub mod attempt;
mod beginning;
mod cache;
pub mod cookie;
mod ending;
pub mod hand_over;
pub mod id;
pub mod number_match;
mod of_user;
mod packed;
pub mod refusals;
mod renewal;
mod seat;
mod streams;
mod uses;

pub use beginning::{Beginning, Whence};
pub use cache::Live;
use cookie::{Jar, Kind};
use id::{Claimed, Key, KeyRing, SessionId};
pub use of_user::Listed;
pub use seat::Place;
pub use streams::{OpenStreams, StreamOfSession};
use uses::Uses;

/// `[session]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where sessions, attempts and the issuer's users are kept.
    pub store: Location,
    /// A session ends this long after signing in, whatever happens.
    pub lifetime: Span,
    /// A session ends this long after it was last used.
    pub idle_timeout: Span,
    /// How it is kept alive at Mosaic.
    pub renewal: Renewal,
}

/// How a session is shown to Mosaic again ahead of its access token's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Renewal {
    /// By a silent login in Mosaic's session, which extends that and gives every claim anew.
    #[default]
    Silent,
    /// By the refresh token, which leaves Mosaic's session as it is.
    Refresh,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: Location::default(),
            lifetime: Span::days(7),
            idle_timeout: Span::hours(12),
            renewal: Renewal::Silent,
        }
    }
}

/// How long an entry in memory is believed before the store is asked again, or is known to have told of every end: what
/// bounds a revocation that no announcement reached.
const FRESH: Duration = Duration::from_secs(30);
/// Browsers keep the cookie for so much longer than the session lives: whoever comes back late is told why they must sign
/// in again.
const KEPT_LONGER: Duration = Duration::from_secs(86_400);

/// What is known about a session, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Session {
    identity: Identity,
    signed_in_at: Timestamp,
    expires_at: Timestamp,
    mosaic_session: String,
    refresh_token: Option<String>,
    access_expires_at: Timestamp,
    /// When new tokens are asked for; of a session whose record does not say, shortly before the old ones end.
    #[serde(default)]
    renew_at: Option<Timestamp>,
    /// The organisation that was asked for; renewals ask for it again.
    #[serde(default)]
    organization: Option<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.mosaic_session.zeroize();
        self.refresh_token.zeroize();
    }
}

/// Every session of the gateway.
pub struct Sessions {
    store: Shared,
    clock: Clock,
    mosaic: Mosaic,
    plan: Arc<Plan>,
    jar: Jar,
    lifetime: Duration,
    idle_timeout: Duration,
    /// A use is noted in the store this often at most.
    noted_every: Duration,
    admission: Admission,
    renewal: Renewal,
    ring: KeyRing,
    cache: cache::Cache,
    uses: Arc<Uses>,
    /// Whether what is announced is heard.
    is_listening: AtomicBool,
    tasks: TaskTracker,
}

/// What sessions are made of, beside their settings.
pub struct Parts {
    /// The store.
    pub store: Shared,
    /// The time.
    pub clock: Clock,
    /// The client of Mosaic or of the built-in issuer.
    pub mosaic: Mosaic,
    /// What upstreams are told.
    pub plan: Plan,
    /// How cookies are written.
    pub jar: Jar,
    /// What goes on in the background, to be waited for: renewals, notes of use, the ends of sessions at Mosaic.
    pub tasks: TaskTracker,
}

/// Who may be signed in.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Whose addresses; empty for everybody's.
    pub allow: Vec<AddressRule>,
    /// What visitors are asked for: where that is no address, they need not have one.
    pub identifier: IdentifierKind,
}

impl Admission {
    /// Whether somebody may be signed in by the policy of today, which may be another than when they signed in.
    /// Only an address that was proven counts.
    pub fn admits(&self, identity: &Identity) -> bool {
        match identity.email.as_ref().filter(|_| identity.email_verified) {
            Some(address) => self.may_ask(address),
            None => self.allow.is_empty() && self.identifier != IdentifierKind::Email,
        }
    }

    /// Whether an address may be sent a link. No policy leaves it to the users that Mosaic knows.
    pub fn may_ask(&self, address: &EmailAddress) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|rule| rule.names(address))
    }
}

/// What a browser's cookies say about its session.
pub enum Found {
    /// A session that is neither over nor ended.
    Session(Arc<Live>),
    /// The browser names a session that is no more.
    Over(Ending),
    /// The browser names none.
    None,
}

/// How a session came to its end, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was not used for too long.
    Idle,
    /// Its lifetime was over, or it was ended: by its visitor, by the operator, or at Mosaic.
    Ended,
}

impl Found {
    /// The session, where there is one.
    pub fn live(self) -> Option<Arc<Live>> {
        match self {
            Self::Session(live) => Some(live),
            Self::Over(_) | Self::None => None,
        }
    }
}

impl Sessions {
    /// The sessions in the store of those whom `admission` names. Nothing is read before the first request.
    pub fn new(parts: Parts, config: &Config, admission: Admission) -> Arc<Self> {
        Arc::new(Self {
            ring: KeyRing::new(Arc::clone(&parts.store)),
            store: parts.store,
            clock: parts.clock,
            mosaic: parts.mosaic,
            plan: Arc::new(parts.plan),
            jar: parts.jar,
            lifetime: config.lifetime.0,
            idle_timeout: config.idle_timeout.0,
            noted_every: uses::noted_every(config.idle_timeout.0),
            admission,
            renewal: config.renewal,
            cache: cache::Cache::new(),
            uses: Arc::default(),
            is_listening: AtomicBool::new(false),
            tasks: parts.tasks,
        })
    }

    /// The session that the request's cookies name. On another host than the public one that is the session whose seat
    /// they name.
    ///
    /// Several values under the cookie's name are ambiguous: they count only if exactly one was made by us.
    ///
    /// # Errors
    /// When the store cannot answer, which is never "signed out".
    pub async fn find(self: &Arc<Self>, headers: &HeaderMap, place: Place<'_>) -> Result<Found, store::Error> {
        if place != Place::Public {
            return self.find_seat(headers, place).await;
        }
        let values = self.jar.values(Kind::Session, headers);
        let mut claims = values.iter().filter_map(|value| Claimed::parse(value));
        let (first, second) = (claims.next(), claims.next());
        let Some(first) = first else { return Ok(Found::None) };
        if second.is_none()
            && let Some(live) = self.cache.get(first.id.key()).await
            && self.believes(&live, self.clock.now())
        {
            if live.was_proven_by(&first.mac) {
                return Ok(self.check(live, self.clock.now()).await);
            }
            // The keys are in memory as well by now, so this asks no store.
            if self.ring.made(&first, place).await? {
                live.proven_by(&first.mac);
                return Ok(self.check(live, self.clock.now()).await);
            }
        }
        let mut made = Vec::new();
        for claim in [first].into_iter().chain(second).chain(claims) {
            if self.ring.made(&claim, place).await? {
                made.push(claim.id);
            }
        }
        let (Some(id), true) = (made.pop(), made.is_empty()) else { return Ok(Found::None) };
        match self.load(id.clone()).await? {
            Some(live) => Ok(self.check(live, self.clock.now()).await),
            None => Ok(Found::Over(self.ending(&id).await?)),
        }
    }

    /// The same for a request that shows what an earlier one did, which named `live`; `None` where that must be found out
    /// anew, because it may have changed.
    pub async fn find_again(self: &Arc<Self>, live: &Arc<Live>, now: Timestamp) -> Option<Found> {
        if self.cache.has(live) && self.believes(live, now) {
            return Some(self.check(Arc::clone(live), now).await);
        }
        None
    }

    /// A session that was found before as it is now; `None` once it is over. Looking is no use of it.
    ///
    /// # Errors
    /// When the store cannot answer, and the session is not over by what was known of it.
    pub async fn again(&self, live: &Live) -> Result<Option<Arc<Live>>, store::Error> {
        let is_over = |live: &Live| live.ending(self.clock.now(), self.idle_timeout).is_some();
        match self.load(live.id().clone()).await {
            Ok(found) => Ok(found.filter(|found| !is_over(found))),
            Err(_) if is_over(live) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A record without a note of use was not used for too long.
    async fn ending(&self, id: &SessionId) -> Result<Ending, store::Error> {
        let record = self.store.get(&record_name(id.key())).await?;
        Ok(if record.is_some() { Ending::Idle } else { Ending::Ended })
    }

    async fn check(self: &Arc<Self>, live: Arc<Live>, now: Timestamp) -> Found {
        if let Some(ending) = live.ending(now, self.idle_timeout) {
            return Found::Over(ending);
        }
        self.touch(&live, now);
        if !live.is_renewal_due(now) {
            return Found::Session(live);
        }
        // On the heap, so that requests without a renewal need no room for one.
        match Box::pin(self.renew_due(live, now)).await {
            Some(live) => Found::Session(live),
            None => Found::Over(Ending::Ended),
        }
    }

    /// Notes the use in memory, and now and then in the store, off the request's path.
    fn touch(&self, live: &Live, now: Timestamp) {
        if live.touch(now, self.noted_every) && self.uses.note(live.key(), now, self.idle_timeout) {
            self.tasks.spawn(Arc::clone(&self.uses).write(Arc::clone(&self.store)));
        }
    }

    /// Loads a session once however many ask, and believes what is loaded for [`FRESH`].
    async fn load(&self, id: SessionId) -> Result<Option<Arc<Live>>, store::Error> {
        let now = self.clock.now();
        self.cache
            .load(id.key(), |cached| async move {
                match cached {
                    Some(live) if self.believes(&live, now) => Ok(Some(live)),
                    cached => self.read(id, now, cached).await,
                }
            })
            .await
    }

    /// Whether an entry is as good as what the store has. Where every end is heard of, one that is still in memory is, but
    /// for its last use: that may have been at another instance.
    fn believes(&self, live: &Live, now: Timestamp) -> bool {
        if live.is_fresh(now) {
            return true;
        }
        let hears_of_ends = self.is_listening.load(Ordering::Acquire) && self.store.has_told_all();
        let is_believed = hears_of_ends && live.ending(now, self.idle_timeout).is_none();
        if is_believed {
            live.stays_fresh(now.plus(FRESH));
        }
        is_believed
    }

    async fn read(
        &self,
        id: SessionId,
        now: Timestamp,
        before: Option<Arc<Live>>,
    ) -> Result<Option<Arc<Live>>, store::Error> {
        let key = id.key();
        let session = match self.read_record(&id).await {
            Ok(Some(session)) if self.admission.admits(&session.identity) => session,
            Ok(_) => return Ok(None),
            // Nobody could ever use the session again; signing in anew must be possible.
            Err(store::Error::Corrupt(name)) => {
                tracing::error!(record = name, "a session cannot be read; its visitor must sign in again");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(used_at) = self.store.get(&used_name(key)).await? else { return Ok(None) };
        let used_at = used_at_of(key, used_at)?;
        Ok(Some(Live::read(before, id, &session, &self.plan, used_at, now.plus(FRESH))))
    }

    /// Who may be signed in.
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    async fn read_record(&self, id: &SessionId) -> Result<Option<Session>, store::Error> {
        let name = record_name(id.key());
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let opened = seal(id).open(&name, &record).map(Secret::new);
        let opened = opened.map_err(|_| store::Error::Corrupt(name.clone()))?;
        serde_json::from_slice(opened.expose()).map(Some).map_err(|_| store::Error::Corrupt(name))
    }

    /// Makes a session for someone whom Mosaic just vouched for and who came from `whence`, and gives the cookie that
    /// names it. A session always gets a new ID.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn begin(
        &self,
        signed_in: &SignedIn,
        organization: Option<String>,
        whence: Whence,
    ) -> Result<http::HeaderValue, store::Error> {
        let now = self.clock.now();
        let session = Session {
            identity: signed_in.identity.clone(),
            signed_in_at: now,
            expires_at: now.plus(self.lifetime),
            mosaic_session: signed_in.session_id.expose().clone(),
            refresh_token: signed_in.refresh_token.as_ref().map(|token| token.expose().clone()),
            access_expires_at: signed_in.access_expires_at,
            renew_at: Some(renewal::due(signed_in.access_expires_at, signed_in.access_lifetime)),
            organization,
        };
        let id = SessionId::random();
        let key = id.key();
        let token = self.ring.sign(&id, Place::Public).await?;
        let record = sealed(&id, &session);
        let used = now.unix_millis().to_be_bytes();
        self.store.put(&used_name(key), &used, now.plus(self.idle_timeout)).await?;
        self.store.index_add(&index_name(&session.identity.subject), &key.to_text(), session.expires_at).await?;
        let beginning = Beginning::new(whence, now, &session.mosaic_session);
        self.keep_beginning(key, &beginning, session.expires_at).await?;
        self.store.put(&record_name(key), &record, session.expires_at).await?;
        Ok(self.jar.set(Kind::Session, &token, self.lifetime.saturating_add(KEPT_LONGER)))
    }

    /// The session at Mosaic, which a further proof is added to; `None` once the session is over.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn at_mosaic(&self, live: &Live) -> Result<Option<Secret<String>>, store::Error> {
        let stored = self.read_record(live.id()).await?;
        Ok(stored.map(|stored| Secret::new(stored.mosaic_session.clone())))
    }

    /// How long a session may rest.
    pub const fn idle_timeout(&self) -> Span {
        Span(self.idle_timeout)
    }

    /// The cookie that empties the browser's jar.
    pub fn clearing_cookie(&self) -> http::HeaderValue {
        self.jar.clear(Kind::Session)
    }

    /// Waits for what was begun in the background: renewals, notes of use, the ends of sessions at Mosaic.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

fn record_name(key: Key) -> String {
    format!("session:{}", key.to_text())
}

fn used_name(key: Key) -> String {
    format!("session_used:{}", key.to_text())
}

/// When a session was used, from the note of it.
fn used_at_of(key: Key, note: Vec<u8>) -> Result<Timestamp, store::Error> {
    let millis = note.try_into().map_err(|_| store::Error::Corrupt(used_name(key)))?;
    Ok(Timestamp::from_unix_millis(i64::from_be_bytes(millis)))
}

fn index_name(subject: &Subject) -> String {
    format!("sessions_of:{subject}")
}

fn seal(id: &SessionId) -> Seal {
    Seal::new(id.expose(), "session")
}

fn sealed(id: &SessionId, session: &Session) -> Vec<u8> {
    let record = Secret::new(serde_json::to_vec(session).expect("a session has string keys only"));
    seal(id).close(&record_name(id.key()), record.expose())
}

/// An error with its causes, for one line of log.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
