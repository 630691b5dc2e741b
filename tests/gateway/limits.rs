//! Everything that strangers can use up has a bound: time for a header, connections, bodies.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::{Gate, HOST, PATIENCE, exchange, with_routes};
use crate::wire::Wire;

fn limited(text: &str, limits: &str) -> String {
    format!(
        "{}[limits]\n{limits}\n",
        with_routes(text, "[[route]]\npath = \"/open\"\naccess = \"public\"\nupstream = UPSTREAM\n")
    )
}

/// The configuration with an application that the story plays by hand in place of the recorder.
fn before(configuration: &str, application: &TcpListener) -> String {
    let recorder = configuration.split("upstream = \"http://").nth(1).unwrap().split('"').next().unwrap();
    configuration.replace(recorder, &application.local_addr().unwrap().to_string())
}

const OPEN: &str = "GET /open HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_trickles_is_not_waited_for_and_a_slow_answer_is() {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = "header_timeout = \"200ms\"\nkeep_alive = \"1s\"";
    let gate = Gate::with(|text| before(&limited(&text, limits), &application)).await;

    let mut waiting = gate.wire().await;
    waiting.send(OPEN).await;
    let mut upstream = Wire::accept(&application).await;
    upstream.head().await;

    let mut trickling = gate.wire().await;
    trickling.send("GET /open HTTP/1.1\r\nHost: local").await;
    assert_eq!(trickling.rest().await, "", "it is closed without an answer");
    let mut silent = gate.wire().await;
    assert_eq!(silent.rest().await, "", "so is a connection that says nothing");

    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
    assert_eq!(waiting.answer().await.body, "slow", "the deadline is the header's, not the answer's");
    waiting.send("GET /open HTTP/1.1\r\nHost: local").await;
    assert_eq!(waiting.rest().await, "", "the next header on the connection has a deadline as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_idle_is_closed() {
    let gate = Gate::with(|text| limited(&text, "keep_alive = \"1s\"")).await;
    let mut idle = gate.wire().await;
    for _ in 0..2 {
        idle.send(OPEN).await;
        assert_eq!(idle.answer().await.body, "hello");
    }
    assert_eq!(idle.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_so_many_connections_and_a_trusted_proxy_more() {
    let gate = Gate::with(|text| limited(&text, "connections_per_peer = 2")).await;
    let trusted = "trusted_proxies = [\"127.0.0.1/32\"]\n";
    let proxied = Gate::with(|text| format!("{trusted}{}", limited(&text, "connections_per_peer = 2"))).await;
    for (gate, third) in [(&gate, false), (&proxied, true)] {
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut wire = gate.wire().await;
            wire.send(OPEN).await;
            assert_eq!(wire.answer().await.body, "hello");
            held.push(wire);
        }
        let mut wire = gate.wire().await;
        wire.send(OPEN.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(wire.rest().await.ends_with("hello"), third);
        drop(held);
        let freed = async {
            while gate.running.open_connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.expect("closed connections are given back");
        let mut wire = gate.wire().await;
        wire.send(OPEN).await;
        assert_eq!(wire.answer().await.body, "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_so_many_connections_in_all() {
    let gate = Gate::with(|text| limited(&text, "connections = 1")).await;
    let mut held = gate.wire().await;
    held.send(OPEN).await;
    assert_eq!(held.answer().await.body, "hello");
    let mut refused = gate.wire().await;
    refused.send(OPEN).await;
    assert_eq!(refused.rest().await, "");
    held.send(OPEN).await;
    assert_eq!(held.answer().await.body, "hello", "who is there already is not troubled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_its_limit_is_refused() {
    let gate = Gate::with(|text| limited(&text, "body_bytes = 10")).await;
    let post = async |framing: &str, body: &str| {
        let request = format!("POST /open HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{framing}\r\n\r\n{body}");
        exchange(gate.running.address, request.as_bytes()).await
    };
    // The answer comes before anything of the body does.
    let announced = post("Content-Length: 11", "").await;
    assert_eq!((announced.status.as_u16(), announced.json()["error"].as_str()), (413, Some("body_too_large")));
    assert!(gate.recorder.requests().is_empty(), "what says so itself is not begun");
    let found = post("Transfer-Encoding: chunked", "6\r\n012345\r\n6\r\n678901\r\n0\r\n\r\n").await;
    assert_eq!((found.status.as_u16(), found.json()["error"].as_str()), (413, Some("body_too_large")));
    assert!(gate.recorder.requests().is_empty(), "the application never gets the whole of it");
    assert_eq!(post("Content-Length: 10", "0123456789").await.body, "hello");
    assert_eq!(post("Transfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_is_given_up() {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::with(|text| before(&limited(&text, "body_bytes_per_second = 100"), &application)).await;
    let mut wire = gate.wire().await;
    wire.send(format!("POST /open HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9000\r\n\r\nfirst")).await;
    let mut upstream = Wire::accept(&application).await;
    upstream.until("first").await;
    for second in ["x".repeat(3000), "y".to_owned()] {
        // After half a minute 3000 bytes would do, after a whole one 6000.
        gate.clock.advance(Duration::from_secs(30));
        wire.send(&second).await;
        if second.len() > 1 {
            upstream.until(&second).await;
        }
    }
    let answer = wire.answer().await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (408, Some("request_timeout")));
    assert_eq!(upstream.rest().await, "");
}
