//! A store that cannot answer is never "not found", "signed out" or "expired".

use super::*;
use crate::failing_store::Failing;

#[tokio::test]
async fn a_lost_store_gives_503_and_loses_nothing() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
    let failing = Failing::new(clock.clone());
    let shared: store::Shared = failing.clone();
    share_key(&shared).await;
    let world = World::over(config(), settings(), shared, clock).await;
    let session = world.sign_in().await.text("session_id");
    let token = world.send_link().await;

    failing.fail();
    let unavailable = json!({ "message": "Service unavailable", "error_code": 503 });
    for (path, call) in [
        (SEND, json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI })),
        (AUTHENTICATE, json!({ "code": "x" })),
        (SESSION_AUTHENTICATE, json!({ "session_id": session })),
        (LOGOUT, json!({ "session_id": session })),
        (REFRESH, json!({ "refresh_token": "x" })),
        ("/cis/v1/users", json!({ "email": "bob@example.com" })),
    ] {
        let answer = world.post(path, &call).await;
        assert_eq!(answer.headers["retry-after"], "5", "{path}");
        answer.refuses(503, &unavailable);
    }
    for path in ["/cis/v1/users/x", "/cis/v1/users/email/ada@example.com", "/cis/v1/auth/users/x/sessions"] {
        world.get(path).await.refuses(503, &unavailable);
    }
    for page in [world.open(&token).await, world.press(&token).await] {
        assert!(page.expect(503).body.contains("<h1>Sign-in is not available just now</h1>"));
    }

    failing.work();
    world.post(SESSION_AUTHENTICATE, &json!({ "session_id": session })).await.expect(200);
    let code = world.press(&token).await.expect(303).parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);
}
