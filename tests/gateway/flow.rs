//! What passes between the gateway and Mosaic when somebody signs in, and what keeps somebody out.

use http::StatusCode;
use linkgate::secret::base64url;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::harness::{Answer, Gate, Visitor};
use crate::mosaic::{merged, sign, without};
use crate::stand_in::{
    ADA, AUTHENTICATE, CLIENT_SECRET, CODE, Call, HOST, JWT, LOGOUT, REFRESH_TOKEN, SEND, SESSION, SILENT, StandIn,
    TOKEN, USERS, assert_signed_out, refusal, visitor,
};

const BEARER: &str = "Bearer the-token-of-the-client";
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn calls(stand_in: &StandIn) -> Vec<Call> {
    stand_in.calls().into_iter().filter(|call| call.line.contains(" /cis/v1/")).collect()
}

fn call(path: &str, body: &Value) -> (String, String, Value) {
    (format!("POST {path}"), BEARER.to_owned(), body.clone())
}

async fn sign_out(visitor: &mut Visitor) -> Answer {
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosaic_is_asked_exactly_this_and_its_secrets_stay_inside() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut visitor = visitor(&gate);
    let mut shown = vec![visitor.ask_for_link("Ada@Example.com", "/wanted").await];
    shown.push(visitor.open("/.linkgate/sign-in/sent").await);
    let callback = stand_in.callback(&gate).await;
    shown.push(visitor.open(&callback).await);
    assert_eq!(shown[2].location(), "/wanted");
    shown.push(visitor.open("/wanted").await);
    shown.push(visitor.open("/.linkgate/session").await);
    stand_in.clock.advance(std::time::Duration::from_secs(3400));
    shown.push(visitor.open("/wanted").await);
    gate.running.settle().await;
    shown.push(sign_out(&mut visitor).await);
    assert_eq!(shown[6].location(), "/.linkgate/signed-out");
    gate.running.settle().await;

    let token = stand_in.calls_to(TOKEN).swap_remove(0);
    assert_eq!((&*token.authorization, &*token.content_type), ("", "application/x-www-form-urlencoded"));
    assert_eq!(token.body, format!("grant_type=client_credentials&client_id=client-1&client_secret={CLIENT_SECRET}"));

    let state = callback.split_once("state=").unwrap().1;
    let claims = json!({"id_token": {
        "email": null, "email_verified": null, "groups": null, "roles": null, "role_values": null,
        "fname": null, "lname": null, "username": null,
    }});
    let attributes = json!({ "user_agent": USER_AGENT, "ip_address": "127.0.0.1" });
    let expected = [
        call(
            SEND,
            &json!({
                "identifier": ADA, "identifier_type": "email", "state": state, "email_expiration": 10,
                "redirect_uri": format!("https://{HOST}/.linkgate/callback"), "client_attributes": attributes,
                "email_content": {
                    "subject": "Sign in to app.example.test (08:00 UTC)", "senderName": HOST, "linkText": "Sign in",
                    "headerText": "Sign in to app.example.test", "primaryColor": "#2f6f4f",
                    "bodyText": "Works once, until 08:10 (UTC), in the browser where you asked.",
                    "infoText": "Asked at 08:00 (UTC) with Firefox on Linux, from 127.0.0.1. Didn't ask? You can ignore \
                        this email. Nobody can use the link without the browser that asked. Please don't forward this \
                        email.",
                    "footerText": "app.example.test sent this email because somebody asked to sign in.",
                },
            }),
        ),
        call(AUTHENTICATE, &json!({ "code": CODE, "claims": claims, "client_attributes": attributes })),
        call(SILENT, &json!({ "session_id": SESSION, "claims": claims })),
        call(LOGOUT, &json!({ "session_id": SESSION })),
    ];
    let asked = calls(&stand_in).into_iter().map(|call| (call.line.clone(), call.authorization.clone(), call.json()));
    assert_eq!(asked.collect::<Vec<_>>(), expected);

    let forwarded = gate.recorder.requests().into_iter().map(|request| request.head);
    let seen: String = shown.iter().map(|answer| format!("{answer:?}")).chain(forwarded).collect();
    for secret in [CODE, state, SESSION, REFRESH_TOKEN, CLIENT_SECRET, "the-token-of-the-client", JWT] {
        assert!(!seen.contains(secret), "{secret} is in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_hold_sign_nobody_in_and_end_what_mosaic_began() {
    let stand_in = StandIn::start().await;
    let id = |change: Value| json!({ "id_token": sign(&merged(stand_in.id_claims(), change)) });
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let without_signature = |algorithm: &str| {
        let header = json!({ "alg": algorithm, "kid": "k1" });
        json!({ "id_token": format!("{}.{}.", part(&header), part(&stand_in.id_claims())) })
    };
    let now = stand_in.clock.now().unix_seconds();
    for (about, change) in [
        ("another address", id(json!({ "email": "eve@example.com" }))),
        ("an address that is not proven", id(json!({ "email_verified": false }))),
        ("another client's", id(json!({ "aud": "client-2" }))),
        ("another issuer's", id(json!({ "iss": "https://evil.test" }))),
        ("expired", id(json!({ "exp": now - 61 }))),
        ("a client's", id(json!({ "sub": "client-1" }))),
        ("without a tenant", json!({ "id_token": sign(&without(stand_in.id_claims(), "tid")) })),
        ("without an algorithm", without_signature("none")),
        ("with a symmetric algorithm", without_signature("HS256")),
        ("an access token in the place of the ID token", json!({ "id_token": sign(&stand_in.access_claims()) })),
        ("no ID token", json!({ "id_token": null })),
        (
            "another user's access token",
            json!({ "access_token": sign(&merged(stand_in.access_claims(), json!({ "sub": "user-2" }))) }),
        ),
    ] {
        let gate = stand_in.gate().await;
        let (mut visitor, callback) = stand_in.asked(&gate).await;
        let ended = stand_in.count(LOGOUT);
        stand_in.answer(AUTHENTICATE, stand_in.tokens(change));
        let refused = visitor.open(&callback).await;
        assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{about}: {refused:?}");
        assert!(!refused.gives_session() && visitor.session_cookie().is_empty(), "{about}");
        assert_signed_out(&visitor.open("/").await);
        gate.running.settle().await;
        assert_eq!(stand_in.calls_to(LOGOUT)[ended..].len(), 1, "{about}");
        assert_eq!(stand_in.calls_to(LOGOUT)[ended].json(), json!({ "session_id": SESSION }), "{about}");
        // Nor does the link work once Mosaic gives the right tokens: one guess is all there is.
        stand_in.recover(AUTHENTICATE);
        assert!(!visitor.open(&callback).await.gives_session(), "{about}");
        assert!(gate.recorder.requests().is_empty(), "{about}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_was_narrowed_holds_for_links_and_sessions_of_before() {
    let stand_in = StandIn::start().await;
    let store = stand_in.memory();
    let gate = stand_in.gate_on(store.clone(), |configuration| configuration).await;
    let mut before = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(std::time::Duration::from_secs(30));
    let (mut late, callback) = stand_in.asked(&gate).await;

    let narrow = |configuration: String| format!("{configuration}\n[sign_in]\nallow = [\"@other.test\"]\n");
    let gate: Gate = stand_in.gate_on(store, narrow).await;
    (before.address, late.address) = (gate.running.address, gate.running.address);
    assert_signed_out(&before.open("/").await);
    let refused = late.open(&callback).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert!(!refused.gives_session());
    assert_signed_out(&late.open("/").await);
    gate.running.settle().await;
    assert_eq!(stand_in.count(LOGOUT), 1, "the sign-in that was refused ends at Mosaic too");
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_made_where_sign_up_is_switched_on_for_the_address_and_nowhere_else() {
    let (send, create) = (format!("POST {SEND}"), format!("POST {USERS}"));
    for (sign_up, expected) in [
        ("", vec![send.clone()]),
        ("[sign_up]\nallow = [\"@other.test\"]\n", vec![send.clone()]),
        // Mosaic may not find a user at once whom it has just made.
        ("[sign_up]\nallow = [\"@example.com\"]\n", vec![send.clone(), create, send.clone(), send.clone()]),
    ] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + sign_up).await;
        stand_in.answer_next(SEND, refusal(404, "User not found"));
        stand_in.answer_next(SEND, refusal(404, "User not found"));
        stand_in.answer(USERS, ResponseTemplate::new(201).set_body_json(json!({ "result": {} })));
        let sent = visitor(&gate).ask_for_link(ADA, "/").await;
        assert_eq!(sent.location(), "/.linkgate/sign-in/sent");
        gate.running.settle().await;
        let lines: Vec<_> = calls(&stand_in).into_iter().map(|call| call.line).collect();
        assert_eq!(lines, expected, "{sign_up}");
    }
}
