//! The link comes back: whose hands it works in, how often, and what everybody else is told.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::harness::{Gate, Visitor, mail, parameter};

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const NEWER_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
const OTHER_BROWSER: &str = "Open this link where you started";

type Fields<'a> = &'a [(&'a str, &'a str)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_asking_browsers_own_navigation_redeems_a_link() {
    let gate = Gate::start().await;
    let (visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let cases: [(Method, Fields<'_>, u16); 10] = [
        (Method::HEAD, &[], 405),
        (Method::POST, &[], 405),
        (Method::OPTIONS, &[], 405),
        (Method::GET, &[("purpose", "prefetch")], 403),
        (Method::GET, &[("sec-purpose", "prefetch;prerender")], 403),
        (Method::GET, &[("x-moz", "prefetch")], 403),
        (Method::GET, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], 403),
        (Method::GET, &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], 403),
        (Method::GET, &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], 403),
        (Method::GET, &[("sec-fetch-mode", "websocket")], 403),
    ];
    for (method, fields, status) in cases {
        let answer = visitor.clone().send(method.clone(), &callback, fields, "").await;
        assert_eq!((answer.status.as_u16(), answer.gives_session()), (status, false), "{method} {fields:?}");
    }

    let mut stranger = gate.visitor();
    stranger.open("/.linkgate/sign-in").await;
    let program = visitor.program().open(&callback).await;
    assert_eq!((program.status, &program.json()["error"]), (StatusCode::FORBIDDEN, &"other_browser".into()));
    for mut stranger in [gate.visitor(), stranger, visitor.clone().calling_itself(CHROME)] {
        let answer = stranger.open(&callback).await;
        assert_eq!((answer.status, answer.heading()), (StatusCode::FORBIDDEN, OTHER_BROWSER), "{stranger:?}");
        assert!(!answer.gives_session() && !answer.body.contains("ada@"), "{answer:?}");
    }
    assert_eq!(gate.counted("redeemed").await, 0);

    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site")];
    let mut visitor = visitor.calling_itself(NEWER_FIREFOX);
    let landed = visitor.send(Method::GET, &callback, &navigation, "").await;
    assert_eq!((landed.location(), landed.gives_session()), ("/x", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_that_opens_links_and_presses_buttons_spends_nothing() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada@example.com", "/x").await;
    let link = mail(&gate, "ada@example.com").await["link"].as_str().unwrap().to_owned();

    let mut scanner = gate.visitor().calling_itself(CHROME);
    for _ in 0..2 {
        assert_eq!(scanner.open(&link).await.status, StatusCode::OK);
        let callback = scanner.press_link(&gate, "ada@example.com").await;
        assert_eq!(scanner.open(&callback).await.heading(), OTHER_BROWSER);
    }
    assert!(scanner.is_known_as(&gate, None).await);

    let callback = visitor.press_link(&gate, "ada@example.com").await;
    assert_eq!(visitor.open(&callback).await.location(), "/x");
    assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attackers_link_signs_nobody_else_in() {
    let gate = Gate::start().await;
    let (mut attacker, theirs) = gate.asked("eve@example.com", "/trap").await;
    let (mut victim, own) = gate.asked("ada@example.com", "/").await;

    // Eve's own code and state in Ada's browser, and then Eve's code with Ada's state.
    let answer = victim.open(&theirs).await;
    assert_eq!((answer.heading(), answer.gives_session()), (OTHER_BROWSER, false));
    let mixed = format!("/.linkgate/callback?code={}&state={}", parameter(&theirs, "code"), parameter(&own, "state"));
    let answer = victim.open(&mixed).await;
    assert_eq!((answer.status, answer.gives_session()), (StatusCode::BAD_GATEWAY, false));
    assert!(victim.is_known_as(&gate, None).await);
    assert!(!answer.body.contains("eve@example.com"));

    // The same while Ada is signed in: she stays who she is.
    let mut victim = gate.visitor();
    gate.clock.advance(Duration::from_secs(30));
    victim.sign_in(&gate, "ada@example.com", "/").await;
    attacker.ask_for_link("eve@example.com", "/trap").await;
    let theirs = attacker.press_link(&gate, "eve@example.com").await;
    assert_eq!(victim.open(&theirs).await.heading(), OTHER_BROWSER);
    assert!(victim.is_known_as(&gate, Some("ada@example.com")).await);

    assert!(attacker.open(&theirs).await.gives_session(), "Eve's link was not spent by all that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thirty_callbacks_at_once_one_makes_a_session() {
    let gate = Gate::start().await;
    let (visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let callbacks = (0..30).map(|_| {
        let (mut visitor, callback) = (visitor.clone(), callback.clone());
        tokio::spawn(async move { visitor.open(&callback).await })
    });
    let mut sessions = 0;
    for answer in callbacks.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.gives_session() {
            sessions += 1;
            assert_eq!(answer.location(), "/x");
        } else {
            assert_eq!((answer.status, answer.heading()), (StatusCode::GONE, "This link was already used"));
        }
    }
    assert_eq!((sessions, gate.counted("redeemed").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_with_two_readings_or_none_is_refused() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
    for query in [
        String::new(),
        format!("?code={code}"),
        format!("?state={state}"),
        format!("?code=&state={state}"),
        format!("?code={code}&code={code}&state={state}"),
        format!("?code={code}&state={state}&state={state}"),
        format!("?code[]={code}&state={state}"),
        format!("?code={code}&state[0]={state}"),
        format!("?code={code}%00&state={state}"),
        format!("?code=%ff%fe&state={state}"),
        format!("?code={code}&state={state}%0a"),
        format!("?code={code}&state={}", &state[1..]),
        format!("?code={}&state={state}", "x".repeat(10_000)),
        format!("?code={code}&state={state}&error=access_denied"),
        format!("?Code={code}&State={state}"),
    ] {
        let answer = visitor.open(&format!("/.linkgate/callback{query}")).await;
        assert_eq!((answer.status, answer.gives_session()), (StatusCode::BAD_REQUEST, false), "{query:.120}");
    }
    let unknown = "x".repeat(43);
    let answer = visitor.open(&format!("/.linkgate/callback?code={code}&state={unknown}")).await;
    assert_eq!(answer.heading(), "This link has expired");
    let answer = visitor.open(&format!("/.linkgate/callback?code={unknown}&state={unknown}")).await;
    assert_eq!(answer.heading(), "This link has expired");
    assert_eq!(visitor.open(&callback).await.location(), "/x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_link_says_so_and_signs_nobody_in() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x").await;
    gate.clock.advance(Duration::from_secs(600));
    let answer = visitor.open(&callback).await;
    assert_eq!((answer.status, answer.heading()), (StatusCode::GONE, "This link has expired"));
    assert!(answer.body.contains("Links work for 10 minutes."));
    let link = mail(&gate, "ada@example.com").await["link"].as_str().unwrap().to_owned();
    let answer = visitor.open(&link).await;
    assert_eq!((answer.status, answer.heading()), (StatusCode::GONE, "This link has expired"));
    visitor.sign_in(&gate, "ada@example.com", "/x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_works_until_its_last_second() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x").await;
    gate.clock.advance(Duration::from_secs(599));
    assert_eq!(visitor.open(&callback).await.location(), "/x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosaic_says_about_a_link_is_not_echoed_and_spends_nothing() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x").await;
    let state = parameter(&callback, "state");
    let refused = format!("/.linkgate/callback?error=%3Cscript%3Eevil&error_description=visit+evil.test&state={state}");
    let answer = visitor.open(&refused).await;
    assert_eq!((answer.status, answer.heading()), (StatusCode::GONE, "This link has expired"));
    assert!(!answer.body.contains("evil"), "{}", answer.body);
    assert_eq!((answer.field("email"), answer.field("return_to")), ("ada@example.com".to_owned(), "/x".to_owned()));
    let elsewhere = gate.visitor().open(&refused).await;
    assert!(!elsewhere.body.contains("ada@") && !elsewhere.body.contains("evil"), "{}", elsewhere.body);
    assert_eq!(visitor.open(&callback).await.location(), "/x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_opened_again_leads_on_without_a_second_redemption() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/x#y").await;
    let landed = visitor.open(&callback).await;
    assert_eq!(landed.location(), "/x#y");
    assert!(!visitor.jar.contains_key("linkgate-browser"), "the browser's name is forgotten once it is not needed");
    let session = visitor.session_cookie();
    for _ in 0..3 {
        let again = visitor.open(&callback).await;
        assert_eq!((again.location(), again.gives_session()), ("/x#y", false));
    }
    assert_eq!(visitor.session_cookie(), session);
    assert_eq!(gate.counted("redeemed").await, 1);
    // Nobody else gets anything out of it, and what they read is true.
    let stranger = gate.visitor().open(&callback).await;
    assert_eq!((stranger.status, stranger.heading()), (StatusCode::GONE, "This link was already used"));
    assert!(!stranger.body.contains("ada@") && !stranger.body.contains("/x"), "{}", stranger.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_addresses_asked_for_in_two_tabs_may_finish_in_either_order() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada@example.com", "/ada").await;
    visitor.ask_for_link("bob@example.com", "/bob").await;
    let bobs = visitor.press_link(&gate, "bob@example.com").await;
    let adas = visitor.press_link(&gate, "ada@example.com").await;

    assert_eq!(visitor.open(&bobs).await.location(), "/bob");
    let as_bob = visitor.clone();
    assert!(as_bob.is_known_as(&gate, Some("bob@example.com")).await);
    assert_eq!(visitor.open(&adas).await.location(), "/ada");
    assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await);
    assert!(as_bob.is_known_as(&gate, None).await, "the session before is over, whoever kept its cookie");
    assert_eq!(visitor.open(&bobs).await.location(), "/bob", "a used link only leads on");
    assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_there_before_is_not_the_one_after() {
    let gate = Gate::start().await;
    let planted = gate.signed_in("eve@example.com").await;
    for cookie in [planted.session_cookie(), "x".repeat(59), String::new()] {
        gate.clock.advance(Duration::from_secs(30));
        let (mut visitor, callback) = gate.asked("ada@example.com", "/").await;
        visitor.jar.insert("linkgate".to_owned(), cookie.clone());
        assert!(visitor.open(&callback).await.gives_session(), "{cookie}");
        assert_ne!(visitor.session_cookie(), cookie);
        assert!(visitor.is_known_as(&gate, Some("ada@example.com")).await);
    }
    assert!(planted.is_known_as(&gate, None).await, "a session that another takes the place of is ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_for_the_one_who_is_signed_in_leads_on_unspent() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada@example.com", "/first").await;
    let first = visitor.press_link(&gate, "ada@example.com").await;
    gate.clock.advance(Duration::from_secs(30));
    visitor.ask_for_link("ada@example.com", "/second").await;
    let second = visitor.press_link(&gate, "ada@example.com").await;
    assert_eq!(visitor.open(&second).await.location(), "/second");
    let session = visitor.session_cookie();
    assert_eq!(visitor.open(&first).await.location(), "/first");
    assert_eq!((visitor.session_cookie(), gate.counted("redeemed").await), (session, 1));
}

/// Makes the issuer's record of the user say `status`.
async fn set_status(gate: &Gate, visitor: &Visitor, status: &str) {
    let subject = visitor.program().open("/.linkgate/session").await.json()["subject"].as_str().unwrap().to_owned();
    let name = format!("issuer/user/{subject}");
    let record = gate.store.get(&name).await.unwrap().unwrap();
    let mut user: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(user["status"], "Active");
    user["status"] = status.into();
    let never = linkgate::clock::Timestamp::NEVER;
    gate.store.put(&name, user.to_string().as_bytes(), never).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_was_disabled_meanwhile_is_not_let_in() {
    let gate = Gate::start().await;
    let before = gate.signed_in("ada@example.com").await;
    gate.clock.advance(Duration::from_secs(30));
    let (mut visitor, callback) = gate.asked("ada@example.com", "/").await;
    set_status(&gate, &before, "Disabled").await;
    let answer = visitor.open(&callback).await;
    assert_eq!((answer.status, answer.gives_session()), (StatusCode::FORBIDDEN, false));
    assert!(visitor.is_known_as(&gate, None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_of_the_moment_decides_when_the_link_comes_back() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked("ada@example.com", "/").await;
    let stricter = |configuration: String| configuration + "[sign_in]\nallow = [\"@staff.example.com\"]\n";
    let gate = Gate::on(gate.store.clone(), gate.clock.clone(), stricter).await;
    visitor = visitor.at(&gate);
    let answer = visitor.open(&callback).await;
    assert_eq!((answer.status, answer.gives_session()), (StatusCode::FORBIDDEN, false));
    assert!(visitor.is_known_as(&gate, None).await);
    assert_eq!(gate.counted("redeemed").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_signed_in_goes_on_when_a_used_link_is_opened_again() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada@example.com", "/x").await;
    let link = mail(&gate, "ada@example.com").await["link"].as_str().unwrap().to_owned();
    let callback = visitor.press(&link).await;
    visitor.open(&callback).await;
    let back = visitor.open(&link).await;
    assert_eq!(visitor.open(back.location()).await.location(), "/x");
    let mut stranger = gate.visitor();
    let led = stranger.open(&link).await;
    let told = stranger.open(led.location()).await;
    assert_eq!((told.status, told.heading()), (StatusCode::GONE, "This link was already used"));
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    let led = visitor.open(&link).await;
    let told = visitor.open(led.location()).await;
    assert_eq!((told.status, told.heading()), (StatusCode::GONE, "This link was already used"));
    assert_eq!(gate.counted("redeemed").await, 1);
}
