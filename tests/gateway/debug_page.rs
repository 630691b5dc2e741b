//! The debug page: who may see it, and that it shows what the gateway does.

use http::StatusCode;

use crate::harness::{Gate, Visitor, with_routes};
use crate::stand_in::StandIn;

const PAGE: &str = "/.linkgate/debug?address=";

const ROUTES: &str = r#"
[[route]]
upstream = UPSTREAM
[route.request_headers]
set = { X-Api-Token = "hunter2", X-Mode = "inner" }
[[route]]
path = "/ops"
upstream = UPSTREAM
allow = { groups = ["ops"] }
[[route]]
host = "wiki.localhost"
upstream = UPSTREAM
"#;

/// The texts of a page in order, without its marks.
fn texts(page: &str) -> String {
    let parts = page.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
    parts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

async fn status(visitor: &mut Visitor) -> u16 {
    visitor.open("/.linkgate/debug").await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_what_the_application_gets_and_no_secret() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let mut root = gate.signed_in("root@example.com").await;
    let page = root.open(&format!("{PAGE}/reports//%2561?x=1")).await;
    assert_eq!((page.status, page.heading()), (StatusCode::OK, "What the gateway decides"));
    let seen = texts(&page.body);
    for expected in
        ["Verdict: forwarded", "Route: localhost/ (route[0], line ", "x-mode inner", "x-api-token (not shown)"]
    {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
    assert!(!page.body.contains("hunter2") && !page.body.contains(&root.session_cookie()), "{seen}");
    assert!(gate.recorder.requests().is_empty(), "nothing is opened");

    root.open("/reports//%61?x=1").await;
    let recorded = gate.recorder.last();
    for name in ["x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-roles", "x-forwarded-for"]
    {
        let field = format!("{name} {}", recorded.values(name).concat());
        assert!(seen.contains(&field), "{field} in {seen}");
    }

    let mut ada = gate.signed_in("ada@example.com").await;
    let refused = ada.program().open("/ops/secrets?token=x").await;
    let seen = texts(&ada.open(&format!("{PAGE}http://localhost:8080/ops")).await.body);
    for expected in [
        "Verdict: no_access 403",
        "Reason: not_named",
        "Route: localhost/ops (route[1], line ",
        &format!("localhost:8080/ops/secrets no_access not_named {}", refused.header("x-request-id")),
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
    assert!(!texts(&root.open(&format!("{PAGE}/")).await.body).contains("Refused lately"), "that is another session's");
    assert!(texts(&ada.open(&format!("{PAGE}nonsense")).await.body).contains("That is no path and no address."));
    let referred = [("referer", "http://localhost:8080/ops/x")];
    let came_from = ada.send(http::Method::GET, "/.linkgate/debug", &referred, "").await;
    assert_eq!(came_from.field("address"), "/ops/x");
    let elsewhere = [("referer", "http://evil.test/ops")];
    assert_eq!(ada.send(http::Method::GET, "/.linkgate/debug", &elsewhere, "").await.field("address"), "/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_who_are_named_see_it_in_development_too() {
    let gate = Gate::with(|text| format!("debug_page = [\"root@example.com\"]\n{}", with_routes(&text, ROUTES))).await;
    let mut root = gate.signed_in("root@example.com").await;
    let mut ada = gate.signed_in("ada@example.com").await;
    assert_eq!((status(&mut root).await, status(&mut ada).await), (200, 404));
    assert_eq!(status(&mut gate.visitor().program()).await, 401);
    root.host = "wiki.localhost:8080".to_owned();
    assert_eq!(status(&mut root).await, 404, "it is on the host of sign-in only");

    gate.reload(|text| text.replace("= [\"root@example.com\"]", "= [\"ada@example.com\"]")).await;
    root.host = gate.visitor().host;
    assert_eq!((status(&mut root).await, status(&mut ada).await), (404, 200), "a reload takes effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_there_until_somebody_is_named() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate_on(stand_in.memory(), |text| text).await;
    let mut ada = stand_in.signed_in(&gate).await;
    assert_eq!(status(&mut ada).await, 404);
    gate.reload(|text| format!("debug_page = [\"ada@example.com\"]\n{text}")).await;
    assert_eq!(status(&mut ada).await, 200);
}
