//! Which route is found: tables, and whatever routes and requests there may be.

use http::Method;
use proptest::prelude::*;
use tokio::sync::watch;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::origin::{Authority, Origin};
use crate::proxy::canonical::CanonicalPath;
use crate::telemetry::Metrics;

fn table(routes: &str) -> Table {
    #[derive(Deserialize)]
    struct Routes {
        route: Vec<Config>,
    }
    let routes: Routes = toml::from_str(routes).unwrap();
    let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
    let clock = Clock::manual(Timestamp::from_unix_seconds(0));
    let metrics = Arc::new(Metrics::new().unwrap());
    let upstreams = Upstreams::new(clock, metrics, watch::channel(false).1);
    Table::new(&routes.route, &public_url, &upstreams).unwrap()
}

/// The upstream of the route that is found, or what is said in its place.
fn found(table: &Table, host: &str, path: &str, method: &str) -> String {
    let path = CanonicalPath::parse(path.as_bytes()).unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match table.find(host, &path, &method) {
        Found::Route(route) => format!("{:?}", route.upstream).replace(['[', ']', '"'], ""),
        Found::OtherMethods(allowed) => format!("405 {}", allowed.to_str().unwrap()),
        Found::Nothing => "404".to_owned(),
    }
}

/// Checks in both orders of the routes.
fn check(routes: &[&str], cases: &[(&str, &str, &str, &str)]) {
    let forwards: Vec<&str> = routes.to_vec();
    let backwards: Vec<&str> = routes.iter().rev().copied().collect();
    for order in [forwards, backwards] {
        let table = table(&order.iter().map(|route| format!("[[route]]\n{route}\n")).collect::<String>());
        for (host, path, method, expected) in cases {
            let expected = if expected.len() == 1 { format!("http://{expected}") } else { (*expected).to_owned() };
            assert_eq!(found(&table, host, path, method), expected, "{method} {host}{path}");
        }
    }
}

#[test]
fn the_longest_path_on_the_host_wins() {
    let routes = [
        "path = '/'\nupstream = 'http://a'",
        "path = '/admin'\nupstream = 'http://b'",
        "host = 'wiki.example.com'\nupstream = 'http://c'\naccess = 'public'",
    ];
    check(
        &routes,
        &[
            ("app.example.com", "/", "GET", "a"),
            ("app.example.com", "/administrator", "GET", "a"),
            ("app.example.com", "/admin", "GET", "b"),
            ("app.example.com", "//admin//x", "GET", "b"),
            ("wiki.example.com", "/admin", "GET", "c"),
            ("other.example.com", "/", "GET", "404"),
        ],
    );
}

#[test]
fn a_host_comes_before_a_name_above_it_and_a_near_name_before_a_far_one() {
    let routes = [
        "host = '*.example.com'\nupstream = 'http://a'",
        "host = '*.dev.example.com'\nupstream = 'http://b'",
        "host = 'x.dev.example.com'\npath = '/x'\nupstream = 'http://c'",
    ];
    check(
        &routes,
        &[
            ("wiki.example.com", "/", "GET", "a"),
            ("a.b.c.example.com", "/", "GET", "a"),
            ("dev.example.com", "/", "GET", "a"),
            ("y.dev.example.com", "/", "GET", "b"),
            ("x.dev.example.com", "/x/y", "GET", "c"),
            ("x.dev.example.com", "/", "GET", "404"),
            ("app.example.com", "/", "GET", "a"),
            ("example.com", "/", "GET", "404"),
            ("notexample.com", "/", "GET", "404"),
            ("example.com.evil.test", "/", "GET", "404"),
        ],
    );
}

#[test]
fn a_method_decides_after_the_path() {
    let routes = [
        "path = '/api'\nmethods = ['GET', 'HEAD']\nupstream = 'http://a'",
        "path = '/api'\nupstream = 'http://b'",
        "path = '/api/files'\nmethods = ['PUT']\nupstream = 'http://c'",
        "path = '/feed'\nmethods = ['GET']\nupstream = 'http://d'",
        "path = '/feed/x'\nmethods = ['PUT', 'GET']\nupstream = 'http://d'",
    ];
    check(
        &routes,
        &[
            ("app.example.com", "/api", "GET", "a"),
            ("app.example.com", "/api", "POST", "b"),
            ("app.example.com", "/api/files/x", "PUT", "c"),
            ("app.example.com", "/api/files/x", "GET", "a"),
            ("app.example.com", "/api/files/x", "DELETE", "b"),
            ("app.example.com", "/feed", "POST", "405 GET"),
            ("app.example.com", "/feed/x/y", "DELETE", "405 GET, PUT"),
            ("app.example.com", "/feed/x/y", "GET", "d"),
            ("app.example.com", "/", "GET", "404"),
        ],
    );
}

