//! The issuer's public keys (RFC 7517): which of them may verify a token, and when they are fetched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use url::Url;

use super::call::{Http, Repeat};
use super::error::{Error, Refusal};
use super::id_token::{self, Algorithm, KEY_ID_LIMIT};
use super::single_flight::SingleFlight;
use crate::clock::{Clock, Timestamp};
use crate::secret::from_base64url;

/// The call's name in metrics and logs.
const CALL: &str = "key_set";
const SIZE_LIMIT: usize = 256 * 1024;
/// The shortest time between two fetches, whatever they are for and however they end.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// A set of this age is fetched again when it is next used, so that withdrawn keys go.
const STALE_AFTER: Duration = Duration::from_secs(3600);
/// A set of this age is used no longer.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// An RSA key of at least 2048 bits that may verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The only algorithm that the key is for, where the set says so.
    pub(super) algorithm: Option<Algorithm>,
    /// Big-endian, without leading zeros.
    pub(super) modulus: Vec<u8>,
    /// Big-endian, without leading zeros.
    pub(super) exponent: Vec<u8>,
}

/// The usable keys of a set by their IDs.
pub type Keys = HashMap<String, Arc<PublicKey>>;

/// The key set of the issuer, kept and fetched again as needed.
pub(super) struct KeySet {
    http: Http,
    clock: Clock,
    url: Url,
    state: Mutex<State>,
    flight: SingleFlight<()>,
}

#[derive(Default)]
struct State {
    /// The last good set and when it was asked for.
    keys: Option<(Keys, Timestamp)>,
    tried_at: Option<Timestamp>,
    /// Why the latest fetch failed, if it did.
    failure: Option<Error>,
}

impl KeySet {
    pub(super) fn new(url: Url, http: Http, clock: Clock) -> Arc<Self> {
        Arc::new(Self { http, clock, url, state: Mutex::default(), flight: SingleFlight::new() })
    }

    /// What `check` says about a token that names the key `key_id`. Where it does not take the signature, the key may
    /// have been replaced under its name, so the set is looked at again.
    ///
    /// # Errors
    /// Those of `check`; that there is no such key; or why the set could not be had, when that leaves the question open.
    pub(super) async fn verify<T>(
        self: &Arc<Self>,
        key_id: &str,
        check: impl Fn(&PublicKey) -> Result<T, id_token::Error>,
    ) -> Result<T, Error> {
        let key = self.key(key_id).await?;
        match check(&key) {
            Err(error @ (id_token::Error::Signature | id_token::Error::Algorithm)) => {
                let is_another = |state: &State, now| state.find(key_id, now).is_some_and(|found| found != key);
                self.refresh_unless(is_another).await;
                let newer = self.state().find(key_id, self.clock.now()).filter(|found| *found != key);
                newer.map_or(Err(error), |key| check(&key)).map_err(Error::Token)
            }
            checked => checked.map_err(Error::Token),
        }
    }

    /// The key of a token that anybody may have made up, so that nothing in it has the set fetched: only its age does.
    ///
    /// # Errors
    /// That there is no such key, or why the set could not be had.
    pub(super) async fn known(self: &Arc<Self>, key_id: &str) -> Result<Arc<PublicKey>, Error> {
        self.refresh_unless(State::is_fresh).await;
        let state = self.state();
        state.find(key_id, self.clock.now()).ok_or_else(|| state.why_not())
    }

    /// The key with this ID.
    async fn key(self: &Arc<Self>, key_id: &str) -> Result<Arc<PublicKey>, Error> {
        self.refresh_unless(|state, now| state.is_fresh(now) && state.find(key_id, now).is_some()).await;
        let state = self.state();
        state.find(key_id, self.clock.now()).ok_or_else(|| state.why_not())
    }

