//! The issuer's keys in the course of time: one signs, the next is shown a day ahead, and old ones stay until everything
//! that they signed is over. They are kept in the store, and all instances over it agree.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::records;
use super::signing_key::{Error, KeySet, SigningKey, StoredKey, key_id};
use crate::clock::{Clock, Timestamp};
use crate::store::{self, Store};

const KEY: &str = "issuer/signing_keys";
/// Held by the instance that changes the ring.
const TURN: &str = "issuer/signing_keys_turn";

/// How long a key is shown before it signs: whoever keeps a copy of the key set has fetched it again by then.
const AHEAD: Duration = Duration::from_secs(86_400);
/// The same for a key that is wanted at once: every instance shows it by then.
const AHEAD_AT_ONCE: Duration = Duration::from_secs(120);
/// How long a key is shown after it last signed, which is longer than any token lives.
const BEHIND: Duration = Duration::from_secs(14 * 86_400);
/// How old a copy of the ring may be, in ordinary use and where a token names a key that is not in it.
const FRESH: Duration = Duration::from_secs(60);
const FRESH_FOR_STRANGERS: Duration = Duration::from_secs(5);
/// A turn is over by itself when its holder has died.
const TURN_LENGTH: Duration = Duration::from_secs(30);

/// The keys, as the store had them a moment ago.
pub(super) struct KeyRing {
    store: store::Shared,
    clock: Clock,
    /// How long one key signs.
    lifetime: Duration,
    last: RwLock<Arc<Snapshot>>,
    /// One look at the store at a time is enough.
    look: tokio::sync::Mutex<()>,
}

/// The keys at one moment, in the order in which they sign.
struct Snapshot {
    keys: Vec<SigningKey>,
    read_at: Timestamp,
}

impl KeyRing {
    /// The keys of the store; the first instance makes them.
    pub(super) async fn load(store: &store::Shared, clock: &Clock, lifetime: Duration) -> Result<Self, Error> {
        let now = clock.now();
        if store.get(KEY).await?.is_none() {
            let first = vec![StoredKey::make(now, now).await?];
            // Another instance may have been faster: its key stays.
            records::claim(store.as_ref(), KEY, &first, Timestamp::NEVER).await?;
        }
        let stored = due(store.as_ref(), now, lifetime).await?;
        let last = RwLock::new(Arc::new(Snapshot::of(&stored, now)?));
        Ok(Self { store: Arc::clone(store), clock: clock.clone(), lifetime, last, look: tokio::sync::Mutex::new(()) })
    }

