//! Every request target has one meaning: what is decided about it and what the application gets are the same.

use crate::harness::{Answer, Gate, HOST, exchange, with_routes};

const ROUTES: &str = r#"
[[route]]
upstream = UPSTREAM
[[route]]
path = "/public"
access = "public"
upstream = UPSTREAM
"#;

/// What became of a request: the request line that was forwarded, or else the status.
async fn outcome(gate: &Gate, request: &[u8]) -> String {
    let before = gate.recorder.requests().len();
    let answer = exchange(gate.running.address, request).await;
    let mut seen = gate.recorder.requests().split_off(before);
    assert!(seen.len() <= 1, "{seen:#?}");
    seen.pop().map_or_else(|| answer.status.as_u16().to_string(), |seen| seen.line().to_owned())
}

fn get(target: &[u8], cookie: &str) -> Vec<u8> {
    let fields = format!(" HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nCookie: linkgate={cookie}\r\n\r\n");
    [b"GET ", target, fields.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_path_leads_around_the_route_that_protects_it() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    for (target, expected) in [
        (&b"/public"[..], "GET /public HTTP/1.1"),
        (b"/public/x?y=/../z", "GET /public/x?y=/../z HTTP/1.1"),
        (b"//public///x", "GET /public/x HTTP/1.1"),
        (b"/%70ublic/%78", "GET /public/x HTTP/1.1"),
        (b"/public/a%20b;c=d", "GET /public/a%20b;c=d HTTP/1.1"),
        (b"/public/caf\xc3\xa9", "GET /public/caf%C3%A9 HTTP/1.1"),
        (b"/public/a b", "GET /public/a%20b HTTP/1.1"),
        (b"/public/100%25", "GET /public/100%25 HTTP/1.1"),
        (b"/public/#/../admin", "GET /public/ HTTP/1.1"),
        (b"http://localhost:8080/public/x?y", "GET /public/x?y HTTP/1.1"),
        (b"HTTP://localhost:8080/public", "GET /public HTTP/1.1"),
        // These are another route's, which wants a sign-in.
        (b"/", "401"),
        (b"/admin", "401"),
        (b"//admin", "401"),
        (b"/%61dmin", "401"),
        (b"/PUBLIC/x", "401"),
        (b"/publicity", "401"),
        (b"/public.html", "401"),
        (b"/public;x/y", "401"),
        (b"/public%3Bx/y", "401"),
        (b"/public%3F/y", "401"),
        (b"/public%20/y", "401"),
        (b"/public%23", "401"),
        (b"/admin?x=/public/", "401"),
        (b"/admin#/public/", "401"),
        (b"#/public", "401"),
        (b"http://localhost:8080", "401"),
        (b"http://localhost:8080?/public/", "401"),
        (b"http://localhost:8080/admin", "401"),
        // These have two readings, or none.
        (b"/public/../admin", "400"),
        (b"/public/%2e%2e/admin", "400"),
        (b"/public/.%2E/admin", "400"),
        (b"/public/%2e", "400"),
        (b"/public/..\\admin", "400"),
        (b"/public\\x", "400"),
        (b"/public/%5c..", "400"),
        (b"/public%2fx", "400"),
        (b"/public/..%2fadmin", "400"),
        (b"/public/%252e%252e/admin", "400"),
        (b"/public/%25252e%25252e/admin", "400"),
        (b"/public/..%252fadmin", "400"),
        (b"/public/..%c0%af", "400"),
        (b"/./public", "400"),
        (b"/public//../admin", "400"),
        (b"/public/..;/admin", "400"),
        (b"/public/..;x=1/admin", "400"),
        (b"/public/..%3bx/admin", "400"),
        (b"/public/;/../admin", "400"),
        (b"/public/%00", "400"),
        (b"/public/a\x00b", "400"),
        (b"/public/%0d%0aX-Forwarded-User:x", "400"),
        (b"/public/a\tb", "400"),
        (b"/public/a\x7fb", "400"),
        (b"/public/%", "400"),
        (b"/public/%4", "400"),
        (b"/public/%zz", "400"),
        (b"/public/%u002e", "400"),
        (b"/public/%ff", "400"),
        (b"/public/\xff", "400"),
        (b"/public/x?\xff", "400"),
        (b"public/x", "400"),
        (b"?/public/x", "400"),
        (b"*", "400"),
        (b"localhost:8080", "400"),
        (b"http:/public/x", "400"),
        (b"http:///public/x", "400"),
        (b"ftp://localhost:8080/public/x", "400"),
        (b"http://evil.test/public/x", "400"),
        (b"http://localhost:8080@evil.test/public/x", "400"),
        (b"http://localhost:8080\\@evil.test/public/x", "400"),
        (b"http://localhost:8080/public/../admin", "400"),
    ] {
        assert_eq!(outcome(&gate, &get(target, "")).await, expected, "{}", target.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_paths_never_reach_an_application() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    for (target, expected) in [
        ("/.linkgate/session", 200),
        ("//.linkgate//session", 200),
        ("/%2elinkgate/%73ession", 200),
        ("http://localhost:8080/.linkgate/session", 200),
        ("/.linkgate/session?x=/../..", 200),
        ("/.linkgate", 404),
        ("/.linkgate/", 404),
        ("/.linkgate/x", 404),
        ("/.linkgate/session/", 404),
        ("/.LINKGATE/session", 404),
        ("/.LinkGate", 404),
        ("/%2ELINKGATE/x", 404),
        ("/.linkgate;x", 404),
        ("/.linkgate;x/session", 404),
        ("/.linkgate/../.linkgate/session", 400),
        ("//.linkgate/..", 400),
        ("/x/../.linkgate/session", 400),
        ("/./.linkgate/session", 400),
        ("/.linkgate%2fsession", 400),
        ("/.linkgate\\session", 400),
        ("/%252elinkgate/session", 400),
        ("/.linkgate%00", 400),
        ("/.linkgate/assets/..%2f..%2fgateway.toml", 400),
    ] {
        let answer = exchange(gate.running.address, &get(target.as_bytes(), &cookie)).await;
        assert_eq!(answer.status, expected, "{target}: {answer:?}");
    }
    assert!(gate.recorder.requests().is_empty(), "{:#?}", gate.recorder.requests());
    for target in ["/.linkgatex", "/linkgate", "/x/.linkgate/session"] {
        assert_eq!(outcome(&gate, &get(target.as_bytes(), &cookie)).await, format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host_and_it_is_ours() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let ask = async |fields: &str, path: &str| -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\n{fields}Accept: text/html\r\nConnection: close\r\n\r\n");
        exchange(gate.running.address, request.as_bytes()).await
    };
    for (fields, status) in [
        ("Host: evil.test\r\n", 421),
        ("Host: evil.test\r\nX-Forwarded-Host: localhost:8080\r\n", 421),
        ("Host: evil.test\r\nForwarded: host=\"localhost:8080\"\r\n", 421),
        ("Host: localhost\r\n", 421),
        ("Host: localhost:80\r\n", 421),
        ("Host: localhost:8081\r\n", 421),
        ("Host: 127.0.0.1:8080\r\n", 421),
        ("Host: [::1]:8080\r\n", 421),
        ("Host: localhost.evil.test:8080\r\n", 421),
        ("", 400),
        ("Host:\r\n", 400),
        ("Host: :8080\r\n", 400),
        ("Host: localhost:8080\r\nHost: localhost:8080\r\n", 400),
        ("Host: localhost:8080\r\nHost: evil.test\r\n", 400),
        ("Host: localhost:8080, evil.test\r\n", 400),
        ("Host: localhost:8080/\r\n", 400),
        ("Host: localhost:8080/public\r\n", 400),
        ("Host: user@localhost:8080\r\n", 400),
        ("Host: local host:8080\r\n", 400),
        ("Host: localhost:\r\n", 400),
        ("Host: localhost:8080:8080\r\n", 400),
        ("Host: localhost:x\r\n", 400),
        ("Host: localhost:99999\r\n", 400),
        ("Host: <b>\r\n", 400),
        ("Host: *\r\n", 400),
        ("Host: %6cocalhost:8080\r\n", 400),
        ("Host: \u{9}\r\n", 400),
        ("Host : localhost:8080\r\n", 400),
    ] {
        for path in ["/public/x", "/x", "/.linkgate/sign-in"] {
            let answer = ask(fields, path).await;
            assert_eq!(answer.status, status, "{fields:?} {path}");
            assert!(!answer.headers.contains_key("set-cookie"), "{fields:?} {path}");
            assert!(!answer.body.contains("<form") && !answer.body.contains("evil"), "{fields:?} {path}");
        }
    }
    assert!(gate.recorder.requests().is_empty());
    assert_eq!(ask("Host: localhost:8080\r\n", "/public/x").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_route_serves_is_not_found() {
    let gate = Gate::with(|text| with_routes(&text, "[[route]]\npath = \"/app\"\nupstream = UPSTREAM\n")).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    for path in ["/", "/other", "/application", "/APP"] {
        let answer = ada.open(path).await;
        assert_eq!((answer.status.as_u16(), answer.heading()), (404, "Page not found"), "{path}");
        assert_eq!(gate.visitor().program().open(path).await.json()["error"], "not_found", "{path}");
    }
    assert!(gate.recorder.requests().is_empty());
    assert_eq!(ada.open("/app").await.body, "hello");
}
