//! Budgets for asking: what a mailbox, a peer and a browser may use, and what they are told when it is used up.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::harness::{Answer, Gate, Visitor};

const SIGN_IN: &str = "/.linkgate/sign-in";
const SENT: &str = "/.linkgate/sign-in/sent";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_gets_so_many_links_in_an_hour_whoever_asks() {
    let gate = Gate::start().await;
    for address in
        ["ada@example.com", "Ada@Example.com", "ada+news@example.com", "ADA+x@example.com", "ada@example.com"]
    {
        gate.visitor().ask_for_link(address, "/").await;
        assert_eq!(gate.visitor().ask_for_link("ada+pause@example.com", "/").await.location(), SENT);
        gate.clock.advance(Duration::from_secs(30));
    }
    assert_eq!(gate.mails().await, 5, "one for each pause");

    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada+more@example.com", "/").await;
    assert_eq!(gate.mails().await, 5);
    let waiting = visitor.open(SENT).await;
    let line = "We've sent several emails to this address. You can ask again at \
                <time datetime=\"2027-01-15T09:00:00Z\">09:00 UTC</time>.";
    assert!(waiting.body.contains(line), "{}", waiting.body);
    assert!(!waiting.body.contains("Send again"));

    gate.clock.advance(Duration::from_secs(3600 - 5 * 30));
    visitor.sign_in(&gate, "ada+more@example.com", "/").await;
}

async fn ask(visitor: &mut Visitor, csrf: &str, address: &str, fields: &[(&str, &str)]) -> Answer {
    let body = format!("email={}&csrf={csrf}", address.replace('@', "%40"));
    visitor.send(Method::POST, SIGN_IN, &[&[FORM], fields].concat(), &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_asks_for_so_many_links_and_is_told_when_to_go_on() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    for number in 0..20 {
        assert_eq!(ask(&mut visitor, &csrf, &format!("a{number}@example.com"), &[]).await.location(), SENT);
    }
    gate.clock.advance(Duration::from_secs(60));
    // Nobody has reason to believe what this peer says about others.
    for fields in [&[][..], &[("x-forwarded-for", "192.0.2.7")], &[("forwarded", "for=192.0.2.7")]] {
        let refused = ask(&mut visitor, &csrf, "more@example.com", fields).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{fields:?}");
        assert_eq!((refused.header("retry-after"), refused.heading()), ("540", "Please wait a moment"), "{fields:?}");
    }
    let refused = ask(&mut visitor.program(), &csrf, "more@example.com", &[]).await;
    assert_eq!((refused.json()["error"].as_str(), refused.header("retry-after")), (Some("too_many_requests"), "540"));
    assert_eq!(gate.mails().await, 20);
    gate.clock.advance(Duration::from_secs(540));
    assert_eq!(ask(&mut visitor, &csrf, "more@example.com", &[]).await.location(), SENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_every_visitor_has_a_budget_of_their_own() {
    let gate = Gate::with(|configuration| {
        format!("trusted_proxies = [\"127.0.0.1/32\"]\n{configuration}[sign_in]\nlinks_per_peer = 1\n")
    })
    .await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let from = |peer: &'static str| [("x-forwarded-for", peer)];
    assert_eq!(ask(&mut visitor, &csrf, "a@example.com", &from("192.0.2.1")).await.location(), SENT);
    assert_eq!(ask(&mut visitor, &csrf, "b@example.com", &from("192.0.2.2")).await.location(), SENT);
    // What stands before the proxy's own word is the visitor's.
    let refused = ask(&mut visitor, &csrf, "c@example.com", &from("192.0.2.3, 192.0.2.1")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_too_many_attempts_in_one_browser_the_oldest_goes() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let mut callbacks = Vec::new();
    for number in 0..9 {
        let address = format!("a{number}@example.com");
        visitor.ask_for_link(&address, "/").await;
        callbacks.push(visitor.press_link(&gate, &address).await);
        gate.clock.advance(Duration::from_secs(1));
    }
    let oldest = visitor.open(&callbacks[0]).await;
    assert_eq!((oldest.status, oldest.heading()), (StatusCode::GONE, "This link has expired"));
    assert!(visitor.open(&callbacks[1]).await.gives_session());
    assert!(visitor.open(&callbacks[8]).await.gives_session());
}
