//! The reference as a table: every documented call and refusal of links, codes, sessions, users and tokens, by request,
//! status and shape of the answer.

use super::*;

const OTP_SEND: &str = "/cis/v1/auth/otp/send";
const OTP: &str = "/cis/v1/auth/otp/authenticate";
const USERS: &str = "/cis/v1/users";

/// What an answer looks like.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// No body, as with 204.
    Nothing,
    /// `{"message": text, …}` with exactly these further members.
    Message(&'static [&'static str]),
    /// The tokens of a sign-in.
    Tokens,
    /// The tokens of a refresh: all but `session_id`.
    Refreshed,
    /// `{"result": user}`
    User,
    /// `{"result": [user, …], "page_info": …, "total_count": …}`
    UserPage,
    /// `{"result": [group, …]}`
    Groups,
    /// A bare array of sessions.
    Sessions,
    /// `{"message": text, "error_code": number}`
    Numbered(&'static str),
    /// `{"message": text, "error_code": "number"}`
    Worded(&'static str),
    /// `{"message": [text, …], "error_code": number}`
    Fields,
    /// `{"error_code": symbol, "message": text}`
    Symbol(&'static str),
    /// `{"message": text, "error_code": 409, "ts_error_code": symbol}`
    Conflict,
    /// `{"error": symbol, "error_description": text}`
    OAuth(&'static str),
}

impl Shape {
    fn check(self, status: u16, body: &str) {
        if let Self::Nothing = self {
            return assert_eq!(body, "");
        }
        let json: Value = serde_json::from_str(body).expect(body);
        let is_text = |name: &str| json[name].as_str().is_some_and(|text| !text.is_empty());
        let has = |names: &[&str]| {
            let mut expected = names.to_vec();
            expected.sort_unstable();
            let mut members: Vec<&str> = json.as_object().expect(body).keys().map(String::as_str).collect();
            members.sort_unstable();
            assert_eq!(members, expected, "{body}");
        };
        const TOKENS: [&str; 5] = ["access_token", "expires_in", "id_token", "refresh_token", "token_type"];
        match self {
            Self::Nothing => {}
            Self::Message(others) => has(&[&["message"], others].concat()),
            Self::Tokens | Self::Refreshed => {
                let session: &[&str] = if matches!(self, Self::Tokens) { &["session_id"] } else { &[] };
                has(&[&TOKENS, session].concat());
                assert_eq!((&json["token_type"], &json["expires_in"]), (&json!("Bearer"), &json!(3600)));
                assert!(["access_token", "id_token", "refresh_token"].into_iter().all(is_text), "{body}");
            }
            Self::User => {
                has(&["result"]);
                for name in ["user_id", "status", "created_at", "updated_at"] {
                    assert!(!json["result"][name].is_null(), "{name} in {body}");
                }
            }
            Self::UserPage => {
                has(&["result", "page_info", "total_count"]);
                assert!(json["result"].is_array() && json["total_count"].is_u64(), "{body}");
                assert!(json["page_info"]["has_next_page"].is_boolean(), "{body}");
                assert!(json["page_info"]["has_previous_page"].is_boolean(), "{body}");
            }
            Self::Groups => {
                has(&["result"]);
                for name in ["group_id", "name", "created_at", "updated_at"] {
                    assert!(!json["result"][0][name].is_null(), "{name} in {body}");
                }
            }
            Self::Sessions => {
                for name in ["session_id", "start_time", "expiration_time"] {
                    assert!(json[0][name].is_string(), "{name} in {body}");
                }
            }
            Self::Numbered(message) => assert_eq!(json, json!({ "message": message, "error_code": status })),
            Self::Worded(message) => assert_eq!(json, json!({ "message": message, "error_code": status.to_string() })),
            Self::Fields => {
                has(&["message", "error_code"]);
                let texts = json["message"].as_array().expect(body);
                assert!(!texts.is_empty() && texts.iter().all(Value::is_string), "{body}");
                assert_eq!(json["error_code"], json!(status));
            }
            Self::Symbol(symbol) => {
                has(&["error_code", "message"]);
                assert!(is_text("message") && json["error_code"] == symbol, "{body}");
            }
            Self::Conflict => {
                has(&["message", "error_code", "ts_error_code"]);
                assert!(is_text("message") && is_text("ts_error_code") && json["error_code"] == 409, "{body}");
            }
            Self::OAuth(symbol) => {
                assert!(is_text("error_description") && json["error"] == symbol, "{body}");
            }
        }
    }
}

/// Calls and their answers, in the order in which they are made.
type Table<'a> = &'a [(&'static str, &'a str, Value, u16, Shape)];

impl World {
    async fn follow(&self, table: Table<'_>) {
        for (method, path, body, status, shape) in table {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let answer = self.call(method.parse().unwrap(), path, &body).await;
            assert_eq!(answer.status.as_u16(), *status, "{method} {path} {body} gives {}", answer.body);
            let content_type = answer.headers.get("content-type").map(http::HeaderValue::as_bytes);
            let expected = (*status != 204).then_some(&b"application/json"[..]);
            assert_eq!(content_type, expected, "{method} {path} {body}");
            shape.check(*status, &answer.body);
        }
    }

    async fn direct_code(&self, more: Value) -> Value {
        let mut call = json!({ "channel": "direct", "identifier_type": "email", "identifier": "ada@example.com" });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(OTP_SEND, &call).await.expect(200).json()
    }
}

#[tokio::test]
async fn links_are_as_in_the_reference() {
    let world = World::new().await;
    world.post(USERS, &json!({ "email": "off@example.com" })).await.expect(201);
    world.disable("off@example.com").await;
    let by =
        |kind: &str, value: &str| json!({ "identifier_type": kind, "identifier": value, "redirect_uri": REDIRECT_URI });
    let old = |address: &str| json!({ "email": address, "redirect_uri": REDIRECT_URI });
    let with = |name: &str, value: Value| {
        let mut call = by("email", "ada@example.com");
        call[name] = value;
        call
    };
    let content = json!({
        "subject": "S", "primaryColor": "#6981FF", "base64logo": "data:image/png;base64,AAAA", "headerText": "H",
        "bodyText": "B", "linkText": "L", "infoText": "I", "footerText": "F", "senderName": "N",
    });
    let wrong_uri = "redirect_uri is not one of the allowed redirect URIs configured for this app";
    let (code, other) = (world.code().await, world.code().await);
    let session = world.sign_in().await.text("session_id");
    let login = |name: &str, value: Value| {
        let mut call = json!({ "code": other });
        call[name] = value;
        call
    };
    world
        .follow(&[
            ("POST", SEND, by("email", "ada@example.com"), 200, Shape::Message(&[])),
            ("POST", SEND, old("ada@example.com"), 200, Shape::Message(&[])),
            ("POST", SEND, with("state", json!("s")), 200, Shape::Message(&[])),
            ("POST", SEND, with("email_expiration", json!(5)), 200, Shape::Message(&[])),
            ("POST", SEND, with("email_content", content), 200, Shape::Message(&[])),
            ("POST", SEND, with("client_attributes", json!({ "user_agent": "x" })), 200, Shape::Message(&[])),
            ("POST", SEND, with("channel", json!("email")), 200, Shape::Message(&[])),
            ("POST", SEND, with("channel", json!("direct")), 200, Shape::Message(&["link"])),
            ("POST", SEND, with("device_id", json!("d")), 200, Shape::Message(&[])),
            ("POST", SEND, with("generate_request_id", json!(true)), 200, Shape::Message(&["request_id"])),
            ("POST", SEND, with("redirect_uri", json!("https://evil.test/")), 400, Shape::Worded(wrong_uri)),
            ("POST", SEND, with("redirect_uri", Value::Null), 400, Shape::Fields),
            ("POST", SEND, with("email_expiration", json!(0)), 400, Shape::Fields),
            ("POST", SEND, with("email_content", json!({})), 400, Shape::Fields),
            ("POST", SEND, with("channel", json!("sms")), 400, Shape::Fields),
            ("POST", SEND, with("device_id", json!("d".repeat(81))), 400, Shape::Fields),
            ("POST", SEND, json!([]), 400, Shape::Fields),
            ("POST", SEND, old("off@example.com"), 403, Shape::Worded("User is not active")),
            ("POST", SEND, old("nobody@example.com"), 404, Shape::Worded("User not found")),
            ("POST", SEND, by("badge", "7"), 404, Shape::Worded("User not found")),
            ("POST", AUTHENTICATE, json!({ "code": code }), 200, Shape::Tokens),
            ("POST", AUTHENTICATE, json!({ "code": code }), 400, Shape::Worded("Invalid magic link code")),
            ("POST", AUTHENTICATE, json!({ "code": "x" }), 400, Shape::Worded("Invalid magic link code")),
            ("POST", AUTHENTICATE, login("session_id", json!("x")), 400, Shape::Worded("Session not found")),
            ("POST", AUTHENTICATE, login("org_id", json!("x")), 400, Shape::Worded("Organization not found")),
            ("POST", AUTHENTICATE, login("claims", json!("x")), 400, Shape::Fields),
            ("POST", AUTHENTICATE, json!({}), 400, Shape::Fields),
            ("POST", AUTHENTICATE, login("session_id", json!(session)), 200, Shape::Tokens),
        ])
        .await;
}

#[tokio::test]
async fn codes_are_as_in_the_reference() {
    let world = World::new().await;
    world.post(USERS, &json!({ "email": "off@example.com" })).await.expect(201);
    world.disable("off@example.com").await;
    world.post(USERS, &json!({ "phone_number": "+15550100100" })).await.expect(201);
    let by = |channel: &str, kind: &str, value: &str| json!({ "channel": channel, "identifier_type": kind, "identifier": value });
    let with = |name: &str, value: Value| {
        let mut call = by("email", "email", "ada@example.com");
        call[name] = value;
        call
    };
    let approved = json!({ "amount": "1" });
    world
        .follow(&[
            ("POST", OTP_SEND, by("email", "email", "ada@example.com"), 200, Shape::Message(&[])),
            ("POST", OTP_SEND, by("sms", "phone_number", "+15550100100"), 200, Shape::Message(&[])),
            ("POST", OTP_SEND, by("direct", "email", "ada@example.com"), 200, Shape::Message(&["code"])),
            ("POST", OTP_SEND, with("approval_data", approved), 200, Shape::Message(&["approval_data"])),
            ("POST", OTP_SEND, with("generate_request_id", json!(true)), 200, Shape::Message(&["request_id"])),
            ("POST", OTP_SEND, with("custom_email", json!("a@other.example")), 200, Shape::Message(&[])),
            ("POST", OTP_SEND, with("expires_in", json!(3)), 200, Shape::Message(&[])),
            ("POST", OTP_SEND, with("expires_in", json!(0)), 400, Shape::Symbol("system_invalid_input")),
            ("POST", OTP_SEND, with("channel", json!("pigeon")), 400, Shape::Symbol("system_invalid_input")),
            ("POST", OTP_SEND, json!({}), 400, Shape::Symbol("system_invalid_input")),
            ("POST", OTP_SEND, by("email", "email", "off@example.com"), 403, Shape::Symbol("user_not_active")),
            ("POST", OTP_SEND, by("email", "email", "no@example.com"), 404, Shape::Symbol("user_not_found")),
            (
                "POST",
                OTP_SEND,
                by("email", "phone_number", "+15550100100"),
                404,
                Shape::Symbol("user_email_address_missing"),
            ),
            ("POST", OTP_SEND, by("sms", "email", "ada@example.com"), 404, Shape::Symbol("user_phone_number_missing")),
        ])
        .await;

    let login = |code: &Value| json!({ "passcode": code, "identifier_type": "email", "identifier": "ada@example.com" });
    let code = world.direct_code(json!({})).await["code"].clone();
    world
        .follow(&[
            ("POST", OTP, json!({ "passcode": "1" }), 400, Shape::Symbol("system_invalid_input")),
            ("POST", OTP, login(&code), 200, Shape::Tokens),
            ("POST", OTP, login(&code), 400, Shape::Symbol("auth_invalid_credentials")),
        ])
        .await;
    let late = world.direct_code(json!({ "expires_in": 1 })).await["code"].clone();
    world.clock.advance(Duration::from_secs(60));
    world.follow(&[("POST", OTP, login(&late), 400, Shape::Symbol("auth_otp_passcode_expired"))]).await;
    let wrong = login(&json!("x"));
    world.direct_code(json!({})).await;
    for _ in 0..5 {
        world.follow(&[("POST", OTP, wrong.clone(), 400, Shape::Symbol("auth_invalid_credentials"))]).await;
    }
    world.follow(&[("POST", OTP, wrong, 403, Shape::Symbol("auth_locked"))]).await;
    let off = json!({ "passcode": "1", "identifier_type": "email", "identifier": "off@example.com" });
    world.follow(&[("POST", OTP, off, 403, Shape::Symbol("user_not_active"))]).await;
}

#[tokio::test]
async fn sessions_are_as_in_the_reference() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    let tokens = world.sign_in().await;
    let session = json!({ "session_id": tokens.text("session_id") });
    let refresh = json!({ "refresh_token": tokens.text("refresh_token") });
    let with = |name: &str, value: Value| {
        let mut call = session.clone();
        call[name] = value;
        call
    };
    let of_ada = format!("/cis/v1/auth/users/{user_id}/sessions");
    let of_nobody = "/cis/v1/auth/users/nobody/sessions";
    let claims = json!({ "id_token": { "email": null } });
    world
        .follow(&[
            ("POST", SESSION_AUTHENTICATE, session.clone(), 200, Shape::Tokens),
            ("POST", SESSION_AUTHENTICATE, with("resource", json!("https://api.example.com")), 200, Shape::Tokens),
            ("POST", SESSION_AUTHENTICATE, with("claims", claims), 200, Shape::Tokens),
            ("POST", SESSION_AUTHENTICATE, with("client_attributes", json!({})), 200, Shape::Tokens),
            ("POST", SESSION_AUTHENTICATE, with("org_id", json!("x")), 400, Shape::Worded("Organization not found")),
            ("POST", SESSION_AUTHENTICATE, json!({ "session_id": "x" }), 400, Shape::Numbered("Session not found")),
            ("POST", SESSION_AUTHENTICATE, json!({}), 400, Shape::Fields),
            ("POST", REFRESH, refresh, 200, Shape::Refreshed),
            ("POST", REFRESH, json!({ "refresh_token": "x" }), 400, Shape::Numbered("Invalid refresh token")),
            ("POST", REFRESH, json!({}), 400, Shape::Fields),
            ("GET", &of_ada, Value::Null, 200, Shape::Sessions),
            ("GET", of_nobody, Value::Null, 404, Shape::Numbered("User not found")),
            ("POST", LOGOUT, session.clone(), 204, Shape::Nothing),
            ("POST", LOGOUT, session.clone(), 400, Shape::Numbered("Session not found")),
            ("POST", SESSION_AUTHENTICATE, session.clone(), 400, Shape::Numbered("Session not found")),
            ("DELETE", &of_ada, Value::Null, 204, Shape::Nothing),
            ("DELETE", of_nobody, Value::Null, 404, Shape::Numbered("User not found")),
        ])
        .await;
}

#[tokio::test]
async fn users_are_as_in_the_reference() {
    let world = World::new().await;
    let new = json!({
        "email": "bob@example.com", "phone_number": "+15550100100", "username": "bob", "external_user_id": "7",
        "secondary_emails": ["bob@other.example"],
    });
    world.follow(&[("POST", USERS, new.clone(), 201, Shape::User)]).await;
    let bob = format!("{USERS}/{}", world.user_id("bob@example.com").await);
    let path = |rest: &str| format!("{bob}{rest}");
    let manage = bob.replace("/cis/v1/users", "/cis/v1/manage/users");
    let nobody = Shape::Numbered("User not found");
    world
        .follow(&[
            ("POST", USERS, new, 409, Shape::Conflict),
            ("POST", USERS, json!({ "email": "c@example.com", "username": "bob" }), 409, Shape::Conflict),
            ("POST", USERS, json!({}), 400, Shape::Fields),
            ("POST", USERS, json!({ "email": "bob" }), 400, Shape::Fields),
            ("GET", &bob, Value::Null, 200, Shape::User),
            ("GET", &format!("{USERS}/nobody"), Value::Null, 404, nobody),
            ("GET", &format!("{USERS}/email/bob%40example.com"), Value::Null, 200, Shape::User),
            ("GET", &format!("{USERS}/email/no@example.com"), Value::Null, 404, nobody),
            ("GET", &format!("{USERS}/phone-number/%2B15550100100"), Value::Null, 200, Shape::User),
            ("GET", &format!("{USERS}/phone-number/1"), Value::Null, 404, nobody),
            ("GET", &format!("{USERS}/username/bob"), Value::Null, 200, Shape::User),
            ("GET", &format!("{USERS}/username/eve"), Value::Null, 404, nobody),
            ("GET", &format!("{USERS}/external-user-id/7"), Value::Null, 200, Shape::User),
            ("GET", &format!("{USERS}/external-user-id/8"), Value::Null, 404, nobody),
            (
                "GET",
                &format!("{USERS}/identifier?identifier_name=username&identifier_value=bob"),
                Value::Null,
                200,
                Shape::User,
            ),
            ("GET", &format!("{USERS}/identifier"), Value::Null, 400, Shape::Fields),
            ("GET", USERS, Value::Null, 200, Shape::UserPage),
            ("GET", &format!("{USERS}?page_limit=5000&page_offset=1"), Value::Null, 200, Shape::UserPage),
            ("GET", &format!("{USERS}?page_limit=5001"), Value::Null, 400, Shape::Fields),
            ("PUT", &bob, json!({ "status": "Active", "language": "de" }), 200, Shape::User),
            ("PUT", &bob, json!({ "status": "Gone" }), 400, Shape::Fields),
            ("PUT", &bob, json!({ "email": "ada@example.com" }), 409, Shape::Conflict),
            ("PUT", &format!("{USERS}/nobody"), json!({}), 404, nobody),
            ("POST", &path("/emails/bob@other.example/verify"), json!({}), 202, Shape::User),
            ("POST", &path("/emails/x@other.example/verify"), json!({}), 404, Shape::Numbered("Email not found")),
            (
                "GET",
                &format!("{USERS}/{}/groups", world.user_id("ada@example.com").await),
                Value::Null,
                200,
                Shape::Groups,
            ),
            ("GET", &format!("{USERS}/nobody/groups"), Value::Null, 404, nobody),
            ("DELETE", &manage, Value::Null, 403, Shape::Numbered("Forbidden")),
            ("DELETE", &path("/apps"), Value::Null, 204, Shape::Nothing),
            ("DELETE", &path("/apps"), Value::Null, 404, nobody),
        ])
        .await;
    let manager = world.another_client(json!({ "management": true })).await;
    manager
        .follow(&[("DELETE", &manage, Value::Null, 204, Shape::Nothing), ("DELETE", &manage, Value::Null, 404, nobody)])
        .await;
}

#[tokio::test]
async fn tokens_and_what_every_call_may_answer_are_as_in_the_reference() {
    let world = World::new().await;
    for path in ["/oidc/token", "/cis/oidc/token"] {
        let credentials = format!("client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}");
        let token = world.form(path, &format!("grant_type=client_credentials&{credentials}")).await.expect(200);
        let mut members: Vec<String> = token.json().as_object().unwrap().keys().cloned().collect();
        members.sort_unstable();
        assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
        for (form, status, error) in [
            ("grant_type=client_credentials&client_id=gate&client_secret=wrong".to_owned(), 401, "invalid_client"),
            (format!("grant_type=magic&{credentials}"), 400, "unsupported_grant_type"),
            (credentials.clone(), 400, "invalid_request"),
        ] {
            let answer = world.form(path, &form).await.expect(status);
            Shape::OAuth(error).check(status, &answer.body);
        }
    }
    let keys = world.get("/cis/oidc/jwks").await.expect(200).json();
    for name in ["kty", "use", "kid", "alg", "e", "n"] {
        assert!(keys["keys"][0][name].is_string(), "{name}");
    }
    let header = jsonwebtoken::decode_header(&world.bearer).unwrap();
    assert_eq!(header.kid.as_deref(), keys["keys"][0]["kid"].as_str());

    let stranger = run(world.issuer.api(), Method::GET, USERS, &[("authorization", "Bearer x")], "").await.expect(401);
    Shape::Numbered("Invalid token").check(401, &stranger.body);
    world
        .follow(&[
            ("GET", "/cis/v1/nothing", Value::Null, 404, Shape::Numbered("Not found")),
            ("DELETE", SEND, Value::Null, 405, Shape::Numbered("Method not allowed")),
            ("POST", LOGOUT, json!({ "x": "y".repeat(70_000) }), 413, Shape::Numbered("The body cannot be read")),
            ("POST", LOGOUT, json!("x"), 400, Shape::Fields),
        ])
        .await;
}
