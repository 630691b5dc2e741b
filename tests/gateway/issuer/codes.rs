//! One-time codes: who gets one and how, what a guess costs, and that link and code of one mail are one credential.

use super::*;
use crate::failing_store::Failing;

const OTP_SEND: &str = "/cis/v1/auth/otp/send";
const OTP: &str = "/cis/v1/auth/otp/authenticate";

fn symbol(symbol: &str, message: &str) -> Value {
    json!({ "error_code": symbol, "message": message })
}

fn wrong() -> Value {
    symbol("auth_invalid_credentials", "Invalid passcode")
}

fn locked() -> Value {
    symbol("auth_locked", "Too many wrong passcodes: try again later")
}

/// A code that is not `code`.
fn another(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

impl World {
    /// Sends a code to Ada and gives it.
    async fn passcode(&self) -> String {
        let call = json!({ "channel": "direct", "identifier_type": "email", "identifier": "ada@example.com" });
        self.post(OTP_SEND, &call).await.expect(200).text("code")
    }

    async fn type_code(&self, code: &str) -> Answer {
        self.post(OTP, &ada(code)).await
    }
}

fn ada(code: &str) -> Value {
    json!({ "passcode": code, "identifier_type": "email", "identifier": "ada@example.com" })
}

#[tokio::test]
async fn a_code_by_mail_signs_in_once_and_proves_the_address() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com", "username": "bob" })).await.expect(201);
    let send = json!({
        "channel": "email",
        "identifier_type": "username",
        "identifier": "bob",
        "client_attributes": { "user_agent": "x", "ip_address": "192.0.2.7" },
        "device_id": "d",
        "unknown": 1,
    });
    assert_eq!(world.post(OTP_SEND, &send).await.expect(200).json(), json!({ "message": "OTP sent" }));
    let mail = world.latest("bob@example.com").await.expect(200).json();
    let code = mail["code"].as_str().unwrap();
    let typed = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(mail["link"], Value::Null);
    for part in ["text", "html"] {
        let part = mail[part].as_str().unwrap();
        assert!(part.contains(&typed) && part.contains("192.0.2.7") && !part.contains("http"), "{part}");
    }
    let login = json!({ "passcode": typed, "identifier_type": "email", "identifier": "Bob@example.com" });
    let tokens = world.post(OTP, &login).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("id_token")).await["amr"], json!(["eotp"]));
    for member in ["access_token", "refresh_token", "session_id"] {
        tokens.text(member);
    }
    let user = world.get("/cis/v1/users/email/bob@example.com").await.json()["result"].clone();
    assert_eq!((&user["status"], &user["email"]["email_verified"]), (&json!("Active"), &json!(true)));
    world.post(OTP, &login).await.refuses(400, &wrong());
}

#[tokio::test]
async fn a_code_by_text_lands_in_the_mailbox_and_proves_the_number() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "phone_number": "+15550100100" })).await.expect(201);
    let mut send = json!({
        "channel": "sms",
        "identifier_type": "phone_number",
        "identifier": "+15550100100",
        "custom_sms_input": { "custom_message": "{app} says {otp}, {otp}!", "sender_id": "Acme" },
    });
    world.post(OTP_SEND, &send).await.expect(200);
    let text = world.latest("+15550100100").await.expect(200);
    let code = text.text("code");
    assert_eq!((text.text("to"), text.text("subject")), ("+15550100100".to_owned(), String::new()));
    assert_eq!(text.text("text"), format!("Acme says {code}, {code}!"));
    let login = json!({ "passcode": code, "identifier_type": "phone_number", "identifier": "+15550100100" });
    let tokens = world.post(OTP, &login).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("id_token")).await["amr"], json!(["sms"]));
    let user = world.get("/cis/v1/users/phone-number/+15550100100").await.json()["result"].clone();
    assert_eq!(user["phone_number"]["phone_number_verified"], json!(true));

    send["custom_sms_input"] = Value::Null;
    send["custom_phone_number"] = json!("+15550100999");
    world.post(OTP_SEND, &send).await.expect(200);
    let code = world.latest("+15550100999").await.expect(200).text("code");
    assert_eq!(world.latest("+15550100999").await.text("text"), format!("{code} is your code for Acme"));
}

