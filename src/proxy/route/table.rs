//! Which route a request belongs to: host first, then the longest path, then the method.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::{Config, HostPattern, Route};
use crate::origin::{Authority, Origin};
use crate::proxy::canonical::CanonicalPath;
use crate::proxy::upstream::Upstreams;
use crate::proxy::upstream::tls::BadTls;

/// Every route, by host.
#[derive(Debug)]
pub struct Table {
    public_url: Origin,
    exact: Map<String, Paths>,
    /// Those of every name below the key.
    below: Map<String, Paths>,
    /// The spellings in which hosts that have a name of their own usually come.
    known: Map<Vec<u8>, Known>,
}

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// The routes of a host by their paths. A request is looked up once for each length that paths have at most, however many
/// of them there are.
#[derive(Debug, Default)]
struct Paths {
    /// Those for some methods before the one for all of them.
    routes: Map<String, Vec<Arc<Route>>>,
    /// How long the paths are, the longest first.
    lengths: Vec<usize>,
}

impl Paths {
    fn insert(&mut self, route: Arc<Route>) {
        let length = route.path.len();
        if let Err(place) = self.lengths.binary_search_by_key(&Reverse(length), |length| Reverse(*length)) {
            self.lengths.insert(place, length);
        }
        let alike = self.routes.entry(route.path.clone()).or_default();
        alike.push(route);
        alike.sort_by_key(|route| route.methods.is_none());
    }

    /// The routes whose paths `path` is, or lies below, the most specific first.
    fn above(&self, path: &CanonicalPath) -> impl Iterator<Item = &Arc<Route>> + Clone {
        self.lengths.iter().filter_map(|length| self.routes.get(path.start(*length)?)).flatten()
    }
}

/// A host of ours.
#[derive(Debug)]
pub struct Known {
    /// Host, and port where that is not the scheme's own.
    pub authority: Arc<str>,
    /// The host alone.
    pub host: Arc<str>,
}

/// What there is for a request.
#[derive(Debug)]
pub enum Found<'t> {
    /// This route.
    Route(&'t Arc<Route>),
    /// Routes for other methods only: these, as the field `Allow` lists them.
    OtherMethods(HeaderValue),
    /// Nothing.
    Nothing,
}

impl Table {
    /// The routes of a configuration, whose upstreams are taken from `upstreams`.
    ///
    /// # Errors
    /// When a file of certificates cannot be used any more. (`check` finds that, and more, with its place.)
    pub fn new(routes: &[Config], public_url: &Origin, upstreams: &Upstreams) -> Result<Self, BadTls> {
        let public_url = public_url.clone();
        let mut table = Self { public_url, exact: Map::default(), below: Map::default(), known: Map::default() };
        for (number, route) in routes.iter().enumerate() {
            let public = || HostPattern::Exact(table.public_url.host.clone());
            let host = route.host.as_deref().and_then(HostPattern::parse).unwrap_or_else(public);
            let route = Arc::new(Route::new(number, route, &host, upstreams)?);
            match host {
                HostPattern::Exact(host) => table.exact.entry(host).or_default().insert(route),
                HostPattern::Below(name) => table.below.entry(name).or_default().insert(route),
            }
        }
        let Origin { host, port, scheme } = &table.public_url;
        let port = Some(*port).filter(|port| *port != scheme.default_port());
        for host in table.exact.keys().chain([host]) {
            let authority = Authority { host: host.clone(), port }.to_string();
            let known = Known { authority: authority.as_str().into(), host: host.as_str().into() };
            table.known.insert(authority.into_bytes(), known);
        }
        Ok(table)
    }

    /// The host that a `Host` field names, where it is spelled as usual.
    pub fn known(&self, field: &[u8]) -> Option<&Known> {
        self.known.get(field)
    }

    /// Whether requests for this authority are answered at all: on the port of `public_url`, and for the hosts of the
    /// routes or that of sign-in.
    pub fn serves(&self, authority: &Authority) -> bool {
        let port = authority.port.unwrap_or(self.public_url.scheme.default_port());
        port == self.public_url.port && self.serves_host(&authority.host)
    }

    /// The same for a host, whatever the port.
    pub fn serves_host(&self, host: &str) -> bool {
        host == self.public_url.host || self.on(host).is_some()
    }

    /// The most specific route for a request.
    pub fn find(&self, host: &str, path: &CanonicalPath, method: &Method) -> Found<'_> {
        let routes = self.on(host).into_iter().flat_map(|paths| paths.above(path));
        if let Some(route) = routes.clone().find(|route| route.serves(method)) {
            return Found::Route(route);
        }
        let mut others: Vec<&str> =
            routes.filter_map(|route| route.methods.as_deref()).flatten().map(|method| method.0.as_str()).collect();
        others.sort_unstable();
        others.dedup();
        let allowed = HeaderValue::try_from(others.join(", ")).ok().filter(|_| !others.is_empty());
        allowed.map_or(Found::Nothing, Found::OtherMethods)
    }

    /// The routes of a host: those that name it, or else those of the nearest name that it is below.
    fn on(&self, host: &str) -> Option<&Paths> {
        if let Some(routes) = self.exact.get(host) {
            return Some(routes);
        }
        let mut name = host;
        while let Some((_, above)) = name.split_once('.') {
            if let Some(routes) = self.below.get(above) {
                return Some(routes);
            }
            name = above;
        }
        None
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact.values().chain(self.below.values()).flat_map(|paths| paths.routes.values().flatten())
    }
}