    /// A compact JWS over `claims`.
    pub(super) async fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        let copy = self.fresh(FRESH).await;
        copy.signing(self.clock.now()).sign(claims)
    }

    /// The claims of a token that one of the keys signed in the name of `issuer`, for `audience` if it matters.
    /// Its `exp` is left to the caller.
    pub(super) async fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        issuer: &str,
        audience: Option<&str>,
    ) -> Option<T> {
        let id = key_id(token)?;
        let mut copy = self.fresh(FRESH).await;
        if copy.find(&id).is_none() {
            // Another instance may have made it just now.
            copy = self.fresh(FRESH_FOR_STRANGERS).await;
        }
        copy.find(&id)?.verify(token, issuer, audience)
    }

    /// The public halves (RFC 7517 section 5).
    pub(super) async fn key_set(&self) -> KeySet {
        let copy = self.fresh(FRESH).await;
        KeySet::of(&copy.keys)
    }

    /// A copy that was read less than `age` ago, or else the last one that could be had.
    async fn fresh(&self, age: Duration) -> Arc<Snapshot> {
        let copy = self.last();
        let now = self.clock.now();
        if now.since(copy.read_at) < age {
            return copy;
        }
        let Ok(_turn) = self.look.try_lock() else { return copy };
        let read = match due(self.store.as_ref(), now, self.lifetime).await {
            Ok(stored) => Snapshot::of(&stored, now),
            Err(error) => Err(error),
        };
        match read {
            Ok(read) => {
                let read = Arc::new(read);
                *self.last.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&read);
                read
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to look after the signing keys");
                copy
            }
        }
    }

    /// Each change is complete by itself, so a writer that panicked has left nothing half done.
    fn last(&self) -> Arc<Snapshot> {
        Arc::clone(&self.last.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot {
    fn of(stored: &[StoredKey], read_at: Timestamp) -> Result<Self, Error> {
        let keys = stored.iter().map(|key| SigningKey::from_stored(key, KEY)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(store::Error::Corrupt(KEY.to_owned()).into()) } else { Ok(Self { keys, read_at }) }
    }

    /// The key whose time it is.
    fn signing(&self, now: Timestamp) -> &SigningKey {
        self.keys.iter().rev().find(|key| key.signs_from <= now).unwrap_or(&self.keys[0])
    }

    fn find(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Makes the next key at once, for the case that the present one is not trusted any more; says when it begins to sign.
pub(super) async fn rotate(store: &dyn Store, clock: &Clock) -> Result<Timestamp, Error> {
    let now = clock.now();
    let moment = now.plus(AHEAD_AT_ONCE);
    let next = StoredKey::make(now, moment).await?;
    if !take_turn(store, now).await? {
        return Err(Error::Busy);
    }
    let mut stored = read(store).await?;
    // What was to sign later has been shown already; it gives way.
    stored.retain(|key| key.signs_from() <= now);
    stored.push(next);
    end_turn(store, &stored).await?;
    Ok(moment)
}

/// The ring as it should be now. One instance changes it, the others find it changed when they look again.
async fn due(store: &dyn Store, now: Timestamp, lifetime: Duration) -> Result<Vec<StoredKey>, Error> {
    let stored = read(store).await?;
    if !is_due(&stored, now, lifetime) {
        return Ok(stored);
    }
    let next = StoredKey::make(now, now).await?;
    if !take_turn(store, now).await? {
        return Ok(stored);
    }
    let mut stored = read(store).await?;
    if let Some(last) = stored.last().filter(|last| ends_soon(last, now, lifetime)) {
        let moment = last.signs_from().plus(lifetime).max(now.plus(AHEAD));
        tracing::info!(signs_from = %moment, "a new signing key is shown from now on");
        stored.push(next.signing_from(moment));
    }
    while stored.get(1).is_some_and(|second| is_over(second, now)) {
        stored.remove(0);
    }
    end_turn(store, &stored).await?;
    Ok(stored)
}

fn is_due(stored: &[StoredKey], now: Timestamp, lifetime: Duration) -> bool {
    stored.last().is_some_and(|last| ends_soon(last, now, lifetime))
        || stored.get(1).is_some_and(|second| is_over(second, now))
}

/// Whether the last key must have a successor by now.
fn ends_soon(last: &StoredKey, now: Timestamp, lifetime: Duration) -> bool {
    last.signs_from().plus(lifetime).minus(AHEAD) <= now
}

/// Whether nothing is left of what was signed before `second` began to.
fn is_over(second: &StoredKey, now: Timestamp) -> bool {
    second.signs_from().plus(BEHIND) <= now
}

async fn read(store: &dyn Store) -> Result<Vec<StoredKey>, Error> {
    Ok(records::load(store, KEY).await?.ok_or_else(|| store::Error::Corrupt(KEY.to_owned()))?)
}

async fn take_turn(store: &dyn Store, now: Timestamp) -> Result<bool, Error> {
    Ok(records::claim(store, TURN, &now, now.plus(TURN_LENGTH)).await?)
}

async fn end_turn(store: &dyn Store, stored: &[StoredKey]) -> Result<(), Error> {
    records::save(store, KEY, &stored, Timestamp::NEVER).await?;
    store.remove(TURN).await?;
    Ok(())
}
