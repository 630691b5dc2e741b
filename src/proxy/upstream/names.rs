//! The addresses behind a name: asked for without blocking, kept for a while, and asked for again in the background.
//!
//! The system's resolver does not tell how long an answer holds, so each one is taken to hold for a fixed short time. A
//! resolver that fails takes nothing away: the last good answer stays.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failure is passed on to those who ask next.
const FAILED: Duration = Duration::from_secs(1);

/// Asks for the addresses of a name.
#[async_trait]
pub(super) trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
pub(super) struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// A name with the addresses that were last found behind it.
pub(super) struct Name {
    host: String,
    port: u16,
    clock: Clock,
    resolver: Arc<dyn Resolve>,
    found: ArcSwapOption<Found>,
    /// Held while the resolver is asked. Holds when it last failed.
    failed_at: Mutex<Option<Timestamp>>,
}

struct Found {
    addresses: Arc<[SocketAddr]>,
    at: Timestamp,
}

impl Name {
    pub(super) fn new(host: String, port: u16, clock: Clock, resolver: Arc<dyn Resolve>) -> Arc<Self> {
        let found = ArcSwapOption::empty();
        Arc::new(Self { host, port, clock, resolver, found, failed_at: Mutex::new(None) })
    }

    /// At least one address, in the resolver's order. Only the first who asks waits for the resolver.
    ///
    /// # Errors
    /// When no address was ever found.
    pub(super) async fn addresses(self: &Arc<Self>) -> io::Result<Arc<[SocketAddr]>> {
        let now = self.clock.now();
        if let Some(found) = &*self.found.load() {
            if now.since(found.at) >= FRESH {
                self.ask_in_background();
            }
            return Ok(Arc::clone(&found.addresses));
        }
        let mut failed_at = self.failed_at.lock().await;
        if let Some(found) = &*self.found.load() {
            return Ok(Arc::clone(&found.addresses));
        }
        if failed_at.is_some_and(|failed_at| now.since(failed_at) < FAILED) {
            return Err(io::Error::other("the name could not be resolved just now"));
        }
        self.ask(&mut failed_at).await
    }

    fn ask_in_background(self: &Arc<Self>) {
        let name = Arc::clone(self);
        tokio::spawn(async move {
            // Whoever holds it is asking already.
            let Ok(mut failed_at) = name.failed_at.try_lock() else { return };
            let now = name.clock.now();
            let is_fresh = name.found.load().as_ref().is_some_and(|found| now.since(found.at) < FRESH);
            if is_fresh || failed_at.is_some_and(|failed_at| now.since(failed_at) < FAILED) {
                return;
            }
            if let Err(error) = name.ask(&mut failed_at).await {
                tracing::warn!(upstream.host = name.host, %error, "failed to resolve an upstream; its last addresses stay");
            }
        });
    }

    async fn ask(&self, failed_at: &mut Option<Timestamp>) -> io::Result<Arc<[SocketAddr]>> {
        let resolved = self.resolver.resolve(&self.host, self.port).await;
        let some = |addresses: Vec<SocketAddr>| {
            if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses.into()) }
        };
        let addresses: io::Result<Arc<[SocketAddr]>> = resolved.and_then(some);
        let now = self.clock.now();
        match &addresses {
            Ok(addresses) => {
                *failed_at = None;
                self.found.store(Some(Arc::new(Found { addresses: Arc::clone(addresses), at: now })));
            }
            Err(_) => *failed_at = Some(now),
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Gives another address each time, or none while it is told to fail.
    #[derive(Default)]
    struct Script {
        asked: AtomicUsize,
        answers: Mutex<bool>,
    }

    #[async_trait]
    impl Resolve for Script {
        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let turn = self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let octet = u8::try_from(turn).expect("a test asks seldom");
            if *self.answers.lock().await {
                Ok(vec![SocketAddr::from(([192, 0, 2, octet], port))])
            } else {
                Err(io::Error::other("no name server answers"))
            }
        }
    }

    fn name(answers: bool) -> (Clock, Arc<Script>, Arc<Name>) {
        let clock = Clock::manual(Timestamp::from_unix_seconds(0));
        let script = Arc::new(Script { answers: Mutex::new(answers), ..Script::default() });
        let name = Name::new("app".to_owned(), 80, clock.clone(), Arc::clone(&script) as Arc<dyn Resolve>);
        (clock, script, name)
    }

    async fn first(name: &Arc<Name>) -> Option<String> {
        name.addresses().await.ok().map(|addresses| addresses[0].to_string())
    }

    /// Lets everything that was begun in the background come to its end.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_holds_for_a_while_and_is_renewed_in_the_background() {
        let (clock, script, name) = name(true);
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.0:80"));
        clock.advance(FRESH.saturating_sub(Duration::from_millis(1)));
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.0:80"));
        settle().await;
        assert_eq!(script.asked.load(Ordering::SeqCst), 1);
        clock.advance(Duration::from_millis(1));
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.0:80"), "nobody waits for the new answer");
        settle().await;
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.1:80"));
        assert_eq!(script.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_ask_once() {
        let (_, script, name) = name(true);
        let found = join_all((0..50).map(|_| first(&name))).await;
        assert!(found.iter().all(|found| found.as_deref() == Some("192.0.2.0:80")));
        assert_eq!(script.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_last_good_answer_stays_while_the_resolver_fails() {
        let (clock, script, name) = name(true);
        assert!(first(&name).await.is_some());
        *script.answers.lock().await = false;
        for _ in 0..3 {
            clock.advance(FRESH * 2);
            assert_eq!(first(&name).await.as_deref(), Some("192.0.2.0:80"));
            settle().await;
        }
        assert_eq!(script.asked.load(Ordering::SeqCst), 4, "it is asked again each time");
        *script.answers.lock().await = true;
        clock.advance(FRESH);
        assert!(first(&name).await.is_some());
        settle().await;
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.4:80"));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_asked_for_again_only_after_a_moment() {
        let (clock, script, name) = name(false);
        assert!(join_all((0..50).map(|_| first(&name))).await.iter().all(Option::is_none));
        assert_eq!(script.asked.load(Ordering::SeqCst), 1);
        *script.answers.lock().await = true;
        clock.advance(FAILED);
        assert_eq!(first(&name).await.as_deref(), Some("192.0.2.1:80"));
    }
}
