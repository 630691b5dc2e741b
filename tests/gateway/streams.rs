//! WebSockets and everything else that stays open: passed on as it comes, for as long as the visitor may.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{Gate, HOST, PATIENCE, Visitor, with_routes};
use crate::wire::Wire;

const DEMO: &str = "[[route]]\nupstream = \"demo\"\n[[route]]\npath = \"/recorder\"\nupstream = UPSTREAM\n";

/// A WebSocket of the visitor's.
pub(crate) async fn open(gate: &Gate, visitor: &Visitor) -> WebSocketStream<TcpStream> {
    open_at(gate, visitor, "/ws").await
}

/// A WebSocket of the visitor's at another path.
pub(crate) async fn open_at(gate: &Gate, visitor: &Visitor, path: &str) -> WebSocketStream<TcpStream> {
    open_to(gate.running.address, visitor, path).await
}

/// The same of a gateway that is a process.
pub(crate) async fn open_to(address: SocketAddr, visitor: &Visitor, path: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
    let cookie = format!("linkgate={}", visitor.session_cookie());
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    request.headers_mut().insert("origin", format!("http://{HOST}").parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.expect("the handshake is accepted").0
}

pub(crate) async fn echo(socket: &mut WebSocketStream<TcpStream>, text: &str) -> Option<Message> {
    socket.send(Message::text(text)).await.ok()?;
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("something comes")?.ok()
}

/// Waits until the other side has closed the socket.
pub(crate) async fn closed(socket: &mut WebSocketStream<TcpStream>) {
    let closed = async { while matches!(socket.next().await, Some(Ok(_))) {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the socket is closed");
}

/// A handshake with `fields` in place of those of the same name.
fn handshake(path: &str, cookie: &str, change: impl FnOnce(String) -> String) -> String {
    change(format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://{HOST}\r\nCookie: linkgate={cookie}\r\n\r\n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_for_somebody_who_is_signed_in_however_quiet_it_was() {
    let gate = Gate::with(|text| format!("{}[limits]\nbody_bytes = 64\n", with_routes(&text, DEMO))).await;
    let ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    for text in ["hello", "again"] {
        assert_eq!(echo(&mut socket, text).await, Some(Message::text(text)));
        gate.clock.advance(Duration::from_secs(600));
    }
    let long = "x".repeat(5000);
    assert_eq!(
        echo(&mut socket, &long).await,
        Some(Message::text(long)),
        "a tunnel has no body that could be too long"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_stays_open_however_fast_the_application_answers() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let ada = gate.signed_in("ada@example.com").await;
    // Without care a few in a hundred are closed at once (pingora issue 946).
    for round in 0..100 {
        let mut socket = open(&gate, &ada).await;
        assert_eq!(echo(&mut socket, "hello").await, Some(Message::text("hello")), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_the_session() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let eve = gate.signed_in("eve@example.com").await;
    let mut signed_out = open(&gate, &ada).await;
    let mut stays = open(&gate, &eve).await;
    assert_eq!(echo(&mut signed_out, "1").await, Some(Message::text("1")));

    let page = ada.open("/.linkgate/sign-out").await;
    let csrf = page.field("csrf");
    assert_eq!(ada.clone().post("/.linkgate/sign-out", &[("csrf", &csrf)]).await.status, 303);
    closed(&mut signed_out).await;
    assert_eq!(echo(&mut stays, "2").await, Some(Message::text("2")), "somebody else's goes on");

    gate.clock.advance(Duration::from_secs(13 * 3600));
    closed(&mut stays).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_refused_is_answered_and_not_passed_on() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let replace = |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
    for (request, status) in [
        (handshake("/recorder", "", |text| text), 401),
        (handshake("/recorder", "", replace("Origin: http://localhost:8080", "Accept: text/html")), 401),
        (handshake("/recorder", &cookie, replace("Origin: http://localhost:8080", "Origin: http://evil.test")), 403),
        (
            handshake("/recorder", &cookie, replace("Origin: http://localhost:8080", "Origin: https://localhost:8080")),
            403,
        ),
        (handshake("/recorder", &cookie, replace("Origin: http://localhost:8080", "Origin: http://localhost")), 403),
        (
            handshake(
                "/recorder",
                &cookie,
                replace("Origin: http://localhost:8080", "Origin: http://localhost:8080.evil.test"),
            ),
            403,
        ),
        (handshake("/recorder", &cookie, replace("Origin: http://localhost:8080", "Origin: null")), 403),
        (handshake("/recorder", &cookie, replace("GET", "POST")), 400),
        (handshake("/recorder", &cookie, replace("HTTP/1.1", "HTTP/1.0")), 400),
        (handshake("/recorder", &cookie, replace("Connection: Upgrade", "Connection: close")), 400),
        (handshake("/recorder", &cookie, replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8")), 400),
        (handshake("/recorder", &cookie, replace("dGhlIHNhbXBsZSBub25jZQ==", "short")), 400),
        (handshake("/recorder", &cookie, replace("Sec-WebSocket-Key", "X-Key")), 400),
        (
            handshake("/recorder", &cookie, replace("Upgrade: websocket", "Upgrade: websocket\r\nContent-Length: 5")),
            400,
        ),
        (
            handshake(
                "/recorder",
                &cookie,
                replace("Upgrade: websocket", "Upgrade: websocket\r\nTransfer-Encoding: chunked"),
            ),
            400,
        ),
    ] {
        let mut wire = gate.wire().await;
        wire.send(&request).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "application/json"), "{request}");
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_handshake_that_the_application_refuses_is_not_forwarded() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let mut wire = gate.wire().await;
    let hidden = "GET /recorder/hidden HTTP/1.1\r\nHost: localhost:8080\r\nX-Forwarded-User: forged\r\n\r\n";
    wire.send(handshake("/recorder", &cookie, |text| text) + hidden).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "hello"));
    wire.send(hidden).await;
    assert_eq!(wire.rest().await, "");
    let seen = gate.recorder.only();
    assert_eq!(
        (seen.line(), seen.values("upgrade"), seen.values("connection")),
        ("GET /recorder HTTP/1.1", vec!["websocket"], vec!["Upgrade"])
    );
}

/// A gate in front of an application that the story plays by hand, and somebody who is signed in.
async fn played_by_hand() -> (Gate, TcpListener, String) {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = format!("[[route]]\nupstream = \"http://{}\"\n", application.local_addr().unwrap());
    let gate = Gate::with(|text| with_routes(&text, &route)).await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    (gate, application, cookie)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_cannot_make_a_tunnel_that_nobody_asked_for() {
    let (gate, application, cookie) = played_by_hand().await;
    for fields in ["", "Upgrade: h2c\r\nConnection: Upgrade\r\n"] {
        let mut wire = gate.wire().await;
        wire.send(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nCookie: linkgate={cookie}\r\n{fields}\r\n"
        ))
        .await;
        let mut upstream = Wire::accept(&application).await;
        upstream.head().await;
        upstream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\nbytes").await;
        let answer = wire.answer().await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"].as_str()),
            (502, Some("upstream_failed")),
            "{fields:?}"
        );
        wire.send("more").await;
        assert_eq!(upstream.rest().await, "", "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_one_by_one_while_the_stream_is_open() {
    let (gate, application, cookie) = played_by_hand().await;
    let mut wire = gate.wire().await;
    wire.send(format!(
        "GET /events HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\nCookie: linkgate={cookie}\r\n\r\n"
    ))
    .await;
    let mut upstream = Wire::accept(&application).await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        upstream.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert!(wire.until(event).await.ends_with(event));
        gate.clock.advance(Duration::from_secs(600));
    }
    drop(wire);
    assert_eq!(upstream.rest().await, "", "a visitor who leaves takes the stream with them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_passes_chunk_by_chunk() {
    let (gate, application, cookie) = played_by_hand().await;
    let mut wire = gate.wire().await;
    wire.send(format!(
        "PUT /file HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nCookie: linkgate={cookie}\r\n\r\n"
    ))
    .await;
    wire.send("5\r\nfirst\r\n").await;
    let mut upstream = Wire::accept(&application).await;
    let head = upstream.head().await;
    assert!(head.contains("ransfer-") && head.contains("chunked"), "{head}");
    assert_eq!(upstream.until("first\r\n").await, "5\r\nfirst\r\n");
    wire.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(upstream.until("0\r\n\r\n").await, "6\r\nsecond\r\n0\r\n\r\n");
    upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_says_whether_it_wants_a_body() {
    let (gate, application, cookie) = played_by_hand().await;
    let head = format!(
        "PUT /file HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\nCookie: linkgate={cookie}\r\n\r\n"
    );
    let mut wire = gate.wire().await;
    wire.send(&head).await;
    let mut upstream = Wire::accept(&application).await;
    assert!(upstream.head().await.to_ascii_lowercase().contains("expect: 100-continue\r\n"));
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.send("body").await;
    upstream.until("body").await;
    upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 204);

    let mut wire = gate.wire().await;
    wire.send(&head).await;
    let mut upstream = Wire::accept(&application).await;
    upstream.head().await;
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (403, "close"));
}
