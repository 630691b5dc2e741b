//! Sessions and refresh tokens: how they live on, and every way in which they end.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn no_session() -> Value {
    json!({ "message": "Session not found", "error_code": 400 })
}

fn no_token() -> Value {
    json!({ "message": "Invalid refresh token", "error_code": 400 })
}

impl World {
    async fn refresh(&self, token: &str) -> Answer {
        self.post(REFRESH, &json!({ "refresh_token": token })).await
    }

    async fn renew(&self, session: &str) -> Answer {
        self.post(SESSION_AUTHENTICATE, &json!({ "session_id": session })).await
    }

    async fn log_out(&self, session: &str) -> Answer {
        self.post(LOGOUT, &json!({ "session_id": session })).await
    }

    /// A day passes; the client takes a new token.
    async fn next_day(&mut self) {
        self.clock.advance(DAY);
        self.log_in_client().await;
    }
}

#[tokio::test]
async fn a_session_renews_silently_and_slides() {
    let mut world = World::new().await;
    let tokens = world.sign_in().await;
    let session = tokens.text("session_id");
    for _ in 0..20 {
        world.next_day().await;
        let renewed = world.renew(&session).await.expect(200);
        assert_eq!(renewed.text("session_id"), session);
        let id = claims(&world, &renewed.text("id_token")).await;
        assert_eq!((&id["auth_time"], &id["amr"]), (&json!(1_777_890_030), &json!(["eml"])));
        assert_eq!(id["iat"], json!(world.clock.now().unix_seconds()));
    }
    for _ in 0..14 {
        world.next_day().await;
    }
    world.renew(&session).await.refuses(400, &no_session());
}

#[tokio::test]
async fn renewal_gives_the_claims_that_it_asks_for() {
    let world = World::new().await;
    let session = world.sign_in().await.text("session_id");
    let call = json!({ "session_id": session, "claims": { "id_token": { "email": null } } });
    let renewed = world.post(SESSION_AUTHENTICATE, &call).await.expect(200);
    let refreshed = world.refresh(&renewed.text("refresh_token")).await.expect(200);
    for answer in [renewed, refreshed] {
        assert_eq!(claims(&world, &answer.text("id_token")).await["email"], "ada@example.com");
    }
}

#[tokio::test]
async fn logging_out_ends_session_and_refresh_tokens() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    let (session, refresh) = (tokens.text("session_id"), tokens.text("refresh_token"));
    assert_eq!(world.log_out(&session).await.expect(204).body, "");
    world.renew(&session).await.refuses(400, &no_session());
    world.log_out(&session).await.refuses(400, &no_session());
    world.refresh(&refresh).await.refuses(400, &no_token());
    world.renew("nothing").await.refuses(400, &no_session());
}

#[tokio::test]
async fn a_users_sessions_are_listed_and_ended_together() {
    let world = World::new().await;
    let user_id = world.user_id("ada@example.com").await;
    let path = format!("/cis/v1/auth/users/{user_id}/sessions");
    assert_eq!(world.get(&path).await.expect(200).json(), json!([]));
    let first = world.sign_in().await.text("session_id");
    world.clock.advance(Duration::from_secs(60));
    let second = world.sign_in().await.text("session_id");
    let listed = json!([
        { "session_id": first, "start_time": "2026-05-04T10:20:30Z", "expiration_time": "2026-05-18T10:20:30Z" },
        { "session_id": second, "start_time": "2026-05-04T10:21:30Z", "expiration_time": "2026-05-18T10:21:30Z" },
    ]);
    assert_eq!(world.get(&path).await.expect(200).json(), listed);
    assert_eq!(world.call(Method::DELETE, &path, "").await.expect(204).body, "");
    assert_eq!(world.get(&path).await.expect(200).json(), json!([]));
    for session in [first, second] {
        world.renew(&session).await.refuses(400, &no_session());
    }
    for method in [Method::GET, Method::DELETE] {
        let nobody = world.call(method, "/cis/v1/auth/users/nobody/sessions", "").await;
        nobody.refuses(404, &json!({ "message": "User not found", "error_code": 404 }));
    }
}

