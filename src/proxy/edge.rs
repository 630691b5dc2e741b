//! The edge of a connection: how many there may be, where they come from, TLS, how long a request header may take to
//! arrive, and how long a request that was let pass may go on.
//!
//! The framework's own timeout restarts with each byte, so a header that trickles would be waited for without
//! end; here the whole header has one deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::header::GetAll;
use pingora::apps::ServerApp;
use pingora::listeners::ALPN;
use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream, UniqueID as _};
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::leave::Leave;
use super::stream::{End, Registry};
use super::{Site, tls};
use crate::clock::{Clock, Timestamp};

mod announced;
mod course;
mod places;
mod remembered;
mod silence;
mod socket;
mod streams;

use course::{Course, Phase};
pub use places::Connections;
use places::{Entered, Peers};
pub(super) use remembered::Remembered;
use silence::Quiet;
pub(super) use silence::Silence;
pub(super) use socket::Socket;
pub(super) use streams::{Ongoing, Streams, UnderWay};

/// Whether a forwarded request may go on is looked at this often: a WebSocket ends so soon, or once more so late, after its
/// session. Whatever has not ended by the look after that one is cut off.
const REVIEW: Duration = Duration::from_secs(2);
/// How long to wait when the system gives no connection, as when there are too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// The shortest time that is kept to by looking now and then, which may be two looks late.
const LEAST_LOOKED_FOR: Duration = Duration::from_secs(10);

/// What all listeners of a gateway have in common. Clones are one.
#[derive(Clone)]
pub struct Threshold {
    site: Arc<ArcSwap<Site>>,
    clock: Clock,
    connections: Connections,
    peers: Peers,
    streams: Registry,
}

impl Threshold {
    /// The threshold of what `site` serves. What stays open is counted in `streams`.
    pub fn new(site: Arc<ArcSwap<Site>>, clock: Clock, streams: Registry) -> Self {
        Self { site, clock, connections: Connections::default(), peers: Peers::default(), streams }
    }

    /// The open connections, to be waited for.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// What the site says: TLS where it has certificates.
    Visitors,
    /// Plain HTTP, whatever the site has.
    Plain,
}

/// A listener's connections, each of which `inner` answers.
pub struct Edge<A> {
    inner: Arc<A>,
    threshold: Threshold,
    listener_use: Use,
}

tokio::task_local! {
    static CONNECTION: Arc<Course>;
}

/// What was remembered of the last request of a connection, if it had the same cookies: of that with these `streams`, or of
/// the one that is answered here.
pub(super) fn remembered(streams: Option<&Streams>, cookies: &GetAll<'_, HeaderValue>) -> Option<Arc<Remembered>> {
    match streams {
        Some(streams) => streams.memory().recall(cookies),
        None => CONNECTION.try_with(|course| course.memory().recall(cookies)).ok().flatten(),
    }
}

/// Remembers what `make` gives for the next request on its connection, where that may have the same cookies.
pub(super) fn remember(session: &Session, make: impl FnOnce() -> Remembered) {
    match streams_of(session) {
        Some(streams) => streams.memory().remember(make),
        None => CONNECTION.try_with(|course| course.memory().remember(make)).unwrap_or_default(),
    }
}

/// Notes that a whole request header has arrived. What is given back is kept as long as the request lasts.
pub(super) fn header_arrived(session: &Session) -> Option<Arc<UnderWay>> {
    let streams = streams_of(session);
    if streams.is_none() {
        note(Phase::Busy);
    }
    streams.map(Streams::header_arrived)
}

/// Whether a request's upstream can be given up for its silence here, after `longest`, once the whole request was sent: a
/// timer for each request costs more than looking at all of them now and then, but is more exact. In HTTP/2 whoever waits
/// must ask for [`Ongoing::silence`], which the framework does not.
pub(super) fn gives_up(session: &Session, longest: Duration, is_direct: bool) -> bool {
    (is_direct || !session.is_http2()) && longest >= LEAST_LOOKED_FOR
}