#[test]
fn hosts_are_served_on_the_public_port_only() {
    let table = table(
        "[[route]]\nhost = 'wiki.example.com'\nupstream = 'demo'\n[[route]]\nhost = '*.docs.test'\nupstream = 'demo'\n",
    );
    let serves = |authority: &str| table.serves(&Authority::parse(authority).unwrap());
    assert!(serves("wiki.example.com"));
    assert!(serves("wiki.example.com:443"));
    assert!(serves("app.example.com"), "sign-in lives there");
    assert!(serves("a.docs.test") && serves("a.b.docs.test"));
    assert!(!serves("docs.test") && !serves("a.docs.test:8080"));
    assert!(!serves("wiki.example.com:8080"));
    assert!(!serves("evil.test"));
    assert_eq!(found(&table, "app.example.com", "/", "GET"), "404", "unmatched is refused");
}

#[test]
fn routes_that_say_the_same_of_their_upstream_share_it() {
    let table = table(
        "[[route]]\nupstream = 'http://a'\n[[route]]\npath = '/b'\nupstream = 'http://a'\n\
         [[route]]\npath = '/c'\nupstream = 'http://a'\nhttp2 = true\n",
    );
    let upstream = |path: &str| table.routes().find(|route| route.path == path).map(|route| &route.upstream).unwrap();
    assert!(Arc::ptr_eq(upstream(""), upstream("/b")));
    assert!(!Arc::ptr_eq(upstream(""), upstream("/c")));
}

/// A route as this test sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sketch {
    host: &'static str,
    path: &'static str,
    methods: &'static [&'static str],
}

const HOSTS: [&str; 5] = ["app.example.com", "x.example.com", "*.example.com", "*.x.example.com", "*.com"];
const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/ab", "/a/b/c"];
const METHODS: [&[&str]; 4] = [&[], &["GET"], &["POST", "PUT"], &["DELETE"]];
const ASKED_HOSTS: [&str; 6] =
    ["app.example.com", "x.example.com", "y.x.example.com", "z.y.x.example.com", "example.com", "com"];
const ASKED_PATHS: [&str; 7] = ["/", "/a", "/a/", "/ab/c", "/a/b", "/a/b/c/d", "/b"];
const ASKED_METHODS: [&str; 4] = ["GET", "PUT", "DELETE", "HEAD"];

impl Sketch {
    /// How specific the host is for `host`, where it fits at all.
    fn host_rank(&self, host: &str) -> Option<usize> {
        match self.host.strip_prefix('*') {
            None => (self.host == host).then_some(usize::MAX),
            Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len()),
        }
    }

    fn fits_path(&self, path: &str) -> bool {
        let prefix = self.path.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn fits_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.contains(&method)
    }
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let host = prop::sample::select(&HOSTS[..]);
    let path = prop::sample::select(&PATHS[..]);
    let methods = prop::sample::select(&METHODS[..]);
    let sketch = (host, path, methods).prop_map(|(host, path, methods)| Sketch { host, path, methods });
    prop::collection::btree_set(sketch, 1..12).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

/// A table in which the upstream of a route tells which sketch it was.
fn drawn(sketches: &[Sketch], sorted: &[Sketch]) -> Table {
    let routes = sketches.iter().map(|sketch| {
        let number = sorted.iter().position(|other| other == sketch).unwrap();
        let methods =
            if sketch.methods.is_empty() { String::new() } else { format!("methods = {:?}\n", sketch.methods) };
        let Sketch { host, path, .. } = sketch;
        format!("[[route]]\nhost = '{host}'\npath = '{path}'\n{methods}upstream = 'http://r{number}'\n")
    });
    table(&routes.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_order_the_most_specific_route_that_fits_is_found(sketches in sketches()) {
        let mut sorted = sketches.clone();
        sorted.sort();
        let (shuffled, straight) = (drawn(&sketches, &sorted), drawn(&sorted, &sorted));
        for host in ASKED_HOSTS {
            for path in ASKED_PATHS {
                for method in ASKED_METHODS {
                    let said = found(&shuffled, host, path, method);
                    prop_assert_eq!(&said, &found(&straight, host, path, method));
                    let Some(number) = said.strip_prefix("http://r") else { continue };
                    let chosen = &sorted[number.parse::<usize>().unwrap()];
                    prop_assert!(chosen.fits_path(path) && chosen.fits_method(method), "{chosen:?}");
                    prop_assert!(chosen.host_rank(host).is_some(), "{chosen:?}");
                    for other in &sorted {
                        let fits = other.fits_path(path) && other.fits_method(method);
                        prop_assert!(other.host_rank(host) <= chosen.host_rank(host), "{other:?} {chosen:?}");
                        if fits && other.host_rank(host) == chosen.host_rank(host) {
                            let rank = |sketch: &Sketch| (sketch.path.trim_end_matches('/').len(), !sketch.methods.is_empty());
                            prop_assert!(rank(other) <= rank(chosen), "{other:?} {chosen:?}");
                        }
                    }
                }
            }
        }
    }
}
