//! The typed one-time code beside the link, before Mosaic: asking for it, typing it, and every way in which that fails.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::harness::{Answer, Gate, Visitor};
use crate::stand_in::{
    ADA, AUTHENTICATE, CODE_AUTHENTICATE, CODE_SEND, HOST, LOGOUT, SEND, SESSION, StandIn, USERS, visitor,
};

const CODE: &str = "/.linkgate/sign-in/code";
const WAITING: &str = "/.linkgate/sign-in/sent";
const PHONE: &str = "+12025550123";

/// An answer of the one-time-code calls, in their own shape.
fn symbol(status: u16, symbol: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "error_code": symbol, "message": "x" }))
}

async fn ask_for_code(visitor: &mut Visitor) -> Answer {
    let csrf = visitor.open(WAITING).await.field("csrf");
    visitor.post(CODE, &[("csrf", &csrf), ("send", "1")]).await
}

async fn enter(visitor: &mut Visitor, code: &str) -> Answer {
    let csrf = visitor.open(WAITING).await.field("csrf");
    visitor.post(CODE, &[("csrf", &csrf), ("code", code)]).await
}

/// Ada on the waiting page, with a code on its way.
async fn waiting(stand_in: &StandIn, gate: &Gate) -> Visitor {
    let (mut visitor, _) = stand_in.asked(gate).await;
    assert_eq!(ask_for_code(&mut visitor).await.location(), WAITING);
    gate.running.settle().await;
    visitor
}

