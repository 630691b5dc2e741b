//! Which keys are used, and how seldom the set is fetched.

use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::mosaic::call::Timeouts;
use crate::mosaic::{ClientAuthentication, Connection};
use crate::secret::{Secret, base64url};
use crate::telemetry::Metrics;

fn modulus(bits: usize) -> String {
    base64url(&vec![0xff; bits / 8])
}

fn ids(keys: &Value) -> Vec<String> {
    let body = serde_json::to_vec(&json!({ "keys": keys })).unwrap();
    let mut ids: Vec<_> = parse(&body).unwrap().into_keys().collect();
    ids.sort();
    ids
}

/// A fine key with one member changed, or removed by null.
fn key(member: &str, value: Value) -> Value {
    let mut key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "a", "n": modulus(2048), "e": "AQAB"});
    match value {
        Value::Null => key.as_object_mut().unwrap().remove(member),
        value => key.as_object_mut().unwrap().insert(member.to_owned(), value),
    };
    key
}

#[test]
fn only_strong_public_signature_keys_are_used() {
    let check = |member: &str, value: Value, fine: bool| {
        let found = ids(&json!([key(member, value.clone())]));
        assert_eq!(found.len(), usize::from(fine), "{member}: {value}");
    };
    check("kid", json!("b"), true);
    for optional in ["use", "alg"] {
        check(optional, Value::Null, true);
    }
    check("alg", json!("PS256"), true);
    check("n", json!(modulus(8192)), true);
    check("n", json!(base64url(&[&[0][..], &[0xff; 256]].concat())), true);
    check("key_ops", json!(["verify"]), true);
    check("key_ops", json!(["encrypt"]), false);
    check("key_ops", json!("verify"), false);
    for required in ["kty", "kid", "n", "e"] {
        check(required, Value::Null, false);
        check(required, json!(5), false);
        check(required, json!(""), false);
    }
    check("kid", json!("k".repeat(257)), false);
    check("kty", json!("oct"), false);
    check("kty", json!("EC"), false);
    check("use", json!("enc"), false);
    check("use", json!(7), false);
    for algorithm in ["none", "HS256", "RS512", "RSA-OAEP", "rs256"] {
        check("alg", json!(algorithm), false);
    }
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(private, json!("AQAB"), false);
    }
    check("n", json!(modulus(1024)), false);
    check("n", json!(base64url(&[&[0][..], &[0x7f], &[0xff; 255]].concat())), false);
    check("n", json!(modulus(8200)), false);
    check("n", json!(format!("{}=", modulus(2048))), false);
    check("e", json!("AQ"), false);
    check("e", json!("AA"), false);
    check("e", json!("AgAA"), false);
}

#[test]
fn an_ambiguous_id_names_no_key() {
    let other = key("n", json!(base64url(&[0xfe; 256])));
    assert_eq!(ids(&json!([key("kid", json!("a")), other, key("kid", json!("b"))])), ["b"]);
    let unusable = key("use", json!("enc"));
    assert_eq!(ids(&json!([key("kid", json!("a")), unusable])), ["a"]);
}

