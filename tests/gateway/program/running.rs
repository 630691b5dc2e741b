//! The program at work: the reference configuration, its log, and silence on standard output.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Home, Program, replaced};
use crate::harness::HOST;
use crate::recorder::Recorder;

/// The repository's own configuration, on free ports.
fn reference() -> Home {
    let ports = [
        ("\nlisten = \"127.0.0.1:8080\"", "\nlisten = \"127.0.0.1:0\""),
        ("# listen = \"127.0.0.1:9180\"", "listen = \"127.0.0.1:0\""),
    ];
    Home::with(&replaced(include_str!("../../../gateway.toml"), &ports))
}

#[tokio::test]
async fn the_reference_runs_before_the_demo_with_mailbox_and_session() {
    let home = reference();
    let program = home.start().await;
    let greeting = program.process.line("open the application").await;
    assert_eq!(greeting["application"], format!("http://{HOST}/"));
    assert_eq!(greeting["mailbox"], format!("http://{HOST}/.linkgate/mailbox"));
    assert_eq!(greeting["health"], format!("http://{}/health/ready", program.admin_address));

    let mut visitor = program.visitor();
    visitor.ask_for_link("ada@example.com", "/").await;
    let mail = program.mail("ada@example.com").await;
    let names: Vec<&str> = mail.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "html", "link", "subject", "text", "to"]);
    assert_eq!(mail["to"], "ada@example.com");
    program.follow_link(&mut visitor, "ada@example.com").await;

    let seen = visitor.program().open("/any/path?a=1").await.json();
    assert_eq!((&seen["method"], &seen["path"], &seen["query"]), (&json!("GET"), &json!("/any/path"), &json!("a=1")));
    assert_eq!(seen["headers"]["x-forwarded-email"], json!(["ada@example.com"]));
    assert_eq!(seen["headers"]["x-forwarded-host"], json!([HOST]));
    assert_eq!(seen["headers"]["cookie"], Value::Null);
    assert_eq!(visitor.open("/").await.heading(), "Hello, ada@example.com");

    let session = visitor.program().open("/.linkgate/session").await.json();
    assert_eq!(session["email"], "ada@example.com");
    assert_eq!(session["email_verified"], true);
    assert_eq!(session["subject"], seen["headers"]["x-forwarded-user"][0]);
    assert_eq!(program.visitor().program().open("/.linkgate/session").await.status, StatusCode::UNAUTHORIZED);
    assert!(home.path().join("linkgate.db").exists(), "the store is beside the configuration");
}

#[tokio::test]
async fn every_request_is_one_line_of_json_without_its_query() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    let program = home.start().await;
    let mut visitor = program.signed_in("ada@example.com").await;
    let answer = visitor.open("/reports?secret=hunter2").await;
    assert_eq!(answer.status, StatusCode::OK);

    let line = program.process.line(answer.header("x-request-id")).await;
    let expected = json!({
        "level": "INFO", "target": "linkgate::access", "message": "request", "request.id": answer.header("x-request-id"),
        "client.address": "127.0.0.1", "http.method": "GET", "http.host": HOST, "http.path": "/reports",
        "http.status": 200, "verdict": "forwarded", "bytes_sent": 5,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(line[name], *value, "{name} in {line}");
    }
    check_log(program, &["hunter2", "ada@example.com", &visitor.session_cookie(), "token=", "code=", "state="]).await;
}

/// Every line of the whole log is JSON, none of it has one of `secrets`, and standard output is empty.
async fn check_log(program: Program, secrets: &[&str]) {
    program.process.signal("TERM");
    let ended = program.process.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    for line in ended.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
    for secret in secrets {
        assert!(!secret.is_empty() && !ended.stderr.contains(secret), "{secret} in {}", ended.stderr);
    }
}