#[tokio::test]
async fn a_code_that_went_elsewhere_proves_no_address() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await.expect(201);
    let send = json!({
        "channel": "email",
        "identifier_type": "email",
        "identifier": "bob@example.com",
        "custom_email": "bob@elsewhere.example",
        "email_content": { "subject": "Your code", "bodyText": "Here it is" },
    });
    world.post(OTP_SEND, &send).await.expect(200);
    let mail = world.latest("bob@elsewhere.example").await.expect(200);
    assert_eq!(mail.text("subject"), "Your code");
    let login = json!({ "passcode": mail.text("code"), "identifier_type": "email", "identifier": "bob@example.com" });
    world.post(OTP, &login).await.expect(200);
    let user = world.get("/cis/v1/users/email/bob@example.com").await.json()["result"].clone();
    assert_eq!((&user["status"], &user["email"]["email_verified"]), (&json!("Active"), &json!(false)));
}

#[tokio::test]
async fn send_refuses_with_symbols() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "phone_number": "+15550100100" })).await.expect(201);
    let with = |name: &str, value: Value| {
        let mut call = json!({ "channel": "email", "identifier_type": "email", "identifier": "ada@example.com" });
        call[name] = value;
        call
    };
    let check = async |call: Value, status: u16, expected: &str| {
        let answer = world.post(OTP_SEND, &call).await;
        let seen = (answer.status.as_u16(), answer.text("error_code"), answer.json()["message"].is_string());
        assert_eq!(seen, (status, expected.to_owned(), true), "{call}");
    };
    let input = "system_invalid_input";
    for call in [json!({}), json!([]), with("channel", json!("pigeon")), with("identifier", json!(1))] {
        check(call, 400, input).await;
    }
    for (name, value) in [
        ("expires_in", json!(0)),
        ("expires_in", json!(1441)),
        ("device_id", json!("x".repeat(81))),
        ("identifier", json!("")),
        ("email_content", json!({ "bodyText": "no subject" })),
        ("custom_email", json!("nobody")),
        ("custom_sms_input", json!({ "custom_message": "{otp}" })),
        ("custom_sms_input", json!({ "custom_message": "{app}" })),
        ("custom_sms_input", json!({ "custom_message": format!("{{app}}{{otp}}{}", "x".repeat(131)) })),
        ("custom_sms_input", json!({ "sender_id": "x".repeat(12) })),
        ("approval_data", json!([])),
        ("approval_data", json!({ "a": {} })),
        ("approval_data", json!({ "a": null })),
        ("approval_data", json!({ "a": "b c" })),
        ("approval_data", json!({ "a/b": "c" })),
        ("approval_data", (0..11).map(|number| (number.to_string(), json!("x"))).collect()),
    ] {
        check(with(name, value), 400, input).await;
    }
    for (kind, identifier) in [("email", "bob@example.com"), ("email", "bob"), ("user_id", "x"), ("badge", "7")] {
        let call = json!({ "channel": "email", "identifier_type": kind, "identifier": identifier });
        check(call, 404, "user_not_found").await;
    }
    let phone = json!({ "channel": "email", "identifier_type": "phone_number", "identifier": "+15550100100" });
    check(phone, 404, "user_email_address_missing").await;
    check(with("channel", json!("sms")), 404, "user_phone_number_missing").await;
    world.disable("ada@example.com").await;
    check(with("channel", json!("email")), 403, "user_not_active").await;
    world.latest("ada@example.com").await.expect(404);
}

#[tokio::test]
async fn without_a_provider_no_text_is_sent() {
    let world = World::with(Config { mailbox: false, ..config() }, settings()).await;
    world.post("/cis/v1/users", &json!({ "phone_number": "+15550100100" })).await.expect(201);
    let call = json!({ "channel": "sms", "identifier_type": "phone_number", "identifier": "+15550100100" });
    let refused = symbol("external_provider_configuration_error", "No provider of text messages is configured");
    world.post(OTP_SEND, &call).await.refuses(400, &refused);
}

