//! The parts of linkgate that every signed-in request goes through, each for itself: `cargo bench -p linkgate-bench`.
//!
//! It is built as a release is; with `--profile counted` that takes a fraction of the time, and the parts take more, those
//! most that are not on the way of every request. `cargo bench -p linkgate-bench -- cookie` runs those of that name;
//! `-- --save-baseline before` keeps what was measured, and `-- --baseline before` compares. Times are for such comparisons
//! on one machine, and what a whole request costs says `bench/instructions`.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use linkgate::agent::Agent;
use linkgate::clock::{Clock, Timestamp};
use linkgate::credential::Visitor;
use linkgate::identity::headers::{Config as IdentityHeaders, Plan};
use linkgate::identity::{EmailAddress, Identity, Subject};
use linkgate::mosaic::{ClientAuthentication, Connection, Mosaic, SignedIn, Wording};
use linkgate::origin::Origin;
use linkgate::proxy::Limits;
use linkgate::proxy::access::{Facts, Pass, Verdict, decide};
use linkgate::proxy::canonical::{self, CanonicalPath};
use linkgate::proxy::headers::{self, Managed, Provenance};
use linkgate::proxy::route::{Config as RouteConfig, Found as FoundRoute, Table};
use linkgate::proxy::upstream::Upstreams;
use linkgate::secret::Secret;
use linkgate::session::cookie::{self, Jar, Kind};
use linkgate::session::id::Claimed;
use linkgate::session::{Admission, Config as SessionConfig, Found, Live, Parts, Place, Sessions, Whence};
use linkgate::store::Shared;
use linkgate::store::memory::Memory;
use linkgate::telemetry::Metrics;
use pingora::http::RequestHeader;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;

/// When everything happens: on a Friday, at 08:00 UTC.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const PUBLIC_URL: &str = "https://app.example.test";
const TARGET: &[u8] = b"/reports/2026/overview/by%20name?page=2&sort=name";
/// The most bytes of all cookies of a request.
const COOKIE_BYTES: usize = 2048;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(parts, decision, cookies, canonicalisation, header_rewriting, session_in_memory);
criterion_main!(parts);

/// From host and path to the verdict, with rules of every kind that is common.
fn decision(criterion: &mut Criterion) {
    let visit = Visit::new();
    let (host, path) = ("app.example.test", path());
    let mut group = criterion.benchmark_group("decision");
    for count in [1, 10, 100] {
        let table = table(count);
        let facts = Facts { method: &Method::GET, path: &path, client: [10, 1, 2, 3].into(), now: NOW };
        let decided = || pass(&table, host, &facts, &visit.live);
        assert_eq!(decided().route().path, "/reports");
        group.bench_with_input(BenchmarkId::new("routes", count), &count, |bencher, _| bencher.iter(decided));
    }
}

/// The session's cookie in the middle of many others: found and read, refused by its MAC, and taken out.
fn cookies(criterion: &mut Criterion) {
    let visit = Visit::new();
    let found = |headers: &HeaderMap| {
        let values = Jar::new(true).values(Kind::Session, headers);
        values.into_iter().find_map(Claimed::parse).map(|claimed| claimed.id.key())
    };
    assert!(found(&visit.headers).is_some());
    let mut group = criterion.benchmark_group("cookie");
    group.bench_function("find and read", |bencher| bencher.iter(|| found(black_box(&visit.headers))));

    // The same form, and a MAC that no key of ours made.
    let forged = visit.cookie.replacen(&visit.cookie[16..24], "AAAAAAAA", 1);
    let forged = among_others(&forged);
    let refused = || async {
        let found = visit.sessions.find(black_box(&forged), Place::Public).await;
        assert!(matches!(found, Ok(Found::None)));
    };
    group.bench_function("refuse by its MAC", |bencher| bencher.to_async(&visit.runtime).iter(refused));

    let left = cookie::without_own(&visit.headers).expect("there are others");
    assert_eq!(left.len() + "; ".len() + visit.cookie.len(), visit.headers[COOKIE].len());
    group.bench_function("take out", |bencher| bencher.iter(|| cookie::without_own(black_box(&visit.headers))));
}

