//! How what is open ends with the right to have it: in its own words, at a place where they can be said, silent or not.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{Gate, HOST, PATIENCE, SECURE_HOST, Visitor, eventually, with_routes};
use crate::streams::{echo, open};
use crate::tls::{self, Files};
use crate::wire::Wire;

const DEMO: &str = "[[route]]\nupstream = \"demo\"\n";

/// The code and the reason with which a socket is closed, after which nothing comes.
pub(crate) async fn close_of<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> (u16, String) {
    let closed = async {
        let close = loop {
            match socket.next().await.expect("a close frame comes").expect("the frames are whole") {
                Message::Close(frame) => break frame.expect("it says why"),
                _ => continue,
            }
        };
        let after = socket.next().await;
        assert!(!matches!(after, Some(Ok(_))), "after the close frame came {after:?}");
        (close.code.into(), close.reason.to_string())
    };
    timeout(PATIENCE, closed).await.expect("the socket is closed")
}

pub(crate) fn with_reason(reason: &str) -> (u16, String) {
    (1008, reason.to_owned())
}

pub(crate) async fn sign_out(visitor: &mut Visitor) {
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    assert_eq!(visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await.status, 303);
}

/// The value of a metric.
async fn metric(gate: &Gate, name: &str) -> String {
    let metrics = gate.admin("/metrics").await.body;
    metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_socket_is_told_why_it_is_closed() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let eve = gate.signed_in("eve@example.com").await;
    let (mut hers, mut stays) = (open(&gate, &ada).await, open(&gate, &eve).await);
    assert_eq!(metric(&gate, "linkgate_open_streams{kind=\"websocket\"}").await, "2");
    sign_out(&mut ada).await;
    assert_eq!(close_of(&mut hers).await, with_reason("signed_out"));
    assert_eq!(echo(&mut stays, "1").await, Some(Message::text("1")), "somebody else's goes on");
    eventually(async || metric(&gate, "linkgate_open_streams{kind=\"websocket\"}").await == "1").await;
    let ended = "linkgate_streams_ended_total{kind=\"websocket\",reason=\"signed_out\"}";
    assert_eq!(metric(&gate, ended).await, "1");
    let verdict = "linkgate_requests_total{status_class=\"1xx\",verdict=\"signed_out\"}";
    assert_eq!(metric(&gate, verdict).await, "1");

    gate.clock.advance(Duration::from_secs(13 * 3600));
    assert_eq!(close_of(&mut stays).await, with_reason("signed_out"), "the session has expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_over_tls_is_told_as_well() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| with_routes(&text, DEMO)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let stream = tls::connect(&gate, &files.client(&["http/1.1"]), "localhost").await.unwrap();
    let mut request = format!("ws://{SECURE_HOST}/ws").into_client_request().unwrap();
    let cookie = format!("__Host-linkgate={}", ada.session_cookie());
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    let mut socket = tokio_tungstenite::client_async(request, stream).await.unwrap().0;
    sign_out(&mut ada).await;
    assert_eq!(close_of(&mut socket).await, with_reason("signed_out"));
}

/// A gate in front of an application that the story plays by hand, and somebody who is signed in.
async fn played_by_hand() -> (Gate, TcpListener, Visitor) {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = format!("[[route]]\nupstream = \"http://{}\"\n", application.local_addr().unwrap());
    let gate = Gate::with(|text| with_routes(&text, &route)).await;
    let ada = gate.signed_in("ada@example.com").await;
    (gate, application, ada)
}

/// A visitor's end and an application's, with an answer begun between them.
async fn opened(gate: &Gate, application: &TcpListener, visitor: &Visitor, fields: &str, answer: &str) -> (Wire, Wire) {
    let mut wire = gate.wire().await;
    let cookie = visitor.session_cookie();
    wire.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n{fields}\r\n")).await;
    let mut upstream = Wire::accept(application).await;
    upstream.head().await;
    upstream.send(answer).await;
    wire.head().await;
    (wire, upstream)
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const CLOSE_FRAME: &[u8] = b"\x88\x0c\x03\xf0signed_out";
const LAST_EVENT: &str = "event: linkgate-end\ndata: {\"reason\":\"signed_out\"}\n\n";

/// Sends `part` again and again, a few bytes at a time, until the visitor's end has closed; gives what came there.
async fn trickled(mut wire: Wire, upstream: &mut Wire, part: &[u8]) -> Vec<u8> {
    let mut arrived = tokio::spawn(async move { wire.rest_bytes().await });
    for piece in part.chunks(3).cycle() {
        upstream.send(piece).await;
        if let Ok(arrived) = timeout(Duration::from_millis(5), &mut arrived).await {
            return arrived.unwrap();
        }
    }
    unreachable!("it goes round for ever")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_under_way_is_finished_and_nothing_follows_the_close_frame() {
    let (gate, application, mut ada) = played_by_hand().await;
    let (wire, mut upstream) = opened(&gate, &application, &ada, UPGRADE, UPGRADED).await;
    sign_out(&mut ada).await;
    let frame = [&b"\x82\x20"[..], &[b'x'; 32]].concat();
    let arrived = trickled(wire, &mut upstream, &frame).await;
    let frames = arrived.strip_suffix(CLOSE_FRAME).expect("the close frame is the last one");
    assert!(!frames.is_empty() && frames.chunks(frame.len()).all(|arrived| arrived == frame), "{frames:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_closes_a_socket_has_the_last_word() {
    let (gate, application, mut ada) = played_by_hand().await;
    let (mut wire, mut upstream) = opened(&gate, &application, &ada, UPGRADE, UPGRADED).await;
    upstream.send(b"\x88\x02\x03\xe9").await;
    sign_out(&mut ada).await;
    assert_eq!(wire.rest_bytes().await, b"\x88\x02\x03\xe9");
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_of_events_ends_with_one_that_says_why() {
    let (gate, application, mut ada) = played_by_hand().await;
    let (mut wire, mut upstream) = opened(&gate, &application, &ada, "", EVENTS).await;
    upstream.send(chunk("data: 1\n\n")).await;
    wire.until("data: 1\n\n\r\n").await;
    sign_out(&mut ada).await;
    assert_eq!(wire.rest().await, format!("{}0\r\n\r\n", chunk(LAST_EVENT)));
    assert_eq!(upstream.rest().await, "", "the application's end is closed");
    let ended = "linkgate_streams_ended_total{kind=\"event_stream\",reason=\"signed_out\"}";
    eventually(async || metric(&gate, ended).await == "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_under_way_is_finished() {
    let (gate, application, mut ada) = played_by_hand().await;
    let closing = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let (wire, mut upstream) = opened(&gate, &application, &ada, "", closing).await;
    sign_out(&mut ada).await;
    let event = "data: one line\r\ndata: and another\n\n";
    let arrived = trickled(wire, &mut upstream, event.as_bytes()).await;
    let mut text = String::new();
    let mut chunks = std::str::from_utf8(&arrived).unwrap();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&rest[..length]);
        chunks = &rest[length + 2..];
    }
    assert!(arrived.ends_with(b"\r\n0\r\n\r\n"), "the body has its end");
    let events = text.strip_suffix(LAST_EVENT).expect("the last event says why");
    assert!(!events.is_empty() && events.replace(event, "").is_empty(), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_never_finished_is_cut_off() {
    let (gate, application, mut ada) = played_by_hand().await;
    let (mut socket, mut upstream) = opened(&gate, &application, &ada, UPGRADE, UPGRADED).await;
    let (mut events, mut other_upstream) = opened(&gate, &application, &ada, "", EVENTS).await;
    upstream.send(b"\x82\x20begun").await;
    other_upstream.send(chunk("data: begun\n")).await;
    sign_out(&mut ada).await;
    assert_eq!(socket.rest_bytes().await, b"\x82\x20begun");
    assert_eq!(events.rest().await.to_ascii_lowercase(), chunk("data: begun\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_put_into_a_stream_that_is_compressed_or_has_a_length() {
    let (gate, application, mut ada) = played_by_hand().await;
    let compressed = EVENTS.replace("Transfer-", "Content-Encoding: gzip\r\nTransfer-");
    let (mut wire, _upstream) = opened(&gate, &application, &ada, "", &compressed).await;
    let counted = EVENTS.replace("Transfer-Encoding: chunked", "Content-Length: 5000");
    let (mut other, _other_upstream) = opened(&gate, &application, &ada, "", &counted).await;
    sign_out(&mut ada).await;
    assert_eq!(wire.rest().await, "0\r\n\r\n");
    assert_eq!(other.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_long_answer_is_cut_off_and_does_not_look_whole() {
    let (gate, application, mut ada) = played_by_hand().await;
    let answer = EVENTS.replace("text/event-stream", "text/plain");
    let (mut wire, mut upstream) = opened(&gate, &application, &ada, "", &answer).await;
    upstream.send(chunk("first")).await;
    wire.until("first\r\n").await;
    eventually(async || metric(&gate, "linkgate_open_streams{kind=\"other\"}").await == "1").await;
    sign_out(&mut ada).await;
    assert_eq!(wire.rest().await, "");
    let ended = "linkgate_streams_ended_total{kind=\"other\",reason=\"signed_out\"}";
    eventually(async || metric(&gate, ended).await == "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_access_by_a_reload_is_told_that() {
    let gate = Gate::with(|text| with_routes(&text, DEMO)).await;
    let ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    gate.reload(|text| format!("{text}allow = {{ addresses = [\"eve@example.com\"] }}\n")).await;
    assert_eq!(close_of(&mut socket).await, with_reason("no_access"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_may_go_on_for_so_long() {
    let routes = "[[route]]\npath = \"/ws\"\nupstream = \"demo\"\nmax_stream_age = \"8h\"\n\
                  [[route]]\npath = \"/ws/always\"\nupstream = \"demo\"\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    let mut always = crate::streams::open_at(&gate, &ada, "/ws/always").await;
    gate.clock.advance(Duration::from_secs(2 * 3600));
    let mut later = open(&gate, &ada).await;
    gate.clock.advance(Duration::from_secs(6 * 3600));
    assert_eq!(close_of(&mut socket).await, with_reason("too_old"));
    for socket in [&mut later, &mut always] {
        assert_eq!(echo(socket, "1").await, Some(Message::text("1")), "it is younger, or may be as old as it likes");
    }
    assert_eq!(ada.open("/ws/always").await.status, 200, "the session lives");
    gate.reload(|text| text.replace("8h", "1h")).await;
    assert_eq!(close_of(&mut later).await, with_reason("too_old"), "a reload counts for what is open");
}
