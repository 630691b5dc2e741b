//! Signing in by real mail: the gateway with its issuer before a real mail server, with health and metrics.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::harness::{Gate, eventually};
use crate::program::Home;
use crate::smtp_server::{Host, Manner, header, link};

fn with_mail(configuration: &str, host: &Host) -> String {
    configuration.replace(
        "[issuer]\nmailbox = true\n",
        &format!("[theme]\nname = \"Acme\"\ncontact = \"help@example.com\"\n{}", host.toml()),
    )
}

#[tokio::test]
async fn a_visitor_signs_in_with_the_link_that_was_mailed() {
    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let gate = Gate::with(|configuration| with_mail(&configuration, &host)).await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("root@example.com", "/reports").await;
    let mail = server.mails(1).await.remove(0);
    assert_eq!(mail["name"], "Acme");
    assert_eq!(header(&mail, "Reply-To"), Some("help@example.com"));
    let callback = visitor.press(link(&mail)).await;
    assert!(visitor.open(&callback).await.gives_session());
    assert!(visitor.is_known_as(&gate, Some("root@example.com")).await);
    assert_eq!(visitor.open("/.linkgate/mailbox").await.status, StatusCode::NOT_FOUND, "there is no mailbox page");
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_a_warning_and_stops_nobody() {
    let host = Host::new();
    let gate = Gate::with(|configuration| with_mail(&configuration, &host)).await;
    assert_eq!(gate.admin("/health/ready").await.json(), json!({ "status": "ready" }));
    let mut visitor = gate.visitor();
    visitor.ask_for_link("root@example.com", "/").await;
    eventually(async || gate.admin("/health/ready").await.json().get("warnings").is_some()).await;
    let health = gate.admin("/health/ready").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("ready")));
    let warning = health.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.starts_with("mail: failed to connect: "), "{warning}");
    eventually(async || gate.admin("/metrics").await.body.contains("linkgate_issuer_mails_queued 1")).await;

    let server = host.start(Manner::USUAL).await;
    gate.clock.advance(Duration::from_secs(60));
    let mail = server.mails(1).await.remove(0);
    let callback = visitor.press(link(&mail)).await;
    assert!(visitor.open(&callback).await.gives_session());
    eventually(async || gate.admin("/health/ready").await.json() == json!({ "status": "ready" })).await;
    let metrics = gate.admin("/metrics").await.body;
    assert!(metrics.contains("linkgate_issuer_mails_total{outcome=\"sent\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_mail_outlives_a_power_cut() {
    let host = Host::new();
    let home = Home::before(([127, 0, 0, 1], 9).into());
    let configuration = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &with_mail(&configuration, &host));
    let program = home.start().await;
    let mut visitor = program.visitor();
    visitor.ask_for_link("root@example.com", "/").await;
    let line = program.process.text_line("the mail server takes no mail").await;
    assert!(!line.contains("root@"), "{line}");
    program.kill().await;

    let server = host.start(Manner::USUAL).await;
    let program = home.start().await;
    let mail = server.mails(1).await.remove(0);
    let mut visitor = program.again(&visitor);
    let callback = visitor.press(link(&mail)).await;
    assert!(visitor.open(&callback).await.gives_session());
}
