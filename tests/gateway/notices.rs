//! Notices by mail: of a sign-in by a new browser, and of a sign-out on all devices.

use std::time::Duration;

use crate::harness::{Gate, Visitor, mail};

const ADA: &str = "ada@example.com";
const HOUR: Duration = Duration::from_secs(3600);

async fn gate() -> Gate {
    Gate::with(|text| format!("{text}[sign_in]\nnotices = ['new-browser', 'signed-out-everywhere']\n")).await
}

/// Ada signs in by a browser of that name, an hour later than before.
async fn sign_in(gate: &Gate, user_agent: &str) -> Visitor {
    gate.clock.advance(HOUR);
    let mut visitor = gate.visitor().calling_itself(user_agent);
    visitor.sign_in(gate, ADA, "/").await;
    visitor
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const NEWER_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0";
const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_by_a_new_browser_is_told_once_and_the_first_one_never() {
    let gate = gate().await;
    sign_in(&gate, FIREFOX).await;
    assert_eq!(gate.mails().await, 1, "the first sign-in is new to nobody");
    sign_in(&gate, NEWER_FIREFOX).await;
    assert_eq!(gate.mails().await, 2, "another version is the same browser");
    sign_in(&gate, CHROME).await;
    assert_eq!(gate.mails().await, 4);
    let notice = mail(&gate, ADA).await;
    assert_eq!(notice["subject"], "New sign-in to localhost");
    let text = notice["text"].as_str().unwrap();
    assert!(text.contains("with Chrome on Windows 10 on 2027-01-15 11:00 (UTC), from 127.0.0.1"), "{text}");
    assert_eq!(notice["link"], "http://localhost:8080/.linkgate/account");
    sign_in(&gate, CHROME).await;
    assert_eq!(gate.mails().await, 5, "and is known from then on");
    sign_in(&gate, "x<b>evil.example</b> curl").await;
    let notice = mail(&gate, ADA).await;
    assert!(notice["text"].as_str().unwrap().contains("with a browser that we don't know"), "{notice}");
    assert!(!notice.to_string().contains("evil.example"), "{notice}");
    gate.signed_in("bob@example.com").await;
    assert_eq!(
        mail(&gate, "bob@example.com").await["subject"],
        "Sign in to localhost (13:00 UTC)",
        "each for themselves"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_on_all_devices_is_told() {
    let gate = gate().await;
    let mut ada = sign_in(&gate, FIREFOX).await;
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf), ("everywhere", "1")]).await;
    let notice = mail(&gate, ADA).await;
    assert_eq!(notice["subject"], "You were signed out of localhost everywhere");
    let mails = gate.mails().await;
    let mut ada = sign_in(&gate, FIREFOX).await;
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(gate.mails().await, mails + 1, "signing out here is told to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_there_are_no_notices() {
    let gate = Gate::start().await;
    sign_in(&gate, FIREFOX).await;
    let mut ada = sign_in(&gate, CHROME).await;
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf), ("everywhere", "1")]).await;
    assert_eq!(gate.mails().await, 2);
}
