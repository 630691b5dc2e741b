//! Several gateways on one store, and a gateway after another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use linkgate::clock::Clock;
use linkgate::secret::random_token;
use linkgate::store::{self, Location, Shared};

use crate::harness::{Answer, Gate, HOST, START, Visitor, eventually, mail, with_routes};
use crate::redis_server::RedisServer;
use crate::stand_in::{ADA, StandIn, assert_signed_out, visitor};
use crate::stream_ends::{self, close_of, with_reason};
use crate::streams;

fn open(location: &str, clock: &Clock) -> Shared {
    let location = Location::try_from(location.to_owned()).unwrap();
    store::open(&location, Path::new("."), clock.clone()).unwrap()
}

async fn gate(stand_in: &StandIn, location: &str) -> Gate {
    stand_in.gate_on(open(location, &stand_in.clock), |configuration| configuration).await
}

fn at(visitor: &Visitor, gate: &Gate) -> Visitor {
    Visitor { address: gate.running.address, ..visitor.clone() }
}

async fn sign_out(visitor: &mut Visitor) -> Answer {
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    visitor.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_works_on_every_instance_and_ends_on_all_at_once() {
    let stand_in = StandIn::start().await;
    let location = RedisServer::shared().location(random_token().expose());
    let (one, two) = (gate(&stand_in, &location).await, gate(&stand_in, &location).await);
    let mut here = visitor(&one);
    here.ask_for_link(ADA, "/wanted").await;
    let callback = stand_in.callback(&one).await;
    let mut there = at(&here, &two);
    assert!(there.open(&callback).await.gives_session(), "asked for on one instance, finished on another");
    let mut here = at(&there, &one);
    for (visitor, gate) in [(&mut here, &one), (&mut there, &two)] {
        assert_eq!(visitor.open("/").await.status, StatusCode::OK);
        assert_eq!(gate.recorder.only().values("x-forwarded-email"), [ADA]);
    }
    assert_eq!(sign_out(&mut here).await.location(), "/.linkgate/signed-out");
    // The clock stands still, so only the announcement makes the other one forget.
    eventually(async || there.program().open("/").await.status == StatusCode::UNAUTHORIZED).await;
    assert_signed_out(&there.open("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_on_one_instance_loses_what_is_open_on_another() {
    let clock = Clock::manual(START);
    let location = RedisServer::shared().location(random_token().expose());
    let start = || {
        let demo = |text: String| with_routes(&text, "[[route]]\nupstream = \"demo\"\n");
        Gate::on(open(&location, &clock), clock.clone(), demo)
    };
    let (one, two) = (start().await, start().await);
    let mut ada = one.signed_in(ADA).await;
    let mut there = streams::open(&two, &ada).await;
    let mut events = two.wire().await;
    let cookie = ada.session_cookie();
    events.send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={cookie}\r\n\r\n")).await;
    events.head().await;
    stream_ends::sign_out(&mut ada).await;
    assert_eq!(close_of(&mut there).await, with_reason("signed_out"));
    let events = events.rest().await;
    assert!(events.contains("event: linkgate-end\ndata: {\"reason\":\"signed_out\"}\n\n"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_and_comes_back_empty_signs_out_cleanly_and_instances_agree_again() {
    let stand_in = StandIn::start().await;
    let redis = RedisServer::start();
    let location = redis.location("gate");
    let (one, two) = (gate(&stand_in, &location).await, gate(&stand_in, &location).await);
    let mut visitor = stand_in.signed_in(&one).await;
    assert_eq!(at(&visitor, &two).open("/").await.status, StatusCode::OK);

    redis.stop();
    stand_in.clock.advance(Duration::from_secs(31));
    let jar = visitor.jar.clone();
    for gate in [&one, &two] {
        visitor.address = gate.running.address;
        for answer in [visitor.open("/").await, visitor.program().open("/").await, sign_out(&mut visitor).await] {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            assert_eq!(answer.header("retry-after"), "5");
            assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        }
        eventually(async || gate.admin("/health/ready").await.body.contains("store: reach the store")).await;
    }
    assert_eq!(visitor.jar, jar);

    redis.start_again();
    for gate in [&one, &two] {
        gate.ready().await;
        assert_signed_out(&at(&visitor, gate).open("/").await);
    }
    // An instance that starts now checks cookies by the same keys as those that run.
    eventually(async || redis.command("EXISTS gate:entry:session_keys") == ":1").await;
    let three = gate(&stand_in, &location).await;
    let visitor = stand_in.signed_in(&one).await;
    for gate in [&one, &two, &three] {
        assert_eq!(at(&visitor, gate).open("/").await.status, StatusCode::OK);
    }
    // Later than the pause that Ada's mailbox has.
    stand_in.clock.advance(Duration::from_secs(30));
    let visitor = stand_in.signed_in(&three).await;
    for gate in [&one, &two, &three] {
        assert_eq!(at(&visitor, gate).open("/").await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_its_redis_and_becomes_ready_when_it_appears() {
    let stand_in = StandIn::start().await;
    let redis = RedisServer::start();
    redis.stop();
    let store = open(&redis.location("gate"), &stand_in.clock);
    let gate = stand_in.unready_gate_on(store).await;
    eventually(async || gate.admin("/health/ready").await.body.contains("store: reach the store")).await;
    assert_eq!(gate.admin("/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let mut stranger = visitor(&gate);
    assert_signed_out(&stranger.open("/").await);
    let answer = stranger.ask_for_link(ADA, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));

    redis.start_again();
    gate.ready().await;
    let mut known = stand_in.signed_in(&gate).await;
    assert_eq!(known.open("/").await.status, StatusCode::OK);
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(random_token().expose());
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn location(&self) -> String {
        format!("sqlite:{}", self.0.join("linkgate.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_was_begun_before_a_restart_is_finished_after_it() {
    let (stand_in, folder) = (StandIn::start().await, Folder::new());
    let first = gate(&stand_in, &folder.location()).await;
    let known = stand_in.signed_in(&first).await;
    stand_in.clock.advance(Duration::from_secs(30));
    let (visitor, callback) = stand_in.asked(&first).await;
    first.running.stop().await;

    let second = gate(&stand_in, &folder.location()).await;
    assert_eq!(at(&known, &second).open("/").await.status, StatusCode::OK);
    let mut visitor = at(&visitor, &second);
    let landed = visitor.open(&callback).await;
    assert_eq!(landed.location(), "/wanted");
    assert_eq!(visitor.open("/wanted").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_the_built_in_issuer_survives_a_restart() {
    let (clock, folder) = (Clock::manual(START), Folder::new());
    let start = || Gate::on(open(&folder.location(), &clock), clock.clone(), |configuration| configuration);
    let first = start().await;
    let mut visitor = first.visitor();
    visitor.ask_for_link(ADA, "/wanted").await;
    mail(&first, ADA).await;
    first.running.stop().await;

    let second = start().await;
    let mut visitor = at(&visitor, &second);
    let callback = visitor.press_link(&second, ADA).await;
    assert_eq!(visitor.open(&callback).await.location(), "/wanted");
    assert_eq!(visitor.open("/wanted").await.status, StatusCode::OK);
    assert_eq!(second.recorder.only().values("x-forwarded-email"), [ADA]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_grants_on_one_instance_counts_on_the_other_at_once() {
    const BOB: &str = "bob@example.com";
    let clock = Clock::manual(START);
    let location = RedisServer::shared().location(random_token().expose());
    let routes = "[[route]]\npath = '/wiki'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
        owners = ['root@example.com']\n";
    let start = || Gate::on(open(&location, &clock), clock.clone(), |text| with_routes(&text, routes));
    let (one, two) = (start().await, start().await);
    let mut bob = one.signed_in(BOB).await;
    let mut root = two.signed_in("root@example.com").await;
    let refused = bob.open("/wiki").await;
    assert_eq!(at(&bob, &two).program().open("/wiki").await.status, StatusCode::FORBIDDEN, "which is remembered");
    let form = [("csrf", &*refused.field("csrf")), ("route", "localhost/wiki"), ("return_to", "/wiki")];
    bob.post("/.linkgate/access", &form).await;
    let link = mail(&two, "root@example.com").await["link"].as_str().unwrap().to_owned();
    let page = root.open(&link).await;
    let (path, _) = link.split_once('?').unwrap();
    root.post(path, &[("csrf", &page.field("csrf")), ("answer", "day")]).await;
    // The clock stands still, so only the announcement makes the other one forget.
    for gate in [&one, &two] {
        eventually(async || at(&bob, gate).program().open("/wiki").await.status == StatusCode::OK).await;
    }
}
