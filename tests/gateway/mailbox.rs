//! The development mailbox beside a gateway: what becomes of mail is chosen on its page, or by a test.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Gate, closed_port, configuration, mail, try_mail};
use crate::program::Home;

const MAILBOX: &str = "/.linkgate/mailbox";
const SENDING: &str = "/.linkgate/mailbox/sending";
const ROOT: &str = "root@example.com";

impl Gate {
    /// Chooses as a test does.
    async fn choose(&self, sending: &str) {
        let choice = json!({ "sending": sending });
        let json = [("content-type", "application/json")];
        let answer = self.visitor().program().send(Method::POST, SENDING, &json, &choice.to_string()).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, choice));
    }

    async fn chosen(&self) -> Value {
        self.visitor().program().open(SENDING).await.json()["sending"].take()
    }
}

fn says_unavailable(answer: &Answer) {
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "Sign-in is not available just now");
    assert_eq!((answer.status, answer.heading()), expected, "{answer:?}");
}

#[tokio::test]
async fn while_sending_fails_visitors_are_told_at_once_and_afterwards_all_is_well_at_once() {
    let gate = Gate::start().await;
    let mut waiting = gate.visitor();
    waiting.ask_for_link(ROOT, "/").await;
    let csrf = waiting.open("/.linkgate/sign-in/sent").await.field("csrf");
    assert_eq!(gate.mails().await, 1);

    gate.choose("fails").await;
    let mut visitor = gate.visitor();
    says_unavailable(&visitor.ask_for_link("ada@example.com", "/").await);
    says_unavailable(&waiting.post("/.linkgate/sign-in/code", &[("send", "1"), ("csrf", &csrf)]).await);
    assert_eq!(gate.mails().await, 1);
    let page = visitor.open(MAILBOX).await;
    assert!(page.body.contains("<details open>\n<summary>Sending fails</summary>"), "{}", page.body);
    assert!(page.body.contains("value=\"fails\" checked"), "{}", page.body);

    gate.choose("works").await;
    visitor.sign_in(&gate, "ada@example.com", "/").await;
    let page = visitor.open(MAILBOX).await;
    assert!(page.body.contains("<details>\n<summary>Mail arrives at once</summary>"), "{}", page.body);
}

#[tokio::test]
async fn slow_mail_is_there_after_ten_seconds() {
    let gate = Gate::start().await;
    gate.choose("slow").await;
    let mut visitor = gate.visitor();
    assert_eq!(visitor.ask_for_link(ROOT, "/").await.location(), "/.linkgate/sign-in/sent");
    for seconds in [0, 9] {
        gate.clock.advance(Duration::from_secs(seconds));
        assert_eq!(try_mail(&gate, ROOT).await.status, StatusCode::NOT_FOUND, "{seconds}");
        let page = visitor.open(MAILBOX).await.body;
        assert!(page.contains("<summary>Mail takes 10 seconds</summary>") && !page.contains(ROOT), "{page}");
        assert_eq!(visitor.open("/.linkgate/mailbox/000000000001").await.status, StatusCode::NOT_FOUND);
    }
    gate.clock.advance(Duration::from_secs(1));
    assert!(visitor.open(MAILBOX).await.body.contains(ROOT));
    let callback = visitor.press(mail(&gate, ROOT).await["link"].as_str().unwrap()).await;
    assert!(visitor.open(&callback).await.gives_session());
}

#[tokio::test]
async fn the_choice_is_made_by_a_form_of_our_own_pages_only() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let form = ("content-type", "application/x-www-form-urlencoded");
    for sender in [("origin", "http://evil.test"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        for (kind, body) in [(form, "sending=fails"), (("content-type", "application/json"), "{\"sending\":\"fails\"}")]
        {
            let answer = visitor.send(Method::POST, SENDING, &[kind, sender], body).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (StatusCode::FORBIDDEN, &json!("stale_form")),
                "{sender:?}"
            );
        }
    }
    assert_eq!(gate.chosen().await, "works");
    for (sending, body) in [("fails", "sending=fails"), ("slow", "sending=slow"), ("works", "sending=works")] {
        let ours = [form, ("sec-fetch-site", "same-origin"), ("origin", "null")];
        let answer = visitor.send(Method::POST, SENDING, &ours, body).await;
        assert_eq!((answer.location(), gate.chosen().await), (MAILBOX, json!(sending)));
    }
    for body in ["", "sending=", "sending=never", "x=fails"] {
        let answer = visitor.send(Method::POST, SENDING, &[form], body).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("bad_request")),
            "{body}"
        );
    }
    assert_eq!(gate.chosen().await, "works");
}

#[tokio::test]
async fn the_choice_holds_for_every_gateway_on_the_store_and_for_a_day() {
    let gate = Gate::start().await;
    gate.choose("fails").await;
    let beside = Gate::on(Arc::clone(&gate.store), gate.clock.clone(), |configuration| configuration).await;
    says_unavailable(&beside.visitor().ask_for_link(ROOT, "/").await);
    gate.clock.advance(Duration::from_secs(86_400));
    assert_eq!(beside.chosen().await, "works");
    beside.signed_in(ROOT).await;
}

#[tokio::test]
async fn an_invitation_is_not_mailed_while_sending_fails() {
    let text = configuration(closed_port().await).replace("\"memory\"", "\"sqlite:store.db\"");
    let home = Home::with(&text.replace("[[route]]\n", "[[route]]\nallow = { groups = ['staff'] }\n"));
    let program = home.start().await;
    assert_eq!(program.visitor().post(SENDING, &[("sending", "fails")]).await.location(), MAILBOX);
    let ended = home.run(&["invite", ROOT, "--route", "/"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: failed to send a mail\n  hint: the grant stands"), "{}", ended.stderr);
}
