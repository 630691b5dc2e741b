//! Personal tokens as an administrator sees and revokes them, while a gateway runs on the same store.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Home, Program};
use crate::harness::{configuration, eventually, with_routes};
use crate::personal_tokens::make_token;
use crate::recorder::Recorder;
use crate::stand_in::ADA;

async fn start() -> (Recorder, Home, Program) {
    let recorder = Recorder::start().await;
    let text = with_routes(
        &configuration(recorder.address).replace("\"memory\"", "\"sqlite:store.db\""),
        "[[route]]\nupstream = UPSTREAM\nbearer = true\n",
    );
    let home = Home::with(&text);
    let program = home.start().await;
    (recorder, home, program)
}

async fn bear(program: &Program, token: &str) -> StatusCode {
    let authorization = format!("Bearer {token}");
    let mut visitor = program.visitor().program();
    visitor.send(Method::GET, "/", &[("authorization", &authorization)], "").await.status
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_on_a_running_gateway() {
    let (_recorder, home, program) = start().await;
    let (mut ada, mut bob) = (program.signed_in(ADA).await, program.signed_in("bob@example.com").await);
    let tokens = [make_token(&mut ada).await, make_token(&mut ada).await, make_token(&mut bob).await];
    for token in &tokens {
        assert_eq!(bear(&program, token).await, StatusCode::OK);
    }
    let list = async |more: &[&str]| {
        let listed = home.run(&[&["tokens", "list", "--json"], more].concat()).await;
        assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
        serde_json::from_str::<Value>(&listed.stdout).unwrap().as_array().unwrap().clone()
    };
    assert_eq!(list(&[]).await.len(), 3);
    let of_bob = list(&["--user", "bob@example.com"]).await;
    assert_eq!(of_bob.len(), 1);
    assert_eq!(of_bob[0]["name"], "laptop");
    let lines = home.run(&["tokens", "list"]).await.stdout;
    assert_eq!(
        lines.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
        "TOKEN USER NAME ROUTES MADE LAST USED ENDS"
    );
    assert!(!lines.contains("lgp_"));

    let id = of_bob[0]["token"].as_str().unwrap();
    assert_eq!(home.run(&["tokens", "revoke", id]).await.code, Some(2), "nobody can be asked");
    assert_eq!(home.run(&["tokens", "revoke", "--yes"]).await.code, Some(2), "which one is not said");
    let revoked = home.run(&["tokens", "revoke", id, "--yes"]).await;
    assert_eq!((revoked.code, revoked.stdout.as_str()), (Some(0), "1 token revoked\n"));
    eventually(async || bear(&program, &tokens[2]).await == StatusCode::UNAUTHORIZED).await;
    assert_eq!(bear(&program, &tokens[0]).await, StatusCode::OK, "Ada's stay");
    let gone = home.run(&["tokens", "revoke", id, "--yes"]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.starts_with(&format!("error: there is no token \"{id}\"\n")), "{}", gone.stderr);

    let revoked = home.run(&["tokens", "revoke", "--user", ADA, "--yes"]).await;
    assert_eq!((revoked.code, revoked.stdout.as_str()), (Some(0), "2 tokens revoked\n"));
    eventually(async || bear(&program, &tokens[0]).await == StatusCode::UNAUTHORIZED).await;
    assert_eq!(home.run(&["tokens", "list"]).await.stdout, "no tokens\n");
}
