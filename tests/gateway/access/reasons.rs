//! What visitors who may not pass are told: nothing by default, and otherwise why, and the operator's own words.

use serde_json::json;

use crate::harness::{Gate, with_routes};

const RULES: &str = "allow = [{ groups = ['ops'] }, { domains = ['example.com'], networks = ['192.0.2.0/24'] }]\n\
                     deny = { addresses = ['eve@example.com'], no_access_text = 'Eve, <call> us.' }\nupstream = UPSTREAM\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_is_said_only_where_the_route_says_so() {
    let routes = format!(
        "[[route]]\n{RULES}[[route]]\npath = '/told'\nshow_reason = true\nno_access_text = 'Use the VPN.'\n{RULES}"
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let network = "This page can be opened from certain networks only";
    let denied = "This page is closed to your account";
    for (address, path, reason, text, page) in [
        ("ada@example.com", "/", None, None, &[][..]),
        ("ada@example.com", "/told", Some("network"), Some("Use the VPN."), &[network, "Use the VPN."]),
        ("eve@example.com", "/", None, Some("Eve, <call> us."), &["Eve, &lt;call&gt; us."]),
        ("eve@example.com", "/told", Some("denied"), Some("Eve, <call> us."), &[denied, "Eve, &lt;call&gt; us."]),
    ] {
        gate.clock.advance(std::time::Duration::from_secs(60));
        let mut visitor = gate.signed_in(address).await;
        let shown = visitor.open(path).await;
        assert_eq!((shown.status.as_u16(), shown.heading()), (403, "You don't have access to localhost"));
        for words in [network, denied, "Use the VPN.", "Eve, &lt;call&gt; us."] {
            assert_eq!(shown.body.contains(words), page.contains(&words), "{address} {path}: {words} in {shown:?}");
        }
        let answer = visitor.program().open(path).await;
        let mut expected = json!({
            "error": "no_access",
            "message": text.unwrap_or("You don't have access."),
            "request_id": answer.header("x-request-id"),
        });
        if let Some(reason) = reason {
            expected["reason"] = reason.into();
        }
        assert_eq!((answer.status.as_u16(), answer.json()), (403, expected), "{address} {path}");
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_is_not_signed_in_is_shown_nobodys_name_and_no_form() {
    let routes = "[[route]]\nupstream = UPSTREAM\nshow_reason = true\ndeny = { networks = ['127.0.0.0/8'] }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let page = gate.visitor().open("/x").await;
    assert_eq!((page.status.as_u16(), page.heading()), (403, "You don't have access to localhost"));
    assert!(!page.body.contains("<form") && !page.body.contains("signed in"), "{page:?}");
    assert!(page.body.contains("This page is closed to"), "{page:?}");
    let sent = gate.visitor().post("/x", &[("a", "b")]).await;
    assert_eq!((sent.status.as_u16(), sent.heading()), (403, "You don't have access to localhost"));
    let told = gate.visitor().program().open("/x").await;
    assert_eq!((told.status.as_u16(), told.json()["reason"].as_str()), (403, Some("denied")));
    let counted = "linkgate_rules_refused_total{reason=\"denied\",route=\"localhost/\"} 3";
    assert!(gate.admin("/metrics").await.body.lines().any(|line| line == counted));
}
