//! Requests for grants: an address that a route refuses asks the owners of the route, and one of them answers.
//!
//! There is one request for an address and a route, so that asking again tells nobody anything new.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::clock::{Clock, Timestamp};
use crate::identity::EmailAddress;
use crate::store::{self, Shared};

/// A request waits this long for an answer; then it can be made again.
const OPEN: Duration = Duration::from_secs(7 * 86_400);
/// After a no, nobody is asked again for this long.
const REFUSED: Duration = Duration::from_secs(86_400);

/// What an address asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who would like to pass.
    pub address: EmailAddress,
    /// The name of the route.
    pub route: String,
    /// When they asked.
    pub asked_at: Timestamp,
    /// The page that they could not open.
    pub page: String,
}

impl Request {
    /// What the store calls it: as the grant that it asks for.
    pub fn key(&self) -> Key {
        Key::of(&self.address, &self.route)
    }

    /// Until when it waits for an answer.
    pub fn waits_until(&self) -> Timestamp {
        self.asked_at.plus(OPEN)
    }
}

/// A request that one of the owners said no to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was asked for.
    pub request: Request,
    /// Who said no.
    pub by: EmailAddress,
    /// When.
    pub at: Timestamp,
}

/// What became of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The owners do not know yet.
    New,
    /// They were asked before, and have not answered.
    Waiting,
    /// One of them has said no, not long ago.
    Refused,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has answered.
    Open(Request),
    /// An owner said no.
    Refused(Refusal),
    /// There is none, or it was answered with a grant.
    None,
}

/// Every request of the gateway.
#[derive(Clone)]
pub struct Requests {
    store: Shared,
    clock: Clock,
}

impl Requests {
    /// Those in the store.
    pub const fn new(store: Shared, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Keeps what is asked for, unless it was asked for already.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn ask(&self, request: &Request) -> Result<Asking, store::Error> {
        let key = request.key();
        if self.store.get(&refusal_name(key)).await?.is_some() {
            return Ok(Asking::Refused);
        }
        let record = written(&request_name(key), request)?;
        let is_new = self.store.put_if_absent(&request_name(key), &record, request.waits_until()).await?;
        Ok(if is_new { Asking::New } else { Asking::Waiting })
    }

    /// Forgets a request that reached none of the owners, so that it can be made again.
    ///
    /// # Errors
    /// When the store cannot remove it.
    pub async fn withdraw(&self, key: Key) -> Result<(), store::Error> {
        self.store.remove(&request_name(key)).await
    }

    /// What is known of a request.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn find(&self, key: Key) -> Result<State, store::Error> {
        let name = request_name(key);
        if let Some(record) = self.store.get(&name).await? {
            return read(&name, &record).map(State::Open);
        }
        let name = refusal_name(key);
        match self.store.get(&name).await? {
            Some(record) => read(&name, &record).map(State::Refused),
            None => Ok(State::None),
        }
    }

    /// Takes an open request to answer it: of several owners only one gets it.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn take(&self, key: Key) -> Result<Option<Request>, store::Error> {
        let name = request_name(key);
        self.store.take(&name).await?.map(|record| read(&name, &record)).transpose()
    }

    /// Puts back what was taken and could not be answered.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn put_back(&self, request: &Request) -> Result<(), store::Error> {
        let name = request_name(request.key());
        self.store.put(&name, &written(&name, request)?, request.waits_until()).await
    }

    /// Remembers that `by` said no to a request that was taken.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn refuse(&self, request: Request, by: EmailAddress) -> Result<(), store::Error> {
        let at = self.clock.now();
        let name = refusal_name(request.key());
        self.store.put(&name, &written(&name, &Refusal { request, by, at })?, at.plus(REFUSED)).await
    }
}

/// How long an owner lets somebody pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// For an hour.
    Hour,
    /// For a day.
    Day,
    /// Until the grant is revoked.
    Always,
    /// Not at all.
    No,
}

impl Answer {
    /// In the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Always, Self::No];

    /// The word for it in forms and links.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Always => "always",
            Self::No => "no",
        }
    }

    /// The answer by its word.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.word() == word)
    }

    /// When a grant ends that is given with this answer at `now`; nothing for a no.
    pub fn ends(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Hour => Some(now.plus(Duration::from_secs(3600))),
            Self::Day => Some(now.plus(Duration::from_secs(86_400))),
            Self::Always => Some(Timestamp::NEVER),
            Self::No => None,
        }
    }
}

fn written<T: Serialize>(name: &str, value: &T) -> Result<Vec<u8>, store::Error> {
    serde_json::to_vec(value).map_err(|_| store::Error::Corrupt(name.to_owned()))
}

fn read<T: for<'de> Deserialize<'de>>(name: &str, record: &[u8]) -> Result<T, store::Error> {
    serde_json::from_slice(record).map_err(|_| store::Error::Corrupt(name.to_owned()))
}

fn request_name(key: Key) -> String {
    format!("grant_request:{}", key.to_text())
}

fn refusal_name(key: Key) -> String {
    format!("grant_refusal:{}", key.to_text())
}
