//! What must hold for whatever strangers write, a module for each fuzz target; and what several of them need, routes as an
//! operator writes them.
//!
//! The targets feed each `check` with what libFuzzer makes; the tests of linkgate, with the seeds in `corpus`.

pub mod access;
pub mod address;
pub mod canonical;
pub mod cookie;
pub mod headers;
pub mod id_token;
pub mod return_to;
pub mod route;

use std::sync::Arc;

use linkgate::clock::{Clock, Timestamp};
use linkgate::origin::Origin;
use linkgate::proxy::access::{Facts, Verdict, decide};
use linkgate::proxy::canonical::CanonicalPath;
use linkgate::proxy::route::{Config, Route, Table};
use linkgate::proxy::upstream::Upstreams;
use linkgate::telemetry::Metrics;
use serde_json::Value;

/// Panics where what must hold of an input does not.
pub type Check = fn(&[u8]);

/// The targets by their names.
pub const TARGETS: [(&str, Check); 8] = [
    ("access", access::check),
    ("address", address::check),
    ("canonical", canonical::check),
    ("cookie", cookie::check),
    ("headers", headers::check),
    ("id_token", id_token::check),
    ("return_to", return_to::check),
    ("route", route::check),
];

/// When every target's request comes: on a Friday, at 08:00 UTC.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Where every target's gateway is.
pub const PUBLIC_URL: &str = "https://app.example.test";

/// The table of `routes`, each of them with the settings of a `[[route]]` but for the upstream.
///
/// # Errors
/// Where there is no such setting.
pub fn table(routes: impl IntoIterator<Item = Value>) -> Result<Table, serde_json::Error> {
    let public_url = Origin::try_from(PUBLIC_URL.to_owned()).expect("an origin");
    let routes = routes.into_iter().map(|mut route| {
        route["upstream"] = "http://127.0.0.1:9".into();
        serde_json::from_value(route)
    });
    let routes: Vec<Config> = routes.collect::<Result<_, _>>()?;
    let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new().expect("names that are apart")));
    let upstreams = Upstreams::new(clock, metrics, tokio::sync::watch::channel(false).1);
    Ok(Table::new(&routes, &public_url, &upstreams).expect("no certificates"))
}

/// The text that an input begins with.
fn text(input: &[u8]) -> &str {
    input.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// The decision about a stranger's `GET` of the route's own path.
pub fn stranger_at(route: &Arc<Route>) -> Verdict {
    let path = CanonicalPath::parse(format!("{}/", route.path).as_bytes()).expect("a canonical path");
    let facts = Facts { method: &http::Method::GET, path: &path, client: [192, 0, 2, 1].into(), now: NOW };
    decide(route, &facts, None, None)
}
