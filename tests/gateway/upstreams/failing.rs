//! Servers that are down, die or come back: requests go where they are answered, and none that changes something is
//! sent twice.

use std::time::Duration;

use http::Method;

use super::balancing::route;
use crate::harness::{Gate, closed_port, eventually, with_routes};
use crate::recorder::Recorder;
use crate::upstreams::{listen, request};
use crate::wire::Wire;

fn quoted(address: impl std::fmt::Display) -> String {
    format!("\"http://{address}\"")
}

/// How many servers at `address` get no requests, by the metrics.
async fn out(gate: &Gate, address: impl std::fmt::Display) -> String {
    let name = format!("linkgate_upstream_out{{upstream=\"http://{address}\"}} ");
    let metrics = gate.admin("/metrics").await.body;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("none").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_sent_goes_to_another_server_whatever_it_is() {
    let (closed, open) = (closed_port().await, Recorder::start().await);
    let servers = [quoted(closed), quoted(open.address)];
    let gate = Gate::with(|text| with_routes(&text, &route(&servers, "retries = 0"))).await;
    for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
        for _ in 0..2 {
            assert_eq!(gate.visitor().send(method.clone(), "/", &[], "body").await.body, "hello", "{method}");
        }
    }
    assert_eq!(open.requests().len(), 8);
    assert!(open.requests().iter().all(|request| request.body == b"body"));
    assert_eq!((out(&gate, closed).await, out(&gate, open.address).await), ("1".to_owned(), "0".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_again_and_again_is_left_alone_and_then_tried_again() {
    let address = closed_port().await;
    let other = Recorder::start().await;
    let gate = Gate::with(|text| with_routes(&text, &route(&[quoted(address), quoted(other.address)], ""))).await;
    for _ in 0..6 {
        gate.visitor().open("/").await;
    }
    assert_eq!(out(&gate, address).await, "1");
    let back = Recorder::at(address).await;
    for _ in 0..4 {
        assert_eq!(gate.visitor().open("/").await.body, "hello");
    }
    assert!(back.requests().is_empty(), "its pause is not over");
    gate.clock.advance(Duration::from_secs(5));
    for _ in 0..4 {
        assert_eq!(gate.visitor().open("/").await.body, "hello");
    }
    assert!(back.requests().len() >= 2, "who answers is one of them again");
    assert_eq!(out(&gate, address).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_out_all_are_tried() {
    let (a, b) = (closed_port().await, closed_port().await);
    let gate = Gate::with(|text| with_routes(&text, &route(&[quoted(a), quoted(b)], ""))).await;
    for _ in 0..4 {
        assert_eq!(gate.visitor().program().open("/").await.json()["error"], "upstream_failed");
    }
    let back = Recorder::at(b).await;
    assert_eq!(gate.visitor().open("/").await.body, "hello");
    assert_eq!(back.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_is_sent_again_elsewhere_when_its_connection_ends_and_nothing_else_is() {
    let dying = listen().await;
    let other = Recorder::start().await;
    let servers = [quoted(dying.local_addr().unwrap()), quoted(other.address)];
    for (line, again) in
        [("GET /a", true), ("PUT /a", true), ("DELETE /a", true), ("POST /a", false), ("PATCH /a", false)]
    {
        let gate = Gate::with(|text| with_routes(&text, &route(&servers, ""))).await;
        let before = other.requests().len();
        let mut wire = gate.wire().await;
        let body = if line.starts_with("GET") { "" } else { "Content-Length: 4\r\n" };
        wire.send(request(line, body)).await;
        wire.send(if body.is_empty() { "" } else { "body" }).await;
        let mut dead = Wire::accept(&dying).await;
        assert!(dead.head().await.starts_with(line));
        drop(dead);
        let answer = wire.answer().await;
        assert_eq!(answer.status.as_u16(), if again { 200 } else { 502 }, "{line}");
        let requests = other.requests();
        assert_eq!(requests.len() - before, usize::from(again), "{line}");
        if again && !body.is_empty() {
            assert_eq!(requests.last().unwrap().body, b"body", "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_was_sent_is_not_sent_again() {
    let dying = listen().await;
    let other = Recorder::start().await;
    let servers = [quoted(dying.local_addr().unwrap()), quoted(other.address)];
    let gate = Gate::with(|text| with_routes(&text, &route(&servers, ""))).await;
    let mut wire = gate.wire().await;
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    wire.send(request("GET /ws", fields)).await;
    let mut dead = Wire::accept(&dying).await;
    dead.head().await;
    drop(dead);
    assert_eq!(wire.answer().await.status, 502);
    assert!(other.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_sent_again_so_often_and_not_after_an_answer_has_begun() {
    let dying = [listen().await, listen().await, listen().await];
    let servers = [0, 1, 2].map(|at: usize| quoted(dying[at].local_addr().unwrap()));
    let gate = Gate::with(|text| with_routes(&text, &route(&servers, "retries = 1"))).await;
    let mut wire = gate.wire().await;
    wire.send(request("GET /", "")).await;
    for listener in &dying[..2] {
        Wire::accept(listener).await.head().await;
    }
    assert_eq!(wire.answer().await.status, 502);
    let mut wire = gate.wire().await;
    wire.send(request("GET /", "")).await;
    let mut begun = Wire::accept(&dying[2]).await;
    begun.head().await;
    begun.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    drop(begun);
    assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(wire.rest().await, "only this");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_take_a_killed_server_out_and_bring_it_back() {
    let (a, b) = (Recorder::start().await, Recorder::start().await);
    let settings = "[route.health]\npath = \"/healthz\"\ninterval = \"20ms\"\nhost = \"app.internal\"";
    let gate = Gate::with(|text| with_routes(&text, &route(&[quoted(a.address), quoted(b.address)], settings))).await;
    let asked = |recorder: &Recorder| {
        recorder.requests().into_iter().filter(|request| request.line() == "GET /healthz HTTP/1.1").collect::<Vec<_>>()
    };
    let served = |recorder: &Recorder| recorder.requests().len() - asked(recorder).len();
    eventually(async || !asked(&a).is_empty() && !asked(&b).is_empty()).await;
    assert_eq!(asked(&a)[0].values("host"), ["app.internal"]);
    assert!(asked(&a)[0].names().iter().all(|name| !name.starts_with("x-forwarded")), "it is nobody's request");

    b.answer_with("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    eventually(async || out(&gate, b.address).await == "1").await;
    for _ in 0..4 {
        assert_eq!(gate.visitor().open("/").await.status, 200);
    }
    assert_eq!((served(&a), served(&b)), (4, 0));
    assert_eq!(gate.admin("/health/ready").await.status, 200, "the gateway itself is ready");

    b.answer_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    eventually(async || out(&gate, b.address).await == "0").await;
    a.stop().await;
    eventually(async || out(&gate, a.address).await == "1").await;
    assert_eq!(gate.visitor().send(Method::POST, "/", &[], "x").await.status, 200);
    assert_eq!(served(&b), 1, "it was sent once");

    let back = Recorder::at(a.address).await;
    eventually(async || out(&gate, a.address).await == "0").await;
    for _ in 0..2 {
        assert_eq!(gate.visitor().open("/").await.status, 200);
    }
    assert_eq!((served(&back), served(&b)), (1, 2));
    gate.running.stop().await;
    let before = asked(&back).len();
    let mut connection = Wire::connect(back.address).await;
    let asking = async {
        while asked(&back).len() < before + 3 {
            connection.send("GET / HTTP/1.1\r\n\r\n").await;
            connection.answer().await;
        }
    };
    let several_intervals = Duration::from_millis(200);
    assert!(tokio::time::timeout(several_intervals, asking).await.is_err(), "questions end with the gateway");
}
