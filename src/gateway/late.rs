//! The issuer, before and after it is ready: the store may come later than the program, and the issuer needs it. Until
//! then its API and its pages say 503.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Json;
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{StatusCode, header};
use ipnet::IpNet;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::RETRY;
use crate::admin::Readiness;
use crate::clock::{Clock, Timestamp};
use crate::identity::EmailAddress;
use crate::issuer::tls::{Listener, Peer};
use crate::issuer::{self, Issuer};
use crate::pages::{Letter, Pages, Reader};
use crate::portal::answer::{Failure, Refusal};
use crate::portal::post::{Post, Unsent};
use crate::proxy::canonical::client_address;
use crate::session::Chain;
use crate::store::Shared;
use crate::telemetry::Metrics;

/// What an issuer is made of, and the issuer once there is one. Clones are one.
#[derive(Clone)]
pub(super) struct Late(Arc<Inner>);

struct Inner {
    config: issuer::Config,
    settings: issuer::Settings,
    store: Shared,
    clock: Clock,
    pages: Arc<Pages>,
    made: OnceLock<Made>,
}

struct Made {
    issuer: Issuer,
    api: Router,
    pages: Router,
}

impl Late {
    pub(super) fn new(
        config: issuer::Config,
        settings: issuer::Settings,
        store: &Shared,
        clock: &Clock,
        pages: &Arc<Pages>,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            settings,
            store: Arc::clone(store),
            clock: clock.clone(),
            pages: Arc::clone(pages),
            made: OnceLock::new(),
        }))
    }

    pub(super) fn is_made(&self) -> bool {
        self.0.made.get().is_some()
    }

    /// Makes the issuer.
    ///
    /// # Errors
    /// When the store does not let it yet, or the configuration never will.
    pub(super) async fn make(&self) -> Result<(), issuer::Error> {
        let Inner { config, settings, store, clock, pages, made } = &*self.0;
        let issuer =
            Issuer::new(config.clone(), settings.clone(), Arc::clone(store), clock.clone(), Arc::clone(pages)).await?;
        // Where two make it at once, they are one: everything is in the store.
        let (api, pages) = (issuer.api(), pages_of(&issuer));
        drop(made.set(Made { issuer, api, pages }));
        Ok(())
    }

    /// Makes the issuer as soon as the store lets it, and delivers its mail until told to stop.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>, metrics: Arc<Metrics>, readiness: Readiness) {
        let made = loop {
            if let Some(made) = self.0.made.get() {
                break made;
            }
            if let Err(error) = self.make().await {
                tracing::warn!(error = %Chain(&error), "failed to start the issuer");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
            }
        };
        made.issuer.run_mail(stopping, metrics, move |trouble| readiness.warn("mail", trouble)).await;
    }

    /// Mosaic's API.
    pub(super) fn api(&self) -> Router {
        let late = self.clone();
        Router::new().fallback(async move |request: Request| match late.0.made.get() {
            Some(made) => call(&made.api, request).await,
            None => {
                let body = json!({ "message": "Service unavailable", "error_code": 503 });
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], Json(body)).into_response()
            }
        })
    }

    /// Its pages for the public origin.
    pub(super) fn pages(&self) -> Router {
        let late = self.clone();
        let page = move |request: Request| async move {
            match late.0.made.get() {
                Some(made) => call(&made.pages, request).await,
                None => Failure::from(Refusal::StoreUnavailable).into_response(),
            }
        };
        Router::new()
            .route("/.linkgate/link", any(page.clone()))
            .route("/.linkgate/mailbox", any(page.clone()))
            .route("/.linkgate/mailbox/{*rest}", any(page))
    }
}

#[async_trait]
impl Post for Late {
    async fn send(&self, to: &EmailAddress, letter: Letter, until: Timestamp) -> Result<(), Unsent> {
        let Some(made) = self.0.made.get() else {
            tracing::error!("a mail is not sent: the issuer is not ready");
            return Err(Unsent);
        };
        if made.issuer.post(to, letter, until).await { Ok(()) } else { Err(Unsent) }
    }

    async fn is_open(&self) -> bool {
        match self.0.made.get() {
            Some(made) => made.issuer.takes_mail().await,
            // Calls say so themselves.
            None => true,
        }
    }
}

/// The issuer's pages, which refuse as the portal does.
fn pages_of(issuer: &Issuer) -> Router {
    issuer
        .pages()
        .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
        .fallback(async || Failure::from(Refusal::NotFound))
}

/// The request goes in anew, without what the outer router noted about its path, and with what is known of its sender
/// and reader.
async fn call(router: &Router, request: Request) -> Response {
    let (mut outer, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = outer.method;
    *request.uri_mut() = outer.uri;
    *request.headers_mut() = outer.headers;
    if let Some(sender) = outer.extensions.remove::<ConnectInfo<Peer>>() {
        request.extensions_mut().insert(sender);
    }
    if let Some(reader) = outer.extensions.remove::<Reader>() {
        request.extensions_mut().insert(reader);
    }
    router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// Behind a proxy of ours, the sender is whom that proxy names: limits are for each sender.
async fn name_sender(State(trusted): State<Arc<[IpNet]>>, mut request: Request) -> Request {
    if let Some(ConnectInfo(mut peer)) = request.extensions().get::<ConnectInfo<Peer>>().cloned() {
        peer.address.set_ip(client_address(peer.address, request.headers(), &trusted));
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    request
}

/// The listener of other programs.
///
/// # Errors
/// When its certificate or its key cannot be used.
pub(super) fn open(listener: TcpListener, config: &issuer::Config) -> Result<Listener, super::Error> {
    Ok(Listener::new(listener, config)?)
}

/// Serves other programs, some of them behind `trusted_proxies`, until told to stop.
pub(super) fn serve_others(
    listener: Listener,
    router: Router,
    trusted_proxies: &[IpNet],
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let trusted: Arc<[IpNet]> = trusted_proxies.into();
    let router = router.layer(middleware::map_request_with_state(trusted, name_sender));
    tokio::spawn(async move {
        let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        let service = router.into_make_service_with_connect_info::<Peer>();
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "failed to serve the issuer's listener");
        }
    })
}
