//! The built-in service that speaks Mosaic's API.
//!
//! The gateway reaches it over HTTP on loopback, exactly as it reaches Mosaic; only its link page and the
//! development mailbox are mounted on the public origin. Everything it knows is in the store, so several
//! instances over one store are one issuer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::identity::EmailAddress;
use crate::origin::Origin;
use crate::pages::{Letter, Pages};
use crate::setting::{self, Span};
use crate::store;
use crate::telemetry::Metrics;

mod api;
mod client;
mod groups;
mod identifier;
mod key_ring;
mod link;
mod link_page;
mod login;
mod mail;
mod mailbox;
mod oauth;
mod one_time_code;
mod openapi;
mod phone;
mod records;
mod refresh;
mod sessions;
mod signing_key;
mod tenant;
pub mod tls;
mod tokens;
mod user_list;
mod users;

pub use client::{BadCredential, Config as ClientConfig, Error as ClientError, Method, OwnClient};
pub use mail::Config as MailConfig;
pub use one_time_code::Config as Codes;

/// `[issuer]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where other programs call the API, beside the gateway. Without it they cannot.
    pub listen: Option<SocketAddr>,
    /// How programs write the address of the API; follows from `listen` otherwise.
    pub url: Option<Origin>,
    /// How long one key signs tokens.
    pub key_lifetime: Span,
    /// Mail lands on a page instead of in a mailbox; for development on this machine only.
    pub mailbox: bool,
    /// `[issuer.mail]`: there exactly when `mailbox` is off.
    #[serde(deserialize_with = "setting::optional_table")]
    pub mail: Option<MailConfig>,
    /// Users that exist from the start.
    pub user: Vec<DeclaredUser>,
    /// One-time codes that people type.
    #[serde(deserialize_with = "setting::table")]
    pub codes: one_time_code::Config,
    /// Programs that may call the API.
    pub client: Vec<client::Config>,
    /// `[issuer.tls]`
    #[serde(deserialize_with = "setting::optional_table")]
    pub tls: Option<tls::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            url: None,
            key_lifetime: Span::days(30),
            mailbox: false,
            mail: None,
            user: Vec::new(),
            codes: Codes::default(),
            client: Vec::new(),
            tls: None,
        }
    }
}

impl Config {
    /// Whether some client proves by a certificate that it is itself. Nobody else is asked for one: a browser on the link
    /// page would ask its user which of theirs to show.
    pub(crate) fn takes_certificates(&self) -> bool {
        self.tls.is_some() && self.client.iter().any(|client| client.authentication.is_by_certificate())
    }

    /// The files that it names.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let of_clients = self.client.iter_mut().flat_map(client::Config::paths);
        let of_tls = self.tls.iter_mut().flat_map(tls::Config::paths);
        of_clients.chain(of_tls).chain(self.mail.iter_mut().flat_map(|mail| mail.paths()).flatten())
    }
}

/// `[[issuer.user]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUser {
    /// The address that links are mailed to.
    pub email: EmailAddress,
    /// The name to show.
    #[serde(default)]
    pub name: Option<String>,
    /// Groups that rules and headers name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Roles that rules and headers name.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// What the rest of the configuration says about the issuer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The origin that visitors see: the link page and the mailbox are below it.
    pub public_url: Origin,
    /// `iss` of every token.
    pub name: String,
    /// Where the API is, as programs write it, without a slash at the end.
    pub api_url: String,
    /// The default application's name in tokens, on the link page and in mail.
    pub app_name: String,
    /// The client of the program that the issuer runs in, beside those of the configuration.
    pub own_client: Option<OwnClient>,
    /// How long a link works where `send` does not say.
    pub link_lifetime: Duration,
}

/// The issuer. Clones are one.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    config: Config,
    settings: Settings,
    store: store::Shared,
    clock: Clock,
    pages: Arc<Pages>,
    keys: key_ring::KeyRing,
    tenant: tenant::Tenant,
    clients: client::Clients,
    /// Who vouches for clients' certificates.
    authorities: Option<client::certificate::Authorities>,
    composer: mail::Composer,
    /// There when mail is sent instead of being shown.
    outbox: Option<Arc<mail::Outbox>>,
}

