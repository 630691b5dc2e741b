//! Where a request goes, and on what terms.

use std::time::Duration;

use pingora::protocols::{ALPN, Stream, TcpKeepalive};
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use super::access::Pass;
use super::leave::Leave;
use super::manner::{HopByHop, Manner};
use super::upstream::Attempts;
use super::{Context, Proxy, handshake};

/// How a request goes to its upstream.
pub(super) struct Way {
    manner: Manner,
    /// Whether the edge sees to it that it is not waited for too long.
    is_watched: bool,
    /// Whether it can be sent again when its connection ends.
    may_repeat: bool,
}

impl Way {
    /// The way of a request with this leave.
    pub(super) fn of(session: &mut Session, context: &Context, leave: &Leave) -> Self {
        Self {
            manner: context.manner,
            is_watched: leave.longest_silence().is_some(),
            may_repeat: session.req_header().method.is_idempotent() && session.is_body_empty(),
        }
    }
}

impl Proxy {
    /// The one place that says where a request goes. It takes leave to pass, and nothing but this and [`Proxy::kept`] sends
    /// a visitor's request to a server.
    pub(super) async fn forward(
        &self,
        pass: &Pass,
        way: Way,
        attempts: &mut Attempts,
    ) -> pingora::Result<Box<HttpPeer>> {
        let route = pass.route();
        let Way { manner, is_watched, may_repeat } = way;
        let mut peer = attempts.peer(&route.upstream, &self.clock).await?;
        let options = &mut peer.options;
        options.connection_timeout = Some(route.connect_timeout);
        options.total_connection_timeout = Some(route.connect_timeout);
        let is_http1 = matches!(options.alpn, ALPN::H1);
        let is_untimed = manner.is_open_ended() || (is_watched && is_http1);
        options.read_timeout = (!is_untimed).then_some(route.response_timeout);
        options.write_timeout = Some(route.response_timeout);
        options.tcp_keepalive = Some(PROBES);
        options.idle_timeout = (!may_repeat || !is_http1).then_some(UPSTREAM_IDLE);
        if !may_repeat && is_http1 {
            peer.group_key = peer.group_key.wrapping_add(2);
        }
        if manner.hop_by_hop == HopByHop::None {
            // There is nothing to take out, which the framework would look for under each name by itself.
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        }
        if manner.is_websocket {
            handshake::prepare(&mut peer);
        }
        Ok(peer)
    }

    /// A connection that waits to where [`Proxy::forward`] would say, if there is one.
    pub(super) async fn kept(&self, pass: &Pass, attempts: &mut Attempts) -> pingora::Result<Option<Stream>> {
        attempts.kept(&pass.route().upstream, &self.clock).await
    }
}

/// The framework keeps connections to an upstream this long between requests that cannot be repeated, and has none of the
/// others on them: shorter than common servers keep theirs, so that such a request seldom meets a connection that is just
/// being closed. The others' are kept for as long as the upstream likes, because a time for each connection is a timer for
/// each request.
const UPSTREAM_IDLE: Duration = Duration::from_secs(50);
/// These probes of the system find connections that are dead, and keep the others known to what is on the way.
const PROBES: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};
