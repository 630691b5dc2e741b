//! The demo application behind the gateway: a listener on loopback that stays where it is while its pages change.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::{Background, Error, bind, local_address, loopback, serve};
use crate::pages::Pages;

/// The demo application, until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Demo {
    address: SocketAddr,
    router: Arc<ArcSwap<Router>>,
    _served: Arc<Background>,
}

impl Demo {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When there is no port.
    pub(super) fn start(pages: &Arc<Pages>, closing: &watch::Receiver<bool>) -> Result<Self, Error> {
        let listener = bind("route.upstream", loopback())?;
        let address = local_address(&listener, loopback());
        let router = Arc::new(ArcSwap::from_pointee(crate::demo::router(Arc::clone(pages))));
        let present = Arc::clone(&router);
        let outer = Router::new().fallback(async move |request: Request| {
            let router = Router::clone(&present.load());
            router.oneshot(request).await.unwrap_or_else(|never| match never {})
        });
        let served = Arc::new(Background(serve(listener, outer, closing.clone())));
        Ok(Self { address, router, _served: served })
    }

    /// Where it is.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows these pages from now on.
    pub(super) fn dress(&self, pages: &Arc<Pages>) {
        self.router.store(Arc::new(crate::demo::router(Arc::clone(pages))));
    }
}
