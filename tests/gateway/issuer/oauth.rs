//! Refreshing, revoking and asking about tokens, and what a user's own token opens.

use super::*;

const REVOCATION: [&str; 2] = ["/oidc/token/revocation", "/cis/oidc/token/revocation"];
const INTROSPECTION: [&str; 2] = ["/oidc/token/introspection", "/cis/oidc/token/introspection"];

fn as_gate(fields: &str) -> String {
    format!("client_id=gate&client_secret={CLIENT_SECRET}&{fields}")
}

async fn me(world: &World, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    run(world.issuer.api(), Method::GET, "/cis/oidc/me", &[("authorization", &bearer)], "").await
}

async fn introspect(world: &World, token: &str) -> Value {
    world.form(INTROSPECTION[1], &as_gate(&format!("token={token}"))).await.expect(200).json()
}

#[tokio::test]
async fn the_token_endpoint_takes_refresh_tokens() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let refresh = |token: &str| as_gate(&format!("grant_type=refresh_token&refresh_token={token}"));
    let answer = world.form("/cis/oidc/token", &refresh(&tokens.text("refresh_token"))).await.expect(200);
    let mut members: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    members.sort_unstable();
    assert_eq!(members, ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
    assert_eq!(answer.text("scope"), "openid offline_access");
    // The old and the new way are one family: an old token that comes back ends it.
    let second = answer.text("refresh_token");
    let third = world.post(REFRESH, &json!({ "refresh_token": second })).await.expect(200).text("refresh_token");
    world.clock.advance(Duration::from_secs(3));
    for dead in [second.as_str(), &third, "nonsense"] {
        let refused = world.form("/oidc/token", &refresh(dead)).await.expect(400);
        assert_eq!(refused.text("error"), "invalid_grant", "{dead}");
    }
    let missing = world.form("/oidc/token", &as_gate("grant_type=refresh_token")).await.expect(400);
    assert_eq!(missing.text("error"), "invalid_request");
}

