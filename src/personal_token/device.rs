//! Signing a terminal in (in the manner of RFC 8628): the terminal shows a short code, and its user types that into a
//! browser in which they are signed in. Both codes are hashed in the store, and each is good once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::identity::Identity;
use crate::secret::{self, Secret, fingerprint, random_token};
use crate::store::{self, Shared};

/// How long the codes are good for.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// How often the terminal may ask.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Letters that make no words and are not taken for one another (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 8;

/// What a terminal asks for, and where it is, for its user to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The name of the token.
    pub name: String,
    /// The routes that it shall be good for; none for all.
    pub routes: Vec<String>,
    /// How long it shall be good for.
    pub minutes: u64,
    /// The address that the terminal asks from.
    pub client: String,
    /// What it calls itself.
    pub agent: String,
}

/// The codes of a terminal that asks.
pub struct Codes {
    /// What the terminal keeps.
    pub device: Secret<String>,
    /// What its user types: `BCDF-GHJK`.
    pub user: String,
}

#[derive(Serialize, Deserialize)]
enum State {
    Pending,
    Denied,
    Granted { identity: Box<Identity>, signed_in_at: Timestamp },
}

#[derive(Serialize, Deserialize)]
struct Record {
    asked: Asked,
    expires_at: Timestamp,
    state: State,
}

/// What a terminal hears when it asks.
pub enum Poll {
    /// Its user has not decided.
    Pending,
    /// It asks too often.
    TooSoon,
    /// Its user said no.
    Denied,
    /// There is no such code, or no more.
    Gone,
    /// Its user said yes. Nobody hears this a second time.
    Granted {
        /// What was asked for.
        asked: Asked,
        /// Who said it.
        identity: Box<Identity>,
        /// When they last proved who they are.
        signed_in_at: Timestamp,
    },
}

/// A terminal that waits for its user's word.
pub struct Waiting {
    /// What it asks for.
    pub asked: Asked,
    user_name: String,
    name: String,
    expires_at: Timestamp,
}

/// Every terminal that asks.
pub struct Devices {
    store: Shared,
    clock: Clock,
}

impl Devices {
    /// Those in the store.
    pub const fn new(store: Shared, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Begins for a terminal.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn begin(&self, asked: Asked) -> Result<Codes, store::Error> {
        let codes = Codes { device: random_token(), user: random_user_code() };
        let (name, expires_at) = (device_name(codes.device.expose()), self.clock.now().plus(LIFETIME));
        self.store.put(&name, &bytes(&name, &Record { asked, expires_at, state: State::Pending })?, expires_at).await?;
        self.store.put(&user_name(&codes.user), name.as_bytes(), expires_at).await?;
        Ok(codes)
    }

    /// The terminal that shows a code, as somebody typed it.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn find(&self, typed: &str) -> Result<Option<Waiting>, store::Error> {
        let Some(code) = read_user_code(typed) else { return Ok(None) };
        let user_name = user_name(&code);
        let Some(name) = self.store.get(&user_name).await?.and_then(|name| String::from_utf8(name).ok()) else {
            return Ok(None);
        };
        let Some(Record { asked, expires_at, state: State::Pending }) = self.record(&name).await? else {
            return Ok(None);
        };
        Ok(Some(Waiting { asked, user_name, name, expires_at }))
    }

