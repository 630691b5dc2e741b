//! The gateway's own answers: the same guard around each of them, whatever it says.

use http::{Method, StatusCode};

use crate::harness::{Answer, Gate};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers that every answer of the gateway's own has.
fn is_guarded(answer: &Answer, caching: &str) {
    let expected = [
        ("cache-control", caching),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    for (name, value) in expected {
        let found: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(found, [value], "{name}: {answer:?}");
    }
    assert_eq!(answer.header("x-request-id").len(), 22, "{answer:?}");
    assert_eq!(answer.header("server"), "");
}

/// A page says what its answer says, and holds nothing that runs or loads from elsewhere.
fn is_a_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{answer:?}");
    let body = &answer.body;
    assert_eq!(body.matches("<h1").count(), 1, "{body}");
    assert!(body.starts_with("<!doctype html>\n<html lang=\"en\" dir=\"ltr\">"), "{body}");
    let reference = format!("Reference <code>{}</code>", answer.header("x-request-id"));
    assert_eq!(body.matches(&reference).count(), 1, "{body}");
    for mark in ["<style", " style=", " onclick=", " onload=", " onsubmit=", "javascript:", "http-equiv"] {
        assert!(!body.contains(mark), "{mark}: {body}");
    }
    assert_eq!(body.matches("<script").count(), body.matches("<script src=\"/.linkgate/assets/").count());
    for link in [" src=\"", " href=\""] {
        let targets = body.split(link).skip(1).map(|rest| rest.split('"').next().unwrap());
        let foreign: Vec<_> = targets.filter(|target| !target.starts_with(['/', '#'])).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
    assert!(body.len() < 30 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_guarded_and_names_its_request() {
    let gate = Gate::start().await;
    let (visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let signed_in = gate.signed_in("eve@example.com").await;
    let stranger = gate.visitor();
    let nonsense = format!("{}?code=x&state={}", "/.linkgate/callback", "x".repeat(43));
    let cases = [
        (&stranger, "/.linkgate/sign-in", 200, "Sign in to localhost"),
        (&visitor, "/.linkgate/sign-in/sent", 200, "Check your email"),
        (&signed_in, "/.linkgate/sign-in", 200, "You're signed in"),
        (&signed_in, "/.linkgate/sign-in/sent", 200, "You're signed in"),
        (&signed_in, "/.linkgate/sign-out", 200, "Sign out of localhost?"),
        (&stranger, "/.linkgate/signed-out", 200, "You're signed out"),
        (&stranger, "/.linkgate/signed-out?everywhere=1", 200, "You're signed out on all devices"),
        (&stranger, &callback, 403, "Open this link where you started"),
        (&stranger, &nonsense, 410, "This link has expired"),
        (&stranger, "/.linkgate/callback", 400, "We couldn't read that request"),
        (&stranger, "/.linkgate", 404, "Page not found"),
        (&stranger, "/.linkgate/", 404, "Page not found"),
        (&stranger, "/.linkgate/none", 404, "Page not found"),
        (&stranger, "/.linkgate/sign-in/", 404, "Page not found"),
        (&stranger, "/.linkgate/mailbox/1/none", 404, "Page not found"),
        (&stranger, "/.linkgate/assets/none", 404, "Page not found"),
        (&stranger, "/.linkgate/assets/", 404, "Page not found"),
        (&stranger, "/.LINKGATE/sign-in", 404, "Page not found"),
        (&stranger, "/.linkgate/%00", 400, "We couldn't read that request"),
    ];
    for (visitor, target, status, heading) in cases {
        let page = visitor.clone().open(target).await;
        assert_eq!((page.status.as_u16(), page.heading()), (status, heading), "{target}");
        is_guarded(&page, "no-store");
        is_a_page(&page);
    }
    let forged = stranger.clone().post("/.linkgate/sign-in", &[("email", "ada@example.com")]).await;
    assert_eq!(forged.heading(), "Your browser isn't keeping our cookie");
    let large = visitor.clone().post("/.linkgate/sign-in", &[("email", &"x".repeat(70_000))]).await;
    assert_eq!((large.status, large.heading()), (StatusCode::PAYLOAD_TOO_LARGE, "That was too large"));
    for page in [forged, large] {
        is_guarded(&page, "no-store");
        is_a_page(&page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_and_json_are_guarded_too() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let mut stranger = gate.visitor();
    let answers = [
        stranger.open("/x").await,
        stranger.program().open("/x").await,
        stranger.open("/.linkgate/sign-in/sent").await,
        stranger.open("/.linkgate/session").await,
        stranger.program().open("/.linkgate/none").await,
        stranger.clone().post("/.linkgate/link", &[("token", "x")]).await,
        visitor.open(&callback).await,
        visitor.open("/.linkgate/session").await,
        visitor.send(Method::HEAD, "/.linkgate/session", &[], "").await,
        visitor.open("/.linkgate/mailbox/latest?to=ada@example.com").await,
    ];
    for answer in &answers {
        is_guarded(answer, "no-store");
    }
    let statuses = answers.map(|answer| answer.status.as_u16());
    assert_eq!(statuses, [303, 401, 303, 401, 404, 410, 303, 200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_method_is_refused_with_those_that_are_known() {
    let gate = Gate::start().await;
    let cases = [
        ("/.linkgate/sign-in", "GET,HEAD,POST"),
        ("/.linkgate/sign-in/sent", "GET,HEAD"),
        ("/.linkgate/callback", "GET,HEAD"),
        ("/.linkgate/sign-out", "GET,HEAD,POST"),
        ("/.linkgate/signed-out", "GET,HEAD"),
        ("/.linkgate/session", "GET,HEAD"),
        ("/.linkgate/assets/style.css", "GET,HEAD"),
        ("/.linkgate/link", "GET,HEAD,POST"),
        ("/.linkgate/mailbox", "GET,HEAD"),
    ];
    for (target, allowed) in cases {
        for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let answer = gate.visitor().send(method.clone(), target, &[], "").await;
            let found = (answer.status.as_u16(), answer.header("allow"));
            assert_eq!(found, (405, allowed), "{method} {target}");
            assert_eq!(answer.heading(), "That doesn't work here", "{method} {target}");
            is_guarded(&answer, "no-store");
        }
    }
    let unknown = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(gate.visitor().send(unknown, "/.linkgate/sign-in", &[], "").await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_are_served_by_their_fixed_names() {
    let gate = Gate::start().await;
    for (name, kind) in [
        ("style.css", "text/css; charset=utf-8"),
        ("theme.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let asset = gate.visitor().open(&format!("/.linkgate/assets/{name}")).await;
        assert_eq!((asset.status, asset.header("content-type")), (StatusCode::OK, kind));
        assert!(!asset.body.is_empty() && asset.set_cookies().is_empty());
        is_guarded(&asset, "public, max-age=3600");
    }
    for name in ["logo", "STYLE.CSS", "..%2f..%2fCargo.toml", "%2e%2e/%2e%2e/Cargo.toml", "style.css/x"] {
        let answer = gate.visitor().open(&format!("/.linkgate/assets/{name}")).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_an_unknown_host_looks_like_the_others() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.host = "other.test".to_owned();
    let page = visitor.open("/").await;
    assert_eq!((page.status.as_u16(), page.heading()), (421, "This address is not set up here"));
    for name in ["style.css", "theme.css", "page.js", "icon.svg"] {
        let target = format!("/.linkgate/assets/{name}");
        assert!(page.body.contains(&target), "{name}: {page:?}");
        let asset = visitor.open(&target).await;
        assert_eq!((asset.status, &asset.body), (StatusCode::OK, &gate.visitor().open(&target).await.body), "{name}");
        is_guarded(&asset, "public, max-age=3600");
        assert_eq!(visitor.send(Method::POST, &target, &[], "").await.status.as_u16(), 421, "{name}");
    }
    // The logo would say whose gateway it is.
    for name in ["logo", "none", "../sign-in", ""] {
        let answer = visitor.open(&format!("/.linkgate/assets/{name}")).await;
        assert!(matches!(answer.status.as_u16(), 400 | 421), "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_shown_another_strangers_request_id() {
    let gate = Gate::start().await;
    let id = "0123456789abcdef0123456789";
    let mut visitor = gate.visitor();
    let given = visitor.send(Method::GET, "/.linkgate/none", &[("x-request-id", id)], "").await;
    is_a_page(&given);
    assert!(!given.body.contains(id) && given.header("x-request-id") != id);
    let other = visitor.open("/.linkgate/none").await;
    assert_ne!(given.header("x-request-id"), other.header("x-request-id"));
}