/// Host, path, and everything that would give a request two readings.
fn canonicalisation(criterion: &mut Criterion) {
    let visit = Visit::new();
    let limits = Limits::default();
    let uri: Uri = "/".parse().expect("a target");
    let mut group = criterion.benchmark_group("canonical");
    group.bench_function("path", |bencher| {
        bencher.iter(|| {
            let (path, _) = canonical::split_target(black_box(TARGET)).expect("a target");
            CanonicalPath::parse(path).expect("a path")
        });
    });
    group.bench_function("host", |bencher| {
        bencher.iter(|| canonical::host(Version::HTTP_11, &uri, black_box(&visit.headers)).expect("a host"));
    });
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            let headers = black_box(&visit.headers);
            canonical::check(&Method::GET, Version::HTTP_11, TARGET, headers, &limits).expect("it is in order");
        });
    });
}

/// What the upstream gets in place of the visitor's header.
fn header_rewriting(criterion: &mut Criterion) {
    let visit = Visit::new();
    let (table, path) = (table(1), path());
    let facts = Facts { method: &Method::GET, path: &path, client: [10, 1, 2, 3].into(), now: NOW };
    let pass = pass(&table, "app.example.test", &facts, &visit.live);
    let managed = Managed::new(&plan());
    let request_id = HeaderValue::from_static("k2Zr0mXhTn6rYb1cQe9LwA");
    let provenance = Provenance {
        client: facts.client,
        client_text: None,
        scheme: HeaderValue::from_static("https"),
        authority: "app.example.test",
        host: None,
        request_id: &request_id,
        certificate: None,
        assertion: None,
        identity: None,
        cookies: None,
    };
    let mut request = RequestHeader::build("GET", TARGET, None).expect("a request");
    for (name, value) in &visit.headers {
        request.append_header(name, value).expect("a field");
    }
    let write = |mut request: RequestHeader| {
        headers::write(&mut request, &managed, &pass, &provenance).expect("the fields are written");
        request
    };
    assert_eq!(write(request.clone()).headers["x-forwarded-email"], "ada@example.test");
    criterion.bench_function("headers to the upstream", |bencher| {
        bencher.iter_batched(|| request.clone(), write, BatchSize::SmallInput);
    });
}

/// From a request's cookies to the session, which is in memory.
fn session_in_memory(criterion: &mut Criterion) {
    let visit = Visit::new();
    let found = || async {
        let found = visit.sessions.find(black_box(&visit.headers), Place::Public).await;
        found.ok().and_then(Found::live).expect("the session is known")
    };
    criterion.bench_function("session in memory", |bencher| bencher.to_async(&visit.runtime).iter(found));
}

/// Somebody who is signed in, and the header of their requests.
struct Visit {
    runtime: Runtime,
    sessions: Arc<Sessions>,
    live: Arc<Live>,
    /// `name=value`.
    cookie: String,
    headers: HeaderMap,
}

impl Visit {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let sessions = sessions();
        let whence = Whence { agent: Agent::default(), client: Ipv4Addr::LOCALHOST.into() };
        let set = runtime.block_on(sessions.begin(&signed_in(), None, whence)).expect("the store is in memory");
        let set = set.to_str().expect("a cookie is ASCII");
        let cookie = set.split(';').next().expect("a cookie has a name").to_owned();
        let headers = among_others(&cookie);
        let found = runtime.block_on(sessions.find(&headers, Place::Public));
        let live = found.ok().and_then(Found::live).expect("the session has begun");
        Self { runtime, sessions, live, cookie, headers }
    }
}