#[test]
fn what_is_no_key_set_is_not_read_as_an_empty_one() {
    for body in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
        assert_eq!(parse(body.as_bytes()), None, "{body}");
    }
    assert_eq!(parse(br#"{"keys":[1,null,"x"]}"#), Some(Keys::new()));
}

#[test]
fn a_set_is_used_for_a_day_and_fetches_keep_their_distance() {
    let at = Timestamp::from_unix_seconds;
    let keys = parse(json!({"keys": [key("kid", json!("a"))]}).to_string().as_bytes()).unwrap();
    let mut state = State { keys: Some((keys, at(0))), ..State::default() };
    assert!(state.is_fresh(at(3599)) && !state.is_fresh(at(3600)));
    assert!(state.find("a", at(86_399)).is_some() && state.find("a", at(86_400)).is_none());
    assert!(state.begin_fetch(at(100)));
    assert!(!state.begin_fetch(at(129)));
    assert!(state.begin_fetch(at(130)));
    assert!(state.begin_fetch(at(50)), "the clock was set back");
}

/// A key set at an address of its own, with the clock in the test's hand.
struct Published {
    server: MockServer,
    keys: Arc<KeySet>,
    clock: Clock,
}

impl Published {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = MockServer::start().await;
        let url = Url::parse(&format!("{}/jwks", server.uri())).unwrap();
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let timeouts = Timeouts { pause: Duration::ZERO, ..Timeouts::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        let connection = Connection {
            base_url: url.clone(),
            token_url: url.clone(),
            key_set_url: url.clone(),
            issuer: String::new(),
            client_id: String::new(),
            client_authentication: ClientAuthentication::SecretPost(Secret::new(String::new())),
            certificate_authorities: Vec::new(),
            wording: crate::mosaic::Wording::default(),
        };
        let http = Http::new(connection.client(&timeouts).unwrap(), &timeouts, clock.clone(), metrics);
        let http = http.to_another_part(timeouts.key_set);
        Self { server, keys: KeySet::new(url, http, clock.clone()), clock }
    }

    async fn answer(&self, answer: ResponseTemplate) {
        self.server.reset().await;
        Mock::given(method("GET")).and(path("/jwks")).respond_with(answer).mount(&self.server).await;
    }

    async fn publish(&self, ids: &[&str]) {
        let keys: Vec<_> = ids.iter().map(|id| key("kid", json!(id))).collect();
        self.answer(ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }))).await;
    }

    /// Requests since the last change of the answer.
    async fn fetches(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }

    async fn knows(&self, id: &str) -> bool {
        self.keys.key(id).await.is_ok()
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn five_thousand_unknown_ids_cause_one_fetch() {
    let published = Published::start().await;
    published.publish(&["a"]).await;
    for number in 0..5000 {
        let error = published.keys.key(&format!("random-{number}")).await.unwrap_err();
        assert!(matches!(error, Error::Token(id_token::Error::UnknownKey)), "{error:?}");
    }
    assert!(published.knows("a").await);
    assert_eq!(published.fetches().await, 1);
}

#[tokio::test]
async fn fifty_at_once_share_one_fetch() {
    let published = Published::start().await;
    published.publish(&["a"]).await;
    let found = futures_util::future::join_all((0..50).map(|_| published.knows("a"))).await;
    assert_eq!(found, [true; 50]);
    assert_eq!(published.fetches().await, 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_half_a_minute_after_the_last_fetch() {
    let published = Published::start().await;
    published.publish(&["a"]).await;
    assert!(published.knows("a").await);
    published.publish(&["b"]).await;
    published.wait(29);
    assert!(!published.knows("b").await);
    assert_eq!(published.fetches().await, 0);
    published.wait(1);
    assert!(published.knows("b").await && !published.knows("a").await);
    assert_eq!(published.fetches().await, 1);
}

#[tokio::test]
async fn a_key_that_was_replaced_under_its_name_is_found_when_a_signature_does_not_match() {
    let published = Published::start().await;
    published.publish(&["a"]).await;
    assert!(published.knows("a").await);
    let replaced = json!({"keys": [key("n", json!(base64url(&[0xfe; 256])))]});
    published.answer(ResponseTemplate::new(200).set_body_json(&replaced)).await;
    let is_new = |key: &PublicKey| {
        if key.modulus == [0xfe; 256] { Ok("new") } else { Err(id_token::Error::Signature) }
    };
    for _ in 0..100 {
        let error = published.keys.verify("a", is_new).await.unwrap_err();
        assert!(matches!(error, Error::Token(id_token::Error::Signature)), "{error:?}");
    }
    assert_eq!(published.fetches().await, 0, "it was fetched a moment ago");
    published.wait(30);
    let verified = futures_util::future::join_all((0..50).map(|_| published.keys.verify("a", is_new))).await;
    assert!(verified.iter().all(|verified| matches!(verified, Ok("new"))), "{verified:?}");
    assert_eq!(published.fetches().await, 1);
}

#[tokio::test]
async fn signatures_of_nobody_cause_one_fetch_in_half_a_minute_and_take_no_key_away() {
    let published = Published::start().await;
    published.publish(&["a"]).await;
    assert!(published.knows("a").await);
    published.wait(30);
    for _ in 0..100 {
        let forged = published.keys.verify("a", |_| Err::<(), _>(id_token::Error::Signature)).await;
        assert!(matches!(forged, Err(Error::Token(id_token::Error::Signature))));
    }
    assert_eq!(published.fetches().await, 2, "the first set, and one more look at it");
    published.answer(ResponseTemplate::new(500)).await;
    published.wait(30);
    let forged = published.keys.verify("a", |_| Err::<(), _>(id_token::Error::Signature)).await;
    assert!(matches!(forged, Err(Error::Token(id_token::Error::Signature))));
    assert!(published.knows("a").await);
    let wrong = published.keys.verify("a", |_| Err::<(), _>(id_token::Error::Expired)).await;
    assert!(matches!(wrong, Err(Error::Token(id_token::Error::Expired))));
    assert_eq!(published.fetches().await, 2, "one fetch and its second try");
}

#[tokio::test]
async fn a_failed_fetch_is_not_repeated_for_half_a_minute_and_says_why() {
    let published = Published::start().await;
    published.answer(ResponseTemplate::new(503)).await;
    for _ in 0..100 {
        let error = published.keys.key("a").await.unwrap_err();
        assert!(matches!(error, Error::ServerFault { status: 503 }), "{error:?}");
        assert!(published.keys.ready().await.unwrap_err().is_transient());
    }
    assert_eq!(published.fetches().await, 2, "one fetch and its second try");
    published.publish(&["a"]).await;
    published.wait(30);
    assert!(published.knows("a").await);
    assert!(published.keys.ready().await.is_ok());
}

#[tokio::test]
async fn the_last_good_set_serves_for_a_day_and_nothing_worse_replaces_it() {
    let page = ResponseTemplate::new(200).set_body_string("<html>");
    let empty = ResponseTemplate::new(200).set_body_json(json!({"keys": []}));
    let useless = ResponseTemplate::new(200).set_body_json(json!({"keys": [key("use", json!("enc"))]}));
    let moved = ResponseTemplate::new(302).insert_header("Location", "/elsewhere");
    let huge = json!({"keys": [key("kid", json!("b"))], "padding": " ".repeat(256 * 1024)});
    let huge = ResponseTemplate::new(200).set_body_json(huge);
    for (name, worse) in [("page", page), ("empty", empty), ("useless", useless), ("moved", moved), ("huge", huge)] {
        let published = Published::start().await;
        published.publish(&["a"]).await;
        assert!(published.knows("a").await);
        published.answer(worse).await;
        published.wait(86_399);
        assert!(published.knows("a").await, "{name}");
        assert_eq!(published.fetches().await, 1, "{name}");
        published.wait(1);
        assert!(!published.knows("a").await, "{name}");
        assert!(published.keys.ready().await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_set_is_fetched_again_every_hour_so_that_withdrawn_keys_go() {
    let published = Published::start().await;
    published.publish(&["a", "b"]).await;
    assert!(published.knows("a").await);
    published.publish(&["b"]).await;
    published.wait(3599);
    assert!(published.knows("a").await);
    published.wait(1);
    assert!(!published.knows("a").await);
    assert!(published.knows("b").await);
}
