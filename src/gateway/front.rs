//! The listeners that visitors reach: the proxy's, and the one that sends plain HTTP on.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::connectors::TransportConnector;
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::proxy::edge::{Connections, Edge, Threshold, Use};
use crate::proxy::redirect::Redirect;
use crate::proxy::stream::Registry;
use crate::proxy::upstream::MOST_ATTEMPTS;
use crate::proxy::{Proxy, Site};
use crate::telemetry::Metrics;

/// The open listeners.
pub(super) struct Front {
    proxy: Arc<Edge<HttpProxy<Proxy>>>,
    redirect: Option<Arc<Edge<HttpProxy<Redirect>>>>,
    accepting: Vec<JoinHandle<()>>,
    connections: Connections,
}

impl Front {
    /// Serves `site` on `listener`, and leads to it from `redirect_listener`, until told to stop.
    pub(super) fn open(
        site: Arc<ArcSwap<Site>>,
        clock: Clock,
        metrics: Arc<Metrics>,
        streams: Registry,
        listener: TcpListener,
        redirect_listener: Option<TcpListener>,
        stopping: &watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let threshold = Threshold::new(Arc::clone(&site), clock.clone(), streams.clone());
        let mut accepting = Vec::new();
        let connector = TransportConnector::new(None);
        let proxy = Proxy { site: Arc::clone(&site), clock: clock.clone(), metrics, streams, connector };
        let proxy = Edge::new(http(proxy), threshold.clone(), Use::Visitors);
        let listener = tokio::net::TcpListener::from_std(listener)?;
        accepting.push(tokio::spawn(Arc::clone(&proxy).accept(listener, stopping.clone())));
        let redirect = match redirect_listener {
            Some(listener) => {
                let redirect = Edge::new(http(Redirect { site, clock }), threshold.clone(), Use::Plain);
                let listener = tokio::net::TcpListener::from_std(listener)?;
                accepting.push(tokio::spawn(Arc::clone(&redirect).accept(listener, stopping.clone())));
                Some(redirect)
            }
            None => None,
        };
        Ok(Self { proxy, redirect, accepting, connections: threshold.connections() })
    }

    /// The open connections.
    pub(super) const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns once no connection is accepted any more, which something else must have asked for.
    pub(super) async fn closed(&mut self) {
        for accepting in self.accepting.drain(..) {
            accepting.await.ok();
        }
    }

    /// Closes the connections on which no request is under way.
    pub(super) async fn close_idle(&self) {
        self.proxy.close_idle().await;
        if let Some(redirect) = &self.redirect {
            redirect.close_idle().await;
        }
    }
}

fn http<P: ProxyHttp>(application: P) -> HttpProxy<P> {
    let conf =
        ServerConf { upstream_keepalive_pool_size: 256, max_retries: MOST_ATTEMPTS as usize, ..ServerConf::default() };
    http_proxy(&Arc::new(conf), application)
}
