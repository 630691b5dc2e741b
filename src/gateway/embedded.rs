//! Runs the built-in issuer beside the gateway: on a loopback port, with credentials made at start.
//!
//! The store may come later than the gateway, and the issuer needs it; until then its listener says 503.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use url::Url;

use super::{Error, RETRY, local_address, loopback, serve};
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::config::Config;
use crate::issuer::{self, Issuer, OwnClient};
use crate::mosaic::{ClientAuthentication, Connection, Wording};
use crate::pages::Pages;
use crate::portal;
use crate::portal::answer::{Failure, Refusal};
use crate::secret;
use crate::session::Chain;
use crate::store::Shared;
use crate::telemetry::Metrics;

/// The name that the gateway goes by at its own issuer.
const CLIENT_ID: &str = "linkgate";

/// The issuer, before and after it is ready.
pub(super) struct Embedded {
    listener: Option<TcpListener>,
    address: SocketAddr,
    config: issuer::Config,
    settings: issuer::Settings,
    client: OwnClient,
    store: Shared,
    clock: Clock,
    pages: Arc<Pages>,
    made: Late,
}

/// The issuer and its routers once there is an issuer.
#[derive(Clone, Default)]
struct Late(Arc<OnceLock<Made>>);

struct Made {
    issuer: Issuer,
    api: Router,
    pages: Router,
}

impl Embedded {
    pub(super) fn new(
        config: &Config,
        store: &Shared,
        clock: &Clock,
        pages: &Arc<Pages>,
        listener: TcpListener,
    ) -> Result<Self, Error> {
        let client = OwnClient {
            id: CLIENT_ID.to_owned(),
            secret: secret::random_token(),
            redirect_uris: vec![config.public_url.join(portal::CALLBACK)],
        };
        let settings = issuer::Settings {
            public_url: config.public_url.clone(),
            app_name: pages.app_name().to_owned(),
            own_client: Some(client.clone()),
            link_lifetime: config.sign_in.link_lifetime.0,
        };
        Ok(Self {
            address: local_address(&listener, loopback()),
            listener: Some(listener),
            config: config.issuer.clone().unwrap_or_default(),
            settings,
            client,
            store: Arc::clone(store),
            clock: clock.clone(),
            pages: Arc::clone(pages),
            made: Late::default(),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
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
            issuer: Issuer::name(&self.settings.public_url),
            client_id: self.client.id.clone(),
            client_authentication: ClientAuthentication::SecretPost(self.client.secret.clone()),
            certificate_authorities: Vec::new(),
            wording: Wording::default(),
        }
    }

    /// Its pages for the public origin.
    pub(super) fn pages(&self) -> Router {
        let late = self.made.clone();
        let page = move |request: Request| async move { late.pages(request).await };
        Router::new()
            .route("/.linkgate/link", axum::routing::any(page.clone()))
            .route("/.linkgate/mailbox", axum::routing::any(page.clone()))
            .route("/.linkgate/mailbox/{*rest}", axum::routing::any(page))
    }

    /// Makes the issuer, unless the store does not let it yet.
    pub(super) async fn make(&self) -> bool {
        match self.issuer().await {
            Ok(issuer) => {
                let (api, pages) = (issuer.api(), pages(&issuer));
                self.made.0.set(Made { issuer, api, pages }).is_ok()
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "failed to start the issuer");
                false
            }
        }
    }

    async fn issuer(&self) -> Result<Issuer, issuer::Error> {
        let (config, settings, clock) = (self.config.clone(), self.settings.clone(), self.clock.clone());
        Issuer::new(config, settings, Arc::clone(&self.store), clock, Arc::clone(&self.pages)).await
    }

    /// Serves the API and nothing else, for a command beside the gateway: it does not wait for the store.
    pub(super) async fn serve_api(mut self, stopping: watch::Receiver<bool>) -> Result<JoinHandle<()>, issuer::Error> {
        let issuer = self.issuer().await?;
        let listener = self.listener.take().expect("the listener is taken once: `self` is used up");
        Ok(serve(listener, issuer.api(), stopping))
    }

    /// Serves the API, makes the issuer as soon as the store lets it, and delivers its mail. The first task ends by
    /// itself when it is told to stop, once the mails that are being sent have arrived.
    pub(super) fn serve(
        mut self,
        mut stopping: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> (JoinHandle<()>, JoinHandle<()>) {
        let late = self.made.clone();
        let api = Router::new().fallback(move |request: Request| async move { late.api(request).await });
        let listener = self.listener.take().expect("the listener is taken once, here");
        let served = serve(listener, api, stopping.clone());
        let mailing = tokio::spawn(async move {
            let made = loop {
                if let Some(made) = self.made.0.get() {
                    break made;
                }
                if self.make().await {
                    continue;
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
            };
            made.issuer.run_mail(stopping, metrics, move |trouble| readiness.warn("mail", trouble)).await;
        });
        (mailing, served)
    }
}

/// The issuer's pages, which refuse as the portal does.
fn pages(issuer: &Issuer) -> Router {
    issuer
        .pages()
        .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
        .fallback(async || Failure::from(Refusal::NotFound))
}

impl Late {
    async fn api(&self, request: Request) -> Response {
        match self.0.get() {
            Some(made) => call(&made.api, request).await,
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }

    async fn pages(&self, request: Request) -> Response {
        match self.0.get() {
            Some(made) => call(&made.pages, request).await,
            None => Failure::from(Refusal::StoreUnavailable).into_response(),
        }
    }
}

/// The request goes in anew, without what the outer router noted about its path.
async fn call(router: &Router, request: Request) -> Response {
    let (outer, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = outer.method;
    *request.uri_mut() = outer.uri;
    *request.headers_mut() = outer.headers;
    router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
}
