//! The edge of a connection: how many there may be, how long a request header may take to arrive, and how long a
//! request that was let pass may go on.
//!
//! The framework's own timeout restarts with each byte, so a header that trickles would be waited for without
//! end; here the whole header has one deadline.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::sync::{Semaphore, watch};

use super::Site;
use super::access::Pass;

/// Wraps the proxy with the limits of a connection.
pub struct Edge<A> {
    inner: Arc<A>,
    slots: Connections,
    peers: Arc<Peers>,
    site: Arc<ArcSwap<Site>>,
}

/// Whether a forwarded request may go on is looked at this often: a WebSocket ends so soon after its session.
const REVIEW: Duration = Duration::from_secs(2);

/// The connections of a listener.
#[derive(Clone)]
pub struct Connections {
    slots: Arc<Semaphore>,
    most: u32,
}

impl Connections {
    fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4);
        Self { slots: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        (self.most as usize).saturating_sub(self.slots.available_permits())
    }

    /// Returns once none is open.
    pub async fn closed(&self) {
        // The semaphore is never closed, so this ends with every slot in hand.
        drop(self.slots.acquire_many(self.most).await);
    }
}

tokio::task_local! {
    static CONNECTION: watch::Sender<Phase>;
}

/// What a connection is doing.
#[derive(Clone)]
enum Phase {
    /// The first request header is awaited.
    Opened,
    /// A request is answered.
    Busy,
    /// A request is answered by an upstream that was told who the visitor is.
    Forwarded(Arc<Pass>),
    /// A further request may come.
    Idle,
}

/// Notes that a whole request header has arrived.
pub fn header_arrived() {
    note(Phase::Busy);
}

/// Notes that a request goes on to an upstream.
pub fn forwarded(pass: &Arc<Pass>) {
    if pass.visitor().is_some() {
        note(Phase::Forwarded(Arc::clone(pass)));
    }
}

/// Notes that a request was answered.
pub fn answered() {
    note(Phase::Idle);
}

fn note(phase: Phase) {
    // Outside of a connection (HTTP/2 streams run in tasks of their own) there is nothing to note.
    CONNECTION.try_with(|connection| connection.send_replace(phase)).ok();
}

impl<A> Edge<A> {
    /// Limits around `inner`; trusted proxies may open as many connections as there are.
    pub fn new(inner: A, site: Arc<ArcSwap<Site>>) -> Self {
        let limits = &site.load().limits;
        Self {
            inner: Arc::new(inner),
            slots: Connections::new(limits.connections),
            peers: Arc::new(Peers { most: limits.connections_per_peer, open: Mutex::default() }),
            site,
        }
    }

    /// The open connections, to be waited for.
    pub fn connections(&self) -> Connections {
        self.slots.clone()
    }

    /// Returns when the connection must end: a header is overdue, or the leave that a request was forwarded with
    /// is no more.
    async fn overdue(&self, mut phases: watch::Receiver<Phase>) {
        loop {
            let phase = phases.borrow_and_update().clone();
            let (header_timeout, keep_alive) = {
                let limits = &self.site.load().limits;
                (limits.header_timeout.0, limits.keep_alive.0)
            };
            let over = async {
                match phase {
                    Phase::Opened => tokio::time::sleep(header_timeout).await,
                    Phase::Idle => tokio::time::sleep(keep_alive + header_timeout).await,
                    Phase::Forwarded(pass) => self.withdrawn(&pass).await,
                    Phase::Busy => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = phases.changed() => if changed.is_err() { return std::future::pending().await },
                () = over => return,
            }
        }
    }

    /// Returns when the visitor's session is over, or no longer names somebody whom the route lets pass. A store
    /// that cannot answer ends nothing.
    async fn withdrawn(&self, pass: &Pass) {
        let Some(visitor) = pass.visitor() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(REVIEW).await;
            let sessions = Arc::clone(&self.site.load().sessions);
            match sessions.again(visitor).await {
                Ok(Some(visitor)) if pass.holds_for(&visitor) => {}
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "failed to look the session of an open request up"),
            }
        }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Edge<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _slot = self.slots.slots.try_acquire().ok()?;
        let digest = stream.get_socket_digest();
        let peer = digest.and_then(|digest| digest.peer_addr()?.as_inet().map(|peer| peer.ip().to_canonical()));
        let counted =
            peer.filter(|peer| !self.site.load().trusted_proxies.iter().any(|network| network.contains(peer)));
        let _place = match counted {
            Some(peer) => Some(Peers::enter(&self.peers, peer)?),
            None => None,
        };
        let (connection, phases) = watch::channel(Phase::Opened);
        tokio::select! {
            reusable = CONNECTION.scope(connection, self.inner.process_new(stream, shutdown)) => reusable,
            () = self.overdue(phases) => None,
        }
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}

/// Open connections by client address.
struct Peers {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client, until it is dropped.
struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    fn enter(peers: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut open = peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= peers.most {
            return None;
        }
        *count += 1;
        Some(Place { peers: Arc::clone(peers), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(self.peer) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_many_places_and_gets_them_back() {
        let peers = Arc::new(Peers { most: 2, open: Mutex::default() });
        let (one, two): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = Peers::enter(&peers, one);
        let second = Peers::enter(&peers, one);
        assert!(first.is_some() && second.is_some());
        assert!(Peers::enter(&peers, one).is_none());
        assert!(Peers::enter(&peers, two).is_some());
        drop(first);
        assert!(Peers::enter(&peers, one).is_some());
        drop(second);
        assert!(peers.open.lock().unwrap().is_empty(), "what is not open takes no memory");
    }
}
