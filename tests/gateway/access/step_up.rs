//! A rule that asks for a recent sign-in: visitors prove once more who they are, and go on where they were.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::harness::{Gate, Visitor, with_routes};
use crate::streams::{closed, open};

const VAULT: &str = "[[route]]\nupstream = UPSTREAM\n\
                     [[route]]\npath = '/vault'\nallow = { max_sign_in_age = '15m' }\nupstream = UPSTREAM\n\
                     [[route]]\npath = '/ops'\nallow = { groups = ['ops'], max_sign_in_age = '15m' }\nupstream = UPSTREAM\n";
const MINUTE: Duration = Duration::from_secs(60);

/// A visitor who signed in sixteen minutes ago.
async fn signed_in_long_ago() -> (Gate, Visitor) {
    let gate = Gate::with(|text| with_routes(&text, VAULT)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    gate.clock.advance(MINUTE * 15);
    assert_eq!(ada.open("/vault").await.status, 200, "the last moment at which it is recent");
    gate.clock.advance(MINUTE);
    (gate, ada)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_proves_once_more_who_they_are_and_lands_where_they_wanted() {
    let (gate, mut ada) = signed_in_long_ago().await;
    let sign_in = ada.open("/vault/papers?page=2").await.location().to_owned();
    assert_eq!(sign_in, "/.linkgate/sign-in?step_up=1&return_to=%2Fvault%2Fpapers%3Fpage%3D2");
    let page = ada.open(&sign_in).await;
    assert_eq!((page.status.as_u16(), &*page.field("step_up")), (200, "1"));
    assert!(ada.is_known_as(&gate, Some("ada@example.com")).await, "being signed in goes on");
    assert_eq!(ada.open("/elsewhere").await.status, 200);

    let before = ada.session_cookie();
    let csrf = page.field("csrf");
    let form = [
        ("email", "ada@example.com"),
        ("csrf", &csrf),
        ("step_up", &page.field("step_up")),
        ("return_to", &page.field("return_to")),
    ];
    assert_eq!(ada.post("/.linkgate/sign-in", &form).await.location(), "/.linkgate/sign-in/sent");
    let callback = ada.press_link(&gate, "ada@example.com").await;
    let landed = ada.open(&callback).await;
    assert_eq!(landed.location(), "/vault/papers?page=2");
    assert_ne!(ada.session_cookie(), before, "a sign-in makes a session of its own");
    assert_eq!(ada.open("/vault/papers?page=2").await.status, 200);
    assert_eq!(gate.recorder.last().line(), "GET /vault/papers?page=2 HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_told_how_recent_a_sign_in_must_be() {
    let (gate, ada) = signed_in_long_ago().await;
    let requests = gate.recorder.requests().len();
    for (method, fields) in [
        (Method::GET, &[("Accept", "application/json")][..]),
        (Method::GET, &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")]),
        (Method::POST, &[("Accept", "text/html")]),
    ] {
        let mut program = ada.clone();
        program.fields.clear();
        let answer = program.send(method.clone(), "/vault", fields, "").await;
        let expected = json!({
            "error": "step_up_required",
            "message": "Sign in once more to go on.",
            "login_url": "http://localhost:8080/.linkgate/sign-in?step_up=1",
            "request_id": answer.header("x-request-id"),
        });
        assert_eq!((answer.status.as_u16(), answer.json()), (401, expected), "{method} {fields:?}");
        // RFC 9470 section 3.
        assert_eq!(
            answer.header("www-authenticate"),
            "Cookie realm=\"linkgate\", error=\"insufficient_user_authentication\", \
             error_description=\"A more recent sign-in is required\", max_age=\"900\""
        );
    }
    assert_eq!(gate.recorder.requests().len(), requests, "nothing was forwarded");
    let counted = "linkgate_rules_refused_total{reason=\"sign_in_too_old\",route=\"localhost/vault\"} 3";
    assert!(gate.admin("/metrics").await.body.lines().any(|line| line == counted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_to_sign_in_again_where_it_would_not_help() {
    let (gate, mut ada) = signed_in_long_ago().await;
    assert_eq!(ada.open("/ops").await.status, 403);
    assert_eq!(gate.visitor().open("/vault").await.location(), "/.linkgate/sign-in?return_to=%2Fvault");
    let mut again = gate.signed_in("ada@example.com").await;
    assert_eq!(again.open("/vault").await.status, 200);
    assert_eq!(again.open("/ops").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_when_the_sign_in_is_no_more_recent() {
    let routes = "[[route]]\nupstream = 'demo'\nallow = { max_sign_in_age = '15m' }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    gate.clock.advance(MINUTE * 16);
    closed(&mut socket).await;
}