    /// Lets a terminal have what it asks for. Says whether it still could.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn grant(
        &self,
        waiting: Waiting,
        identity: Identity,
        signed_in_at: Timestamp,
    ) -> Result<bool, store::Error> {
        self.decide(waiting, State::Granted { identity: Box::new(identity), signed_in_at }).await
    }

    /// Turns a terminal away. Says whether it still could.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn deny(&self, waiting: Waiting) -> Result<bool, store::Error> {
        self.decide(waiting, State::Denied).await
    }

    async fn decide(&self, waiting: Waiting, state: State) -> Result<bool, store::Error> {
        let Waiting { asked, user_name, name, expires_at } = waiting;
        // Of several who type the code, one decides.
        if self.store.take(&user_name).await?.is_none() {
            return Ok(false);
        }
        let record = bytes(&name, &Record { asked, expires_at, state })?;
        self.store.replace(&name, &record, expires_at).await
    }

    /// What a terminal hears.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn poll(&self, device_code: &str) -> Result<Poll, store::Error> {
        let name = device_name(device_code);
        let Some(record) = self.record(&name).await? else { return Ok(Poll::Gone) };
        // A little less than what is said, as the network is not that exact.
        if self.store.count(&format!("{name}:polls"), INTERVAL / 2).await?.events > 1 {
            return Ok(Poll::TooSoon);
        }
        if matches!(record.state, State::Pending) {
            return Ok(Poll::Pending);
        }
        let Some(taken) = self.store.take(&name).await? else { return Ok(Poll::Gone) };
        let Record { asked, state, .. } = read(&name, &taken)?;
        Ok(match state {
            State::Granted { identity, signed_in_at } => Poll::Granted { asked, identity, signed_in_at },
            State::Denied | State::Pending => Poll::Denied,
        })
    }

    async fn record(&self, name: &str) -> Result<Option<Record>, store::Error> {
        self.store.get(name).await?.map(|record| read(name, &record)).transpose()
    }
}

fn device_name(code: &str) -> String {
    format!("device:{}", fingerprint(code))
}

fn user_name(code: &str) -> String {
    format!("device_code:{}", fingerprint(code))
}

fn bytes(name: &str, record: &Record) -> Result<Vec<u8>, store::Error> {
    serde_json::to_vec(record).map_err(|_| store::Error::Corrupt(name.to_owned()))
}

fn read(name: &str, record: &[u8]) -> Result<Record, store::Error> {
    serde_json::from_slice(record).map_err(|_| store::Error::Corrupt(name.to_owned()))
}

fn random_user_code() -> String {
    let bytes = std::iter::repeat_with(secret::random_bytes::<1>).flatten();
    // The bytes above are left out, so that every letter is as likely as another.
    let fair = bytes.filter(|byte| *byte < 240);
    let letters = fair.filter_map(|byte| LETTERS.get(usize::from(byte) % LETTERS.len()).copied().map(char::from));
    with_hyphen(&letters.take(CODE_LETTERS).collect::<String>())
}

fn with_hyphen(letters: &str) -> String {
    let (first, second) = letters.split_at(letters.len() / 2);
    format!("{first}-{second}")
}

/// Reads a code however it is typed; `None` when it cannot be one.
fn read_user_code(typed: &str) -> Option<String> {
    let letters: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_LETTERS + 1).collect();
    let letters = letters.to_ascii_uppercase();
    let is_code = letters.len() == CODE_LETTERS && letters.bytes().all(|letter| LETTERS.contains(&letter));
    is_code.then(|| with_hyphen(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_however_they_are_typed() {
        let check = |typed: &str, expected: Option<&str>| {
            assert_eq!(read_user_code(typed).as_deref(), expected, "{typed:?}");
        };
        check("BCDF-GHJK", Some("BCDF-GHJK"));
        check(" bcdf ghjk ", Some("BCDF-GHJK"));
        check("b-c-d-f-g-h-j-k", Some("BCDF-GHJK"));
        check("BCDF-GHJ", None);
        check("BCDF-GHJKL", None);
        check("ABCD-FGHJ", None);
        check("", None);
    }

    #[test]
    fn codes_are_made_as_they_are_read() {
        let codes: Vec<String> = std::iter::repeat_with(random_user_code).take(200).collect();
        for code in &codes {
            assert_eq!(read_user_code(code).as_ref(), Some(code));
        }
        let letters: std::collections::BTreeSet<u8> = codes.iter().flat_map(|code| code.bytes()).collect();
        assert_eq!(letters.len(), LETTERS.len() + 1, "every letter comes up");
    }
}