/// Notes that a request goes on to an upstream. What is given back is kept as long as that lasts.
pub(super) fn forwarded(
    session: &Session,
    leave: &Arc<Leave>,
    is_patient: bool,
    arrived_at: Timestamp,
) -> Option<Arc<Ongoing>> {
    match streams_of(session) {
        Some(streams) => Some(streams.forwarded(leave, is_patient, arrived_at)),
        None => {
            note(Phase::Forwarded(Arc::clone(leave)));
            None
        }
    }
}

/// Notes that a request was answered.
pub(super) fn answered() {
    note(Phase::Idle);
}

/// The requests of an HTTP/2 request's connection.
pub(super) fn streams_of(session: &Session) -> Option<&Streams> {
    session.is_http2().then(|| tls::Connection::of(session)).flatten().map(tls::Connection::streams)
}

fn note(phase: Phase) {
    // HTTP/2 requests are answered outside of the connection's task.
    CONNECTION.try_with(|connection| connection.note(phase)).ok();
}

impl<A: ServerApp + Send + Sync + 'static> Edge<A> {
    /// Connections that `inner` answers.
    pub fn new(inner: A, threshold: Threshold, listener_use: Use) -> Arc<Self> {
        Arc::new(Self { inner: Arc::new(inner), threshold, listener_use })
    }

    /// Accepts connections until told to stop. Those that are open then go on, and each ends with the request that
    /// comes next on it.
    pub async fn accept(self: Arc<Self>, listener: TcpListener, stopping: watch::Receiver<bool>) {
        let mut stopped = stopping.clone();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stopping| *stopping) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    tokio::spawn(Arc::clone(&self).serve(socket, peer, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Closes the connections on which no request is under way.
    pub async fn close_idle(&self) {
        self.inner.cleanup().await;
    }

    async fn serve(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, shutdown: ShutdownWatch) {
        let site = self.threshold.site.load_full();
        let Some(_place) = self.threshold.connections.enter(site.terms.limits.connections) else { return };
        let course = Arc::new(Course::default());
        let Some((stream, _entered)) = self.open(socket, peer, &site, &course).await else { return };
        drop(site);
        course.opened();
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            self.serve_streams(stream, &shutdown).await;
            return;
        }
        let inner = Arc::clone(&self.inner);
        // A task of its own, so that no request has what watches over it be looked at.
        let requests = async move { inner.process_new(stream, &shutdown).await };
        let mut requests = tokio::spawn(CONNECTION.scope(Arc::clone(&course), requests));
        tokio::select! {
            _ = &mut requests => return,
            () = self.overdue(&course) => requests.abort(),
        }
        requests.await.ok();
    }

    /// What comes ahead of HTTP: where the connection is from, and TLS.
    async fn open(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        site: &Site,
        course: &Arc<Course>,
    ) -> Option<(Stream, Option<Entered>)> {
        let limit = site.terms.limits.handshake_timeout.0;
        socket.set_nodelay(true).ok();
        let mut socket = Socket::new(socket, Arc::clone(course));
        let mut address = peer;
        if site.is_balancer(peer.ip()) {
            match timeout(limit, announced::read(&mut socket)).await {
                Ok(Ok(source)) => address = source.unwrap_or(peer),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "gave a connection up");
                    return None;
                }
                Err(_) => return None,
            }
        }
        let digest = SocketDigest::from_raw_fd(socket.id());
        digest.peer_addr.set(Some(address.into())).ok();
        socket.set_socket_digest(digest);
        let client = address.ip().to_canonical();
        // Trusted proxies may open as many connections as there are.
        let entered = match site.is_trusted(client) {
            true => None,
            false => Some(self.threshold.peers.enter(client, site.terms.limits.connections_per_peer)?),
        };
        let tls = site.tls.as_ref().filter(|_| self.listener_use == Use::Visitors);
        let stream: Stream = match tls {
            Some(tls) => match timeout(limit, tls.accept(socket)).await {
                Ok(Ok(stream)) => Box::new(stream),
                Ok(Err(error)) => {
                    tracing::debug!(%address, %error, "a TLS handshake failed");
                    return None;
                }
                Err(_) => return None,
            },
            None => Box::new(socket),
        };
        Some((stream, entered))
    }

    /// Returns when the connection must end: a header is overdue, no further request comes, or a forwarded request must be
    /// cut off, because it was told to end and has not, or cannot end by itself. An upstream that is silent for too long
    /// is given up meanwhile.
    async fn overdue(&self, course: &Course) {
        let mut seen = None;
        let mut quiet = Quiet::default();
        loop {
            let (phase, number) = course.look();
            let (header_timeout, keep_alive) = {
                let limits = &self.threshold.site.load().terms.limits;
                (limits.header_timeout.0, limits.keep_alive.0)
            };
            // What began since the last look has its time ahead of it.
            let is_old = seen == Some(number);
            seen = Some(number);
            let silence = match &phase {
                Phase::Opened => Some(header_timeout),
                // Looked at once more before it counts as idle, so that requests that come one after another wake nobody.
                Phase::Idle if is_old => {
                    course.memory().forget();
                    // It was idle for as long already.
                    Some(keep_alive.saturating_sub(REVIEW))
                }
                Phase::Forwarded(leave) if is_old => {
                    if leave.end().is_some() {
                        return;
                    }
                    self.review_leave(leave).await;
                    if leave.end().is_some() && !leave.ends_itself() {
                        return;
                    }
                    let so_far = quiet.look(course.wait().since());
                    if leave.longest_silence().is_some_and(|longest| so_far >= longest) {
                        course.give_up(number);
                    }
                    None
                }
                Phase::Forwarded(_) | Phase::Busy | Phase::Idle | Phase::Closed => None,
            };
            // A request that ends meanwhile is not held on to.
            drop(phase);
            match silence {
                Some(longest) => {
                    course.doze(number, longest).await;
                    if course.close(number) {
                        return;
                    }
                }
                None => sleep(REVIEW).await,
            }
        }
    }

    /// Withdraws leave that would not be given any more; what goes on is counted from here on.
    async fn review_leave(&self, leave: &Leave) {
        match self.may_go_on(leave).await {
            Ok(()) => leave.lasts(&self.threshold.streams),
            Err(end) => leave.withdraw(end),
        }
    }

    /// Whether the visitor's session lives, and what is served by now would let them pass as they are by now. A store
    /// that cannot answer ends nothing.
    async fn may_go_on(&self, leave: &Leave) -> Result<(), End> {
        let site = self.threshold.site.load_full();
        let visitor = match leave.pass.visitor() {
            Some(visitor) => match site.credentials.again(visitor).await {
                Ok(Some(visitor)) => Some(visitor),
                Ok(None) => return Err(End::SignedOut),
                Err(error) => {
                    tracing::warn!(%error, "failed to look the session of an open request up");
                    Some(visitor.clone())
                }
            },
            None => None,
        };
        leave.holds(&site, visitor, self.threshold.clock.now()).await
    }

    async fn serve_streams(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let digest = stream.get_ssl_digest();
        let connection = digest.as_ref().and_then(|digest| digest.extension.get::<tls::Connection>());
        let Some(connection) = connection else { return };
        tokio::select! {
            _ = self.inner.process_new(stream, shutdown) => {}
            () = self.review(connection.streams()) => {}
        }
    }

    /// Returns when the connection must end: no request comes any more, or one goes on that must not, although it was told so
    /// a while ago. One on which something is sent has ended by itself by then.
    async fn review(&self, streams: &Streams) {
        let header_timeout = self.threshold.site.load().terms.limits.header_timeout.0;
        if timeout(header_timeout, streams.heard()).await.is_err() {
            return;
        }
        let mut quiet = Quiet::default();
        loop {
            sleep(REVIEW).await;
            let idle_since = streams.idle_since();
            if idle_since.is_some() {
                streams.memory().forget();
            }
            let is_idle_for = quiet.look(idle_since);
            if idle_since.is_some() && is_idle_for >= self.threshold.site.load().terms.limits.keep_alive.0 {
                return;
            }
            for ongoing in streams.open() {
                if ongoing.is_over() || ongoing.leave().end().is_some() {
                    return;
                }
                if ongoing.has_stalled(self.threshold.clock.now()) {
                    ongoing.end();
                } else {
                    self.review_leave(ongoing.leave()).await;
                    ongoing.listen();
                }
            }
        }
    }
}
