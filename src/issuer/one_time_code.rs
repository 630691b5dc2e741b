//! One-time codes that people type: few digits, so few tries.
//!
//! A code and the link of the same mail are one credential: whichever is used first uses up the other. Every guess
//! takes one of the account's tries before it is compared, so guesses that come at the same moment gain nothing.
//!
//! A code is stored as a hash with a salt. Behind a request ID the record is sealed under that ID, which is not in the
//! store. Without one, whoever reads the store can find the few digits by trying them all while the code lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::users::Proof;
use super::{Inner, records};
use crate::clock::Timestamp;
use crate::secret::{Seal, Secret, base64url, fingerprint, mac, random_bytes, random_token, same};
use crate::setting::Span;
use crate::store;

pub(super) mod calls;

/// Tries that lead to no sign-in count for this long: as long as the longest-lived code.
const TRIES_WINDOW: Duration = Duration::from_secs(86_400);
/// A code that is over is remembered for this long, so that who comes late learns why.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// `[issuer.codes]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Digits of a code.
    pub length: u8,
    /// How long a code works where the call does not say.
    pub lifetime: Span,
    /// Wrong codes after which an account takes none for a while.
    pub tries: u8,
    /// How long it takes none.
    pub lockout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { length: 6, lifetime: Span::minutes(10), tries: 5, lockout: Span::minutes(15) }
    }
}

/// A code that is to be made.
pub(super) struct Order<'a> {
    pub(super) client_id: &'a str,
    pub(super) user_id: &'a str,
    pub(super) request_id: Option<&'a str>,
    /// The link of the same mail, by its name in the store.
    pub(super) link: Option<String>,
    pub(super) method: &'a str,
    pub(super) proof: Proof,
    pub(super) approval_data: Option<Map<String, Value>>,
    pub(super) expires_at: Timestamp,
    /// When both the code and its link are over.
    pub(super) all_over_at: Timestamp,
}

/// A code that was sent.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Code {
    /// The credential that it is a part of: that of its link, or its own.
    credential: String,
    salt: String,
    hash: String,
    pub(super) method: String,
    pub(super) proof: Proof,
    pub(super) approval_data: Option<Map<String, Value>>,
    expires_at: Timestamp,
    all_over_at: Timestamp,
}

impl Code {
    fn is(&self, passcode: &str) -> bool {
        same(hash(&self.salt, passcode).as_bytes(), self.hash.as_bytes())
    }
}

fn hash(salt: &str, passcode: &str) -> String {
    base64url(&mac(salt.as_bytes(), passcode.as_bytes()))
}

/// What a guess comes to.
pub(super) enum Guess {
    /// It is the code, which is used up now.
    Right(Code),
    /// It is not, or there is none.
    Wrong,
    /// Its time is over.
    Late,
    /// The account takes no codes for a while.
    Locked,
}

/// Where a code is kept. Without a request ID the newest takes the place of the one before.
struct Slot<'a> {
    key: String,
    request_id: Option<&'a str>,
}

impl<'a> Slot<'a> {
    fn new(client_id: &str, user_id: &str, request_id: Option<&'a str>) -> Self {
        // A program that always sends the field may send it empty.
        let request_id = request_id.filter(|id| !id.is_empty());
        // A client ID is at liberty to have any character, so lengths keep the two apart.
        let name = format!("{}:{client_id}{}", client_id.len(), request_id.unwrap_or_default());
        Self { key: format!("issuer/otp/{user_id}/{}", fingerprint(&name)), request_id }
    }

    fn write(&self, code: &Code) -> Vec<u8> {
        let plain = records::write(code);
        match self.request_id {
            Some(id) => Seal::new(id.as_bytes(), "issuer code").close(&self.key, &plain),
            None => plain,
        }
    }

    fn read(&self, bytes: &[u8]) -> Option<Code> {
        match self.request_id {
            Some(id) => {
                let plain = Seal::new(id.as_bytes(), "issuer code").open(&self.key, bytes).ok()?;
                serde_json::from_slice(&plain).ok()
            }
            None => serde_json::from_slice(bytes).ok(),
        }
    }
}

/// Set when link or code of one credential is used.
pub(super) fn used_key(credential: &str) -> String {
    format!("issuer/link_used/{credential}")
}

fn lock_key(user_id: &str) -> String {
    format!("issuer/otp_lock/{user_id}")
}

/// Names the counter of the tries. A new round begins with every sign-in and every lockout.
fn round_key(user_id: &str) -> String {
    format!("issuer/otp_round/{user_id}")
}

impl Inner {
    /// Makes a code and keeps what it takes to recognise it.
    pub(super) async fn make_passcode(&self, order: Order<'_>) -> Result<Secret<String>, store::Error> {
        let passcode = digits(self.config.codes.length);
        let salt = base64url(&random_bytes::<16>());
        let slot = Slot::new(order.client_id, order.user_id, order.request_id);
        let code = Code {
            credential: order.link.unwrap_or_else(|| fingerprint(random_token().expose())),
            hash: hash(&salt, passcode.expose()),
            salt,
            method: order.method.to_owned(),
            proof: order.proof,
            approval_data: order.approval_data,
            expires_at: order.expires_at,
            all_over_at: order.all_over_at,
        };
        self.store.put(&slot.key, &slot.write(&code), order.expires_at.plus(REMEMBERED)).await?;
        Ok(passcode)
    }

