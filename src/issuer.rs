//! The built-in service that speaks Mosaic's API.
//!
//! The gateway reaches it over HTTP on loopback, exactly as it reaches Mosaic; only its link page and the
//! development mailbox are mounted on the public origin. Everything it knows is in the store, so several
//! instances over one store are one issuer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::identity::EmailAddress;
use crate::origin::Origin;
use crate::pages::Pages;
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::{setting, store};

mod api;
mod link;
mod link_page;
mod mail;
mod mailbox;
mod oauth;
mod records;
mod refresh;
mod sessions;
mod signing_key;
mod tenant;
mod tokens;
mod users;

pub use mail::Config as MailConfig;

/// `[issuer]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Mail lands on a page instead of in a mailbox; for development on this machine only.
    pub mailbox: bool,
    /// `[issuer.mail]`: there exactly when `mailbox` is off.
    #[serde(deserialize_with = "setting::optional_table")]
    pub mail: Option<MailConfig>,
    /// Users that exist from the start.
    pub user: Vec<DeclaredUser>,
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
    /// Where codes may be sent; compared as whole strings.
    pub redirect_uris: Vec<String>,
    /// The application's name in tokens, on the link page and in mail.
    pub app_name: String,
    /// The one client. Instances that share a store must share it, and it must outlive a restart:
    /// links, codes and refresh tokens are bound to it.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret<String>,
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
    keys: signing_key::KeyRing,
    tenant: tenant::Tenant,
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
    /// A redirect URI is not an absolute URL without a fragment (RFC 6749 section 3.1.2).
    #[error("use `{0}` as a redirect URI")]
    RedirectUri(String),
    /// No mail can be sent with these settings.
    #[error("prepare the issuer's mail")]
    Mail(#[from] mail::Error),
}

impl Issuer {
    /// Loads the signing keys, or makes them, and brings the declared users up to date.
    ///
    /// # Errors
    /// When the store fails, a key cannot be used, a redirect URI is malformed, or mail cannot be sent as configured.
    pub async fn new(
        config: Config,
        settings: Settings,
        store: store::Shared,
        clock: Clock,
        pages: Arc<Pages>,
    ) -> Result<Self, Error> {
        if let Some(wrong) = settings.redirect_uris.iter().find(|uri| !is_redirect_uri(uri)) {
            return Err(Error::RedirectUri(wrong.clone()));
        }
        let keys = signing_key::KeyRing::load(&store, &clock).await?;
        let tenant = tenant::Tenant::load(&store).await?;
        let (composer, outbox) = mail::prepare(config.mail.as_ref(), &settings, &store, &clock, &pages)?;
        let issuer = Self(Arc::new(Inner { config, settings, store, clock, pages, keys, tenant, composer, outbox }));
        for declared in &issuer.0.config.user {
            users::declare(&issuer.0, declared).await?;
        }
        Ok(issuer)
    }

    /// The `iss` of the tokens that the issuer behind a public address gives.
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

    /// The link page and, in development, the mailbox: for the public origin.
    pub fn pages(&self) -> Router {
        let pages = link_page::router(self.0.clone());
        if self.0.config.mailbox { pages.merge(mailbox::router(self.0.clone())) } else { pages }
    }
}

impl Inner {
    fn issuer_name(&self) -> String {
        Issuer::name(&self.settings.public_url)
    }
}

fn is_redirect_uri(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.fragment().is_none()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
