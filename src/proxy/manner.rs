//! What of a request's header says how it is forwarded.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::handshake::is_websocket;
use crate::portal::visit::is_grpc;

/// How a request is forwarded. Several phases ask, so it is read once.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) is_websocket: bool,
    /// A call of gRPC.
    pub(super) is_call: bool,
    pub(super) accepts_events: bool,
    pub(super) hop_by_hop: HopByHop,
}

/// What fields there are that are for one connection only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HopByHop {
    #[default]
    None,
    /// `Connection` and `TE` as browsers write them, which say how long the connection lasts and that trailers are understood:
    /// the upstream loses nothing without them.
    Usual,
    /// Others, or some that name others.
    Other,
}

impl Manner {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut manner = Self::default();
        for name in fields.keys().map(HeaderName::as_str) {
            match name {
                "accept" => manner.accepts_events = accepts_events(fields),
                "content-type" => manner.is_call = is_grpc(fields),
                _ => manner.hop_by_hop = manner.hop_by_hop.max(HopByHop::of(name, fields)),
            }
        }
        manner.is_websocket = manner.hop_by_hop == HopByHop::Other && is_websocket(fields);
        manner
    }

    /// A tunnel, a stream of events or a call may be silent for long; the session's end is what ends it.
    pub(super) const fn is_open_ended(self) -> bool {
        self.is_websocket || self.is_call || self.accepts_events
    }
}

impl HopByHop {
    fn of(name: &str, fields: &HeaderMap) -> Self {
        let usual: &[&str] = match name {
            "connection" => &["keep-alive", "close"],
            "te" => &["trailers"],
            _ if is_hop_by_hop(name) => &[],
            _ => return Self::None,
        };
        let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = values.next().unwrap_or_default();
        let is_usual =
            values.next().is_none() && usual.iter().any(|usual| first.eq_ignore_ascii_case(usual.as_bytes()));
        if is_usual { Self::Usual } else { Self::Other }
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
    use super::*;

    #[test]
    fn a_manner_is_read_from_the_fields_that_say_it() {
        let manner = |fields: &[(&'static str, &'static str)]| {
            let mut all = HeaderMap::new();
            for (name, value) in fields {
                all.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Manner::of(&all)
        };
        for name in ["connection", "upgrade", "te", "trailer", "transfer-encoding", "keep-alive", "proxy-connection"] {
            assert_eq!(manner(&[("host", "a"), (name, "x")]).hop_by_hop, HopByHop::Other, "{name}");
        }
        for (fields, expected) in [
            (&[("connection", "keep-alive")][..], HopByHop::Usual),
            (&[("connection", "Close"), ("te", "trailers")], HopByHop::Usual),
            (&[("te", "Trailers"), ("connection", "keep-alive, te")], HopByHop::Other),
            (&[("connection", "close"), ("connection", "keep-alive")], HopByHop::Other),
            (&[("connection", "")], HopByHop::Other),
            (&[("connection", "keep-alive"), ("keep-alive", "timeout=5")], HopByHop::Other),
            (&[("te", "gzip, trailers"), ("x", "keep-alive")], HopByHop::Other),
            (&[("x", "keep-alive"), ("trailers", "te")], HopByHop::None),
        ] {
            assert_eq!(manner(fields).hop_by_hop, expected, "{fields:?}");
        }
        let plain = manner(&[("host", "a"), ("accept", "*/*"), ("content-type", "text/plain"), ("user-agent", "x")]);
        assert!(plain.hop_by_hop == HopByHop::None && !plain.is_open_ended());
        assert!(manner(&[("connection", "Upgrade"), ("upgrade", "WebSocket")]).is_websocket);
        assert!(!manner(&[("connection", "Upgrade"), ("upgrade", "h2c")]).is_websocket);
        assert!(manner(&[("content-type", "application/grpc+proto")]).is_call);
        assert!(manner(&[("accept", "text/event-stream")]).accepts_events);
    }
}
