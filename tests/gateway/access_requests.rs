//! Asking for access: whom a route refuses asks its owners, one of them answers, and nobody else can.

use std::time::Duration;

use http::StatusCode;
use linkgate::secret::fingerprint;
use serde_json::Value;

use crate::harness::{Answer, Gate, Visitor, eventually, mail, parameter, try_mail, with_routes};
use crate::hosts::Traveller;

const BOB: &str = "bob@example.com";
const ROOT: &str = "root@example.com";
const ADA: &str = "ada@example.com";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\n\
    [[route]]\npath = '/wiki'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    owners = ['root@example.com', 'ada@example.com']\n\
    [[route]]\npath = '/closed'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    [[route]]\npath = '/denied'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    deny = { addresses = ['bob@example.com'] }\nowners = ['root@example.com']\n\
    [[route]]\nhost = 'wiki.localhost'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\nowners = ['root@example.com']\n";

async fn gate() -> Gate {
    Gate::with(|text| with_routes(&text, ROUTES)).await
}

/// Asks on the page that refuses the visitor, and gives where that leads.
async fn ask(visitor: &mut Visitor, path: &str) -> String {
    let refused = visitor.open(path).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let (csrf, route) = (refused.field("csrf"), refused.field("route"));
    assert!(!route.is_empty(), "nobody can be asked: {}", refused.body);
    let form = [("csrf", &*csrf), ("route", &route), ("return_to", path)];
    visitor.post("/.linkgate/access", &form).await.location().to_owned()
}

/// The links of an owner's mail, without their host: for an hour, a day, always, and no.
fn links(mail: &Value) -> Vec<String> {
    let text = mail["text"].as_str().unwrap();
    let links = text.lines().filter_map(|line| line.strip_prefix("http://localhost:8080"));
    links.map(str::to_owned).collect()
}

/// Answers as the owner who opened `link`, and gives the page that shows it.
async fn answer(owner: &mut Visitor, link: &str, word: &str) -> Answer {
    let page = owner.open(link).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let (path, _) = link.split_once('?').unwrap();
    let answered = owner.post(path, &[("csrf", &page.field("csrf")), ("answer", word)]).await;
    owner.open(answered.location()).await
}

