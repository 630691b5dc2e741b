//! `linkgate dev`: the demo without a file, mail on a page with one, and what a saved file changed on the terminal.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use http::StatusCode;

use super::{Home, Process, Program, replaced};
use crate::harness::{Visitor, configuration};
use crate::recorder::Recorder;

const MAILBOX: &str = "/.linkgate/mailbox";
/// Nobody takes mail there.
const MAIL: &str = "[issuer.mail]\nserver = \"127.0.0.1:9\"\nsecurity = \"none\"\nfrom = \"wiki@example.com\"\n";

/// A story's configuration that sends its mail, with further parts replaced.
fn sending_mail(upstream: SocketAddr, parts: &[(&str, &str)]) -> Home {
    let text = replaced(&configuration(upstream), &[("[issuer]\nmailbox = true\n", MAIL)]);
    Home::with(&replaced(&text, parts))
}

#[tokio::test]
async fn without_a_file_the_demo_would_be_at_its_usual_port_and_a_file_that_is_named_must_be_there() {
    let home = Home::with("");
    fs::remove_file(home.path().join("gateway.toml")).unwrap();
    // Whoever has the port, the program does not get it, and says which one it wanted.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let ended = home.run(&["dev"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("another program uses port 8080"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");

    for arguments in [["dev", "--config", "gateway.toml"], ["run", "--config", "gateway.toml"]] {
        let ended = home.run(&arguments).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("error: gateway.toml: there is no such file"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn mail_lands_on_the_page_whatever_server_the_file_names() {
    let recorder = Recorder::start().await;
    let home = sending_mail(recorder.address, &[]);
    let program = Program::of(home.spawn(&["dev"])).await;
    let mut visitor = program.signed_in("ada@example.com").await;
    assert_eq!(visitor.open(MAILBOX).await.status, StatusCode::OK);
}

#[tokio::test]
async fn mail_lands_on_no_page_where_others_could_read_it() {
    let recorder = Recorder::start().await;
    let beyond = [
        ("public_url = \"http://localhost:8080\"", "public_url = \"https://app.example.com\""),
        ("allow = [\"*\"]", "allow = [\"@example.com\"]"),
    ];
    let home = sending_mail(recorder.address, &beyond);
    let mut program = Program::of(home.spawn(&["dev"])).await;
    program.host = "app.example.com".to_owned();
    assert_eq!(program.visitor().open(MAILBOX).await.status, StatusCode::NOT_FOUND);
}

/// The value of a field in a line of log for people.
fn field(line: &str, name: &str) -> String {
    let plain: String = line.chars().filter(|sign| !sign.is_control()).collect();
    let (_, rest) = plain.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap().to_owned()
}

async fn started(home: &Home) -> (Process, Visitor) {
    let process = home.spawn(&["dev"]);
    let line = process.text_line("linkgate is running").await;
    (process, Visitor::new(field(&line, "listen").parse().unwrap()).program())
}

#[tokio::test]
async fn a_file_that_is_saved_is_used_and_told_of_on_the_terminal_and_not_in_the_log() {
    let recorder = Recorder::start().await;
    let text = format!("{}[log]\nformat = \"human\"\n[reload]\nwatch = false\n", configuration(recorder.address));
    let home = Home::with(&text);
    let (process, mut visitor) = started(&home).await;
    process.text_line("  Mailbox       http://localhost:8080/.linkgate/mailbox").await;
    process.text_line("  Change gateway.toml: what you save is used within seconds").await;
    assert_eq!(visitor.open("/").await.status, StatusCode::UNAUTHORIZED);

    let line = text.lines().count() + 1;
    home.write("gateway.toml", &format!("{text}wach = true\n"));
    process.text_line("gateway.toml is not used, and what ran before goes on:").await;
    process.text_line(&format!("  gateway.toml:{line}:1: reload.wach: unknown setting `wach`")).await;
    process.text_line("    hint: did you mean `watch`?").await;
    assert_eq!(visitor.open("/").await.status, StatusCode::UNAUTHORIZED);

    home.write("gateway.toml", &text.replace("[[route]]", "[[route]]\naccess = \"public\"\nwhole_site = true"));
    process.text_line("gateway.toml: route localhost/ becomes public (allows more than before)").await;
    process.text_line("  route localhost/ changes whole_site from false to true").await;
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);

    home.write("gateway.toml", &format!("{text}\n"));
    process.text_line("gateway.toml: route localhost/ changes from public to signed-in").await;
    assert_eq!(visitor.open("/").await.status, StatusCode::UNAUTHORIZED);
    let log = process.log();
    assert!(!log.iter().any(|line| line.contains("the configuration was")), "{log:#?}");
}
