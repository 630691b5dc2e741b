//! The store is lost, locked or full: 503, nothing lost, and nobody is told that they are signed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use linkgate::store::Error;
use serde_json::json;

use crate::failing_store::{Failing, full, unavailable};
use crate::harness::{Answer, Gate, Visitor, eventually};
use crate::stand_in::{ADA, AUTHENTICATE, LOGOUT, SILENT, StandIn, assert_signed_out, visitor};

/// Longer than what is in memory is believed.
const STALE: Duration = Duration::from_secs(31);

async fn world() -> (StandIn, Arc<Failing>, Gate) {
    let stand_in = StandIn::start().await;
    let failing = Failing::new(stand_in.clock.clone());
    let gate = stand_in.gate_on(failing.clone(), |configuration| configuration).await;
    (stand_in, failing, gate)
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), "5", "{answer:?}");
    assert!(!answer.headers.contains_key("set-cookie"), "no cookie is set or cleared: {answer:?}");
    assert!(!answer.headers.contains_key("location"), "{answer:?}");
    if answer.header("content-type").starts_with("application/json") {
        assert_eq!(answer.json()["error"], "store_unavailable");
    } else {
        assert_eq!(answer.heading(), "app.example.test is not available just now");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_memory_is_believed_as_long_as_every_end_is_told() {
    let (stand_in, failing, gate) = world().await;
    let mut ada = stand_in.signed_in(&gate).await;
    assert_eq!(ada.open("/").await.status, StatusCode::OK);
    let mut same = ada.clone();
    failing.tell_all(true);
    failing.fail();
    for _ in 0..3 {
        stand_in.clock.advance(STALE);
        assert_eq!(ada.open("/").await.status, StatusCode::OK, "the store is not asked");
    }
    failing.tell_all(false);
    assert_eq!(ada.open("/").await.status, StatusCode::OK, "for a while");
    stand_in.clock.advance(STALE);
    assert_unavailable(&ada.open("/").await);
    failing.tell_all(true);
    failing.work();
    assert_eq!(ada.open("/").await.status, StatusCode::OK);
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_signed_out(&same.open("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_told_even_where_whoever_ends_it_does_not_get_so_far() {
    let (stand_in, failing, gate) = world().await;
    let elsewhere = stand_in.gate_on(failing.clone(), |configuration| configuration).await;
    failing.tell_all(true);
    let mut ada = stand_in.signed_in(&gate).await;
    let mut same = ada.clone().at(&elsewhere);
    for browser in [&mut ada, &mut same] {
        assert_eq!(browser.open("/").await.status, StatusCode::OK);
    }
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    failing.fail_when(|call, _| (call == "announce").then(unavailable));
    assert_unavailable(&ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await);
    assert_signed_out(&ada.open("/").await);
    // The clock stands still, so only word of it can make the other one forget.
    eventually(async || same.clone().open("/").await.status == StatusCode::SEE_OTHER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_first_requests_at_once_read_their_session_once() {
    let (stand_in, store, gate) = world().await;
    let ada = stand_in.signed_in(&gate).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    store.fail_when(move |call, name| {
        if call == "get" && name.starts_with("session:") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    let open = |mut visitor: Visitor| async move { visitor.open("/").await.status };
    for status in join_all((0..200).map(|_| tokio::spawn(open(ada.clone())))).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_that_are_told_while_nobody_listens_are_read() {
    let stand_in = StandIn::start().await;
    let failing = Failing::new(stand_in.clock.clone());
    failing.fail_when(|call, _| (call == "announcements").then(unavailable));
    failing.tell_all(true);
    let gate = stand_in.gate_on(failing.clone(), |configuration| configuration).await;
    let mut ada = stand_in.signed_in(&gate).await;
    assert_eq!(ada.open("/").await.status, StatusCode::OK);
    failing.fail();
    stand_in.clock.advance(STALE);
    assert_unavailable(&ada.open("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_everything_that_needs_it_is_503_and_nothing_is_lost() {
    for lose in [Failing::fail as fn(&Failing), |failing| {
        failing.fail_when(|call, _| (call == "get").then(unavailable));
    }] {
        let (stand_in, failing, gate) = world().await;
        let mut known = stand_in.signed_in(&gate).await;
        stand_in.clock.advance(Duration::from_secs(30));
        let (mut waiting, callback) = stand_in.asked(&gate).await;
        let csrf = known.open("/.linkgate/sign-out").await.field("csrf");
        lose(&failing);
        assert_eq!(known.open("/").await.status, StatusCode::OK, "what is in memory is believed for a while");
        stand_in.clock.advance(STALE);
        let jars = (known.jar.clone(), waiting.jar.clone());
        for path in ["/", "/.linkgate/session", "/.linkgate/sign-in", "/.linkgate/sign-out", "/.linkgate/signed-out"] {
            assert_unavailable(&known.open(path).await);
            assert_unavailable(&known.program().open(path).await);
        }
        assert_unavailable(&known.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await);
        assert_unavailable(&waiting.open(&callback).await);
        assert_unavailable(&waiting.open("/.linkgate/sign-in/sent").await);
        assert_eq!((known.jar.clone(), waiting.jar.clone()), jars);
        // Garbage is refused without asking anybody.
        let mut stranger = visitor(&gate);
        stranger.jar.insert("__Host-linkgate".to_owned(), "garbage".to_owned());
        assert_signed_out(&stranger.open("/").await);
        assert_eq!(gate.recorder.requests().len(), 1);

        failing.work();
        assert_eq!(known.open("/").await.status, StatusCode::OK);
        assert!(waiting.open(&callback).await.gives_session());
        assert_eq!(stand_in.count(AUTHENTICATE), 2, "the code was not spent while the store was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_takes_no_new_logins_and_keeps_the_old_ones() {
    let (stand_in, failing, gate) = world().await;
    let mut known = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(Duration::from_secs(30));
    let (mut waiting, callback) = stand_in.asked(&gate).await;
    failing.fill();
    stand_in.clock.advance(STALE);
    assert_eq!(known.open("/").await.status, StatusCode::OK);
    assert_unavailable(&visitor(&gate).ask_for_link(ADA, "/").await);
    assert_unavailable(&waiting.open(&callback).await);
    assert_eq!(stand_in.count(AUTHENTICATE), 1);
    let csrf = known.open("/.linkgate/sign-out").await.field("csrf");
    let done = known.clone().post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(done.location(), "/.linkgate/signed-out", "ending needs no room");
    assert_signed_out(&known.open("/").await);
    failing.work();
    assert!(waiting.open(&callback).await.gives_session());
}

/// Lets the store fail at the call with this number, and counts the calls.
fn fail_at(failing: &Failing, number: usize, error: fn() -> Error) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    failing.fail_when(move |_, key| {
        // Health checks come in between.
        (key != "readiness" && counted.fetch_add(1, Ordering::SeqCst) == number).then(error)
    });
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_at_any_step_of_asking_promises_no_mail() {
    let mut steps = 0;
    for number in 0.. {
        let (_stand_in, failing, gate) = world().await;
        let mut visitor = visitor(&gate);
        let csrf = visitor.open("/.linkgate/sign-in").await.field("csrf");
        let calls = fail_at(&failing, number, full);
        let answer = visitor.post("/.linkgate/sign-in", &[("email", ADA), ("csrf", &csrf)]).await;
        gate.running.settle().await;
        if calls.load(Ordering::SeqCst) <= number {
            assert_eq!(answer.location(), "/.linkgate/sign-in/sent");
            break;
        }
        assert_unavailable(&answer);
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_at_any_step_of_redeeming_gives_a_session_or_503_and_nothing_between() {
    let (mut refused, mut let_in) = (0, 0);
    for number in 0.. {
        let (stand_in, failing, gate) = world().await;
        // Somebody else is signed in in the same browser.
        let mut visitor = stand_in.signed_in(&gate).await;
        stand_in.clock.advance(Duration::from_secs(30));
        let before = visitor.clone();
        visitor.jar.remove("__Host-linkgate");
        visitor.ask_for_link("bob@example.com", "/wanted").await;
        let callback = stand_in.callback(&gate).await;
        visitor.jar.insert("__Host-linkgate".to_owned(), before.session_cookie());
        stand_in.claim(json!({ "sub": "user-2", "email": "bob@example.com" }));
        let jar = visitor.jar.clone();
        let calls = fail_at(&failing, number, unavailable);
        let answer = visitor.open(&callback).await;
        let made = calls.load(Ordering::SeqCst);
        failing.work();
        gate.running.settle().await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_unavailable(&answer);
            assert_eq!(visitor.jar, jar);
            let begun = stand_in.count(AUTHENTICATE) - 1;
            assert!(stand_in.count(LOGOUT) >= begun, "a session at Mosaic that nobody has is ended");
            refused += 1;
        } else {
            assert_eq!(answer.location(), "/wanted");
            assert!(answer.gives_session(), "{answer:?}");
            assert_eq!(visitor.open("/").await.status, StatusCode::OK);
            assert_eq!(gate.recorder.last().values("x-forwarded-email"), ["bob@example.com"]);
            let_in += 1;
        }
        if made <= number {
            assert_signed_out(&before.clone().open("/").await);
            break;
        }
    }
    assert!(refused > 8 && let_in > 1, "{refused} {let_in}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_that_cannot_be_stored_is_not_told_as_done_and_can_be_asked_for_again() {
    for everywhere in ["", "1"] {
        let mut refused = 0;
        for number in 0.. {
            let (stand_in, failing, gate) = world().await;
            let mut visitor = stand_in.signed_in(&gate).await;
            stand_in.clock.advance(Duration::from_secs(30));
            let mut other = stand_in.signed_in(&gate).await;
            let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
            let form = [("csrf", &*csrf), ("everywhere", everywhere)];
            let calls = fail_at(&failing, number, unavailable);
            let answer = visitor.post("/.linkgate/sign-out", &form).await;
            let made = calls.load(Ordering::SeqCst);
            failing.work();
            if made > number {
                assert_unavailable(&answer);
                assert!(!visitor.session_cookie().is_empty());
                let again = visitor.post("/.linkgate/sign-out", &form).await;
                assert!(again.location().starts_with("/.linkgate/signed-out"), "{again:?}");
                refused += 1;
            } else {
                assert!(answer.location().starts_with("/.linkgate/signed-out"), "{answer:?}");
            }
            gate.running.settle().await;
            assert!(visitor.session_cookie().is_empty());
            assert!(stand_in.count(LOGOUT) > 0, "it ended at Mosaic, whatever failed after that");
            let others = other.open("/").await;
            if everywhere.is_empty() {
                assert_eq!(others.status, StatusCode::OK);
            } else {
                assert_signed_out(&others);
            }
            if made <= number {
                break;
            }
        }
        assert!(refused > 3, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_cannot_be_stored_keeps_the_session_and_an_end_counts_all_the_same() {
    let (stand_in, failing, gate) = world().await;
    let mut visitor = stand_in.signed_in(&gate).await;
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    stand_in.clock.advance(Duration::from_secs(3601));
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    assert_eq!(stand_in.count(SILENT), 1);
    stand_in.clock.advance(Duration::from_secs(3601));
    failing.fill();
    assert_eq!(visitor.open("/").await.status, StatusCode::OK, "a full store has no room for a lease");
    assert_eq!(stand_in.count(SILENT), 1);

    failing.fail_when(|call, key| (call == "remove" && key.starts_with("session:")).then(unavailable));
    stand_in.clock.advance(Duration::from_secs(20));
    stand_in.refuse(SILENT, 403, "User is not active");
    visitor.open("/").await;
    gate.running.settle().await;
    let forwarded = gate.recorder.requests().len();
    for _ in 0..3 {
        assert_signed_out(&visitor.open("/").await);
    }
    assert_eq!(gate.recorder.requests().len(), forwarded);
}
