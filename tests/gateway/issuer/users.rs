//! Users: made once, found by ID and address, and declared in the configuration.

use linkgate::issuer::{ClientError, Error};

use linkgate::secret::fingerprint;

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
        "email": { "value": "bob@example.com", "email_verified": false },
        "name": { "first_name": "Bob" },
        "language": "de",
        "groupIds": [],
        "roles": [],
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
async fn every_detail_is_kept_and_leads_to_the_user() {
    let world = World::new().await;
    let new = json!({
        "email": "bob@example.com",
        "phone_number": "+1 (555) 010-0100",
        "username": "bob/é %",
        "secondary_emails": ["Bob@Other.example"],
        "secondary_phone_numbers": ["+15550100101"],
        "birthday": "1990-02-28T00:00:00Z",
        "address": { "country": "DE", "city": "Berlin", "type": "Home" },
        "name": { "title": "Dr", "first_name": "Bob", "middle_name": "B", "last_name": "Builder" },
        "external_account_id": "account 1",
        "external_user_id": "crm/7",
        "custom_app_data": { "theme": "dark" },
        "custom_data": { "plan": { "seats": 3 } },
        "picture": "https://example.com/bob.png",
        "language": "de",
        "roles": ["admin"],
    });
    let user = world.post("/cis/v1/users", &new).await.expect(201).json()["result"].clone();
    for member in ["username", "birthday", "address", "name", "external_account_id", "external_user_id"] {
        assert_eq!(user[member], new[member], "{member}");
    }
    for member in ["custom_app_data", "custom_data", "picture", "language", "roles"] {
        assert_eq!(user[member], new[member], "{member}");
    }
    let unproven = |value: &str| json!({ "value": value, "email_verified": false });
    assert_eq!(user["secondary_emails"], json!([unproven("bob@other.example")]));
    let unproven = |value: &str| json!({ "value": value, "phone_number_verified": false });
    assert_eq!(user["phone_number"], unproven("+15550100100"));
    assert_eq!(user["secondary_phone_numbers"], json!([unproven("+15550100101")]));
    let user_id = user["user_id"].as_str().unwrap();
    for path in [
        user_id,
        "email/bob@example.com",
        "phone-number/%2B15550100100",
        "phone-number/+15550100100",
        "username/bob%2F%C3%A9%20%25",
        "external-user-id/crm%2F7",
        "identifier?identifier_name=email&identifier_value=bob%40example.com",
        "identifier?identifier_name=phoneNumber&identifier_value=%2B15550100100",
        "identifier?identifier_name=username&identifier_value=bob/%C3%A9+%25",
        "identifier?identifier_name=externalUserId&identifier_value=crm/7",
    ] {
        assert_eq!(world.get(&format!("/cis/v1/users/{path}")).await.expect(200).json()["result"], user, "{path}");
    }
    for path in [
        "username/bob",
        "phone-number/bob",
        "external-user-id/7",
        "email/bob@other.example",
        "identifier?identifier_name=phone_number&identifier_value=%2B15550100100",
        "identifier?identifier_name=idpIdentifier&identifier_value=x",
    ] {
        world.get(&format!("/cis/v1/users/{path}")).await.refuses(404, &nobody());
    }
    world.get("/cis/v1/users/identifier?identifier_name=email").await.expect(400);
}

