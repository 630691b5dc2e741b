//! Grants: somebody passes a route whose rules do not name them, for as long as that was said, and no longer.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use linkgate::clock::{Clock, Timestamp};
use linkgate::grant::{Giver, Grant, Grants};
use linkgate::identity::EmailAddress;
use linkgate::store::Shared;
use linkgate::store::memory::Memory;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Gate, START, Visitor, eventually, with_routes};
use crate::stream_ends::{close_of, with_reason};
use crate::streams::{echo, open};

const BOB: &str = "bob@example.com";
const HOUR: Duration = Duration::from_secs(3600);
const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\n\
    [[route]]\npath = '/wiki'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    deny = { networks = ['192.0.2.0/24'] }\n\
    [[route]]\npath = '/other'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    [[route]]\npath = '/near'\nupstream = UPSTREAM\nallow = { networks = ['198.51.100.0/24'] }\n\
    [[route]]\npath = '/fresh'\nupstream = UPSTREAM\nallow = { max_sign_in_age = '1h' }\n\
    [[route]]\npath = '/ws'\nupstream = 'demo'\nallow = { groups = ['staff'] }\n";

/// Somebody may pass the route at `path` from now on, for so long.
fn grant(path: &str, address: &str, now: Timestamp, span: Duration) -> Grant {
    Grant {
        address: EmailAddress::parse(address).unwrap(),
        route: format!("localhost{path}"),
        given_by: Giver::Operator,
        given_at: now,
        expires_at: now.plus(span),
    }
}

/// Grants as a command has them, in a process of its own.
fn grants(gate: &Gate) -> Arc<Grants> {
    Grants::new(Arc::clone(&gate.store), gate.clock.clone())
}

async fn gate() -> Gate {
    Gate::with(|text| with_routes(&text, ROUTES)).await
}

async fn status(visitor: &Visitor, path: &str) -> u16 {
    visitor.program().open(path).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_lets_one_address_pass_one_route_until_it_ends() {
    let gate = gate().await;
    let (bob, eve) = (gate.signed_in(BOB).await, gate.signed_in("eve@example.com").await);
    assert_eq!(status(&bob, "/wiki").await, 403, "which is remembered, and forgotten by what comes");
    let given = grant("/wiki", BOB, START, HOUR);
    grants(&gate).give(&given).await.unwrap();
    eventually(async || status(&bob, "/wiki/page").await == 200).await;
    assert_eq!(gate.recorder.requests().last().unwrap().values("x-forwarded-email"), [BOB]);
    for (visitor, path, expected) in
        [(&bob, "/wiki", 200), (&bob, "/other", 403), (&eve, "/wiki", 403), (&gate.visitor(), "/wiki", 401)]
    {
        assert_eq!(status(visitor, path).await, expected, "{path}");
    }
    gate.clock.set(given.expires_at.minus(Duration::from_millis(1)));
    assert_eq!(status(&bob, "/wiki").await, 200);
    gate.clock.set(given.expires_at);
    assert_eq!(status(&bob, "/wiki").await, 403);
    assert_eq!(grants(&gate).all().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_one_more_allow_rule_and_opens_nothing_beyond_that() {
    let gate = Gate::with(|text| format!("trusted_proxies = ['127.0.0.0/8']\n{}", with_routes(&text, ROUTES))).await;
    for path in ["/wiki", "/near", "/fresh"] {
        grants(&gate).give(&grant(path, BOB, START, 24 * HOUR)).await.unwrap();
    }
    let mut bob = gate.signed_in(BOB).await;
    assert_eq!(status(&bob, "/near").await, 200, "where a rule names them for another network");
    bob.fields.push(("x-forwarded-for".to_owned(), "192.0.2.7".to_owned()));
    let denied = bob.open("/wiki").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "deny wins");
    bob.fields.pop();
    assert_eq!(status(&bob, "/wiki").await, 200);
    gate.clock.advance(2 * HOUR);
    assert_eq!(bob.open("/fresh").await.status, StatusCode::SEE_OTHER, "a recent sign-in is asked for all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_with_the_grant() {
    let gate = gate().await;
    let bob = gate.signed_in(BOB).await;
    let given = grant("/ws", BOB, START, HOUR);
    grants(&gate).give(&given).await.unwrap();
    let mut socket = open(&gate, &bob).await;
    assert_eq!(echo(&mut socket, "1").await, Some(Message::text("1")));
    gate.clock.set(given.expires_at);
    assert_eq!(close_of(&mut socket).await, with_reason("no_access"));

    let again = grant("/ws", BOB, gate.clock.now(), HOUR);
    grants(&gate).give(&again).await.unwrap();
    eventually(async || status(&bob, "/ws").await != 403).await;
    let mut socket = open(&gate, &bob).await;
    grants(&gate).revoke(again.key()).await.unwrap();
    assert_eq!(close_of(&mut socket).await, with_reason("no_access"), "and sooner, where it is revoked");
    assert_eq!(status(&bob, "/ws").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_grants() {
    let clock = Clock::manual(START);
    let store: Shared = Arc::new(Memory::new(clock.clone()));
    let routes = |text: String| with_routes(&text, ROUTES);
    let before = Gate::on(Arc::clone(&store), clock.clone(), routes).await;
    let bob = before.signed_in(BOB).await;
    grants(&before).give(&grant("/wiki", BOB, START, HOUR)).await.unwrap();
    assert_eq!(status(&bob, "/wiki").await, 200);
    drop(before);
    let after = Gate::on(store, clock, routes).await;
    assert_eq!(status(&bob.at(&after), "/wiki").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_asks_is_told_the_same() {
    let routes = "[[route]]\npath = '/wiki'\nupstream = 'front-proxy'\nallow = { groups = ['staff'] }\n";
    let gate = Gate::with(|text| format!("trusted_proxies = ['127.0.0.0/8']\n{}", with_routes(&text, routes))).await;
    let bob = gate.signed_in(BOB).await;
    let ask = async || {
        let fields = [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/wiki")];
        bob.program().send(Method::GET, "/.linkgate/auth", &fields, "").await.status.as_u16()
    };
    assert_eq!(ask().await, 403);
    grants(&gate).give(&grant("/wiki", BOB, START, HOUR)).await.unwrap();
    eventually(async || ask().await == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_debug_page_shows_the_grant() {
    let gate = gate().await;
    let mut bob = gate.signed_in(BOB).await;
    grants(&gate).give(&grant("/wiki", BOB, START, HOUR)).await.unwrap();
    let page = bob.open("/.linkgate/debug?address=/wiki").await;
    assert!(page.body.contains("Grant: <code>operator, 2027-01-15T08:00:00Z"), "{}", page.body);
    assert!(page.body.contains("<code>forwarded</code>"), "{}", page.body);
    let other = bob.open("/.linkgate/debug?address=/other").await;
    assert!(other.body.contains("<code>no_access</code>") && !other.body.contains("Grant:"), "{}", other.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_the_same_as_without_grants() {
    let gate = gate().await;
    let bob = gate.signed_in(BOB).await;
    let refused = bob.program().open("/wiki").await;
    assert_eq!((refused.status, &refused.json()["error"]), (StatusCode::FORBIDDEN, &json!("no_access")));
}
