//! The issuer alone, without a gateway: API and pages on one listener, health and metrics on another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::header;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::late::{self, Late};
use super::reload::{NotReloaded, Reloaded};
use super::sockets::{Sockets, Unshared};
use super::{Error, READINESS, RETRY, local_address, serve, wait_for};
use crate::admin::{self, Admin, Readiness};
use crate::clock::Clock;
use crate::config::{Config, Problems};
use crate::issuer::Settings;
use crate::issuer::tls::Peer;
use crate::origin::{Authority, Origin};
use crate::pages::{Pages, Reader};
use crate::portal::answer::{Failure, Refusal};
use crate::portal::{Dress, Visit, assets};
use crate::secret::{base64url, random_bytes};
use crate::session::Chain;
use crate::setting::Span;
use crate::store::{self, Shared};
use crate::telemetry::{self, Metrics};

/// An issuer that serves requests.
pub struct RunningIssuer {
    /// Where the API and the pages are.
    pub address: SocketAddr,
    /// Where the operator is served.
    pub admin_address: SocketAddr,
    stop: watch::Sender<bool>,
    leave: watch::Sender<bool>,
    close: watch::Sender<bool>,
    sockets: Sockets,
    config: Config,
    metrics: Arc<Metrics>,
    clock: Clock,
    readiness: Readiness,
    served: JoinHandle<()>,
    /// Ends by itself once the mails that are being sent have arrived.
    mailing: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

/// Starts the issuer that `config` describes on the present runtime, with the `sockets` that it inherits. A Redis need not be there yet.
///
/// # Errors
/// What no waiting would mend: a port that is taken, a store file that is none, a certificate that cannot be used.
pub async fn start_issuer(config: &Config, clock: Clock, sockets: Sockets) -> Result<RunningIssuer, Error> {
    super::install_crypto();
    let store = store::open(&config.session.store, &config.directory, clock.clone())?;
    start_on(sockets, config, clock, store).await
}

/// Starts the issuer with a store that is open already.
///
/// # Errors
/// As [`start_issuer`].
pub async fn start_issuer_with(config: &Config, clock: Clock, store: Shared) -> Result<RunningIssuer, Error> {
    super::install_crypto();
    start_on(Sockets::default(), config, clock, store).await
}

async fn start_on(sockets: Sockets, config: &Config, clock: Clock, store: Shared) -> Result<RunningIssuer, Error> {
    let of_issuer = config.issuer.clone().unwrap_or_default();
    let tcp = sockets.bind("listen", config.listen)?;
    let address = local_address(&tcp, config.listen);
    let listener = late::open(tcp, &of_issuer)?;
    let admin_listener = sockets.bind("admin.listen", config.admin.listen)?;
    sockets.close_unused();
    let admin_address = local_address(&admin_listener, config.admin.listen);
    let metrics = Arc::new(Metrics::new()?);
    let pages = Arc::new(Pages::new(&config.theme, &config.public_url, &config.directory)?);
    pages.count_in(&metrics);
    let readiness = Readiness::new(&["store", "issuer"]);
    let (stop, stopping) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (close, closing) = watch::channel(false);

    let name = config.public_url.to_string();
    let settings = Settings {
        public_url: config.public_url.clone(),
        api_url: of_issuer.url.as_ref().map_or_else(|| name.clone(), Origin::to_string),
        name,
        app_name: pages.app_name().to_owned(),
        own_client: None,
        link_lifetime: config.sign_in.link_lifetime.0,
    };
    let late = Late::new(of_issuer, settings, &store, &clock, &pages);
    if let Err(error) = late.make().await {
        tracing::warn!(error = %Chain(&error), "failed to start the issuer");
    }
    metrics.configured(&config.contents.short_hash(), clock.now().unix_seconds());
    let dress = Dress { pages, clock: clock.clone() };
    let served =
        late::serve_others(listener, router(&late, dress, &config.public_url), &config.trusted_proxies, stopping);
    let mailing = tokio::spawn(late.clone().run(closing.clone(), Arc::clone(&metrics), readiness.clone()));
    let admin =
        Admin { readiness: readiness.clone(), metrics: Arc::clone(&metrics), hosts: config.admin.hosts.clone() };
    let helpers = vec![
        serve(admin_listener, admin::router(admin), leaving),
        tokio::spawn(watch_readiness(readiness.clone(), store, late, closing)),
    ];
    let config = config.clone();
    Ok(RunningIssuer {
        address,
        admin_address,
        stop,
        leave,
        close,
        sockets,
        config,
        metrics,
        clock,
        readiness,
        served,
        mailing,
        helpers,
    })
}

/// The API on every host; the pages where the links in mails lead.
fn router(late: &Late, dress: Dress, public_url: &Origin) -> Router {
    let public_url = Arc::new(public_url.clone());
    let guarded = middleware::from_fn_with_state(Arc::clone(&public_url), guard);
    let pages = late.pages().merge(assets(&dress.pages)).layer(guarded);
    let named = (public_url, Arc::clone(&dress.pages));
    let pages = dress.put_on(pages).layer(middleware::from_fn_with_state(named, name_request));
    pages.fallback_service(late.api())
}

/// A page of another site whose name was made to lead here (DNS rebinding) says that name in `Host`; the mailbox is not
/// for it.
async fn guard(State(public_url): State<Arc<Origin>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = request.uri().authority().map(http::uri::Authority::as_str).or(host);
    match named.and_then(Authority::parse) {
        Some(authority) if public_url.is(&authority) => next.run(request).await,
        Some(_) => Failure::from(Refusal::UnknownHost).into_response(),
        None => Failure::from(Refusal::BadRequest).into_response(),
    }
}

/// Gives a request the name and the language that its answer carries.
async fn name_request(
    State((public_url, pages)): State<(Arc<Origin>, Arc<Pages>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let sender = request.extensions().get::<ConnectInfo<Peer>>();
    let client = sender.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| peer.address.ip());
    let request_id = base64url(&random_bytes::<16>());
    // No language can be chosen here, as there is no portal to keep the choice.
    let language = pages.language(request.headers());
    let reader = Reader { language, here: None };
    let visit = Visit { client, request_id, origin: Origin::clone(&public_url), is_public: true, reader };
    request.extensions_mut().insert(visit);
    next.run(request).await
}

/// Asks now and then whether the store answers and the issuer is made.
async fn watch_readiness(readiness: Readiness, store: Shared, late: Late, mut stopping: watch::Receiver<bool>) {
    loop {
        let stored = store.get("readiness").await.map(drop);
        readiness.set("store", stored.map_err(|error| Chain(&error).to_string()));
        let is_made = late.is_made();
        readiness.set("issuer", if is_made { Ok(()) } else { Err("waiting for the store".to_owned()) });
        tokio::select! {
            () = tokio::time::sleep(if is_made { READINESS } else { RETRY }) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl RunningIssuer {
    /// Goes over to the log level of a configuration that was read just now; everything else of it is what the issuer is
    /// made of, and waits for a restart. Says in the log what is different.
    ///
    /// # Errors
    /// Why the issuer goes on as it was.
    pub fn reload(&mut self, read: Result<Config, Problems>) -> Result<Reloaded, NotReloaded> {
        let following = |wanted: Config| {
            let mut config = self.config.clone();
            config.log.level.clone_from(&wanted.log.level);
            telemetry::follow(&config.log).map_err(Error::from)?;
            Ok((config, wanted))
        };
        let (metrics, readiness) = (&self.metrics, &self.readiness);
        let (config, wanted) =
            read.map_err(NotReloaded::from).and_then(following).inspect_err(|why| why.tell(metrics, readiness))?;
        let reloaded = Reloaded::new(&self.config, &config, &wanted);
        reloaded.tell(&wanted, metrics, readiness, &self.clock);
        self.config = config;
        Ok(reloaded)
    }

    /// How long open requests may go on when the issuer stops.
    pub const fn stop_timeout(&self) -> Span {
        self.config.stop_timeout
    }

    /// Returns once requests can be served.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        wait_for(self.readiness.clone())
    }

    /// What a successor listens on.
    ///
    /// # Errors
    /// When it could not go on with what there is.
    pub fn share(&self) -> Result<Vec<TcpListener>, Unshared> {
        if self.config.session.store == store::Location::Memory {
            return Err(Unshared::Memory);
        }
        Ok(self.sockets.share()?)
    }

    /// Counts a successor that could not take over.
    pub fn not_upgraded(&self) {
        self.metrics.not_upgraded();
    }

    /// How long open requests may go on when a successor has taken over.
    pub const fn upgrade_timeout(&self) -> Span {
        self.config.upgrade_timeout
    }

    /// Leaves every listener to a successor. Requests that are open go on.
    pub fn leave(&self) {
        self.leave.send_replace(true);
        self.stop.send_replace(true);
        self.sockets.release();
    }

    /// Returns once nothing is open any more, which something else must have asked for.
    pub async fn left(&mut self) {
        if !self.served.is_finished() {
            (&mut self.served).await.ok();
        }
    }

    /// Stops: no new connection, and open requests go on for a while.
    pub async fn stop(mut self) {
        self.readiness.stopping();
        self.stop.send_replace(true);
        self.sockets.release();
        let stop_timeout = self.config.stop_timeout.0;
        if tokio::time::timeout(stop_timeout, self.left()).await.is_err() {
            tracing::warn!("stopped with requests open");
            self.served.abort();
        }
        self.leave.send_replace(true);
        self.close.send_replace(true);
        let mailing = self.mailing.abort_handle();
        if tokio::time::timeout(stop_timeout, self.mailing).await.is_err() {
            tracing::warn!("stopped while mail was being sent; it goes out after the next start");
            mailing.abort();
        }
        for helper in self.helpers {
            helper.abort();
        }
    }
}
