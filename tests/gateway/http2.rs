//! HTTP/2 towards visitors: what the application gets of it, and how long a connection and its streams may last.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::harness::{Gate, PATIENCE, SECURE_HOST as HOST, eventually, with_routes};
use crate::tls::{self, Files};
use crate::wire::Wire;

/// A visitor's connection.
struct Connection {
    requests: SendRequest<Bytes>,
    driven: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(gate: &Gate, files: &Files) -> Self {
        let stream = tls::connect(gate, &files.client(&["h2"]), "localhost").await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Self { requests, driven: tokio::spawn(connection) }
    }

    async fn begin(&mut self, request: Request<()>, is_whole: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.unwrap();
        requests.send_request(request, is_whole).unwrap()
    }

    /// The status, fields and body of the answer to a request without a body.
    async fn ask(&mut self, request: Request<()>) -> (http::response::Parts, String) {
        let (answer, _) = self.begin(request, true).await;
        let (parts, mut body) = answer.await.unwrap().into_parts();
        let mut text = String::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        (parts, text)
    }

    /// Returns once the other end has closed.
    async fn closed(self) {
        timeout(PATIENCE, self.driven).await.expect("the connection ends").unwrap().ok();
    }
}

fn get(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    request(Method::GET, path, fields)
}

fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("https://{HOST}{path}")).version(Version::HTTP_2);
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| request.header(*name, *value);
    fields.iter().fold(request, add).body(()).unwrap()
}