fn sessions() -> Arc<Sessions> {
    // Who comes second finds it installed.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let clock = Clock::manual(NOW);
    let store: Shared = Arc::new(Memory::new(clock.clone()));
    let url = |path: &str| format!("http://127.0.0.1:9{path}").parse().expect("a URL");
    let connection = Connection {
        base_url: url("/"),
        token_url: url("/token"),
        key_set_url: url("/keys"),
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "bench".to_owned(),
        client_authentication: ClientAuthentication::SecretPost(Secret::new("unused".to_owned())),
        certificate_authorities: Vec::new(),
        wording: Wording::default(),
    };
    let metrics = Arc::new(Metrics::new().expect("names that are apart"));
    let mosaic = Mosaic::new(connection, clock.clone(), metrics).expect("a client that nothing calls");
    let parts = Parts { store, clock, mosaic, plan: plan(), jar: Jar::new(true), tasks: TaskTracker::new() };
    Sessions::new(parts, &SessionConfig::default(), Admission::default())
}

fn signed_in() -> SignedIn {
    let subject = Subject::try_from("01J9ZK3V7Q2M5T8W4X6Y1B0C9D".to_owned()).expect("a subject");
    let identity = Identity {
        email: Some(EmailAddress::parse("ada@example.test").expect("an address")),
        email_verified: true,
        name: Some("Ada Lovelace".to_owned()),
        groups: ["staff", "engineering", "operations"].map(str::to_owned).to_vec(),
        ..Identity::new(subject)
    };
    let lifetime = Duration::from_secs(3600);
    SignedIn {
        identity,
        session_id: Secret::new("s".repeat(32)),
        refresh_token: None,
        access_expires_at: NOW.plus(lifetime),
        access_lifetime: lifetime,
        authenticated_at: NOW,
    }
}

fn plan() -> Plan {
    Plan::new(&IdentityHeaders::default()).expect("the usual names")
}

/// The header of a browser's request, with `cookie` in the middle of an application's own.
fn among_others(cookie: &str) -> HeaderMap {
    let other = |number: usize| format!("preference_{number}={}", "dGhlIHNhbWUg".repeat(10));
    let count = (COOKIE_BYTES - cookie.len()) / (other(10).len() + 2);
    let mut cookies: Vec<String> = (10..10 + count).map(other).collect();
    cookies.insert(count / 2, cookie.to_owned());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "app.example.test"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.8,de;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://app.example.test/reports/2026"),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(COOKIE, HeaderValue::from_str(&cookies.join("; ")).expect("cookies are ASCII"));
    headers
}

fn path() -> CanonicalPath {
    let (path, _) = canonical::split_target(TARGET).expect("a target");
    CanonicalPath::parse(path).expect("a path")
}

/// A table of so many routes, of which the one for `/reports` is somewhere in the middle.
fn table(count: usize) -> Table {
    let public_url = Origin::try_from(PUBLIC_URL.to_owned()).expect("an origin");
    let other = |number| json!({ "path": format!("/application-{number}"), "upstream": "http://127.0.0.1:9" });
    let mut routes: Vec<Value> = (1..count).map(other).collect();
    let reports = json!({
        "path": "/reports",
        "upstream": "http://127.0.0.1:9",
        "allow": [{ "groups": ["board"] }, { "groups": ["staff"], "networks": ["10.0.0.0/8"] }],
        "deny": [{ "addresses": ["eve@example.test"], "groups": ["guests"] }],
        "public": [{ "path": "/reports/static" }],
    });
    routes.insert(count / 2, reports);
    let routes = routes.into_iter().map(serde_json::from_value);
    let routes: Vec<RouteConfig> = routes.collect::<Result<_, _>>().expect("settings of routes");
    let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new().expect("names that are apart")));
    let upstreams = Upstreams::new(clock, metrics, tokio::sync::watch::channel(false).1);
    Table::new(&routes, &public_url, &upstreams).expect("no certificates")
}

fn pass(table: &Table, host: &str, facts: &Facts<'_>, live: &Arc<Live>) -> Pass {
    let FoundRoute::Route(route) = table.find(host, facts.path, facts.method) else { panic!("there is a route") };
    match decide(route, facts, Some(Visitor::Session(Arc::clone(live))), None) {
        Verdict::Pass(pass) => pass,
        Verdict::SignIn | Verdict::StepUp(..) | Verdict::Refuse(_) => panic!("the visitor may pass"),
    }
}
