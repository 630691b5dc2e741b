//! What a route changes on the way: the path, the host, header fields, the limit of a body.

use http::Method;

use crate::harness::{Gate, with_routes};

const OPEN: &str = "access = \"public\"\nupstream = UPSTREAM\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_of_the_route_is_taken_off_and_another_put_before_it() {
    let routes = format!(
        "[[route]]\npath = \"/grafana\"\nstrip_prefix = true\n{OPEN}\
         [[route]]\npath = \"/wiki\"\nstrip_prefix = true\nadd_prefix = \"/base\"\n{OPEN}\
         [[route]]\npath = \"/shop\"\nadd_prefix = \"/eu\"\n{OPEN}"
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut visitor = gate.visitor();
    for (opened, seen, prefix) in [
        ("/grafana", "GET / HTTP/1.1", vec!["/grafana"]),
        ("/grafana?a=/grafana", "GET /?a=/grafana HTTP/1.1", vec!["/grafana"]),
        ("//grafana//%61/?b", "GET /a/?b HTTP/1.1", vec!["/grafana"]),
        ("/grafana/grafana/x", "GET /grafana/x HTTP/1.1", vec!["/grafana"]),
        ("/wiki", "GET /base/ HTTP/1.1", vec!["/wiki"]),
        ("/wiki/x", "GET /base/x HTTP/1.1", vec!["/wiki"]),
        ("/shop/x?y", "GET /eu/shop/x?y HTTP/1.1", vec![]),
    ] {
        visitor.send(Method::GET, opened, &[("x-forwarded-prefix", "/evil")], "").await;
        let last = gate.recorder.last();
        assert_eq!((last.line(), last.values("x-forwarded-prefix")), (seen, prefix), "{opened}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_the_visitors_the_upstreams_or_one_of_its_own() {
    let routes = format!(
        "[[route]]\npath = \"/keep\"\n{OPEN}\
         [[route]]\npath = \"/upstream\"\nhost_header = \"upstream\"\n{OPEN}\
         [[route]]\npath = \"/own\"\nhost_header = \"App.internal:81\"\n{OPEN}"
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let upstream = gate.recorder.address.to_string();
    for (path, host) in [("/keep", "localhost:8080"), ("/upstream", &upstream), ("/own", "app.internal:81")] {
        gate.visitor().open(path).await;
        let last = gate.recorder.last();
        assert_eq!((last.values("host"), last.values("x-forwarded-host")), (vec![host], vec!["localhost:8080"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_are_set_and_removed_on_both_ways() {
    let routes = "[[route]]\nupstream = UPSTREAM\n\
                  request_headers = { set = { X-Tenant = \"north\" }, remove = [\"X-Debug\", \"Authorization\"] }\n\
                  response_headers = { set = { X-Frame-Options = \"DENY\", Cache-Control = \"public\" }, \
                  remove = [\"Server\", \"X-Powered-By\"] }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    gate.recorder.answer_with(
        "HTTP/1.1 200 OK\r\nServer: old/1.0\r\nX-Powered-By: luck\r\nX-Frame-Options: ALLOWALL\r\nX-Kept: 1\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let fields = [("X-Tenant", "south"), ("x-debug", "1"), ("Authorization", "Basic eDp5"), ("X-Kept", "1")];
    let answer = ada.send(Method::GET, "/", &fields, "").await;
    let seen = gate.recorder.only();
    assert_eq!((seen.values("x-tenant"), seen.values("x-kept")), (vec!["north"], vec!["1"]));
    assert!(seen.values("x-debug").is_empty() && seen.values("authorization").is_empty(), "{seen:?}");
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!((answer.header("x-frame-options"), answer.header("x-kept")), ("DENY", "1"));
    assert!(!answer.headers.contains_key("server") && !answer.headers.contains_key("x-powered-by"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "private", "the gateway has the last word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_has_its_own_limit_of_a_body() {
    let routes = format!(
        "[[route]]\npath = \"/small\"\nbody_bytes = 4\n{OPEN}[[route]]\npath = \"/large\"\nbody_bytes = 40\n{OPEN}\
         [[route]]\npath = \"/usual\"\n{OPEN}[limits]\nbody_bytes = 10\n"
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut visitor = gate.visitor().program();
    for (path, bytes, status) in [
        ("/small", 4, 200),
        ("/small", 5, 413),
        ("/usual", 10, 200),
        ("/usual", 11, 413),
        ("/large", 40, 200),
        ("/large", 41, 413),
    ] {
        let answer = visitor.send(Method::POST, path, &[], &"x".repeat(bytes)).await;
        assert_eq!(answer.status, status, "{path} {bytes}");
        let chunked = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
        );
        assert_eq!(gate.raw(&request).await.status, status, "{path} {bytes} in chunks");
    }
}
