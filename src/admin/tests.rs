//! The listener through its router: what it tells, and to whom it tells nothing.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

fn admin() -> Admin {
    let metrics = Arc::new(Metrics::new().expect("the metrics are well formed"));
    Admin { readiness: Readiness::new(&["store", "mosaic"]), metrics, hosts: vec!["linkgate.internal".to_owned()] }
}

fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("the request is well formed")
}

async fn send(admin: &Admin, request: Request) -> Answer {
    let answer = router(admin.clone()).oneshot(request).await.expect("the router always answers");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("the body is whole").to_bytes();
    let body = String::from_utf8(body.into()).expect("the body is text");
    assert_eq!(head.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(head.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

async fn open(admin: &Admin, path: &str) -> Answer {
    send(admin, request(path, &[("host", "127.0.0.1:9180")])).await
}

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    serde_json::from_str(&answer.body).expect("the body is JSON")
}

#[tokio::test]
async fn is_alive_even_when_it_is_not_ready() {
    let answer = open(&admin(), "/health/live").await;
    assert_eq!((answer.status, read(&answer)), (200, json!({ "status": "live" })));
}

#[tokio::test]
async fn says_why_it_is_not_ready() {
    let admin = admin();
    let check = async |status: u16, expected: Value| {
        let answer = open(&admin, "/health/ready").await;
        assert_eq!((answer.status, read(&answer)), (status, expected));
    };
    let reasons = ["store: starting", "mosaic: starting"];
    check(503, json!({ "status": "not_ready", "reasons": reasons })).await;
    admin.readiness.set("store", Ok(()));
    admin.readiness.set("mosaic", Err("it does not answer".to_owned()));
    check(503, json!({ "status": "not_ready", "reasons": ["mosaic: it does not answer"] })).await;
    admin.readiness.set("mosaic", Ok(()));
    check(200, json!({ "status": "ready" })).await;
    admin.readiness.stopping();
    check(503, json!({ "status": "not_ready", "reasons": ["stopping"] })).await;
}

#[tokio::test]
async fn shows_the_metrics() {
    let admin = admin();
    let _open = admin.metrics.begin();
    let answer = open(&admin, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4");
    assert!(answer.body.contains("\nlinkgate_open_requests 1\n"), "{}", answer.body);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    for path in ["/", "/health", "/metrics/", "/.linkgate/sign-in"] {
        let answer = open(&admin(), path).await;
        assert_eq!((answer.status, &read(&answer)["error"]), (404, &json!("not_found")), "{path}");
    }
    for path in ["/health/live", "/health/ready", "/metrics"] {
        let mut request = request(path, &[("host", "localhost")]);
        *request.method_mut() = http::Method::POST;
        let answer = send(&admin(), request).await;
        assert_eq!((answer.status, &read(&answer)["error"]), (405, &json!("method_not_allowed")), "{path}");
        assert_eq!(answer.headers[header::ALLOW], "GET,HEAD", "{path}");
    }
}

#[tokio::test]
async fn only_known_hosts_are_answered() {
    let admin = admin();
    let check = async |hosts: &[&str], expected: u16| {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        for path in ["/health/live", "/metrics", "/nothing"] {
            let answer = send(&admin, request(path, &fields)).await;
            let expected = if expected == 200 && path == "/nothing" { 404 } else { expected };
            assert_eq!(answer.status, expected, "{hosts:?} {path}");
        }
    };
    for known in ["localhost", "LocalHost:9180", "127.0.0.1", "10.1.2.3:9180", "[::1]:9180", "linkgate.internal:9180"] {
        check(&[known], 200).await;
    }
    let strange = ["evil.test", "evil.test:9180", "localhost.evil.test", "127.0.0.1.evil.test", "app.example.com"];
    for strange in strange.into_iter().chain(["", "localhost:x", "localhost, evil.test", "user@localhost"]) {
        check(&[strange], 403).await;
    }
    check(&["localhost", "evil.test"], 403).await;
    check(&[], 403).await;
}

#[tokio::test]
async fn a_host_in_the_target_counts_too() {
    let admin = admin();
    let fields = [("host", "localhost")];
    assert_eq!(send(&admin, request("http://localhost/health/live", &fields)).await.status, 200);
    assert_eq!(send(&admin, request("http://evil.test/health/live", &fields)).await.status, 403);
}

#[tokio::test]
async fn a_simple_check_without_a_host_is_answered() {
    let mut request = request("/health/live", &[]);
    *request.version_mut() = Version::HTTP_10;
    assert_eq!(send(&admin(), request).await.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let admin = admin();
    let check = async |origins: &[&str], expected: u16| {
        let host = [("host", "localhost:9180")];
        let fields: Vec<_> = host.into_iter().chain(origins.iter().map(|origin| ("origin", *origin))).collect();
        assert_eq!(send(&admin, request("/metrics", &fields)).await.status, expected, "{origins:?}");
    };
    check(&[], 200).await;
    check(&["http://localhost:9180"], 200).await;
    for other in ["http://localhost:8080", "http://localhost", "https://app.example.com", "null", ""] {
        check(&[other], 403).await;
    }
    check(&["http://localhost:9180", "http://evil.test"], 403).await;
}
