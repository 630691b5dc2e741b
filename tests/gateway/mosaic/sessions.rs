//! Silent login, refresh, and the end.

use super::*;

#[tokio::test]
async fn silent_login_names_the_session() {
    let story = Story::start().await;
    story.says(SILENT, 200, &without(tokens(&id_claims()), "session_id")).await;
    let found = story.mosaic.authenticate_session("session-9", None).await.unwrap();
    assert_eq!((found.session_id.expose().as_str(), found.identity.email), ("session-9", Some(ada())));
    let [request] = &story.requests(SILENT).await[..] else { panic!("one request") };
    let body = json_body(request);
    assert_eq!(body["session_id"], "session-9");
    assert_eq!(body["claims"]["id_token"]["email"], Value::Null);
    assert_eq!(body.as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn only_a_session_that_is_over_is_not_found() {
    for (status, message, expected) in [
        (400, "Session not found", Error::SessionNotFound),
        (400, "Session expired", Error::SessionNotFound),
        (403, "User is not active", Error::UserNotActive),
        (500, "Session not found", Error::ServerFault { status: 500 }),
        (429, "Session not found", Error::RateLimited { retry_after: None }),
    ] {
        let story = Story::start().await;
        story.says(SILENT, status, &json!({"message": message, "error_code": status})).await;
        same(&story.mosaic.authenticate_session("s", None).await, &expected, message);
    }
}

#[tokio::test]
async fn refresh_rotates_the_token() {
    let story = Story::start().await;
    // Refreshing names no session, and no claims can be asked for.
    let claims = without(without(id_claims(), "email"), "email_verified");
    let answer = merged(without(tokens(&claims), "session_id"), json!({"refresh_token": "refresh-2"}));
    story.says(REFRESH, 200, &answer).await;
    let found = story.mosaic.refresh("refresh-1").await.unwrap();
    assert_eq!(found.subject, subject("user-1"));
    assert_eq!(found.refresh_token.unwrap().expose(), "refresh-2");
    assert_eq!(found.access_expires_at, at(NOW + 3600));
    let [request] = &story.requests(REFRESH).await[..] else { panic!("one request") };
    assert_eq!(json_body(request), json!({"refresh_token": "refresh-1"}));
}

#[tokio::test]
async fn a_spent_refresh_token_is_over_and_an_outage_is_not() {
    for (status, body, expected) in [
        (400, json!({"message": "Invalid refresh token", "error_code": 400}), Error::SessionNotFound),
        (400, json!({"error": "invalid_grant"}), Error::SessionNotFound),
        (502, json!({"error": "invalid_grant"}), Error::ServerFault { status: 502 }),
    ] {
        let story = Story::start().await;
        story.says(REFRESH, status, &body).await;
        same(&story.mosaic.refresh("refresh-1").await, &expected, &body.to_string());
    }
}

#[tokio::test]
async fn ending_a_session_that_is_gone_is_fine() {
    let gone = json!({"message": "Session not found", "error_code": 400});
    // Ending what has ended does no harm, so a broken Mosaic is asked twice.
    for (status, body, is_fine, times) in [
        (204, None, true, 1),
        (400, Some(&gone), true, 1),
        (404, Some(&gone), true, 1),
        (404, None, false, 1),
        (500, None, false, 2),
    ] {
        let story = Story::start().await;
        let answer = ResponseTemplate::new(status);
        let answer = body.map_or(answer.clone(), |body| answer.set_body_json(body));
        story.answers("POST", LOGOUT, answer).await;
        let outcome = story.mosaic.end_session("session-1").await;
        assert_eq!(outcome.is_ok(), is_fine, "{status} {outcome:?}");
        let requests = story.requests(LOGOUT).await;
        assert_eq!(requests.len(), times, "{status}");
        assert!(requests.iter().all(|request| json_body(request) == json!({"session_id": "session-1"})));
    }
}
