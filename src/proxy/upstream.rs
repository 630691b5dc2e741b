//! The application behind a route: one server or several, which of them gets a request, and what is done when it fails.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use http::HeaderValue;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::telemetry::Metrics;

mod attempt;
mod balance;
mod check;
mod health;
mod kept;
mod names;
mod server;
pub mod setting;
pub mod tls;
pub mod url;

pub use attempt::{Attempts, MOST_ATTEMPTS, MOST_RETRIES};
use balance::Turns;
use check::Connector;
use health::Health;
use kept::Kept;
use names::{Name, Resolve, System};
use server::{Addresses, Place, Server, Terms};
use setting::{Balance, HealthSetting, Servers};
use tls::Tls;
use url::UpstreamUrl;

/// An application: its servers, and whose turn it is.
pub struct Upstream {
    servers: Vec<Server>,
    turns: Turns,
}

/// Everything that makes an upstream what it is. Two that agree in it are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Where it is.
    pub servers: Servers,
    /// Which server gets a request.
    pub balance: Balance,
    /// Whether it is spoken to in HTTP/2.
    pub http2: bool,
    /// What its servers are asked now and then.
    pub health: Option<HealthSetting>,
}

impl Upstream {
    /// Where its servers are.
    pub fn servers(&self) -> impl Iterator<Item = &UpstreamUrl> {
        self.servers.iter().map(|server| &server.url)
    }

    /// Host and port of each of them.
    pub fn authorities(&self) -> impl Iterator<Item = &HeaderValue> {
        self.servers.iter().map(|server| &server.authority)
    }

    /// Whether its servers are spoken to in HTTP/1.1, whatever else they may know.
    pub fn is_http1(&self) -> bool {
        self.servers.first().is_some_and(|server| !server.terms.http2)
    }

    /// The server whose turn it is, of those that are not `spent`: one that works, or, where none does, any.
    fn choose(&self, spent: &[usize], clock: &Clock) -> Option<usize> {
        let is_left = |server: usize| !spent.contains(&server);
        if self.servers.len() == 1 {
            return is_left(0).then_some(0);
        }
        let now = clock.now();
        let health = |server: usize| &self.servers[server].health;
        let open = |server: usize| self.servers[server].open.load(Ordering::Relaxed);
        let may = |server| is_left(server) && health(server).may_admit(now);
        let working = self.turns.next(may, |server| health(server).admits(now), open);
        working.or_else(|| self.turns.next(is_left, |_| true, open))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| server.url.to_string())).finish()
    }
}

/// Every upstream there is. Routes that say the same share one, and a new table of routes finds those of the old one
/// again, with what is known of their health.
pub struct Upstreams {
    demo: OnceLock<SocketAddr>,
    clock: Clock,
    metrics: Arc<Metrics>,
    resolver: Arc<dyn Resolve>,
    connector: Connector,
    stopping: watch::Receiver<bool>,
    known: Mutex<HashMap<Key, Weak<Upstream>>>,
}

/// A definition, with what the files of its TLS held.
type Key = (Definition, Vec<u8>);

impl Upstreams {
    /// None yet. Questions about health end with `stopping`.
    pub fn new(clock: Clock, metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) -> Self {
        let (resolver, connector, known) = (Arc::new(System), Connector::default(), Mutex::default());
        Self { demo: OnceLock::new(), clock, metrics, resolver, connector, stopping, known }
    }

    /// Notes where the built-in application listens, which never changes.
    pub fn demo_at(&self, address: SocketAddr) {
        self.demo.get_or_init(|| address);
    }

    /// The upstream that is so defined: the one there is, or a new one.
    pub fn find(&self, definition: Definition, tls: Tls) -> Arc<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, upstream| upstream.strong_count() > 0);
        let key = (definition, tls.terms.clone());
        if let Some(upstream) = known.get(&key).and_then(Weak::upgrade) {
            return upstream;
        }
        let upstream = Arc::new(self.make(&key, tls));
        if let Some(health) = &key.0.health {
            check::begin(&upstream, health.clone(), self.connector.clone(), self.stopping.clone());
        }
        known.insert(key, Arc::downgrade(&upstream));
        upstream
    }

    fn make(&self, key: &Key, tls: Tls) -> Upstream {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let (Definition { servers, balance, http2, .. }, _) = key;
        let terms = Arc::new(Terms { tls, http2: *http2, pool: hasher.finish() });
        let weights = servers.0.iter().map(|server| server.weight.get() as usize).collect();
        let servers = servers.0.iter().map(|server| self.server(&server.url, &terms)).collect();
        Upstream { servers, turns: Turns::new(*balance, weights) }
    }

    fn server(&self, url: &UpstreamUrl, terms: &Arc<Terms>) -> Server {
        let name = url.to_string();
        let (place, host) = match url {
            UpstreamUrl::Demo => (Place::Fixed(Addresses::Network(self.demo.get().copied().into_iter().collect())), ""),
            UpstreamUrl::FrontProxy => (Place::Fixed(Addresses::Network(Vec::new().into())), ""),
            UpstreamUrl::Unix(path) => (Place::Fixed(Addresses::Unix(path.to_string_lossy().into())), ""),
            UpstreamUrl::Network { host, port, .. } => {
                let name = || Name::new(host.clone(), *port, self.clock.clone(), Arc::clone(&self.resolver));
                (Place::of_address(host, *port).unwrap_or_else(|| Place::Name(name())), host.as_str())
            }
        };
        let server_name = terms.tls.server_name.as_deref().unwrap_or(host);
        Server {
            authority: HeaderValue::try_from(url.authority()).expect("host and port of a URL are printable ASCII"),
            place,
            server_name: if url.is_tls() { server_name.to_owned() } else { String::new() },
            terms: Arc::clone(terms),
            health: Health::new(name.clone(), self.metrics.upstream(&name)),
            open: AtomicUsize::new(0),
            kept: Kept::default(),
            preferred: AtomicUsize::new(0),
            url: url.clone(),
        }
    }
}
