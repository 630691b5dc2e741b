//! One-time codes on the wire, and what the calls say beyond what they must.

use linkgate::identity::{ClaimPath, IdentifierKind};
use linkgate::mosaic::{ClaimsRequest, SendCode};

use super::*;

const CODE_SEND: &str = "/cis/v1/auth/otp/send";
const CODE_AUTHENTICATE: &str = "/cis/v1/auth/otp/authenticate";

fn read(kind: &str, text: &str) -> Identifier {
    IdentifierKind::try_from(kind.to_owned()).unwrap().read(text).unwrap()
}

async fn send_code(story: &Story, identifier: &Identifier) -> Result<Sent, Error> {
    let content = EmailContent { subject: "Code".to_owned(), ..EmailContent::default() };
    let (lifetime, device) = (Duration::from_secs(300), Device::default());
    story.mosaic.send_code(&SendCode { identifier, lifetime, device, email_content: Some(&content) }).await
}

#[tokio::test]
async fn a_code_goes_by_mail_or_to_a_phone_and_never_with_what_is_not_documented() {
    let story = Story::start().await;
    story.says(CODE_SEND, 200, &json!({ "message": "OTP sent" })).await;
    let content = json!({ "subject": "Code" });
    for (identifier, expected) in [
        (
            read("email", "ada@example.com"),
            json!({ "identifier": "ada@example.com", "identifier_type": "email", "channel": "email", "expires_in": 5,
                "email_content": content }),
        ),
        (
            read("phone_number", "+1 202 555 0123"),
            json!({ "identifier": "+12025550123", "identifier_type": "phone_number", "channel": "sms", "expires_in": 5 }),
        ),
        (
            read("member_id", "A/17"),
            json!({ "identifier": "A/17", "identifier_type": "member_id", "channel": "email", "expires_in": 5,
                "email_content": content }),
        ),
    ] {
        assert!(send_code(&story, &identifier).await.unwrap().request_id.is_none());
        let request = story.requests(CODE_SEND).await.pop().unwrap();
        assert_eq!(json_body(&request), expected);
    }
}

#[tokio::test]
async fn refusals_of_a_send_are_told_apart() {
    for (status, symbol, expected) in [
        (404, "user_not_found", Error::UserNotFound),
        (403, "user_not_active", Error::UserNotActive),
        (404, "user_email_address_missing", Error::NoAddress),
        (404, "user_phone_number_missing", Error::NoAddress),
        (403, "auth_login_preferences_missing", Error::CodesNotSetUp),
        (404, "auth_login_preferences_missing", Error::CodesNotSetUp),
        (400, "external_provider_configuration_error", Error::CodesNotSetUp),
    ] {
        let story = Story::start().await;
        story.says(CODE_SEND, status, &json!({ "error_code": symbol, "message": "x" })).await;
        same(&send_code(&story, &read("email", "ada@example.com")).await, &expected, symbol);
        assert_eq!(story.requests(CODE_SEND).await.len(), 1);
    }
}

#[tokio::test]
async fn refusals_of_a_code_are_told_apart() {
    for (status, symbol, expected) in [
        (400, "auth_invalid_credentials", Error::WrongCode),
        (400, "system_invalid_input", Error::WrongCode),
        (400, "auth_otp_passcode_expired", Error::CodeExpired),
        (403, "auth_locked", Error::Locked),
        (403, "user_not_active", Error::UserNotActive),
        (404, "user_not_found", Error::UserNotFound),
    ] {
        let story = Story::start().await;
        story.says(CODE_AUTHENTICATE, status, &json!({ "error_code": symbol, "message": "x" })).await;
        let identifier = read("email", "ada@example.com");
        let found = story.mosaic.authenticate_code(&identifier, "123456", &Login::default()).await;
        same(&found, &expected, symbol);
    }
}

