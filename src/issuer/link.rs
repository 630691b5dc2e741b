//! Magic links: `send` makes one and mails it, the link page turns it into a code, `authenticate` redeems the code.
//!
//! A link may be pressed more than once, so that a scanner that presses buttons burns nothing; it is used up when
//! the first of its codes is redeemed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::users::Proof;
use super::{Inner, one_time_code, records};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::secret::{Seal, Secret, fingerprint, random_token};
use crate::store;

pub(super) mod calls;

/// A code lives this long at most (RFC 6749 section 4.1.2) …
const CODE_LIFETIME: Duration = Duration::from_secs(600);
/// … and outlives its link by no more than this: who presses in the last second still arrives.
const CODE_GRACE: Duration = Duration::from_secs(60);
/// Codes that one link may make in a minute.
const CODES_PER_MINUTE: u64 = 20;

/// A link that was mailed. Sealed under its own token, so the store alone shows neither `state` nor target.
#[derive(Serialize, Deserialize)]
pub(super) struct Link {
    user_id: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    request_id: Option<String>,
    /// What redeeming it shows about the user.
    #[serde(default)]
    proof: Proof,
    pub(super) asked_at: Timestamp,
    expires_at: Timestamp,
    pub(super) agent: Agent,
}

/// What has become of a link.
pub(super) enum Found {
    /// It works.
    Live(Box<Link>),
    /// One of its codes was redeemed.
    Used(Box<Link>),
    /// It never was, or its time is over.
    Gone,
}

/// What a code opens.
#[derive(Serialize, Deserialize)]
struct Code {
    /// The link's name in the store.
    link: String,
    user_id: String,
    client_id: String,
    request_id: Option<String>,
    #[serde(default)]
    proof: Proof,
    expires_at: Timestamp,
    link_expires_at: Timestamp,
}

fn link_key(name: &str) -> String {
    format!("issuer/link/{name}")
}

fn code_key(code: &str) -> String {
    format!("issuer/code/{}", fingerprint(code))
}

/// Leads from a redeemed code to the session that it opened.
/// What became of a code.
#[derive(Serialize, Deserialize)]
struct Spent {
    client_id: String,
    /// The session's name in the store.
    session: String,
}

fn spent_key(code: &str) -> String {
    format!("issuer/spent/{}", fingerprint(code))
}

fn seal(token: &str) -> Seal {
    Seal::new(token.as_bytes(), "issuer link")
}

impl Inner {
    /// Keeps the link and gives the token that leads to it.
    async fn make_link(&self, link: &Link) -> Result<Secret<String>, store::Error> {
        let token = random_token();
        let key = link_key(&fingerprint(token.expose()));
        let sealed = seal(token.expose()).close(&key, &records::write(link));
        self.store.put(&key, &sealed, link.expires_at).await?;
        Ok(token)
    }

    /// What a token from a mail leads to. Changes nothing.
    pub(super) async fn find_link(&self, token: &str) -> Result<Found, store::Error> {
        let name = fingerprint(token);
        let key = link_key(&name);
        let Some(sealed) = self.store.get(&key).await? else { return Ok(Found::Gone) };
        let is_used = self.store.get(&one_time_code::used_key(&name)).await?.is_some();
        let opened = seal(token).open(&key, &sealed).map_err(|_| store::Error::Corrupt(key.clone()))?;
        let link = serde_json::from_slice(&opened).map(Box::new).map_err(|_| store::Error::Corrupt(key))?;
        Ok(if is_used { Found::Used(link) } else { Found::Live(link) })
    }

    /// A fresh code for a link; `None` when it has made too many just now.
    pub(super) async fn make_code(&self, token: &str, link: &Link) -> Result<Option<Secret<String>>, store::Error> {
        let name = fingerprint(token);
        let pressed = self.store.count(&format!("issuer/link_codes/{name}"), Duration::from_secs(60)).await?;
        if pressed.events > CODES_PER_MINUTE {
            return Ok(None);
        }
        let code = random_token();
        let expires_at = self.clock.now().plus(CODE_LIFETIME).min(link.expires_at.plus(CODE_GRACE));
        let record = Code {
            link: name,
            user_id: link.user_id.clone(),
            client_id: link.client_id.clone(),
            request_id: link.request_id.clone(),
            proof: link.proof.clone(),
            expires_at,
            link_expires_at: link.expires_at,
        };
        records::save(self.store.as_ref(), &code_key(code.expose()), &record, expires_at).await?;
        Ok(Some(code))
    }

    /// Ends what a code opened that its client now shows for a second time (RFC 6749 section 4.1.2).
    async fn end_what_it_opened(&self, code: &str, client: &Client) -> Result<(), store::Error> {
        let spent = records::load::<Spent>(self.store.as_ref(), &spent_key(code)).await?;
        if let Some(spent) = spent.filter(|spent| spent.client_id == client.id) {
            tracing::warn!("a code was used twice: its session is ended");
            self.end_session(&spent.session).await?;
        }
        Ok(())
    }

    /// Takes the code, and the link with it: of all codes and all callers one gets through.
    async fn spend_code(&self, code: &str, link: &str) -> Result<bool, store::Error> {
        let Some(taken) = records::take::<Code>(self.store.as_ref(), &code_key(code)).await? else { return Ok(false) };
        self.use_up(link, taken.link_expires_at).await
    }
}
