//! The composition root: builds every part from a configuration, runs them on one runtime, and drains them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin, Readiness};
use crate::assertion;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::grant::Grants;
use crate::identity::headers::BadHeaderName;
use crate::issuer::Issuer;
use crate::mosaic::{self, BadConnection};
use crate::pages::{self, Pages};
use crate::proxy::Site;
use crate::proxy::stream::Registry;
use crate::proxy::tls;
use crate::proxy::upstream::Upstreams;
use crate::proxy::upstream::tls::BadTls;
use crate::session::OpenStreams;
use crate::setting::Span;
use crate::store::{self, OpenError, Shared};
use crate::telemetry::Metrics;

pub mod administration;
mod alone;
mod demo;
mod embedded;
pub mod explain;
mod front;
mod late;
mod parts;
mod reload;
mod sockets;
mod waiting;

pub use alone::{RunningIssuer, start_issuer, start_issuer_with};
use embedded::Embedded;
use front::Front;
use parts::{Ground, Parts, keep_listening};
pub use reload::{NotReloaded, RELOADS, Reloaded};
pub use sockets::{Sockets, Unshared};

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener cannot be had.
    #[error("listen on {address} (`{setting}`)")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The runtime refuses a listener.
    #[error("listen for visitors")]
    Runtime(#[from] io::Error),
    /// TLS towards visitors cannot be had.
    #[error("prepare TLS")]
    Tls(#[from] tls::Error),
    /// The store cannot be opened.
    #[error("open the store")]
    Store(#[from] OpenError),
    /// The pages cannot be made.
    #[error("prepare the pages")]
    Pages(#[from] pages::Error),
    /// `[mosaic]` does not say how to reach Mosaic.
    #[error("prepare the connection to Mosaic")]
    Connection(#[from] BadConnection),
    /// The client of Mosaic cannot be made.
    #[error("prepare the client of Mosaic")]
    Mosaic(#[from] mosaic::Error),
    /// A header of one's own has no possible name.
    #[error("prepare the identity headers")]
    Headers(#[from] BadHeaderName),
    /// A file of an upstream cannot be used.
    #[error("prepare the routes")]
    Upstream(#[from] BadTls),
    /// The issuer's listener for other programs.
    #[error("open the issuer to other programs")]
    Issuer(#[from] crate::issuer::tls::ListenerError),
    /// The signing keys cannot be changed.
    #[error("change the signing keys")]
    Keys(#[from] crate::issuer::Error),
    /// The keys of assertions cannot be changed.
    #[error(transparent)]
    AssertionKeys(#[from] assertion::Error),
    /// There is no built-in issuer.
    #[error("find the signing keys: there is no [issuer]")]
    NoIssuer,
    /// Metrics cannot be registered.
    #[error("prepare the metrics")]
    Metrics(#[from] crate::telemetry::Error),
}

impl Error {
    /// One thing to do about it, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { setting, address, source } if source.kind() == io::ErrorKind::AddrInUse => Some(format!(
                "another program uses port {}; stop it, or choose another address with `{setting}`",
                address.port()
            )),
            Self::Listen { setting, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("ports below 1024 need a privilege; choose a higher port with `{setting}`"))
            }
            Self::Listen { setting, source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some(format!("this machine does not have that address; correct `{setting}`"))
            }
            _ => None,
        }
    }
}

/// Makes a new signing key for the issuer that `config` describes; says when it begins to sign.
///
/// # Errors
/// When there is no issuer, the store fails, or another instance changes the keys at this moment.
pub async fn rotate_keys(config: &Config, clock: Clock) -> Result<Timestamp, Error> {
    if config.issuer.is_none() {
        return Err(Error::NoIssuer);
    }
    let store = store::open(&config.session.store, &config.directory, clock.clone())?;
    Ok(Issuer::rotate_keys(&store, &clock).await?)
}

/// Makes a new key for assertions; says when it begins to sign.
///
/// # Errors
/// When the store fails, or another instance changes the keys at this moment.
pub async fn rotate_assertion_keys(config: &Config, clock: Clock) -> Result<Timestamp, Error> {
    let store = store::open(&config.session.store, &config.directory, clock.clone())?;
    Ok(assertion::rotate(&store, &clock).await?)
}

/// Makes aws-lc-rs the process's crypto provider. Must come before anything that speaks TLS; coming again is fine.
pub fn install_crypto() {
    // Somebody else's provider in this process would be aws-lc-rs as well: the crate has no other back end.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}

/// A gateway that serves requests.
pub struct Running {
    /// Where visitors are served.
    pub address: SocketAddr,
    /// Where plain HTTP is sent on, if it is.
    pub redirect_address: Option<SocketAddr>,
    /// Where the operator is served.
    pub admin_address: SocketAddr,
    /// Where the built-in issuer is served to the gateway itself, with one.
    pub issuer_address: Option<SocketAddr>,
    /// Where it is served to other programs, if it is.
    pub open_issuer_address: Option<SocketAddr>,
    /// Tells the proxy to take no more connections.
    stop: watch::Sender<bool>,
    /// Tells what nobody needs who is served here already: health, and the issuer's listener for other programs.
    leave: watch::Sender<bool>,
    /// Tells everything that open requests may still need: the issuer, the demo.
    close: watch::Sender<bool>,
    sockets: Sockets,
    front: Front,
    site: Arc<ArcSwap<Site>>,
    ground: Ground,
    parts: tokio::sync::Mutex<Parts>,
    /// Sends the built-in issuer's mail, with one.
    mailing: Option<JoinHandle<()>>,
    helpers: Vec<Background>,
}

/// A task that ends with what it is for.
struct Background(JoinHandle<()>);

impl Background {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self(tokio::spawn(task)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long a failed background task rests before it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest such rest where each try costs Mosaic a call.
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// How often readiness is looked at again.
const READINESS: Duration = Duration::from_secs(2);
/// How often it is, where somebody waits for it.
const READY: Duration = Duration::from_millis(50);

/// Starts the gateway on the present runtime, with the `sockets` that it inherits.
///
/// Mosaic and a Redis need not be there yet: the gateway says that it is not ready, and recovers.
///
/// # Errors
/// What no waiting would mend: a port that is taken, a store file that is none, a theme that cannot be used.
pub async fn start(config: &Config, clock: Clock, sockets: Sockets) -> Result<Running, Error> {
    install_crypto();
    let store = store::open(&config.session.store, &config.directory, clock.clone())?;
    start_on(sockets, config, clock, store).await
}

/// Starts the gateway with a store that is open already.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: &Config, clock: Clock, store: Shared) -> Result<Running, Error> {
    install_crypto();
    start_on(Sockets::default(), config, clock, store).await
}

async fn start_on(sockets: Sockets, config: &Config, clock: Clock, store: Shared) -> Result<Running, Error> {
    let listener = sockets.bind("listen", config.listen)?;
    let redirect_from = config.tls.as_ref().and_then(|tls| tls.redirect_from);
    let redirect_listener = redirect_from.map(|address| sockets.bind("tls.redirect_from", address)).transpose()?;
    let admin_listener = sockets.bind("admin.listen", config.admin.listen)?;
    let metrics = Arc::new(Metrics::new()?);
    let pages = Arc::new(Pages::new(&config.theme, &config.public_url, &config.directory)?);
    pages.count_in(&metrics);
    let readiness = Readiness::new(&["store", "mosaic"]);
    let (stop, stopping) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (close, closing) = watch::channel(false);

    let embedded = match &config.mosaic {
        Some(_) => None,
        None => {
            let embedded = Embedded::new(config, &sockets, &store, &clock, &pages)?;
            embedded.make().await;
            Some(embedded)
        }
    };
    let grants = Grants::new(Arc::clone(&store), clock.clone());
    let ground = Ground {
        store,
        grants: Arc::clone(&grants),
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
        tasks: TaskTracker::new(),
        upstreams: Upstreams::new(clock.clone(), Arc::clone(&metrics), closing.clone()),
        closing: closing.clone(),
        issuer: embedded.as_ref().map(|embedded| (embedded.connection(), embedded.pages())),
        post: embedded.as_ref().map(Embedded::post),
    };
    sockets.close_unused();
    let parts = Parts::new(&ground, config, pages)?;
    let site = Arc::new(ArcSwap::from_pointee(parts.site(&ground)));
    metrics.configured(&config.contents.short_hash(), clock.now().unix_seconds());

    let address = local_address(&listener, config.listen);
    let redirect_address = redirect_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let open_streams = Arc::new(OpenStreams::default());
    let noting = tokio::spawn(Arc::clone(&open_streams).keep_noted(Arc::clone(&ground.store), clock.clone()));
    let streams = Registry::new(Arc::clone(&metrics), open_streams);
    let front =
        Front::open(Arc::clone(&site), clock, Arc::clone(&metrics), streams, listener, redirect_listener, &stopping)?;
    let admin_address = local_address(&admin_listener, config.admin.listen);
    let admin =
        Admin { readiness: readiness.clone(), metrics: Arc::clone(&metrics), hosts: config.admin.hosts.clone() };
    let mut helpers = vec![serve(admin_listener, admin::router(admin), leaving.clone()), noting];
    let listen_for_grants = move || {
        let grants = Arc::clone(&grants);
        async move { grants.listen().await }
    };
    helpers.push(tokio::spawn(keep_listening("grants", listen_for_grants, closing.clone())));
    let issuer_address = embedded.as_ref().map(Embedded::address);
    let open_issuer_address = embedded.as_ref().and_then(Embedded::open_address);
    let mailing = embedded.map(|embedded| {
        let (mailing, served) = embedded.serve(&closing, leaving, metrics, readiness);
        helpers.extend(served);
        mailing
    });
    Ok(Running {
        address,
        redirect_address,
        admin_address,
        issuer_address,
        open_issuer_address,
        stop,
        leave,
        close,
        sockets,
        front,
        site,
        ground,
        parts: tokio::sync::Mutex::new(parts),
        mailing,
        helpers: helpers.into_iter().map(Background).collect(),
    })
}

impl Running {
    /// How many connections of visitors are open.
    pub fn open_connections(&self) -> usize {
        self.front.connections().open()
    }

    /// Waits until everything that was begun in the background is done: links being sent, sessions being renewed
    /// or ended.
    pub async fn settle(&self) {
        self.ground.settle().await;
    }

    /// How long open requests may go on when the gateway stops.
    pub async fn stop_timeout(&self) -> Span {
        self.parts.lock().await.config.stop_timeout
    }

    /// Returns once requests can be served.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        wait_for(self.ground.readiness.clone())
    }

    /// What a successor listens on, so that no connection is refused while it takes over.
    ///
    /// # Errors
    /// When it could not go on with what there is.
    pub async fn share(&self) -> Result<Vec<TcpListener>, Unshared> {
        if self.parts.lock().await.config.session.store == store::Location::Memory {
            return Err(Unshared::Memory);
        }
        Ok(self.sockets.share()?)
    }

    /// Counts a successor that could not take over.
    pub fn not_upgraded(&self) {
        self.ground.metrics.not_upgraded();
    }

    /// How long open requests may go on when a successor has taken over.
    pub async fn upgrade_timeout(&self) -> Span {
        self.parts.lock().await.config.upgrade_timeout
    }

    /// Leaves every listener to a successor. What is open goes on: a connection ends with the request that comes next
    /// on it, because one could be on its way already.
    pub fn leave(&self) {
        self.leave.send_replace(true);
        self.stop.send_replace(true);
        self.sockets.release();
    }

    /// Returns once nothing is open any more, which something else must have asked for.
    pub async fn left(&mut self) {
        self.front.closed().await;
        self.front.connections().closed().await;
    }

    /// Stops: no new connection, open requests go on for a while, and what was begun is finished.
    pub async fn stop(mut self) {
        let parts = self.parts.into_inner();
        let stop_timeout = parts.config.stop_timeout.0;
        self.ground.readiness.stopping();
        self.stop.send_replace(true);
        self.sockets.release();
        self.front.closed().await;
        self.front.close_idle().await;
        if tokio::time::timeout(stop_timeout, self.front.connections().closed()).await.is_err() {
            tracing::warn!(connections = self.front.connections().open(), "stopped with connections open");
        }
        if tokio::time::timeout(stop_timeout, self.ground.settle()).await.is_err() {
            tracing::warn!("stopped with work under way");
        }
        self.leave.send_replace(true);
        self.close.send_replace(true);
        if let Some(mut mailing) = self.mailing
            && tokio::time::timeout(stop_timeout, &mut mailing).await.is_err()
        {
            tracing::warn!("stopped while mail was being sent; it is sent again");
            mailing.abort();
        }
        drop((parts, self.helpers));
    }
}

const fn loopback() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0)
}

/// A listener of the gateway's own, which no successor needs.
fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|source| Error::Listen { setting, address, source })
}

/// Returns once requests can be served.
async fn wait_for(readiness: Readiness) {
    while !readiness.reasons().is_empty() {
        tokio::time::sleep(READY).await;
    }
}

fn local_address(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}

/// Serves a router until it is told to stop.
fn serve(listener: TcpListener, router: axum::Router, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
            axum::serve(listener, router).with_graceful_shutdown(stopped).await
        };
        if let Err(error) = served.await {
            tracing::error!(%error, "failed to serve a listener of the gateway's own");
        }
    })
}
