//! Links and codes: what `send` accepts, what pressing the button does, and that a link works once.

use super::*;

fn invalid_code() -> Value {
    json!({ "message": "Invalid magic link code", "error_code": "400" })
}

#[tokio::test]
async fn send_accepts_both_forms_and_tolerates_more() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    let uri = REDIRECT_URI;
    for call in [
        json!({ "email": "ada@example.com", "redirect_uri": uri }),
        json!({ "email": " Ada@Example.com", "redirect_uri": uri, "channel": "email", "device_id": "d", "x": {} }),
        json!({ "identifier": "ada@example.com", "identifier_type": "email", "redirect_uri": uri }),
        json!({ "identifier": user_id, "identifier_type": "user_id", "redirect_uri": uri }),
        json!({ "identifier": "ada@example.com", "identifier_type": "email", "email": "x", "redirect_uri": uri }),
        json!({ "email": "ada@example.com", "redirect_uri": "https://app.example.com/other?x=1" }),
    ] {
        let answer = world.post(SEND, &call).await.expect(200);
        assert_eq!(answer.json(), json!({ "message": "Email sent successfully" }), "{call}");
    }
}

#[tokio::test]
async fn send_refuses_in_mosaics_words() {
    let world = World::new().await;
    let check = async |call: Value, status: u16, body: Value| world.post(SEND, &call).await.refuses(status, &body);
    let uri = REDIRECT_URI;
    let no_user = json!({ "message": "User not found", "error_code": "404" });
    check(json!({ "email": "bob@example.com", "redirect_uri": uri }), 404, no_user.clone()).await;
    let by = |kind: &str| json!({ "identifier": "ada", "identifier_type": kind, "redirect_uri": uri });
    for kind in ["email", "user_id", "username", "phone_number", "external_user_id", "badge"] {
        check(by(kind), 404, no_user.clone()).await;
    }
    let wrong_uri = json!({
        "message": "redirect_uri is not one of the allowed redirect URIs configured for this app",
        "error_code": "400",
    });
    for wrong in [
        "https://evil.test/",
        "https://app.example.com/.linkgate/callback/",
        "https://app.example.com/.linkgate/callback?x",
        "https://APP.example.com/.linkgate/callback",
        "https://app.example.com/.linkgate/callback#x",
        "",
    ] {
        check(json!({ "email": "ada@example.com", "redirect_uri": wrong }), 400, wrong_uri.clone()).await;
    }
    let fields = |messages: &[&str]| json!({ "message": messages, "error_code": 400 });
    let both = ["redirect_uri should not be empty", "identifier and identifier_type should not be empty"];
    check(json!({}), 400, fields(&both)).await;
    check(json!({ "identifier": "ada@example.com", "redirect_uri": uri }), 400, fields(&both[1..])).await;
    check(json!({ "email": "ada", "redirect_uri": uri }), 400, fields(&["email must be an email"])).await;
    let with = |name: &str, value: Value| {
        let mut call = json!({ "email": "ada@example.com", "redirect_uri": uri });
        call[name] = value;
        call
    };
    let minutes = fields(&["email_expiration must be a number of minutes between 0 and 1440"]);
    for wrong in [json!(0), json!(-1), json!(1441), json!(1e300)] {
        check(with("email_expiration", wrong), 400, minutes.clone()).await;
    }
    world.post(SEND, &with("channel", json!("sms"))).await.expect(400);
    let device = fields(&["device_id must be shorter than or equal to 80 characters"]);
    check(with("device_id", json!("x".repeat(81))), 400, device).await;
    let state = fields(&["state must be shorter than or equal to 4096 characters"]);
    check(with("state", json!("x".repeat(4097))), 400, state).await;
    let subject = fields(&["email_content.subject should not be empty"]);
    check(with("email_content", json!({ "bodyText": "Hi" })), 400, subject).await;
    world.latest("ada@example.com").await.expect(404);

    world.disable("ada@example.com").await;
    let inactive = json!({ "message": "User is not active", "error_code": "403" });
    check(json!({ "email": "ada@example.com", "redirect_uri": uri }), 403, inactive).await;
}