    /// What a guess comes to. The right code is used up, and with it the link of its mail.
    pub(super) async fn guess(
        &self,
        client_id: &str,
        user_id: &str,
        request_id: Option<&str>,
        passcode: &str,
    ) -> Result<Guess, store::Error> {
        if self.is_locked(user_id).await? {
            return Ok(Guess::Locked);
        }
        let slot = Slot::new(client_id, user_id, request_id);
        let Some(bytes) = self.store.get(&slot.key).await? else {
            // A lockout takes the code away, perhaps since the look above.
            return Ok(if self.is_locked(user_id).await? { Guess::Locked } else { Guess::Wrong });
        };
        let code = slot.read(&bytes).ok_or_else(|| store::Error::Corrupt(slot.key.clone()))?;
        if self.store.get(&used_key(&code.credential)).await?.is_some() {
            return Ok(Guess::Wrong);
        }
        if code.expires_at <= self.clock.now() {
            return Ok(Guess::Late);
        }
        let round = self.round(user_id).await?;
        // Whoever came upon the new round of a lockout finds the lock now.
        if self.is_locked(user_id).await? {
            return Ok(Guess::Locked);
        }
        let Some(is_last) = self.take_try(user_id, &round).await? else {
            self.lock(user_id, &slot.key).await?;
            return Ok(Guess::Locked);
        };
        if !code.is(&plain(passcode)) {
            if is_last {
                self.lock(user_id, &slot.key).await?;
            }
            return Ok(Guess::Wrong);
        }
        if !self.use_up(&code.credential, code.all_over_at).await? {
            return Ok(Guess::Wrong);
        }
        self.begin_round(user_id).await?;
        Ok(Guess::Right(code))
    }

    /// Uses up the credential; of all callers, with link or code, one gets through.
    pub(super) async fn use_up(&self, credential: &str, all_over_at: Timestamp) -> Result<bool, store::Error> {
        // The mark outlives link and code, which go of themselves.
        let until = all_over_at.plus(REMEMBERED);
        records::claim(self.store.as_ref(), &used_key(credential), &self.clock.now(), until).await
    }

    /// Takes one of the account's tries in a round; says whether it is the last one, or `None` when there was none left.
    async fn take_try(&self, user_id: &str, round: &str) -> Result<Option<bool>, store::Error> {
        let key = format!("issuer/otp_tries/{user_id}/{round}");
        let taken = self.store.count(&key, TRIES_WINDOW).await?.events;
        let tries = u64::from(self.config.codes.tries);
        Ok((taken <= tries).then_some(taken == tries))
    }

    /// The account's round of tries.
    async fn round(&self, user_id: &str) -> Result<String, store::Error> {
        let round: Option<String> = records::load(self.store.as_ref(), &round_key(user_id)).await?;
        Ok(round.unwrap_or_default())
    }

    async fn is_locked(&self, user_id: &str) -> Result<bool, store::Error> {
        Ok(self.store.get(&lock_key(user_id)).await?.is_some())
    }

    /// Lets the account take no codes for a while, and ends the one that was guessed at.
    async fn lock(&self, user_id: &str, slot: &str) -> Result<(), store::Error> {
        let until = self.clock.now().plus(self.config.codes.lockout.0);
        // The lock comes before the new round: nobody finds fresh tries and no lock.
        if records::claim(self.store.as_ref(), &lock_key(user_id), &self.clock.now(), until).await? {
            tracing::warn!("too many wrong codes: an account takes none for a while");
            self.store.remove(slot).await?;
            self.begin_round(user_id).await?;
        }
        Ok(())
    }

    async fn begin_round(&self, user_id: &str) -> Result<(), store::Error> {
        let round = base64url(&random_bytes::<12>());
        // It is forgotten when no try of an earlier round counts any more.
        let until = self.clock.now().plus(TRIES_WINDOW * 2);
        records::save(self.store.as_ref(), &round_key(user_id), &round, until).await
    }
}

/// So many random digits.
fn digits(length: u8) -> Secret<String> {
    let length = usize::from(length);
    let mut code = String::with_capacity(length);
    while code.len() < length {
        // Bytes from 250 up would favour the first digits.
        let fair = random_bytes::<16>().into_iter().filter(|byte| *byte < 250);
        code.extend(fair.map(|byte| char::from(b'0' + byte % 10)).take(length - code.len()));
    }
    Secret::new(code)
}

/// A code as it was made, however it was typed.
fn plain(passcode: &str) -> String {
    passcode.chars().filter(|character| !character.is_whitespace() && *character != '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_digits_of_the_asked_length() {
        for length in 4..=8 {
            let code = digits(length);
            assert_eq!(code.expose().len(), usize::from(length));
            assert!(code.expose().bytes().all(|byte| byte.is_ascii_digit()));
        }
        let many: std::collections::BTreeSet<String> = (0..100).map(|_| digits(8).expose().clone()).collect();
        assert!(many.len() > 95);
    }

    #[test]
    fn a_code_may_be_typed_in_groups() {
        assert_eq!(plain(" 123 456\t"), "123456");
        assert_eq!(plain("123-456"), "123456");
        assert_eq!(plain("12x456"), "12x456");
    }
}