#[tokio::test]
async fn a_disabled_user_gets_no_new_tokens_by_oauth() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    world.disable("ada@example.com").await;
    let form = as_gate(&format!("grant_type=refresh_token&refresh_token={}", tokens.text("refresh_token")));
    assert_eq!(world.form("/oidc/token", &form).await.expect(400).text("error"), "invalid_grant");
    me(&world, &tokens.text("access_token")).await.expect(401);
    assert_eq!(introspect(&world, &tokens.text("access_token")).await, json!({ "active": false }));
    assert_eq!(introspect(&world, &tokens.text("refresh_token")).await, json!({ "active": false }));
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_its_family() {
    for path in REVOCATION {
        let world = World::new().await;
        let tokens = world.sign_in().await;
        let token = tokens.text("refresh_token");
        world.form(path, &as_gate(&format!("token={token}&token_type_hint=access_token"))).await.expect(200);
        world.post(REFRESH, &json!({ "refresh_token": token })).await.expect(400);
        assert_eq!(introspect(&world, &token).await, json!({ "active": false }));
        // The session is not the token's to end.
        let session = json!({ "session_id": tokens.text("session_id") });
        world.post(SESSION_AUTHENTICATE, &session).await.expect(200);
        // Twice is fine, and so is what never was.
        for unknown in [token.as_str(), "nonsense", "a.b.c"] {
            world.form(path, &as_gate(&format!("token={unknown}"))).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_revoked_access_token_opens_nothing() {
    let world = World::new().await;
    let token = world.sign_in().await.text("access_token");
    me(&world, &token).await.expect(200);
    world.form(REVOCATION[1], &as_gate(&format!("token={token}"))).await.expect(200);
    me(&world, &token).await.expect(401);
    assert_eq!(introspect(&world, &token).await, json!({ "active": false }));

    let own = world.bearer.clone();
    world.form(REVOCATION[1], &as_gate(&format!("token={own}"))).await.expect(200);
    world.get("/cis/v1/users/nobody").await.expect(401);
}

#[tokio::test]
async fn revoking_and_asking_need_the_client() {
    let world = World::new().await;
    for path in REVOCATION.into_iter().chain(INTROSPECTION) {
        for form in ["token=x", "client_id=gate&client_secret=wrong&token=x", "client_id=gate&token=x"] {
            assert_eq!(world.form(path, form).await.expect(401).text("error"), "invalid_client", "{path} {form}");
        }
        assert_eq!(world.form(path, &as_gate("")).await.expect(400).text("error"), "invalid_request", "{path}");
        world.call(Method::GET, path, "").await.expect(405).json();
    }
}

#[tokio::test]
async fn the_tokens_own_client_learns_what_it_is() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let of_client = claims(&world, &world.bearer).await;
    let user_id = world.user_id("ada@example.com").await;
    let access = introspect(&world, &tokens.text("access_token")).await;
    let said = claims(&world, &tokens.text("access_token")).await;
    let expected = json!({
        "active": true, "iss": world.issuer_name(), "sub": user_id, "aud": "userid-api", "client_id": "gate",
        "exp": 1_777_893_630, "iat": 1_777_890_030, "scope": "openid offline_access", "token_type": "Bearer",
        "tid": of_client["tid"], "app_id": of_client["app_id"], "jti": said["jti"],
    });
    assert_eq!(access, expected);
    let refresh = introspect(&world, &tokens.text("refresh_token")).await;
    let expected = json!({
        "active": true, "iss": world.issuer_name(), "sub": user_id, "client_id": "gate",
        "exp": 1_777_890_030 + 14 * 86_400, "scope": "openid offline_access", "token_type": "refresh_token",
        "tid": of_client["tid"], "app_id": of_client["app_id"],
    });
    assert_eq!(refresh, expected);
    assert_eq!(introspect(&world, &world.bearer).await["sub"], "gate");
    // An ID token is not made for that.
    assert_eq!(introspect(&world, &tokens.text("id_token")).await, json!({ "active": false }));

    world.post(LOGOUT, &json!({ "session_id": tokens.text("session_id") })).await.expect(204);
    assert_eq!(introspect(&world, &tokens.text("refresh_token")).await, json!({ "active": false }));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(introspect(&world, &tokens.text("access_token")).await, json!({ "active": false }));
}

#[tokio::test]
async fn other_clients_learn_nothing_and_revoke_nothing() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let other = world.again(config(), Settings { own_client: Some(own_client("other")), ..settings() }).await;
    for token in [tokens.text("access_token"), tokens.text("refresh_token"), world.bearer.clone()] {
        let form = format!("client_id=other&client_secret={CLIENT_SECRET}&token={token}");
        let answer = other.form(INTROSPECTION[1], &form).await.expect(200).json();
        assert_eq!(answer, json!({ "active": false }));
        assert_eq!(other.form(REVOCATION[1], &form).await.expect(400).text("error"), "invalid_request");
    }
    me(&world, &tokens.text("access_token")).await.expect(200);
    world.post(REFRESH, &json!({ "refresh_token": tokens.text("refresh_token") })).await.expect(200);
}

#[tokio::test]
async fn a_users_token_tells_who_the_user_is() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let token = tokens.text("access_token");
    let mut expected = json!({
        "sub": world.user_id("ada@example.com").await, "email": "ada@example.com", "email_verified": true,
        "name": "Ada King Lovelace", "given_name": "Ada King", "family_name": "Lovelace",
        "groups": ["staff"], "roles": ["admin"],
    });
    expected["updated_at"] = json!(1_777_890_030);
    assert_eq!(me(&world, &token).await.expect(200).json(), expected);
    let posted = world.form("/cis/oidc/me", &format!("access_token={token}")).await.expect(200);
    assert_eq!(posted.json(), expected);

    let bearer = world.bearer.clone();
    let elsewhere = json!({ "session_id": tokens.text("session_id"), "resource": "https://api.example.com" });
    let elsewhere = world.post(SESSION_AUTHENTICATE, &elsewhere).await.expect(200).text("access_token");
    for wrong in [bearer.as_str(), &tokens.text("id_token"), &tokens.text("refresh_token"), &elsewhere, "x"] {
        let refused = me(&world, wrong).await.expect(401);
        assert_eq!(refused.headers["www-authenticate"], "Bearer error=\"invalid_token\"", "{wrong}");
        assert_eq!(refused.text("error"), "invalid_token");
    }
    run(world.issuer.api(), Method::GET, "/cis/oidc/me", &[], "").await.expect(401);
    world.form("/cis/oidc/me", "").await.expect(401);
    world.clock.advance(Duration::from_secs(3600));
    me(&world, &token).await.expect(401);
}

#[tokio::test]
async fn a_user_signs_out_everywhere() {
    let world = World::new().await;
    let (first, second) = (world.sign_in().await, world.sign_in().await);
    let log_out = async |token: &str| {
        let bearer = format!("Bearer {token}");
        run(world.issuer.api(), Method::POST, "/cis/v1/auth/logout", &[("authorization", &bearer)], "").await
    };
    let invalid = json!({ "message": "Invalid token", "error_code": 401 });
    log_out(&world.bearer).await.refuses(401, &invalid);
    log_out("x").await.refuses(401, &invalid);
    assert_eq!(log_out(&first.text("access_token")).await.expect(200).json(), json!({ "sessions_count": 2 }));
    for tokens in [first, second] {
        let session = json!({ "session_id": tokens.text("session_id") });
        world.post(SESSION_AUTHENTICATE, &session).await.expect(400);
    }
}

#[tokio::test]
async fn flows_by_the_browser_say_that_they_are_not_here() {
    let world = World::new().await;
    for (method, path, error) in [
        (Method::GET, "/cis/oidc/auth?response_type=code", "unsupported_response_type"),
        (Method::POST, "/cis/oidc/request", "invalid_request"),
        (Method::POST, "/cis/oidc/device/auth", "invalid_request"),
        (Method::POST, "/cis/oidc/backchannel", "invalid_request"),
        (Method::GET, "/cis/oidc/session/end", "invalid_request"),
    ] {
        let answer = run(world.issuer.api(), method, path, &[], "").await.expect(501);
        assert_eq!(answer.text("error"), error, "{path}");
        assert!(answer.text("error_description").starts_with("this issuer signs in by the backend API only"));
    }
}