async fn status(visitor: &Visitor, path: &str) -> u16 {
    visitor.program().open(path).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_lets_somebody_in_for_an_hour() {
    let gate = gate().await;
    let (mut bob, mut root) = (gate.signed_in(BOB).await, gate.signed_in(ROOT).await);
    let onward = ask(&mut bob, "/wiki/page?a=1").await;
    let asked = bob.open(&onward).await;
    assert_eq!((asked.status, asked.heading()), (StatusCode::OK, "We've asked for you"));
    assert!(asked.body.contains("href=\"/wiki/page?a=1\""), "{}", asked.body);

    let letter = mail(&gate, ROOT).await;
    assert_eq!(letter["subject"], "Someone asks for access to localhost/wiki");
    assert!(letter["text"].as_str().unwrap().contains("bob@example.com would like to open localhost/wiki"), "{letter}");
    let links = links(&letter);
    let words: Vec<String> = links.iter().map(|link| parameter(link, "answer")).collect();
    assert_eq!(words, ["hour", "day", "always", "no"]);
    assert_eq!(mail(&gate, ADA).await["text"], letter["text"], "each owner is asked");

    let page = root.open(&links[0]).await;
    assert!(page.body.contains("value=\"hour\" required checked"), "{}", page.body);
    assert_eq!(status(&bob, "/wiki").await, 403, "looking at the page answers nothing");
    let done = answer(&mut root, &links[0], "hour").await;
    assert!(done.body.contains("may open <bdi>localhost/wiki</bdi> until"), "{}", done.body);
    eventually(async || status(&bob, "/wiki").await == 200).await;
    let told = mail(&gate, BOB).await;
    assert_eq!(told["subject"], "You may open localhost/wiki");
    assert_eq!(told["link"], "http://localhost:8080/wiki/page?a=1");
    assert!(told["text"].as_str().unwrap().contains("until 2027-01-15 09:00 (UTC)"), "{told}");
    let metrics = gate.admin("/metrics").await.body;
    for event in ["asked", "granted"] {
        assert!(metrics.contains(&format!("linkgate_access_requests_total{{event=\"{event}\"}} 1")), "{metrics}");
    }
    gate.clock.advance(HOUR);
    assert_eq!(status(&bob, "/wiki").await, 403);
    assert_eq!(
        bob.open(&ask(&mut bob.clone(), "/wiki").await).await.heading(),
        "We've asked for you",
        "and asks again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_day_and_always_last_as_long_as_they_say() {
    let gate = gate().await;
    let mut root = gate.signed_in(ROOT).await;
    for (word, address, span) in [("day", BOB, Some(DAY)), ("always", "eve@example.com", None)] {
        let mut visitor = gate.signed_in(address).await;
        ask(&mut visitor, "/wiki").await;
        let link = links(&mail(&gate, ROOT).await).remove(0);
        answer(&mut root, &link, word).await;
        eventually(async || status(&visitor, "/wiki").await == 200).await;
        if let Some(span) = span {
            gate.clock.advance(span);
            let mut again = gate.signed_in(address).await;
            assert_eq!(again.open("/wiki").await.status, StatusCode::FORBIDDEN, "{word}");
            root = gate.signed_in(ROOT).await;
        } else {
            gate.clock.advance(DAY * 1000);
            let mut again = gate.signed_in(address).await;
            assert_eq!(again.open("/wiki").await.status, StatusCode::OK, "{word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_is_told_and_stands_for_a_day() {
    let gate = gate().await;
    let (mut bob, mut root) = (gate.signed_in(BOB).await, gate.signed_in(ROOT).await);
    ask(&mut bob, "/wiki").await;
    let link = links(&mail(&gate, ROOT).await).remove(3);
    let done = answer(&mut root, &link, "no").await;
    assert!(done.body.contains("<bdi>root@example.com</bdi> said no to <bdi>bob@example.com</bdi>"), "{}", done.body);
    assert_eq!(mail(&gate, BOB).await["subject"], "No access to localhost/wiki");
    let mails = gate.mails().await;
    let onward = ask(&mut bob, "/wiki").await;
    assert_eq!(bob.open(&onward).await.heading(), "The answer was no");
    assert_eq!((gate.mails().await, status(&bob, "/wiki").await), (mails, 403));
    gate.clock.advance(DAY);
    let mut bob = gate.signed_in(BOB).await;
    let onward = ask(&mut bob, "/wiki").await;
    assert_eq!(bob.open(&onward).await.heading(), "We've asked for you");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owners_are_asked_once() {
    let gate = gate().await;
    let mut bob = gate.signed_in(BOB).await;
    ask(&mut bob, "/wiki").await;
    gate.running.settle().await;
    let mails = gate.mails().await;
    let onward = ask(&mut bob, "/wiki").await;
    assert_eq!(bob.open(&onward).await.heading(), "We've asked for you");
    assert_eq!(gate.mails().await, mails);
    gate.clock.advance(7 * DAY);
    let mut bob = gate.signed_in(BOB).await;
    let before = gate.mails().await;
    ask(&mut bob, "/wiki").await;
    assert_eq!(gate.mails().await, before + 2, "a request that nobody answered is no more after a week");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_owner_answers_and_only_by_a_form_of_ours() {
    let gate = gate().await;
    let (mut bob, mut root) = (gate.signed_in(BOB).await, gate.signed_in(ROOT).await);
    ask(&mut bob, "/wiki").await;
    let link = links(&mail(&gate, ROOT).await).remove(2);
    let (path, _) = link.split_once('?').unwrap();
    let foreign = ("sec-fetch-site".to_owned(), "cross-site".to_owned());

    let mut stranger = gate.visitor();
    let led = stranger.open(&link).await;
    assert_eq!(parameter(led.location(), "return_to"), link, "who is signed out comes back to the answer");
    let csrf = bob.open("/.linkgate/sign-out").await.field("csrf");
    let seen = bob.open(&link).await;
    assert_eq!((seen.status, seen.heading()), (StatusCode::FORBIDDEN, "You don't have access to localhost"));
    assert!(!seen.body.contains("localhost/wiki"), "{}", seen.body);
    let form = [("csrf", &*csrf), ("answer", "always")];
    assert_eq!(bob.post(path, &form).await.status, StatusCode::FORBIDDEN, "nobody lets themselves in");
    assert_eq!(stranger.post(path, &form).await.location().split('?').next(), Some("/.linkgate/sign-in"));
    for wrong in ["", "x", &*csrf] {
        assert_eq!(root.post(path, &[("csrf", wrong), ("answer", "always")]).await.status, StatusCode::FORBIDDEN);
    }
    let own = root.open(&link).await.field("csrf");
    root.fields.push(foreign);
    assert_eq!(root.post(path, &[("csrf", &own), ("answer", "always")]).await.status, StatusCode::FORBIDDEN);
    root.fields.pop();
    assert_eq!(root.post(path, &[("csrf", &own), ("answer", "forever")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(status(&bob, "/wiki").await, 403);

    gate.reload(|text| text.replace("'root@example.com', ", "")).await;
    assert_eq!(
        root.post(path, &[("csrf", &own), ("answer", "always")]).await.status,
        StatusCode::FORBIDDEN,
        "owner no more"
    );
    assert_eq!(status(&bob, "/wiki").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_owners_the_first_answer_counts() {
    let gate = gate().await;
    let mut bob = gate.signed_in(BOB).await;
    let (mut root, mut ada) = (gate.signed_in(ROOT).await, gate.signed_in(ADA).await);
    ask(&mut bob, "/wiki").await;
    let link = links(&mail(&gate, ROOT).await).remove(0);
    let (path, _) = link.split_once('?').unwrap();
    let late = ada.open(&link).await.field("csrf");
    answer(&mut root, &link, "no").await;
    let onward = ada.post(path, &[("csrf", &late), ("answer", "always")]).await;
    let seen = ada.open(onward.location()).await;
    assert!(seen.body.contains("<bdi>root@example.com</bdi> said no"), "{}", seen.body);
    assert_eq!(status(&bob, "/wiki").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_is_offered_where_it_can_help_and_refused_where_it_cannot() {
    let gate = gate().await;
    let mut bob = gate.signed_in(BOB).await;
    for path in ["/closed", "/denied"] {
        let refused = bob.open(path).await;
        assert_eq!((refused.status, refused.field("route")), (StatusCode::FORBIDDEN, String::new()), "{path}");
    }
    let csrf = bob.open("/.linkgate/sign-out").await.field("csrf");
    for (form, expected) in [
        ([("csrf", &*csrf), ("route", "localhost/closed")], StatusCode::NOT_FOUND),
        ([("csrf", &*csrf), ("route", "localhost/")], StatusCode::NOT_FOUND),
        ([("csrf", "x"), ("route", "localhost/wiki")], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(bob.post("/.linkgate/access", &form).await.status, expected, "{form:?}");
    }
    bob.fields.push(("sec-fetch-site".to_owned(), "same-site".to_owned()));
    let form = [("csrf", &*csrf), ("route", "localhost/wiki")];
    assert_eq!(bob.post("/.linkgate/access", &form).await.status, StatusCode::FORBIDDEN);
    let led = gate.visitor().post("/.linkgate/access", &form).await;
    assert_eq!(led.location().split('?').next(), Some("/.linkgate/sign-in"));
    assert_eq!(try_mail(&gate, ROOT).await.status, StatusCode::NOT_FOUND, "nobody was asked");

    let without = Gate::start().await;
    for path in ["/.linkgate/access", "/.linkgate/access/x"] {
        assert_eq!(without.visitor().open(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_visitor_asks_for_ten_routes_a_day() {
    let routes: String = (0..11)
        .map(|number| {
            format!("[[route]]\npath = '/r{number}'\nupstream = UPSTREAM\nallow = {{ groups = ['staff'] }}\nowners = ['{ROOT}']\n")
        })
        .collect();
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut bob = gate.signed_in(BOB).await;
    for number in 0..10 {
        ask(&mut bob, &format!("/r{number}")).await;
    }
    let csrf = bob.open("/.linkgate/sign-out").await.field("csrf");
    let eleventh = bob.post("/.linkgate/access", &[("csrf", &csrf), ("route", "localhost/r10")]).await;
    assert_eq!(eleventh.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(gate.mails().await, 11, "one sign-in and ten requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owners_of_one_route_are_asked_thirty_times_an_hour() {
    let gate = gate().await;
    let budget = format!("access_asked_for:{}", fingerprint("localhost/wiki"));
    for _ in 0..29 {
        gate.store.count(&budget, HOUR).await.unwrap();
    }
    ask(&mut gate.signed_in(BOB).await, "/wiki").await;
    let mut eve = gate.signed_in("eve@example.com").await;
    let csrf = eve.open("/.linkgate/sign-out").await.field("csrf");
    let refused = eve.post("/.linkgate/access", &[("csrf", &csrf), ("route", "localhost/wiki")]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_host_asks_as_well() {
    let gate = gate().await;
    let (mut bob, mut root) = (Traveller::new(&gate), gate.signed_in(ROOT).await);
    let (_, refused) = bob.sign_in(&gate, "http://wiki.localhost:8080/page", BOB).await;
    assert_eq!(refused.field("route"), "wiki.localhost/");
    let form = [("csrf", &*refused.field("csrf")), ("route", "wiki.localhost/"), ("return_to", "/page")];
    let asked = bob.post("wiki.localhost:8080", "/.linkgate/access", &form).await;
    let (_, page) = bob.open(&format!("http://wiki.localhost:8080{}", asked.location())).await;
    assert_eq!(page.heading(), "We've asked for you");
    let link = links(&mail(&gate, ROOT).await).remove(1);
    answer(&mut root, &link, "day").await;
    assert_eq!(mail(&gate, BOB).await["link"], "http://wiki.localhost:8080/page");
    let (_, page) = bob.open("http://wiki.localhost:8080/page").await;
    assert_eq!(page.status, StatusCode::OK);
}
