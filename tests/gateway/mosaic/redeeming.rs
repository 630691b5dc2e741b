//! What the code of a followed link is exchanged for.

use super::*;

fn identity() -> Identity {
    Identity { email: Some(ada()), email_verified: true, ..Identity::new(subject("user-1")) }
}

#[tokio::test]
async fn asks_for_the_claims_and_gives_a_verified_identity() {
    let story = Story::start().await;
    let claims = merged(id_claims(), json!({"fname": "Ada", "groups": ["g"], "roles": ["i"], "role_values": ["r"]}));
    story.says(AUTHENTICATE, 200, &tokens(&claims)).await;
    let device =
        Device { user_agent: Some("Browser/1.0"), address: Some(Ipv4Addr::LOCALHOST.into()), id: None, language: None };
    let login = Login { device, ..Login::default() };
    let found = story.mosaic.authenticate_magic_link("code-1", &login).await.unwrap();
    let expected = Identity {
        name: Some("Ada".to_owned()),
        groups: vec!["g".to_owned()],
        roles: vec!["r".to_owned()],
        ..identity()
    };
    assert_eq!(found.identity, expected);
    assert_eq!(found.session_id.expose(), "session-1");
    assert_eq!(found.refresh_token.unwrap().expose(), "refresh-1");
    assert_eq!((found.access_expires_at, found.authenticated_at), (at(NOW + 3600), at(NOW - 5)));

    let [request] = &story.requests(AUTHENTICATE).await[..] else { panic!("one request") };
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(header(request, "authorization"), Some("Bearer token-1"));
    let expected = json!({
        "code": "code-1",
        "claims": {"id_token": {
            "email": null, "email_verified": null, "groups": null, "roles": null, "role_values": null,
            "fname": null, "lname": null, "username": null,
        }},
        "client_attributes": {"user_agent": "Browser/1.0", "ip_address": "127.0.0.1"},
    });
    assert_eq!(json_body(request), expected);
}

#[tokio::test]
async fn asks_the_user_record_for_what_the_token_leaves_open() {
    let record = |address: &str, verified: bool| {
        json!({"result": {
            "user_id": "user-1", "status": "Active", "username": "ada",
            "email": {"value": address, "email_verified": verified},
        }})
    };
    let no_email = || without(without(id_claims(), "email"), "email_verified");
    let no_proof = || without(id_claims(), "email_verified");
    for (about, claims, record, email, verified) in [
        ("no address", no_email(), record("ada@example.com", true), "ada@example.com", true),
        ("no address", no_email(), record("ada@example.com", false), "ada@example.com", false),
        ("no proof", no_proof(), record("ada@example.com", true), "ada@example.com", true),
        ("no proof", no_proof(), record("ada@example.com", false), "ada@example.com", false),
        ("another's proof", no_proof(), record("eve@example.com", true), "ada@example.com", false),
    ] {
        let story = Story::start().await;
        story.says(AUTHENTICATE, 200, &tokens(&claims)).await;
        story.answers("GET", "/cis/v1/users/user-1", ResponseTemplate::new(200).set_body_json(record)).await;
        let found = story.authenticate().await.unwrap().identity;
        let expected = Identity {
            email: EmailAddress::parse(email).ok(),
            email_verified: verified,
            username: Some("ada".to_owned()),
            ..identity()
        };
        assert_eq!(found, expected, "{about}");
    }
    // A first login proves the address, which the token that it gives need not know yet.
    let unproven = || merged(id_claims(), json!({ "email_verified": false }));
    for (record, verified) in [
        (ResponseTemplate::new(200).set_body_json(record("ada@example.com", true)), true),
        (ResponseTemplate::new(200).set_body_json(record("ada@example.com", false)), false),
        (ResponseTemplate::new(200).set_body_json(record("eve@example.com", true)), false),
        (ResponseTemplate::new(503), false),
    ] {
        let story = Story::start().await;
        story.says(AUTHENTICATE, 200, &tokens(&unproven())).await;
        story.answers("GET", "/cis/v1/users/user-1", record).await;
        assert_eq!(story.authenticate().await.unwrap().identity.email_verified, verified);
    }
    let story = Story::start().await;
    story.says(AUTHENTICATE, 200, &tokens(&no_email())).await;
    story.answers("GET", "/cis/v1/users/user-1", ResponseTemplate::new(503)).await;
    same(&story.authenticate().await, &Error::ServerFault { status: 503 }, "no record");
}

