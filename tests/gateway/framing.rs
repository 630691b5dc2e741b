//! Where a request begins and ends is read in one way, and no second request hides behind the first.

use crate::harness::{Gate, HOST, exchange, with_routes};
use crate::wire::Wire;

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost:8080\r\nX-Forwarded-User: forged\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_length_has_two_readings_is_refused() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    for (version, framing) in [
        ("1.1", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("1.1", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("1.1", "Content-Length: 5, 5\r\n"),
        ("1.1", "Content-Length: +5\r\n"),
        ("1.1", "Content-Length: -5\r\n"),
        ("1.1", "Content-Length: 0x5\r\n"),
        ("1.1", "Content-Length: 5 5\r\n"),
        ("1.1", "Content-Length: 5;\r\n"),
        ("1.1", "Content-Length:\r\n"),
        ("1.1", "Content-Length: 18446744073709551616\r\n"),
        ("1.1", "Content-Length : 5\r\n"),
        ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\ncontent-length: 5\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length:\r\n"),
        ("1.1", "Transfer-Encoding: gzip, chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked, identity\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("1.1", "Transfer-Encoding: identity\r\n"),
        ("1.1", "Transfer-Encoding: xchunked\r\n"),
        ("1.1", "Transfer-Encoding: \"chunked\"\r\n"),
        ("1.1", "Transfer-Encoding: chunked;x\r\n"),
        ("1.1", "Transfer-Encoding:\u{b}chunked\r\n"),
        ("1.1", "Transfer-Encoding : chunked\r\n"),
        ("1.1", "Transfer-Encoding\r\n : chunked\r\n"),
        ("1.1", "Transfer-Encoding:\r\n chunked\r\n"),
        ("1.1", "X: y\r\n folded\r\n"),
        ("1.1", "X: y\r\n\tfolded\r\n"),
        ("1.1", " X: y\r\n"),
        ("1.1", "X: a\0b\r\n"),
        ("1.1", "X: a\rb\r\n"),
        ("1.1", "X\0: b\r\n"),
        ("1.1", ": b\r\n"),
        ("1.1", "X b\r\n"),
        ("1.1", "X(y): b\r\n"),
        ("1.0", "Transfer-Encoding: chunked\r\n"),
        ("1.2", "Content-Length: 5\r\n"),
        ("2.0", "Content-Length: 5\r\n"),
        ("0.9", "Content-Length: 5\r\n"),
    ] {
        let head = format!("POST / HTTP/{version}\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n{framing}\r\n");
        let mut wire = gate.wire().await;
        wire.send(format!("{head}0\r\n\r\n{HIDDEN}")).await;
        let answers = wire.rest().await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "HTTP/{version} {framing:?}: {answers:?}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "HTTP/{version} {framing:?}: {answers:?}");
    }
    assert!(gate.recorder.requests().is_empty(), "{:#?}", gate.recorder.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_body_arrives_whole_however_it_is_framed() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    for (fields, sent, body) in [
        ("Content-Length: 5\r\n", "hello", "hello"),
        ("Content-Length: 0\r\n", "", ""),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("Transfer-Encoding: CHUNKED\r\n", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Forwarded-User: forged\r\n\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""),
        // A visitor who nominates the length must not make a second request of the body.
        ("Content-Length: 5\r\nConnection: content-length\r\n", "hello", "hello"),
        ("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"),
    ] {
        let own = format!("Host: {HOST}\r\nCookie: linkgate={cookie}\r\nConnection: close\r\n");
        let answer =
            exchange(gate.running.address, format!("POST / HTTP/1.1\r\n{own}{fields}\r\n{sent}").as_bytes()).await;
        let seen = gate.recorder.last();
        assert_eq!((answer.body.as_str(), String::from_utf8_lossy(&seen.body).as_ref()), ("hello", body), "{fields:?}");
        assert!(!seen.head.contains("forged"), "{}", seen.head);
    }
    assert_eq!(gate.recorder.requests().len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_its_own_framing_is_given_up() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    for chunks in
        ["5\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX0\r\n\r\n", "-1\r\n\r\n", "g\r\n\r\n"]
    {
        let own = format!("Host: {HOST}\r\nCookie: linkgate={cookie}\r\nTransfer-Encoding: chunked\r\n");
        let mut wire = gate.wire().await;
        wire.send(format!("POST / HTTP/1.1\r\n{own}\r\n{chunks}{HIDDEN}")).await;
        let answers = wire.rest().await;
        assert!(
            answers.starts_with("HTTP/1.1 400 ") && answers.matches("HTTP/1.1 ").count() == 1,
            "{chunks:?}: {answers:?}"
        );
    }
    assert!(gate.recorder.requests().is_empty(), "no request was whole: {:#?}", gate.recorder.requests());
}

/// One request for each of the gateway's own answers.
const OWN: [(&str, &str, u16); 9] = [
    ("GET /page", "Accept: text/html\r\n", 303),
    ("GET /page", "", 401),
    ("GET /nothing", "Cookie: ID\r\n", 404),
    ("GET /ops/x", "Cookie: ID\r\n", 403),
    ("GET /page/%00", "Cookie: ID\r\n", 400),
    ("TRACE /page", "Cookie: ID\r\n", 405),
    ("GET /.linkgate/sign-in", "", 200),
    ("GET /.linkgate/session", "", 401),
    ("GET /.linkgate/assets/style.css", "", 200),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hides_behind_an_answer_of_the_gateways_own() {
    let routes = "[[route]]\npath = \"/page\"\nupstream = UPSTREAM\n[[route]]\npath = \"/hidden\"\naccess = \"public\"\n\
                  upstream = UPSTREAM\n[[route]]\npath = \"/ops\"\nupstream = UPSTREAM\nallow = { groups = ['ops'] }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let cookie = format!("linkgate={}", gate.signed_in("ada@example.com").await.session_cookie());
    let length = format!("Content-Length: {}\r\n", HIDDEN.len());
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    for (line, fields, status) in OWN {
        for (framing, hidden) in [
            (length.as_str(), HIDDEN),
            ("Transfer-Encoding: chunked\r\n", &chunk),
            // Said to come, and never to be asked for.
            (&format!("{length}Expect: 100-continue\r\n"), HIDDEN),
            // Pipelined: dropped, or answered in its turn, but then as the request that it is.
            ("", HIDDEN),
        ] {
            let fields = fields.replace("ID", &cookie);
            let mut wire = gate.wire().await;
            wire.send(format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}{framing}\r\n{hidden}")).await;
            let answers = wire.rest().await;
            assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {framing:?}: {answers:?}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{line} {framing:?}: {answers:?}");
            assert!(gate.recorder.requests().is_empty(), "{line} {framing:?}: {:#?}", gate.recorder.requests());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_must_sign_in_first_is_not_asked_for_a_body() {
    let gate = Gate::start().await;
    let mut wire = gate.wire().await;
    wire.send(format!("PUT /page HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_portal_asks_for_a_form_that_waits() {
    let gate = Gate::start().await;
    let mut wire = gate.wire().await;
    let head =
        format!("POST /.linkgate/sign-out HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\nExpect: 100-continue\r\n");
    wire.send(format!("{head}\r\n")).await;
    assert_eq!(wire.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("csrf=x").await;
    assert_eq!(wire.answer().await.location(), "/.linkgate/signed-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipelined_request_is_dropped_with_its_connection() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let mut wire = gate.wire().await;
    let first = format!("GET /first HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n\r\n");
    wire.send(format!("{first}{}", first.replace("/first", "/second"))).await;
    let answers = wire.rest().await;
    assert!(answers.ends_with("\r\n\r\nhello") && answers.matches("HTTP/1.1 ").count() == 1, "{answers}");
    assert_eq!(gate.recorder.only().line(), "GET /first HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_one_connection_are_each_their_own() {
    let routes =
        "[[route]]\nupstream = UPSTREAM\n[[route]]\npath = \"/open\"\naccess = \"public\"\nupstream = UPSTREAM\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let mut wire = gate.wire().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n\r\ncsrf=x";
    for (line, fields, status) in [
        ("GET /.linkgate/sign-in", "\r\n", 200),
        ("GET /one", "Cookie: ID\r\n\r\n", 200),
        ("GET /two", "\r\n", 401),
        ("POST /.linkgate/sign-out", form, 303),
        ("POST /three", "Cookie: ID\r\nContent-Length: 5\r\n\r\nhello", 200),
        ("GET /four", "Accept: text/html\r\n\r\n", 303),
        ("GET /open", "\r\n", 200),
        ("GET /.linkgate/session", "Cookie: ID\r\n\r\n", 200),
    ] {
        let fields = fields.replace("ID", &format!("linkgate={cookie}"));
        wire.send(format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{line}: {answer:?}");
    }
    let seen = gate.recorder.requests();
    let seen: Vec<_> =
        seen.iter().map(|seen| (seen.line(), seen.values("x-forwarded-email"), seen.body.len())).collect();
    let expected = [
        ("GET /one HTTP/1.1", vec!["ada@example.com"], 0),
        ("POST /three HTTP/1.1", vec!["ada@example.com"], 5),
        ("GET /open HTTP/1.1", vec![], 0),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_client_is_served_and_its_connection_closed() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let mut wire = Wire::connect(gate.running.address).await;
    wire.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n\r\n")).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(gate.recorder.only().line(), "GET / HTTP/1.1");
}
