//! What a tenant of Mosaic can have beyond plain sign-in: organisations, custom data and permissions in headers and
//! rules, sessions shared with other applications, and a further proof in a session that is there.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::Gate;
use crate::stand_in::{ADA, AUTHENTICATE, LOGOUT, SESSION, SILENT, StandIn, assert_signed_out, refusal, visitor};

/// A gateway whose `[mosaic]` has further lines.
async fn with_mosaic(stand_in: &StandIn, lines: &str) -> Gate {
    let change = |configuration: String| {
        configuration.replace("client_id = \"client-1\"\n", &format!("client_id = \"client-1\"\n{lines}"))
    };
    stand_in.gate_on(stand_in.memory(), change).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_is_signed_in_to_and_kept_through_renewals() {
    let lines = "organization = \"org-1\"\norganization_from_link = true\n";
    for (asked, expected) in [("", "org-1"), ("&organization=org-2", "org-2"), ("&organization=o%20r%20g", "org-1")] {
        let stand_in = StandIn::start().await;
        let gate = with_mosaic(&stand_in, lines).await;
        stand_in.claim(json!({ "organization": expected }));
        let mut visitor = visitor(&gate);
        let page = visitor.open(&format!("/.linkgate/sign-in?return_to=%2F{asked}")).await;
        let (csrf, organization) = (page.field("csrf"), page.field("organization"));
        let form = [("email", ADA), ("csrf", &csrf), ("organization", &organization), ("return_to", "/")];
        visitor.post("/.linkgate/sign-in", &form).await;
        let callback = stand_in.callback(&gate).await;
        assert!(visitor.open(&callback).await.gives_session(), "{asked}");
        let login = stand_in.calls_to(AUTHENTICATE)[0].json();
        assert_eq!(login["org_id"], expected);
        assert_eq!(login["claims"]["id_token"]["organization"], Value::Null);
        stand_in.clock.advance(Duration::from_secs(3600));
        assert_eq!(visitor.open("/").await.status, StatusCode::OK);
        assert_eq!(stand_in.calls_to(SILENT)[0].json()["org_id"], expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_signed_in_to_another_organisation_or_to_none_is_not_let_in() {
    let stand_in = StandIn::start().await;
    let gate = with_mosaic(&stand_in, "organization_by_host = { \"app.example.test\" = \"org-1\" }\n").await;
    for organization in [json!("org-2"), Value::Null] {
        stand_in.claim(json!({ "organization": organization }));
        let (mut visitor, callback) = stand_in.asked(&gate).await;
        assert_eq!(visitor.open(&callback).await.status, StatusCode::BAD_GATEWAY, "{organization}");
        stand_in.clock.advance(Duration::from_secs(30));
    }
    stand_in.answer(AUTHENTICATE, refusal(403, "User is not a member of the organization"));
    let (mut visitor, callback) = stand_in.asked(&gate).await;
    assert_eq!(visitor.open(&callback).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_data_permissions_and_organisation_reach_headers_and_rules() {
    let stand_in = StandIn::start().await;
    let change = |configuration: String| {
        let (head, route) = configuration.split_once("[[route]]").unwrap();
        format!(
            "{head}[identity_headers]
extra = {{ X-Team = \"custom_data.team\", X-Sites = \"custom_data.sites\", X-Permissions = \"permissions\" }}
[[route]]{route}
[[route]]
path = \"/reports\"
allow = {{ permissions = [\"reports:read\"] }}{route}
[[route]]
path = \"/sales\"
allow = {{ claims = {{ \"custom_data.team\" = [\"sales\"] }} }}{route}
"
        )
    };
    let gate = stand_in.gate_on(stand_in.memory(), change).await;
    stand_in.claim(json!({
        "custom_data": { "team": "sales", "sites": ["a", "b"], "secret": "x" }, "permissions": ["other"],
    }));
    let mut ada = stand_in.signed_in(&gate).await;
    let login = stand_in.calls_to(AUTHENTICATE)[0].json();
    let claims = &login["claims"]["id_token"];
    let mut fields: Vec<&str> =
        claims["custom_data"]["fields"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!((fields, &claims["permissions"]), (vec!["sites", "team"], &Value::Null));

    assert_eq!(ada.send(http::Method::GET, "/sales", &[("X-Team", "forged")], "").await.status, StatusCode::OK);
    let seen = gate.recorder.last();
    assert_eq!((seen.values("x-team"), seen.values("x-sites")), (vec!["sales"], vec!["a,b"]));
    assert_eq!(seen.values("x-permissions"), ["other"]);
    assert_eq!(ada.open("/reports").await.status, StatusCode::FORBIDDEN);
    // What changed at Mosaic counts from the next renewal on.
    stand_in.claim(json!({ "custom_data": { "team": "ops" }, "permissions": ["reports:read"] }));
    stand_in.clock.advance(Duration::from_secs(3600));
    assert_eq!(ada.open("/reports").await.status, StatusCode::OK);
    assert_eq!(ada.open("/sales").await.status, StatusCode::FORBIDDEN);
    assert_eq!(gate.recorder.last().values("x-sites"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_another_tenant_or_resource_let_nobody_in() {
    let stand_in = StandIn::start().await;
    for (lines, status) in [
        ("tenant_id = \"t\"\n", StatusCode::SEE_OTHER),
        ("tenant_id = \"u\"\n", StatusCode::BAD_GATEWAY),
        ("resource = \"https://api.test\"\n", StatusCode::BAD_GATEWAY),
    ] {
        let gate = with_mosaic(&stand_in, lines).await;
        let (mut visitor, callback) = stand_in.asked(&gate).await;
        assert_eq!(visitor.open(&callback).await.status, status, "{lines}");
    }
}

const SHARED: &str = "[sign_in]\nsilent_login_cookie = \"mosaic_session\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_signed_in_at_another_application_is_signed_in_here() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + SHARED).await;
    let mut visitor = visitor(&gate);
    visitor.jar.insert("mosaic_session".to_owned(), "session-of-the-other-application".to_owned());
    let to_sign_in = visitor.open("/wanted?x=1").await.location().to_owned();
    let landed = visitor.open(&to_sign_in).await;
    assert_eq!((landed.location(), landed.gives_session()), ("/wanted?x=1", true));
    let asked = stand_in.calls_to(SILENT)[0].json();
    assert_eq!(asked["session_id"], "session-of-the-other-application");
    assert!(visitor.is_known_as(&gate, Some(ADA)).await);
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosaic_is_not_polled_about_a_session_that_it_does_not_know() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + SHARED).await;
    stand_in.refuse(SILENT, 400, "Session not found");
    let mut visitor = visitor(&gate);
    visitor.jar.insert("mosaic_session".to_owned(), "gone".to_owned());
    for _ in 0..3 {
        assert_eq!(visitor.open("/.linkgate/sign-in").await.heading(), "Sign in to app.example.test");
    }
    assert_eq!(stand_in.count(SILENT), 1);
    stand_in.clock.advance(Duration::from_secs(60));
    visitor.open("/.linkgate/sign-in").await;
    assert_eq!(stand_in.count(SILENT), 2);
    // A browser that looks ahead, and a value that can be none, ask nobody.
    stand_in.clock.advance(Duration::from_secs(60));
    visitor.send(http::Method::GET, "/.linkgate/sign-in", &[("purpose", "prefetch")], "").await;
    visitor.jar.insert("mosaic_session".to_owned(), "x".repeat(1025));
    visitor.open("/.linkgate/sign-in").await;
    assert_eq!(stand_in.count(SILENT), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_session_of_somebody_who_may_not_sign_in_is_left_alone() {
    let stand_in = StandIn::start().await;
    let narrow = format!("{SHARED}allow = [\"@other.test\"]\n");
    let gate = stand_in.gate_on(stand_in.memory(), |configuration| configuration + &narrow).await;
    let mut visitor = visitor(&gate);
    visitor.jar.insert("mosaic_session".to_owned(), "shared".to_owned());
    assert!(!visitor.open("/.linkgate/sign-in").await.gives_session());
    gate.running.settle().await;
    assert_eq!((stand_in.count(SILENT), stand_in.count(LOGOUT)), (1, 0));
    // Nor is anybody without the setting.
    let gate = stand_in.gate().await;
    visitor.address = gate.running.address;
    assert!(!visitor.open("/.linkgate/sign-in").await.gives_session());
    assert_eq!(stand_in.count(SILENT), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_proof_goes_into_the_session_that_is_there() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut ada = stand_in.signed_in(&gate).await;
    let first = ada.session_cookie();
    stand_in.clock.advance(Duration::from_secs(30));
    let page = ada.open("/.linkgate/sign-in?return_to=%2Fvault&step_up=1").await;
    assert_eq!((page.heading(), &*page.field("step_up")), ("Sign in to app.example.test", "1"));
    assert!(page.body.contains(&format!("value=\"{ADA}\"")), "{}", page.body);
    let form = [("email", ADA), ("csrf", &*page.field("csrf")), ("step_up", "1"), ("return_to", "/vault")];
    let sent = ada.post("/.linkgate/sign-in", &form).await;
    assert_eq!(ada.open(sent.location()).await.heading(), "Check your email");
    let callback = stand_in.callback(&gate).await;
    let landed = ada.open(&callback).await;
    assert_eq!((landed.location(), landed.gives_session()), ("/vault", true));
    assert_eq!(stand_in.calls_to(AUTHENTICATE)[1].json()["session_id"], SESSION);
    gate.running.settle().await;
    assert_eq!(stand_in.count(LOGOUT), 0, "the session at Mosaic lives on");
    assert_ne!(ada.session_cookie(), first);
    let mut old = visitor(&gate);
    old.jar.insert("__Host-linkgate".to_owned(), first);
    assert_signed_out(&old.open("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_proof_for_a_session_that_is_over_at_mosaic_leads_to_a_plain_sign_in() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut ada = stand_in.signed_in(&gate).await;
    stand_in.clock.advance(Duration::from_secs(30));
    let csrf = ada.open("/.linkgate/sign-in?step_up=1").await.field("csrf");
    ada.post("/.linkgate/sign-in", &[("email", ADA), ("csrf", &csrf), ("step_up", "1")]).await;
    let callback = stand_in.callback(&gate).await;
    stand_in.refuse(AUTHENTICATE, 400, "Session not found");
    let expired = ada.open(&callback).await;
    assert_eq!((expired.status, expired.heading()), (StatusCode::GONE, "This link has expired"));
    assert_signed_out(&ada.open("/").await);
    stand_in.recover(AUTHENTICATE);
    stand_in.clock.advance(Duration::from_secs(30));
    ada.ask_for_link(ADA, "/").await;
    let callback = stand_in.callback(&gate).await;
    assert!(ada.open(&callback).await.gives_session());
    assert_eq!(stand_in.calls_to(AUTHENTICATE)[2].json().get("session_id"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_proof_of_somebody_else_is_a_sign_in_of_its_own() {
    let stand_in = StandIn::start().await;
    let gate = stand_in.gate().await;
    let mut ada = stand_in.signed_in(&gate).await;
    let csrf = ada.open("/.linkgate/sign-in?step_up=1").await.field("csrf");
    ada.post("/.linkgate/sign-in", &[("email", "bob@example.com"), ("csrf", &csrf), ("step_up", "1")]).await;
    let callback = stand_in.callback(&gate).await;
    stand_in.claim(json!({ "sub": "user-2", "email": "bob@example.com" }));
    assert!(ada.open(&callback).await.gives_session());
    assert_eq!(stand_in.calls_to(AUTHENTICATE)[1].json().get("session_id"), None);
    assert!(ada.is_known_as(&gate, Some("bob@example.com")).await);
}
