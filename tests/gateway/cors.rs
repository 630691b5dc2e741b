//! Pages of other sites, and what they may read.

use http::{Method, StatusCode};

use crate::harness::{Answer, Gate, with_routes};

const ROUTES: &str = "[[route]]\npath = '/api'\nupstream = UPSTREAM\nmethods = ['GET', 'PUT']\n\
    [route.cors]\norigins = ['https://app2.example.com']\nmethods = ['GET', 'PUT', 'DELETE']\nexpose = ['ETag']\n\
    credentials = true\n\
    [[route]]\npath = '/open'\nupstream = UPSTREAM\naccess = 'public'\n[route.cors]\norigins = ['*']\n\
    [[route]]\nupstream = UPSTREAM\n";

const OURS: &str = "https://app2.example.com";

async fn gate() -> Gate {
    Gate::with(|text| with_routes(&text, ROUTES)).await
}

async fn preflight(gate: &Gate, path: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let mut fields = vec![("origin", origin), ("access-control-request-method", method)];
    if !headers.is_empty() {
        fields.push(("access-control-request-headers", headers));
    }
    gate.visitor().program().send(Method::OPTIONS, path, &fields, "").await
}

/// The fields of the protocol that an answer has.
fn said(answer: &Answer) -> Vec<String> {
    let ours = |name: &str| name.starts_with("access-control-") || name == "vary";
    let fields = answer.headers.iter().filter(|(name, _)| ours(name.as_str()));
    let mut said: Vec<String> = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    said.sort();
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_ahead_is_answered_without_sign_in() {
    let gate = gate().await;
    let answer = preflight(&gate, "/api/x", OURS, "PUT", "authorization, Content-Type").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    let expected = [
        "access-control-allow-credentials: true",
        "access-control-allow-headers: authorization, content-type",
        "access-control-allow-methods: GET, PUT, DELETE",
        "access-control-allow-origin: https://app2.example.com",
        "access-control-max-age: 600",
        "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    ];
    assert_eq!(said(&answer), expected);
    assert_eq!(gate.recorder.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_methods_and_fields_are_refused() {
    let gate = gate().await;
    for (origin, method, headers) in [
        ("https://evil.test", "GET", ""),
        ("https://app2.example.com.evil.test", "GET", ""),
        ("http://app2.example.com", "GET", ""),
        ("null", "GET", ""),
        (OURS, "get", ""),
        (OURS, "GET", "x-other"),
        (OURS, "GET", "authorization,,x-other"),
    ] {
        let answer = preflight(&gate, "/api/x", origin, method, headers).await;
        let is_refused = matches!(answer.status.as_u16(), 401 | 403 | 405) && said(&answer).is_empty();
        assert!(is_refused, "{origin} {method} {headers}: {answer:?}");
    }
    assert_eq!(gate.recorder.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_says_nothing_is_as_before() {
    let gate = gate().await;
    let answer = preflight(&gate, "/x", OURS, "GET", "").await;
    assert_eq!((answer.status, said(&answer).len()), (StatusCode::UNAUTHORIZED, 0));
    let ada = gate.signed_in("ada@example.com").await;
    gate.recorder.answer_with("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(said(&ada.program().open("/x").await), ["access-control-allow-origin: *"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_refusals_say_who_may_read_them() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let theirs = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Private-Network: true\r\nVary: Accept\r\n";
    gate.recorder.answer_with(&format!("HTTP/1.1 200 OK\r\n{theirs}Content-Length: 0\r\n\r\n"));
    let allowed = [
        "access-control-allow-credentials: true",
        "access-control-allow-origin: https://app2.example.com",
        "access-control-expose-headers: etag",
    ];
    let answer = ada.program().send(Method::GET, "/api/x", &[("origin", OURS)], "").await;
    assert_eq!(said(&answer), [&allowed[..], &["vary: Accept", "vary: Origin"]].concat());
    let refused = gate.visitor().program().send(Method::GET, "/api/x", &[("origin", OURS)], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(said(&refused), [&allowed[..], &["vary: Origin"]].concat());
    let other = ada.program().send(Method::GET, "/api/x", &[("origin", "https://evil.test")], "").await;
    assert_eq!(said(&other), ["vary: Accept", "vary: Origin"]);
    let every = gate.visitor().program().send(Method::GET, "/open", &[("origin", "https://evil.test")], "").await;
    assert_eq!(said(&every), ["access-control-allow-origin: *", "vary: Accept", "vary: Origin"]);
}
