//! Personal tokens: made by a visitor for their own programs, good for some routes until a day, and revocable.
//!
//! The store knows a token by its hash alone. Who its user is now, and whether they may still come in, is looked up by
//! `credential`; what was known of them at making is sealed under the token itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::clock::{Clock, Timestamp};
use crate::identity::{Identity, Subject};
use crate::secret::{self, Secret};
use crate::setting::Span;
use crate::store::{self, Announcement, Shared};

pub mod device;
mod text;

use text::Stamp;
pub use text::{Bits, Key, PREFIX};

/// `[personal_tokens]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether visitors may make tokens, and those that there are count.
    pub enabled: bool,
    /// The longest time that a token may be good for.
    pub lifetime: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, lifetime: Span::days(90) }
    }
}

/// What a visitor may choose from, in days.
const CHOICES: [u64; 4] = [7, 30, 90, 365];

impl Config {
    /// How long a new token may be good for: the usual lengths within the bound, or the bound itself.
    pub fn choices(&self) -> Vec<Span> {
        let usual: Vec<Span> = CHOICES.into_iter().map(Span::days).filter(|span| *span <= self.lifetime).collect();
        if usual.is_empty() { vec![self.lifetime] } else { usual }
    }
}

/// At most so many tokens for one user.
const MOST_TOKENS: usize = 50;
/// Characters of a name.
pub const MOST_NAME: usize = 60;
/// At most so many routes are named by one token.
const MOST_ROUTES: usize = 100;
/// The index of all tokens.
const ALL: &str = "personal_tokens";
/// What is announced of a token that was revoked.
const REVOKED: &str = "personal_token_revoked:";

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalToken {
    /// What the store calls it.
    pub key: Key,
    /// Whose it is.
    pub subject: Subject,
    /// What its user calls it.
    pub name: String,
    /// The names of the routes that it is good for; all that take tokens where there are none.
    pub routes: Vec<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When its user had proved who they are by then.
    pub signed_in_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl PersonalToken {
    /// Whether it is good for the route of that name.
    pub fn is_for(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|name| name == route)
    }
}

/// A token in a list, with what is noted beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The token.
    pub token: PersonalToken,
    /// When it was last used, to within a minute; not at all where there is none.
    pub used_at: Option<Timestamp>,
}

/// What a new token shall be.
pub struct Wanted<'a> {
    /// Who wants it.
    pub identity: &'a Identity,
    /// When they last proved who they are.
    pub signed_in_at: Timestamp,
    /// What they call it.
    pub name: &'a str,
    /// The routes that it is good for; none for all.
    pub routes: Vec<String>,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// A new token, which is shown this once.
pub struct Made {
    /// What the user's program shows.
    pub text: Secret<String>,
    /// The token.
    pub token: PersonalToken,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A name is wanted, of one line and not too long.
    #[error("use this name")]
    Name,
    /// The time, or the number of routes, is beyond the bounds.
    #[error("use this time or these routes")]
    Bounds,
    /// The user has as many tokens as they may.
    #[error("make one more token")]
    TooMany,
}

/// The record in the store.
#[derive(Serialize, Deserialize)]
struct Record {
    subject: Subject,
    name: String,
    routes: Vec<String>,
    made_at: Timestamp,
    signed_in_at: Timestamp,
    expires_at: Timestamp,
    /// The identity at making, which opens with the token only.
    sealed: String,
}

impl Record {
    fn token(self, key: Key) -> PersonalToken {
        let Self { subject, name, routes, made_at, signed_in_at, expires_at, .. } = self;
        PersonalToken { key, subject, name, routes, made_at, signed_in_at, expires_at }
    }
}

/// Every personal token of the gateway.
pub struct PersonalTokens {
    store: Shared,
    clock: Clock,
    config: Config,
    stamp: Stamp,
}

impl PersonalTokens {
    /// The tokens in the store. Nothing is read before the first call.
    pub fn new(store: Shared, clock: Clock, config: &Config) -> Arc<Self> {
        Arc::new(Self { stamp: Stamp::new(Arc::clone(&store)), store, clock, config: config.clone() })
    }

