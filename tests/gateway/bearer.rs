//! Programs that show an access token in place of a cookie.

use std::time::Duration;

use http::{Method, StatusCode};
use linkgate::secret::{base64url, random_token};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::harness::{Answer, Gate, with_routes};
use crate::mosaic::{merged, sign, without};
use crate::stand_in::{ADA, KEYS, StandIn, visitor};

const USER: &str = "/cis/v1/users/user-1";
const GROUPS: &str = "/cis/v1/users/user-1/groups";
const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\nbearer = true\n\
    [[route]]\npath = '/cookies'\nupstream = UPSTREAM\n\
    [[route]]\npath = '/ops'\nupstream = UPSTREAM\nbearer = true\nallow = { groups = ['ops'] }\n\
    [[route]]\npath = '/recent'\nupstream = UPSTREAM\nbearer = true\nallow = { max_sign_in_age = '5m' }\n\
    [[route]]\npath = '/free'\nupstream = UPSTREAM\nbearer = true\naccess = 'public'\n\
    [[route]]\npath = '/optional'\nupstream = UPSTREAM\nbearer = true\naccess = 'optional'\n";

/// A Mosaic that knows Ada, and a gateway before it.
async fn start() -> (StandIn, Gate) {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active", &["staff"]);
    let gate = mosaic.gate_on(mosaic.memory(), |text| with_routes(&text, ROUTES)).await;
    (mosaic, gate)
}

fn know(mosaic: &StandIn, status: &str, groups: &[&str]) {
    let email = json!({ "value": ADA, "email_verified": true });
    let user = json!({ "user_id": "user-1", "status": status, "email": email });
    mosaic.answer(USER, ResponseTemplate::new(200).set_body_json(json!({ "result": user })));
    let groups: Vec<Value> = groups.iter().map(|name| json!({ "group_id": name, "name": name })).collect();
    mosaic.answer(GROUPS, ResponseTemplate::new(200).set_body_json(json!({ "result": groups })));
}

async fn show(gate: &Gate, path: &str, authorization: &str) -> Answer {
    let mut program = visitor(gate).program();
    program.send(Method::GET, path, &[("authorization", authorization)], "").await
}

async fn bear(gate: &Gate, path: &str, token: &str) -> Answer {
    show(gate, path, &format!("Bearer {token}")).await
}

fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_and_a_cookie_are_the_same_person() {
    let (mosaic, gate) = start().await;
    let token = sign(&mosaic.access_claims());
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    let by_token = gate.recorder.last();
    mosaic.claim(json!({ "groups": ["staff"] }));
    let ada = mosaic.signed_in(&gate).await;
    assert_eq!(ada.program().open("/x").await.status, StatusCode::OK);
    let by_cookie = gate.recorder.last();
    for name in ["x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-roles"] {
        assert_eq!(by_token.values(name), by_cookie.values(name), "{name}");
    }
    assert_eq!(by_token.values("x-forwarded-email"), [ADA]);
    assert_eq!(by_token.values("authorization"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_looked_up_once_a_minute() {
    let (mosaic, gate) = start().await;
    let token = sign(&mosaic.access_claims());
    for _ in 0..5 {
        assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    }
    assert_eq!((mosaic.count(USER), mosaic.count(GROUPS)), (1, 1));
    know(&mosaic, "Disabled", &[]);
    gate.clock.advance(Duration::from_secs(61));
    let answer = bear(&gate, "/x", &token).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!("inactive_user")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_let_in_goes_on_while_mosaic_is_away() {
    let (mosaic, gate) = start().await;
    let token = sign(&mosaic.access_claims());
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    let other = sign(&merged(mosaic.access_claims(), json!({ "jti": "other" })));
    mosaic.hang_up(true);
    gate.clock.advance(Duration::from_secs(61));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    let answer = bear(&gate, "/x", &other).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("sign_in_unavailable"))
    );
    gate.clock.advance(Duration::from_secs(3600));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_does_not_hold_is_refused_with_the_reason() {
    let (mosaic, gate) = start().await;
    let claims = mosaic.access_claims();
    let now = gate.clock.now().unix_seconds();
    let good = sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let header = |header: Value| {
        let (_, rest) = good.split_once('.').unwrap();
        format!("{}.{rest}", base64url(header.to_string().as_bytes()))
    };
    let with = |more: Value| sign(&merged(claims.clone(), more));
    let cases = [
        ("expired", with(json!({ "exp": now - 61 }))),
        ("malformed", with(json!({ "exp": (now + 60).to_string() }))),
        ("malformed", sign(&without(claims.clone(), "exp"))),
        ("not_yet_valid", with(json!({ "iat": now + 120 }))),
        ("wrong_issuer", with(json!({ "iss": "https://evil.test" }))),
        ("other_client", with(json!({ "client_id": "another" }))),
        ("client_token", with(json!({ "sub": "client-1" }))),
        ("wrong_kind", sign(&without(claims.clone(), "client_id"))),
        ("wrong_kind", sign(&mosaic.id_claims())),
        ("wrong_kind", with(json!({ "act": { "sub": "somebody" } }))),
        ("unknown_user", with(json!({ "sub": "user-2" }))),
        ("bad_signature", format!("{signed}.{}", base64url(&[7; 256]))),
        ("bad_signature", format!("{signed}.")),
        ("bad_signature", header(json!({ "alg": "PS256", "kid": "k1" }))),
        ("bad_signature", header(json!({ "alg": "none", "kid": "k1" }))),
        ("bad_signature", header(json!({ "alg": "HS256", "kid": "k1" }))),
        ("unknown_key", header(json!({ "alg": "RS256", "kid": "another" }))),
        ("unknown_key", header(json!({ "alg": "RS256" }))),
        ("malformed", format!("{signed}.{signature}.{signature}")),
        ("wrong_kind", format!("{signed}.{signature}.{signature}.{signature}")),
        ("malformed", "opaque".to_owned()),
    ];
    for (reason, token) in cases {
        let answer = bear(&gate, "/x", &token).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!(reason)), "{token}");
        let expected = format!("Bearer realm=\"linkgate\", error=\"invalid_token\", error_description=\"{reason}\"");
        assert_eq!(challenges(&answer), [expected.as_str(), "Basic realm=\"linkgate\", charset=\"UTF-8\""]);
    }
    assert_eq!(gate.recorder.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_counts_in_place_of_a_cookie() {
    let (mosaic, gate) = start().await;
    let ada = mosaic.signed_in(&gate).await;
    for authorization in ["Bearer opaque", "Bearer", "Bearer a b", "Basic !", "Basic YWRhOnNlY3JldA=="] {
        for path in ["/x", "/optional"] {
            let mut program = ada.program();
            let answer = program.send(Method::GET, path, &[("authorization", authorization)], "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{authorization} {path}");
        }
    }
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(ada.program().send(Method::GET, "/x", &twice, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(gate.recorder.requests().len(), 0);
    // Another scheme is the application's own.
    let digest = [("authorization", "Digest username=\"ada\"")];
    assert_eq!(ada.program().send(Method::GET, "/x", &digest, "").await.status, StatusCode::OK);
    assert_eq!(gate.recorder.last().values("authorization"), ["Digest username=\"ada\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_routes_that_take_tokens_look_at_them() {
    let (mosaic, gate) = start().await;
    let token = sign(&mosaic.access_claims());
    assert_eq!(bear(&gate, "/cookies", &token).await.status, StatusCode::UNAUTHORIZED);
    let ada = mosaic.signed_in(&gate).await;
    let own = [("authorization", "Bearer the-applications-own")];
    assert_eq!(ada.program().send(Method::GET, "/cookies", &own, "").await.status, StatusCode::OK);
    assert_eq!(gate.recorder.last().values("authorization"), ["Bearer the-applications-own"]);
    // Nobody is asked on public paths, and no upstream gets what was meant for the gateway.
    assert_eq!(bear(&gate, "/free", &token).await.status, StatusCode::OK);
    assert_eq!(gate.recorder.last().values("authorization"), [""; 0]);
    assert_eq!(gate.recorder.last().values("x-forwarded-email"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_told_what_would_do() {
    let (mosaic, gate) = start().await;
    let token = sign(&mosaic.access_claims());
    let nothing = visitor(&gate).program().open("/x").await;
    let basic = "Basic realm=\"linkgate\", charset=\"UTF-8\"";
    assert_eq!(challenges(&nothing), ["Cookie realm=\"linkgate\"", "Bearer realm=\"linkgate\"", basic]);
    let script = [("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];
    let nothing = visitor(&gate).program().send(Method::GET, "/x", &script, "").await;
    assert_eq!(challenges(&nothing), ["Cookie realm=\"linkgate\"", "Bearer realm=\"linkgate\""]);
    let other = bear(&gate, "/ops", &token).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    assert_eq!(challenges(&other), ["Bearer realm=\"linkgate\", error=\"insufficient_scope\""]);
    let old = bear(&gate, "/recent", &token).await;
    assert_eq!((old.status, old.json()["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("step_up_required")));
    assert!(challenges(&old)[0].starts_with("Bearer realm=\"linkgate\", error=\"insufficient_user_authentication\""));
    let recent = sign(&merged(mosaic.access_claims(), json!({ "auth_time": gate.clock.now().unix_seconds() - 10 })));
    assert_eq!(bear(&gate, "/recent", &recent).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_of_who_may_sign_in_holds_for_tokens() {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active", &[]);
    let only = |text: String| format!("{}\n[sign_in]\nallow = ['@example.org']\n", with_routes(&text, ROUTES));
    let gate = mosaic.gate_on(mosaic.memory(), only).await;
    let answer = bear(&gate, "/x", &sign(&mosaic.access_claims())).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!("not_admitted")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_tokens_cause_no_call() {
    let (mosaic, gate) = start().await;
    let good = sign(&mosaic.access_claims());
    assert_eq!(bear(&gate, "/x", &good).await.status, StatusCode::OK);
    // Long enough that a visitor's token with an unknown key would have the keys fetched.
    gate.clock.advance(Duration::from_secs(31));
    let before = mosaic.calls().len();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    for _ in 0..300 {
        let random = random_token();
        let random = random.expose();
        let key = base64url(json!({ "alg": "RS256", "kid": random }).to_string().as_bytes());
        let foreign = base64url(json!({ "iss": "https://evil.test", "sub": random }).to_string().as_bytes());
        for token in [
            random.clone(),
            format!("{random}.{random}.{random}"),
            format!("{signed}.{random}"),
            format!("{key}.{payload}.{random}"),
            format!("{key}.{foreign}.{random}"),
        ] {
            assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(mosaic.calls().len(), before, "{:?}", &mosaic.calls()[before..]);
    assert_eq!(mosaic.count(KEYS), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_again_by_their_age() {
    let (mosaic, gate) = start().await;
    assert_eq!(bear(&gate, "/x", &sign(&mosaic.access_claims())).await.status, StatusCode::OK);
    assert_eq!(mosaic.count(KEYS), 1);
    gate.clock.advance(Duration::from_secs(3601));
    assert_eq!(bear(&gate, "/x", &sign(&mosaic.access_claims())).await.status, StatusCode::OK);
    assert_eq!(mosaic.count(KEYS), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_good_ends() {
    let (mosaic, gate) = start().await;
    let token = sign(&merged(mosaic.access_claims(), json!({ "exp": gate.clock.now().unix_seconds() + 10 })));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(75));
    assert_eq!(bear(&gate, "/x", &token).await.json()["reason"], "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clients_tokens_are_taken_where_the_operator_names_them() {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active", &[]);
    let named = |text: String| {
        with_routes(&text, ROUTES)
            .replace("client_id = \"client-1\"", "client_id = \"client-1\"\nbearer_clients = [\"cli\"]")
    };
    let gate = mosaic.gate_on(mosaic.memory(), named).await;
    let of = |client: &str| sign(&merged(mosaic.access_claims(), json!({ "client_id": client })));
    assert_eq!(bear(&gate, "/x", &of("cli")).await.status, StatusCode::OK);
    assert_eq!(bear(&gate, "/x", &of("client-1")).await.status, StatusCode::OK);
    assert_eq!(bear(&gate, "/x", &of("other")).await.json()["reason"], "other_client");
}
