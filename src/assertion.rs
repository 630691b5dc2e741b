//! Signed assertions: what an upstream can check for itself about who a visitor is. One is minted for a visitor and a
//! route, and kept until it is due. The keys and their course of time are `keys`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::credential::{By, Named, Visitor};
use crate::identity::{EmailAddress, Identity, Subject};
use crate::origin::Origin;
use crate::setting::Span;
use crate::store::{self, Shared};

mod cache;
mod claims;
mod keys;
mod wrong;

use cache::{Cache, Minted};
use claims::Claims;
pub use keys::{CACHED_FOR, KeySet, rotate};
use keys::{KeyRing, SigningKey};
pub use wrong::Wrong;

/// `[assertion]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Under whose name for it an assertion goes out.
    pub preset: Preset,
    /// How long an assertion is good.
    pub lifetime: Span,
    /// How long one key signs.
    pub key_lifetime: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { preset: Preset::XLinkgate, lifetime: Span::minutes(5), key_lifetime: Span::days(30) }
    }
}

/// The name of the header, which applications may know from another product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `X-Linkgate-Assertion`
    #[default]
    XLinkgate,
    /// `Cf-Access-Jwt-Assertion`
    CfAccess,
    /// `X-Pomerium-Jwt-Assertion`
    XPomerium,
}

impl Preset {
    /// The header.
    pub const fn header(self) -> HeaderName {
        match self {
            Self::XLinkgate => HeaderName::from_static("x-linkgate-assertion"),
            Self::CfAccess => HeaderName::from_static("cf-access-jwt-assertion"),
            Self::XPomerium => HeaderName::from_static("x-pomerium-jwt-assertion"),
        }
    }
}

