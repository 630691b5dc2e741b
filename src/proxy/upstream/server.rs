//! One server of an upstream: where it is, on what terms it is spoken to, and how it is doing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;

use super::health::Health;
use super::kept::Kept;
use super::names::Name;
use super::tls::Tls;
use super::url::UpstreamUrl;

/// One server.
pub(super) struct Server {
    pub(super) url: UpstreamUrl,
    /// Host and port of its URL.
    pub(super) authority: HeaderValue,
    pub(super) place: Place,
    pub(super) terms: Arc<Terms>,
    /// The name that TLS asks for; empty without TLS.
    pub(super) server_name: String,
    pub(super) health: Health,
    /// Requests that it has not answered to their end.
    pub(super) open: AtomicUsize,
    /// Connections that requests are sent on by [`crate::proxy`] itself.
    pub(super) kept: Kept,
    /// The address to begin with: the last one known to take connections, or the one behind the last that did not.
    pub(super) preferred: AtomicUsize,
}

/// On what terms the servers of an upstream are spoken to.
pub(super) struct Terms {
    pub(super) tls: Tls,
    pub(super) http2: bool,
    /// Told apart in the pool of connections, so that none is shared across upstreams that differ.
    pub(super) pool: u64,
}

/// Where connections go.
pub(super) enum Place {
    /// Known addresses; none where the built-in application does not run.
    Fixed(Addresses),
    /// Those behind a name.
    Name(Arc<Name>),
}

/// Where a connection can go.
#[derive(Clone)]
pub(super) enum Addresses {
    Network(Arc<[SocketAddr]>),
    Unix(Arc<str>),
}

/// Streams on one HTTP/2 connection: what common servers allow.
const STREAMS: usize = 100;

impl Server {
    /// At least one address.
    ///
    /// # Errors
    /// When there is none, or the name cannot be resolved.
    pub(super) async fn addresses(&self) -> io::Result<Addresses> {
        match &self.place {
            Place::Fixed(addresses) if addresses.count() == 0 => Err(io::Error::other("there is no address")),
            Place::Fixed(addresses) => Ok(addresses.clone()),
            Place::Name(name) => Box::pin(name.addresses()).await.map(Addresses::Network),
        }
    }

    /// The peer at the address `at` of those that [`Server::addresses`] gave. Who makes one sends a request there.
    pub(super) fn peer_at(&self, addresses: &Addresses, at: usize) -> pingora::Result<Box<HttpPeer>> {
        // It is large, so it is moved to the heap before anything else.
        let mut peer = Box::new(match addresses {
            Addresses::Network(addresses) => {
                HttpPeer::new(nth(addresses, at), self.url.is_tls(), self.server_name.clone())
            }
            Addresses::Unix(path) => HttpPeer::new_uds(path, false, String::new())?,
        });
        let Terms { tls, http2, pool } = &*self.terms;
        peer.group_key = *pool;
        if self.url.is_tls() {
            peer.client_cert_key.clone_from(&tls.certificate);
            peer.options.ca.clone_from(&tls.authorities);
            peer.options.verify_cert = !tls.unverified;
            peer.options.verify_hostname = !tls.unverified;
        }
        if *http2 {
            // Where nothing is agreed about (without TLS) the server is taken at its word.
            peer.options.alpn = if self.url.is_tls() { ALPN::H2H1 } else { ALPN::H2 };
            peer.options.max_h2_streams = STREAMS;
        }
        Ok(peer)
    }

    /// Where to begin among the addresses.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Begins elsewhere the next time: the address `at` took no connection.
    pub(super) fn avoid(&self, at: usize) {
        // Unless somebody has said so already.
        self.preferred.compare_exchange(at, at.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed).ok();
    }
}

impl Addresses {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Network(addresses) => addresses.len(),
            Self::Unix(_) => 1,
        }
    }

    /// The address at the place `at`, round and round.
    pub(super) fn network(&self, at: usize) -> Option<SocketAddr> {
        match self {
            Self::Network(addresses) => Some(nth(addresses, at)),
            Self::Unix(_) => None,
        }
    }
}

const fn nth(addresses: &[SocketAddr], at: usize) -> SocketAddr {
    addresses[at % addresses.len()]
}

impl Place {
    /// The place of an address that need not be asked for, which `host` is, or else `None`.
    pub(super) fn of_address(host: &str, port: u16) -> Option<Self> {
        let address = host.parse::<IpAddr>().ok()?;
        Some(Self::Fixed(Addresses::Network([SocketAddr::new(address, port)].into())))
    }
}
