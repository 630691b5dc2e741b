//! Host and longest path prefix decide the route.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::{Access, Mode, Policy, PublicRule, Rule};
use super::canonical::CanonicalPath;
use super::upstream::{BadUpstream, Upstream};
use crate::origin::{Authority, Origin};
use crate::setting::{self, Span};

/// `[[route]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host it serves; the host of `public_url` where there is none.
    #[serde(default)]
    pub host: Option<String>,
    /// The path it serves, with everything below it.
    #[serde(default)]
    pub path: Option<String>,
    /// The application: a URL, or `"demo"` for the one built in.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Who may pass.
    #[serde(default)]
    pub access: Access,
    /// Says that a public route without a path, or with `/`, is meant: nothing on the host then needs a sign-in.
    #[serde(default)]
    pub whole_site: bool,
    /// Which of the signed-in visitors may pass: whom any of the rules fits; every one of them where there are none.
    #[serde(default, deserialize_with = "setting::optional_tables")]
    pub allow: Option<Vec<Rule>>,
    /// Who may not pass, whatever `allow` says: whom any of the rules fits.
    #[serde(default, deserialize_with = "setting::tables")]
    pub deny: Vec<Rule>,
    /// What comes of it when the rules object to a visitor.
    #[serde(default)]
    pub mode: Mode,
    /// Whether visitors who may not pass are told why.
    #[serde(default)]
    pub show_reason: bool,
    /// What the operator says to them.
    #[serde(default)]
    pub no_access_text: Option<String>,
    /// Parts of the route that need no sign-in.
    #[serde(default, deserialize_with = "setting::tables")]
    pub public: Vec<PublicRule>,
    /// Whether manifest, icons and the like, which browsers fetch without credentials, need no sign-in.
    #[serde(default)]
    pub public_browser_files: bool,
    /// The time for the connection to the application to be made.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// The time for the application to begin, or to go on with, its answer.
    #[serde(default = "response_timeout")]
    pub response_timeout: Span,
}

const fn connect_timeout() -> Span {
    Span::seconds(5)
}

const fn response_timeout() -> Span {
    Span::seconds(60)
}

impl Config {
    /// Every rule that looks at visitors.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.allow.iter().flatten().chain(&self.deny)
    }
}

/// A part of the site, with the application that serves it.
#[derive(Debug)]
pub struct Route {
    /// Host and path, for logs: `app.example.com/admin`.
    pub name: String,
    /// The path it serves, without a slash at its end; empty for all of the host.
    pub path: String,
    /// Where requests go.
    pub upstream: Upstream,
    /// Who may pass.
    pub policy: Policy,
    /// The time for the connection to the upstream to be made.
    pub connect_timeout: Duration,
    /// The time for the upstream to begin, or to go on with, its answer.
    pub response_timeout: Duration,
    /// Told apart in the pool of connections, so that routes never share one across their settings.
    pub pool: u64,
}

/// Every route, by host.
#[derive(Debug)]
pub struct Table {
    public_url: Origin,
    hosts: HashMap<String, Vec<Arc<Route>>>,
}

impl Table {
    /// The routes of a configuration; `demo` is where the built-in application listens.
    ///
    /// # Errors
    /// When an upstream is none. (`check` finds that, and more, with its place.)
    pub fn new(routes: &[Config], public_url: &Origin, demo: Option<SocketAddr>) -> Result<Self, BadUpstream> {
        let mut hosts: HashMap<String, Vec<Arc<Route>>> = HashMap::new();
        for route in routes {
            let host = route.host.as_deref().and_then(Authority::parse).map_or(public_url.host.clone(), |it| it.host);
            let route = Route::new(route, &host, demo)?;
            hosts.entry(host).or_default().push(Arc::new(route));
        }
        for routes in hosts.values_mut() {
            routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        }
        hosts.entry(public_url.host.clone()).or_default();
        Ok(Self { public_url: public_url.clone(), hosts })
    }

    /// Whether requests for this authority are ours: a configured host on the public port.
    pub fn serves(&self, authority: &Authority) -> bool {
        let port = authority.port.unwrap_or(self.public_url.scheme.default_port());
        port == self.public_url.port && self.serves_host(&authority.host)
    }

    /// Whether any route, or sign-in, is on this host.
    pub fn serves_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The route with the longest path that `path` is below.
    pub fn find(&self, host: &str, path: &CanonicalPath) -> Option<&Arc<Route>> {
        self.hosts.get(host)?.iter().find(|route| path.is_below(&route.path))
    }

    /// Every route, hosts in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.hosts.values().flatten()
    }
}

impl Route {
    fn new(config: &Config, host: &str, demo: Option<SocketAddr>) -> Result<Self, BadUpstream> {
        let path = config.path.as_deref().unwrap_or("/").trim_end_matches('/').to_owned();
        let upstream = match (config.upstream.as_deref(), demo) {
            (Some("demo"), Some(demo)) => Upstream { tls: false, host: demo.ip().to_string(), port: demo.port() },
            (upstream, _) => Upstream::parse(upstream.unwrap_or_default())?,
        };
        let mut hasher = DefaultHasher::new();
        (host, &path, &upstream).hash(&mut hasher);
        Ok(Self {
            name: format!("{host}{}", if path.is_empty() { "/" } else { &path }),
            policy: Policy::new(config, &path),
            path,
            upstream,
            connect_timeout: config.connect_timeout.0,
            response_timeout: config.response_timeout.0,
            pool: hasher.finish(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &str) -> Table {
        #[derive(Deserialize)]
        struct Routes {
            route: Vec<Config>,
        }
        let routes: Routes = toml::from_str(routes).unwrap();
        let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
        Table::new(&routes.route, &public_url, Some(SocketAddr::from(([127, 0, 0, 1], 9)))).unwrap()
    }

    #[test]
    fn the_longest_path_on_the_host_wins_in_either_order() {
        let routes = [
            "[[route]]\npath = \"/\"\nupstream = \"http://a:1\"\n",
            "[[route]]\npath = \"/admin\"\nupstream = \"http://b:2\"\n",
            "[[route]]\nhost = \"Wiki.example.com\"\nupstream = \"http://c:3\"\naccess = \"public\"\n",
        ];
        for order in [[0, 1, 2], [2, 1, 0]] {
            let table = table(&order.map(|index| routes[index]).concat());
            let check = |host: &str, path: &str, expected: Option<&str>| {
                let path = CanonicalPath::parse(path.as_bytes()).unwrap();
                assert_eq!(
                    table.find(host, &path).map(|route| route.upstream.host.as_str()),
                    expected,
                    "{host} {path:?}"
                );
            };
            check("app.example.com", "/", Some("a"));
            check("app.example.com", "/administrator", Some("a"));
            check("app.example.com", "/admin", Some("b"));
            check("app.example.com", "//admin//x", Some("b"));
            check("wiki.example.com", "/admin", Some("c"));
            check("other.example.com", "/", None);
        }
    }

    #[test]
    fn hosts_are_served_on_the_public_port_only() {
        let table = table("[[route]]\nhost = \"wiki.example.com\"\nupstream = \"demo\"\n");
        let serves = |authority: &str| table.serves(&Authority::parse(authority).unwrap());
        assert!(serves("wiki.example.com"));
        assert!(serves("wiki.example.com:443"));
        assert!(serves("app.example.com"), "sign-in lives there");
        assert!(!serves("wiki.example.com:8080"));
        assert!(!serves("evil.test"));
        let path = CanonicalPath::parse(b"/").unwrap();
        assert!(table.find("app.example.com", &path).is_none(), "unmatched is refused");
    }
}