    /// Whether tokens can be verified: there is a set, and it is not too old.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        self.refresh_unless(State::is_fresh).await;
        let state = self.state();
        state.usable(self.clock.now()).map(|_| ()).ok_or_else(|| state.why_not())
    }

    /// Whether tokens can be verified, or nothing is known against it.
    pub(super) fn is_promising(&self) -> bool {
        self.state().usable(self.clock.now()).is_some() || self.http.is_promising(CALL)
    }

    /// Fetches the set once for all who want it now, unless it will do or was tried a moment ago.
    async fn refresh_unless(self: &Arc<Self>, will_do: impl Fn(&State, Timestamp) -> bool) {
        if will_do(&self.state(), self.clock.now()) {
            return;
        }
        let key_set = Arc::clone(self);
        self.flight.join(move || async move { key_set.fetch_if_due().await }.boxed()).await;
    }

    async fn fetch_if_due(&self) {
        let now = self.clock.now();
        if !self.state().begin_fetch(now) {
            return;
        }
        let fetched = self.fetch().await;
        let mut state = self.state();
        match fetched {
            Ok(keys) => {
                state.keys = Some((keys, now));
                state.failure = None;
            }
            Err(error) => state.failure = Some(error),
        }
    }

    async fn fetch(&self) -> Result<Keys, Error> {
        let request = || Ok(self.http.get(&self.url));
        let answer = self.http.send(CALL, Repeat::Once, SIZE_LIMIT, request).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_error)?;
        let keys = parse(answer.body()).ok_or_else(|| answer.unexpected("not a key set"))?;
        if keys.is_empty() { Err(answer.unexpected("the key set has no usable key")) } else { Ok(keys) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn usable(&self, now: Timestamp) -> Option<&Keys> {
        self.keys.as_ref().filter(|(_, fetched_at)| now.since(*fetched_at) < LIFETIME).map(|(keys, _)| keys)
    }

    fn find(&self, key_id: &str, now: Timestamp) -> Option<Arc<PublicKey>> {
        self.usable(now)?.get(key_id).cloned()
    }

    /// Why a key is not there: after a failed fetch nobody knows whether the issuer has it.
    fn why_not(&self) -> Error {
        self.failure.clone().unwrap_or(Error::Token(id_token::Error::UnknownKey))
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.keys.as_ref().is_some_and(|(_, fetched_at)| now.since(*fetched_at) < STALE_AFTER)
    }

    /// Marks a fetch as begun; false when the last one was a moment ago. A clock that was set back forbids nothing.
    fn begin_fetch(&mut self, now: Timestamp) -> bool {
        let is_due = self.tried_at.is_none_or(|tried_at| now < tried_at || now.since(tried_at) >= FETCH_INTERVAL);
        if is_due {
            self.tried_at = Some(now);
        }
        is_due
    }
}

/// The usable keys of a set. An ID that two of them share names neither.
pub fn parse(body: &[u8]) -> Option<Keys> {
    let set: Value = serde_json::from_slice(body).ok()?;
    let mut keys: HashMap<String, Option<Arc<PublicKey>>> = HashMap::new();
    for (key_id, key) in set.get("keys")?.as_array()?.iter().filter_map(usable_key) {
        keys.entry(key_id).and_modify(|taken| *taken = None).or_insert(Some(Arc::new(key)));
    }
    Some(keys.into_iter().filter_map(|(key_id, key)| Some((key_id, key?))).collect())
}

/// Reads one key of a set; `None` for what cannot, may not or should not verify a token.
fn usable_key(entry: &Value) -> Option<(String, PublicKey)> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    let members = entry.as_object()?;
    let text = |name: &str| members.get(name).map(Value::as_str);
    let is_for_signatures = matches!(text("use"), None | Some(Some("sig")))
        && members
            .get("key_ops")
            .is_none_or(|uses| uses.as_array().is_some_and(|uses| uses.contains(&"verify".into())));
    if text("kty") != Some(Some("RSA")) || !is_for_signatures || PRIVATE.iter().any(|part| members.contains_key(*part))
    {
        return None;
    }
    let algorithm = match text("alg") {
        None => None,
        Some(name) => Some(Algorithm::named(name?)?),
    };
    let key_id = text("kid")??;
    let modulus = natural(text("n")??)?;
    let exponent = natural(text("e")??)?;
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let is_strong = (2048..=8192).contains(&bits);
    // An exponent of 1 would make every message its own signature.
    let is_exponent = exponent.len() <= 4 && exponent.last()? & 1 == 1 && exponent[..] != [1];
    let is_named = !key_id.is_empty() && key_id.len() <= KEY_ID_LIMIT;
    (is_strong && is_exponent && is_named).then(|| (key_id.to_owned(), PublicKey { algorithm, modulus, exponent }))
}

/// A Base64urlUInt (RFC 7518 section 2) without the leading zeros that some writers add; `None` for zero.
fn natural(text: &str) -> Option<Vec<u8>> {
    let bytes = from_base64url(text)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}

#[cfg(test)]
mod tests;
