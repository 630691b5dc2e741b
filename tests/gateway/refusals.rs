//! How the gateway refuses: people are led to sign in, programs are told so, and nothing is forwarded.

use http::Method;
use serde_json::json;

use crate::harness::{Gate, HOST, with_routes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_somebody_who_opens_a_page_is_led_to_sign_in() {
    let gate = Gate::start().await;
    let html = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let mode = |mode| ("Sec-Fetch-Mode", mode);
    let dest = |dest| ("Sec-Fetch-Dest", dest);
    for (method, fields, is_led) in [
        (Method::GET, &[mode("navigate"), dest("document"), html][..], true),
        (Method::HEAD, &[mode("navigate"), dest("document"), html], true),
        (Method::GET, &[mode("navigate"), dest("document"), ("Accept", "*/*")], true),
        (Method::GET, &[html], true),
        (Method::HEAD, &[html], true),
        (Method::GET, &[("Accept", "application/xhtml+xml")], true),
        (Method::GET, &[mode("navigate"), dest("iframe"), html], false),
        (Method::GET, &[mode("cors"), dest("empty"), html], false),
        (Method::GET, &[mode("no-cors"), dest("image"), html], false),
        (Method::GET, &[html, ("X-Requested-With", "XMLHttpRequest")], false),
        (Method::GET, &[("Accept", "application/json")], false),
        (Method::GET, &[("Accept", "*/*")], false),
        (Method::GET, &[], false),
        (Method::POST, &[mode("navigate"), dest("document"), html], false),
        (Method::PUT, &[html], false),
        (Method::DELETE, &[html], false),
        (Method::OPTIONS, &[html, ("Access-Control-Request-Method", "GET")], false),
        (Method::OPTIONS, &[("User-Agent", "kube-probe/1.30")], false),
        (Method::GET, &[("User-Agent", "ELB-HealthChecker/2.0"), ("X-HTTP-Method-Override", "OPTIONS")], false),
    ] {
        let mut visitor = gate.visitor();
        visitor.fields.clear();
        let answer = visitor.send(method.clone(), "/a?b", fields, "").await;
        if is_led {
            assert_eq!(answer.location(), "/.linkgate/sign-in?return_to=%2Fa%3Fb", "{method} {fields:?}");
            assert!(answer.body.is_empty(), "{answer:?}");
        } else {
            assert_eq!(answer.status, 401, "{method} {fields:?}");
        }
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {fields:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{method} {fields:?}");
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_told_what_to_do_in_json() {
    let gate = Gate::start().await;
    let mut program = gate.visitor().program();
    let answer = program.open("/api?secret=1").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("www-authenticate"), "Cookie realm=\"linkgate\"");
    let expected = json!({
        "error": "sign_in_required",
        "message": "Sign in to go on.",
        "login_url": "http://localhost:8080/.linkgate/sign-in",
        "request_id": answer.header("x-request-id"),
    });
    assert_eq!(answer.json(), expected);
    let head = program.send(Method::HEAD, "/api", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (401, ""));
    assert_eq!(head.header("content-length"), answer.header("content-length"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_of_an_own_page_says_what_get_would() {
    let gate = Gate::start().await;
    for path in ["/.linkgate/sign-in", "/.linkgate/assets/style.css", "/.linkgate/nothing"] {
        let get = gate.visitor().open(path).await;
        let head = gate.visitor().send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        let lengths = [&head, &get].map(|answer| answer.header("content-length").parse::<usize>().unwrap());
        assert_eq!(lengths, [get.body.len(); 2], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_to_go_on_to_is_a_page_of_this_site() {
    let gate = Gate::start().await;
    for (target, return_to) in [
        ("/a/b?c=d&e=f", "%2Fa%2Fb%3Fc%3Dd%26e%3Df"),
        ("//evil.test/x", "%2Fevil.test%2Fx"),
        ("http://localhost:8080//evil.test", "%2Fevil.test"),
        ("/a?%0d%0aSet-Cookie:x=1", "%2Fa%3F%250d%250aSet-Cookie%3Ax%3D1"),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
        assert_eq!(
            gate.raw(&request).await.location(),
            format!("/.linkgate/sign-in?return_to={return_to}"),
            "{target}"
        );
    }
    let long = format!("/{}", "a".repeat(3000));
    assert_eq!(gate.visitor().open(&long).await.location(), "/.linkgate/sign-in?return_to=%2F");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_may_ask_for_is_on_a_list() {
    let gate = Gate::start().await;
    let cookie = gate.signed_in("ada@example.com").await.session_cookie();
    let long = format!("/{}", "a".repeat(16 * 1024));
    let many = "X: y\r\n".repeat(101);
    let large = format!("X-Large: {}\r\n", "y".repeat(33 * 1024));
    for (line, fields, status, error) in [
        ("TRACE / HTTP/1.1", "", 405, "method_not_allowed"),
        ("BREW / HTTP/1.1", "", 501, "unknown_method"),
        ("get / HTTP/1.1", "", 501, "unknown_method"),
        ("PRI / HTTP/1.1", "", 501, "unknown_method"),
        (&format!("GET {long} HTTP/1.1"), "", 414, "address_too_long"),
        ("GET / HTTP/1.1", &many, 431, "header_too_large"),
        ("GET / HTTP/1.1", &large, 431, "header_too_large"),
        ("GET / HTTP/1.1", "Expect: 200-ok\r\n", 417, "expectation_failed"),
        ("GET / HTTP/1.1", "Expect: 100-continue, x\r\n", 417, "expectation_failed"),
        ("GET / HTTP/1.1", "Expect: 100-continue\r\nExpect: x\r\n", 417, "expectation_failed"),
    ] {
        let own = format!("Host: {HOST}\r\nCookie: linkgate={cookie}\r\nConnection: close\r\n");
        let answer = gate.raw(&format!("{line}\r\n{own}{fields}\r\n")).await;
        assert_eq!(answer.status, status, "{line:.40} {fields:.40}");
        assert_eq!(answer.json()["error"], error, "{line:.40} {fields:.40}");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.headers.contains_key("server"), "{answer:?}");
    }
    // The framework answers CONNECT by itself.
    let connect = gate.raw(&format!("CONNECT {HOST} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(connect.status, 405);
    assert!(gate.recorder.requests().is_empty());
}

/// The `Accept` of a page and of a program.
const ACCEPTED: [(&str, &str); 2] = [("text/html", "text/html; charset=utf-8"), ("*/*", "application/json")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_dressed_alike_and_comes_as_what_was_asked_for() {
    let gate = Gate::with(|text| with_routes(&text, "[[route]]\npath = \"/app\"\nupstream = UPSTREAM\n")).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n";
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n", 70_000, "x".repeat(70_000));
    for (request, status) in [
        ("GET /a%00 HTTP/1.1\r\n".to_owned(), 400),
        ("GET /nothing HTTP/1.1\r\n".to_owned(), 404),
        ("GET /.linkgate/nothing HTTP/1.1\r\n".to_owned(), 404),
        ("PUT /.linkgate/sign-in HTTP/1.1\r\n".to_owned(), 405),
        (format!("POST /.linkgate/sign-in HTTP/1.1\r\n{form}"), 413),
        (format!("POST /.linkgate/sign-in HTTP/1.1\r\nACCEPT{chunks}"), 413),
        ("POST /app HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(), 400),
    ] {
        for (accepted, content_type) in ACCEPTED {
            let fields = format!("Host: {HOST}\r\nAccept: {accepted}\r\nConnection: close\r\n");
            let request = if request.contains("ACCEPT") {
                request.replace("ACCEPT", &fields)
            } else {
                format!("{request}{fields}\r\n")
            };
            let answer = gate.raw(&request).await;
            assert_eq!(answer.status, status, "{request:.60}");
            assert_eq!(answer.header("content-type"), content_type, "{request:.60}");
            let id = answer.header("x-request-id");
            assert!(id.len() == 22 && answer.body.contains(id), "{answer:?}");
            let names = ["cache-control", "x-content-type-options", "x-frame-options", "referrer-policy"];
            let values = names.map(|name| answer.header(name));
            assert_eq!(values, ["no-store", "nosniff", "DENY", "no-referrer"], "{request:.60}");
            assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{request:.60}");
            assert!(!answer.headers.contains_key("server"), "{answer:?}");
        }
    }
}