#[tokio::test]
async fn a_user_needs_an_address_or_a_number() {
    let world = World::new().await;
    let check = async |new: Value, message: &str| {
        let expected = json!({ "message": [message], "error_code": 400 });
        world.post("/cis/v1/users", &new).await.refuses(400, &expected);
    };
    check(json!({}), "email or phone_number should not be empty").await;
    check(json!({ "username": "bob", "external_user_id": "7" }), "email or phone_number should not be empty").await;
    check(json!({ "email": "bob" }), "email must be an email").await;
    check(json!({ "email": "bob@example.com, eve@evil.test" }), "email must be an email").await;
    let with = |name: &str, value: Value| {
        let mut new = json!({ "email": "bob@example.com" });
        new[name] = value;
        new
    };
    let text = "must be a text of 1 to 255 characters";
    check(with("phone_number", json!("555")), "phone_number must be a phone number in E.164 form").await;
    check(with("secondary_emails", json!(["x"])), "each value in secondary_emails must be an email").await;
    check(with("username", json!("")), &format!("username {text}")).await;
    check(with("username", json!("a\nb")), &format!("username {text}")).await;
    check(with("external_user_id", json!("x".repeat(256))), &format!("external_user_id {text}")).await;
    check(with("name", json!({ "title": "x".repeat(31) })), "name must have parts of at most 30 characters").await;
    check(with("birthday", json!("yesterday")), "birthday must be a date").await;
    check(with("picture", json!("bob.png")), "picture must be a URL").await;
    check(with("credentials", json!({ "password": "x" })), "credentials: passwords are not supported").await;
    check(with("delegated_access", json!({})), "delegated_access is not supported").await;
    check(with("roles", json!([""])), &format!("each value in roles {text}")).await;
    let large = json!({ "x": "y".repeat(500 * 1024) });
    check(with("custom_data", large), "custom_data must not be larger than 500 KB").await;
    for wrong in [with("address", json!({ "type": "Villa" })), with("custom_data", json!([])), json!([])] {
        world.post("/cis/v1/users", &wrong).await.expect(400);
    }
    world.get("/cis/v1/users/email/bob@example.com").await.expect(404);
}

#[tokio::test]
async fn data_of_half_a_megabyte_each_is_taken() {
    let world = World::new().await;
    let data = json!({ "x": "y".repeat(500 * 1024 - 8) });
    let new = json!({ "email": "bob@example.com", "custom_data": data, "custom_app_data": data });
    let user = world.post("/cis/v1/users", &new).await.expect(201).json()["result"].clone();
    assert_eq!((&user["custom_data"], &user["custom_app_data"]), (&data, &data));
    // Merging must not lead beyond the limit either.
    let path = format!("/cis/v1/users/{}", user["user_id"].as_str().unwrap());
    let more = json!({ "custom_data": { "z": 1 } });
    world.call(Method::PUT, &path, &more.to_string()).await.expect(400);
}