#[tokio::test]
async fn a_second_proof_joins_the_session_of_the_same_user_only() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com" })).await.expect(201);
    let session = world.sign_in().await.text("session_id");
    world.clock.advance(Duration::from_secs(60));
    let code = world.code().await;
    let call = json!({ "code": code, "session_id": session });
    let joined = world.post(AUTHENTICATE, &call).await.expect(200);
    assert_eq!(joined.text("session_id"), session);
    assert_eq!(claims(&world, &joined.text("id_token")).await["auth_time"], json!(1_777_890_090));

    world.post(SEND, &json!({ "email": "bob@example.com", "redirect_uri": REDIRECT_URI })).await.expect(200);
    let link = world.latest("bob@example.com").await.text("link");
    let code = world.press(link.split_once("token=").unwrap().1).await.parameter("code").unwrap();
    let none = json!({ "message": "Session not found", "error_code": "400" });
    world.post(AUTHENTICATE, &json!({ "code": code, "session_id": session })).await.refuses(400, &none);
    world.post(AUTHENTICATE, &json!({ "code": code, "session_id": "x" })).await.refuses(400, &none);
    // What was refused for another reason spends no code.
    world.authenticate(&code).await.expect(200);
}

#[tokio::test]
async fn refresh_tokens_rotate() {
    let world = World::new().await;
    let first = world.sign_in().await;
    let second = world.refresh(&first.text("refresh_token")).await.expect(200);
    assert_eq!(second.json().get("session_id"), None);
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    let subject = async |answer: &Answer| claims(&world, &answer.text("id_token")).await["sub"].clone();
    assert_eq!(subject(&first).await, subject(&second).await);
    world.refresh(&second.text("refresh_token")).await.expect(200);
    world.refresh("nothing").await.refuses(400, &no_token());
}

#[tokio::test]
async fn an_old_refresh_token_ends_the_family() {
    let world = World::new().await;
    let first = world.sign_in().await;
    let second = world.refresh(&first.text("refresh_token")).await.expect(200);
    world.clock.advance(Duration::from_secs(2));
    world.refresh(&first.text("refresh_token")).await.refuses(400, &no_token());
    world.refresh(&second.text("refresh_token")).await.refuses(400, &no_token());
    // The session is another matter.
    world.renew(&first.text("session_id")).await.expect(200);
}

#[tokio::test]
async fn two_refreshes_at_the_same_moment_are_a_race() {
    let world = World::new().await;
    let first = world.sign_in().await;
    let winner = world.refresh(&first.text("refresh_token")).await.expect(200);
    world.clock.advance(Duration::from_millis(1999));
    let loser = world.refresh(&first.text("refresh_token")).await.expect(200);
    for answer in [winner, loser] {
        world.refresh(&answer.text("refresh_token")).await.expect(200);
    }
}

#[tokio::test]
async fn a_family_lives_two_weeks_in_all() {
    let mut world = World::new().await;
    let tokens = world.sign_in().await;
    let mut token = tokens.text("refresh_token");
    for _ in 0..13 {
        world.next_day().await;
        world.renew(&tokens.text("session_id")).await.expect(200);
        token = world.refresh(&token).await.expect(200).text("refresh_token");
    }
    world.next_day().await;
    world.refresh(&token).await.refuses(400, &no_token());
}

#[tokio::test]
async fn refresh_tokens_are_bound_to_their_client() {
    let world = World::new().await;
    let token = world.sign_in().await.text("refresh_token");
    let other = world.again(config(), Settings { own_client: Some(own_client("other")), ..settings() }).await;
    other.refresh(&token).await.refuses(400, &no_token());
    world.refresh(&token).await.expect(200);
}

#[tokio::test]
async fn a_disabled_user_gets_no_new_tokens() {
    let world = World::new().await;
    let tokens = world.sign_in().await;
    world.disable("ada@example.com").await;
    let inactive = json!({ "message": "User is not active", "error_code": "403" });
    world.renew(&tokens.text("session_id")).await.refuses(403, &inactive);
    world.refresh(&tokens.text("refresh_token")).await.refuses(403, &inactive);
}
