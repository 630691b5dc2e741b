//! Who may call: the token endpoint, bearer tokens, and how malformed calls are refused.

use super::*;

const INVALID_TOKEN: &str = r#"{"message":"Invalid token","error_code":401}"#;

#[tokio::test]
async fn the_client_gets_a_token_in_every_documented_way() {
    let world = World::new().await;
    let secret = CLIENT_SECRET;
    let in_body = format!("grant_type=client_credentials&client_id=gate&client_secret={secret}&unknown=1");
    for path in ["/oidc/token", "/cis/oidc/token"] {
        let answer = world.form(path, &in_body).await.expect(200).json();
        let fields = (&answer["token_type"], &answer["expires_in"], &answer["scope"]);
        assert_eq!(fields, (&json!("Bearer"), &json!(3600), &json!("openid")));
        // gate:0123456789abcdef0123456789abcdef
        let basic = [("authorization", "Basic Z2F0ZTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==")];
        run(world.issuer.api(), Method::POST, path, &basic, "grant_type=client_credentials").await.expect(200);
    }
}

#[tokio::test]
async fn the_token_endpoint_refuses_in_oauths_words() {
    let world = World::new().await;
    let secret = CLIENT_SECRET;
    let check = async |form: String, basic: Option<&str>, status: u16, error: &str| {
        let headers: Vec<_> = basic.map(|value| ("authorization", value)).into_iter().collect();
        let answer = run(world.issuer.api(), Method::POST, "/oidc/token", &headers, &form).await;
        assert_eq!((answer.status.as_u16(), answer.text("error").as_str()), (status, error), "{form}");
        assert!(answer.json()["error_description"].is_string());
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401 && basic.is_some(), "{form}");
    };
    let credentials = format!("client_id=gate&client_secret={secret}");
    let grant = "grant_type=client_credentials";
    check(credentials.clone(), None, 400, "invalid_request").await;
    check(format!("{credentials}&grant_type=password"), None, 400, "unsupported_grant_type").await;
    check(format!("{credentials}&{grant}&{grant}"), None, 400, "invalid_request").await;
    check(grant.to_owned(), None, 401, "invalid_client").await;
    check(format!("{grant}&client_id=gate"), None, 401, "invalid_client").await;
    check(format!("{grant}&client_id=gate&client_secret="), None, 401, "invalid_client").await;
    check(format!("{grant}&client_id=gate&client_secret={secret}x"), None, 401, "invalid_client").await;
    check(format!("{grant}&client_id=gatf&client_secret={secret}"), None, 401, "invalid_client").await;
    let right = "Basic Z2F0ZTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
    check(format!("{grant}&{credentials}"), Some(right), 400, "invalid_request").await;
    check(format!("{grant}&client_id=other"), Some(right), 401, "invalid_client").await;
    for wrong in ["Basic Z2F0ZTp3cm9uZw==", "Basic !!", "Basic", "Basic Z2F0ZQ==", "Bearer x"] {
        check(grant.to_owned(), Some(wrong), 401, "invalid_client").await;
    }
    check(format!("{grant}&x={}", "x".repeat(70_000)), None, 413, "invalid_request").await;
}

/// Every call that needs the client's token.
const GUARDED: [(&str, &str); 10] = [
    ("POST", SEND),
    ("POST", AUTHENTICATE),
    ("POST", SESSION_AUTHENTICATE),
    ("POST", LOGOUT),
    ("POST", REFRESH),
    ("GET", "/cis/v1/auth/users/u/sessions"),
    ("DELETE", "/cis/v1/auth/users/u/sessions"),
    ("POST", "/cis/v1/users"),
    ("GET", "/cis/v1/users/u"),
    ("GET", "/cis/v1/users/email/ada@example.com"),
];

async fn every_call_refuses(world: &World, headers: &[(&str, &str)]) {
    for (method, path) in GUARDED {
        let answer = run(world.issuer.api(), method.parse().unwrap(), path, headers, "{}").await;
        answer.refuses(401, &serde_json::from_str(INVALID_TOKEN).unwrap());
    }
}

#[tokio::test]
async fn every_call_needs_the_clients_own_token() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let good = format!("Bearer {}", world.bearer);
    every_call_refuses(&world, &[]).await;
    every_call_refuses(&world, &[("authorization", "Bearer x.y.z")]).await;
    every_call_refuses(&world, &[("authorization", &world.bearer)]).await;
    every_call_refuses(&world, &[("authorization", &good), ("authorization", &good)]).await;
    // A user's tokens are signed by the same key for the same issuer.
    for kind in ["access_token", "id_token", "refresh_token"] {
        every_call_refuses(&world, &[("authorization", &format!("Bearer {}", tokens.text(kind)))]).await;
    }
    let (before, after) = good.split_at(good.len() - 10);
    let other = if after.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{before}{other}{}", &after[1..]);
    every_call_refuses(&world, &[("authorization", &tampered)]).await;
}

#[tokio::test]
async fn a_client_token_lasts_one_hour() {
    let world = World::new().await;
    world.clock.advance(Duration::from_secs(3599));
    world.get("/cis/v1/users/nobody").await.expect(404);
    world.clock.advance(Duration::from_secs(1));
    world.get("/cis/v1/users/nobody").await.expect(401);
}

#[tokio::test]
async fn another_clients_and_another_issuers_tokens_are_refused() {
    let world = World::new().await;
    let other = world.again(config(), Settings { own_client: Some(own_client("other")), ..settings() }).await;
    every_call_refuses(&world, &[("authorization", &format!("Bearer {}", other.bearer))]).await;

    let store: store::Shared = Arc::new(Memory::new(world.clock.clone()));
    let stranger = World::over(config(), settings(), store, world.clock.clone()).await;
    every_call_refuses(&world, &[("authorization", &format!("Bearer {}", stranger.bearer))]).await;
}

#[tokio::test]
async fn every_refusal_is_json() {
    let world = World::new().await;
    world.get("/cis/v1/nothing").await.refuses(404, &json!({ "message": "Not found", "error_code": 404 }));
    let wrong_method = world.call(Method::PUT, SEND, "{}").await;
    wrong_method.refuses(405, &json!({ "message": "Method not allowed", "error_code": 405 }));
    let large = format!("{{\"code\":\"{}\"}}", "x".repeat(64 * 1024));
    let too_large = world.call(Method::POST, AUTHENTICATE, &large).await;
    too_large.refuses(413, &json!({ "message": "The body cannot be read", "error_code": 413 }));
    world.get("/cis/v1/users/%ff").await.expect(400).json();
    for body in ["", "[]", "{", "\"x\"", "{\"code\":1}", "{}"] {
        for path in [AUTHENTICATE, SESSION_AUTHENTICATE, LOGOUT, REFRESH] {
            let answer = world.call(Method::POST, path, body).await.expect(400).json();
            assert_eq!((answer["message"].is_array(), &answer["error_code"]), (true, &json!(400)), "{path} {body}");
        }
    }
}