#[tokio::test]
async fn authenticate_refuses_with_symbols_and_spends_no_code() {
    let world = World::new().await;
    let code = world.passcode().await;
    let check = async |name: &str, value: Value, expected: Value| {
        let mut call = ada(&code);
        call[name] = value;
        world.post(OTP, &call).await.refuses(400, &expected);
    };
    let input = |message: &str| symbol("system_invalid_input", message);
    check("session_id", json!("x"), input("Session not found")).await;
    check("org_id", json!("acme"), input("Organization not found")).await;
    let device = input("device_id must be shorter than or equal to 80 characters");
    check("device_id", json!("x".repeat(81)), device).await;
    check("request_id", json!("x"), wrong()).await;
    check("identifier", json!("bob@example.com"), wrong()).await;
    check("identifier_type", json!("badge"), wrong()).await;
    for body in ["", "{}", "[]", r#"{"passcode":1}"#] {
        let answer = world.call(Method::POST, OTP, body).await.expect(400);
        assert_eq!(answer.text("error_code"), "system_invalid_input", "{body}");
    }
    world.disable("ada@example.com").await;
    world.type_code(&code).await.refuses(403, &symbol("user_not_active", "User is not active"));
}

#[tokio::test]
async fn a_code_ends_with_its_time() {
    let world = World::new().await;
    let late = symbol("auth_otp_passcode_expired", "The passcode has expired");
    let code = world.passcode().await;
    world.clock.advance(Duration::from_secs(599));
    world.type_code(&another(&code)).await.refuses(400, &wrong());
    world.clock.advance(Duration::from_secs(1));
    world.type_code(&code).await.refuses(400, &late);
    world.type_code(&another(&code)).await.refuses(400, &late);

    let call = json!({
        "channel": "direct",
        "identifier_type": "email",
        "identifier": "ada@example.com",
        "expires_in": 0.5,
    });
    let code = world.post(OTP_SEND, &call).await.expect(200).text("code");
    world.clock.advance(Duration::from_secs(30));
    world.type_code(&code).await.refuses(400, &late);
}

#[tokio::test]
async fn five_wrong_codes_lock_the_account_for_a_quarter_of_an_hour() {
    let world = World::new().await;
    let code = world.passcode().await;
    for _ in 0..5 {
        world.type_code(&another(&code)).await.refuses(400, &wrong());
    }
    world.type_code(&code).await.refuses(403, &locked());
    // A new code does not help.
    let fresh = world.passcode().await;
    world.type_code(&fresh).await.refuses(403, &locked());
    // A link still does.
    world.sign_in().await;
    world.clock.advance(Duration::from_secs(899));
    world.type_code(&fresh).await.refuses(403, &locked());
    world.clock.advance(Duration::from_secs(1));
    // The code that was guessed at is gone; the counter is fresh.
    let fresh = world.passcode().await;
    for _ in 0..4 {
        world.type_code(&another(&fresh)).await.refuses(400, &wrong());
    }
    world.type_code(&fresh).await.expect(200);
    // A sign-in begins a new count.
    let fresh = world.passcode().await;
    for _ in 0..4 {
        world.type_code(&another(&fresh)).await.refuses(400, &wrong());
    }
    world.type_code(&fresh).await.expect(200);
}

#[tokio::test]
async fn the_code_that_was_guessed_at_is_gone_after_the_lockout() {
    let world = World::new().await;
    let call = json!({
        "channel": "direct",
        "identifier_type": "email",
        "identifier": "ada@example.com",
        "expires_in": 1440,
    });
    let code = world.post(OTP_SEND, &call).await.expect(200).text("code");
    for _ in 0..5 {
        world.type_code(&another(&code)).await.expect(400);
    }
    world.clock.advance(Duration::from_secs(900));
    world.type_code(&code).await.refuses(400, &wrong());
}

#[tokio::test]
async fn the_policy_is_the_operators() {
    let codes = json!({ "length": 8, "lifetime": "1m", "tries": 2, "lockout": "1h" });
    let world = World::with(Config { codes: serde_json::from_value(codes).unwrap(), ..config() }, settings()).await;
    let code = world.passcode().await;
    assert_eq!(code.len(), 8);
    for _ in 0..2 {
        world.type_code("00").await.refuses(400, &wrong());
    }
    world.type_code(&code).await.refuses(403, &locked());
    world.clock.advance(Duration::from_secs(3599));
    world.type_code(&code).await.refuses(403, &locked());
    world.log_in_again().await.type_code(&code).await.expect(400);
}

