//! Grants: one address may pass one route until a moment, because an owner of the route or the operator said so.
//!
//! A grant is as good as an allow rule that names the address. It ends by itself, and whoever ends it sooner is heard by
//! every instance. What is asked for and not answered yet is in `request`; who is asked is the portal's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::identity::EmailAddress;
use crate::secret::{base64url, from_base64url, sha256};
use crate::store::{self, Announcement, Shared};

pub mod request;

/// What is known of a grant, or that there is none, is believed this long before the store is asked again: what bounds
/// the end of one that no announcement reached.
const FRESH: Duration = Duration::from_secs(5);
/// At most so many pairs of an address and a route are remembered.
const MOST_GRANTS: u64 = 20_000;
/// The index of all grants.
const ALL: &str = "grants";
/// What is announced of a grant that was given or ended.
const CHANGED: &str = "grant_changed:";
/// Bytes of the hash that the name by which a grant is shown has, in hexadecimal digits.
const ID_BYTES: usize = 6;

/// What the store calls a grant: address and route, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// That of the grant of `address` for the route of that name.
    pub fn of(address: &EmailAddress, route: &str) -> Self {
        // No address has a line break, so that no two pairs are one text.
        Self(sha256(format!("{address}\n{route}").as_bytes()))
    }

    /// The name by which operators mean the grant.
    pub fn id(self) -> String {
        self.0.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// As links have it.
    pub fn to_text(self) -> String {
        base64url(&self.0)
    }

    /// The key of that text, if it is one.
    pub fn from_text(text: &str) -> Option<Self> {
        from_base64url(text)?.try_into().ok().map(Self)
    }
}

/// The store cannot say what is granted.
#[derive(Debug, thiserror::Error)]
#[error("look a grant up")]
pub struct Unknown(#[from] store::Error);

/// Who gave a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Giver {
    /// Whoever runs the gateway.
    Operator,
    /// An owner of the route.
    Owner(EmailAddress),
}

/// As lists show it.
impl fmt::Display for Giver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Owner(address) => write!(f, "{address}"),
        }
    }
}

/// Leave for one address to pass one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who may pass.
    pub address: EmailAddress,
    /// The name of the route.
    pub route: String,
    /// Who said so.
    pub given_by: Giver,
    /// When.
    pub given_at: Timestamp,
    /// When it ends; [`Timestamp::NEVER`] where it does not by itself.
    pub expires_at: Timestamp,
}

impl Grant {
    /// What the store calls it.
    pub fn key(&self) -> Key {
        Key::of(&self.address, &self.route)
    }

    /// Whether it lets `address` pass the route of that name at `now`.
    pub fn admits(&self, address: &EmailAddress, route: &str, now: Timestamp) -> bool {
        self.address == *address && self.route == route && now < self.expires_at
    }
}

/// What is known of one pair of address and route.
struct Held {
    grant: Option<Arc<Grant>>,
    fresh_until: Timestamp,
}

/// Every grant of the gateway.
pub struct Grants {
    store: Shared,
    clock: Clock,
    held: Cache<Key, Held>,
}

impl Grants {
    /// Those in the store. Nothing is read before the first call.
    pub fn new(store: Shared, clock: Clock) -> Arc<Self> {
        Arc::new(Self { store, clock, held: Cache::new(MOST_GRANTS) })
    }

    /// The grant of `address` for the route of that name. It may have ended since it was remembered: see
    /// [`Grant::admits`].
    ///
    /// # Errors
    /// When the store cannot answer, and nothing fresh is known.
    pub async fn find(&self, address: &EmailAddress, route: &str) -> Result<Option<Arc<Grant>>, Unknown> {
        let (key, now) = (Key::of(address, route), self.clock.now());
        if let Some(held) = self.held.get(key).await.filter(|held| now < held.fresh_until) {
            return Ok(held.grant.clone());
        }
        let load = async |held: Option<Arc<Held>>| {
            if let Some(held) = held.filter(|held| now < held.fresh_until) {
                return Ok(Some(held));
            }
            let grant = self.read(key).await?.map(Arc::new);
            Ok::<_, store::Error>(Some(Arc::new(Held { grant, fresh_until: now.plus(FRESH) })))
        };
        Ok(self.held.load(key, load).await?.and_then(|held| held.grant.clone()))
    }