fn only(stand_in: &StandIn, path: &str) -> Value {
    let calls = stand_in.calls_to(path);
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0].json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_asked_for_on_the_waiting_page_and_signs_in() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let (mut visitor, callback) = stand_in.asked(&gate).await;
    let page = visitor.open(WAITING).await;
    assert!(page.body.contains("Email me a code") && !page.body.contains("id=\"code\""), "{}", page.body);
    assert_eq!(ask_for_code(&mut visitor).await.location(), WAITING);
    gate.running.settle().await;

    let sent = only(&stand_in, CODE_SEND);
    let (identifier, kind) = (sent["identifier"].as_str(), sent["identifier_type"].as_str());
    assert_eq!((identifier, kind, sent["channel"].as_str()), (Some(ADA), Some("email"), Some("email")));
    assert_eq!((&sent["expires_in"], &sent["client_attributes"]["ip_address"]), (&json!(10), &json!("127.0.0.1")));
    assert_eq!(sent["email_content"]["subject"], format!("Your code for {HOST} (08:00 UTC)"));
    assert_eq!(sent.as_object().unwrap().len(), 6, "{sent}");
    let page = visitor.open(WAITING).await;
    assert!(page.body.contains("id=\"code\"") && page.body.contains("autocomplete=\"one-time-code\""));

    let landed = enter(&mut visitor, " 123 456 ").await;
    assert_eq!((landed.location(), landed.gives_session()), ("/wanted", true));
    let login = only(&stand_in, CODE_AUTHENTICATE);
    assert_eq!((&login["passcode"], &login["identifier"]), (&json!("123456"), &json!(ADA)));
    assert_eq!((&login["identifier_type"], &login["claims"]["id_token"]["email"]), (&json!("email"), &Value::Null));
    assert_eq!(login.as_object().unwrap().len(), 5, "{login}");
    assert!(visitor.is_known_as(&gate, Some(ADA)).await);
    // The link of the same attempt leads on, and spends nothing.
    assert_eq!(visitor.open(&callback).await.location(), "/");
    assert_eq!(stand_in.count(AUTHENTICATE), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_expired_and_locked_codes_each_have_their_page() {
    let stand_in = StandIn::start().await;
    // This story is about Mosaic's answers, not about the gateway's own limit.
    let patient = "[sign_in]\ncode_tries = 50\n";
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + patient).await;
    let mut visitor = waiting(&stand_in, &gate).await;
    for (answer, status, heading, error) in [
        (symbol(400, "auth_invalid_credentials"), 422, "Check your email", "wrong_code"),
        (symbol(400, "system_invalid_input"), 422, "Check your email", "wrong_code"),
        (symbol(400, "auth_otp_passcode_expired"), 410, "This code has expired", "code_expired"),
        (symbol(403, "auth_locked"), 429, "Too many wrong codes", "code_locked"),
    ] {
        stand_in.answer_next(CODE_AUTHENTICATE, answer.clone());
        let page = enter(&mut visitor, "123456").await;
        assert_eq!((page.status.as_u16(), page.heading(), page.gives_session()), (status, heading, false), "{error}");
        stand_in.answer_next(CODE_AUTHENTICATE, answer);
        let csrf = visitor.open(WAITING).await.field("csrf");
        let mut program = visitor.program();
        let said = program.post(CODE, &[("csrf", &csrf), ("code", "123456")]).await;
        assert_eq!((said.status.as_u16(), &said.json()["error"]), (status, &json!(error)));
    }
    // A code is still good after all that.
    assert!(enter(&mut visitor, "123456").await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_few_tries_nothing_is_compared_any_more_whoever_it_is() {
    for address in [ADA, "nobody@example.com"] {
        let stand_in = StandIn::start().await;
        let gate = stand_in.gate().await;
        if address != ADA {
            stand_in.refuse(SEND, 404, "User not found");
            stand_in.answer(CODE_SEND, symbol(404, "user_not_found"));
            stand_in.answer(CODE_AUTHENTICATE, symbol(404, "user_not_found"));
        } else {
            stand_in.answer(CODE_AUTHENTICATE, symbol(400, "auth_invalid_credentials"));
        }
        let mut visitor = visitor(&gate);
        visitor.ask_for_link(address, "/").await;
        assert_eq!(ask_for_code(&mut visitor).await.location(), WAITING);
        gate.running.settle().await;
        for _ in 0..5 {
            let page = enter(&mut visitor, "000000").await;
            assert_eq!((page.status, page.heading()), (StatusCode::UNPROCESSABLE_ENTITY, "Check your email"));
        }
        // In another browser too: the account is what is counted.
        for mut visitor in [visitor.clone(), {
            let mut other = crate::stand_in::visitor(&gate);
            gate.clock.advance(Duration::from_secs(30));
            other.ask_for_link(address, "/").await;
            other
        }] {
            let page = enter(&mut visitor, "000000").await;
            assert_eq!((page.status, page.heading()), (StatusCode::TOO_MANY_REQUESTS, "Too many wrong codes"));
            assert_eq!(page.header("retry-after"), "870");
        }
        assert_eq!(stand_in.count(CODE_AUTHENTICATE), 5);
        gate.clock.advance(Duration::from_secs(870));
        let csrf = visitor.open("/.linkgate/sign-in").await.field("csrf");
        let late = visitor.post(CODE, &[("csrf", &csrf), ("code", "000000")]).await;
        assert_eq!((late.status, late.heading()), (StatusCode::GONE, "This code has expired"), "the attempt is over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_cannot_be_one_is_counted_and_not_sent_on() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut visitor = waiting(&stand_in, &gate).await;
    for typed in ["", "12", "12345678901", "12345a", "１２３４５６"] {
        let page = enter(&mut visitor, typed).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        assert!(page.body.contains("aria-invalid=\"true\"") && page.body.contains("<title>Error: "), "{}", page.body);
    }
    assert_eq!(enter(&mut visitor, "123456").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(stand_in.count(CODE_AUTHENTICATE), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_works_in_the_browser_that_asked_by_a_form_of_its_own_page_only() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut ada = waiting(&stand_in, &gate).await;
    let csrf = ada.open(WAITING).await.field("csrf");
    let mut stranger = visitor(&gate);
    let refused = stranger.post(CODE, &[("csrf", &csrf), ("code", "123456")]).await;
    assert_eq!((refused.status, refused.heading()), (StatusCode::FORBIDDEN, "Your browser isn't keeping our cookie"));
    let own = stranger.open("/.linkgate/sign-in").await.field("csrf");
    assert_eq!(stranger.post(CODE, &[("csrf", &own), ("code", "123456")]).await.location(), "/.linkgate/sign-in");
    assert_eq!(ada.post(CODE, &[("csrf", &own), ("code", "123456")]).await.status, StatusCode::FORBIDDEN);
    let form = format!("csrf={csrf}&code=123456");
    let fields = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.test")];
    assert_eq!(ada.send(http::Method::POST, CODE, &fields, &form).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ada.open(CODE).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stand_in.count(CODE_AUTHENTICATE), 0);
    assert!(enter(&mut ada, "123456").await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_another_user_signs_nobody_in() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut visitor = waiting(&stand_in, &gate).await;
    stand_in.claim(json!({ "sub": "user-2", "email": "eve@example.com" }));
    let refused = enter(&mut visitor, "123456").await;
    assert_eq!((refused.status, refused.gives_session()), (StatusCode::BAD_GATEWAY, false));
    gate.running.settle().await;
    assert_eq!(only(&stand_in, LOGOUT), json!({ "session_id": SESSION }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_keeps_the_attempt_and_codes_that_are_not_set_up_show_in_the_log_alone() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let (mut visitor, _) = stand_in.asked(&gate).await;
    stand_in.answer_next(CODE_SEND, symbol(403, "auth_login_preferences_missing"));
    assert_eq!(ask_for_code(&mut visitor).await.location(), WAITING);
    assert_eq!(gate.counted("failed").await, 1);
    stand_in.answer_next(CODE_AUTHENTICATE, ResponseTemplate::new(503));
    let unavailable = enter(&mut visitor, "123456").await;
    assert_eq!(
        (unavailable.status, unavailable.heading()),
        (StatusCode::SERVICE_UNAVAILABLE, "Sign-in is not available just now")
    );
    stand_in.clock.advance(Duration::from_secs(60));
    gate.ready().await;
    assert!(enter(&mut visitor, "123456").await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_belongs_to_the_attempt_that_asked_for_it() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut ada = waiting(&stand_in, &gate).await;
    // Somebody else asks for a link to her address, and hears of the code that she was sent.
    gate.clock.advance(Duration::from_secs(30));
    let mut eve = visitor(&gate);
    eve.ask_for_link(ADA, "/").await;
    gate.running.settle().await;
    assert_eq!(enter(&mut eve, "123456").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stand_in.count(CODE_AUTHENTICATE), 0);
    assert!(enter(&mut ada, "123456").await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_can_be_switched_off() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + "[sign_in]\ncodes = false\n").await;
    let (mut visitor, _) = stand_in.asked(&gate).await;
    let page = visitor.open(WAITING).await;
    assert!(!page.body.contains("Enter a code instead"));
    let csrf = page.field("csrf");
    assert_eq!(visitor.post(CODE, &[("csrf", &csrf), ("code", "123456")]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stand_in.count(CODE_AUTHENTICATE), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_and_code_at_the_same_moment_make_one_session() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let (mut visitor, callback) = stand_in.asked(&gate).await;
    ask_for_code(&mut visitor).await;
    gate.running.settle().await;
    let mut typing = visitor.clone();
    let (followed, typed) = tokio::join!(visitor.open(&callback), enter(&mut typing, "123456"));
    assert_eq!([&followed, &typed].iter().filter(|answer| answer.gives_session()).count(), 1, "{followed:?} {typed:?}");
    gate.running.settle().await;
    let begun = stand_in.count(AUTHENTICATE) + stand_in.count(CODE_AUTHENTICATE);
    assert_eq!(stand_in.count(LOGOUT), begun - 1, "what the other began at Mosaic is ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_number_gets_its_code_by_text_message_and_its_user_is_who_must_come_back() {
    let stand_in = StandIn::start().await;
    let identifier = "[sign_in]\nidentifier = \"phone_number\"\n";
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + identifier).await;
    let record = json!({ "result": {
        "user_id": "user-1", "status": "Active", "phone_number": { "value": PHONE, "phone_number_verified": true },
    } });
    stand_in.answer("/cis/v1/users/phone-number/%2B12025550123", ResponseTemplate::new(200).set_body_json(&record));
    stand_in.answer("/cis/v1/users/user-1", ResponseTemplate::new(200).set_body_json(&record));
    stand_in.claim(json!({ "email": null, "email_verified": null, "phone_number": PHONE }));

    let mut visitor = visitor(&gate);
    let page = visitor.open("/.linkgate/sign-in").await;
    assert!(page.body.contains(">Phone number</label>") && page.body.contains("type=\"tel\""), "{}", page.body);
    let refused = visitor.post("/.linkgate/sign-in", &[("email", "202 555"), ("csrf", &page.field("csrf"))]).await;
    assert!(refused.body.contains("complete phone number") && refused.status == StatusCode::UNPROCESSABLE_ENTITY);

    assert_eq!(visitor.ask_for_link("+1 (202) 555-0123", "/wanted").await.location(), WAITING);
    gate.running.settle().await;
    let link = only(&stand_in, SEND);
    assert_eq!((&link["identifier"], &link["identifier_type"]), (&json!(PHONE), &json!("phone_number")));
    assert!(visitor.open(WAITING).await.body.contains("Text me a code"));
    ask_for_code(&mut visitor).await;
    gate.running.settle().await;
    let code = only(&stand_in, CODE_SEND);
    assert_eq!((&code["channel"], &code["identifier_type"]), (&json!("sms"), &json!("phone_number")));
    assert!(code.get("email_content").is_none(), "{code}");

    let landed = enter(&mut visitor, "123456").await;
    assert_eq!((landed.location(), landed.gives_session()), ("/wanted", true));
    let login = only(&stand_in, CODE_AUTHENTICATE);
    assert_eq!(login["claims"]["id_token"]["phone_number"], Value::Null);
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    assert_eq!(gate.recorder.last().values("x-forwarded-user"), ["user-1"]);
    assert!(stand_in.count(USERS) == 0, "nobody is made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_name_that_is_no_address_only_the_user_it_belonged_to_gets_in() {
    for (identifier, typed, look_up) in [
        ("username", "ada", "/cis/v1/users/username/ada"),
        ("user_id", "user-1", "/cis/v1/users/user-1"),
        ("member_id", "A/17", "/cis/v1/users/identifier"),
    ] {
        let stand_in = StandIn::start().await;
        let setting = format!("[sign_in]\nidentifier = \"{identifier}\"\nlabel = \"Member\"\n");
        let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + &setting).await;
        let record = json!({ "result": { "user_id": "user-1", "status": "Active" } });
        stand_in.answer(look_up, ResponseTemplate::new(200).set_body_json(&record));
        let mut visitor = visitor(&gate);
        assert!(visitor.open("/.linkgate/sign-in").await.body.contains(">Member</label>"));
        for (subject, gets_in) in [("user-2", false), ("user-1", true)] {
            visitor.ask_for_link(typed, "/").await;
            let callback = stand_in.callback(&gate).await;
            let sent = stand_in.calls_to(SEND).pop().unwrap().json();
            assert_eq!((&sent["identifier"], &sent["identifier_type"]), (&json!(typed), &json!(identifier)));
            stand_in.claim(json!({ "sub": subject }));
            let landed = visitor.open(&callback).await;
            assert_eq!(landed.gives_session(), gets_in, "{identifier} {subject}");
            gate.clock.advance(Duration::from_secs(30));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_another_form_is_refused_on_the_page() {
    let stand_in = StandIn::start().await;
    let setting = "[sign_in]\nidentifier = \"member_id\"\npattern = \"[A-Z]{2}[0-9]{6}\"\n";
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + setting).await;
    let record = json!({ "result": { "user_id": "user-1", "status": "Active" } });
    stand_in.answer("/cis/v1/users/identifier", ResponseTemplate::new(200).set_body_json(&record));
    let mut visitor = visitor(&gate);
    for typed in ["AB12345", "AB1234567", "ab123456", "AB123456;--"] {
        let refused = visitor.ask_for_link(typed, "/").await;
        assert_eq!(refused.status, 422, "{typed}");
        assert!(refused.body.contains("That can't be right") && refused.body.contains(typed), "{}", refused.body);
    }
    gate.running.settle().await;
    assert_eq!((stand_in.count("/cis/v1/users/identifier"), stand_in.count(SEND)), (0, 0));
    assert_eq!(visitor.ask_for_link(" AB123456 ", "/").await.location(), WAITING);
    stand_in.callback(&gate).await;
    assert_eq!(stand_in.calls_to(SEND).pop().unwrap().json()["identifier"], "AB123456");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_is_sent_nothing_and_told_nothing() {
    let stand_in = StandIn::start().await;
    let identifier = "[sign_in]\nidentifier = \"username\"\n";
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + identifier).await;
    let mut visitor = visitor(&gate);
    assert_eq!(visitor.ask_for_link("nobody", "/").await.location(), WAITING);
    gate.running.settle().await;
    assert_eq!(visitor.open(WAITING).await.heading(), "Check your email");
    assert_eq!(stand_in.count(SEND), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_the_send_and_a_name_of_the_device_go_along_where_they_are_switched_on() {
    let stand_in = StandIn::start().await;
    let switches = "client_id = \"client-1\"\nrequest_ids = true\ndevice_ids = true\nresource = \"https://api.test\"\n";
    let change = |configuration: String| configuration.replace("client_id = \"client-1\"\n", switches);
    let gate = stand_in.gate_on(stand_in.memory(), change).await;
    let sent = |id: &str| ResponseTemplate::new(200).set_body_json(json!({ "message": "x", "request_id": id }));
    stand_in.answer(SEND, sent("request-1"));
    stand_in.answer(CODE_SEND, sent("request-2"));
    let access = |stand_in: &StandIn| {
        let claims = crate::mosaic::merged(stand_in.access_claims(), json!({ "aud": "https://api.test" }));
        json!({ "access_token": crate::mosaic::sign(&claims) })
    };
    let tokens = stand_in.tokens(access(&stand_in));
    stand_in.answer(AUTHENTICATE, tokens.clone());
    stand_in.answer(CODE_AUTHENTICATE, tokens);

    let (mut visitor, callback) = stand_in.asked(&gate).await;
    let link = only(&stand_in, SEND);
    let device = link["device_id"].as_str().unwrap().to_owned();
    assert_eq!((device.len(), &link["generate_request_id"]), (43, &json!(true)));
    ask_for_code(&mut visitor).await;
    gate.running.settle().await;
    let code = only(&stand_in, CODE_SEND);
    assert_eq!((code["device_id"].as_str(), &code["generate_request_id"]), (Some(&*device), &json!(true)));

    let mut typing = visitor.clone();
    assert!(enter(&mut typing, "123456").await.gives_session());
    let login = only(&stand_in, CODE_AUTHENTICATE);
    assert_eq!((login["device_id"].as_str(), &login["request_id"]), (Some(&*device), &json!("request-2")));
    assert_eq!(login["resource"], "https://api.test");

    gate.clock.advance(Duration::from_secs(30));
    drop(callback);
    visitor.jar = typing.jar;
    visitor.jar.remove("__Host-linkgate");
    visitor.ask_for_link(ADA, "/").await;
    let callback = stand_in.callback(&gate).await;
    assert!(visitor.open(&callback).await.gives_session());
    let login = only(&stand_in, AUTHENTICATE);
    assert_eq!((login["device_id"].as_str(), &login["request_id"]), (Some(&*device), &json!("request-1")));
}
