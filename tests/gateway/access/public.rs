//! Parts of a route that need no sign-in: what is listed is open, as it is listed, and nothing beside it.

use http::Method;

use linkgate::clock::Clock;

use crate::failing_store::Failing;
use crate::harness::{Gate, START, with_routes};

const PUBLIC: &str = "[[route]]\nupstream = UPSTREAM\n\
                      public = [{ path = '/public' }, { path = '/api/status', methods = ['GET'] }]\n\
                      [[route]]\npath = '/admin'\nupstream = UPSTREAM\n";

/// The status for somebody who is not signed in.
async fn status(gate: &Gate, method: Method, path: &str, fields: &[(&str, &str)]) -> u16 {
    gate.visitor().program().send(method, path, fields, "").await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_listed_stays_closed() {
    let gate = Gate::with(|text| with_routes(&text, PUBLIC)).await;
    let (get, post) = (Method::GET, Method::POST);
    let open = [
        (&get, "/public"),
        (&get, "/public/"),
        (&post, "/public/a/b"),
        (&get, "//public///a"),
        (&get, "/%70ublic/a"),
        (&get, "/public/a?x=/admin"),
        (&get, "/api/status"),
        (&get, "/api/status/x"),
    ];
    for (method, path) in open {
        assert_eq!(status(&gate, method.clone(), path, &[]).await, 200, "{method} {path}");
    }
    let forwarded = gate.recorder.requests().len();
    assert_eq!(forwarded, open.len());
    for (method, path, expected) in [
        (&get, "/", 401),
        (&get, "/publics", 401),
        (&get, "/public.html", 401),
        (&get, "/public;x", 401),
        (&get, "/public;/a", 401),
        (&get, "/PUBLIC/x", 401),
        (&get, "/Public", 401),
        (&get, "/a/public", 401),
        (&get, "/admin", 401),
        (&get, "/admin?x=/public/", 401),
        (&get, "/admin/public", 401),
        (&get, "/%61dmin", 401),
        (&get, "//admin", 401),
        (&get, "/public/../admin", 400),
        (&get, "/public/%2e%2e/admin", 400),
        (&get, "/public/.%2e/admin", 400),
        (&get, "/public/..;x/admin", 400),
        (&get, "/public/..%5cadmin", 400),
        (&get, "/public/%252e%252e/admin", 400),
        (&get, "/public%2fx", 400),
        (&get, "/public//../admin", 400),
        (&get, "/./admin", 400),
        (&post, "/api/status", 401),
        (&Method::HEAD, "/api/status", 401),
        (&Method::OPTIONS, "/api/status", 401),
        (&Method::DELETE, "/api/status", 401),
        (&get, "/api/statuses", 401),
        (&get, "/api", 401),
    ] {
        assert_eq!(status(&gate, method.clone(), path, &[]).await, expected, "{method} {path}");
    }
    assert_eq!(gate.recorder.requests().len(), forwarded, "nothing else was forwarded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_makes_a_request_another_one() {
    let gate = Gate::with(|text| with_routes(&text, PUBLIC)).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        assert_eq!(status(&gate, Method::POST, "/api/status", &[(name, "GET")]).await, 401, "{name}");
    }
    for fields in [
        &[("X-Original-URL", "/public")][..],
        &[("X-Rewrite-URL", "/public")],
        &[("X-Forwarded-Prefix", "/public")],
        &[("User-Agent", "kube-probe/1.30")],
        &[("Access-Control-Request-Method", "GET"), ("Origin", "http://localhost:8080")],
    ] {
        assert_eq!(status(&gate, Method::GET, "/admin", fields).await, 401, "{fields:?}");
        assert_eq!(status(&gate, Method::OPTIONS, "/admin", fields).await, 401, "{fields:?}");
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_is_told_of_nobody_there() {
    let gate = Gate::with(|text| with_routes(&text, PUBLIC)).await;
    gate.recorder.answer_with("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nok");
    let mut ada = gate.signed_in("ada@example.com").await;
    let forged = [("X-Forwarded-User", "forged"), ("X_Forwarded_Email", "forged"), ("X-Forwarded-Groups", "ops")];
    let answer = ada.send(Method::GET, "/public/a", &forged, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "public, max-age=60"));
    let seen = gate.recorder.last();
    assert!(!seen.head.contains("forged") && !seen.head.contains("ada@example.com"), "{}", seen.head);
    assert!(!seen.head.contains(&ada.session_cookie()), "{}", seen.head);

    let answer = ada.open("/private").await;
    assert_eq!(gate.recorder.last().values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(answer.header("cache-control"), "private, max-age=60");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_browsers_fetch_without_cookies_are_open_by_one_switch() {
    let files = ["/manifest.json", "/site.webmanifest", "/favicon.ico", "/apple-touch-icon.png", "/robots.txt"];
    let closed = Gate::start().await;
    let routes = "[[route]]\nupstream = UPSTREAM\npublic_browser_files = true\n";
    let open = Gate::with(|text| with_routes(&text, routes)).await;
    for path in files.into_iter().chain(["/.well-known/security.txt", "/.well-known/change-password"]) {
        assert_eq!(status(&closed, Method::GET, path, &[]).await, 401, "{path}");
        assert_eq!(status(&open, Method::GET, path, &[]).await, 200, "{path}");
        assert_eq!(status(&open, Method::POST, path, &[]).await, 401, "{path}");
        assert_eq!(status(&open, Method::GET, &format!("{path}/x"), &[]).await, 401, "{path}");
        assert_eq!(status(&open, Method::GET, &format!("/a{path}"), &[]).await, 401, "{path}");
    }
    for path in ["/", "/.well-known/", "/.well-known/openid-configuration", "/favicon.ico.html"] {
        assert_eq!(status(&open, Method::GET, path, &[]).await, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_part_keeps_to_deny_rules() {
    let routes = "[[route]]\nupstream = UPSTREAM\npublic = { path = '/public' }\n\
                  deny = [{ networks = ['127.0.0.0/8'] }, { groups = ['ops'] }]\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    assert_eq!(status(&gate, Method::GET, "/public", &[]).await, 403);
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_part_asks_no_store_who_the_visitor_is() {
    let clock = Clock::manual(START);
    let failing = Failing::new(clock.clone());
    let gate = Gate::on(failing.clone(), clock, |text| with_routes(&text, PUBLIC)).await;
    let mut ada = gate.signed_in("ada@example.com").await.program();
    failing.fail();
    gate.clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(ada.open("/public").await.status, 200);
    assert_eq!(ada.open("/private").await.status, 503);
}
