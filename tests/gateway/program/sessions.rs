//! Sessions as an administrator sees and ends them, while a gateway runs on the same store.

use std::time::Duration;

use http::StatusCode;
use linkgate::clock::Clock;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::{Home, Program};
use crate::harness::{Visitor, closed_port, configuration, eventually, with_routes};
use crate::recorder::Recorder;
use crate::stand_in::{self, ADA, SEND, SESSION, StandIn, before};
use crate::stream_ends::{close_of, with_reason};
use crate::streams::{echo, open_to};

/// What an announcement takes at most; without one, a session would be believed for twice as long.
const ANNOUNCED: Duration = Duration::from_secs(15);

/// Waits until the gateway does not know the visitor any more.
async fn shut_out(visitor: &Visitor) {
    let is_out = async || visitor.program().open("/").await.status == StatusCode::UNAUTHORIZED;
    tokio::time::timeout(ANNOUNCED, eventually(is_out)).await.expect("the gateway hears of it");
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn sessions_are_listed_and_end_on_a_running_gateway() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    let program = home.start().await;
    let (visitor, other) = (program.signed_in(ADA).await, program.signed_in("bob@example.com").await);
    assert_eq!(visitor.program().open("/").await.status, StatusCode::OK, "the session is in memory");

    let listed = home.run(&["sessions", "list", ADA, "--json"]).await;
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    let listed = json_of(&listed.stdout);
    assert_eq!((listed["gateway"].as_array().unwrap().len(), listed["mosaic"].as_array().unwrap().len()), (1, 1));
    assert_eq!(listed["gateway"][0]["session"].as_str().unwrap().len(), 12);
    let id = listed["user_id"].as_str().unwrap();
    let lines = home.run(&["sessions", "list", id]).await.stdout;
    let (first, rest) = lines.split_once('\n').unwrap();
    assert_eq!(
        first.split_whitespace().collect::<Vec<_>>().join(" "),
        "WHERE SESSION BEGAN LAST USED ENDS STREAMS BROWSER FROM"
    );
    let words: Vec<&str> = rest.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["gateway", "mosaic"]);

    let unasked = home.run(&["sessions", "revoke", ADA]).await;
    assert_eq!(unasked.code, Some(2));
    let ended = home.run(&["sessions", "revoke", ADA, "--yes"]).await;
    let expected = format!("{ADA}: 1 session ended at the gateway, and all at Mosaic\n");
    assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(0), expected, String::new()));
    shut_out(&visitor).await;
    assert_eq!(other.program().open("/").await.status, StatusCode::OK, "Bob stays");
    let none = home.run(&["sessions", "list", ADA]).await;
    assert_eq!((none.code, none.stdout), (Some(0), format!("{id}: no sessions\n")));
}

#[tokio::test]
async fn open_streams_are_listed_and_end_when_the_session_is_revoked() {
    let recorder = Recorder::start().await;
    let text = with_routes(&configuration(recorder.address), "[[route]]\nupstream = \"demo\"\n");
    let home = Home::with(&text.replace("\"memory\"", "\"sqlite:store.db\""));
    let program = home.start().await;
    let (ada, bob) = (program.signed_in(ADA).await, program.signed_in("bob@example.com").await);
    let mut hers = [open_to(program.address, &ada, "/ws").await, open_to(program.address, &ada, "/ws").await];
    let mut his = open_to(program.address, &bob, "/ws").await;
    let listed = async |user| json_of(&home.run(&["sessions", "list", user, "--json"]).await.stdout);
    let open = async |user| listed(user).await["gateway"][0]["open_streams"].clone();
    eventually(async || open(ADA).await == 2).await;
    let lines = home.run(&["sessions", "list", ADA]).await.stdout;
    let is_hers = |line: &str| line.starts_with("gateway") && line.contains(" 2        Firefox on Linux  127.0.0.1");
    assert!(lines.lines().any(is_hers), "{lines}");
    eventually(async || open("bob@example.com").await == 1).await;

    assert_eq!(home.run(&["sessions", "revoke", ADA, "--yes"]).await.code, Some(0));
    for socket in &mut hers {
        assert_eq!(close_of(socket).await, with_reason("signed_out"));
    }
    assert!(echo(&mut his, "1").await.is_some(), "Bob stays");
    drop(his);
    eventually(async || open("bob@example.com").await == 0).await;
}

