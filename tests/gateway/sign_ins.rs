//! Where somebody is signed in: listed on their account page, and ended from there.

use std::time::Duration;

use http::StatusCode;

use crate::harness::{Answer, Gate, Visitor, eventually, with_routes};
use crate::sign_out::{issuer_sessions, subject};
use crate::stream_ends::{close_of, with_reason};
use crate::streams::open;

const ADA: &str = "ada@example.com";
const ACCOUNT: &str = "/.linkgate/account";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";

/// Ada in one browser more, once she may be sent another link.
async fn again(gate: &Gate) -> Visitor {
    gate.clock.advance(Duration::from_secs(60));
    gate.signed_in(ADA).await
}

/// The same in a browser of that name.
async fn again_by(gate: &Gate, user_agent: &str) -> Visitor {
    gate.clock.advance(Duration::from_secs(60));
    let mut visitor = gate.visitor().calling_itself(user_agent);
    visitor.sign_in(gate, ADA, "/").await;
    visitor
}

/// How many sessions she has at the issuer.
async fn at_the_issuer(gate: &Gate, visitor: &Visitor) -> usize {
    issuer_sessions(gate, &subject(visitor).await).await
}

/// The names by which the page's forms call the sessions that they end.
fn ends(page: &Answer) -> Vec<String> {
    let parts = page.body.split("name=\"end\" value=\"").skip(1);
    parts.map(|rest| rest.split_once('"').unwrap().0.to_owned()).collect()
}

async fn is_signed_in(visitor: &Visitor) -> bool {
    visitor.program().open("/").await.status == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_where_somebody_is_signed_in_and_ends_one_of_them() {
    let gate = Gate::start().await;
    let (mut laptop, phone) = (gate.signed_in(ADA).await, again_by(&gate, PHONE).await);
    let other = gate.signed_in("bob@example.com").await;
    let page = laptop.open(ACCOUNT).await;
    let place = |text: &str| page.body.find(text).unwrap_or_else(|| panic!("{text} in {}", page.body));
    assert!(
        place("<bdi>Firefox</bdi> on <bdi>Linux</bdi> · this one") < place("<bdi>Safari</bdi> on <bdi>iPhone</bdi>")
    );
    assert_eq!(page.body.matches("from <bdi>127.0.0.1</bdi>.").count(), 2, "{}", page.body);
    let [key] = &ends(&page)[..] else { panic!("one can be ended: {}", page.body) };
    let ended = laptop.post(ACCOUNT, &[("csrf", &page.field("csrf")), ("end", key)]).await;
    assert_eq!(ended.location(), ACCOUNT);
    assert!(!is_signed_in(&phone).await && is_signed_in(&laptop).await && is_signed_in(&other).await);
    assert_eq!(ends(&laptop.open(ACCOUNT).await), [""; 0]);
    assert_eq!(at_the_issuer(&gate, &laptop).await, 1, "it ended there as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_of_a_use_that_the_store_does_not_know_of_yet() {
    let gate = Gate::start().await;
    let (mut laptop, phone) = (gate.signed_in(ADA).await, again_by(&gate, PHONE).await);
    gate.clock.advance(Duration::from_secs(100));
    assert!(is_signed_in(&phone).await);
    let page = laptop.open(ACCOUNT).await;
    let now = "Last used <time datetime=\"2027-01-15T08:02:40Z\">";
    assert_eq!(page.body.matches(now).count(), 2, "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_others_are_ended_at_once() {
    let gate = Gate::start().await;
    let (mut here, others) = (gate.signed_in(ADA).await, [again(&gate).await, again_by(&gate, PHONE).await]);
    let csrf = here.open(ACCOUNT).await.field("csrf");
    assert_eq!(here.post(ACCOUNT, &[("csrf", &csrf), ("end_others", "1")]).await.location(), ACCOUNT);
    for other in &others {
        assert!(!is_signed_in(other).await);
    }
    assert!(is_signed_in(&here).await);
    assert_eq!(at_the_issuer(&gate, &here).await, 1);
    let page = here.open(ACCOUNT).await;
    assert!(!page.body.contains("end_others"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ends_what_is_not_theirs_or_without_the_form() {
    let gate = Gate::start().await;
    let (mut ada, mut second) = (gate.signed_in(ADA).await, again(&gate).await);
    let mut bob = gate.signed_in("bob@example.com").await;
    let key_of_ada = ends(&second.open(ACCOUNT).await).remove(0);
    let csrf = bob.open(ACCOUNT).await.field("csrf");
    for end in [&*key_of_ada, "x"] {
        assert_eq!(bob.post(ACCOUNT, &[("csrf", &csrf), ("end", end)]).await.location(), ACCOUNT);
    }
    let csrf = ada.open(ACCOUNT).await.field("csrf");
    let own = [("csrf", &*csrf), ("end", &*key_of_ada)];
    assert_eq!(ada.post(ACCOUNT, &own).await.location(), ACCOUNT, "one's own ends by signing out");
    assert_eq!(ada.post(ACCOUNT, &[("csrf", "x"), ("end_others", "1")]).await.status, StatusCode::FORBIDDEN);
    ada.fields.push(("sec-fetch-site".to_owned(), "cross-site".to_owned()));
    assert_eq!(ada.post(ACCOUNT, &[("csrf", &csrf), ("end_others", "1")]).await.status, StatusCode::FORBIDDEN);
    for visitor in [&ada, &second, &bob] {
        assert!(is_signed_in(visitor).await);
    }
    let led = gate.visitor().open(ACCOUNT).await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2F.linkgate%2Faccount");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_an_earlier_version_is_listed_too() {
    let gate = Gate::start().await;
    let (mut ada, old) = (gate.signed_in(ADA).await, again(&gate).await);
    let key = ends(&ada.open(ACCOUNT).await).remove(0);
    gate.store.remove(&format!("session_began:{key}")).await.unwrap();
    let page = ada.open(ACCOUNT).await;
    assert!(page.body.contains("Unknown browser"), "{}", page.body);
    ada.post(ACCOUNT, &[("csrf", &page.field("csrf")), ("end", &key)]).await;
    assert!(!is_signed_in(&old).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_elsewhere_is_counted_and_ends_with_its_session() {
    let gate = Gate::with(|text| with_routes(&text, "[[route]]\nupstream = 'demo'\n")).await;
    let (mut here, there) = (gate.signed_in(ADA).await, again(&gate).await);
    let mut socket = open(&gate, &there).await;
    eventually(async || here.open(ACCOUNT).await.body.contains("1 open connection.")).await;
    let page = here.open(ACCOUNT).await;
    here.post(ACCOUNT, &[("csrf", &page.field("csrf")), ("end_others", "1")]).await;
    assert_eq!(close_of(&mut socket).await, with_reason("signed_out"));
}
