//! What the tokens say, and the keys that prove it.

use super::*;

#[tokio::test]
async fn the_client_token_says_who_calls() {
    let world = World::new().await;
    let mut claims = claims(&world, &world.bearer).await;
    for name in ["tid", "app_id", "jti"] {
        assert_eq!(claims[name].as_str().map(str::len), Some(21), "{name}");
        claims.as_object_mut().unwrap().remove(name);
    }
    let expected = json!({
        "iss": "https://app.example.com/.linkgate/issuer",
        "sub": "gate",
        "client_id": "gate",
        "aud": "userid-api",
        "app_name": "Acme",
        "scope": "openid",
        "roles": [],
        "ts_roles": [],
        "ts_permissions": [],
        "iat": 1_777_890_030,
        "exp": 1_777_893_630,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_sign_in_gives_the_documented_tokens() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    let client = claims(&world, &world.bearer).await;
    let tokens = world.sign_in().await;
    assert_eq!((tokens.text("token_type"), &tokens.json()["expires_in"]), ("Bearer".to_owned(), &json!(3600)));
    assert_eq!((tokens.text("session_id").len(), tokens.text("refresh_token").len()), (43, 43));

    let mut access = claims(&world, &tokens.text("access_token")).await;
    assert_eq!(access.as_object_mut().unwrap().remove("jti").unwrap().as_str().map(str::len), Some(21));
    let expected = json!({
        "iss": world.issuer_name(),
        "sub": user_id,
        "client_id": "gate",
        "aud": "userid-api",
        "tid": client["tid"],
        "app_id": client["app_id"],
        "app_name": "Acme",
        "scope": "openid offline_access",
        "roles": ["admin"],
        "iat": 1_777_890_030,
        "exp": 1_777_893_630,
    });
    assert_eq!(access, expected);

    let id = claims(&world, &tokens.text("id_token")).await;
    let expected = json!({
        "iss": world.issuer_name(),
        "sub": user_id,
        "aud": "gate",
        "tid": client["tid"],
        "amr": ["eml"],
        "auth_time": 1_777_890_030,
        "iat": 1_777_890_030,
        "exp": 1_777_893_630,
    });
    assert_eq!(id, expected);
}

#[tokio::test]
async fn optional_claims_appear_on_request_only() {
    let world = World::new().await;
    let user = json!({
        "email": "bob@example.com",
        "phone_number": "+15550100",
        "custom_data": { "department": "R&D", "badge": 7 },
    });
    world.post("/cis/v1/users", &user).await.expect(201);
    let claimed = async |email: &str, asked: Value| {
        world.post(SEND, &json!({ "email": email, "redirect_uri": REDIRECT_URI })).await.expect(200);
        let link = world.latest(email).await.text("link");
        let code = world.press(link.split_once("token=").unwrap().1).await.parameter("code").unwrap();
        let call = json!({ "code": code, "claims": { "id_token": asked, "access_token": { "email": null } } });
        let tokens = world.post(AUTHENTICATE, &call).await.expect(200);
        assert_eq!(claims(&world, &tokens.text("access_token")).await["email"], Value::Null);
        let mut all = claims(&world, &tokens.text("id_token")).await;
        for always in ["iss", "aud", "tid", "iat", "exp", "auth_time", "amr"] {
            assert!(all.as_object_mut().unwrap().remove(always).is_some(), "{always}");
        }
        assert!(all.as_object_mut().unwrap().remove("sub").is_some_and(|sub| sub != "mallory"));
        all
    };
    let asked = json!({
        "email": null, "email_verified": null, "groups": null, "roles": null, "role_values": null,
        "fname": null, "mname": null, "lname": null, "username": null, "app_name": null,
        "sub": "mallory", "iss": null, "nonsense": null,
    });
    let expected = json!({
        "email": "ada@example.com", "email_verified": true, "groups": ["staff"], "roles": ["admin"],
        "role_values": ["admin"], "fname": "Ada King", "lname": "Lovelace", "app_name": "Acme",
    });
    assert_eq!(claimed("ada@example.com", asked).await, expected);
    let whole = json!({ "custom_data": { "department": "R&D", "badge": 7 }, "phone_number": "+15550100" });
    assert_eq!(claimed("bob@example.com", json!({ "custom_data": null, "phone_number": null })).await, whole);
    let part = json!({ "custom_data": { "fields": ["department", "other"] } });
    assert_eq!(claimed("bob@example.com", part).await, json!({ "custom_data": { "department": "R&D" } }));
    assert_eq!(claimed("bob@example.com", json!({})).await, json!({}));
}

#[tokio::test]
async fn the_key_set_is_public_only() {
    let world = World::new().await;
    let set = run(world.issuer.api(), Method::GET, "/cis/oidc/jwks", &[], "").await.expect(200).json();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let mut members: Vec<_> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
    let fixed = (&keys[0]["kty"], &keys[0]["use"], &keys[0]["alg"]);
    assert_eq!(fixed, (&json!("RSA"), &json!("sig"), &json!("RS256")));
    // 2048 bits are 342 base64url characters.
    assert_eq!(keys[0]["n"].as_str().map(str::len), Some(342));
}

#[tokio::test]
async fn discovery_names_the_issuer_of_the_tokens() {
    let world = World::new().await;
    let path = "/cis/oidc/.well-known/openid-configuration";
    let found = run(world.issuer.api(), Method::GET, path, &[], "").await.expect(200).json();
    let issuer = "https://app.example.com/.linkgate/issuer";
    assert_eq!((found["issuer"].as_str(), world.issuer_name().as_str()), (Some(issuer), issuer));
    // The API is where it is, and not where the issuer's name points.
    for (member, path) in [
        ("token_endpoint", "token"),
        ("jwks_uri", "jwks"),
        ("userinfo_endpoint", "me"),
        ("revocation_endpoint", "token/revocation"),
        ("introspection_endpoint", "token/introspection"),
    ] {
        assert_eq!(found[member], format!("https://issuer.example.com/cis/oidc/{path}"), "{member}");
    }
    assert_eq!(found["grant_types_supported"], json!(["client_credentials", "refresh_token"]));
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(found["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(found["tls_client_certificate_bound_access_tokens"], false);
    for absent in ["authorization_endpoint", "end_session_endpoint", "pushed_authorization_request_endpoint"] {
        assert!(found[absent].is_null(), "{absent}");
    }
}

#[tokio::test]
async fn a_client_may_ask_for_a_token_for_a_resource() {
    let world = World::new().await;
    let ask = async |resource: &str| {
        let form =
            format!("grant_type=client_credentials&client_id=gate&client_secret={CLIENT_SECRET}&resource={resource}");
        world.form("/cis/oidc/token", &form).await
    };
    let token = ask("https://api.example.com").await.expect(200).text("access_token");
    assert_eq!(claims(&world, &token).await["aud"], "https://api.example.com");
    // It is for that resource and not for this API.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    run(world.issuer.api(), Method::GET, "/cis/v1/users/x", &headers, "").await.expect(401);
    for wrong in ["api", "%2Fapi", "https:%2F%2Fapi.example.com%2F%23part"] {
        assert_eq!(ask(wrong).await.expect(400).text("error"), "invalid_target", "{wrong}");
    }
}

#[tokio::test]
async fn instances_over_one_store_are_one_issuer() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
    let store: store::Shared = Arc::new(Memory::new(clock.clone()));
    // Both make a key; one of them wins.
    let (first, second) = tokio::join!(
        World::over(config(), settings(), store.clone(), clock.clone()),
        World::over(config(), settings(), store.clone(), clock.clone()),
    );
    let keys = first.get("/cis/oidc/jwks").await.json();
    assert_eq!(keys, second.get("/cis/oidc/jwks").await.json());
    assert_eq!(first.user_id("ada@example.com").await, second.user_id("ada@example.com").await);
    let code = first.code().await;
    let tokens = second.authenticate(&code).await.expect(200);
    let restarted = first.again(config(), settings()).await;
    let session = json!({ "session_id": tokens.text("session_id") });
    restarted.post(SESSION_AUTHENTICATE, &session).await.expect(200);
    let tid = claims(&first, &first.bearer).await["tid"].clone();
    assert_eq!(claims(&restarted, &restarted.bearer).await["tid"], tid);
}
