//! A store that cannot answer is never "not found", "signed out" or "expired".

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use linkgate::store::{Announcement, Count, Error, Store};
use tokio::sync::mpsc;

use super::*;

/// Works until it is told to fail.
struct Failing {
    inner: Memory,
    fails: AtomicBool,
}

impl Failing {
    fn inner(&self) -> Result<&Memory, Error> {
        if self.fails.load(Ordering::SeqCst) { Err(Error::Unavailable("unplugged".into())) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.inner()?.get(key).await
    }
    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        self.inner()?.put(key, value, expires_at).await
    }
    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.inner()?.replace(key, value, expires_at).await
    }
    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.inner()?.put_if_absent(key, value, expires_at).await
    }
    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.inner()?.remove(key).await
    }
    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.inner()?.take(key).await
    }
    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        self.inner()?.count(key, window).await
    }
    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        self.inner()?.index_add(set, member, expires_at).await
    }
    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        self.inner()?.index_members(set).await
    }
    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        self.inner()?.index_remove(set, member).await
    }
    async fn announce(&self, message: &str) -> Result<(), Error> {
        self.inner()?.announce(message).await
    }
    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        self.inner()?.announcements().await
    }
}

#[tokio::test]
async fn a_lost_store_gives_503_and_loses_nothing() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
    let failing = Arc::new(Failing { inner: Memory::new(clock.clone()), fails: AtomicBool::new(false) });
    let shared: store::Shared = failing.clone();
    share_key(&shared).await;
    let world = World::over(config(), settings(), shared, clock).await;
    let session = world.sign_in().await.text("session_id");
    let token = world.send_link().await;

    failing.fails.store(true, Ordering::SeqCst);
    let unavailable = json!({ "message": "Service unavailable", "error_code": 503 });
    for (path, call) in [
        (SEND, json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI })),
        (AUTHENTICATE, json!({ "code": "x" })),
        (SESSION_AUTHENTICATE, json!({ "session_id": session })),
        (LOGOUT, json!({ "session_id": session })),
        (REFRESH, json!({ "refresh_token": "x" })),
        ("/cis/v1/users", json!({ "email": "bob@example.com" })),
    ] {
        let answer = world.post(path, &call).await;
        assert_eq!(answer.headers["retry-after"], "5", "{path}");
        answer.refuses(503, &unavailable);
    }
    for path in ["/cis/v1/users/x", "/cis/v1/users/email/ada@example.com", "/cis/v1/auth/users/x/sessions"] {
        world.get(path).await.refuses(503, &unavailable);
    }
    for page in [world.open(&token).await, world.press(&token).await] {
        assert!(page.expect(503).body.contains("<h1>Sign-in is not available just now</h1>"));
    }

    failing.fails.store(false, Ordering::SeqCst);
    world.post(SESSION_AUTHENTICATE, &json!({ "session_id": session })).await.expect(200);
    let code = world.press(&token).await.expect(303).parameter("code").unwrap();
    world.authenticate(&code).await.expect(200);
}
