//! What a command needs to administer users and sessions without running a gateway: the client of Mosaic, or of the
//! built-in issuer, which then runs in the command's own process over the configured store.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::embedded::Embedded;
use super::{Sockets, install_crypto};
use crate::assertion::Assertions;
use crate::clock::Clock;
use crate::config::Config;
use crate::grant::{Grant, Grants};
use crate::identity::headers::Plan;
use crate::issuer;
use crate::mosaic::Mosaic;
use crate::pages::{Invitation, Letter, Pages};
use crate::personal_token::PersonalTokens;
use crate::portal::post::Post;
use crate::session::cookie::Jar;
use crate::session::{self, Admission, Sessions};
use crate::store::{self, Location, Shared};
use crate::telemetry::Metrics;

/// The users, and where they are.
pub struct Users {
    /// The client of Mosaic, or of the built-in issuer.
    pub mosaic: Mosaic,
    /// Which of the two it is.
    pub service: Service,
    /// A name for where the users are: the same for every command about the same users, and for no other.
    pub place: String,
    /// What has mails sent, with the built-in issuer.
    pub post: Option<Arc<dyn Post>>,
    /// The issuer stops when this goes.
    _open: watch::Sender<bool>,
}

/// The users, and their sessions at the gateways on the configured store.
pub struct Administration {
    /// The users.
    pub users: Users,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The tokens that users made.
    pub personal_tokens: Arc<PersonalTokens>,
    /// Who may pass routes whose rules do not name them.
    pub grants: Arc<Grants>,
}

/// Who keeps the users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A tenant of Mosaic.
    Mosaic,
    /// The built-in issuer.
    Issuer,
}

/// Why there is nothing to administer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Users or sessions are in the memory of another process.
    #[error(
        "administer what `session.store = \"memory\"` keeps: it is gone when linkgate ends, and no other process sees it"
    )]
    Memory,
    /// As for the gateway itself.
    #[error(transparent)]
    Start(#[from] super::Error),
    /// The issuer cannot be started over the store.
    #[error("start the built-in issuer")]
    Issuer(#[from] issuer::Error),
}

impl Error {
    /// One thing to do about it, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Memory => Some("name a file or a server in `session.store`, like \"sqlite:linkgate.db\"".to_owned()),
            Self::Start(error) => error.hint(),
            Self::Issuer(_) => None,
        }
    }

    /// Whether the configuration must be changed first.
    pub const fn is_wrong_configuration(&self) -> bool {
        matches!(self, Self::Memory | Self::Start(super::Error::Connection(_)))
    }
}

impl Users {
    /// The users of the configuration. With Mosaic the store is not touched.
    ///
    /// # Errors
    /// When the issuer's store cannot be used, or the client of Mosaic cannot be made.
    pub async fn open(config: &Config, clock: Clock) -> Result<Self, Error> {
        let store = if config.mosaic.is_some() { None } else { Some(open_store(config, &clock)?) };
        Self::on(config, clock, store).await
    }

    /// The same on an empty store, to see whether the service works: with the issuer, nothing is read or kept.
    ///
    /// # Errors
    /// When the issuer cannot start, or the client of Mosaic cannot be made.
    pub async fn on_trial(config: &Config, clock: Clock) -> Result<Self, Error> {
        let store = store::open(&Location::Memory, &config.directory, clock.clone()).map_err(super::Error::from)?;
        Self::on(config, clock, Some(store)).await
    }