#[tokio::test]
async fn the_link_leads_back_with_code_and_state() {
    let world = World::new().await;
    let state = "a b+c&code=evil#é%41";
    let call = json!({
        "email": "ada@example.com",
        "redirect_uri": "https://app.example.com/other?x=1",
        "state": state,
        "client_attributes": {
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "ip_address": "192.0.2.7",
        },
    });
    world.post(SEND, &call).await.expect(200);
    let mail = world.latest("ada@example.com").await.expect(200);
    assert!(mail.text("text").contains("with Firefox on Linux, from 192.0.2.7."), "{}", mail.text("text"));
    let link = mail.text("link");
    let token = link.split_once("token=").unwrap().1;

    let page = world.open(token).await.expect(200).body;
    assert!(page.contains("<h1>Finish signing in to Acme</h1>"), "{page}");
    assert!(page.contains(">10:20 UTC</time> with Firefox on Linux."), "{page}");
    assert_eq!(page.matches("<form").count(), 1);
    assert!(page.contains("<form method=\"post\" action=\"/.linkgate/link\">"), "{page}");
    assert!(page.contains(&format!("<input type=\"hidden\" name=\"token\" value=\"{token}\">")), "{page}");

    let answer = world.press(token).await.expect(303);
    assert!(answer.headers["location"].to_str().unwrap().starts_with("https://app.example.com/other?x=1&code="));
    assert_eq!(answer.parameter("state").as_deref(), Some(state));
    assert_eq!(answer.parameter("code").map(|code| code.len()), Some(43));
}

#[tokio::test]
async fn a_scanner_that_presses_the_button_burns_nothing() {
    let world = World::new().await;
    let token = world.send_link().await;
    let mut scanned = Vec::new();
    for _ in 0..2 {
        world.open(&token).await.expect(200);
        world.page(Method::HEAD, &format!("/.linkgate/link?token={token}"), "").await.expect(200);
        scanned.push(world.press(&token).await.expect(303).parameter("code").unwrap());
    }
    let code = world.press(&token).await.expect(303).parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);

    // The link is used up now, and all its other codes with it.
    for other in scanned {
        world.authenticate(&other).await.refuses(400, &invalid_code());
    }
    for page in [world.open(&token).await, world.press(&token).await] {
        assert_eq!(
            page.expect(303).parameter("code").as_deref(),
            Some("spent"),
            "the gateway says what there is to say"
        );
    }
}

