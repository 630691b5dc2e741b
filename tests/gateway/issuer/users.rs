//! Users: made once, found by ID and address, and declared in the configuration.

use linkgate::issuer::{ClientError, Error};

use super::*;

fn nobody() -> Value {
    json!({ "message": "User not found", "error_code": 404 })
}

#[tokio::test]
async fn a_user_is_made_and_found() {
    let world = World::new().await;
    let new = json!({ "email": "Bob@Example.com", "name": { "first_name": "Bob" }, "unknown": [1], "language": "de" });
    let made = world.post("/cis/v1/users", &new).await.expect(201).json();
    let user_id = made["result"]["user_id"].as_str().unwrap();
    let expected = json!({ "result": {
        "user_id": user_id,
        "status": "Pending",
        "email": { "value": "bob@example.com", "email_verified": false, "verified_at": null },
        "name": { "first_name": "Bob" },
        "language": "de",
        "groupIds": [],
        "app_name": "Acme",
        "created_at": 1_777_890_030_000_i64,
        "updated_at": 1_777_890_030_000_i64,
    } });
    assert_eq!(made, expected);
    assert_eq!(user_id.len(), 21);
    for path in [user_id, "email/bob@example.com", "email/BOB%40example.com"] {
        assert_eq!(world.get(&format!("/cis/v1/users/{path}")).await.expect(200).json(), expected, "{path}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let world = World::new().await;
    for path in ["nobody", "email/bob@example.com", "email/bob", "..%2Fuser", "email/"] {
        let answer = world.get(&format!("/cis/v1/users/{path}")).await.expect(404);
        if path != "email/" {
            assert_eq!(answer.json(), nobody(), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_address_has_one_user() {
    let world = Arc::new(World::new().await);
    let taken = json!({ "message": "User already exists", "error_code": 409, "ts_error_code": "user_already_exists" });
    world.post("/cis/v1/users", &json!({ "email": "ADA@example.com" })).await.refuses(409, &taken);

    let calls: Vec<_> = (0..20)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await })
        })
        .collect();
    let mut made = Vec::new();
    for call in calls {
        let answer = call.await.unwrap();
        match answer.status.as_u16() {
            201 => made.push(answer.json()),
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(made, [world.get("/cis/v1/users/email/bob@example.com").await.expect(200).json()]);
}

#[tokio::test]
async fn a_user_needs_an_address() {
    let world = World::new().await;
    let check = async |new: Value, message: &str| {
        let expected = json!({ "message": [message], "error_code": 400 });
        world.post("/cis/v1/users", &new).await.refuses(400, &expected);
    };
    check(json!({}), "email should not be empty").await;
    check(json!({ "phone_number": "+15550100" }), "email should not be empty").await;
    check(json!({ "email": "bob" }), "email must be an email").await;
    check(json!({ "email": "bob@example.com, eve@evil.test" }), "email must be an email").await;
}

#[tokio::test]
async fn signing_in_by_mail_proves_the_address() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await.expect(201);
    world.post(SEND, &json!({ "email": "bob@example.com", "redirect_uri": REDIRECT_URI })).await.expect(200);
    let link = world.latest("bob@example.com").await.text("link");
    let code = world.press(link.split_once("token=").unwrap().1).await.parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);
    let user = world.get("/cis/v1/users/email/bob@example.com").await.json()["result"].clone();
    assert_eq!((&user["status"], &user["last_auth"]), (&json!("Active"), &json!("2026-05-04T10:20:30Z")));
    assert_eq!(user["email"]["email_verified"], json!(true));
}

#[tokio::test]
async fn the_file_wins_over_what_is_stored() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    world.sign_in().await;
    let changed: Config = serde_json::from_value(json!({
        "mailbox": true,
        "user": [{ "email": "ada@example.com", "name": "Ada", "groups": ["owners"] }],
    }))
    .unwrap();
    let restarted = world.again(changed, settings()).await;
    let user = restarted.get(&format!("/cis/v1/users/{user_id}")).await.expect(200).json()["result"].clone();
    assert_eq!((&user["name"], &user["groupIds"]), (&json!({ "first_name": "Ada" }), &json!(["owners"])));
    // What is not in the file stays.
    assert_eq!((&user["status"], &user["email"]["email_verified"]), (&json!("Active"), &json!(true)));
    let tokens = restarted.sign_in().await;
    assert_eq!(claims(&restarted, &tokens.text("access_token")).await["roles"], json!([]));
}

#[tokio::test]
async fn a_redirect_uri_must_be_a_url() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(0));
    let store: store::Shared = Arc::new(Memory::new(clock.clone()));
    for wrong in ["/callback", "https://app.example.com/#x", "https://app.example.com/a b", "https://a.test/\r\nx: y"] {
        let client = OwnClient { redirect_uris: vec![wrong.to_owned()], ..own_client(CLIENT_ID) };
        let settings = Settings { own_client: Some(client), ..settings() };
        let pages = Arc::new(Pages::new(&Theme::default(), &settings.public_url, Path::new("/")).unwrap());
        let refused = Issuer::new(config(), settings, store.clone(), clock.clone(), pages).await.err();
        let Some(Error::Client(ClientError::RedirectUri(uri))) = refused else { panic!("{wrong:?} is not refused") };
        assert_eq!(uri, wrong);
    }
}