    /// The operator's bounds.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Makes a token for somebody who is signed in.
    ///
    /// # Errors
    /// When it may not be made as it is wanted, or the store cannot keep it.
    pub async fn make(&self, wanted: Wanted<'_>) -> Result<Made, NotMade> {
        let name = wanted.name.trim();
        if name.is_empty() || name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
            return Err(NotMade::Name);
        }
        let is_within = !wanted.lifetime.is_zero() && wanted.lifetime <= self.config.lifetime.0;
        if !self.config.enabled || !is_within || wanted.routes.len() > MOST_ROUTES {
            return Err(NotMade::Bounds);
        }
        let subject = &wanted.identity.subject;
        if self.of(subject).await?.len() >= MOST_TOKENS {
            return Err(NotMade::TooMany);
        }
        let (bits, now) = (Bits::random(), self.clock.now());
        let text = self.stamp.write(&bits).await?;
        let token = PersonalToken {
            key: bits.key(),
            subject: subject.clone(),
            name: name.to_owned(),
            routes: wanted.routes,
            made_at: now,
            signed_in_at: wanted.signed_in_at,
            expires_at: now.plus(wanted.lifetime),
        };
        self.keep(&bits, &token, wanted.identity).await?;
        Ok(Made { text, token })
    }

    async fn keep(&self, bits: &Bits, token: &PersonalToken, identity: &Identity) -> Result<(), store::Error> {
        let PersonalToken { key, subject, name, routes, made_at, signed_in_at, expires_at } = token.clone();
        let record_name = record_name(key);
        let corrupt = |_| store::Error::Corrupt(record_name.clone());
        let identity = Secret::new(serde_json::to_vec(identity).map_err(corrupt)?);
        let sealed = secret::base64url(&bits.seal().close(&record_name, identity.expose()));
        let record = Record { subject, name, routes, made_at, signed_in_at, expires_at, sealed };
        let record = serde_json::to_vec(&record).map_err(corrupt)?;
        self.store.put(&used_name(key), b"", expires_at).await?;
        self.store.index_add(ALL, &key.to_text(), expires_at).await?;
        self.store.index_add(&index_name(&token.subject), &key.to_text(), expires_at).await?;
        self.store.put(&record_name, &record, expires_at).await
    }

    /// The random bits of a token that was made here. Anything else is refuted without the store, once its key is known.
    ///
    /// # Errors
    /// When the store cannot say by which key.
    pub async fn read(&self, text: &str) -> Result<Option<Bits>, store::Error> {
        self.stamp.read(text).await
    }

    /// A token, with its user as they were known at making. `None` once it has ended or was revoked.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn find(&self, bits: &Bits) -> Result<Option<(PersonalToken, Identity)>, store::Error> {
        let key = bits.key();
        let Some(record) = self.record(key).await?.filter(|record| self.clock.now() < record.expires_at) else {
            return Ok(None);
        };
        let name = record_name(key);
        let corrupt = || store::Error::Corrupt(name.clone());
        let sealed = secret::from_base64url(&record.sealed).ok_or_else(corrupt)?;
        let opened = bits.seal().open(&name, &sealed).map(Secret::new).map_err(|_| corrupt())?;
        let identity: Identity = serde_json::from_slice(opened.expose()).map_err(|_| corrupt())?;
        if identity.subject != record.subject {
            return Err(corrupt());
        }
        Ok(Some((record.token(key), identity)))
    }

    /// Notes that a token was used at `now`, unless it was revoked meanwhile.
    ///
    /// # Errors
    /// When the store cannot keep the note.
    pub async fn note_use(&self, token: &PersonalToken, now: Timestamp) -> Result<(), store::Error> {
        let moment = now.unix_millis().to_be_bytes();
        self.store.replace(&used_name(token.key), &moment, token.expires_at).await.map(drop)
    }

    /// The tokens of a user, the newest first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn of(&self, subject: &Subject) -> Result<Vec<Listed>, store::Error> {
        self.listed(&index_name(subject)).await
    }

    /// The tokens of all users, the newest first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn all(&self) -> Result<Vec<Listed>, store::Error> {
        self.listed(ALL).await
    }

    async fn listed(&self, index: &str) -> Result<Vec<Listed>, store::Error> {
        let mut listed = Vec::new();
        for key in self.store.index_members(index).await?.iter().filter_map(|member| Key::from_text(member)) {
            let Some(record) = self.record(key).await? else { continue };
            let note = self.store.get(&used_name(key)).await?.and_then(|note| note.try_into().ok());
            let used_at = note.map(i64::from_be_bytes).map(Timestamp::from_unix_millis);
            listed.push(Listed { token: record.token(key), used_at });
        }
        listed.sort_by_key(|listed| std::cmp::Reverse((listed.token.made_at, listed.token.key.to_text())));
        Ok(listed)
    }

    /// Revokes a token, on every instance at once.
    ///
    /// # Errors
    /// When the store cannot remove it: then it is not revoked, and nobody is told that it was.
    pub async fn revoke(&self, token: &PersonalToken) -> Result<(), store::Error> {
        let member = token.key.to_text();
        self.store.remove(&record_name(token.key)).await?;
        self.store.announce(&format!("{REVOKED}{member}")).await?;
        self.store.remove(&used_name(token.key)).await?;
        self.store.index_remove(ALL, &member).await?;
        self.store.index_remove(&index_name(&token.subject), &member).await
    }

    /// Tokens that are revoked from now on, on this instance or another.
    ///
    /// # Errors
    /// When the store cannot be listened to at all.
    pub async fn revocations(&self) -> Result<Revocations, store::Error> {
        Ok(Revocations(self.store.announcements().await?))
    }

    async fn record(&self, key: Key) -> Result<Option<Record>, store::Error> {
        let name = record_name(key);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        serde_json::from_slice(&record).map(Some).map_err(|_| store::Error::Corrupt(name))
    }
}

/// The tokens that are revoked, as it is heard of.
pub struct Revocations(mpsc::Receiver<Announcement>);

/// What is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// A token was revoked.
    One(Key),
    /// The store was out of sight for a while: any may have been.
    Any,
}

impl Revocations {
    /// The next one; `None` once the store can be listened to no more.
    pub async fn next(&mut self) -> Option<Revoked> {
        loop {
            match self.0.recv().await? {
                Announcement::Missed => return Some(Revoked::Any),
                Announcement::Message(message) => {
                    if let Some(key) = message.strip_prefix(REVOKED).and_then(Key::from_text) {
                        return Some(Revoked::One(key));
                    }
                }
            }
        }
    }
}

fn record_name(key: Key) -> String {
    format!("personal_token:{}", key.to_text())
}

fn used_name(key: Key) -> String {
    format!("personal_token_used:{}", key.to_text())
}

fn index_name(subject: &Subject) -> String {
    format!("personal_tokens_of:{subject}")
}
