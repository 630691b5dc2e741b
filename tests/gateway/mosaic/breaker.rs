//! A Mosaic that keeps failing is left alone, and found again.

use super::*;

const OPEN: &str = "linkgate_mosaic_circuit_open";

/// Has three sends fail in a row.
async fn fail_three_times(story: &Story) {
    for _ in 0..3 {
        let error = story.send().await.unwrap_err();
        assert!(matches!(error, Error::ServerFault { status: 503 }), "{error:?}");
    }
}

async fn broken(story: &Story, route: &str) -> Meanwhile {
    story.meanwhile(route, ResponseTemplate::new(503)).await
}

fn open_circuits(story: &Story) -> String {
    let metrics = story.metrics.render();
    let line = metrics.lines().find_map(|line| line.strip_prefix(OPEN)?.strip_prefix(' '));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn three_failures_in_a_row_and_nothing_is_sent_until_the_pause_is_over() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    let outage = broken(&story, SEND).await;
    story.mosaic.probe().await.unwrap();
    fail_three_times(&story).await;
    assert_eq!(open_circuits(&story), "1");
    for _ in 0..20 {
        let error = story.send().await.unwrap_err();
        assert!(matches!(error, Error::CircuitOpen { .. }) && error.is_transient(), "{error:?}");
    }
    assert!(!story.mosaic.is_reachable(Step::SendLink));
    assert!(matches!(story.mosaic.probe().await, Err(Error::CircuitOpen { .. })), "not ready");
    assert_eq!(story.requests(SEND).await.len(), 3);

    story.clock.advance(Duration::from_secs(5));
    assert!(story.mosaic.is_reachable(Step::SendLink), "one may try");
    same(&story.send().await, &Error::ServerFault { status: 503 }, "the trial");
    assert!(matches!(story.send().await, Err(Error::CircuitOpen { .. })));
    assert_eq!(story.requests(SEND).await.len(), 4);
    assert!(!story.mosaic.is_reachable(Step::SendLink));

    drop(outage);
    story.clock.advance(Duration::from_secs(10));
    story.send().await.unwrap();
    assert!(story.mosaic.is_reachable(Step::SendLink));
    assert_eq!(open_circuits(&story), "0");
    story.mosaic.probe().await.unwrap();
}

#[tokio::test]
async fn after_the_pause_one_call_is_made_and_the_others_fail_at_once() {
    let story = Story::start().await;
    story.mosaic.probe().await.unwrap();
    let outage = broken(&story, SEND).await;
    fail_three_times(&story).await;
    drop(outage);
    story.answers("POST", SEND, sent().set_delay(Duration::from_millis(50))).await;
    story.clock.advance(Duration::from_secs(5));
    let outcomes = join_all((0..20).map(|_| story.send())).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(story.requests(SEND).await.len(), 4);
    assert!(join_all((0..20).map(|_| story.send())).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_probe_finds_out_whether_the_host_is_back() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    story.mosaic.probe().await.unwrap();
    let (sends, tokens) = (broken(&story, SEND).await, broken(&story, "/oidc/token").await);
    fail_three_times(&story).await;
    let fetches = async || story.requests("/oidc/token").await.len();
    let before = fetches().await;
    story.mosaic.probe().await.unwrap_err();
    assert_eq!(fetches().await, before, "during the pause nothing is asked");
    story.clock.advance(Duration::from_secs(5));
    same(&story.mosaic.probe().await, &Error::ServerFault { status: 503 }, "still away");
    assert!(!story.mosaic.is_reachable(Step::SendLink));
    assert!(matches!(story.mosaic.probe().await, Err(Error::CircuitOpen { .. })), "a longer pause");

    drop((sends, tokens));
    story.clock.advance(Duration::from_secs(10));
    story.mosaic.probe().await.unwrap();
    assert!(story.mosaic.is_reachable(Step::SendLink));
    assert_eq!(open_circuits(&story), "0");
    let sends = broken(&story, SEND).await;
    same(&story.send().await, &Error::ServerFault { status: 503 }, "the host is there, the call does not work");
    assert!(matches!(story.send().await, Err(Error::CircuitOpen { .. })), "one failure is enough now");
    drop(sends);
}

#[tokio::test]
async fn a_token_endpoint_that_is_away_costs_nobody_the_token_that_is_there() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    story.send().await.unwrap();
    let _outage = broken(&story, "/oidc/token").await;
    story.clock.advance(Duration::from_secs(3300));
    for _ in 0..20 {
        story.send().await.unwrap();
        story.clock.advance(Duration::from_secs(10));
    }
    assert!(story.mosaic.is_reachable(Step::SendLink));
    story.mosaic.probe().await.unwrap();
}

#[tokio::test]
async fn a_token_endpoint_that_is_away_is_left_alone_but_for_probes() {
    let story = Story::without_tokens().await;
    let outage = broken(&story, "/oidc/token").await;
    assert!(story.send().await.is_err());
    assert!(story.send().await.is_err());
    assert_eq!(story.requests("/oidc/token").await.len(), 3);
    assert!(matches!(story.send().await, Err(Error::CircuitOpen { .. })));
    assert_eq!(story.requests("/oidc/token").await.len(), 3);
    same(&story.mosaic.probe().await, &Error::ServerFault { status: 503 }, "a probe asks");
    assert_eq!(story.requests("/oidc/token").await.len(), 4);
    assert!(!story.mosaic.is_reachable(Step::SendLink));
    drop(outage);
    story.give_tokens().await;
    story.mosaic.probe().await.unwrap();
    assert!(story.mosaic.is_reachable(Step::SendLink));
}

#[tokio::test]
async fn refusals_are_no_outage() {
    let story = Story::start().await;
    story.says(SEND, 404, &json!({"message": "User not found", "error_code": 404})).await;
    for _ in 0..10 {
        same(&story.send().await, &Error::UserNotFound, "a refusal");
    }
    assert!(story.mosaic.is_reachable(Step::SendLink));
    assert_eq!(story.requests(SEND).await.len(), 10);
}
