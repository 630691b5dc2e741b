//! Sessions: how long they last, on how many gateways, and what a cookie must be to name one.

use std::time::Duration;

use http::{Method, StatusCode};
use linkgate::clock::Clock;

use crate::failing_store::Failing;
use crate::harness::{Gate, PATIENCE, START, Visitor, mail};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_was_not_used_for_too_long() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    // Each use begins the twelve hours anew.
    for _ in 0..3 {
        gate.clock.advance(12 * HOUR - Duration::from_secs(1));
        assert_eq!(visitor.open("/x").await.status, StatusCode::OK);
        gate.running.settle().await;
    }
    gate.clock.advance(12 * HOUR);
    let led = visitor.open("/x").await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2Fx");
    let page = visitor.open(led.location()).await;
    assert_eq!(page.heading(), "Sign in to localhost");
    assert!(page.body.contains("You were signed out after 12 hours without use."), "{}", page.body);
    assert_eq!(visitor.session_cookie(), "", "the cookie that names nothing goes");
    let page = visitor.open(led.location()).await;
    assert!(!page.body.contains("You were signed out"), "it is said once");
    assert_eq!(gate.recorder.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_lifetime_however_much_it_is_used() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let session = visitor.program().open("/.linkgate/session").await.json();
    for _ in 0..27 {
        gate.clock.advance(6 * HOUR);
        assert_eq!(visitor.open("/x").await.status, StatusCode::OK);
        gate.running.settle().await;
    }
    assert_eq!(visitor.program().open("/.linkgate/session").await.json(), session, "its end has not moved");
    gate.clock.advance(6 * HOUR - Duration::from_secs(1));
    assert_eq!(visitor.open("/x").await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(1));
    let led = visitor.open("/x").await;
    let page = visitor.open(led.location()).await;
    assert!(page.body.contains("You were signed out to keep your account safe."), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_does_not_extend_a_session_or_break_the_gateway() {
    let gate = Gate::start().await;
    let start = gate.clock.now();
    let mut visitor = gate.signed_in("ada@example.com").await;
    gate.clock.set(start.minus(24 * HOUR));
    assert_eq!(visitor.open("/x").await.status, StatusCode::OK);
    gate.running.settle().await;
    gate.clock.set(start.plus(12 * HOUR));
    assert_eq!(visitor.open("/x").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_is_shown_to_its_visitor_alone() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("root@example.com").await;
    let shown = visitor.send(Method::GET, "/.linkgate/session", &[("origin", "https://evil.test")], "").await;
    let json = shown.json();
    let expected = serde_json::json!({
        "subject": json["subject"],
        "email": "root@example.com",
        "email_verified": true,
        "name": "Rita Root",
        "groups": ["ops", "on, call"],
        "roles": ["admin"],
        "signed_in_at": "2027-01-15T08:00:00Z",
        "expires_at": "2027-01-22T08:00:00Z",
    });
    assert_eq!((shown.status, shown.header("content-type"), &json), (StatusCode::OK, "application/json", &expected));
    let shared: Vec<_> = shown.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(shared.is_empty(), "no other site may read it: {shared:?}");
    let subject = json["subject"].as_str().unwrap();
    assert!(!subject.is_empty() && !subject.contains('@'));

    // JSON whatever is accepted: programs of every kind ask.
    for mut stranger in [gate.visitor(), gate.visitor().program()] {
        let refused = stranger.open("/.linkgate/session").await;
        let expected = serde_json::json!({
            "error": "sign_in_required",
            "message": "Sign in to go on.",
            "login_url": "http://localhost:8080/.linkgate/sign-in",
            "request_id": refused.header("x-request-id"),
        });
        assert_eq!((refused.status, refused.json()), (StatusCode::UNAUTHORIZED, expected));
        assert_eq!(refused.header("www-authenticate"), "Cookie realm=\"linkgate\"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_waiting_page_says_when_sign_in_was_finished_in_another_tab() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    assert_eq!(visitor.open("/.linkgate/sign-in/sent").await.location(), "/.linkgate/sign-in");
    visitor.ask_for_link("ada@example.com", "/x#y").await;
    let waiting = visitor.open("/.linkgate/sign-in/sent").await;
    assert!(waiting.body.contains("If <bdi>ada@example.com</bdi> can sign in here, a link is on its way."));
    assert!(waiting.body.contains("<noscript><p class=\"ways\"><a href=\"/x#y\">"), "{}", waiting.body);
    let callback = visitor.press_link(&gate, "ada@example.com").await;
    visitor.open(&callback).await;
    let waiting = visitor.open("/.linkgate/sign-in/sent").await;
    assert_eq!(waiting.heading(), "You're signed in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_names_a_session_by_every_one_of_its_bytes() {
    let gate = Gate::start().await;
    let visitor = gate.signed_in("ada@example.com").await;
    let genuine = visitor.session_cookie();
    let mut strangers = vec![
        String::new(),
        "x".to_owned(),
        "A".repeat(59),
        "A".repeat(4000),
        format!("{genuine}="),
        format!("{genuine}A"),
        format!("\"{genuine}\""),
        format!(" {genuine}."),
        genuine[1..].to_owned(),
    ];
    for at in 0..genuine.len() {
        let other = if &genuine[at..=at] == "A" { "B" } else { "A" };
        strangers.push(format!("{}{other}{}", &genuine[..at], &genuine[at + 1..]));
    }
    let program = gate.visitor().program();
    for value in &strangers {
        let cookies = format!("linkgate={value}");
        let answer = program.clone().send(Method::GET, "/x", &[("cookie", &cookies)], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
    }
    assert!(gate.recorder.requests().is_empty());

    let eve = gate.signed_in("eve@example.com").await.session_cookie();
    let crowd = (0..200).map(|number| format!("c{number}={number}; ")).collect::<String>();
    let cases = [
        (format!("linkgate={genuine}"), 200),
        (format!("other=1; linkgate={genuine}; more=2"), 200),
        (format!("{crowd}linkgate={genuine}"), 200),
        // Garbage under the name does not matter, a second session does.
        (format!("linkgate=x; linkgate={genuine}; linkgate={}", "A".repeat(59)), 200),
        (format!("linkgate={eve}; linkgate={genuine}"), 401),
        (format!("linkgate={genuine}; linkgate={genuine}"), 401),
        (format!("{}linkgate={genuine}", "linkgate=x; ".repeat(5)), 401),
        (format!("Linkgate={genuine}"), 401),
        (format!("__Host-linkgate={genuine}"), 401),
        (format!("linkgate-browser={genuine}"), 401),
    ];
    for (cookies, status) in cases {
        let answer = program.clone().send(Method::GET, "/x", &[("cookie", &cookies)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{cookies}");
    }
}

/// Waits until `visitor` is signed out at `gate`.
async fn is_signed_out_soon(visitor: &Visitor, gate: &Gate) {
    let out = async {
        while !visitor.is_known_as(gate, None).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, out).await.expect("the other gateway hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_store_know_the_same_sessions() {
    let one = Gate::start().await;
    let two = Gate::on(one.store.clone(), one.clock.clone(), |configuration| configuration).await;
    // Asked for at one, pressed and opened at the other.
    let mut visitor = one.visitor();
    visitor.ask_for_link("ada@example.com", "/x").await;
    mail(&one, "ada@example.com").await;
    let mut visitor = visitor.at(&two);
    let callback = visitor.press_link(&two, "ada@example.com").await;
    assert_eq!(visitor.open(&callback).await.location(), "/x");

    let mut visitor = visitor.at(&one);
    assert!(visitor.is_known_as(&one, Some("ada@example.com")).await);
    assert!(visitor.is_known_as(&two, Some("ada@example.com")).await);
    let copy = visitor.clone();
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert!(copy.is_known_as(&one, None).await, "where it was asked for, at once");
    // The clock stands still, so only word of it can make the other one forget.
    is_signed_out_soon(&copy, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_at_one_gateway_counts_at_the_other() {
    for tells_all in [false, true] {
        let clock = Clock::manual(START);
        let store = Failing::new(clock.clone());
        store.tell_all(tells_all);
        let one = Gate::on(store.clone(), clock.clone(), |configuration| configuration).await;
        let two = Gate::on(store, clock, |configuration| configuration).await;
        let visitor = one.signed_in("ada@example.com").await;
        assert!(visitor.is_known_as(&two, Some("ada@example.com")).await);
        for _ in 0..3 {
            one.clock.advance(8 * HOUR);
            assert!(visitor.is_known_as(&one, Some("ada@example.com")).await);
            one.running.settle().await;
        }
        assert!(visitor.is_known_as(&two, Some("ada@example.com")).await);
        one.clock.advance(12 * HOUR);
        assert!(visitor.is_known_as(&two, None).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_sessions_and_links_that_are_on_their_way() {
    let before = Gate::start().await;
    let signed_in = before.signed_in("ada@example.com").await;
    let (waiting, callback) = before.asked("bob@example.com", "/bob").await;
    let mut early = before.visitor();
    early.ask_for_link("eve@example.com", "/eve").await;
    let (store, clock) = (before.store.clone(), before.clock.clone());
    before.running.settle().await;
    before.running.stop().await;

    let after = Gate::on(store, clock, |configuration| configuration).await;
    assert!(signed_in.is_known_as(&after, Some("ada@example.com")).await);
    assert_eq!(waiting.at(&after).open(&callback).await.location(), "/bob");
    let mut early = early.at(&after);
    let callback = early.press_link(&after, "eve@example.com").await;
    assert_eq!(early.open(&callback).await.location(), "/eve");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_leaves_everybody_signed_out_and_able_to_sign_in() {
    let before = Gate::start().await;
    let mut visitor = before.signed_in("ada@example.com").await;
    let after = Gate::start().await;
    visitor = visitor.at(&after);
    assert!(visitor.is_known_as(&after, None).await);
    visitor.sign_in(&after, "ada@example.com", "/").await;
    assert!(visitor.is_known_as(&after, Some("ada@example.com")).await);
}