#[tokio::test]
async fn opening_a_link_makes_no_code() {
    let world = World::new().await;
    let token = world.send_link().await;
    for _ in 0..50 {
        world.open(&token).await.expect(200);
    }
    // Twenty presses a minute are the limit; none was counted yet.
    for _ in 0..20 {
        world.press(&token).await.expect(303);
    }
    assert_eq!(world.press(&token).await.expect(429).headers["retry-after"], "60");
    world.clock.advance(Duration::from_secs(61));
    world.press(&token).await.expect(303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_parallel_redemptions_one_wins() {
    let world = Arc::new(World::new().await);
    let token = world.send_link().await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(world.press(&token).await.parameter("code").unwrap());
    }
    let calls: Vec<_> = (0..30)
        .map(|number| {
            let (world, code) = (world.clone(), codes[number % 3].clone());
            tokio::spawn(async move { world.authenticate(&code).await.status.as_u16() })
        })
        .collect();
    let mut won = 0;
    for call in calls {
        match call.await.unwrap() {
            200 => won += 1,
            status => assert_eq!(status, 400),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_code_that_comes_back_ends_what_it_opened() {
    let world = World::new().await;
    let code = world.code().await;
    let tokens = world.authenticate(&code).await.expect(200);
    world.authenticate(&code).await.refuses(400, &invalid_code());
    let session = json!({ "session_id": tokens.text("session_id") });
    world.post(SESSION_AUTHENTICATE, &session).await.expect(400);
    world.post(REFRESH, &json!({ "refresh_token": tokens.text("refresh_token") })).await.expect(400);
}

#[tokio::test]
async fn links_and_codes_end_with_their_time() {
    let world = World::new().await;
    let token = world.send_link().await;
    world.clock.advance(Duration::from_secs(599));
    let late = world.press(&token).await.expect(303).parameter("code").unwrap();
    world.clock.advance(Duration::from_secs(1));
    for page in [world.open(&token).await, world.press(&token).await, world.open("").await, world.open("x").await] {
        let body = page.expect(410).body;
        assert!(
            body.contains("<h1>This link has expired</h1>") && body.contains("Links work for 10 minutes."),
            "{body}"
        );
    }
    // Who pressed in the last second still arrives, for a minute.
    world.clock.advance(Duration::from_secs(59));
    world.authenticate(&late).await.expect(200);

    let late = world.code().await;
    world.clock.advance(Duration::from_secs(600));
    world.authenticate(&late).await.refuses(400, &invalid_code());
}

#[tokio::test]
async fn send_may_set_the_links_life() {
    let world = World::new().await;
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI, "email_expiration": 2 });
    world.post(SEND, &call).await.expect(200);
    let link = world.latest("ada@example.com").await.text("link");
    let token = link.split_once("token=").unwrap().1;
    world.clock.advance(Duration::from_secs(119));
    world.open(token).await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    world.open(token).await.expect(410);
}

#[tokio::test]
async fn a_code_is_good_for_the_client_that_sent_the_link() {
    let world = World::new().await;
    let code = world.code().await;
    let mut other = world.again(config(), Settings { own_client: Some(own_client("other")), ..settings() }).await;
    other.log_in_client().await;
    other.authenticate(&code).await.refuses(400, &invalid_code());
    let session = json!({ "session_id": world.authenticate(&code).await.expect(200).text("session_id") });
    // Shown a second time it ends what it opened, but not by another client.
    other.authenticate(&code).await.refuses(400, &invalid_code());
    world.post(SESSION_AUTHENTICATE, &session).await.expect(200);
    world.authenticate(&code).await.refuses(400, &invalid_code());
    world.post(SESSION_AUTHENTICATE, &session).await.expect(400);
}

#[tokio::test]
async fn a_request_id_must_come_back() {
    let world = World::new().await;
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI, "generate_request_id": true });
    let request_id = world.post(SEND, &call).await.expect(200).text("request_id");
    let link = world.latest("ada@example.com").await.text("link");
    let code = world.press(link.split_once("token=").unwrap().1).await.parameter("code").unwrap();
    world.authenticate(&code).await.refuses(400, &invalid_code());
    world.post(AUTHENTICATE, &json!({ "code": code, "request_id": request_id })).await.expect(200);
}

#[tokio::test]
async fn a_user_who_was_disabled_meanwhile_stays_out() {
    let world = World::new().await;
    let code = world.code().await;
    world.disable("ada@example.com").await;
    let inactive = json!({ "message": "User is not active", "error_code": "403" });
    world.authenticate(&code).await.refuses(403, &inactive);
}

#[tokio::test]
async fn the_store_alone_opens_no_link() {
    let world = World::new().await;
    let token = world.send_link().await;
    let code = world.press(&token).await.parameter("code").unwrap();
    for secret in [&token, &code] {
        for kind in ["link", "code"] {
            assert_eq!(world.store.get(&format!("issuer/{kind}/{secret}")).await.unwrap(), None);
        }
    }
    let name = linkgate::secret::fingerprint(&token);
    let record = world.store.get(&format!("issuer/link/{name}")).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&record).contains("callback"));
}

#[tokio::test]
async fn a_used_link_stays_used_for_as_long_as_it_lives() {
    let month = Duration::from_secs(30 * 86_400);
    let world = World::with(config(), Settings { link_lifetime: month, ..settings() }).await;
    let token = world.send_link().await;
    let code = world.press(&token).await.parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);
    world.clock.advance(month - Duration::from_secs(1));
    for page in [world.open(&token).await, world.press(&token).await] {
        assert_eq!(page.expect(303).parameter("code").as_deref(), Some("spent"));
    }
}

