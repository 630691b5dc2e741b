//! The ways of one request to the servers of an upstream: where it is, and where it may go when that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::time::sleep;

use super::Upstream;
use super::server::{Addresses, Server};
use crate::clock::{Clock, Timestamp};

/// So many connections are tried for one request.
const MOST_CONNECTS: u32 = 8;
/// The most that `route.retries` may say.
pub const MOST_RETRIES: u32 = 5;
/// Connections that wait are looked through this often.
const LOOK: Duration = Duration::from_secs(2);
/// All that may be tried for one request.
pub const MOST_ATTEMPTS: u32 = MOST_CONNECTS + MOST_RETRIES + 1;

/// Where a request was tried, and where it is now.
#[derive(Default)]
pub struct Attempts {
    now: Option<Attempt>,
    /// Servers that need not be tried again. Nothing is allocated while all goes well.
    spent: Vec<usize>,
    connects: u32,
    repeats: u32,
}

/// One server at one of its addresses. While it lives, the server has one open request more.
struct Attempt {
    upstream: Arc<Upstream>,
    server: usize,
    addresses: Addresses,
    at: usize,
    /// Addresses that were not tried yet.
    left: usize,
}

impl Attempts {
    /// The peer to send the request to: where it is already, or at the server whose turn it is.
    ///
    /// # Errors
    /// When no server is left, or the path of its socket is none.
    pub async fn peer(&mut self, upstream: &Arc<Upstream>, clock: &Clock) -> pingora::Result<Box<HttpPeer>> {
        let attempt = self.current(upstream, clock).await?;
        attempt.server().peer_at(&attempt.addresses, attempt.at)
    }

    /// A connection there that waits for a request, if there is one.
    ///
    /// # Errors
    /// When no server is left.
    pub async fn kept(&mut self, upstream: &Arc<Upstream>, clock: &Clock) -> pingora::Result<Option<Stream>> {
        let attempt = self.current(upstream, clock).await?;
        Ok(attempt.server().kept.take(attempt.addresses.network(attempt.at)))
    }

    /// Has the connection that the request was answered on wait for the next.
    pub fn keep(&self, stream: Stream) {
        let Some(attempt) = &self.now else { return };
        if attempt.server().kept.put(attempt.addresses.network(attempt.at), stream) {
            let (upstream, server) = (Arc::downgrade(&attempt.upstream), attempt.server);
            tokio::spawn(async move {
                loop {
                    sleep(LOOK).await;
                    // With the upstream its connections are gone.
                    let Some(upstream) = upstream.upgrade() else { return };
                    if !upstream.servers[server].kept.look() {
                        return;
                    }
                }
            });
        }
    }

    async fn current(&mut self, upstream: &Arc<Upstream>, clock: &Clock) -> pingora::Result<&Attempt> {
        while self.now.is_none() {
            let Some(server) = upstream.choose(&self.spent, clock) else { break };
            match upstream.servers[server].addresses().await {
                Ok(addresses) => self.now = Some(Attempt::new(Arc::clone(upstream), server, addresses)),
                Err(error) => {
                    let Server { url, health, .. } = &upstream.servers[server];
                    tracing::debug!(upstream.url = %url, %error, "failed to find the address of an upstream");
                    health.failed(clock.now());
                    self.spent.push(server);
                }
            }
        }
        let nobody = || Error::explain(ErrorType::ConnectNoRoute, "no server of the upstream is left to try");
        self.now.as_ref().ok_or_else(nobody)
    }

    /// Host and port of the server that the request is at.
    pub fn authority(&self) -> Option<&HeaderValue> {
        self.now.as_ref().map(|attempt| &attempt.server().authority)
    }

    /// There was no connection, so nothing was sent. Says whether there is another address to try.
    pub fn not_connected(&mut self, now: Timestamp) -> bool {
        self.connects += 1;
        let Some(attempt) = &mut self.now else { return false };
        attempt.server().avoid(attempt.at);
        if attempt.left > 0 {
            attempt.left -= 1;
            attempt.at = attempt.at.wrapping_add(1);
            return self.connects < MOST_CONNECTS;
        }
        attempt.server().health.failed(now);
        self.leave() && self.connects < MOST_CONNECTS
    }

    /// The connection ended before there was an answer. `was_kept` says that it had served other requests: then it is
    /// likely that the server just closed it, and the same one is tried again. Says whether the request may be sent
    /// again, where `retries` say how often that is allowed.
    pub fn broken_off(&mut self, was_kept: bool, retries: u32, now: Timestamp) -> bool {
        self.repeats += 1;
        let Some(attempt) = &self.now else { return false };
        if was_kept {
            return self.repeats <= retries;
        }
        attempt.server().health.failed(now);
        self.leave() && self.repeats <= retries
    }

    /// There was no answer in time.
    pub fn timed_out(&self, now: Timestamp) {
        if let Some(attempt) = &self.now {
            attempt.server().health.failed(now);
        }
    }

    /// The server answered, whatever it said.
    pub fn answered(&self) {
        if let Some(attempt) = &self.now {
            attempt.server().health.answered();
        }
    }

    /// Leaves the server for good. Says whether there is another.
    fn leave(&mut self) -> bool {
        let Some(attempt) = self.now.take() else { return false };
        self.spent.push(attempt.server);
        self.spent.len() < attempt.upstream.servers.len()
    }
}

impl Attempt {
    fn new(upstream: Arc<Upstream>, server: usize, addresses: Addresses) -> Self {
        upstream.servers[server].open.fetch_add(1, Ordering::Relaxed);
        let (at, left) = (upstream.servers[server].preferred(), addresses.count().saturating_sub(1));
        Self { upstream, server, addresses, at, left }
    }

    fn server(&self) -> &Server {
        &self.upstream.servers[self.server]
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.server().open.fetch_sub(1, Ordering::Relaxed);
    }
}
