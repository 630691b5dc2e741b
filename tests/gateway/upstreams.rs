//! Applications that are down, silent, broken or unwise: the visitor learns what to do and stays signed in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use http::Method;
use tokio::net::TcpListener;

use crate::harness::{Gate, HOST, closed_port, parse, with_routes};
use crate::wire::Wire;

mod balancing;
mod failing;
mod kept;
mod terms;

/// A gate in front of an application that the story plays by hand.
async fn gate_before(application: &TcpListener, settings: &str) -> Gate {
    let address = application.local_addr().unwrap();
    let route =
        format!("[[route]]\naccess = \"public\"\nwhole_site = true\nupstream = \"http://{address}\"\n{settings}\n");
    Gate::with(|text| with_routes(&text, &route)).await
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn request(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_down_costs_nobody_their_session() {
    let closed = closed_port().await;
    let routes =
        format!("[[route]]\nupstream = UPSTREAM\n[[route]]\npath = \"/down\"\nupstream = \"http://{closed}\"\n");
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let page = ada.open("/down").await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (502, "no-store"));
    assert!(page.body.contains(page.header("x-request-id")) && !page.body.contains(&closed.to_string()), "{page:?}");
    assert!(!page.headers.contains_key("set-cookie") && !page.headers.contains_key("server"), "{page:?}");
    let told = ada.program().open("/down").await;
    let expected = serde_json::json!({
        "error": "upstream_failed",
        "message": "The application is not responding.",
        "request_id": told.header("x-request-id"),
    });
    assert_eq!((told.status.as_u16(), told.json()), (502, expected));
    let handshake = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(ada.program().send(Method::GET, "/down", &handshake, "").await.json()["error"], "upstream_failed");
    assert_eq!(ada.open("/").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_says_nothing_is_waited_for_so_long() {
    let application = listen().await;
    let gate = gate_before(&application, "response_timeout = \"200ms\"").await;
    let mut wire = gate.wire().await;
    wire.send(request("GET /", "")).await;
    let mut silent = Wire::accept(&application).await;
    silent.head().await;
    let answer = wire.answer().await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (504, Some("upstream_timed_out")));
    assert_eq!(silent.rest().await, "", "and then let go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_silence_is_noticed_without_a_timer_for_each_request() {
    let application = listen().await;
    let gate = gate_before(&application, "response_timeout = \"10s\"").await;
    let (mut asking, mut reading) = (gate.wire().await, gate.wire().await);
    asking.send(request("GET /", "")).await;
    let mut silent = Wire::accept(&application).await;
    silent.head().await;
    reading.send(request("GET /", "")).await;
    let mut faltering = Wire::accept(&application).await;
    faltering.head().await;
    faltering.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let told = async {
        let answer = asking.answer().await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (504, Some("upstream_timed_out")));
        assert_eq!(asking.rest().await, "", "the connection ends with the answer");
        assert_eq!(silent.rest().await, "", "and the application is let go");
    };
    let broken_off = async {
        assert!(reading.head().await.starts_with("HTTP/1.1 200"));
        assert_eq!(reading.rest().await, "only this");
    };
    tokio::join!(told, broken_off);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_changes_something_is_not_sent_twice() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    let mut wire = gate.wire().await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (line, again) in [("POST /pay", false), ("GET /look", true)] {
        // What changes something has connections of its own.
        let (method, _) = line.split_once(' ').unwrap();
        wire.send(request(&format!("{method} /first"), "Content-Length: 0\r\n")).await;
        let mut kept = Wire::accept(&application).await;
        kept.head().await;
        kept.send(answer).await;
        assert_eq!(wire.answer().await.body, "ok");
        // The application closes the connection that it kept just as the next request comes.
        wire.send(request(line, if again { "" } else { "Content-Length: 0\r\n" })).await;
        assert!(kept.head().await.starts_with(line));
        drop(kept);
        if again {
            let mut next = Wire::accept(&application).await;
            assert!(next.head().await.starts_with(line));
            next.send(answer).await;
            assert_eq!(wire.answer().await.body, "ok");
        } else {
            assert_eq!(wire.answer().await.status, 502);
            wire = gate.wire().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_again_has_connections_of_its_own() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    let mut wire = gate.wire().await;
    let mut kept: HashMap<bool, Wire> = HashMap::new();
    for line in ["GET /", "POST /", "GET /", "DELETE /", "POST /", "PATCH /"] {
        wire.send(request(line, "Content-Length: 0\r\n")).await;
        let may_repeat = !line.starts_with('P');
        let connection = match kept.entry(may_repeat) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(kept) => kept.insert(Wire::accept(&application).await),
        };
        assert!(connection.head().await.starts_with(line), "{line}");
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(wire.answer().await.body, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    for (begun, rest) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", "only this"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n", "9\r\nonly this\r\n"),
    ] {
        let mut wire = gate.wire().await;
        wire.send(request("GET /", "")).await;
        let mut broken = Wire::accept(&application).await;
        broken.head().await;
        broken.send(begun).await;
        drop(broken);
        assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(wire.rest().await, rest, "neither the length nor the last chunk is made up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_read_is_a_failure() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX y: z\r\n\r\n",
        "HTTP/9 yes\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
    ] {
        let mut wire = gate.wire().await;
        wire.send(request("POST /", "Content-Length: 0\r\n")).await;
        let mut odd = Wire::accept(&application).await;
        odd.head().await;
        odd.send(answer).await;
        drop(odd);
        let told = wire.answer().await;
        assert_eq!((told.status.as_u16(), told.json()["error"].as_str()), (502, Some("upstream_failed")), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_made_for_one_visitor_stay_out_of_shared_caches() {
    let routes = "[[route]]\nupstream = UPSTREAM\n[[route]]\npath = \"/open\"\naccess = \"public\"\nupstream = UPSTREAM\n\
                  [[route]]\npath = \"/maybe\"\naccess = \"optional\"\nupstream = UPSTREAM\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    for (given, expected) in [
        ("", "private"),
        ("Cache-Control: public, max-age=60\r\n", "private, max-age=60"),
        ("Cache-Control: s-maxage=60\r\nCache-Control: immutable\r\n", "private, immutable"),
        ("Cache-Control: no-store\r\n", "no-store"),
        ("CDN-Cache-Control: max-age=60\r\nSurrogate-Control: max-age=60\r\n", "private"),
    ] {
        gate.recorder.answer_with(&format!("HTTP/1.1 200 OK\r\n{given}Content-Length: 0\r\n\r\n"));
        for path in ["/", "/maybe"] {
            let answer = ada.open(path).await;
            let fields: Vec<_> = answer.headers.get_all("cache-control").iter().collect();
            assert_eq!(fields, [expected], "{path} {given:?}");
            assert!(!answer.headers.contains_key("cdn-cache-control"), "{path} {given:?}");
            assert!(!answer.headers.contains_key("surrogate-control"), "{path} {given:?}");
        }
    }
    gate.recorder
        .answer_with("HTTP/1.1 200 OK\r\nCache-Control: public\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n");
    let open = ada.open("/open").await;
    assert_eq!((open.header("cache-control"), open.header("keep-alive")), ("public", ""));
    assert!(!open.headers.contains_key("strict-transport-security"), "plain HTTP has none to promise");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_on_https_says_so_in_every_answer() {
    let closed = closed_port().await;
    let mosaic = format!(
        "[mosaic]\nbase_url = \"http://{closed}\"\nissuer = \"https://issuer.test\"\nclient_id = \"c\"\n\
         client_secret_env = \"CARGO_PKG_NAME\"\n"
    );
    let gate = Gate::with(|text| {
        let upstream = text.split("upstream = ").nth(1).unwrap().trim().to_owned();
        let text = format!(
            "public_url = \"https://app.example.test\"\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [session]\nstore = \"memory\"\n{mosaic}[[route]]\nupstream = {upstream}\n[[route]]\npath = \"/open\"\n\
             access = \"public\"\nupstream = {upstream}\n"
        );
        parse(&text);
        text
    })
    .await;
    let mut visitor = gate.visitor();
    visitor.host = "app.example.test".to_owned();
    for path in ["/", "/open", "/a%00", "/.linkgate/nothing", "/.linkgate/assets/style.css"] {
        assert_eq!(visitor.open(path).await.header("strict-transport-security"), "max-age=31536000", "{path}");
    }
    let seen = gate.recorder.only();
    assert_eq!(
        (seen.values("x-forwarded-proto"), seen.values("x-forwarded-host")),
        (vec!["https"], vec!["app.example.test"])
    );
    visitor.host = "app.example.test:443".to_owned();
    visitor.open("/open").await;
    assert_eq!(gate.recorder.last().values("host"), ["app.example.test"], "the port that goes without saying");
    gate.recorder
        .answer_with("HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1; preload\r\nContent-Length: 0\r\n\r\n");
    let own = visitor.open("/open").await;
    assert_eq!(own.header("strict-transport-security"), "max-age=1; preload", "the application may promise more");
}
