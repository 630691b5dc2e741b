//! 429: Mosaic is not asked while a pause lasts, and is asked after it.

use super::*;

fn too_many(retry_after: Option<&str>) -> ResponseTemplate {
    let answer = ResponseTemplate::new(429);
    retry_after.into_iter().fold(answer, |answer, value| answer.insert_header("Retry-After", value))
}

async fn once(story: &Story, route: &str, answer: ResponseTemplate) {
    Mock::given(path(route)).respond_with(answer).up_to_n_times(1).with_priority(1).mount(&story.server).await;
}

#[track_caller]
fn assert_limited(outcome: &Result<Sent, Error>, seconds: u64) {
    same(outcome, &Error::RateLimited { retry_after: Some(Duration::from_secs(seconds)) }, "a pause");
}

#[tokio::test]
async fn the_pause_that_is_asked_for_is_kept_to_the_second() {
    // Fri, 15 Jan 2027 08:00:00 GMT is now.
    for value in ["17", "Fri, 15 Jan 2027 08:00:17 GMT"] {
        let story = Story::start().await;
        story.answers("POST", SEND, sent()).await;
        once(&story, SEND, too_many(Some(value))).await;
        assert_limited(&story.send().await, 17);
        for outcome in join_all((0..20).map(|_| story.send())).await {
            assert_limited(&outcome, 17);
        }
        story.clock.advance(Duration::from_secs(16));
        assert_limited(&story.send().await, 1);
        assert_eq!(story.requests(SEND).await.len(), 1, "{value}");
        assert!(!story.mosaic.is_reachable(Step::SendLink));
        assert!(story.mosaic.is_reachable(Step::SendCode), "a limit is no outage");
        story.clock.advance(Duration::from_secs(1));
        story.send().await.unwrap();
        assert_eq!(story.requests(SEND).await.len(), 2, "{value}");
    }
}

#[tokio::test]
async fn nobody_is_kept_waiting_for_more_than_an_hour() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    once(&story, SEND, too_many(Some("86400"))).await;
    assert_limited(&story.send().await, 3600);
    story.clock.advance(Duration::from_secs(3599));
    assert!(story.send().await.is_err());
    story.clock.advance(Duration::from_secs(1));
    story.send().await.unwrap();
}

#[tokio::test]
async fn without_a_word_the_pause_grows_from_a_second_to_a_minute() {
    let story = Story::start().await;
    let limit = story.meanwhile(SEND, too_many(None)).await;
    for (sent, longest) in (1..).zip([2, 4, 8, 16, 32, 60, 60]) {
        same(&story.send().await, &Error::RateLimited { retry_after: None }, "429");
        story.clock.advance(Duration::from_millis(longest * 500 - 1));
        let error = story.send().await.unwrap_err();
        assert!(matches!(error, Error::RateLimited { retry_after: Some(_) }), "{error:?}");
        assert_eq!(story.requests(SEND).await.len(), sent);
        story.clock.advance(Duration::from_millis(longest * 500 + 1));
    }
    drop(limit);
    story.answers("POST", SEND, sent()).await;
    story.send().await.unwrap();
}

#[tokio::test]
async fn a_pause_is_for_one_call() {
    let story = Story::start().await;
    story.answers("POST", LOGOUT, ResponseTemplate::new(204)).await;
    once(&story, SEND, too_many(Some("60"))).await;
    assert!(story.send().await.is_err());
    story.mosaic.end_session("session-1").await.unwrap();
}

#[tokio::test]
async fn a_limited_token_endpoint_is_not_asked_again_either() {
    let story = Story::without_tokens().await;
    story.answers("POST", SEND, sent()).await;
    once(&story, "/oidc/token", too_many(Some("30"))).await;
    story.give_tokens().await;
    assert_limited(&story.send().await, 30);
    assert_limited(&story.send().await, 30);
    assert!(story.mosaic.probe().await.is_err(), "without a token nobody can sign in");
    assert_eq!(story.requests("/oidc/token").await.len(), 1);
    story.clock.advance(Duration::from_secs(30));
    story.send().await.unwrap();
    story.mosaic.probe().await.unwrap();
}
