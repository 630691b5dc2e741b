//! Renewal by refresh token, where the operator selects it: rotated once for all, never lost, and no way around the
//! end of a user.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::harness::Gate;
use crate::mosaic::{merged, without};
use crate::stand_in::{ADA, LOGOUT, REFRESH, REFRESH_TOKEN, SILENT, StandIn, assert_signed_out, refusal};

const BY_REFRESH: &str = "renewal = \"refresh\"\nstore = \"memory\"";
const RECORD: &str = "/cis/v1/users/user-1";
/// A moment at which the access token is over.
const OVER: Duration = Duration::from_secs(3601);

async fn gate(stand_in: &StandIn, store: linkgate::store::Shared) -> Gate {
    stand_in.gate_on(store, |configuration| configuration.replace("store = \"memory\"", BY_REFRESH)).await
}

fn record(more: Value) -> ResponseTemplate {
    let user = json!({ "user_id": "user-1", "status": "Active", "email": { "value": ADA, "email_verified": true } });
    ResponseTemplate::new(200).set_body_json(json!({ "result": merged(user, more) }))
}

/// What a refresh is answered with: no session, and no claim that was not asked for.
fn tokens(stand_in: &StandIn, next: &str) -> ResponseTemplate {
    let now = stand_in.clock.now().unix_seconds();
    let mut claims = stand_in.id_claims();
    for claim in ["email", "email_verified", "groups", "roles"] {
        claims = without(claims, claim);
    }
    let claims = merged(claims, json!({ "iat": now, "exp": now + 3600 }));
    let access = merged(stand_in.access_claims(), json!({ "iat": now, "exp": now + 3600 }));
    let body = json!({
        "access_token": crate::mosaic::sign(&access), "id_token": crate::mosaic::sign(&claims),
        "refresh_token": next, "token_type": "Bearer", "expires_in": 3600,
    });
    ResponseTemplate::new(200).set_body_json(body)
}

fn used(stand_in: &StandIn) -> Vec<String> {
    let token = |body: &Value| body["refresh_token"].as_str().unwrap().to_owned();
    stand_in.calls_to(REFRESH).iter().map(|call| token(&call.json())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_is_used_once_for_all_who_wait_and_the_next_one_is_kept() {
    let stand_in = StandIn::start().await;
    let gate = gate(&stand_in, stand_in.memory()).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.answer(RECORD, record(json!({ "username": "ada" })));
    for next in ["second", "third"] {
        stand_in.clock.advance(OVER);
        stand_in.answer(REFRESH, tokens(&stand_in, next));
        let open = |mut visitor: crate::harness::Visitor| async move { visitor.open("/").await };
        for answer in join_all((0..200).map(|_| tokio::spawn(open(visitor.clone())))).await {
            assert_eq!(answer.unwrap().status, StatusCode::OK);
        }
    }
    assert_eq!(used(&stand_in), [REFRESH_TOKEN, "second"]);
    assert_eq!(stand_in.count(SILENT), 0);
    visitor.open("/").await;
    let seen = gate.recorder.last();
    assert_eq!(seen.values("x-forwarded-email"), [ADA]);
    assert_eq!(seen.values("x-forwarded-groups"), ["before"], "what a refresh cannot ask for stays");
    assert_eq!(seen.values("x-forwarded-preferred-username"), ["ada"], "what the record says counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_token_is_kept_though_the_gateway_is_stopping() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let first = gate(&stand_in, store.clone()).await;
    let mut visitor = stand_in.signed_in(&first).await;
    stand_in.answer(RECORD, record(json!({})));
    // Still good for a while, so that nobody waits for the renewal that begins now.
    stand_in.clock.advance(Duration::from_secs(3400));
    stand_in.answer(REFRESH, tokens(&stand_in, "second"));
    let mut held = stand_in.hold(REFRESH);
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    held.arrived().await;
    let stopping = tokio::spawn(first.running.stop());
    held.release();
    stopping.await.unwrap();

    let gate = gate(&stand_in, store).await;
    stand_in.clock.advance(OVER);
    stand_in.answer(REFRESH, tokens(&stand_in, "third"));
    assert_eq!(visitor.at(&gate).open("/").await.status, StatusCode::OK);
    assert_eq!(used(&stand_in), [REFRESH_TOKEN, "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_lost_falls_back_to_the_session_and_only_both_end_it() {
    let stand_in = StandIn::start().await;
    let gate = gate(&stand_in, stand_in.memory()).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(OVER);
    stand_in.answer(REFRESH, refusal(400, "Invalid refresh token"));
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    assert_eq!((stand_in.count(REFRESH), stand_in.count(SILENT)), (1, 1));
    stand_in.clock.advance(OVER);
    stand_in.refuse(SILENT, 400, "Session not found");
    assert_signed_out(&visitor.open("/").await);
    assert_eq!((stand_in.count(REFRESH), stand_in.count(SILENT)), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_disabled_or_gone_loses_access_and_an_unread_record_costs_nothing() {
    let gone = ResponseTemplate::new(404).set_body_json(json!({ "message": "User not found", "error_code": 404 }));
    for (record, stays) in [
        (record(json!({ "status": "Disabled" })), false),
        (gone, false),
        (record(json!({ "email": { "value": ADA, "email_verified": false } })), false),
        (ResponseTemplate::new(503), true),
    ] {
        let stand_in = StandIn::start().await;
        let gate = gate(&stand_in, stand_in.memory()).await;
        let mut visitor = stand_in.signed_in(&gate).await;
        stand_in.clock.advance(OVER);
        stand_in.answer(REFRESH, tokens(&stand_in, "second"));
        stand_in.answer(RECORD, record);
        let answer = visitor.open("/").await;
        if stays {
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(gate.recorder.last().values("x-forwarded-email"), [ADA]);
        } else {
            assert_signed_out(&answer);
            stand_in.recover(RECORD);
            assert_signed_out(&visitor.open("/").await);
        }
        gate.running.settle().await;
        assert!(stand_in.count(LOGOUT) <= 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_spends_no_token_and_is_noticed_by_nobody() {
    let stand_in = StandIn::start().await;
    let gate = gate(&stand_in, stand_in.memory()).await;
    let mut visitor = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(OVER);
    stand_in.answer(REFRESH, ResponseTemplate::new(503));
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    assert_eq!(stand_in.count(SILENT), 0);
    stand_in.clock.advance(Duration::from_secs(300));
    stand_in.answer(REFRESH, tokens(&stand_in, "second"));
    stand_in.answer(RECORD, record(json!({})));
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    gate.running.settle().await;
    assert_eq!(used(&stand_in), [REFRESH_TOKEN, REFRESH_TOKEN]);
}
