//! Mosaic is away, late or broken, or the application is: what visitors are told, and what is kept.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::harness::{Answer, Visitor, closed_port, eventually};
use crate::stand_in::{
    ADA, AUTHENTICATE, CODE, HOST, LOGOUT, SEND, StandIn, TOKEN, assert_signed_out, unready_gate, visitor,
};

/// An answer without what differs from one request to the next.
fn comparable(answer: &Answer) -> (StatusCode, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").to_owned();
    let fields = answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"));
    let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status, fields.collect(), answer.body.replace(&id, "[id]"))
}

#[track_caller]
fn assert_sign_in_unavailable(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(answer.heading(), "Sign-in is not available just now");
    assert!(answer.body.contains("href=\"\">Try again</a>"), "the same page is opened again: {answer:?}");
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_mosaic_serves_who_is_signed_in_and_becomes_ready() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let gate = stand_in.gate_on(store.clone(), |configuration| configuration).await;
    let mut known = stand_in.signed_in(&gate).await;

    let address = closed_port().await;
    let gate = unready_gate(store, stand_in.clock.clone(), address, |configuration| configuration).await;
    known.address = gate.running.address;
    let unready = async {
        loop {
            let ready = gate.admin("/health/ready").await;
            // Until it was tried the reason is that the gateway is starting.
            if ready.body.contains("mosaic: reach Mosaic") {
                break ready;
            }
            tokio::task::yield_now().await;
        }
    };
    let unready = tokio::time::timeout(crate::harness::PATIENCE, unready).await.expect("the reason is told");
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unready.json()["status"], "not_ready");
    let page = known.open("/").await;
    assert_eq!((page.status, &*page.body), (StatusCode::OK, "hello"));
    assert_eq!(gate.recorder.last().values("x-forwarded-email"), [ADA]);
    let mut stranger = visitor(&gate);
    assert_signed_out(&stranger.open("/").await);
    assert_sign_in_unavailable(&stranger.ask_for_link(ADA, "/").await);

    let mosaic = StandIn::with_clock(stand_in.clock.clone(), address).await;
    gate.ready().await;
    stand_in.clock.advance(Duration::from_secs(30));
    mosaic.signed_in(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_mosaic_is_known_to_be_down_every_address_gets_the_same_page() {
    let stand_in = StandIn::start().await;
    let allow = "[sign_in]\nallow = [\"@example.com\"]\n[sign_up]\nallow = [\"new@example.com\"]\n";
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + allow).await;
    stand_in.answer(SEND, ResponseTemplate::new(503));
    // One fault may be that call's bad luck; after the second it is known.
    for address in ["first@example.com", "second@example.com"] {
        assert_eq!(visitor(&gate).ask_for_link(address, "/").await.location(), "/.linkgate/sign-in/sent");
        gate.running.settle().await;
    }

    let mut stranger = visitor(&gate);
    let mut answers = Vec::new();
    for address in [ADA, "new@example.com", "nobody@example.com", "not@allowed.test", ADA] {
        answers.push(stranger.ask_for_link(address, "/").await);
    }
    answers.iter().for_each(assert_sign_in_unavailable);
    let first = comparable(&answers[0]);
    assert!(answers.iter().all(|answer| comparable(answer) == first), "{answers:#?}");
    gate.running.settle().await;
    assert_eq!(stand_in.count(SEND), 2, "a Mosaic that is down is not asked");

    let csrf = stranger.open("/.linkgate/sign-in").await.field("csrf");
    let program = stranger.program().post("/.linkgate/sign-in", &[("email", ADA), ("csrf", &csrf)]).await;
    assert_eq!(program.json()["error"], "sign_in_unavailable");

    stand_in.recover(SEND);
    stand_in.clock.advance(Duration::from_secs(5));
    stand_in.signed_in(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mosaic_that_does_not_answer_is_down_at_once() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    stand_in.hang_up(true);
    visitor(&gate).ask_for_link("first@example.com", "/").await;
    gate.running.settle().await;
    assert_sign_in_unavailable(&visitor(&gate).ask_for_link(ADA, "/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_mosaic_limits_links_nobody_is_told_that_one_is_on_its_way() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    stand_in.answer_next(SEND, ResponseTemplate::new(429).insert_header("retry-after", "600"));
    visitor(&gate).ask_for_link("first@example.com", "/").await;
    gate.running.settle().await;
    assert_sign_in_unavailable(&visitor(&gate).ask_for_link(ADA, "/").await);
    eventually(async || gate.admin("/health/ready").await.body.contains("mosaic: too many links for Mosaic")).await;
    assert_eq!(gate.admin("/health/ready").await.status, StatusCode::OK, "who is signed in is served");
    stand_in.clock.advance(Duration::from_secs(600));
    stand_in.signed_in(&gate).await;
    eventually(async || !gate.admin("/health/ready").await.body.contains("too many links")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mosaic_that_keeps_failing_is_left_alone_and_readiness_says_so_until_it_is_back() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut known = stand_in.signed_in(&gate).await;
    stand_in.answer(SEND, ResponseTemplate::new(503));
    for address in ["a@example.com", "b@example.com", "c@example.com"] {
        stand_in.clock.advance(Duration::from_secs(5));
        assert_eq!(visitor(&gate).ask_for_link(address, "/").await.location(), "/.linkgate/sign-in/sent");
        gate.running.settle().await;
    }
    assert_eq!(stand_in.count(SEND), 4);
    eventually(async || {
        let ready = gate.admin("/health/ready").await;
        ready.status == StatusCode::SERVICE_UNAVAILABLE
            && ready.body.contains("mosaic: call Mosaic: it failed too often")
    })
    .await;
    assert!(gate.admin("/metrics").await.body.lines().any(|line| line == "linkgate_mosaic_circuit_open 1"));
    assert_sign_in_unavailable(&visitor(&gate).ask_for_link(ADA, "/").await);
    assert_eq!(known.open("/").await.status, StatusCode::OK, "who is signed in notices nothing");

    stand_in.recover(SEND);
    stand_in.clock.advance(Duration::from_secs(30));
    gate.ready().await;
    stand_in.signed_in(&gate).await;
    assert!(gate.admin("/metrics").await.body.lines().any(|line| line == "linkgate_mosaic_circuit_open 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_to_send_shows_in_no_answer() {
    let refusal = |status: u16, message: &str| {
        ResponseTemplate::new(status).set_body_json(json!({ "error_code": status.to_string(), "message": message }))
    };
    let mut seen: Option<[Answer; 2]> = None;
    for answer in [
        ResponseTemplate::new(200).set_body_json(json!({ "message": "Email sent successfully" })),
        refusal(404, "User not found"),
        refusal(403, "User is not active"),
        refusal(403, "Public signup is not allowed for this application"),
        refusal(400, "redirect_uri is not one of the allowed redirect URIs configured for this app"),
        refusal(429, "Too many requests"),
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("<html>a page of some proxy</html>"),
    ] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        stand_in.answer(SEND, answer);
        let mut visitor = visitor(&gate);
        // One browser for all rounds, so that its pages can be compared.
        visitor.jar.insert("__Host-linkgate-browser".to_owned(), "A".repeat(43));
        let sent = visitor.ask_for_link(ADA, "/").await;
        gate.running.settle().await;
        assert_eq!(stand_in.count(SEND), 1, "one click sends at most one mail");
        let waiting = visitor.open(sent.location()).await;
        assert_eq!(waiting.heading(), "Check your email");
        let first = seen.get_or_insert_with(|| [sent.clone(), waiting.clone()]);
        assert_eq!(comparable(&sent), comparable(&first[0]));
        assert_eq!(comparable(&waiting), comparable(&first[1]));
    }
}

/// How Mosaic can be away when a link comes back.
enum Outage {
    Answer(&'static str, ResponseTemplate),
    HangUp,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_comes_back_during_an_outage_works_after_it() {
    let unauthorized =
        ResponseTemplate::new(401).set_body_json(json!({ "message": "Invalid token", "error_code": 401 }));
    let client = ResponseTemplate::new(401).set_body_json(json!({ "error": "invalid_client" }));
    for (outage, status) in [
        (Outage::Answer(AUTHENTICATE, ResponseTemplate::new(500)), 503),
        (Outage::Answer(AUTHENTICATE, ResponseTemplate::new(503).set_body_string("Invalid magic link code")), 503),
        (Outage::Answer(AUTHENTICATE, ResponseTemplate::new(429).insert_header("retry-after", "1")), 503),
        (Outage::HangUp, 503),
        // Somebody changed the client's secret: the operator mends that, and the link still works.
        (Outage::Answer(TOKEN, client), 502),
    ] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        let (mut visitor, callback) = stand_in.asked(&gate).await;
        match outage {
            Outage::Answer(path, answer) => {
                if path == TOKEN {
                    stand_in.answer(AUTHENTICATE, unauthorized.clone());
                }
                stand_in.answer(path, answer);
            }
            Outage::HangUp => stand_in.hang_up(true),
        }
        for round in 0..2 {
            let failed = visitor.open(&callback).await;
            assert_eq!(failed.status.as_u16(), status, "{failed:?}");
            assert!(!failed.headers.contains_key("set-cookie") && !failed.body.contains(CODE), "{failed:?}");
            if status == 503 {
                assert_sign_in_unavailable(&failed);
                assert_eq!(visitor.program().jar, visitor.jar);
            }
            assert!(stand_in.count(AUTHENTICATE) <= round + 1, "asked once for each opening");
        }
        stand_in.hang_up(false);
        stand_in.recover(AUTHENTICATE);
        stand_in.recover(TOKEN);
        // The pause that Mosaic asked for is kept.
        stand_in.clock.advance(Duration::from_secs(1));
        let landed = visitor.open(&callback).await;
        assert_eq!(landed.location(), "/wanted");
        assert!(landed.gives_session(), "{landed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_mosaic_does_not_know_is_tried_once() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let (mut visitor, callback) = stand_in.asked(&gate).await;
    stand_in.refuse(AUTHENTICATE, 400, "Invalid magic link code");
    let expired = visitor.open(&callback).await;
    assert_eq!((expired.status, expired.heading()), (StatusCode::GONE, "This link has expired"));
    stand_in.recover(AUTHENTICATE);
    for guess in [callback.clone(), callback.replace(CODE, "another-guess")] {
        let used = visitor.open(&guess).await;
        assert_eq!((used.status, used.heading()), (StatusCode::GONE, "This link was already used"));
    }
    assert_eq!(stand_in.count(AUTHENTICATE), 1);
    assert_signed_out(&visitor.open("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_was_disabled_meanwhile_is_told_that_they_have_no_access() {
    for status in [400, 403] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        let (mut visitor, callback) = stand_in.asked(&gate).await;
        stand_in.refuse(AUTHENTICATE, status, "User is not active");
        let refused = visitor.open(&callback).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
        assert!(refused.heading().starts_with("You don't have access to "), "{refused:?}");
        assert!(!refused.gives_session());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_is_down_costs_nobody_their_session() {
    let stand_in = StandIn::start().await;
    let down = closed_port().await;
    let route = format!("[[route]]\npath = \"/down\"\nupstream = \"http://{down}\"\n");
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + &route).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    let page = visitor.open("/down").await;
    assert_eq!((page.status, page.heading()), (StatusCode::BAD_GATEWAY, &*format!("{HOST} is not responding")));
    assert!(page.body.contains(page.header("x-request-id")) && !page.headers.contains_key("set-cookie"));
    let mut program: Visitor = visitor.program();
    let refused = program.post("/down", &[("a", "b")]).await;
    assert_eq!((refused.status, &refused.json()["error"]), (StatusCode::BAD_GATEWAY, &json!("upstream_failed")));
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_here_ends_at_mosaic_too_however_long_that_takes() {
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(401),
        ResponseTemplate::new(403),
        ResponseTemplate::new(429).insert_header("retry-after", "1"),
    ] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        let mut visitor = stand_in.signed_in(&gate).await;
        stand_in.answer(LOGOUT, answer);
        let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
        visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
        gate.running.settle().await;
        let before = stand_in.count(LOGOUT);
        assert!(before > 0);
        assert_signed_out(&visitor.open("/").await);
        stand_in.recover(LOGOUT);
        stand_in.clock.advance(Duration::from_secs(1));
        eventually(async || stand_in.count(LOGOUT) > before).await;
    }
}