#[tokio::test]
async fn tells_refusals_apart() {
    let refused = Error::Refused {
        call: "authenticate_magic_link",
        status: 400,
        message: "device_id must be a string".to_owned(),
    };
    for (status, message, expected) in [
        (400, "Invalid magic link code", Error::InvalidCode),
        (400, "Magic link expired", Error::InvalidCode),
        (400, "User not found", Error::UserNotFound),
        (400, "Session not found", Error::SessionNotFound),
        (400, "device_id must be a string", refused),
        (403, "User is not active", Error::UserNotActive),
        (502, "Invalid magic link code", Error::ServerFault { status: 502 }),
    ] {
        let story = Story::start().await;
        story.says(AUTHENTICATE, status, &json!({"error_code": status.to_string(), "message": message})).await;
        same(&story.authenticate().await, &expected, message);
        assert_eq!(story.requests(AUTHENTICATE).await.len(), 1);
    }
}

#[tokio::test]
async fn takes_nobody_from_an_incomplete_answer() {
    for member in ["id_token", "access_token", "session_id", "expires_in"] {
        let story = Story::start().await;
        story.says(AUTHENTICATE, 200, &without(tokens(&id_claims()), member)).await;
        let error = story.authenticate().await.unwrap_err();
        assert!(matches!(error, Error::Unexpected { status: 200, .. }), "{member}: {error:?}");
    }
    let story = Story::start().await;
    story.says(AUTHENTICATE, 200, &without(tokens(&id_claims()), "refresh_token")).await;
    assert!(story.authenticate().await.unwrap().refresh_token.is_none());
}

#[tokio::test]
async fn takes_nobody_from_tokens_that_do_not_hold() {
    let with = |member: &str, token: String| merged(tokens(&id_claims()), json!({ member: token }));
    let id = |change: Value| with("id_token", sign(&merged(id_claims(), change)));
    let access = |change: Value| with("access_token", sign(&merged(access_claims(), change)));
    let forged = |token: &str| format!("{}.{}", token.rsplit_once('.').unwrap().0, base64url(&[1; 256]));
    for (body, expected) in [
        (id(json!({"aud": "client-2"})), id_token::Error::Claim("aud")),
        (id(json!({"iss": "https://other.test"})), id_token::Error::Issuer { found: "https://other.test".into() }),
        (id(json!({"exp": NOW - 60})), id_token::Error::Expired),
        (id(json!({"sub": "client-1"})), id_token::Error::ClientToken),
        (with("id_token", sign(&access_claims())), id_token::Error::Claim("aud")),
        (with("id_token", "a.b.c.d.e".to_owned()), id_token::Error::Encrypted),
        (with("id_token", forged(&sign(&id_claims()))), id_token::Error::Signature),
        (access(json!({"sub": "client-1"})), id_token::Error::ClientToken),
        (access(json!({"sub": "user-2"})), id_token::Error::Claim("sub")),
        (with("access_token", forged(&sign(&access_claims()))), id_token::Error::Signature),
    ] {
        let story = Story::start().await;
        story.says(AUTHENTICATE, 200, &body).await;
        same(&story.authenticate().await, &Error::Token(expected.clone()), &expected.to_string());
    }
    let story = Story::start().await;
    story.says(AUTHENTICATE, 200, &with("access_token", "opaque".to_owned())).await;
    assert!(story.authenticate().await.is_ok(), "an access token that cannot be read says nothing");
}

#[tokio::test]
async fn fails_closed_without_keys() {
    let story = Story::start().await;
    story.says(AUTHENTICATE, 200, &tokens(&id_claims())).await;
    let broken = ResponseTemplate::new(500);
    Mock::given(path("/cis/oidc/jwks")).respond_with(broken).with_priority(1).mount(&story.server).await;
    same(&story.authenticate().await, &Error::ServerFault { status: 500 }, "no keys");
    same(&story.mosaic.probe().await, &Error::ServerFault { status: 500 }, "no keys");
}