    async fn on(config: &Config, clock: Clock, store: Option<Shared>) -> Result<Self, Error> {
        install_crypto();
        let (open, stopping) = watch::channel(false);
        let (connection, service, place, post) = match (&config.mosaic, store) {
            (Some(mosaic), _) => {
                let connection = mosaic.connection().map_err(super::Error::from)?;
                let place = format!("{} {}", connection.base_url, connection.client_id);
                (connection, Service::Mosaic, place, None)
            }
            (None, None) => return Err(Error::Memory),
            (None, Some(store)) => {
                let pages = Pages::new(&config.theme, &config.public_url, &config.directory);
                let pages = Arc::new(pages.map_err(super::Error::from)?);
                let embedded = Embedded::new(&for_itself(config), &Sockets::default(), &store, &clock, &pages)?;
                let (connection, post) = (embedded.connection(), embedded.post());
                embedded.serve_api(stopping).await?;
                let place = format!("{} {}", config.session.store, config.directory.display());
                (connection, Service::Issuer, place, Some(post))
            }
        };
        // Nobody scrapes a command.
        let metrics = Arc::new(Metrics::new().map_err(super::Error::from)?);
        let mosaic = Mosaic::new(connection, clock, metrics).map_err(super::Error::from)?;
        Ok(Self { mosaic, service, place, post, _open: open })
    }
}

impl Administration {
    /// Users and sessions of the configuration.
    ///
    /// # Errors
    /// When the store cannot be used, or the client of Mosaic cannot be made.
    pub async fn open(config: &Config, clock: Clock) -> Result<Self, Error> {
        let store = open_store(config, &clock)?;
        let users = Users::on(config, clock.clone(), Some(Arc::clone(&store))).await?;
        let personal_tokens = PersonalTokens::new(Arc::clone(&store), clock.clone(), &config.personal_tokens);
        let grants = Grants::new(Arc::clone(&store), clock.clone());
        let plan = Plan::new(&config.identity_headers).map_err(super::Error::from)?;
        let parts = session::Parts {
            store,
            clock,
            mosaic: users.mosaic.clone(),
            plan,
            jar: Jar::new(config.public_url.is_secure()),
            tasks: TaskTracker::new(),
        };
        // Nobody is signed in by a command.
        let sessions = Sessions::new(parts, &config.session, Admission::default());
        Ok(Self { users, sessions, personal_tokens, grants })
    }
}

/// Assertions as a gateway of the configuration mints them.
///
/// # Errors
/// When the store cannot be used.
pub fn assertions(config: &Config, clock: &Clock) -> Result<Arc<Assertions>, Error> {
    install_crypto();
    let store = open_store(config, clock)?;
    Ok(Assertions::new(&store, clock, &TaskTracker::new(), &config.public_url, &config.assertion))
}

/// The grants of a gateway of the configuration. Without a store that another process can read there are none, and no
/// file is made for them.
///
/// # Errors
/// When the store cannot be used.
pub fn grants(config: &Config, clock: &Clock) -> Result<Option<Arc<Grants>>, Error> {
    install_crypto();
    let is_there = match &config.session.store {
        Location::Memory => false,
        Location::Sqlite(file) => config.directory.join(file).exists(),
        Location::Redis(_) => true,
    };
    let store = is_there.then(|| open_store(config, clock)).transpose()?;
    Ok(store.map(|store| Grants::new(store, clock.clone())))
}

/// The mail to somebody who was given a grant for the route that `link` leads to.
///
/// # Errors
/// When the theme cannot be used.
pub fn letter_of_invitation(config: &Config, grant: &Grant, link: &str) -> Result<Letter, Error> {
    let pages = Pages::new(&config.theme, &config.public_url, &config.directory).map_err(super::Error::from)?;
    Ok(pages.invitation(Invitation { route: &grant.route, link, until: grant.expires_at }))
}

/// The configuration of an issuer that serves nobody else: other programs' port is the gateway's.
fn for_itself(config: &Config) -> Config {
    let mut config = config.clone();
    if let Some(issuer) = &mut config.issuer {
        issuer.listen = None;
    }
    config
}

fn open_store(config: &Config, clock: &Clock) -> Result<Shared, Error> {
    if config.session.store == Location::Memory {
        return Err(Error::Memory);
    }
    Ok(store::open(&config.session.store, &config.directory, clock.clone()).map_err(super::Error::from)?)
}
