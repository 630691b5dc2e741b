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
        let mut manner = Self::default();
        for name in fields.keys().map(HeaderName::as_str) {
            match name {
                "accept" => manner.accepts_events = accepts_events(fields),
                "content-type" => manner.is_call = is_grpc(fields),
                _ => manner.has_hop_by_hop |= is_hop_by_hop(name),
            }
        }
        manner.is_websocket = manner.has_hop_by_hop && is_websocket(fields);
        manner
    }

    /// A tunnel, a stream of events or a call may be silent for long; the session's end is what ends it.
    pub(super) const fn is_open_ended(self) -> bool {
        self.is_websocket || self.is_call || self.accepts_events
    }
}

/// Whether a field is for one connection only, or names others that are (RFC 9110 section 7.6.1): all that the framework
/// knows by name. What `Connection` names comes with it.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "upgrade"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_manner_is_read_from_the_fields_that_say_it() {
        let manner = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter();
            Manner::of(
                &fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect(),
            )
        };
        for name in ["connection", "upgrade", "te", "trailer", "transfer-encoding", "keep-alive", "proxy-connection"] {
            assert!(manner(&[("host", "a"), (name, "x")]).has_hop_by_hop, "{name}");
        }
        let plain = manner(&[("host", "a"), ("accept", "*/*"), ("content-type", "text/plain"), ("user-agent", "x")]);
        assert!(!plain.has_hop_by_hop && !plain.is_open_ended());
        assert!(manner(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]).is_websocket);
        assert!(!manner(&[("connection", "Upgrade"), ("upgrade", "h2c")]).is_websocket);
        assert!(manner(&[("content-type", "application/grpc+proto")]).is_call);
        assert!(manner(&[("accept", "text/event-stream")]).accepts_events);
    }
}