#[tokio::test]
async fn a_login_says_what_the_operator_and_the_visitor_set() {
    let server = Story::start().await;
    let paths = ["custom_data.team", "organization"].map(|path| ClaimPath::try_from(path.to_owned()).unwrap());
    let wording = Wording {
        claims: ClaimsRequest::new(&paths),
        resource: Some("https://api.test".to_owned()),
        request_ids: true,
        legacy_email: true,
        ..Wording::default()
    };
    let (base, patience) = (server.server.uri(), Duration::from_secs(10));
    let mosaic = worded(&base, &base, &server.clock, patience, wording);
    let story = Story { mosaic, ..server };
    story.says(SEND, 200, &json!({ "message": "Email sent successfully", "request_id": "request-1" })).await;
    let sent = story.send().await.unwrap();
    assert_eq!(sent.request_id.as_ref().unwrap().expose(), "request-1");
    let request = json_body(&story.requests(SEND).await[0]);
    assert_eq!((&request["email"], &request["generate_request_id"]), (&json!("ada@example.com"), &json!(true)));
    assert!(request.get("identifier").is_none() && request.get("identifier_type").is_none());

    let claims = merged(id_claims(), json!({ "organization": "org-1" }));
    let access = merged(access_claims(), json!({ "aud": "https://api.test" }));
    let answer = merged(tokens(&claims), json!({ "access_token": sign(&access) }));
    story.says(AUTHENTICATE, 200, &answer).await;
    story.says(CODE_AUTHENTICATE, 200, &answer).await;
    story.says(SILENT, 200, &answer).await;
    let login = Login {
        device: Device { user_agent: Some("B"), address: None, id: Some("device-1"), language: None },
        organization: Some("org-1"),
        session_id: Some("session-9"),
        request_id: Some("request-1"),
    };
    let found = story.mosaic.authenticate_magic_link("code-1", &login).await.unwrap();
    assert_eq!(found.identity.organization.as_deref(), Some("org-1"));
    let identifier = Identifier::Email(ada());
    story.mosaic.authenticate_code(&identifier, "123456", &login).await.unwrap();
    story.mosaic.authenticate_session("session-9", Some("org-1")).await.unwrap();

    let asked = json!({ "id_token": {
        "email": null, "email_verified": null, "groups": null, "roles": null, "role_values": null,
        "fname": null, "lname": null, "username": null, "organization": null, "custom_data": { "fields": ["team"] },
    } });
    let usual = json!({ "claims": asked, "resource": "https://api.test", "org_id": "org-1" });
    let proof = json!({
        "client_attributes": { "user_agent": "B" }, "session_id": "session-9", "device_id": "device-1",
        "request_id": "request-1",
    });
    let full = merged(usual.clone(), proof);
    let body = async |path: &str| json_body(&story.requests(path).await[0]);
    assert_eq!(body(AUTHENTICATE).await, merged(full.clone(), json!({ "code": "code-1" })));
    let code = json!({ "passcode": "123456", "identifier": "ada@example.com", "identifier_type": "email" });
    assert_eq!(body(CODE_AUTHENTICATE).await, merged(full, code));
    assert_eq!(body(SILENT).await, merged(usual, json!({ "session_id": "session-9" })));
}

#[tokio::test]
async fn a_login_to_another_organisation_is_refused() {
    for organization in [json!("org-2"), Value::Null] {
        let story = Story::start().await;
        let claims = merged(id_claims(), json!({ "organization": organization }));
        story.says(AUTHENTICATE, 200, &tokens(&claims)).await;
        story.answers("POST", LOGOUT, ResponseTemplate::new(204)).await;
        let login = Login { organization: Some("org-1"), ..Login::default() };
        let found = story.mosaic.authenticate_magic_link("code-1", &login).await;
        same(&found, &Error::Token(id_token::Error::Claim("organization")), "another organisation");
        assert_eq!(story.requests(LOGOUT).await.len(), 1);
    }
}

#[tokio::test]
async fn users_and_sessions_are_listed_and_removed() {
    let story = Story::start().await;
    let user = |id: &str| json!({ "user_id": id, "status": "Active" });
    let page = json!({
        "result": [user("user-1"), user("user-2")], "total_count": 7,
        "page_info": { "has_next_page": true, "has_previous_page": false },
    });
    story.answers("GET", "/cis/v1/users", ResponseTemplate::new(200).set_body_json(page)).await;
    let found = story.mosaic.users(4, 2).await.unwrap();
    assert_eq!((found.users.len(), found.has_next, found.total), (2, true, Some(7)));
    let [request] = &story.requests("/cis/v1/users").await[..] else { panic!("one request") };
    assert_eq!(request.url.query(), Some("page_offset=4&page_limit=2"));

    let of_user = "/cis/v1/auth/users/user-1/sessions";
    let sessions = json!([{ "session_id": "s1", "start_time": "2026-01-01T00:00:00Z", "expiration_time": null }]);
    story.answers("GET", of_user, ResponseTemplate::new(200).set_body_json(sessions)).await;
    let found = story.mosaic.sessions_of(&subject("user-1")).await.unwrap();
    assert_eq!((found[0].session_id.expose().as_str(), &found[0].expiration_time), ("s1", &None));

    story.answers("DELETE", "/cis/v1/users/user-1/apps", ResponseTemplate::new(204)).await;
    story.mosaic.remove_user(&subject("user-1")).await.unwrap();
    let missing = json!({ "message": "User not found", "error_code": 404 });
    story.answers("DELETE", "/cis/v1/users/user-2/apps", ResponseTemplate::new(404).set_body_json(missing)).await;
    same(&story.mosaic.remove_user(&subject("user-2")).await, &Error::UserNotFound, "gone");
}
