//! What the store holds opens nothing: no cookie, state or code can be read from it, and a session no more than these.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use linkgate::clock::{Clock, Timestamp};
use linkgate::secret::from_base64url;
use linkgate::store::memory::Memory;
use linkgate::store::{Announcement, Count, Error, Store};
use tokio::sync::mpsc;

use crate::harness::{Gate, START, mail, parameter};

/// A store that keeps everything it was ever told.
pub(crate) struct Witness {
    store: Memory,
    told: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Witness {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { store: Memory::new(clock), told: Mutex::default() })
    }

    fn note(&self, name: &str, value: &[u8]) {
        self.told.lock().unwrap().push((name.to_owned(), value.to_vec()));
    }

    /// The names and values that were written and contain `bytes`, shown as text.
    pub(crate) fn seen(&self, bytes: &[u8]) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let contains = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        let found = told.iter().filter(|(name, value)| contains(name.as_bytes()) || contains(value));
        found.map(|(name, value)| format!("{name} = {}", String::from_utf8_lossy(value))).collect()
    }
}

#[async_trait]
impl Store for Witness {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.note(key, b"");
        self.store.get(key).await
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        self.note(key, value);
        self.store.put(key, value, expires_at).await
    }

    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.note(key, value);
        self.store.replace(key, value, expires_at).await
    }

    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.note(key, value);
        self.store.put_if_absent(key, value, expires_at).await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.note(key, b"");
        self.store.remove(key).await
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.note(key, b"");
        self.store.take(key).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        self.note(key, b"");
        self.store.count(key, window).await
    }

    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        self.note(set, member.as_bytes());
        self.store.index_add(set, member, expires_at).await
    }

    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        self.note(set, b"");
        self.store.index_members(set).await
    }

    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        self.note(set, member.as_bytes());
        self.store.index_remove(set, member).await
    }

    async fn announce(&self, message: &str) -> Result<(), Error> {
        self.note(message, b"");
        self.store.announce(message).await
    }

    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        self.store.announcements().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_alone_opens_nothing() {
    let clock = Clock::manual(START);
    let witness = Witness::new(clock.clone());
    let gate = Gate::on(witness.clone(), clock, |configuration| configuration).await;

    let (mut visitor, callback) = gate.asked("ada@example.com", "/private/page").await;
    let link = mail(&gate, "ada@example.com").await["link"].as_str().unwrap().to_owned();
    let browser = visitor.jar["linkgate-browser"].clone();
    let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
    visitor.open(&callback).await;
    let session = visitor.session_cookie();
    gate.clock.advance(Duration::from_secs(3600));
    visitor.open("/renewed").await;
    gate.running.settle().await;
    let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
    visitor.post("/.linkgate/sign-out", &[("csrf", &csrf), ("everywhere", "1")]).await;
    gate.running.settle().await;

    let secrets = [("session", &session), ("browser", &browser), ("code", &code), ("state", &state), ("csrf", &csrf)];
    for (name, secret) in secrets {
        assert!(secret.len() >= 43, "{name}: {secret}");
        assert_eq!(witness.seen(secret.as_bytes()), [""; 0], "{name}");
        let bytes = from_base64url(secret).unwrap();
        assert_eq!(witness.seen(&bytes[..32]), [""; 0], "the bytes of {name}");
    }
    // The link is in the mail that waits in the development mailbox, and nowhere else.
    let token = parameter(&link, "token");
    let named = |seen: Vec<String>, prefix: &str| seen.iter().all(|entry| entry.starts_with(prefix));
    assert!(named(witness.seen(token.as_bytes()), "issuer/mail/"));

    // Who and where are the issuer's to know; the gateway's own records are sealed.
    for text in ["ada@example.com", "ada", "/private/page"] {
        let seen: Vec<_> = witness.seen(text.as_bytes());
        let gateways: Vec<_> = seen.iter().filter(|entry| !entry.starts_with("issuer/")).collect();
        assert!(gateways.is_empty(), "{text}: {gateways:?}");
    }
}
