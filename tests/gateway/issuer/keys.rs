//! The signing keys in the course of time: the next one is shown ahead, old ones stay, instances agree.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
/// How often an instance looks at the keys in the store.
const LOOK: Duration = Duration::from_secs(60);

async fn key_ids(world: &World) -> Vec<String> {
    let set = run(world.issuer.api(), Method::GET, "/cis/oidc/jwks", &[], "").await.expect(200).json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signing_key(world: &World) -> String {
    let form = format!("grant_type=client_credentials&client_id=gate&client_secret={CLIENT_SECRET}");
    let token = world.form("/oidc/token", &form).await.expect(200).text("access_token");
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn a_key_signs_for_its_time_and_is_shown_before_and_after() {
    let world = World::new().await;
    let first = key_ids(&world).await;
    assert_eq!(first.len(), 1);
    world.clock.advance(29 * DAY - LOOK);
    assert_eq!(key_ids(&world).await, first);

    // A day ahead the next one is shown, and does not sign.
    world.clock.advance(LOOK);
    let both = key_ids(&world).await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    world.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(signing_key(&world).await, first[0]);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(signing_key(&world).await, both[1]);

    // What the first one signed lasts no longer than two weeks.
    world.clock.advance(14 * DAY - LOOK);
    assert_eq!(key_ids(&world).await, both);
    world.clock.advance(LOOK);
    assert_eq!(key_ids(&world).await, both[1..]);
}

#[tokio::test]
async fn a_token_of_the_old_key_is_good_while_it_lasts() {
    let world = World::new().await;
    world.clock.advance(30 * DAY - Duration::from_secs(1));
    key_ids(&world).await;
    // The next key was made a second before the month was over: it is shown for a day all the same.
    world.clock.advance(DAY - Duration::from_secs(1));
    let form = format!("grant_type=client_credentials&client_id=gate&client_secret={CLIENT_SECRET}");
    let token = world.form("/oidc/token", &form).await.expect(200).text("access_token");
    let old = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    world.clock.advance(Duration::from_secs(1800));
    assert_ne!(signing_key(&world).await, old);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    run(world.issuer.api(), Method::GET, "/cis/v1/users/nobody", &headers, "").await.expect(404);
}

#[tokio::test]
async fn instances_agree_on_the_next_key() {
    let first = World::new().await;
    let second = first.again(config(), settings()).await;
    first.clock.advance(29 * DAY);
    let (of_first, of_second) = tokio::join!(key_ids(&first), key_ids(&second));
    // Whoever was second has seen what is there by the time that it looks again.
    first.clock.advance(Duration::from_secs(60));
    let (shown, again) = (key_ids(&first).await, key_ids(&second).await);
    assert_eq!((shown.len(), &shown), (2, &again));
    for earlier in [of_first, of_second] {
        assert!(earlier.iter().all(|key| shown.contains(key)), "a key was shown that is none");
    }
}

#[tokio::test]
async fn a_key_can_be_made_ahead_of_its_time() {
    let first = World::new().await;
    let second = first.again(config(), settings()).await;
    let old = signing_key(&first).await;
    let moment = Issuer::rotate_keys(&first.store, &first.clock).await.unwrap();
    assert_eq!(moment, first.clock.now().plus(Duration::from_secs(120)));
    first.clock.advance(Duration::from_secs(119));
    assert_eq!((key_ids(&first).await.len(), key_ids(&second).await.len()), (2, 2));
    assert_eq!(signing_key(&first).await, old);
    first.clock.advance(Duration::from_secs(1));
    let new = signing_key(&first).await;
    assert_ne!(new, old);
    assert_eq!(signing_key(&second).await, new);
}

#[tokio::test]
async fn an_instance_learns_of_a_key_by_the_first_token_that_names_it() {
    let first = World::new().await;
    let mut second = first.again(config(), settings()).await;
    // Its clock is ahead, so it uses the new key before the others know of it.
    Issuer::rotate_keys(&first.store, &first.clock).await.unwrap();
    let ahead = Clock::manual(first.clock.now().plus(Duration::from_secs(120)));
    second.bearer = World::over(config(), settings(), first.store.clone(), ahead).await.bearer;
    second.get("/cis/v1/users/nobody").await.expect(401);
    // A moment later it looks for strangers again.
    first.clock.advance(Duration::from_secs(5));
    second.get("/cis/v1/users/nobody").await.expect(404);
}

#[tokio::test]
async fn without_the_store_the_known_keys_go_on() {
    let clock = Clock::manual(START);
    let failing = crate::failing_store::Failing::new(clock.clone());
    let shared: store::Shared = failing.clone();
    share_key(&shared).await;
    let world = World::over(config(), settings(), shared, clock).await;
    let before = key_ids(&world).await;
    failing.fail();
    world.clock.advance(40 * DAY);
    assert_eq!(key_ids(&world).await, before);
    failing.work();
    assert_eq!(key_ids(&world).await.len(), 2);
}