/// The cookie of somebody who signed in.
async fn signed_in(gate: &Gate, address: &str) -> String {
    format!("__Host-linkgate={}", gate.signed_in(address).await.session_cookie())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_arrives_as_it_would_by_the_older_protocol() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| text).await;
    let cookie = signed_in(&gate, "ada@example.com").await;
    let mut connection = Connection::open(&gate, &files).await;
    // Browsers send each cookie in a field of its own (RFC 9113 section 8.2.3).
    let fields = [("cookie", "a=1"), ("cookie", &cookie), ("cookie", "b=2"), ("x-forwarded-user", "forged")];
    let (answer, body) = connection.ask(get("/page?x=1", &fields)).await;
    assert_eq!((answer.status, body.as_str()), (StatusCode::OK, "hello"));
    let seen = gate.recorder.only();
    assert_eq!(seen.line(), "GET /page?x=1 HTTP/1.1");
    assert_eq!((seen.values("host"), seen.values("cookie")), (vec![HOST], vec!["a=1; b=2"]));
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(seen.values("x-forwarded-user").len(), 1);
    assert!(!seen.head.contains("forged"));

    let page = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];
    let (answer, _) = connection.ask(get("/page?x=1", &page)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["location"].as_bytes()),
        (303, &b"/.linkgate/sign-in?return_to=%2Fpage%3Fx%3D1"[..])
    );
    let (answer, body) = connection.ask(get("/.linkgate/sign-in", &page)).await;
    assert!(answer.status == 200 && body.contains("Email address"), "{body}");
    let (answer, body) = connection.ask(get("/api", &[])).await;
    assert!(answer.status == 401 && body.contains("sign_in_required"), "{body}");
    assert_eq!(gate.recorder.requests().len(), 1, "one connection for all, and one request forwarded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_is_from_whom_its_own_cookies_name() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| text).await;
    let (ada, bob) = (signed_in(&gate, "ada@example.com").await, signed_in(&gate, "bob@example.com").await);
    let mut connection = Connection::open(&gate, &files).await;
    let mut cut = ada.clone();
    cut.pop();
    let (adas, bobs) = (format!("a=1; {ada}; b=2"), format!("a=1; {bob}; b=2"));
    let forwarded = |who| Some((who, "a=1; b=2"));
    for (cookies, seen) in [
        (&[&*adas][..], forwarded("ada@example.com")),
        (&[&*adas], forwarded("ada@example.com")),
        (&["a=1", &ada, "b=2"], forwarded("ada@example.com")),
        (&["a=1", &ada, "b=2"], forwarded("ada@example.com")),
        (&["a=1", &bob, "b=2"], forwarded("bob@example.com")),
        (&["a=1", &ada], Some(("ada@example.com", "a=1"))),
        (&["a=1", &cut], None),
        (&["a=1", &ada, "b=2", &bob], None),
        (&["a=1", "b=2"], None),
        (&[], None),
        (&[&ada], Some(("ada@example.com", ""))),
        (&[&*bobs], forwarded("bob@example.com")),
        (&["c=3", &bob, "b=2"], Some(("bob@example.com", "c=3; b=2"))),
    ] {
        let before = gate.recorder.requests().len();
        let fields: Vec<(&str, &str)> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
        let status = connection.ask(get("/", &fields)).await.0.status;
        let Some((who, others)) = seen else {
            assert_eq!((status, gate.recorder.requests().len()), (StatusCode::UNAUTHORIZED, before), "{cookies:?}");
            continue;
        };
        assert_eq!((status, gate.recorder.requests().len()), (StatusCode::OK, before + 1), "{cookies:?}");
        let last = gate.recorder.last();
        assert_eq!(last.values("x-forwarded-email"), [who], "{cookies:?}");
        assert_eq!(last.values("cookie").join(""), others, "{cookies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_is_over_on_the_connection_that_just_used_it() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| text).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let cookie = format!("__Host-linkgate={}", ada.session_cookie());
    let mut connection = Connection::open(&gate, &files).await;
    for _ in 0..2 {
        assert_eq!(connection.ask(get("/", &[("cookie", &cookie)])).await.0.status, StatusCode::OK);
    }
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(connection.ask(get("/", &[("cookie", &cookie)])).await.0.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_two_readings_is_refused_in_http2_as_well() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| text).await;
    let cookie = signed_in(&gate, "ada@example.com").await;
    let mut connection = Connection::open(&gate, &files).await;
    let uri = |uri: &str| {
        let request = Request::builder().uri(uri).version(Version::HTTP_2).header("cookie", &cookie);
        request.body(()).unwrap()
    };
    for (request, status) in [
        (get("/a/../b", &[("cookie", &cookie)]), 400),
        (get("/a%2fb", &[("cookie", &cookie)]), 400),
        (uri("https://evil.test/"), 421),
        (uri("https://localhost:8080/"), 421),
        (get("/", &[("cookie", &cookie), ("host", "evil.test")]), 400),
        (request(Method::TRACE, "/", &[("cookie", &cookie)]), 405),
        (get("/", &[("cookie", &cookie), ("x-long", &"x".repeat(40_000))]), 431),
    ] {
        let shown = format!("{request:?}");
        let (answer, _) = connection.ask(request).await;
        assert_eq!(answer.status.as_u16(), status, "{shown:.200}");
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_ends_once() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| text).await;
    let cookie = signed_in(&gate, "ada@example.com").await;
    let mut connection = Connection::open(&gate, &files).await;
    for round in 1..=3 {
        let (answer, mut body) = connection.begin(request(Method::PUT, "/file", &[("cookie", &cookie)]), false).await;
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        // The framework would write a second end for it (pingora issue 935).
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        assert_eq!(gate.recorder.requests().len(), round, "nothing is left for the next request to be read from");
        assert_eq!(gate.recorder.last().body, b"hello");
    }
}

/// A gate in front of an application that the story plays by hand.
async fn played_by_hand(files: &Files) -> (Gate, TcpListener, String) {
    played_by_hand_with(files, "").await
}

/// The same with more about its route.
async fn played_by_hand_with(files: &Files, terms: &str) -> (Gate, TcpListener, String) {
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = format!("[[route]]\nupstream = \"http://{}\"\n{terms}\n", application.local_addr().unwrap());
    let gate = tls::gate(files, "", |text| with_routes(&text, &route)).await;
    let cookie = signed_in(&gate, "ada@example.com").await;
    (gate, application, cookie)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_silence_is_noticed_of_each_request_by_itself() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand_with(&files, "response_timeout = \"10s\"").await;
    let mut connection = Connection::open(&gate, &files).await;
    let fields = [("cookie", cookie.as_str()), ("accept", "application/json")];
    let (asked, _) = connection.begin(get("/silent", &fields), true).await;
    let mut silent = Wire::accept(&application).await;
    silent.head().await;
    let (read, _) = connection.begin(get("/faltering", &fields), true).await;
    let mut faltering = Wire::accept(&application).await;
    faltering.head().await;
    faltering.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let mut read = read.await.unwrap().into_body();
    assert_eq!(read.data().await.unwrap().unwrap(), "only this");
    let told = async {
        let (answer, mut body) = timeout(PATIENCE, asked).await.unwrap().unwrap().into_parts();
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        let body = body.data().await.unwrap().unwrap();
        assert!(std::str::from_utf8(&body).unwrap().contains("upstream_timed_out"), "{body:?}");
        assert_eq!(silent.rest().await, "", "the application is let go");
    };
    let broken_off = async {
        assert!(timeout(PATIENCE, read.data()).await.unwrap().unwrap().is_err(), "the answer is not whole");
        assert_eq!(faltering.rest().await, "");
    };
    tokio::join!(told, broken_off);

    // The connection is as good as before.
    let (next, _) = connection.begin(get("/next", &fields), true).await;
    let mut talking = Wire::accept(&application).await;
    talking.head().await;
    talking.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(next.await.unwrap().status(), StatusCode::OK);
}

async fn opened_events(connection: &mut Connection, application: &TcpListener, cookie: &str) -> (Wire, RecvStream) {
    let fields = [("cookie", cookie), ("accept", "text/event-stream")];
    let (answer, _) = connection.begin(get("/events", &fields), true).await;
    let mut upstream = Wire::accept(application).await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    let mut events = answer.await.unwrap().into_body();
    assert_eq!(events.data().await.unwrap().unwrap(), "data: 1\n\n");
    (upstream, events)
}

async fn sign_out(connection: &mut Connection, cookie: &str) {
    let (_, page) = connection.ask(get("/.linkgate/sign-out", &[("cookie", cookie), ("accept", "text/html")])).await;
    let csrf = page.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let fields = [
        ("cookie", cookie),
        ("origin", "https://localhost:8443"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let (answer, mut body) = connection.begin(request(Method::POST, "/.linkgate/sign-out", &fields), false).await;
    body.send_data(Bytes::from(format!("csrf={csrf}")), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::SEE_OTHER);
}

async fn opened_page(connection: &mut Connection, application: &TcpListener, cookie: &str) -> (Wire, RecvStream) {
    let (answer, _) = connection.begin(get("/slow", &[("cookie", cookie)]), true).await;
    let mut upstream = Wire::accept(application).await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nfirst").await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "first");
    (upstream, body)
}

/// Has the application send without end; gives the last that comes of it, and how that ends if not well.
async fn fed(upstream: &mut Wire, mut body: RecvStream) -> (Bytes, Option<h2::Error>) {
    let mut last = Bytes::new();
    let ended = async {
        loop {
            upstream.send("data: 2\n\n").await;
            match timeout(Duration::from_millis(50), body.data()).await {
                Ok(Some(Ok(chunk))) => {
                    body.flow_control().release_capacity(chunk.len()).unwrap();
                    last = chunk;
                }
                Ok(Some(Err(error))) => break Some(error),
                Ok(None) => break None,
                Err(_) => {}
            }
        }
    };
    let error = timeout(PATIENCE, ended).await.expect("the stream ends");
    (last, error)
}

const LAST_EVENT: &str = "event: linkgate-end\ndata: {\"reason\":\"signed_out\"}\n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_which_something_comes_ends_alone_with_its_session() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (mut upstream, events) = opened_events(&mut connection, &application, &cookie).await;
    sign_out(&mut connection, &cookie).await;
    let (last, error) = fed(&mut upstream, events).await;
    assert!(error.is_none() && last == LAST_EVENT, "{last:?} {error:?}");
    let (answer, _) = connection.ask(get("/.linkgate/assets/nothing", &[])).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_of_events_ends_alone_and_says_why() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (mut upstream, mut events) = opened_events(&mut connection, &application, &cookie).await;
    sign_out(&mut connection, &cookie).await;
    let last = timeout(PATIENCE, events.data()).await.expect("something comes").unwrap();
    assert_eq!(last.unwrap(), LAST_EVENT);
    assert!(events.data().await.is_none(), "the stream has its end");
    assert_eq!(upstream.rest().await, "");
    let (answer, _) = connection.ask(get("/.linkgate/assets/nothing", &[])).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_answer_on_which_something_comes_ends_alone_and_does_not_look_whole() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (mut upstream, body) = opened_page(&mut connection, &application, &cookie).await;
    sign_out(&mut connection, &cookie).await;
    let (last, error) = fed(&mut upstream, body).await;
    assert!(error.is_some_and(|error| error.is_reset()) && last == "data: 2\n\n", "{last:?}");
    let (answer, _) = connection.ask(get("/.linkgate/assets/nothing", &[])).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_silent_answer_takes_its_connection_along_when_its_session_is_over() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (mut upstream, _body) = opened_page(&mut connection, &application, &cookie).await;
    let eve = signed_in(&gate, "eve@example.com").await;
    let mut other = Connection::open(&gate, &files).await;
    let (mut goes_on, mut hers) = opened_events(&mut other, &application, &eve).await;
    sign_out(&mut connection, &cookie).await;
    connection.closed().await;
    assert_eq!(upstream.rest().await, "");
    goes_on.send("data: 2\n\n").await;
    assert_eq!(hers.data().await.unwrap().unwrap(), "data: 2\n\n", "somebody else's goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_is_given_up() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (answer, mut body) = connection.begin(request(Method::PUT, "/file", &[("cookie", &cookie)]), false).await;
    body.send_data(Bytes::from_static(b"begun"), false).unwrap();
    let mut upstream = Wire::accept(&application).await;
    upstream.until("begun").await;
    gate.clock.advance(Duration::from_secs(61));
    assert!(timeout(PATIENCE, answer).await.expect("the stream ends").is_err());
    connection.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_silent_for_long_is_given_up_over_tls_as_well() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand_with(&files, "response_timeout = \"10s\"").await;
    let mut connection = Connection::open(&gate, &files).await;
    let fields = [("cookie", &*cookie), ("accept", "application/json")];
    let (newer, _) = connection.begin(get("/", &fields), true).await;
    let mut first = Wire::accept(&application).await;
    first.head().await;
    let mut older = tls::connect(&gate, &files.client(&["http/1.1"]), "localhost").await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nAccept: application/json\r\n\r\n");
    older.write_all(request.as_bytes()).await.unwrap();
    let mut second = Wire::accept(&application).await;
    second.head().await;
    let mut rest = Vec::new();
    let (newer, read) = tokio::join!(newer, timeout(PATIENCE, older.read_to_end(&mut rest)));
    assert_eq!(newer.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    read.expect("the connection ends with the answer").ok();
    let answer = String::from_utf8(rest).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("upstream_timed_out"), "{answer}");
    assert_eq!((first.rest().await, second.rest().await), (String::new(), String::new()), "the application is let go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_no_request_arrives_ends() {
    let files = Files::new();
    let change = |text: String| format!("{text}\n[limits]\nheader_timeout = \"300ms\"\nkeep_alive = \"1s\"\n");
    let gate = tls::gate(&files, "", change).await;
    // One that asks nothing, one that never says what it speaks, and one whose header does not end.
    Connection::open(&gate, &files).await.closed().await;
    let unfinished_header = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\0\0\0\0\x01\x82";
    for bytes in [&b""[..], &b"PRI * HTTP/2.0\r\n"[..], unfinished_header] {
        let mut stream = tls::connect(&gate, &files.client(&["h2"]), "localhost").await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection ends").ok();
    }
    // One that has asked, and asks no more.
    let mut connection = Connection::open(&gate, &files).await;
    connection.ask(get("/.linkgate/session", &[])).await;
    connection.closed().await;
    eventually(async || gate.running.open_connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_are_finished_when_the_gateway_stops() {
    let files = Files::new();
    let (gate, application, cookie) = played_by_hand(&files).await;
    let mut connection = Connection::open(&gate, &files).await;
    let (answer, _) = connection.begin(get("/slow", &[("cookie", &cookie)]), true).await;
    let mut upstream = Wire::accept(&application).await;
    upstream.head().await;
    let stopping = tokio::spawn(gate.running.stop());
    let mut refused = connection.requests.clone();
    eventually(async || std::future::poll_fn(|task| refused.poll_ready(task)).await.is_err()).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "done");
    drop(body);
    drop(refused);
    connection.closed().await;
    timeout(PATIENCE, stopping).await.expect("the gateway stops").unwrap();
}
