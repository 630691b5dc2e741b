//! Signing out: asked for on a page, done by a form, effective at once and everywhere it is said to be.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::harness::{Gate, Visitor};

const SIGN_OUT: &str = "/.linkgate/sign-out";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// How many sessions the issuer has for whom the visitor is signed in as.
pub(crate) async fn issuer_sessions(gate: &Gate, subject: &str) -> usize {
    gate.running.settle().await;
    gate.store.index_members(&format!("issuer/sessions_of/{subject}")).await.unwrap().len()
}

pub(crate) async fn subject(visitor: &Visitor) -> String {
    visitor.program().open("/.linkgate/session").await.json()["subject"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_ends_the_session_for_whoever_has_its_cookie() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let subject = subject(&visitor).await;
    assert_eq!(issuer_sessions(&gate, &subject).await, 1);

    let page = visitor.open(SIGN_OUT).await;
    assert_eq!(page.heading(), "Sign out of localhost?");
    assert!(page.body.contains("<bdi>ada@example.com</bdi>"));
    assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await, "reading the page changes nothing");

    let copy = visitor.clone();
    let signed_out = visitor.post(SIGN_OUT, &[("csrf", &page.field("csrf"))]).await;
    assert_eq!(signed_out.location(), "/.linkgate/signed-out");
    assert_eq!(
        signed_out.set_cookies(),
        [
            "linkgate=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0",
            "linkgate-rounds=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        ]
    );
    assert_eq!(visitor.session_cookie(), "");
    assert!(copy.is_known_as(&gate, None).await);
    assert_eq!(copy.clone().open("/any").await.status, StatusCode::SEE_OTHER);
    assert_eq!(copy.program().open("/any").await.status, StatusCode::UNAUTHORIZED);
    let notice = copy.clone().open("/.linkgate/sign-in").await.body;
    assert!(notice.contains("You were signed out to keep your account safe."), "{notice}");
    assert_eq!(issuer_sessions(&gate, &subject).await, 0, "the session at the issuer is over too");
    assert!(gate.recorder.requests().is_empty());

    let done = visitor.open("/.linkgate/signed-out").await;
    assert_eq!((done.status, done.heading()), (StatusCode::OK, "You're signed out"));
    assert_eq!(visitor.open(SIGN_OUT).await.heading(), "You're signed out");
    assert_eq!(gate.counted("signed_out").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_form_of_the_sessions_own_page_signs_out() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let csrf = visitor.open(SIGN_OUT).await.field("csrf");
    let others = gate.signed_in("eve@example.com").await.open(SIGN_OUT).await.field("csrf");
    let forged: [(&str, &[(&str, &str)]); 7] = [
        ("", &[]),
        ("x", &[]),
        (&others, &[]),
        (&csrf, &[("origin", "https://evil.test")]),
        (&csrf, &[("origin", "null")]),
        (&csrf, &[("sec-fetch-site", "cross-site"), ("origin", "null")]),
        (&csrf, &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")]),
    ];
    for (csrf, fields) in forged {
        let form = format!("csrf={csrf}&everywhere=1");
        let answer = visitor.send(Method::POST, SIGN_OUT, &[&[FORM], fields].concat(), &form).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::FORBIDDEN, 0), "{csrf:?} {fields:?}");
    }
    let doubled = format!("csrf={csrf}&csrf={csrf}");
    let answer = visitor.send(Method::POST, SIGN_OUT, &[FORM], &doubled).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
        visitor.send(method, &format!("{SIGN_OUT}?csrf={csrf}&everywhere=1"), &[], "").await;
    }
    visitor.open("/.linkgate/signed-out").await;
    assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await);
    assert_eq!(gate.counted("signed_out").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_everywhere_ends_every_session_of_the_user_and_no_other() {
    let gate = Gate::start().await;
    let mut here = gate.signed_in("ada@example.com").await;
    gate.clock.advance(Duration::from_secs(30));
    let there = gate.signed_in("ada@example.com").await;
    let other = gate.signed_in("eve@example.com").await;
    let subject = subject(&here).await;
    assert_eq!(issuer_sessions(&gate, &subject).await, 2);

    let csrf = here.open(SIGN_OUT).await.field("csrf");
    let copy = here.clone();
    let done = here.post(SIGN_OUT, &[("csrf", &csrf), ("everywhere", "1")]).await;
    assert_eq!(here.open(done.location()).await.heading(), "You're signed out on all devices");
    assert!(copy.is_known_as(&gate, None).await);
    assert!(there.is_known_as(&gate, None).await);
    assert!(other.is_known_as(&gate, Some("eve@example.com")).await);
    assert_eq!(issuer_sessions(&gate, &subject).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_here_leaves_the_other_devices_alone() {
    let gate = Gate::start().await;
    let mut here = gate.signed_in("ada@example.com").await;
    gate.clock.advance(Duration::from_secs(30));
    let there = gate.signed_in("ada@example.com").await;
    let csrf = here.open(SIGN_OUT).await.field("csrf");
    here.post(SIGN_OUT, &[("csrf", &csrf)]).await;
    assert!(there.is_known_as(&gate, Some("ada@example.com")).await);
    assert_eq!(issuer_sessions(&gate, &subject(&there).await).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_record_is_gone_is_ended_at_the_issuer_all_the_same() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let subject = subject(&visitor).await;
    let csrf = visitor.open(SIGN_OUT).await.field("csrf");
    // So it is left by a store that removes the record and cannot say so.
    for key in gate.store.index_members(&format!("sessions_of:{subject}")).await.unwrap() {
        gate.store.remove(&format!("session:{key}")).await.unwrap();
    }
    let signed_out = visitor.post(SIGN_OUT, &[("csrf", &csrf)]).await;
    assert_eq!(signed_out.location(), "/.linkgate/signed-out");
    assert_eq!(issuer_sessions(&gate, &subject).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_that_says_signed_out_is_not_shown_to_who_is_signed_in() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    assert_eq!(visitor.open("/.linkgate/signed-out?everywhere=1").await.location(), SIGN_OUT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_comes_after_the_sessions_end_still_empties_the_jar() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let csrf = visitor.open(SIGN_OUT).await.field("csrf");
    gate.clock.advance(Duration::from_secs(12 * 3600));
    let done = visitor.post(SIGN_OUT, &[("csrf", &csrf)]).await;
    assert_eq!(done.location(), "/.linkgate/signed-out");
    assert_eq!(visitor.session_cookie(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_is_one_press_away() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let page = visitor.open("/.linkgate/sign-in?return_to=/x").await;
    assert_eq!(page.heading(), "You're signed in");
    assert!(page.body.contains("You're signed in as <bdi>ada@example.com</bdi>."));
    let copy = visitor.clone();
    let form = [("csrf", &*page.field("csrf")), ("return_to", "/x"), ("then", "sign-in")];
    let onward = visitor.post(SIGN_OUT, &form).await;
    assert_eq!(onward.location(), "/.linkgate/sign-in?return_to=%2Fx");
    assert!(copy.is_known_as(&gate, None).await);
    visitor.sign_in(&gate, "eve@example.com", "/x").await;
    assert!(visitor.is_known_as(&gate, Some("eve@example.com")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_cookies_are_bound_to_the_host_when_set_and_when_cleared() {
    let gate =
        Gate::with(|configuration| configuration.replace("http://localhost:8080", "https://localhost:8080")).await;
    let mut visitor = gate.visitor();
    let page = visitor.open("/.linkgate/sign-in").await;
    let binding = format!(
        "__Host-linkgate-browser={}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400",
        visitor.jar["__Host-linkgate-browser"]
    );
    assert_eq!(page.set_cookies(), [binding]);

    let landed = visitor.sign_in(&gate, "ada@example.com", "/").await;
    let session = visitor.session_cookie();
    assert_eq!(
        landed.set_cookies(),
        [
            format!("__Host-linkgate={session}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=691200"),
            "__Host-linkgate-rounds=1; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60".to_owned(),
            "__Host-linkgate-browser=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0".to_owned(),
        ]
    );
    assert_eq!(landed.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(session.len(), 59);
    assert!(session.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));

    let csrf = visitor.open(SIGN_OUT).await.field("csrf");
    let done = visitor.post(SIGN_OUT, &[("csrf", &csrf)]).await;
    assert_eq!(
        done.set_cookies(),
        [
            "__Host-linkgate=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0",
            "__Host-linkgate-rounds=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"
        ]
    );
}