impl World {
    /// The clock one second on, and the client with a new token.
    async fn log_in_again(mut self) -> Self {
        self.clock.advance(Duration::from_secs(1));
        self.log_in_client().await;
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_guesses_five_are_compared() {
    let world = World::new().await;
    let code = world.passcode().await;
    five_guesses_are_compared(world, code).await;
}

#[tokio::test]
async fn guesses_that_overtake_each_other_at_every_step_gain_and_lose_nothing() {
    let clock = Clock::manual(START);
    let store = Failing::new(clock.clone());
    let shared: store::Shared = store.clone();
    share_key(&shared).await;
    let world = World::over(config(), settings(), shared, clock).await;
    let code = world.passcode().await;
    store.hesitate();
    five_guesses_are_compared(world, code).await;
}

/// Guesses a hundred times at the same moment, always wrong.
async fn five_guesses_are_compared(world: World, code: String) {
    let world = Arc::new(world);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (world, guess) = (world.clone(), another(&code));
            tokio::spawn(async move { world.type_code(&guess).await.text("error_code") })
        })
        .collect();
    let mut compared = 0;
    for call in calls {
        match call.await.unwrap().as_str() {
            "auth_invalid_credentials" => compared += 1,
            other => assert_eq!(other, "auth_locked"),
        }
    }
    assert_eq!(compared, 5);
    world.type_code(&code).await.refuses(403, &locked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_right_codes_and_links_one_wins() {
    let world = Arc::new(World::new().await);
    let token = world.send_link().await;
    let typed = world.latest("ada@example.com").await.text("code");
    let pressed = world.press(&token).await.parameter("code").unwrap();
    let calls: Vec<_> = (0..30)
        .map(|number| {
            let (world, typed, pressed) = (world.clone(), typed.clone(), pressed.clone());
            tokio::spawn(async move {
                if number % 2 == 0 { world.type_code(&typed).await } else { world.authenticate(&pressed).await }
            })
        })
        .collect();
    let mut won = 0;
    for call in calls {
        won += usize::from(call.await.unwrap().status == StatusCode::OK);
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn link_and_code_of_one_mail_are_one_credential() {
    let world = World::new().await;
    let token = world.send_link().await;
    let code = world.latest("ada@example.com").await.text("code");
    let pressed = world.press(&token).await.parameter("code").unwrap();
    let tokens = world.type_code(&code).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("id_token")).await["amr"], json!(["eotp"]));
    world.authenticate(&pressed).await.expect(400);
    for page in [world.open(&token).await, world.press(&token).await] {
        assert_eq!(
            page.expect(303).parameter("code").as_deref(),
            Some("spent"),
            "the gateway says what there is to say"
        );
    }

    let token = world.send_link().await;
    let code = world.latest("ada@example.com").await.text("code");
    let pressed = world.press(&token).await.parameter("code").unwrap();
    world.authenticate(&pressed).await.expect(200);
    world.type_code(&code).await.refuses(400, &wrong());
}

#[tokio::test]
async fn a_code_of_a_long_lived_link_keeps_its_own_time() {
    let world = World::new().await;
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI, "email_expiration": 60 });
    world.post(SEND, &call).await.expect(200);
    let mail = world.latest("ada@example.com").await;
    world.clock.advance(Duration::from_secs(600));
    let late = symbol("auth_otp_passcode_expired", "The passcode has expired");
    world.type_code(&mail.text("code")).await.refuses(400, &late);
    world.open(mail.text("link").split_once("token=").unwrap().1).await.expect(200);
}

#[tokio::test]
async fn without_request_ids_the_newest_code_counts() {
    let world = World::new().await;
    let old = world.passcode().await;
    let mut new = world.passcode().await;
    while new == old {
        new = world.passcode().await;
    }
    world.type_code(&old).await.refuses(400, &wrong());
    world.type_code(&new).await.expect(200);
}

