//! Runs the built-in issuer beside the gateway: on a loopback port of the gateway's own, with credentials made at start,
//! and for other programs where the configuration says so.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::late::{self, Late};
use super::{Error, Sockets, bind, local_address, loopback, serve};
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::config::Config;
use crate::issuer::tls::Listener;
use crate::issuer::{self, Issuer, OwnClient};
use crate::mosaic::{ClientAuthentication, Connection, Wording};
use crate::pages::Pages;
use crate::portal;
use crate::portal::post::Post;
use crate::secret;
use crate::session::Chain;
use crate::store::Shared;
use crate::telemetry::Metrics;

/// The name that the gateway goes by at its own issuer.
const CLIENT_ID: &str = "linkgate";

/// The issuer of a gateway.
pub(super) struct Embedded {
    listener: TcpListener,
    address: SocketAddr,
    /// For other programs.
    open: Option<(Listener, SocketAddr)>,
    trusted_proxies: Vec<IpNet>,
    client: OwnClient,
    /// Programs of the same application.
    bearer_clients: Vec<String>,
    name: String,
    late: Late,
}

impl Embedded {
    /// The issuer of the gateway that `config` describes.
    ///
    /// # Errors
    /// When a port is taken, or the certificate for other programs cannot be used.
    pub(super) fn new(
        config: &Config,
        sockets: &Sockets,
        store: &Shared,
        clock: &Clock,
        pages: &Arc<Pages>,
    ) -> Result<Self, Error> {
        let listener = bind("issuer", loopback())?;
        let address = local_address(&listener, loopback());
        let of_issuer = config.issuer.clone().unwrap_or_default();
        let open = match of_issuer.listen {
            Some(wanted) => {
                let listener = sockets.bind("issuer.listen", wanted)?;
                let address = local_address(&listener, wanted);
                Some((late::open(listener, &of_issuer)?, address))
            }
            None => None,
        };
        let client = OwnClient {
            id: CLIENT_ID.to_owned(),
            secret: secret::random_token(),
            redirect_uris: vec![config.public_url.join(portal::CALLBACK)],
        };
        let scheme = if of_issuer.tls.is_some() { "https" } else { "http" };
        let api_url = match (&of_issuer.url, &open) {
            (Some(url), _) => url.to_string(),
            (None, Some((_, open))) => format!("{scheme}://{open}"),
            (None, None) => format!("http://{address}"),
        };
        let settings = issuer::Settings {
            public_url: config.public_url.clone(),
            name: Issuer::name(&config.public_url),
            api_url,
            app_name: pages.app_name().to_owned(),
            own_client: Some(client.clone()),
            link_lifetime: config.sign_in.link_lifetime.0,
        };
        let name = settings.name.clone();
        let of_application =
            of_issuer.client.iter().filter(|client| client.application.is_none() && !client.management);
        let bearer_clients = of_application.map(|client| client.id.clone()).collect();
        let late = Late::new(of_issuer, settings, store, clock, pages);
        let trusted_proxies = config.trusted_proxies.clone();
        Ok(Self { listener, address, open, trusted_proxies, client, bearer_clients, name, late })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where other programs reach it.
    pub(super) fn open_address(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|(_, address)| *address)
    }

    /// How the gateway's client reaches it: over HTTP, as it would reach Mosaic.
    pub(super) fn connection(&self) -> Connection {
        let base = |path: &str| {
            Url::parse(&format!("http://{}{path}", self.address)).expect("an address and a path make a URL")
        };
        Connection {
            base_url: base("/"),
            token_url: base("/oidc/token"),
            key_set_url: base("/cis/oidc/jwks"),
            issuer: self.name.clone(),
            client_id: self.client.id.clone(),
            client_authentication: ClientAuthentication::SecretPost(self.client.secret.clone()),
            certificate_authorities: Vec::new(),
            wording: Wording { bearer_clients: self.bearer_clients.clone(), ..Wording::default() },
        }
    }

    /// Its pages for the public origin.
    pub(super) fn pages(&self) -> Router {
        self.late.pages()
    }

    /// What has mails of the gateway sent.
    pub(super) fn post(&self) -> Arc<dyn Post> {
        Arc::new(self.late.clone())
    }

    /// Makes the issuer, unless the store does not let it yet.
    pub(super) async fn make(&self) {
        if let Err(error) = self.late.make().await {
            tracing::warn!(error = %Chain(&error), "failed to start the issuer");
        }
    }

    /// Serves the API and nothing else, for a command beside the gateway: it does not wait for the store.
    ///
    /// # Errors
    /// When the issuer cannot be made.
    pub(super) async fn serve_api(self, stopping: watch::Receiver<bool>) -> Result<JoinHandle<()>, issuer::Error> {
        self.late.make().await?;
        Ok(serve(self.listener, self.late.api(), stopping))
    }

    /// Serves the API, to other programs until `leaving`, makes the issuer as soon as the store lets it, and delivers
    /// its mail. The first task ends by itself when it is told to stop, once the mails that are being sent have arrived.
    pub(super) fn serve(
        self,
        stopping: &watch::Receiver<bool>,
        leaving: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> (JoinHandle<()>, Vec<JoinHandle<()>>) {
        let mut tasks = vec![serve(self.listener, self.late.api(), stopping.clone())];
        if let Some((listener, _)) = self.open {
            tasks.push(late::serve_others(listener, self.late.api(), &self.trusted_proxies, leaving));
        }
        (tokio::spawn(self.late.run(stopping.clone(), metrics, readiness)), tasks)
    }
}