/// Why the issuer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer.
    #[error("read or write the issuer's records")]
    Store(#[from] store::Error),
    /// A signing key could not be made or is not usable.
    #[error("prepare the issuer's signing keys")]
    Key(#[from] signing_key::Error),
    /// A client is not completely or not sensibly described.
    #[error("prepare the issuer's clients")]
    Client(#[from] client::Error),
    /// No mail can be sent with these settings.
    #[error("prepare the issuer's mail")]
    Mail(#[from] mail::Error),
    /// The authorities for clients' certificates cannot be had.
    #[error("read the authorities in `issuer.tls.client_ca`")]
    Authorities(#[from] crate::pem::BadPem),
}

impl Issuer {
    /// Loads the signing keys, or makes them, and brings the declared users up to date.
    ///
    /// # Errors
    /// When the store fails, a key cannot be used, a client is not in order, or mail cannot be sent as configured.
    pub async fn new(
        config: Config,
        settings: Settings,
        store: store::Shared,
        clock: Clock,
        pages: Arc<Pages>,
    ) -> Result<Self, Error> {
        let keys = key_ring::KeyRing::load(&store, &clock, config.key_lifetime.0).await?;
        let tenant = tenant::Tenant::load(&store, &settings.app_name).await?;
        let own_client = settings.own_client.as_ref();
        let clients = client::Clients::new(&config.client, own_client, &tenant, &store).await?;
        let (composer, outbox) = mail::prepare(config.mail.as_ref(), &settings, &store, &clock, &pages)?;
        let client_ca = config.tls.as_ref().and_then(|tls| tls.client_ca.as_deref());
        let authorities = client_ca.map(client::certificate::Authorities::read).transpose()?;
        let inner =
            Inner { config, settings, store, clock, pages, keys, tenant, clients, authorities, composer, outbox };
        let issuer = Self(Arc::new(inner));
        for declared in &issuer.0.config.user {
            users::declare(&issuer.0, declared).await?;
        }
        Ok(issuer)
    }

    /// Makes a new signing key, whoever runs the issuer over `store`; says when it begins to sign.
    ///
    /// # Errors
    /// When the store fails, the key cannot be made, or another instance changes the keys at this moment.
    pub async fn rotate_keys(store: &store::Shared, clock: &Clock) -> Result<Timestamp, Error> {
        Ok(key_ring::rotate(store.as_ref(), clock).await?)
    }

    /// The `iss` of the tokens that the issuer inside the gateway at a public address gives.
    pub fn name(public_url: &Origin) -> String {
        public_url.join("/.linkgate/issuer")
    }

    /// Mosaic's API, for the loopback listener.
    pub fn api(&self) -> Router {
        api::router(self.0.clone())
    }

    /// Delivers the mails in the queue and those that come, until told to stop; what is being sent is finished, and
    /// the rest stays in the store. `tell` hears why mails cannot be delivered, and `None` when they can again.
    /// Without a mail server there is nothing to do.
    pub async fn run_mail(
        &self,
        stopping: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
        tell: impl Fn(Option<String>) + Send + Sync + 'static,
    ) {
        if let Some(outbox) = &self.0.outbox {
            outbox.work(stopping, mail::Observers { metrics, tell: Box::new(tell) }).await;
        }
    }

    /// Has a mail sent in the application's name, unless that does not work until `until`. Says whether it is on its way.
    pub async fn post(&self, to: &EmailAddress, letter: Letter, until: Timestamp) -> bool {
        // Whatever stands in the way is logged there.
        self.0.post(to, letter, until).await.is_ok()
    }

    /// Whether a mail may well be sent now: false where it is known beforehand that it is not.
    pub async fn takes_mail(&self) -> bool {
        self.0.takes_mail().await
    }

    /// The link page and, in development, the mailbox: for the public origin.
    pub fn pages(&self) -> Router {
        let pages = link_page::router(self.0.clone());
        if self.0.config.mailbox { pages.merge(mailbox::router(self.0.clone())) } else { pages }
    }
}
