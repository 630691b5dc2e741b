//! Which application a request comes to: by host, wildcards included, by path and by method.

use http::Method;

use crate::harness::{Gate, with_routes};
use crate::recorder::Recorder;

/// A recorder that says its name.
async fn named(name: &str) -> Recorder {
    let recorder = Recorder::start().await;
    recorder.answer_with(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
    recorder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_serves_every_name_below_and_a_named_host_comes_first() {
    let (wide, near, exact) = (named("wide").await, named("near").await, named("exact").await);
    let routes: String = [("*.example.test", &wide), ("*.dev.example.test", &near), ("wiki.example.test", &exact)]
        .map(|(host, recorder)| {
            let to = recorder.address;
            format!(
                "[[route]]\nhost = \"{host}\"\naccess = \"public\"\nwhole_site = true\nupstream = \"http://{to}\"\n"
            )
        })
        .concat();
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    for (host, expected) in [
        ("a.example.test:8080", "wide"),
        ("a.b.example.test:8080", "wide"),
        ("A.Example.Test.:8080", "wide"),
        ("wiki.example.test:8080", "exact"),
        ("x.dev.example.test:8080", "near"),
        ("dev.example.test:8080", "wide"),
    ] {
        let mut visitor = gate.visitor();
        visitor.host = host.to_owned();
        assert_eq!(visitor.open("/").await.body, expected, "{host}");
    }
    for host in ["example.test:8080", "a.example.test", "aexample.test:8080", "a.example.test.evil.test:8080"] {
        let mut visitor = gate.visitor().program();
        visitor.host = host.to_owned();
        assert_eq!(visitor.open("/").await.status, 421, "{host}");
    }
    let names = [&wide, &near].map(|recorder| recorder.last().values("x-forwarded-host").concat());
    assert_eq!(names, ["dev.example.test:8080", "x.dev.example.test:8080"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_for_some_methods_leaves_the_others_to_the_next() {
    let reading = named("reading").await;
    let routes = format!(
        "[[route]]\nupstream = UPSTREAM\n\
         [[route]]\npath = \"/feed\"\nmethods = [\"GET\"]\naccess = \"public\"\nupstream = \"http://{}\"\n",
        reading.address
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut visitor = gate.visitor().program();
    assert_eq!(visitor.open("/feed/x").await.body, "reading");
    for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
        let answer = visitor.send(method.clone(), "/feed/x", &[], "").await;
        assert_eq!(answer.status, 401, "{method} is not what was opened");
    }
    assert_eq!((reading.requests().len(), gate.recorder.requests().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_the_method_is_wrong_the_right_ones_are_named() {
    let routes = "[[route]]\npath = \"/feed\"\nmethods = [\"HEAD\", \"GET\"]\naccess = \"public\"\nupstream = UPSTREAM\n\
                  [[route]]\npath = \"/feed/in\"\nmethods = [\"POST\"]\naccess = \"public\"\nupstream = UPSTREAM\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut visitor = gate.visitor().program();
    let refused = visitor.send(Method::DELETE, "/feed/in/x", &[], "").await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET, HEAD, POST"));
    assert_eq!(visitor.send(Method::POST, "/feed", &[], "").await.header("allow"), "GET, HEAD");
    assert_eq!(visitor.send(Method::POST, "/", &[], "").await.status, 404);
    assert_eq!(visitor.open("/feed/in").await.body, "hello", "the longest path that takes the method");
    assert_eq!(gate.recorder.requests().len(), 1);
}
