//! Seats: the place of a session on another host than the public one.
//!
//! Cookies stay on the host that set them, so a browser has one for each host. A seat has an ID of its own, good on its
//! host alone, and leads to the session, which decides about everything: when it is over, so are its seats. A browser gets
//! a seat for a ticket, which the public host gives to whoever is signed in there, and which is good once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::cookie::Kind;
use super::id::{Claimed, Key, SessionId};
use super::{Found, KEPT_LONGER, Live, Sessions};
use crate::secret::{self, Seal, Secret};
use crate::store;

/// How long a ticket is good: the browser is on its way.
const TICKET_LIFETIME: Duration = Duration::from_secs(60);

/// What other instances hear of a seat that was given up, before its key.
pub(super) const LEFT: &str = "seat_left:";

/// Which host a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// That of `public_url`, where visitors sign in.
    Public,
    /// Another one.
    Host(&'a str),
}

impl<'a> Place<'a> {
    /// What the MAC of a cookie covers beside its ID.
    pub(super) const fn host(self) -> &'a str {
        match self {
            Self::Public => "",
            Self::Host(host) => host,
        }
    }
}

/// What a seat or a ticket leads to.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The ID of the session, in base64url.
    session: String,
    host: String,
    /// For a ticket: the fingerprint of what the browser must show with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl Drop for Record {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.session.zeroize();
    }
}

impl Record {
    fn of(session: &SessionId, host: &str, state: Option<String>) -> Self {
        Self { session: secret::base64url(session.expose()), host: host.to_owned(), state }
    }

    fn session(&self) -> Option<SessionId> {
        secret::from_base64url(&self.session)?.try_into().ok().map(SessionId::from_bytes)
    }

    fn close(&self, seal: &Seal, name: &str) -> Vec<u8> {
        let record = Secret::new(serde_json::to_vec(self).expect("a record has string keys only"));
        seal.close(name, record.expose())
    }

    fn open(seal: &Seal, name: &str, record: &[u8]) -> Option<Self> {
        let opened = seal.open(name, record).map(Secret::new).ok()?;
        serde_json::from_slice(opened.expose()).ok()
    }
}

impl Sessions {
    /// The session behind the seat that the request's cookies name.
    pub(super) async fn find_seat(
        self: &Arc<Self>,
        headers: &HeaderMap,
        place: Place<'_>,
    ) -> Result<Found, store::Error> {
        let values = self.jar.values(Kind::Session, headers);
        let mut made = Vec::new();
        for claim in values.iter().filter_map(|value| Claimed::parse(value)) {
            if self.ring.made(&claim, place).await? {
                made.push(claim.id);
            }
        }
        let (Some(seat), true) = (made.pop(), made.is_empty()) else { return Ok(Found::None) };
        let Some(session) = self.session_of(&seat, place.host()).await? else { return Ok(Found::None) };
        match self.load(session.clone()).await? {
            Some(live) => Ok(self.check(live, self.clock.now()).await),
            None => Ok(Found::Over(self.ending(&session).await?)),
        }
    }

    /// Gives the seat up that the request's cookies name, if they do: another one comes in its place.
    ///
    /// # Errors
    /// When the store cannot remove it.
    pub async fn stand_up(&self, headers: &HeaderMap, place: Place<'_>) -> Result<(), store::Error> {
        let values = self.jar.values(Kind::Session, headers);
        for claim in values.iter().filter_map(|value| Claimed::parse(value)) {
            if self.ring.made(&claim, place).await? {
                let key = claim.id.key();
                self.store.remove(&seat_name(key)).await?;
                self.cache.seats.forget(key).await;
                self.store.announce(&format!("{LEFT}{}", key.to_text())).await?;
            }
        }
        Ok(())
    }

    /// The session that a seat leads to: from memory, else from the store.
    async fn session_of(&self, seat: &SessionId, host: &str) -> Result<Option<SessionId>, store::Error> {
        let key = seat.key();
        if let Some(session) = self.cache.seats.get(key).await {
            return Ok(Some(SessionId::clone(&session)));
        }
        let name = seat_name(key);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let record = Record::open(&seat_seal(seat), &name, &record).filter(|record| record.host == host);
        let session = record.and_then(|record| record.session());
        if let Some(session) = &session {
            self.cache.seats.keep(key, session.clone()).await;
        }
        Ok(session)
    }

    /// A ticket for a seat of `live` on `host`. Only who shows it with `state` gets one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn ticket(&self, live: &Live, host: &str, state: &str) -> Result<Secret<String>, store::Error> {
        let ticket = secret::random_token();
        let name = ticket_name(ticket.expose());
        let record = Record::of(live.id(), host, Some(secret::fingerprint(state)));
        let record = record.close(&ticket_seal(ticket.expose()), &name);
        self.store.put(&name, &record, self.clock.now().plus(TICKET_LIFETIME)).await?;
        Ok(ticket)
    }

    /// Takes a ticket and gives the seat that it is for, as the cookie that names it; nothing where the ticket is no more,
    /// was for somebody else, or its session is over.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn sit_down(
        self: &Arc<Self>,
        ticket: &str,
        host: &str,
        state: &str,
    ) -> Result<Option<HeaderValue>, store::Error> {
        let name = ticket_name(ticket);
        // Who shows it with something else does not spend it.
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let record = Record::open(&ticket_seal(ticket), &name, &record);
        let is_for_this = |record: &Record| {
            record.host == host && record.state.as_deref() == Some(secret::fingerprint(state).as_str())
        };
        let session = record.filter(is_for_this).and_then(|record| record.session());
        let Some(session) = session else { return Ok(None) };
        if self.store.take(&name).await?.is_none() {
            return Ok(None);
        }
        let Some(live) = self.load(session).await? else { return Ok(None) };
        let seat = SessionId::random();
        let (key, name) = (seat.key(), seat_name(seat.key()));
        let record = Record::of(live.id(), host, None).close(&seat_seal(&seat), &name);
        self.store.put(&name, &record, live.moments().expires_at).await?;
        self.cache.seats.keep(key, live.id().clone()).await;
        let token = self.ring.sign(&seat, Place::Host(host)).await?;
        Ok(Some(self.jar.set(Kind::Session, &token, self.lifetime.saturating_add(KEPT_LONGER))))
    }
}

fn seat_name(key: Key) -> String {
    format!("seat:{}", key.to_text())
}

fn ticket_name(ticket: &str) -> String {
    format!("ticket:{}", secret::fingerprint(ticket))
}

fn seat_seal(seat: &SessionId) -> Seal {
    Seal::new(seat.expose(), "seat")
}

fn ticket_seal(ticket: &str) -> Seal {
    Seal::new(ticket.as_bytes(), "ticket")
}
