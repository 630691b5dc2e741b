//! What of a request's header says how it is forwarded.

use http::{HeaderMap, HeaderName, header};

use super::handshake::is_websocket;
use crate::portal::visit::is_grpc;

/// How a request is forwarded. Several phases ask, so it is read once.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) is_websocket: bool,
    /// A call of gRPC.
    pub(super) is_call: bool,
    pub(super) accepts_events: bool,
    /// Whether there are fields that are for one connection only.
    pub(super) has_hop_by_hop: bool,
}

impl Manner {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        Self {
            is_websocket: is_websocket(fields),
            is_call: is_grpc(fields),
            accepts_events: accepts_events(fields),
            has_hop_by_hop: fields.keys().any(is_hop_by_hop),
        }
    }

    /// A tunnel, a stream of events or a call may be silent for long; the session's end is what ends it.
    pub(super) const fn is_open_ended(self) -> bool {
        self.is_websocket || self.is_call || self.accepts_events
    }
}

/// Whether a field is for one connection only, or names others that are (RFC 9110 section 7.6.1): all that the framework
/// knows by name. What `Connection` names comes with it.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::TRANSFER_ENCODING
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}