#[tokio::test]
async fn an_empty_request_id_is_none() {
    let world = World::new().await;
    let mut call = ada(&world.passcode().await);
    call["request_id"] = json!("");
    world.post(OTP, &call).await.expect(200);
}

#[tokio::test]
async fn with_request_ids_several_codes_are_out_at_once() {
    let world = World::new().await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        let call = json!({
            "channel": "direct",
            "identifier_type": "email",
            "identifier": "ada@example.com",
            "generate_request_id": true,
        });
        let answer = world.post(OTP_SEND, &call).await.expect(200);
        sent.push((answer.text("request_id"), answer.text("code")));
    }
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI, "generate_request_id": true });
    let request_id = world.post(SEND, &call).await.expect(200).text("request_id");
    sent.push((request_id, world.latest("ada@example.com").await.text("code")));
    // A code alone is not enough.
    world.type_code(&sent[0].1).await.refuses(400, &wrong());
    for (request_id, code) in sent {
        let mut call = ada(&code);
        call["request_id"] = json!(request_id);
        world.post(OTP, &call).await.expect(200);
    }
}

#[tokio::test]
async fn a_code_is_good_for_the_client_that_sent_it() {
    let world = World::new().await;
    let code = world.passcode().await;
    let other = Settings { own_client: Some(own_client("other")), ..settings() };
    let other = world.again(config(), other).await;
    other.type_code(&code).await.refuses(400, &wrong());
    world.type_code(&code).await.expect(200);
}

#[tokio::test]
async fn what_was_approved_is_in_the_id_token_once() {
    let world = World::new().await;
    let approved = json!({ "amount": "12.50", "payee": "ACME-1", "count": 2, "urgent": true });
    let call = json!({
        "channel": "direct",
        "identifier_type": "email",
        "identifier": "ada@example.com",
        "approval_data": approved,
    });
    let sent = world.post(OTP_SEND, &call).await.expect(200);
    assert_eq!(sent.json()["approval_data"], approved);
    let tokens = world.type_code(&sent.text("code")).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("id_token")).await["approval_data"], approved);
    let renewed = world.post(SESSION_AUTHENTICATE, &json!({ "session_id": tokens.text("session_id") })).await;
    assert_eq!(claims(&world, &renewed.text("id_token")).await.get("approval_data"), None);
}

#[tokio::test]
async fn two_kinds_of_proof_in_one_session_are_two_factors() {
    let world = World::new().await;
    let session = world.sign_in().await.text("session_id");
    let path = format!("/cis/v1/users/{}", world.user_id("ada@example.com").await);
    world.call(Method::PUT, &path, r#"{"phone_number":"+15550100100"}"#).await.expect(200);
    let send = json!({ "channel": "sms", "identifier_type": "email", "identifier": "ada@example.com" });
    world.post(OTP_SEND, &send).await.expect(200);
    let mut login = ada(&world.latest("+15550100100").await.text("code"));
    login["session_id"] = json!(session);
    let tokens = world.post(OTP, &login).await.expect(200);
    assert_eq!(tokens.text("session_id"), session);
    assert_eq!(claims(&world, &tokens.text("id_token")).await["amr"], json!(["eml", "sms", "mfa"]));
}

#[tokio::test]
async fn the_store_has_no_code_in_it() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    let call = json!({
        "channel": "direct",
        "identifier_type": "email",
        "identifier": "ada@example.com",
        "generate_request_id": true,
    });
    let sent = world.post(OTP_SEND, &call).await.expect(200);
    let request_id = sent.text("request_id");
    let name = linkgate::secret::fingerprint(&format!("{}:{CLIENT_ID}{request_id}", CLIENT_ID.len()));
    let record = world.store.get(&format!("issuer/otp/{user_id}/{name}")).await.unwrap().unwrap();
    // Sealed under the request ID: not even the fields can be read.
    assert!(!String::from_utf8_lossy(&record).contains("eotp") && !String::from_utf8_lossy(&record).contains("salt"));

    let code = world.passcode().await;
    let name = linkgate::secret::fingerprint(&format!("{}:{CLIENT_ID}", CLIENT_ID.len()));
    let record = world.store.get(&format!("issuer/otp/{user_id}/{name}")).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&record).contains(&code));
}
