//! The link opened on another device: choosing the number that the waiting page shows lets that page in, and nobody else.

use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use linkgate::clock::Clock;
use linkgate::secret::random_token;
use linkgate::store::{self, Location};

use crate::harness::{Answer, Gate, START, Visitor, mail};
use crate::redis_server::RedisServer;

const WAITING: &str = "/.linkgate/sign-in/sent";
const NUMBER: &str = "/.linkgate/sign-in/number";
const QUESTION: &str = "Which number is shown where you started?";
const WRONG: &str = "That wasn't the number";
const STOPPED: &str = "This sign-in was stopped";
const ADA: &str = "ada@example.com";

type Form<'a> = &'a [(&'a str, &'a str)];

fn on(text: String) -> String {
    text + "[sign_in]\nother_devices = \"match-number\"\n"
}

/// The numbers that a page offers.
fn offered(page: &Answer) -> Vec<String> {
    let buttons = page.body.split("name=\"number\" value=\"").skip(1);
    buttons.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// The number that the waiting page shows.
async fn shown(visitor: &mut Visitor) -> String {
    let page = visitor.open(WAITING).await;
    let rest = page.body.split_once("class=\"number\">").unwrap_or_else(|| panic!("no number: {page:?}")).1;
    rest.split_once('<').unwrap().0.to_owned()
}

/// One of the numbers that the waiting page does not show.
fn wrong(page: &Answer, right: &str) -> String {
    offered(page).into_iter().find(|number| number != right).unwrap()
}

async fn choose(device: &mut Visitor, page: &Answer, number: &str) -> Answer {
    let form = [("csrf", page.field("csrf")), ("opened", page.field("opened")), ("number", number.to_owned())];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    device.post(NUMBER, &form).await
}

async fn progress(visitor: &Visitor) -> String {
    let answer = visitor.program().open("/.linkgate/sign-in/progress").await;
    answer.json()["state"].as_str().unwrap().to_owned()
}

/// A browser that waits, the number that it shows, another device, and what it is shown.
async fn opened_elsewhere(gate: &Gate) -> (Visitor, String, Visitor, Answer) {
    let (mut visitor, callback) = gate.asked(ADA, "/x").await;
    let mut device = gate.visitor();
    let page = device.open(&callback).await;
    assert_eq!((page.status, page.heading()), (StatusCode::OK, QUESTION), "{page:?}");
    let right = shown(&mut visitor).await;
    (visitor, right, device, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_number_lets_the_waiting_browser_in_and_nobody_else() {
    let gate = Gate::with(on).await;
    let (mut visitor, right, mut device, page) = opened_elsewhere(&gate).await;
    let offers = offered(&page);
    assert_eq!((offers.len(), offers.contains(&right)), (3, true), "{offers:?}");
    let asked = "with <bdi>Firefox</bdi> on <bdi>Linux</bdi>, from <bdi>127.0.0.1</bdi>.";
    assert!(page.body.contains(asked), "{}", page.body);
    assert!(!page.body.contains(ADA), "{}", page.body);
    assert_eq!(progress(&visitor).await, "waiting");

    let chosen = choose(&mut device, &page, &right).await;
    assert!(!chosen.gives_session());
    let done = device.open(chosen.location()).await;
    assert_eq!(done.heading(), "Go back to the device where you started");
    assert!(device.is_known_as(&gate, None).await && visitor.is_known_as(&gate, None).await);
    assert_eq!((progress(&visitor).await.as_str(), progress(&device).await.as_str()), ("chosen", "waiting"));
    assert_eq!(device.open(WAITING).await.location(), "/.linkgate/sign-in");

    let ahead = visitor.send(Method::GET, WAITING, &[("purpose", "prefetch")], "").await;
    assert!(!ahead.gives_session(), "{ahead:?}");
    let landed = visitor.open(WAITING).await;
    assert_eq!((landed.location(), landed.gives_session()), ("/x", true));
    assert!(visitor.is_known_as(&gate, Some(ADA)).await && device.is_known_as(&gate, None).await);
    for (event, count) in [("number_right", 1), ("number_wrong", 0), ("redeemed", 1)] {
        assert_eq!(gate.counted(event).await, count, "{event}");
    }

    // Again, by whoever: nothing more comes of it.
    let again = choose(&mut device, &page, &right).await;
    assert_eq!((again.status, again.gives_session()), (StatusCode::GONE, false));
    assert!(device.is_known_as(&gate, None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_number_ends_the_attempt_its_link_and_its_code() {
    let gate = Gate::with(on).await;
    let (mut visitor, callback) = gate.asked(ADA, "/x").await;
    let code = mail(&gate, ADA).await["code"].as_str().unwrap().to_owned();
    let right = shown(&mut visitor).await;
    let mut device = gate.visitor();
    let page = device.open(&callback).await;
    let answer = choose(&mut device, &page, &wrong(&page, &right)).await;
    assert_eq!(device.open(answer.location()).await.heading(), WRONG);

    let second = choose(&mut device, &page, &right).await;
    assert_eq!((second.status, second.gives_session()), (StatusCode::GONE, false));
    assert_eq!(progress(&visitor).await, "stopped");
    let stopped = visitor.open(WAITING).await;
    assert_eq!((stopped.heading(), stopped.field("email").as_str()), (STOPPED, ADA));
    let csrf = stopped.field("csrf");
    let typed = visitor.post("/.linkgate/sign-in/code", &[("csrf", &csrf), ("code", &code)]).await;
    assert!(!typed.gives_session(), "{typed:?}");
    let link = visitor.open(&callback).await;
    assert_eq!((link.status, link.gives_session()), (StatusCode::GONE, false));
    assert_eq!((gate.counted("number_wrong").await, gate.counted("redeemed").await), (1, 0));

    // "Send again" begins anew. The mailbox offers no numbers for a day, and the link works where it was asked for.
    gate.clock.advance(Duration::from_secs(30));
    let again = [("csrf", csrf.as_str()), ("email", ADA), ("return_to", "/x"), ("again", "1")];
    assert_eq!(visitor.post("/.linkgate/sign-in", &again).await.location(), WAITING);
    assert_eq!(visitor.open(WAITING).await.heading(), "Check your email");
    let callback = visitor.press_link(&gate, ADA).await;
    assert_eq!(device.open(&callback).await.heading(), "Open this link where you started");
    assert_eq!(visitor.open(&callback).await.location(), "/x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_choices_at_once_one_counts() {
    let gate = Gate::with(on).await;
    let (mut visitor, right, device, page) = opened_elsewhere(&gate).await;
    let choices = (0..12).map(|at| {
        let (mut device, page) = (device.clone(), page.clone());
        let number = offered(&page)[at % 3].clone();
        tokio::spawn(async move { choose(&mut device, &page, &number).await })
    });
    let mut taken = 0;
    for answer in choices.collect::<Vec<_>>() {
        taken += usize::from(answer.await.unwrap().status == StatusCode::SEE_OTHER);
    }
    let (was_right, was_wrong) = (gate.counted("number_right").await, gate.counted("number_wrong").await);
    assert_eq!((taken, was_right + was_wrong), (1, 1));
    assert_eq!(visitor.open(WAITING).await.gives_session(), was_right == 1, "{right}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_spends_nothing_and_shows_the_same_numbers_again() {
    let gate = Gate::with(on).await;
    let (mut visitor, callback) = gate.asked(ADA, "/x").await;
    let mut scanner = gate.visitor();
    let first = scanner.open(&callback).await;
    for _ in 0..3 {
        assert_eq!(offered(&scanner.open(&callback).await), offered(&first));
    }
    assert_eq!(offered(&gate.visitor().open(&callback).await), offered(&first));
    let ahead = gate.visitor().send(Method::GET, &callback, &[("purpose", "prefetch")], "").await;
    assert_eq!((ahead.status, offered(&ahead).len()), (StatusCode::FORBIDDEN, 0));
    assert_eq!(gate.visitor().program().open(&callback).await.json()["error"], "other_browser");
    // In the browser that asked, nothing is different.
    assert_eq!(visitor.open(&callback).await.location(), "/x");
    assert_eq!(scanner.open(&callback).await.heading(), "This link was already used");
    let late = choose(&mut scanner, &first, &offered(&first)[0]).await;
    assert_eq!((late.status, late.gives_session()), (StatusCode::GONE, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_form_that_this_device_was_shown_counts() {
    let gate = Gate::with(on).await;
    let (mut visitor, right, mut device, page) = opened_elsewhere(&gate).await;
    let (csrf, opened) = (page.field("csrf"), page.field("opened"));
    let mut other = gate.visitor();
    let foreign = other.open("/.linkgate/sign-in").await.field("csrf");
    let theirs = [("csrf", foreign.as_str()), ("opened", opened.as_str()), ("number", right.as_str())];
    assert_eq!(other.post(NUMBER, &theirs).await.status, StatusCode::FORBIDDEN);
    assert_eq!(device.post(NUMBER, &theirs).await.status, StatusCode::FORBIDDEN);
    let cases: [(Form<'_>, u16); 6] = [
        (&[("opened", &opened), ("number", &right)], 403),
        (&[("csrf", &csrf), ("number", &right)], 403),
        (&[("csrf", &csrf), ("opened", "x"), ("number", &right)], 403),
        (&[("csrf", &csrf), ("opened", &opened)], 400),
        (&[("csrf", &csrf), ("opened", &opened), ("number", "7")], 400),
        (&[("csrf", &csrf), ("opened", &opened), ("number", "256")], 400),
    ];
    for (form, status) in cases {
        assert_eq!(device.post(NUMBER, form).await.status.as_u16(), status, "{form:?}");
    }
    device.fields.push(("origin".to_owned(), "https://evil.test".to_owned()));
    assert_eq!(choose(&mut device, &page, &right).await.status, StatusCode::FORBIDDEN);
    device.fields.pop();
    assert_eq!(progress(&visitor).await, "waiting");
    assert_eq!(choose(&mut device, &page, &right).await.status, StatusCode::SEE_OTHER);
    assert!(visitor.open(WAITING).await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_that_comes_too_late_or_whose_browser_is_gone_lets_nobody_in() {
    let gate = Gate::with(on).await;
    let (mut visitor, right, mut device, page) = opened_elsewhere(&gate).await;
    gate.clock.advance(Duration::from_secs(600));
    let late = choose(&mut device, &page, &right).await;
    assert_eq!((late.status, late.heading()), (StatusCode::GONE, "This link has expired"));
    assert!(!visitor.open(WAITING).await.gives_session());

    // Chosen in time, and not come for in time.
    let (mut visitor, right, mut device, page) = opened_elsewhere(&gate).await;
    assert_eq!(choose(&mut device, &page, &right).await.status, StatusCode::SEE_OTHER);
    let mut forgetful = visitor.clone();
    forgetful.jar.clear();
    assert_eq!(forgetful.open(WAITING).await.location(), "/.linkgate/sign-in");
    gate.clock.advance(Duration::from_secs(600));
    assert!(!visitor.open(WAITING).await.gives_session());
    assert_eq!(gate.counted("redeemed").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_mail_takes_the_numbers_of_the_one_before() {
    let gate = Gate::with(on).await;
    let (mut visitor, callback) = gate.asked(ADA, "/x").await;
    let mut device = gate.visitor();
    let page = device.open(&callback).await;
    let right = shown(&mut visitor).await;
    gate.clock.advance(Duration::from_secs(30));
    let csrf = visitor.open(WAITING).await.field("csrf");
    let again = [("csrf", csrf.as_str()), ("email", ADA), ("return_to", "/x"), ("again", "1")];
    assert_eq!(visitor.post("/.linkgate/sign-in", &again).await.location(), WAITING);
    assert_eq!(device.open(&callback).await.heading(), "There's a newer email");
    assert_eq!(choose(&mut device, &page, &right).await.status, StatusCode::GONE);
    assert_eq!(progress(&visitor).await, "waiting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_there_is_nothing_to_choose() {
    let gate = Gate::start().await;
    let (mut visitor, callback) = gate.asked(ADA, "/x").await;
    let mut device = gate.visitor();
    let page = device.open(&callback).await;
    assert_eq!((page.status, page.heading()), (StatusCode::FORBIDDEN, "Open this link where you started"));
    assert!(!visitor.open(WAITING).await.body.contains("class=\"number\""));
    assert_eq!(device.open(NUMBER).await.status, StatusCode::NOT_FOUND);
    assert_eq!(device.post(NUMBER, &[("number", "42")]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(progress(&visitor).await, "waiting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_chosen_at_one_gateway_counts_at_another() {
    let clock = Clock::manual(START);
    let location = RedisServer::shared().location(random_token().expose());
    let start = || {
        let location = Location::try_from(location.clone()).unwrap();
        Gate::on(store::open(&location, Path::new("."), clock.clone()).unwrap(), clock.clone(), on)
    };
    let (one, two) = (start().await, start().await);
    let (mut visitor, callback) = one.asked(ADA, "/x").await;
    let right = shown(&mut visitor).await;
    let mut device = two.visitor();
    let page = device.open(&callback).await;
    let (mut here, mut there) = (device.clone().at(&one), device.clone());
    let (first, second) = tokio::join!(choose(&mut here, &page, &right), choose(&mut there, &page, &right));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 410]);
    assert_eq!(visitor.at(&two).open(WAITING).await.location(), "/x");
}
