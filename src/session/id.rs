//! The session ID: 256 random bits that name a session, with a short MAC so that garbage is refused
//! without asking the store.

use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroize;

use super::Place;
use crate::clock::Timestamp;
use crate::secret;
use crate::store::{self, Shared};

const MAC_BYTES: usize = 12;
const TOKEN_BYTES: usize = 32 + MAC_BYTES;

/// The random name of a session. Whoever has it is signed in, so it is a secret.
#[derive(Clone)]
pub struct SessionId([u8; 32]);

impl Drop for SessionId {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// SHA-256 of a session ID: how the store and the cache name the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl SessionId {
    /// A new name.
    pub fn random() -> Self {
        Self(secret::random_bytes())
    }

    /// How the session is named wherever the ID itself must not be.
    pub fn key(&self) -> Key {
        Key(secret::sha256(&self.0))
    }

    /// What upstreams may call the session. Neither its ID nor its name in the store can be told from it.
    pub(super) fn reference(&self) -> String {
        secret::base64url(&secret::mac(&self.0, b"reference"))
    }

    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that the session's record is sealed with.
    pub(super) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A token that only this browser's pages can carry (form anti-forgery).
    pub(super) fn csrf_token(&self) -> String {
        secret::base64url(&secret::mac(&self.0, b"csrf"))
    }
}

impl Key {
    /// The key as base64url.
    pub fn to_text(self) -> String {
        secret::base64url(&self.0)
    }

    pub(super) const fn first_byte(self) -> u8 {
        self.0[0]
    }

    /// The key behind base64url.
    pub fn from_text(text: &str) -> Option<Self> {
        secret::from_base64url(text)?.try_into().ok().map(Self)
    }
}

/// A cookie's value with the form of a session ID; its MAC is not checked yet.
pub struct Claimed {
    /// The ID that the value claims.
    pub id: SessionId,
    pub(super) mac: Mac,
}

/// What proves that an ID was made here.
pub(super) type Mac = [u8; MAC_BYTES];

impl Claimed {
    /// Reads the value of a session cookie; `None` when it cannot be one.
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() != TOKEN_BYTES.div_ceil(3) * 4 - 1 {
            return None;
        }
        let bytes = secret::from_base64url(value)?;
        let (id, mac) = bytes.split_at_checked(32)?;
        Some(Self { id: SessionId(id.try_into().ok()?), mac: mac.try_into().ok()? })
    }
}

/// The keys that make and check the MAC, shared by every instance through the store: the first makes, all check.
pub(super) struct KeyRing {
    store: Shared,
    /// Empty until the store was asked.
    keys: RwLock<Keys>,
}

type Keys = Arc<[[u8; 32]]>;

const RING_NAME: &str = "session_keys";

impl KeyRing {
    pub(super) fn new(store: Shared) -> Self {
        Self { store, keys: RwLock::new(Arc::default()) }
    }

    async fn keys(&self) -> Result<Keys, store::Error> {
        let known = self.known();
        if known.is_empty() { self.agree(&secret::random_bytes::<32>()).await } else { Ok(known) }
    }

    fn known(&self) -> Keys {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the keys of the store, which are the ones offered where it has none.
    async fn agree(&self, offered: &[u8]) -> Result<Keys, store::Error> {
        self.store.put_if_absent(RING_NAME, offered, Timestamp::NEVER).await?;
        let stored = self.store.get(RING_NAME).await?.unwrap_or_default();
        let keys: Keys = stored.chunks_exact(32).filter_map(|key| key.try_into().ok()).collect();
        if keys.is_empty() {
            return Err(store::Error::Corrupt(RING_NAME.to_owned()));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }

    /// Agrees anew after the store was out of sight: it may have lost the keys, and an instance that starts now must
    /// not make others.
    pub(super) async fn agree_again(&self) -> Result<(), store::Error> {
        let known = self.known();
        if known.is_empty() { Ok(()) } else { self.agree(&known.concat()).await.map(drop) }
    }

    /// The value of the cookie that names `id` in `place`.
    pub(super) async fn sign(&self, id: &SessionId, place: Place<'_>) -> Result<String, store::Error> {
        let mut token = [0; TOKEN_BYTES];
        token[..32].copy_from_slice(&id.0);
        token[32..].copy_from_slice(&mac(&self.keys().await?[0], id, place));
        Ok(secret::base64url(&token))
    }

    /// Whether a claimed ID was made by this gateway, for `place`.
    pub(super) async fn made(&self, claimed: &Claimed, place: Place<'_>) -> Result<bool, store::Error> {
        Ok(self.keys().await?.iter().any(|key| secret::same(&mac(key, &claimed.id, place), &claimed.mac)))
    }
}

fn mac(key: &[u8; 32], id: &SessionId, place: Place<'_>) -> Mac {
    let mut short = [0; MAC_BYTES];
    let full = match place {
        Place::Public => secret::mac(key, &id.0),
        // The ID has one length, so the two have one reading.
        Place::Host(host) => secret::mac(key, &[&id.0, host.as_bytes()].concat()),
    };
    short.copy_from_slice(&full[..MAC_BYTES]);
    short
}