    /// Gives a grant, in place of one that the address has for the route.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn give(&self, grant: &Grant) -> Result<(), store::Error> {
        let (key, name) = (grant.key().to_text(), record_name(grant.key()));
        let record = serde_json::to_vec(grant).map_err(|_| store::Error::Corrupt(name.clone()))?;
        // What is in no list could not be ended.
        self.store.index_add(ALL, &key, grant.expires_at).await?;
        self.store.put(&name, &record, grant.expires_at).await?;
        self.store.announce(&format!("{CHANGED}{key}")).await?;
        self.held.forget(grant.key()).await;
        Ok(())
    }

    /// Ends a grant, on every instance at once.
    ///
    /// # Errors
    /// When the store cannot remove it: then it goes on, and nobody is told that it ended.
    pub async fn revoke(&self, key: Key) -> Result<(), store::Error> {
        self.store.remove(&record_name(key)).await?;
        self.store.announce(&format!("{CHANGED}{}", key.to_text())).await?;
        self.held.forget(key).await;
        self.store.index_remove(ALL, &key.to_text()).await
    }

    /// Every grant, by address and route.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn all(&self) -> Result<Vec<Grant>, store::Error> {
        let mut grants = Vec::new();
        for key in self.store.index_members(ALL).await?.iter().filter_map(|member| Key::from_text(member)) {
            grants.extend(self.read(key).await?);
        }
        grants.sort_by(|one, other| (one.address.as_str(), &one.route).cmp(&(other.address.as_str(), &other.route)));
        Ok(grants)
    }

    /// Forgets what is given or ended elsewhere, for as long as the store can be listened to.
    ///
    /// # Errors
    /// When the store cannot be listened to at all.
    pub async fn listen(&self) -> Result<(), store::Error> {
        let mut heard = self.store.announcements().await?;
        // Whatever was announced before this moment did not reach us.
        self.held.forget_all();
        while let Some(announcement) = heard.recv().await {
            match announcement {
                Announcement::Missed => self.held.forget_all(),
                Announcement::Message(message) => {
                    if let Some(key) = message.strip_prefix(CHANGED).and_then(Key::from_text) {
                        self.held.forget(key).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// The grant of a key, as the store has it.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn read(&self, key: Key) -> Result<Option<Grant>, store::Error> {
        let name = record_name(key);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        serde_json::from_slice(&record).map(Some).map_err(|_| store::Error::Corrupt(name))
    }
}

fn record_name(key: Key) -> String {
    format!("grant:{}", key.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    const ROUTE: &str = "app.example.com/wiki";
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn an_hour(text: &str) -> Grant {
        Grant {
            address: address(text),
            route: ROUTE.to_owned(),
            given_by: Giver::Operator,
            given_at: NOW,
            expires_at: NOW.plus(Duration::from_secs(3600)),
        }
    }

    #[test]
    fn a_grant_is_for_one_address_one_route_and_a_time() {
        let (grant, ada) = (an_hour("ada@example.com"), address("ada@example.com"));
        let end = grant.expires_at;
        let check = |address: &EmailAddress, route: &str, now: Timestamp, expected: bool| {
            assert_eq!(grant.admits(address, route, now), expected, "{address} {route} {now}");
        };
        check(&ada, ROUTE, NOW, true);
        check(&ada, ROUTE, end.minus(Duration::from_millis(1)), true);
        check(&ada, ROUTE, end, false);
        check(&ada, "app.example.com/wiki/x", NOW, false);
        check(&address("eve@example.com"), ROUTE, NOW, false);
        let always = Grant { expires_at: Timestamp::NEVER, ..grant.clone() };
        assert!(always.admits(&ada, ROUTE, NOW.plus(Duration::from_secs(1_000_000_000))));
        assert_ne!(Key::of(&ada, "x"), Key::of(&ada, "y"));
    }

    #[tokio::test]
    async fn a_grant_is_kept_listed_and_ends_by_itself_or_sooner() {
        let clock = Clock::manual(NOW);
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let grants = Grants::new(Arc::clone(&store), clock.clone());
        let (ada, bob) = (an_hour("ada@example.com"), an_hour("bob@example.com"));
        assert_eq!(grants.find(&ada.address, ROUTE).await.unwrap(), None);
        // That there is none was remembered.
        grants.give(&bob).await.unwrap();
        grants.give(&ada).await.unwrap();
        assert_eq!(grants.find(&ada.address, ROUTE).await.unwrap().as_deref(), Some(&ada));
        assert_eq!(grants.all().await.unwrap(), [ada.clone(), bob.clone()]);
        grants.revoke(ada.key()).await.unwrap();
        assert_eq!(grants.find(&ada.address, ROUTE).await.unwrap(), None);
        assert_eq!(grants.all().await.unwrap(), std::slice::from_ref(&bob));
        clock.set(bob.expires_at);
        assert_eq!(grants.find(&bob.address, ROUTE).await.unwrap(), None);
        assert_eq!(grants.all().await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_no_announcement_tells_is_known_within_seconds() {
        let clock = Clock::manual(NOW);
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let (here, there) =
            (Grants::new(Arc::clone(&store), clock.clone()), Grants::new(Arc::clone(&store), clock.clone()));
        let ada = an_hour("ada@example.com");
        there.give(&ada).await.unwrap();
        assert!(here.find(&ada.address, ROUTE).await.unwrap().is_some());
        there.revoke(ada.key()).await.unwrap();
        assert!(here.find(&ada.address, ROUTE).await.unwrap().is_some(), "nobody listens");
        clock.advance(FRESH);
        assert!(here.find(&ada.address, ROUTE).await.unwrap().is_none());
    }
}
