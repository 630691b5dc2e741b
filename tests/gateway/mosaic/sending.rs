//! Having a magic link mailed.

use super::*;

#[tokio::test]
async fn says_everything_that_was_given() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    let content = EmailContent {
        subject: "Sign in".to_owned(),
        link_text: Some("Go".to_owned()),
        logo: Some("aGk=".to_owned()),
        primary_color: Some("#6981FF".to_owned()),
        ..EmailContent::default()
    };
    let identifier = Identifier::Email(ada());
    let link = SendMagicLink {
        identifier: &identifier,
        redirect_uri: "https://app.test/.linkgate/callback",
        state: "state-1",
        link_lifetime: Duration::from_secs(601),
        device: Device {
            user_agent: Some("Browser/1.0"),
            address: Some(Ipv4Addr::new(192, 0, 2, 7).into()),
            id: Some("device-1"),
            language: Some("de"),
        },
        email_content: Some(&content),
    };
    story.mosaic.send_magic_link(&link).await.unwrap();
    let [request] = &story.requests(SEND).await[..] else { panic!("one request") };
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(header(request, "accept-language"), Some("de"));
    assert_eq!(header(request, "authorization"), Some("Bearer token-1"));
    assert_eq!(header(request, "user-agent"), Some(concat!("linkgate/", env!("CARGO_PKG_VERSION"))));
    let expected = json!({
        "identifier": "ada@example.com", "identifier_type": "email",
        "redirect_uri": "https://app.test/.linkgate/callback", "state": "state-1", "email_expiration": 11,
        "client_attributes": {"user_agent": "Browser/1.0", "ip_address": "192.0.2.7"}, "device_id": "device-1",
        "email_content": {
            "subject": "Sign in", "linkText": "Go", "base64logo": "aGk=", "primaryColor": "#6981FF",
        },
    });
    assert_eq!(json_body(request), expected);
}

#[tokio::test]
async fn says_nothing_that_was_not_given() {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    story.send().await.unwrap();
    let [request] = &story.requests(SEND).await[..] else { panic!("one request") };
    let expected = json!({
        "identifier": "ada@example.com", "identifier_type": "email",
        "redirect_uri": "https://app.test/.linkgate/callback", "state": "state-1", "email_expiration": 11,
    });
    assert_eq!(json_body(request), expected);
}

#[tokio::test]
async fn tells_refusals_apart_and_is_never_repeated() {
    let redirect = "redirect_uri is not one of the allowed redirect URIs configured for this app";
    let unexpected =
        |status, message: &str| Error::Unexpected { call: "send_magic_link", status, message: message.to_owned() };
    let refused =
        |status, message: &str| Error::Refused { call: "send_magic_link", status, message: message.to_owned() };
    for (status, body, expected) in [
        (400, json!({"error_code": "400", "message": redirect}), Error::RedirectUriNotAllowed),
        (400, json!({"error_code": 400, "message": ["state is long", "x"]}), refused(400, "state is long; x")),
        (403, json!({"error_code": "403", "message": "User is not active"}), Error::UserNotActive),
        (403, json!({"message": "Public signup is not allowed for this application"}), Error::SignUpNotAllowed),
        (403, json!({"error_code": 403, "message": "Forbidden"}), Error::NotPermitted),
        (404, json!({"error_code": "404", "message": "App not found"}), Error::AppNotFound),
        (404, json!({"error_code": "404", "message": "User not found"}), Error::UserNotFound),
        (404, json!({"error_code": "user_not_found", "message": "x"}), Error::UserNotFound),
        (404, json!("Cannot POST"), unexpected(404, "no message")),
        (500, json!({"message": "oops", "error_code": 500}), Error::ServerFault { status: 500 }),
        (503, json!(null), Error::ServerFault { status: 503 }),
        (200, json!({}), unexpected(200, "not what this call answers with")),
        (200, json!({"message": 1}), unexpected(200, "not what this call answers with")),
        (204, json!(null), unexpected(204, "no message")),
    ] {
        let story = Story::start().await;
        story.says(SEND, status, &body).await;
        same(&story.send().await, &expected, &format!("{status} {body}"));
        assert_eq!(story.requests(SEND).await.len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn hears_how_long_to_wait() {
    for (value, expected) in [("17", Some(17)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)] {
        let story = Story::start().await;
        story.answers("POST", SEND, ResponseTemplate::new(429).insert_header("Retry-After", value)).await;
        let expected = Error::RateLimited { retry_after: expected.map(Duration::from_secs) };
        same(&story.send().await, &expected, value);
        assert!(story.mosaic.is_reachable(Step::SendCode));
    }
}

#[tokio::test]
async fn follows_no_redirect_with_its_token() {
    let story = Story::start().await;
    story.answers("POST", SEND, ResponseTemplate::new(307).insert_header("Location", "/elsewhere")).await;
    let error = story.send().await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { status: 307, .. }), "{error:?}");
    assert!(story.requests("/elsewhere").await.is_empty());
}

#[tokio::test]
async fn reads_no_more_than_64_kib() {
    for (size, is_fine) in [(60_000, true), (70_000, false)] {
        let story = Story::start().await;
        story.says(SEND, 200, &json!({"message": "x".repeat(size)})).await;
        let outcome = story.send().await;
        assert_eq!(outcome.is_ok(), is_fine, "{outcome:?}");
    }
}
