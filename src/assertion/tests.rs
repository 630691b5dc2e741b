//! When an assertion is another, and what becomes of one that is too long.

use serde_json::Value;

use super::*;
use crate::secret::from_base64url;
use crate::store::memory::Memory;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn assertions() -> (Arc<Assertions>, Clock) {
    let clock = Clock::manual(START);
    let store: Shared = Arc::new(Memory::new(clock.clone()));
    let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
    (Assertions::new(&store, &clock, &TaskTracker::new(), &public_url, &Config::default()), clock)
}

fn ada(change: impl FnOnce(&mut Identity)) -> Visitor {
    let mut identity = Identity::new(Subject::try_from("u1".to_owned()).unwrap());
    identity.groups = vec!["ops".to_owned()];
    change(&mut identity);
    Visitor::Named(Arc::new(Named { identity, signed_in_at: START, headers: Vec::new(), by: By::Supposition }))
}

fn claims(assertion: &HeaderValue) -> Value {
    let claims = assertion.to_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&from_base64url(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn another_identity_or_sign_in_has_another_assertion_at_once() {
    let (assertions, _) = assertions();
    let first = assertions.of(&ada(|_| ()), "app.example.com/").await.unwrap();
    assert_eq!(assertions.of(&ada(|_| ()), "app.example.com/").await.unwrap(), first, "the same, found anew");
    let moved = ada(|identity| identity.groups = vec!["sales".to_owned()]);
    let second = assertions.of(&moved, "app.example.com/").await.unwrap();
    assert_eq!(claims(&second)["groups"], serde_json::json!(["sales"]));
    assert_ne!(assertions.of(&moved, "app.example.com/wiki").await.unwrap(), second);
}

#[tokio::test]
async fn lists_that_are_too_long_are_left_out_whole() {
    let (assertions, _) = assertions();
    let long = ada(|identity| {
        identity.groups = vec!["g".repeat(9000)];
        identity.name = Some("Ada".to_owned());
    });
    let without_lists = assertions.of(&long, "app.example.com/").await.unwrap();
    let said = claims(&without_lists);
    assert!(without_lists.len() < MOST_BYTES && said.get("groups").is_none() && said.get("roles").is_none());
    assert_eq!(said["name"], "Ada");
    let longer = ada(|identity| identity.name = Some("n".repeat(9000)));
    let without_names = claims(&assertions.of(&longer, "app.example.com/").await.unwrap());
    assert_eq!((without_names.get("name"), &without_names["sub"]), (None, &Value::from("u1")));
}
