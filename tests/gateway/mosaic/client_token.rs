//! The access token of our own client.

use super::*;

#[tokio::test]
async fn is_asked_for_with_the_secret_in_the_form() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    story.send().await.unwrap();
    let [request] = &story.requests("/oidc/token").await[..] else { panic!("one request") };
    assert_eq!(header(request, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(header(request, "authorization"), None);
    let form = "grant_type=client_credentials&client_id=client-1&client_secret=s%26cret";
    assert_eq!(String::from_utf8_lossy(&request.body), form);
}

/// The token that the latest send was made with.
async fn token_of_a_send(story: &Story) -> String {
    story.send().await.unwrap();
    let requests = story.requests(SEND).await;
    header(requests.last().unwrap(), "authorization").unwrap().to_owned()
}

async fn fetches(story: &Story) -> usize {
    story.requests("/oidc/token").await.len()
}

#[tokio::test]
async fn is_renewed_once_in_the_background_five_minutes_before_it_expires() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
    story.clock.advance(Duration::from_secs(3299));
    assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
    assert_eq!(fetches(&story).await, 1);
    story.clock.advance(Duration::from_secs(1));
    let outcomes = join_all((0..50).map(|_| story.send())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    eventually(async || token_of_a_send(&story).await == "Bearer token-2").await;
    assert_eq!(fetches(&story).await, 2);
}

#[tokio::test]
async fn holds_nobody_up_while_it_is_good_and_another_does_not_come() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
    // Longer than anybody waits.
    let silent = ResponseTemplate::new(200).set_delay(Duration::from_secs(3600));
    let _silence = story.meanwhile("/oidc/token", silent).await;
    story.clock.advance(Duration::from_secs(3300));
    for seconds in [0, 100, 169] {
        story.clock.advance(Duration::from_secs(seconds));
        assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
    }
    eventually(async || fetches(&story).await == 2).await;
}

#[tokio::test]
async fn that_cannot_be_renewed_serves_until_half_a_minute_before_it_expires() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
    let refused = ResponseTemplate::new(401).set_body_json(json!({"error": "invalid_client"}));
    let refusing = story.meanwhile("/oidc/token", refused).await;
    story.clock.advance(Duration::from_secs(3300));
    // Each renewal that failed is followed by a pause of ten seconds.
    for (seconds, expected) in [(0, 2), (9, 2), (1, 3), (259, 4)] {
        story.clock.advance(Duration::from_secs(seconds));
        assert_eq!(token_of_a_send(&story).await, "Bearer token-1");
        eventually(async || fetches(&story).await == expected).await;
        // What was answered is noted after it was sent.
        eventually(async || {
            metrics_say(&story, "linkgate_mosaic_calls_total{call=\"token\",outcome=\"refused\"}", expected - 1)
        })
        .await;
    }
    story.clock.advance(Duration::from_secs(1));
    assert!(matches!(story.send().await.unwrap_err(), Error::ClientCredentials { .. }));
    drop(refusing);
    assert_eq!(token_of_a_send(&story).await, "Bearer token-2");
}

fn metrics_say(story: &Story, name: &str, value: usize) -> bool {
    story.metrics.render().lines().any(|line| line == format!("{name} {value}"))
}

#[tokio::test]
async fn that_lives_shortly_is_renewed_after_half_of_its_life_and_serves_for_three_quarters() {
    let story = Story::without_tokens().await;
    story.answers("POST", SEND, sent()).await;
    story.says("/oidc/token", 200, &json!({"access_token": "t", "token_type": "Bearer", "expires_in": 60})).await;
    for (seconds, expected) in [(0, 1), (29, 1), (1, 2), (45, 3)] {
        story.clock.advance(Duration::from_secs(seconds));
        story.send().await.unwrap();
        eventually(async || {
            metrics_say(&story, "linkgate_mosaic_calls_total{call=\"token\",outcome=\"ok\"}", expected)
        })
        .await;
        assert_eq!(fetches(&story).await, expected);
    }
}

#[tokio::test]
async fn is_fetched_once_for_fifty_calls_at_once() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    let outcomes = join_all((0..50).map(|_| story.send())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(story.requests("/oidc/token").await.len(), 1);
    assert_eq!(story.requests(SEND).await.len(), 50);
}

#[tokio::test]
async fn fails_once_for_fifty_calls_at_once() {
    let story = Story::without_tokens().await;
    story.says("/oidc/token", 503, &json!({"message": "down", "error_code": 503})).await;
    for outcome in join_all((0..50).map(|_| story.send())).await {
        same(&outcome, &Error::ServerFault { status: 503 }, "shared failure");
    }
    assert_eq!(story.requests("/oidc/token").await.len(), 2, "one fetch and its second try");
    assert!(story.requests(SEND).await.is_empty());
}

#[tokio::test]
async fn that_is_refused_is_replaced_once() {
    let story = Story::start().await;
    let refuse_the_first = |request: &Request| match header(request, "authorization") {
        Some("Bearer token-1") => {
            ResponseTemplate::new(401).set_body_json(json!({"message": "Invalid token", "error_code": 401}))
        }
        _ => sent(),
    };
    Mock::given(path(SEND)).respond_with(refuse_the_first).mount(&story.server).await;
    let outcomes = join_all((0..20).map(|_| story.send())).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(story.requests("/oidc/token").await.len(), 2);
}

#[tokio::test]
async fn that_is_refused_twice_is_an_error() {
    let story = Story::start().await;
    story.says(SEND, 401, &json!({"message": "Invalid token", "error_code": 401})).await;
    let expected = Error::Unexpected { call: "send_magic_link", status: 401, message: "Invalid token".to_owned() };
    same(&story.send().await, &expected, "401 twice");
    assert_eq!(story.requests(SEND).await.len(), 2);
    assert_eq!(story.requests("/oidc/token").await.len(), 2);
}

#[tokio::test]
async fn is_not_had_with_a_wrong_secret() {
    for (status, body) in [
        (401, json!({"error": "invalid_client", "error_description": "client authentication failed"})),
        (400, json!({"message": "client authentication failed", "error_code": 400})),
    ] {
        let story = Story::without_tokens().await;
        story.says("/oidc/token", status, &body).await;
        let error = story.send().await.unwrap_err();
        assert!(matches!(error, Error::ClientCredentials { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("check `client_id` and its secret, key or certificate"), "{text}");
        assert!(text.contains("client authentication failed") && !text.contains("s&cret"), "{text}");
    }
}

#[tokio::test]
async fn is_read_strictly() {
    let fine = json!({"access_token": "t", "token_type": "bearer", "expires_in": 3600.5});
    for (change, is_fine) in [
        (json!({}), true),
        (json!({"access_token": ""}), false),
        (json!({"access_token": null}), false),
        (json!({"access_token": "a\r\nX-Evil: 1"}), false),
        (json!({"token_type": "mac"}), false),
        (json!({"expires_in": "3600"}), false),
        (json!({"expires_in": -1}), false),
        (json!({"expires_in": 1e300}), false),
    ] {
        let story = Story::without_tokens().await;
        story.answers("POST", SEND, sent()).await;
        story.says("/oidc/token", 200, &merged(fine.clone(), change.clone())).await;
        let outcome = story.send().await;
        assert_eq!(outcome.is_ok(), is_fine, "{change} {outcome:?}");
    }
}
