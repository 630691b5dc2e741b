//! Sessions are shown to Mosaic again: once, ahead of time, and without anybody noticing.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wiremock::ResponseTemplate;

use crate::harness::{Answer, Gate, Visitor, eventually};
use crate::stand_in::{ADA, AUTHENTICATE, HOST, LOGOUT, REFRESH, SESSION, SILENT, StandIn, assert_signed_out};

/// A moment at which a renewal is due and the access token still lasts.
const AHEAD: Duration = Duration::from_secs(3301);
/// A moment at which the access token is over.
const OVER: Duration = Duration::from_secs(3601);

fn groups(gate: &Gate) -> Vec<String> {
    gate.recorder.last().values("x-forwarded-groups").into_iter().map(str::to_owned).collect()
}

async fn crowd(visitor: &Visitor, size: usize) -> Vec<Answer> {
    let open = |mut visitor: Visitor| async move { visitor.open("/").await };
    join_all((0..size).map(|_| tokio::spawn(open(visitor.clone())))).await.into_iter().map(Result::unwrap).collect()
}

#[track_caller]
fn assert_served(answers: &[Answer]) {
    for answer in answers {
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "hello"), "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "the cookie never changes: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_ahead_of_time_make_one_call_and_wait_for_none() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(AHEAD - Duration::from_secs(2));
    assert_served(&crowd(&visitor, 5).await);
    gate.running.settle().await;
    assert_eq!(stand_in.count(SILENT), 0, "it is not due yet");

    stand_in.clock.advance(Duration::from_secs(2));
    stand_in.claim(json!({ "groups": ["after"], "roles": ["admin"] }));
    let mut held = stand_in.hold(SILENT);
    // The call is not answered before all of them are.
    assert_served(&crowd(&visitor, 200).await);
    held.arrived().await;
    assert_eq!(groups(&gate), ["before"]);
    held.release();
    gate.running.settle().await;
    assert_served(&crowd(&visitor, 20).await);
    assert_eq!(groups(&gate), ["after"]);
    assert_eq!(gate.recorder.last().values("x-forwarded-roles"), ["admin"]);
    gate.running.settle().await;
    assert_eq!(stand_in.count(SILENT), 1);

    // And the next one when the new token runs out.
    stand_in.clock.advance(AHEAD);
    visitor.open("/").await;
    gate.running.settle().await;
    assert_eq!(stand_in.count(SILENT), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_after_the_token_ran_out_wait_for_one_call() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(OVER);
    stand_in.claim(json!({ "groups": ["after"] }));
    let mut held = stand_in.hold(SILENT);
    let waiting = tokio::spawn({
        let visitor = visitor.clone();
        async move { crowd(&visitor, 200).await }
    });
    held.arrived().await;
    eventually(async || gate.running.open_connections() == 200).await;
    assert!(gate.recorder.requests().is_empty(), "nobody goes on with a token that is over");
    held.release();
    assert_served(&waiting.await.unwrap());
    let seen = gate.recorder.requests();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|request| request.values("x-forwarded-groups") == ["after"]));
    assert_eq!(stand_in.count(SILENT), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosaics_word_that_it_is_over_ends_the_session() {
    let refusal = |status: u16, message: &str| {
        ResponseTemplate::new(status).set_body_json(json!({ "error_code": status, "message": message }))
    };
    for after in [AHEAD, OVER] {
        for (answer, claims, is_ended_at_mosaic) in [
            (Some(refusal(400, "Session not found")), json!({}), false),
            (Some(refusal(403, "User is not active")), json!({}), false),
            (Some(refusal(400, "User is not active")), json!({}), false),
            (Some(refusal(404, "User not found")), json!({}), false),
            (None, json!({ "sub": "user-2" }), true),
            (None, json!({ "email": "eve@example.com", "email_verified": false }), true),
            (None, json!({ "email": "ada@not-allowed.test" }), true),
        ] {
            let about = format!("{answer:?} {claims} {after:?}");
            let stand_in = StandIn::start().await;
            let allow = "[sign_in]\nallow = [\"@example.com\"]\n";
            let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + allow).await;
            let mut visitor = stand_in.signed_in(&gate).await;
            stand_in.clock.advance(after);
            stand_in.claim(claims);
            if let Some(answer) = answer {
                stand_in.answer(SILENT, answer);
            }
            let first = visitor.open("/").await;
            if after == OVER {
                assert_signed_out(&first);
            }
            gate.running.settle().await;
            let forwarded = gate.recorder.requests().len();
            stand_in.recover(SILENT);
            stand_in.claim(json!({}));
            assert_signed_out(&visitor.open("/").await);
            let refused = visitor.program().open("/").await;
            assert_eq!(
                (refused.status, &refused.json()["error"]),
                (StatusCode::UNAUTHORIZED, &json!("sign_in_required"))
            );
            assert_eq!(gate.recorder.requests().len(), forwarded, "{about}");
            gate.running.settle().await;
            let ended: Vec<_> = stand_in.calls_to(LOGOUT).into_iter().map(|call| call.json()).collect();
            let expected = is_ended_at_mosaic.then(|| json!({ "session_id": SESSION }));
            assert_eq!(ended, expected.into_iter().collect::<Vec<_>>(), "{about}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_refusal_ends_the_session_with_its_token() {
    for (status, body, ends) in [
        (400, json!({ "error_code": 400, "message": "Something is wrong with this user" }), true),
        (404, json!({ "error_code": 404, "message": "Device not found" }), true),
        (403, json!({ "error_code": 403, "message": "the user is no member of the organization" }), true),
        // These say nothing about the session.
        (403, json!({ "error_code": 403, "message": "Forbidden" }), false),
        (404, json!({}), false),
        (401, json!({ "error_code": 401, "message": "Unauthorized" }), false),
        (500, json!({ "error_code": 500, "message": "Something is wrong" }), false),
    ] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        let mut visitor = stand_in.signed_in(&gate).await;
        stand_in.answer(SILENT, ResponseTemplate::new(status).set_body_json(&body));
        stand_in.clock.advance(AHEAD);
        assert_served(&[visitor.open("/").await]);
        gate.running.settle().await;
        assert_served(&[visitor.open("/").await]);
        stand_in.clock.advance(OVER - AHEAD);
        visitor.open("/").await;
        gate.running.settle().await;
        let last = visitor.open("/").await;
        if ends { assert_signed_out(&last) } else { assert_served(&[last]) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lived_token_is_renewed_in_its_last_quarter_and_not_at_each_request() {
    for renewal in ["silent", "refresh"] {
        let stand_in = StandIn::start().await;
        let setting = format!("[session]\nrenewal = \"{renewal}\"\n");
        let gate = stand_in.gate_on(stand_in.memory(), |text| text.replace("[session]\n", &setting)).await;
        let path = if renewal == "silent" { SILENT } else { REFRESH };
        for path in [AUTHENTICATE, path] {
            stand_in.answer(path, stand_in.tokens(json!({ "expires_in": 240 })));
        }
        let record = json!({ "user_id": "user-1", "email": { "value": ADA, "email_verified": true } });
        let record = ResponseTemplate::new(200).set_body_json(json!({ "result": record }));
        stand_in.answer("/cis/v1/users/user-1", record);
        let mut visitor = stand_in.signed_in(&gate).await;
        for (advance, calls) in [(0, 0), (179, 0), (1, 1), (0, 1), (179, 1), (1, 2)] {
            stand_in.clock.advance(Duration::from_secs(advance));
            for _ in 0..5 {
                assert_served(&[visitor.open("/").await]);
                gate.running.settle().await;
            }
            assert_eq!(stand_in.count(path), calls, "{renewal} {advance}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_out_with_growing_pauses_and_noticed_by_nobody() {
    for hangs_up in [false, true] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        let mut visitor = stand_in.signed_in(&gate).await;
        let cookie = visitor.session_cookie();
        stand_in.clock.advance(OVER);
        stand_in.hang_up(hangs_up);
        stand_in.answer(SILENT, ResponseTemplate::new(500));
        assert_served(&crowd(&visitor, 50).await);
        gate.running.settle().await;
        if !hangs_up {
            assert_eq!(stand_in.count(SILENT), 1, "those who waited do not try again");
            // Reading the session again from the store, every 30 seconds, forgets no pause.
            for (seconds, expected) in [(19, 1), (1, 2), (39, 2), (1, 3), (79, 3), (1, 4), (159, 4), (1, 5), (300, 6)] {
                stand_in.clock.advance(Duration::from_secs(seconds));
                assert_served(&crowd(&visitor, 5).await);
                gate.running.settle().await;
                assert_eq!(stand_in.count(SILENT), expected, "after {seconds} more");
            }
        }
        assert_eq!(gate.recorder.last().values("x-forwarded-email"), [ADA]);

        // Nobody waits for a Mosaic that failed before.
        stand_in.hang_up(false);
        stand_in.clock.advance(Duration::from_secs(300));
        stand_in.recover(SILENT);
        stand_in.claim(json!({ "groups": ["after"] }));
        let mut held = stand_in.hold(SILENT);
        assert_served(&crowd(&visitor, 5).await);
        held.arrived().await;
        held.release();
        gate.running.settle().await;
        assert_served(&[visitor.open("/").await]);
        assert_eq!(groups(&gate), ["after"]);
        assert_eq!(visitor.session_cookie(), cookie);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_mosaic_asks_for_is_kept() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(AHEAD);
    stand_in.answer(SILENT, ResponseTemplate::new(429).insert_header("retry-after", "120"));
    for (seconds, expected) in [(0, 1), (119, 1), (1, 2)] {
        stand_in.clock.advance(Duration::from_secs(seconds));
        assert_served(&[visitor.open("/").await]);
        gate.running.settle().await;
        assert_eq!(stand_in.count(SILENT), expected, "after {seconds} more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosaic_answers_is_kept_though_the_visitor_has_left() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let gate = stand_in.gate_on(store.clone(), |configuration| configuration).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(OVER);
    stand_in.claim(json!({ "groups": ["after"] }));
    let mut held = stand_in.hold(SILENT);
    let mut leaving = TcpStream::connect(gate.running.address).await.unwrap();
    let request =
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-linkgate={}\r\n\r\n", visitor.session_cookie());
    leaving.write_all(request.as_bytes()).await.unwrap();
    held.arrived().await;
    drop(leaving);
    held.release();
    gate.running.settle().await;

    let other = stand_in.gate_on(store, |configuration| configuration).await;
    for gate in [&gate, &other] {
        visitor.address = gate.running.address;
        assert_served(&[visitor.open("/").await]);
        assert_eq!(groups(gate), ["after"]);
    }
    assert_eq!(stand_in.count(SILENT), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_during_a_renewal_stays_signed_out() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let gate = stand_in.gate_on(store.clone(), |configuration| configuration).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    let mut thief = visitor.clone();
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    stand_in.clock.advance(AHEAD);
    let mut held = stand_in.hold(SILENT);
    assert_served(&[visitor.open("/").await]);
    held.arrived().await;
    let done = visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(done.location(), "/.linkgate/signed-out");
    held.release();
    gate.running.settle().await;

    let other = stand_in.gate_on(store, |configuration| configuration).await;
    for gate in [&gate, &other] {
        thief.address = gate.running.address;
        assert_signed_out(&thief.open("/").await);
    }
    assert_eq!(stand_in.count(LOGOUT), 2, "once for the sign-out, once for what Mosaic answered after it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_renew_once_between_them() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let one = stand_in.gate_on(store.clone(), |configuration| configuration).await;
    let two = stand_in.gate_on(store, |configuration| configuration).await;
    let mut visitor = stand_in.signed_in(&one).await;
    let mut elsewhere = visitor.clone();
    elsewhere.address = two.running.address;
    assert_served(&[elsewhere.open("/").await]);

    stand_in.clock.advance(AHEAD);
    stand_in.claim(json!({ "groups": ["after"] }));
    let mut held = stand_in.hold(SILENT);
    assert_served(&[visitor.open("/").await]);
    held.arrived().await;
    assert_served(&crowd(&elsewhere, 20).await);
    two.running.settle().await;
    held.release();
    one.running.settle().await;
    stand_in.clock.advance(Duration::from_secs(2));
    assert_served(&[visitor.open("/").await, elsewhere.open("/").await]);
    two.running.settle().await;
    assert_served(&[elsewhere.open("/").await]);
    assert_eq!((groups(&one), groups(&two)), (vec!["after".to_owned()], vec!["after".to_owned()]));
    assert_eq!(stand_in.count(SILENT), 1);
}
