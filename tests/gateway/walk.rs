//! The main job: a stranger is led to sign in, follows the mailed link, and the application knows who they are.

use http::StatusCode;

use crate::harness::{Gate, mail};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_signs_in_by_a_mailed_link_and_lands_where_they_wanted() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();

    let led = visitor.open("/any/page?x=1").await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2Fany%2Fpage%3Fx%3D1");
    assert!(gate.recorder.requests().is_empty(), "the application hears of nobody who is not signed in");

    let page = visitor.open(led.location()).await;
    assert_eq!(page.heading(), "Sign in to localhost");
    let csrf = page.field("csrf");
    let form = [("email", "Ada@example.com"), ("csrf", &csrf), ("return_to", "/any/page?x=1#part")];
    let sent = visitor.post("/.linkgate/sign-in", &form).await;
    let waiting = visitor.open(sent.location()).await;
    assert_eq!(waiting.heading(), "Check your email");

    let mail = mail(&gate, "ada@example.com").await;
    assert_eq!(mail["to"], "ada@example.com");
    let callback = visitor.press_link(&gate, "ada@example.com").await;
    let landed = visitor.open(&callback).await;
    assert_eq!(landed.location(), "/any/page?x=1#part");

    let page = visitor.open(landed.location()).await;
    assert_eq!((page.status, page.body.as_str()), (StatusCode::OK, "hello"));
    let seen = gate.recorder.only();
    assert_eq!(seen.line(), "GET /any/page?x=1 HTTP/1.1");
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(seen.values("x-forwarded-user").len(), 1);
    assert_eq!(seen.values("x-forwarded-host"), ["localhost:8080"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-request-id"), [page.header("x-request-id")]);
    assert!(seen.values("cookie").is_empty(), "the gateway's cookies stay with the gateway");
}