#[tokio::test]
async fn a_value_of_another_user_is_taken() {
    let world = World::new().await;
    let bob = json!({
        "email": "bob@example.com",
        "phone_number": "+15550100100",
        "username": "bob",
        "external_user_id": "7",
    });
    let bob_id = world.post("/cis/v1/users", &bob).await.expect(201).json()["result"]["user_id"].clone();
    let eve = world.post("/cis/v1/users", &json!({ "email": "eve@example.com" })).await.expect(201).json();
    let eve = format!("/cis/v1/users/{}", eve["result"]["user_id"].as_str().unwrap());
    for (name, symbol) in [
        ("email", "user_already_exists"),
        ("phone_number", "phone_number_already_exists"),
        ("username", "username_already_exists"),
        ("external_user_id", "external_user_id_already_exists"),
    ] {
        // What is free beside it must not be claimed by a call that is refused.
        let mut call = json!({ "email": "new@example.com", "username": "new" });
        call[name] = bob[name].clone();
        let answers =
            [world.post("/cis/v1/users", &call).await, world.call(Method::PUT, &eve, &call.to_string()).await];
        for answer in answers {
            let body = answer.expect(409).json();
            let codes = (&body["error_code"], &body["ts_error_code"], body["message"].is_string());
            assert_eq!(codes, (&json!(409), &json!(symbol), true), "{name}");
        }
    }
    world.post("/cis/v1/users", &json!({ "email": "new@example.com", "username": "new" })).await.expect(201);
    let found = world.get("/cis/v1/users/username/bob").await.expect(200).json();
    assert_eq!(found["result"]["user_id"], bob_id);
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let world = World::new().await;
    let new = json!({
        "email": "bob@example.com",
        "username": "bob",
        "name": { "first_name": "Bob", "last_name": "Builder" },
        "secondary_emails": ["a@example.com", "b@example.com"],
        "custom_data": { "a": 1, "b": { "c": 2 }, "d": 3 },
    });
    let made = world.post("/cis/v1/users", &new).await.expect(201).json()["result"].clone();
    let path = format!("/cis/v1/users/{}", made["user_id"].as_str().unwrap());
    world.clock.advance(Duration::from_secs(60));
    let change = json!({
        "name": { "first_name": "Robert" },
        "secondary_emails": ["b@example.com"],
        "custom_data": { "a": null, "b": { "e": 4 } },
        "username": null,
        "status": "Disabled",
        "unknown": 1,
    });
    let changed = world.call(Method::PUT, &path, &change.to_string()).await.expect(200).json()["result"].clone();
    let mut expected = made.clone();
    expected["name"] = json!({ "first_name": "Robert" });
    expected["secondary_emails"].as_array_mut().unwrap().remove(0);
    expected["custom_data"] = json!({ "b": { "e": 4 }, "d": 3 });
    expected["status"] = json!("Disabled");
    expected["status_changed_at"] = json!("2026-05-04T10:21:30Z");
    expected["updated_at"] = json!(1_777_890_090_000_i64);
    assert_eq!(changed, expected);
    assert_eq!(world.get(&path).await.expect(200).json()["result"], expected);

    world.call(Method::PUT, &path, r#"{"status":"Frozen"}"#).await.expect(400);
    world.call(Method::PUT, &path, r#"{"email":"bob"}"#).await.expect(400);
    world.call(Method::PUT, "/cis/v1/users/nobody", "{}").await.refuses(404, &nobody());
}

#[tokio::test]
async fn a_new_address_leads_to_the_user_and_is_unproven() {
    let world = World::new().await;
    world.sign_in().await;
    let user_id = world.user_id("ada@example.com").await;
    let path = format!("/cis/v1/users/{user_id}");
    let changed = world.call(Method::PUT, &path, r#"{"email":"ada@new.example"}"#).await.expect(200).json();
    let unproven = json!({ "value": "ada@new.example", "email_verified": false });
    assert_eq!(changed["result"]["email"], unproven);
    assert_eq!(world.user_id("ada@new.example").await, user_id);
    world.get("/cis/v1/users/email/ada@example.com").await.expect(404);
    world.post("/cis/v1/users", &json!({ "email": "ada@example.com" })).await.expect(201);
    // The same address once more changes nothing.
    world.call(Method::POST, &format!("{path}/emails/ada@new.example/verify"), "{}").await.expect(202);
    let again = world.call(Method::PUT, &path, r#"{"email":"ADA@new.example"}"#).await.expect(200).json();
    assert_eq!(again["result"]["email"]["email_verified"], json!(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_changes_of_one_user_all_count() {
    let world = Arc::new(World::new().await);
    let path = format!("/cis/v1/users/{}", world.user_id("ada@example.com").await);
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let (world, path) = (world.clone(), path.clone());
            let change = json!({ "custom_data": { number.to_string(): number }, "username": format!("ada{number}") });
            tokio::spawn(async move { world.call(Method::PUT, &path, &change.to_string()).await.expect(200) })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let user = world.get(&path).await.expect(200).json()["result"].clone();
    assert_eq!(user["custom_data"].as_object().unwrap().len(), 20);
    // Of all the names that she had for a moment only the last is still hers.
    for number in 0..20 {
        let name = format!("ada{number}");
        let found = world.get(&format!("/cis/v1/users/username/{name}")).await.status == StatusCode::OK;
        assert_eq!(found, user["username"] == name, "{name}");
        assert_eq!(world.store.get(&format!("issuer/username/{}", fingerprint(&name))).await.unwrap().is_some(), found);
    }
}

#[tokio::test]
async fn a_disabled_user_can_be_let_in_again() {
    let world = World::new().await;
    let path = format!("/cis/v1/users/{}", world.user_id("ada@example.com").await);
    let session = json!({ "session_id": world.sign_in().await.text("session_id") });
    world.call(Method::PUT, &path, r#"{"status":"Disabled"}"#).await.expect(200);
    world.post(SESSION_AUTHENTICATE, &session).await.expect(403);
    world.call(Method::PUT, &path, r#"{"status":"Active"}"#).await.expect(200);
    world.post(SESSION_AUTHENTICATE, &session).await.expect(200);
}

#[tokio::test]
async fn an_address_is_verified_by_the_caller() {
    let world = World::new().await;
    let new = json!({ "email": "bob@example.com", "secondary_emails": ["bob@other.example"] });
    let made = world.post("/cis/v1/users", &new).await.expect(201).json();
    let path = format!("/cis/v1/users/{}/emails", made["result"]["user_id"].as_str().unwrap());
    let verify = async |address: &str, body: &str| {
        let path = format!("{path}/{address}/verify");
        world.call(Method::POST, &path, body).await.expect(202).json()["result"].clone()
    };
    let proven = |value: &str| json!({ "value": value, "email_verified": true, "verified_at": "2026-05-04T10:20:30Z" });
    assert_eq!(verify("bob%40example.com", "{}").await["email"], proven("bob@example.com"));
    let swapped = verify("Bob@other.example", r#"{"change_to_primary":true}"#).await;
    assert_eq!(swapped["email"], proven("bob@other.example"));
    assert_eq!(swapped["secondary_emails"], json!([proven("bob@example.com")]));
    world.get("/cis/v1/users/email/bob@other.example").await.expect(200);
    world.get("/cis/v1/users/email/bob@example.com").await.expect(404);
    let none = json!({ "message": "Email not found", "error_code": 404 });
    world.call(Method::POST, &format!("{path}/eve@example.com/verify"), "{}").await.refuses(404, &none);
    world.call(Method::POST, "/cis/v1/users/x/emails/a@example.com/verify", "{}").await.refuses(404, &nobody());
}

#[tokio::test]
async fn removing_a_user_is_for_management_clients() {
    let world = World::new().await;
    let path = format!("/cis/v1/manage/users/{}", world.user_id("ada@example.com").await);
    let forbidden = json!({ "message": "Forbidden", "error_code": 403 });
    world.call(Method::DELETE, &path, "").await.refuses(403, &forbidden);
    let tokens = world.sign_in().await;
    let code = world.code().await;

    let manager = world.another_client(json!({ "application": "Console", "management": true })).await;
    manager.get("/cis/v1/users/email/ada@example.com").await.expect(200);
    assert_eq!(manager.call(Method::DELETE, &path, "").await.expect(204).body, "");
    manager.call(Method::DELETE, &path, "").await.refuses(404, &nobody());
    world.get("/cis/v1/users/email/ada@example.com").await.expect(404);
    let gone = json!({ "message": "User not found", "error_code": "400" });
    world.authenticate(&code).await.refuses(400, &gone);
    world.post(SESSION_AUTHENTICATE, &json!({ "session_id": tokens.text("session_id") })).await.expect(400);
    world.post(REFRESH, &json!({ "refresh_token": tokens.text("refresh_token") })).await.expect(400);
    assert_eq!(world.get("/cis/v1/users").await.json()["total_count"], json!(0));
    // The address is free again.
    world.post("/cis/v1/users", &json!({ "email": "ada@example.com" })).await.expect(201);
}

#[tokio::test]
async fn applications_see_their_own_users_only() {
    let world = World::new().await;
    let intranet = world.another_client(json!({ "application": "Intranet" })).await;
    let user_id = world.user_id("ada@example.com").await;
    let path = format!("/cis/v1/users/{user_id}");
    for method in [Method::GET, Method::PUT] {
        intranet.call(method, &path, "{}").await.refuses(404, &nobody());
    }
    intranet.call(Method::DELETE, &format!("{path}/apps"), "").await.refuses(404, &nobody());
    intranet.get(&format!("{path}/groups")).await.refuses(404, &nobody());
    intranet.get(&format!("/cis/v1/auth/users/{user_id}/sessions")).await.refuses(404, &nobody());
    intranet.call(Method::DELETE, &format!("/cis/v1/auth/users/{user_id}/sessions"), "").await.expect(404);
    intranet.post(SEND, &json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI })).await.expect(404);
    let session = world.sign_in().await.text("session_id");
    let silent = json!({ "session_id": session });
    let none = json!({ "message": "User not found", "error_code": 400 });
    intranet.post(SESSION_AUTHENTICATE, &silent).await.refuses(400, &none);

    // Creating somebody who is in the tenant adds them, and nothing else.
    let new = json!({ "email": "ada@example.com", "name": { "first_name": "Eve" }, "external_account_id": "1" });
    let added = intranet.post("/cis/v1/users", &new).await.expect(201).json()["result"].clone();
    assert_eq!((&added["user_id"], &added["app_name"]), (&json!(user_id), &json!("Intranet")));
    assert_eq!(added["name"]["last_name"], json!("Lovelace"));
    assert_eq!(added.get("external_account_id"), None);
    let taken = json!({ "message": "User already exists", "error_code": 409, "ts_error_code": "user_already_exists" });
    intranet.post("/cis/v1/users", &new).await.refuses(409, &taken);
    // Sessions are shared by all applications.
    let tokens = intranet.post(SESSION_AUTHENTICATE, &silent).await.expect(200);
    assert_eq!(claims(&world, &tokens.text("access_token")).await["app_name"], json!("Intranet"));

    // What an application keeps is its own.
    intranet.call(Method::PUT, &path, r#"{"custom_app_data":{"a":1},"custom_data":{"b":2}}"#).await.expect(200);
    let seen = world.get(&path).await.json()["result"].clone();
    assert_eq!((seen.get("custom_app_data"), &seen["custom_data"]), (None, &json!({ "b": 2 })));

    // Leaving the first application ends the session that began there.
    assert_eq!(world.call(Method::DELETE, &format!("{path}/apps"), "").await.expect(204).body, "");
    world.get(&path).await.refuses(404, &nobody());
    intranet.get(&path).await.expect(200);
    intranet.post(SESSION_AUTHENTICATE, &silent).await.expect(400);
}

#[tokio::test]
async fn users_are_listed_in_pages() {
    let world = World::new().await;
    for (number, name) in ["eve", "bob", "carl", "dora"].iter().enumerate() {
        world.clock.advance(Duration::from_secs(1));
        let new = json!({
            "email": format!("{name}@example.com"),
            "username": format!("{name}{number}"),
            "name": { "first_name": name, "last_name": "Smith" },
        });
        world.post("/cis/v1/users", &new).await.expect(201);
    }
    let list = async |query: &str| world.get(&format!("/cis/v1/users?{query}")).await.expect(200).json();
    let names = |page: &Value| -> Vec<String> {
        let users = page["result"].as_array().unwrap().iter();
        let name = |user: &Value| user["email"]["value"].as_str().unwrap().split_once('@').unwrap().0.to_owned();
        users.map(name).collect()
    };
    let all = list("").await;
    assert_eq!(names(&all), ["ada", "eve", "bob", "carl", "dora"]);
    assert_eq!(all["total_count"], json!(5));
    assert_eq!(all["page_info"], json!({ "has_next_page": false, "has_previous_page": false }));
    assert_eq!(names(&list("sort_field=email&sort_order=desc").await), ["eve", "dora", "carl", "bob", "ada"]);
    let page = list("sort_field=email&page_limit=2&page_offset=2").await;
    assert_eq!((names(&page), &page["total_count"]), (vec!["carl".to_owned(), "dora".to_owned()], &json!(5)));
    assert_eq!(page["page_info"], json!({ "has_next_page": true, "has_previous_page": true }));
    let beyond = list("page_offset=9").await;
    assert_eq!(beyond["page_info"], json!({ "has_next_page": false, "has_previous_page": true }));
    assert_eq!(names(&list("search_prefix=SMI&sort_field=email").await), ["bob", "carl", "dora", "eve"]);
    assert_eq!(names(&list("search_prefix=a").await), ["ada"]);
    let search = async |filter: &str| {
        let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        names(&list(&format!("search={filter}")).await)
    };
    assert_eq!(search("email eq \"BOB@example.com\"").await, ["bob"]);
    assert_eq!(search("status eq \"Active\"").await, ["ada"]);
    assert_eq!(search("username sw \"d\"").await, ["dora"]);
    assert_eq!(search("group eq \"staff\"").await, ["ada"]);
    assert_eq!(search("name co \"smith\" and email ne \"eve@example.com\"").await, ["bob", "carl", "dora"]);
    for wrong in [
        "page_limit=0",
        "page_limit=5001",
        "page_limit=x",
        "page_offset=-1",
        "sort_field=age",
        "sort_order=up",
        "search=email",
        "search=age+gt+%227%22",
        "page_limit=1&page_limit=2",
    ] {
        let answer = world.get(&format!("/cis/v1/users?{wrong}")).await.expect(400).json();
        assert!(answer["message"].is_array(), "{wrong}");
    }
}

#[tokio::test]
async fn records_of_the_version_before_live_on() {
    let world = World::new().await;
    let old = json!({
        "user_id": "olduser",
        "status": "Active",
        "email": { "value": "old@example.com", "email_verified": true, "verified_at": 1_000 },
        "profile": {
            "name": { "first_name": "Old" },
            "username": "old",
            "phone_number": "+15550100100",
            "external_account_id": "account",
            "custom_data": { "a": 1 },
        },
        "groups": ["staff"],
        "roles": ["admin"],
        "created_at": 1_000,
        "updated_at": 2_000,
        "last_auth": 3_000,
    });
    let put = async |key: &str, value: &Value| {
        world.store.put(key, value.to_string().as_bytes(), Timestamp::NEVER).await.unwrap();
    };
    put("issuer/user/olduser", &old).await;
    put("issuer/email/old@example.com", &json!("olduser")).await;
    let user = world.get("/cis/v1/users/email/old@example.com").await.expect(200).json()["result"].clone();
    let seen = (&user["user_id"], &user["name"]["first_name"], &user["external_account_id"], &user["roles"]);
    assert_eq!(seen, (&json!("olduser"), &json!("Old"), &json!("account"), &json!(["admin"])));
    assert_eq!(user["groupIds"].as_array().unwrap().len(), 1);
    // What did not lead to them now does, and they can be changed and sign in.
    world.get("/cis/v1/users/username/old").await.expect(200);
    world.get("/cis/v1/users/phone-number/+15550100100").await.expect(200);
    assert_eq!(world.get("/cis/v1/users").await.json()["total_count"], json!(2));
    world.call(Method::PUT, "/cis/v1/users/olduser", r#"{"custom_data":{"b":2}}"#).await.expect(200);
    let user = world.get("/cis/v1/users/olduser").await.expect(200).json()["result"].clone();
    assert_eq!((&user["custom_data"], &user["username"]), (&json!({ "a": 1, "b": 2 }), &json!("old")));
    world.post(SEND, &json!({ "email": "old@example.com", "redirect_uri": REDIRECT_URI })).await.expect(200);
}

#[tokio::test]
async fn a_claim_whose_user_is_gone_is_nobodys() {
    let world = World::new().await;
    world.store.put("issuer/email/bob@example.com", br#""gone""#, Timestamp::NEVER).await.unwrap();
    world.get("/cis/v1/users/email/bob@example.com").await.refuses(404, &nobody());
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await.expect(201);
    world.get("/cis/v1/users/email/bob@example.com").await.expect(200);
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
    assert_eq!(user["name"], json!({ "first_name": "Ada" }));
    let groups = restarted.get(&format!("/cis/v1/users/{user_id}/groups")).await.expect(200).json();
    assert_eq!(groups["result"][0]["name"], "owners");
    assert_eq!(user["groupIds"], json!([groups["result"][0]["group_id"]]));
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
