//! The end of the program: what is open is finished, nothing new begins, and an impatient operator is obeyed.

use std::io;
use std::net::SocketAddr;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Home, Program, replaced};
use crate::harness::{HOST, PATIENCE, Visitor, read_answer};
use crate::recorder::Recorder;

/// A request that has reached its upstream, which has not answered yet.
struct InFlight {
    visitor: TcpStream,
    upstream: TcpStream,
}

impl InFlight {
    async fn new(program: &Program, visitor: &Visitor, upstream: &TcpListener) -> Self {
        let mut stream = TcpStream::connect(program.address).await.unwrap();
        let cookie = visitor.session_cookie();
        let request = format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut upstream, _) =
            tokio::time::timeout(PATIENCE, upstream.accept()).await.expect("it is forwarded").unwrap();
        let mut start = [0; 14];
        upstream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"GET /slow HTTP");
        Self { visitor: stream, upstream }
    }

    /// Lets the upstream answer, and gives what the visitor gets.
    async fn finish(mut self) -> crate::harness::Answer {
        self.upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
        let mut bytes = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, self.visitor.read_to_end(&mut bytes)).await;
        closed.expect("the connection is closed behind the answer").unwrap();
        read_answer(&bytes)
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::before(upstream.local_addr().unwrap());
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &replaced(&text, &[("stop_timeout = \"5s\"", "stop_timeout = \"250ms\"")]));
    let program = home.start().await;
    let visitor = program.signed_in("ada@example.com").await;
    let _in_flight = InFlight::new(&program, &visitor, &upstream).await;
    program.process.signal("TERM");
    let ended = program.process.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("stopped with connections open"), "{}", ended.stderr);
}

/// Waits until nobody can connect to `address` any more.
async fn refused(address: SocketAddr) {
    let refused = async {
        loop {
            match TcpStream::connect(address).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
                // A connection that was waiting to be accepted is closed with the listener.
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("new connections are refused");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_no_other_begins() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::before(upstream.local_addr().unwrap());
    let program = home.start().await;
    let visitor = program.signed_in("ada@example.com").await;
    let in_flight = InFlight::new(&program, &visitor, &upstream).await;

    program.process.signal("TERM");
    refused(program.address).await;
    let ready = program.admin("/health/ready").await;
    let expected = json!({ "status": "not_ready", "reasons": ["stopping"] });
    assert_eq!((ready.status, ready.json()), (StatusCode::SERVICE_UNAVAILABLE, expected));

    let answer = in_flight.finish().await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "done"));
    let ended = program.process.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("\"message\":\"stopped\""), "{}", ended.stderr);
}

#[tokio::test]
async fn a_link_asked_for_in_the_last_moment_is_still_mailed() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    let program = home.start().await;
    let mut visitor = program.visitor();
    let page = visitor.open("/.linkgate/sign-in").await;
    let form = [("email", "ada@example.com"), ("csrf", &page.field("csrf")), ("return_to", "/")];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let cookies: Vec<String> = visitor.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut stream = TcpStream::connect(program.address).await.unwrap();
    let head = format!(
        "POST /.linkgate/sign-in HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        cookies.join("; "),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    is_open(&program).await;

    program.process.signal("TERM");
    refused(program.address).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the form is answered").unwrap();
    assert_eq!(read_answer(&bytes).location(), "/.linkgate/sign-in/sent");
    assert_eq!(program.process.ended().await.code, Some(0));

    let program = home.start().await;
    assert_eq!(program.mail("ada@example.com").await["to"], "ada@example.com");
}

/// Waits until the program counts a request that is not answered yet.
async fn is_open(program: &Program) {
    let open = async { while !program.admin("/metrics").await.body.contains("\nlinkgate_open_requests 1\n") {} };
    tokio::time::timeout(PATIENCE, open).await.expect("the request's header arrives");
}

#[tokio::test]
async fn without_open_requests_it_stops_at_once() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    for signal in ["TERM", "INT"] {
        let program = home.start().await;
        let _silent = TcpStream::connect(program.address).await.unwrap();
        let mut kept = TcpStream::connect(program.address).await.unwrap();
        kept.write_all(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        let mut start = [0; 12];
        kept.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 401");

        program.process.signal(signal);
        let ended = program.process.ended().await;
        assert_eq!(ended.code, Some(0), "{signal}");
        assert!(!ended.stderr.contains("connections open"), "it waits for nobody: {}", ended.stderr);
    }
}

#[tokio::test]
async fn who_asks_twice_does_not_wait() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::before(upstream.local_addr().unwrap());
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &replaced(&text, &[("stop_timeout = \"5s\"", "stop_timeout = \"1d\"")]));
    let program = home.start().await;
    let visitor = program.signed_in("ada@example.com").await;
    let mut in_flight = InFlight::new(&program, &visitor, &upstream).await;

    program.process.signal("TERM");
    program.process.text_line("stopping").await;
    program.process.signal("TERM");
    let ended = program.process.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("stopped at once"), "{}", ended.stderr);
    let mut bytes = Vec::new();
    in_flight.visitor.read_to_end(&mut bytes).await.ok();
    assert!(bytes.is_empty(), "nobody is told that a request was answered which was not");
}
