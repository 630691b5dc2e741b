//! Rules on trial: they refuse nobody, and what they would refuse is counted.

use crate::harness::{Gate, with_routes};

const OBSERVED: &str = "[[route]]\nmode = 'observe'\nupstream = UPSTREAM\nallow = { groups = ['ops'] }\n\
                        deny = { networks = ['192.0.2.0/24'] }\n\
                        [[route]]\npath = '/vault'\nmode = 'observe'\nallow = { max_sign_in_age = '15m' }\nupstream = UPSTREAM\n";

async fn counted(gate: &Gate) -> Vec<String> {
    let metrics = gate.admin("/metrics").await.body;
    metrics.lines().filter(|line| line.starts_with("linkgate_rules_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rule_would_refuse_passes_and_is_counted() {
    let trusted = "trusted_proxies = ['127.0.0.1/32']\n";
    let gate = Gate::with(|text| format!("{trusted}{}", with_routes(&text, OBSERVED))).await;
    let root = gate.signed_in("root@example.com").await.program();
    let ada = gate.signed_in("ada@example.com").await.program();
    assert_eq!(root.clone().open("/a").await.status, 200);
    assert_eq!(counted(&gate).await, [""; 0], "nothing is held against somebody whom a rule names");

    assert_eq!(ada.clone().open("/a").await.status, 200);
    assert_eq!(gate.recorder.last().values("x-forwarded-email"), ["ada@example.com"]);
    let from = [("X-Forwarded-For", "192.0.2.7")];
    assert_eq!(ada.clone().send(http::Method::GET, "/a", &from, "").await.status, 200);
    gate.clock.advance(std::time::Duration::from_secs(16 * 60));
    assert_eq!(ada.clone().open("/vault").await.status, 200);
    let expected = [
        "linkgate_rules_observed_total{reason=\"denied\",route=\"localhost/\"} 1",
        "linkgate_rules_observed_total{reason=\"not_named\",route=\"localhost/\"} 1",
        "linkgate_rules_observed_total{reason=\"sign_in_too_old\",route=\"localhost/vault\"} 1",
    ];
    assert_eq!(counted(&gate).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_on_trial_open_nothing_to_somebody_who_is_not_signed_in() {
    let gate = Gate::with(|text| with_routes(&text, OBSERVED)).await;
    for path in ["/a", "/vault"] {
        assert_eq!(gate.visitor().program().open(path).await.status, 401, "{path}");
        assert!(gate.visitor().open(path).await.location().starts_with("/.linkgate/sign-in?"), "{path}");
    }
    assert!(gate.recorder.requests().is_empty());
}