#[tokio::test]
async fn every_identifier_of_a_user_leads_to_the_primary_address() {
    let world = World::new().await;
    let new = json!({
        "email": "bob@example.com",
        "phone_number": "+15550100100",
        "username": "bob",
        "external_user_id": "crm:7",
        "secondary_emails": ["bob@other.example"],
    });
    world.post("/cis/v1/users", &new).await.expect(201);
    for (kind, identifier) in [
        ("phone_number", "+1 555 0100100"),
        ("username", "bob"),
        ("external_user_id", "crm:7"),
        ("email", "BOB@example.com"),
    ] {
        let call = json!({ "identifier_type": kind, "identifier": identifier, "redirect_uri": REDIRECT_URI });
        world.post(SEND, &call).await.expect(200);
        assert_eq!(world.latest("bob@example.com").await.expect(200).text("to"), "bob@example.com");
        world.clock.advance(Duration::from_secs(1));
    }
    let secondary = json!({ "email": "bob@other.example", "redirect_uri": REDIRECT_URI });
    world.post(SEND, &secondary).await.expect(404);
}

#[tokio::test]
async fn who_has_no_address_gets_no_link_by_mail() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "phone_number": "+15550100100" })).await.expect(201);
    let mut call = json!({
        "identifier_type": "phone_number",
        "identifier": "+15550100100",
        "redirect_uri": REDIRECT_URI,
    });
    let missing = json!({ "message": "The user has no email address", "error_code": "404" });
    world.post(SEND, &call).await.refuses(404, &missing);
    call["channel"] = json!("direct");
    world.post(SEND, &call).await.expect(200);
}

#[tokio::test]
async fn a_direct_link_is_the_callers_to_bring_and_proves_no_address() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await.expect(201);
    let call = json!({ "email": "bob@example.com", "redirect_uri": REDIRECT_URI, "channel": "direct" });
    let sent = world.post(SEND, &call).await.expect(200).json();
    let members: Vec<_> = sent.as_object().unwrap().keys().collect();
    assert_eq!(members, ["link", "message"]);
    world.latest("bob@example.com").await.expect(404);
    let token = sent["link"].as_str().unwrap().split_once("token=").unwrap().1;
    let code = world.press(token).await.expect(303).parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);
    let user = world.get("/cis/v1/users/email/bob@example.com").await.json()["result"].clone();
    assert_eq!((&user["status"], &user["email"]["email_verified"]), (&json!("Active"), &json!(false)));
}

#[tokio::test]
async fn a_link_to_an_old_address_proves_no_new_one() {
    let world = World::new().await;
    let code = world.code().await;
    let path = format!("/cis/v1/users/{}", world.user_id("ada@example.com").await);
    world.call(Method::PUT, &path, r#"{"email":"ada@new.example"}"#).await.expect(200);
    world.authenticate(&code).await.expect(200);
    assert_eq!(world.get(&path).await.json()["result"]["email"]["email_verified"], json!(false));
}

#[tokio::test]
async fn authenticate_refuses_what_is_not_there_and_spends_no_code() {
    let world = World::new().await;
    let code = world.code().await;
    let check = async |name: &str, value: Value, body: Value| {
        let mut call = json!({ "code": code });
        call[name] = value;
        world.post(AUTHENTICATE, &call).await.refuses(400, &body);
    };
    let no_organization = json!({ "message": "Organization not found", "error_code": "400" });
    check("org_id", json!("acme"), no_organization).await;
    let device = json!({ "message": ["device_id must be shorter than or equal to 80 characters"], "error_code": 400 });
    check("device_id", json!("x".repeat(81)), device).await;
    for resource in ["", "no uri", "https://api.example.com/#x"] {
        let call = json!({ "code": code, "resource": resource });
        world.post(AUTHENTICATE, &call).await.expect(400);
    }
    let call = json!({
        "code": code,
        "resource": "https://api.example.com",
        "claims": { "id_token": { "email": null }, "access_token": {}, "userinfo": {} },
        "client_attributes": { "user_agent": "x", "ip_address": "192.0.2.7" },
        "device_id": "d",
        "unknown": [],
    });
    let tokens = world.post(AUTHENTICATE, &call).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("access_token")).await["aud"], "https://api.example.com");
}
