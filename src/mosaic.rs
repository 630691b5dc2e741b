//! The client of Mosaic's API, which the built-in issuer speaks as well.
//!
//! One type, one method per call. Everything that it gives back was verified; why a call failed is in [`Error`].
//! When to call, and what a visitor is told, is decided elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::{Clock, Timestamp};
use crate::telemetry::Metrics;

mod bearer;
mod breaker;
mod call;
mod client_authentication;
mod client_token;
mod connection;
mod error;
pub mod id_token;
pub mod key_set;
mod login;
mod magic_link;
mod one_time_code;
mod pause;
mod probe;
mod sessions;
mod signed_in;
mod single_flight;
mod users;
mod wire;

pub use bearer::Bearer;
pub use call::Timeouts;
pub use client_authentication::{AssertionKey, BadFile, ClientAuthentication, ClientCertificate, Method};
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
    /// How the client proves that it is the one.
    pub client_authentication: Method,
    /// The file that holds the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds the client's secret.
    pub client_secret_env: Option<String>,
    /// The private key that signs for the client, in PEM.
    pub private_key_file: Option<PathBuf>,
    /// What Mosaic calls that key, where it is not its thumbprint.
    pub private_key_id: Option<String>,
    /// The certificate that the client shows, with its chain, in PEM.
    pub certificate_file: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub certificate_key_file: Option<PathBuf>,
    /// Authorities that are trusted beside those of the system, in PEM.
    pub certificate_authority_file: Option<PathBuf>,
    /// The `tid` of the tokens; with it, those of another tenant are refused.
    pub tenant_id: Option<String>,
    /// The resource of the application that access tokens are for; it becomes their `aud`.
    pub resource: Option<String>,
    /// The clients beside the gateway's own whose users' access tokens programs may show.
    pub bearer_clients: Vec<String>,
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

impl Config {
    /// Makes relative paths start at `directory`.
    pub fn resolve(&mut self, directory: &Path) {
        let files = [
            &mut self.client_secret_file,
            &mut self.private_key_file,
            &mut self.certificate_file,
            &mut self.certificate_key_file,
            &mut self.certificate_authority_file,
        ];
        for file in files.into_iter().flatten() {
            *file = directory.join(&*file);
        }
    }
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

/// What a visitor is to have Mosaic do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a link.
    SendLink,
    /// Send a one-time code.
    SendCode,
    /// Take a typed code.
    RedeemCode,
    /// Sign in by a session that there is.
    SignInSilently,
}

impl Step {
    const fn call(self) -> &'static str {
        match self {
            Self::SendLink => magic_link::SEND,
            Self::SendCode => one_time_code::SEND,
            Self::RedeemCode => one_time_code::AUTHENTICATE,
            Self::SignInSilently => sessions::AUTHENTICATE,
        }
    }
}

impl Mosaic {
    /// A client that has not called yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    ///
    /// # Panics
    /// When the process has no TLS provider (`rustls::crypto::CryptoProvider::install_default`).
    pub fn new(connection: Connection, clock: Clock, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::with_timeouts(connection, clock, metrics, Timeouts::default())
    }

    /// The same with other patience.
    ///
    /// # Errors
    /// As [`Mosaic::new`].
    pub fn with_timeouts(
        connection: Connection,
        clock: Clock,
        metrics: Arc<Metrics>,
        timeouts: Timeouts,
    ) -> Result<Self, Error> {
        let http = Http::new(connection.client(&timeouts)?, &timeouts, clock.clone(), metrics);
        let to_tokens = http.to_another_part(timeouts.total);
        let client_tokens = ClientTokens::new(&connection, to_tokens, clock.clone());
        let to_keys = http.to_another_part(timeouts.key_set);
        let keys = KeySet::new(connection.key_set_url.clone(), to_keys, clock.clone());
        Ok(Self(Arc::new(Inner { connection, clock, http, client_tokens, keys })))
    }

    /// Whether a sign-in could work now: our client is accepted, tokens can be verified, and calls are not held back
    /// because they kept failing. Answers are remembered, so asking often is cheap.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn probe(&self) -> Result<(), Error> {
        let Inner { connection, http, client_tokens, keys, .. } = &*self.0;
        if connection.token_url.origin() == connection.base_url.origin() {
            // No call of the API is harmless, so a token from the same host says whether the host is back.
            http.probe(client_tokens.renew_now()).await?;
        } else {
            http.probe(async { Ok(()) }).await?;
        }
        client_tokens.ready().await?;
        keys.ready().await
    }

    /// Whether Mosaic is worth `step` for a visitor: false for five seconds after it was out of reach or twice broken,
    /// while calls are held back because it keeps failing, until one works, and while it limits the calls of that step.
    pub fn is_reachable(&self, step: Step) -> bool {
        let Inner { http, client_tokens, keys, .. } = &*self.0;
        http.is_promising(step.call()) && client_tokens.is_promising() && keys.is_promising()
    }

    /// How long Mosaic still wants no links to be sent, after it said that there were too many.
    pub fn links_are_paused(&self) -> Option<Duration> {
        self.0.http.pause_of(Step::SendLink.call())
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
        let answer = http.send(call, repeat, limit, || Ok(with(token.expose()))).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        client_tokens.forget(&token);
        let token = client_tokens.get().await?;
        http.send(call, repeat, limit, || Ok(with(token.expose()))).await
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