/// Ada at a gateway before the stand-in, whose calls for her lasting name are played as well.
async fn before_mosaic(stand_in: &StandIn, home: &Home) -> (Program, Visitor) {
    let program = home.start().await;
    let mut visitor = Visitor { host: stand_in::HOST.to_owned(), ..program.visitor() };
    visitor.ask_for_link(ADA, "/").await;
    eventually(async || stand_in.count(SEND) == 1).await;
    let send = stand_in.calls_to(SEND).remove(0).json();
    let state = send["state"].as_str().unwrap();
    let landed = visitor.open(&format!("/.linkgate/callback?code={}&state={state}", stand_in::CODE)).await;
    assert!(landed.gives_session(), "{landed:?}");
    assert_eq!(visitor.program().open("/").await.status, StatusCode::OK);
    (program, visitor)
}

async fn mosaic() -> (StandIn, Home, Recorder) {
    let recorder = Recorder::start().await;
    let stand_in = StandIn::with_clock(Clock::system(), ([127, 0, 0, 1], 0).into()).await;
    let ada = json!({ "user_id": "user-1", "status": "Active", "email": { "value": ADA, "email_verified": true } });
    let result = |status, body: Value| ResponseTemplate::new(status).set_body_json(body);
    stand_in.answer("/cis/v1/users/email/ada%40example.com", result(200, json!({ "result": ada })));
    let sessions = json!([{ "session_id": SESSION, "start_time": "2026-05-04T10:20:30Z" }]);
    stand_in.answer("/cis/v1/auth/users/user-1/sessions", result(200, sessions));
    stand_in.answer("/cis/v1/users/user-1/apps", ResponseTemplate::new(204));
    let text = before(stand_in.address(), &configuration(recorder.address));
    let home = Home::with(&text.replace("\"memory\"", "\"sqlite:store.db\""));
    (stand_in, home, recorder)
}

#[tokio::test]
async fn the_id_of_a_session_at_mosaic_is_not_shown() {
    let (_stand_in, home, _recorder) = mosaic().await;
    let listed = home.run(&["sessions", "list", "user-1"]).await;
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    assert!(listed.stdout.contains("2026-05-04T10:20:30Z") && !listed.stdout.contains(SESSION), "{}", listed.stdout);
    let listed = home.run(&["sessions", "list", "user-1", "--json"]).await.stdout;
    assert_eq!(json_of(&listed)["mosaic"][0]["started_at"], "2026-05-04T10:20:30Z");
    assert!(!listed.contains(SESSION), "{listed}");
}

#[tokio::test]
async fn a_user_is_shut_out_even_while_mosaic_is_away() {
    let (stand_in, home, _recorder) = mosaic().await;
    let (_program, visitor) = before_mosaic(&stand_in, &home).await;
    stand_in.hang_up(true);
    let by_address = home.run(&["sessions", "revoke", ADA, "--yes"]).await;
    assert_eq!((by_address.code, by_address.stdout.as_str()), (Some(1), ""), "nobody can tell who that is");
    assert_eq!(visitor.program().open("/").await.status, StatusCode::OK);

    let ended = home.run(&["sessions", "revoke", "user-1", "--yes"]).await;
    let expected = "user-1: 1 session ended at the gateway, but none at Mosaic\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), expected));
    assert!(ended.stderr.starts_with("error: failed to reach Mosaic\n"), "{}", ended.stderr);
    shut_out(&visitor).await;
}

#[tokio::test]
async fn who_is_removed_is_signed_out() {
    let (stand_in, home, _recorder) = mosaic().await;
    let (_program, visitor) = before_mosaic(&stand_in, &home).await;
    let removed = home.run(&["users", "remove", ADA, "--yes", "--json"]).await;
    let expected = json!({ "removed": true, "user_id": "user-1", "sessions_ended": 1 });
    assert_eq!((removed.code, json_of(&removed.stdout), removed.stderr), (Some(0), expected, String::new()));
    let lines: Vec<String> = stand_in.calls().into_iter().map(|call| call.line).collect();
    for line in ["DELETE /cis/v1/auth/users/user-1/sessions", "DELETE /cis/v1/users/user-1/apps"] {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:?}");
    }
    shut_out(&visitor).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_no_empty_list() {
    let text = configuration(closed_port().await);
    let redis = format!("\"redis://{}\"", closed_port().await);
    let home = Home::with(&text.replace("\"memory\"", &redis));
    let ended = home.run(&["sessions", "list", "some-id"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("caused by: reach the store\n"), "{}", ended.stderr);
}