/// Why there is no assertion.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer.
    #[error("read or write the keys of assertions")]
    Store(#[from] store::Error),
    /// The store did not answer a moment ago, and no key is known.
    #[error("have a key for assertions: the store did not answer a moment ago")]
    NoKey,
    /// No key could be generated.
    #[error("generate a P-256 key")]
    Generate,
    /// A stored key is not a P-256 private key, or signing with it fails.
    #[error("use a P-256 key")]
    Unusable(#[from] jsonwebtoken::errors::Error),
    /// Another instance changes the keys at this moment.
    #[error("change the keys of assertions while another instance does; try again in a minute")]
    Busy,
    /// Even without its lists an assertion is too long for a header.
    #[error("write an assertion: the visitor's names are too long for a header")]
    TooLong,
}

/// An assertion longer than this leaves out its lists: the bound that common servers set for one field.
const MOST_BYTES: usize = 8 * 1024;

/// Mints assertions, and keeps them until they are due.
pub struct Assertions {
    ring: Arc<KeyRing>,
    minted: Cache,
    clock: Clock,
    issuer: String,
    preset: Preset,
    lifetime: Duration,
}

impl Assertions {
    /// Assertions in the name of the gateway at `public_url`. The store is not asked before the first is wanted.
    pub fn new(store: &Shared, clock: &Clock, tasks: &TaskTracker, public_url: &Origin, config: &Config) -> Arc<Self> {
        let ring = KeyRing::new(store, clock, tasks, config.key_lifetime.0);
        Arc::new(Self::with(ring, clock.clone(), public_url, config))
    }

    /// The same by another configuration; the keys that are known stay known.
    pub fn next(&self, public_url: &Origin, config: &Config) -> Arc<Self> {
        let ring = self.ring.with_lifetime(config.key_lifetime.0);
        Arc::new(Self::with(ring, self.clock.clone(), public_url, config))
    }

    fn with(ring: KeyRing, clock: Clock, public_url: &Origin, config: &Config) -> Self {
        let issuer = public_url.to_string();
        let (preset, lifetime) = (config.preset, config.lifetime.0);
        Self { ring: Arc::new(ring), minted: Cache::new(lifetime), clock, issuer, preset, lifetime }
    }

    /// The header that carries them.
    pub const fn header(&self) -> HeaderName {
        self.preset.header()
    }

    /// The assertion of `visitor` for the route of this name: the one that was minted before, unless it is due or says
    /// something else than is known now.
    ///
    /// # Errors
    /// When no key is known and the store has none, or the visitor's names are too long.
    pub async fn of(&self, visitor: &Visitor, route: &str) -> Result<HeaderValue, Error> {
        let now = self.clock.now();
        let keys = self.ring.current(now).await?;
        let name = format!("{} {route}", name_of(visitor));
        if let Some(minted) = self.minted.find(&name).await
            && now < minted.due_at
            && minted.signed_in_at == visitor.signed_in_at()
            && minted.identity == *visitor.identity()
            && keys.find(&minted.key_id).is_some()
        {
            return Ok(minted.value.clone());
        }
        let key = keys.signing(now).ok_or(Error::NoKey)?;
        let value = self.mint(key, visitor, route, now)?;
        let minted = Minted {
            value: value.clone(),
            due_at: now.plus(self.lifetime).minus(self.spare()),
            identity: visitor.identity().clone(),
            signed_in_at: visitor.signed_in_at(),
            key_id: key.id.clone(),
        };
        self.minted.keep(name, minted).await;
        Ok(value)
    }

    /// What upstreams check assertions by (RFC 7517 section 5).
    ///
    /// # Errors
    /// As [`Assertions::of`].
    pub async fn key_set(&self) -> Result<KeySet, Error> {
        self.ring.key_set(self.clock.now()).await
    }

    /// Assertions for the route of this name that an application must refuse, each for a reason of its own.
    ///
    /// # Errors
    /// As [`Assertions::of`].
    pub async fn wrong_ones(&self, visitor: &Visitor, route: &str) -> Result<Vec<Wrong>, Error> {
        let now = self.clock.now();
        let keys = self.ring.current(now).await?;
        let key = keys.signing(now).ok_or(Error::NoKey)?;
        wrong::all(&self.claims(visitor, route, now), key, now)
    }

    fn mint(&self, key: &SigningKey, visitor: &Visitor, route: &str, now: Timestamp) -> Result<HeaderValue, Error> {
        let full = self.claims(visitor, route, now);
        for claims in [full.clone(), full.without_lists(), full.without_names()] {
            let signed = key.sign(&claims)?;
            if signed.len() <= MOST_BYTES {
                let mut value = HeaderValue::from_str(&signed).map_err(|_| Error::TooLong)?;
                // Whoever has it is believed, so an upstream in HTTP/2 is not to keep it (RFC 7541 section 7.1.3).
                value.set_sensitive(true);
                return Ok(value);
            }
            tracing::warn!(route, assertion.bytes = signed.len(), "an assertion would pass 8 KiB and leaves out lists");
        }
        Err(Error::TooLong)
    }

    fn claims<'a>(&'a self, visitor: &'a Visitor, route: &'a str, now: Timestamp) -> Claims<'a> {
        let claims = Claims::new(&self.issuer, route, visitor, now, now.plus(self.lifetime));
        if self.preset == Preset::XPomerium { claims.with_user() } else { claims }
    }

    /// How long an assertion is still good, at the least, when an upstream gets it.
    fn spare(&self) -> Duration {
        (self.lifetime / 2).min(Duration::from_secs(60))
    }
}

/// The visit that an assertion is kept for.
fn name_of(visitor: &Visitor) -> String {
    match visitor {
        Visitor::Session(live) => live.reference(),
        Visitor::Named(named) => {
            format!("{} {}", named.identity.subject, named.signed_in_at.unix_millis())
        }
    }
}

/// Somebody who is not signed in, to try an application with.
pub fn somebody(address: EmailAddress, subject: Subject, now: Timestamp) -> Visitor {
    let identity = Identity { email: Some(address), email_verified: true, ..Identity::new(subject) };
    Visitor::Named(Arc::new(Named { identity, signed_in_at: now, headers: Vec::new(), by: By::Supposition }))
}

#[cfg(test)]
mod tests;
