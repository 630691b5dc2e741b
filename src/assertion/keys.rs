//! The keys of assertions in the course of time: one signs, the next is shown a day ahead, and an old one stays until
//! everything that it signed is over. They are kept in the store, and all instances over it agree.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use zeroize::Zeroize;

use super::Error;
use crate::clock::{Clock, Timestamp};
use crate::secret::{base64url, from_base64url};
use crate::store::{self, Shared, Store};

const KEY: &str = "assertion/signing_keys";
/// Held by the instance that changes the keys.
const TURN: &str = "assertion/signing_keys_turn";

/// How long a copy of the key set may be kept by those who check assertions.
pub const CACHED_FOR: Duration = Duration::from_secs(300);
/// How long a key is shown before it signs: whoever keeps a copy of the key set has fetched it again by then.
const AHEAD: Duration = Duration::from_secs(86_400);
/// The same for a key that is wanted at once: every instance shows it, and every copy is older than it, by then.
const AHEAD_AT_ONCE: Duration = Duration::from_secs(600);
/// How long a key is shown after it last signed: longer than an assertion lives and a copy may be kept.
const BEHIND: Duration = Duration::from_secs(3_600);
/// How old what is known may be before the store is asked again, beside the request.
const FRESH: Duration = Duration::from_secs(60);
/// How old it may be before a request waits for that.
const STALE: Duration = Duration::from_secs(300);
/// How long a store that did not answer is not asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// A turn is over by itself when its holder has died.
const TURN_LENGTH: Duration = Duration::from_secs(30);

/// One key as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// PKCS #8 (RFC 5958), base64url.
    der: String,
    /// When it begins to sign; until then it is only shown.
    signs_from: Timestamp,
}

impl StoredKey {
    fn make(signs_from: Timestamp) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| Error::Generate)?;
        let der = pair.to_pkcs8v1().map_err(|_| Error::Generate)?;
        Ok(Self { der: base64url(der.as_ref()), signs_from })
    }
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.der.zeroize();
    }
}

/// A key that is ready for use.
pub(super) struct SigningKey {
    pub(super) id: String,
    signs_from: Timestamp,
    private: EncodingKey,
    /// The public half (RFC 7517).
    pub(super) shown: Jwk,
}

impl SigningKey {
    fn from_stored(stored: &StoredKey) -> Result<Self, Error> {
        let der = from_base64url(&stored.der).ok_or_else(|| store::Error::Corrupt(KEY.to_owned()))?;
        Self::new(EncodingKey::from_ec_der(&der), stored.signs_from)
    }

    /// A key that is in no key set.
    pub(super) fn stranger() -> Result<Self, Error> {
        Self::from_stored(&StoredKey::make(Timestamp::from_unix_seconds(0))?)
    }

    fn new(private: EncodingKey, signs_from: Timestamp) -> Result<Self, Error> {
        let mut shown = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
        // The thumbprint of RFC 7638 is the same on every instance and after every restart.
        let id = shown.thumbprint(ThumbprintHash::SHA256)?;
        shown.common.key_id = Some(id.clone());
        shown.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { id, signs_from, private, shown })
    }

    /// A compact JWS over `claims`.
    pub(super) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        Ok(jsonwebtoken::encode(&header, claims, &self.private)?)
    }

    /// The signature over any `message`.
    pub(super) fn sign_bytes(&self, message: &[u8]) -> Result<String, Error> {
        Ok(jsonwebtoken::crypto::sign(message, &self.private, Algorithm::ES256)?)
    }
}

/// What everybody may know of the keys (RFC 7517 section 5).
#[derive(Clone, Serialize)]
pub struct KeySet {
    keys: Vec<Jwk>,
}

/// The keys at one moment, in the order in which they sign.
pub(super) struct Snapshot {
    keys: Vec<SigningKey>,
    read_at: Timestamp,
}

