//! The client of Mosaic's API, which the built-in issuer speaks as well.
//!
//! One type, one method per call. Everything that it gives back was verified; why a call failed is in [`Error`].
//! When to call, and what a visitor is told, is decided elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::{Clock, Timestamp};

mod call;
mod client_token;
mod connection;
mod error;
pub mod id_token;
mod key_set;
mod login;
mod magic_link;
mod one_time_code;
mod probe;
mod sessions;
mod signed_in;
mod single_flight;
mod users;
mod wire;

pub use call::Timeouts;
pub use connection::{BadConnection, Connection};
pub use error::Error;
pub use login::{ClaimsRequest, Device, Login, Wording};
pub use magic_link::{EmailContent, SendMagicLink, Sent};
pub use one_time_code::SendCode;
pub use probe::{ClientClaims, KeySetFound, MadeUpToken};
pub use sessions::ListedSession;
pub use signed_in::{Refreshed, SignedIn};
pub use users::{NewName, NewUser, User, UserPage, UserStatus};

use call::{ANSWER_LIMIT, Answer, Http, Repeat};
use client_token::ClientTokens;
use connection::below;
use key_set::KeySet;

/// `[mosaic]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The region of the tenant; it decides host, issuer and key set.
    pub region: Option<Region>,
    /// The API under another host: a tenant's own domain, or another program that speaks this API.
    pub base_url: Option<Url>,
    /// The `iss` of the tokens, where it is not the region's.
    pub issuer: Option<String>,
    /// Where the keys of the tokens are, where it is not `/cis/oidc/jwks` of the API.
    pub key_set_url: Option<Url>,
    /// Where client access tokens are had, where it is not `/oidc/token` of the API.
    pub token_url: Option<Url>,
    /// The client of the tenant's application.
    pub client_id: Option<String>,
    /// The file that holds the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds the client's secret.
    pub client_secret_env: Option<String>,
    /// The `tid` of the tokens; with it, those of another tenant are refused.
    pub tenant_id: Option<String>,
    /// The resource of the application that access tokens are for; it becomes their `aud`.
    pub resource: Option<String>,
    /// The organisation that everybody signs in to.
    pub organization: Option<String>,
    /// The organisation that is signed in to on a host.
    pub organization_by_host: BTreeMap<String, String>,
    /// Whether a link to the sign-in page may name the organisation.
    pub organization_from_link: bool,
    /// Whose texts the mails have.
    pub email_template: EmailTemplate,
    /// Names addresses as `email`, which older versions of the API know instead of `identifier`.
    pub legacy_email_field: bool,
    /// Has Mosaic tie each login to the send before it by an ID.
    pub request_ids: bool,
    /// Tells Mosaic a lasting name of the browser.
    pub device_ids: bool,
}

/// Whose texts the mails have that Mosaic sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmailTemplate {
    /// Those of the gateway, in its theme.
    #[default]
    Gateway,
    /// Those of the tenant.
    Tenant,
}

/// Where a Mosaic tenant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Mosaic's own")]
pub enum Region {
    Us,
    Eu,
    Ca,
    Au,
    Jp,
    Sandbox,
}

/// Calls Mosaic as one client of one tenant. Clones share connections, the client's token and the key set.
#[derive(Clone)]
pub struct Mosaic(Arc<Inner>);

struct Inner {
    connection: Connection,
    clock: Clock,
    http: Http,
    client_tokens: Arc<ClientTokens>,
    keys: Arc<KeySet>,
}

impl Mosaic {
    /// A client that has not called yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    ///
    /// # Panics
    /// When the process has no TLS provider (`rustls::crypto::CryptoProvider::install_default`).
    pub fn new(connection: Connection, clock: Clock) -> Result<Self, Error> {
        Self::with_timeouts(connection, clock, Timeouts::default())
    }

    /// The same with other patience.
    ///
    /// # Errors
    /// As [`Mosaic::new`].
    pub fn with_timeouts(connection: Connection, clock: Clock, timeouts: Timeouts) -> Result<Self, Error> {
        let urls = [&connection.base_url, &connection.token_url, &connection.key_set_url];
        let http = Http::new(&urls, timeouts, clock.clone())?;
        let client_tokens = ClientTokens::new(&connection, http.clone(), clock.clone());
        let keys = KeySet::new(connection.key_set_url.clone(), http.clone(), clock.clone());
        Ok(Self(Arc::new(Inner { connection, clock, http, client_tokens, keys })))
    }

    /// Whether a sign-in could work now: our client is accepted and tokens can be verified. Both are remembered, so
    /// asking often is cheap.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn probe(&self) -> Result<(), Error> {
        self.0.client_tokens.get().await?;
        self.0.keys.ready().await
    }

    /// Whether Mosaic is worth a call: false for five seconds after it was out of reach or broken, until a call works.
    pub fn is_reachable(&self) -> bool {
        self.0.http.is_reachable()
    }

    /// Makes a call with our client's token. One that Mosaic no longer accepts is replaced once.
    async fn call(
        &self,
        call: &'static str,
        repeat: Repeat,
        request: impl Fn(&Http) -> reqwest::RequestBuilder,
    ) -> Result<Answer, Error> {
        self.call_up_to(ANSWER_LIMIT, call, repeat, request).await
    }

    /// The same, for an answer of at most `limit` bytes.
    async fn call_up_to(
        &self,
        limit: usize,
        call: &'static str,
        repeat: Repeat,
        request: impl Fn(&Http) -> reqwest::RequestBuilder,
    ) -> Result<Answer, Error> {
        let Inner { http, client_tokens, .. } = &*self.0;
        let token = client_tokens.get().await?;
        let with = |token: &str| request(http).bearer_auth(token);
        let answer = http.send(call, repeat, limit, || with(token.expose())).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        client_tokens.forget(&token);
        let token = client_tokens.get().await?;
        http.send(call, repeat, limit, || with(token.expose())).await
    }

    fn wording(&self) -> &Wording {
        &self.0.connection.wording
    }

    fn connection(&self) -> &Connection {
        &self.0.connection
    }

    fn keys(&self) -> &Arc<KeySet> {
        &self.0.keys
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}
