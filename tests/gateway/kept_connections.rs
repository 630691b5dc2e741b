//! Requests that come one after another on one connection. What is remembered of the last one makes the next one cheaper,
//! and changes nothing about it.

use http::StatusCode;

use crate::harness::{Answer, Gate, Visitor, with_routes};
use crate::wire::Wire;

/// Sends a request of a program with a `Cookie` field, and perhaps more, and gives its answer.
async fn ask(wire: &mut Wire, path: &str, cookies: &str, more: &str) -> Answer {
    wire.send(format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:8080\r\nAccept: application/json\r\nCookie: {cookies}\r\n{more}\r\n"
    ))
    .await;
    wire.answer().await
}

fn cookies(visitor: &Visitor) -> String {
    format!("a=1; linkgate={}; b=2", visitor.session_cookie())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_from_whom_its_own_cookies_name() {
    let gate = Gate::start().await;
    let (ada, bob) = (gate.signed_in("ada@example.com").await, gate.signed_in("bob@example.com").await);
    let (ada, bob) = (cookies(&ada), cookies(&bob));
    let mut other_mac = ada.clone();
    let last = other_mac.find("; b=2").unwrap() - 1;
    other_mac.replace_range(last..=last, if ada.as_bytes()[last] == b'A' { "B" } else { "A" });
    let both = format!("{ada}; {bob}");
    let mut wire = gate.wire().await;
    for (cookies, who) in [
        (&*ada, Some("ada@example.com")),
        (&*ada, Some("ada@example.com")),
        (&*bob, Some("bob@example.com")),
        ("a=1; b=2", None),
        (&*other_mac, None),
        (&*ada, Some("ada@example.com")),
        (&*both, None),
        (&*bob, Some("bob@example.com")),
    ] {
        let before = gate.recorder.requests().len();
        let answer = ask(&mut wire, "/", cookies, "").await;
        if let Some(who) = who {
            assert_eq!(answer.status, StatusCode::OK, "{cookies}");
            let last = gate.recorder.last();
            assert_eq!((last.values("x-forwarded-email"), last.values("cookie")), (vec![who], vec!["a=1; b=2"]));
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cookies}");
            assert_eq!(gate.recorder.requests().len(), before, "{cookies}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_share_a_connection_stay_themselves_however_long_they_take_turns() {
    let gate = Gate::start().await;
    let (ada, bob) = (gate.signed_in("ada@example.com").await, gate.signed_in("bob@example.com").await);
    let both = [(cookies(&ada), "ada@example.com"), (cookies(&bob), "bob@example.com")];
    let mut wire = gate.wire().await;
    for turn in 0..140 {
        // Now and then one of them comes twice in a row.
        let (cookies, who) = &both[(turn + turn / 5) % 2];
        assert_eq!(ask(&mut wire, "/", cookies, "").await.status, StatusCode::OK, "{turn}");
        assert_eq!(gate.recorder.last().values("x-forwarded-email"), [*who], "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_is_over_where_it_was_just_used() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let mut wire = gate.wire().await;
    let known = cookies(&ada);
    for _ in 0..2 {
        assert_eq!(ask(&mut wire, "/", &known, "").await.status, StatusCode::OK);
    }
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(ask(&mut wire, "/", &known, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_go_out_as_the_route_and_the_request_say() {
    let routes = "[[route]]\nupstream = UPSTREAM\n\
                  [[route]]\npath = \"/fixed\"\nupstream = UPSTREAM\nrequest_headers = { set = { Cookie = \"c=3\" } }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let ada = cookies(&gate.signed_in("ada@example.com").await);
    let mut wire = gate.wire().await;
    for (path, more, seen) in [
        ("/fixed", "", vec!["c=3"]),
        ("/", "", vec!["a=1; b=2"]),
        ("/fixed", "", vec!["c=3"]),
        ("/", "Connection: keep-alive, cookie\r\n", vec![]),
        ("/", "", vec!["a=1; b=2"]),
        ("/", "Cookie: d=4\r\n", vec!["a=1; b=2; d=4"]),
        ("/", "", vec!["a=1; b=2"]),
    ] {
        assert_eq!(ask(&mut wire, path, &ada, more).await.status, StatusCode::OK, "{path} {more}");
        assert_eq!(gate.recorder.last().values("cookie"), seen, "{path} {more}");
    }
}