impl Snapshot {
    fn of(stored: &[StoredKey], read_at: Timestamp) -> Result<Self, Error> {
        let keys = stored.iter().map(SigningKey::from_stored).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys, read_at })
    }

    /// The key whose time it is.
    pub(super) fn signing(&self, now: Timestamp) -> Option<&SigningKey> {
        self.keys.iter().rev().find(|key| key.signs_from <= now).or_else(|| self.keys.first())
    }

    pub(super) fn find(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// What is known of the keys, and when the store last failed to tell.
#[derive(Clone, Default)]
struct Known {
    keys: Option<Arc<Snapshot>>,
    failed_at: Option<Timestamp>,
}

/// The keys, as the store had them a moment ago.
pub(super) struct KeyRing {
    store: Shared,
    clock: Clock,
    tasks: TaskTracker,
    /// How long one key signs.
    lifetime: Duration,
    known: Mutex<Known>,
    /// One look at the store at a time is enough.
    look: tokio::sync::Mutex<()>,
}

impl KeyRing {
    pub(super) fn new(store: &Shared, clock: &Clock, tasks: &TaskTracker, lifetime: Duration) -> Self {
        Self {
            store: Arc::clone(store),
            clock: clock.clone(),
            tasks: tasks.clone(),
            lifetime,
            known: Mutex::default(),
            look: tokio::sync::Mutex::default(),
        }
    }

    /// The same ring, whose keys sign for `lifetime`.
    pub(super) fn with_lifetime(&self, lifetime: Duration) -> Self {
        let ring = Self::new(&self.store, &self.clock, &self.tasks, lifetime);
        *ring.known() = self.known().clone();
        ring
    }

    /// The keys to sign with. Once they are known, no failure of the store takes them away.
    pub(super) async fn current(self: &Arc<Self>, now: Timestamp) -> Result<Arc<Snapshot>, Error> {
        let Some(keys) = self.known().keys.clone() else { return self.read_again(now, FRESH).await };
        let age = now.since(keys.read_at);
        if age >= STALE {
            return Ok(self.read_again(now, FRESH).await.unwrap_or(keys));
        }
        if age >= FRESH && self.look.try_lock().is_ok() {
            let ring = Arc::clone(self);
            self.tasks.spawn(async move { drop(ring.read_again(now, FRESH).await) });
        }
        Ok(keys)
    }

    /// The public halves.
    pub(super) async fn key_set(&self, now: Timestamp) -> Result<KeySet, Error> {
        let keys = self.read_again(now, FRESH).await?;
        Ok(KeySet { keys: keys.keys.iter().map(|key| key.shown.clone()).collect() })
    }

    /// The keys as they were less than `age` ago, or the last that could be had.
    async fn read_again(&self, now: Timestamp, age: Duration) -> Result<Arc<Snapshot>, Error> {
        let fresh = |known: &Known| known.keys.clone().filter(|keys| now.since(keys.read_at) < age);
        let known = self.known().clone();
        if let Some(keys) = fresh(&known) {
            return Ok(keys);
        }
        let _turn = match (&known.keys, self.look.try_lock()) {
            (_, Ok(turn)) => turn,
            (Some(keys), Err(_)) => return Ok(Arc::clone(keys)),
            (None, Err(_)) => self.look.lock().await,
        };
        // Whoever had the turn before may have read them, or have learnt that they cannot be had.
        let known = self.known().clone();
        if let Some(keys) = fresh(&known) {
            return Ok(keys);
        }
        if known.failed_at.is_some_and(|failed_at| now.since(failed_at) < PAUSE) {
            return known.keys.ok_or(Error::NoKey);
        }
        let read = due(self.store.as_ref(), now, self.lifetime).await.and_then(|stored| Snapshot::of(&stored, now));
        match read {
            Ok(read) => {
                let read = Arc::new(read);
                *self.known() = Known { keys: Some(Arc::clone(&read)), failed_at: None };
                Ok(read)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to look after the keys of assertions");
                self.known().failed_at = Some(now);
                known.keys.ok_or(error)
            }
        }
    }

    /// Each change is complete by itself, so a writer that panicked has left nothing half done.
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the next key at once, for the case that the present one is not trusted any more; says when it begins to sign.
///
/// # Errors
/// When the store fails, or another instance changes the keys at this moment.
pub async fn rotate(store: &Shared, clock: &Clock) -> Result<Timestamp, Error> {
    let now = clock.now();
    let store = store.as_ref();
    let moment = now.plus(AHEAD_AT_ONCE);
    read(store, now).await?;
    if !take_turn(store, now).await? {
        return Err(Error::Busy);
    }
    let mut stored = read(store, now).await?;
    // What was to sign later gives way.
    stored.retain(|key| key.signs_from <= now);
    stored.push(StoredKey::make(moment)?);
    end_turn(store, &stored).await?;
    Ok(moment)
}

/// The keys as they should be now. One instance changes them, the others find them changed when they look again.
async fn due(store: &dyn Store, now: Timestamp, lifetime: Duration) -> Result<Vec<StoredKey>, Error> {
    let stored = read(store, now).await?;
    if !is_due(&stored, now, lifetime) || !take_turn(store, now).await? {
        return Ok(stored);
    }
    let mut stored = read(store, now).await?;
    if let Some(last) = stored.last().filter(|last| ends_soon(last, now, lifetime)) {
        let moment = last.signs_from.plus(lifetime).max(now.plus(AHEAD));
        tracing::info!(signs_from = %moment, "a new key of assertions is shown from now on");
        stored.push(StoredKey::make(moment)?);
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
    last.signs_from.plus(lifetime).minus(AHEAD) <= now
}

/// Whether nothing is left of what was signed before `second` began to.
fn is_over(second: &StoredKey, now: Timestamp) -> bool {
    second.signs_from.plus(BEHIND) <= now
}

/// The keys in the store; whoever comes first makes one.
async fn read(store: &dyn Store, now: Timestamp) -> Result<Vec<StoredKey>, Error> {
    let record = match store.get(KEY).await? {
        Some(record) => record,
        None => {
            let first = write(&[StoredKey::make(now)?]);
            // Another instance may have been faster: its key stays.
            store.put_if_absent(KEY, &first, Timestamp::NEVER).await?;
            store.get(KEY).await?.unwrap_or(first)
        }
    };
    let corrupt = || store::Error::Corrupt(KEY.to_owned());
    let stored: Vec<StoredKey> = serde_json::from_slice(&record).map_err(|_| corrupt())?;
    if stored.is_empty() { Err(corrupt().into()) } else { Ok(stored) }
}

async fn take_turn(store: &dyn Store, now: Timestamp) -> Result<bool, Error> {
    Ok(store.put_if_absent(TURN, b"taken", now.plus(TURN_LENGTH)).await?)
}

async fn end_turn(store: &dyn Store, stored: &[StoredKey]) -> Result<(), Error> {
    store.put(KEY, &write(stored), Timestamp::NEVER).await?;
    store.remove(TURN).await?;
    Ok(())
}

fn write(stored: &[StoredKey]) -> Vec<u8> {
    serde_json::to_vec(stored).expect("records have string keys only and no failing serializer")
}
