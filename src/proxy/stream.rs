//! What stays open: WebSockets, event streams, calls of gRPC, and whatever else takes long. Each is counted, and ended
//! in its own words once its visitor may have it no longer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use pingora::http::ResponseHeader;

use crate::credential::Visitor;
use crate::portal::answer::Refusal;
use crate::session::{OpenStreams, StreamOfSession};
use crate::telemetry::{Metrics, OpenStream};

mod boundary;
mod visitors_end;

use boundary::Course;
pub(super) use visitors_end::VisitorsEnd;

/// What stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WebSocket,
    EventStream,
    /// A call of gRPC.
    Call,
    /// An answer that takes long.
    Other,
}

impl Kind {
    /// What an answer opens, where that can be told by its header.
    pub(super) fn of_answer(answer: &ResponseHeader) -> Option<Self> {
        match answer.status.as_u16() {
            101 => Some(Self::WebSocket),
            200 if is_event_stream(&answer.headers) => Some(Self::EventStream),
            _ => None,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventStream => "event_stream",
            Self::Call => "grpc",
            Self::Other => "other",
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let name = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Why something that is open is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The session is over: signed out, revoked, or expired.
    SignedOut,
    /// What is served by now lets the visitor pass no longer.
    NoAccess,
    /// It has been open for as long as the route allows.
    TooOld,
}

impl End {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::NoAccess => "no_access",
            Self::TooOld => "too_old",
        }
    }

    /// What a request that is not answered yet is told.
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::SignedOut => Refusal::SignInRequired,
            Self::NoAccess => Refusal::NoAccess,
            Self::TooOld => Refusal::UpstreamTimedOut,
        }
    }

    /// A close frame (RFC 6455 section 5.5.1) with 1008, "policy violation".
    fn close_frame(self) -> Vec<u8> {
        const CLOSE: u8 = 0x88;
        const POLICY_VIOLATION: [u8; 2] = 1008_u16.to_be_bytes();
        let reason = self.code().as_bytes();
        let length = u8::try_from(POLICY_VIOLATION.len() + reason.len()).unwrap_or_default();
        [&[CLOSE, length], &POLICY_VIOLATION[..], reason].concat()
    }

    fn last_event(self) -> String {
        format!("event: linkgate-end\ndata: {{\"reason\":\"{}\"}}\n\n", self.code())
    }

    /// The trailers of a call whose caller has to prove anew who they are.
    fn trailers(self) -> HeaderMap {
        const UNAUTHENTICATED: u16 = 16;
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from(UNAUTHENTICATED));
        trailers.insert("grpc-message", HeaderValue::from_static(self.code()));
        trailers
    }
}

/// Where open streams are counted. Clones are one.
#[derive(Clone)]
pub struct Registry {
    metrics: Arc<Metrics>,
    sessions: Arc<OpenStreams>,
}

impl Registry {
    /// Counts in `metrics`, and under their sessions in `sessions`.
    pub const fn new(metrics: Arc<Metrics>, sessions: Arc<OpenStreams>) -> Self {
        Self { metrics, sessions }
    }

    /// Counts a stream that was opened, until what is given back is dropped.
    pub(super) fn enter(&self, kind: Kind, visitor: Option<&Visitor>) -> Counted {
        let session = visitor.and_then(Visitor::session).map(|live| self.sessions.enter(live));
        Counted { open: self.metrics.stream_opened(kind.label()), _session: session }
    }
}

/// An open stream, as it is counted.
pub(super) struct Counted {
    open: OpenStream,
    _session: Option<StreamOfSession>,
}

impl Counted {
    /// Notes that it was not left to its two ends.
    pub(super) fn ended(&mut self, end: End) {
        self.open.ended(end.code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_opens_is_in_its_header() {
        let check = |status: u16, kind: Option<&'static str>, expected: Option<Kind>| {
            let mut answer = ResponseHeader::build(status, None).unwrap();
            if let Some(kind) = kind {
                answer.insert_header("content-type", kind).unwrap();
            }
            assert_eq!(Kind::of_answer(&answer), expected, "{status} {kind:?}");
        };
        check(101, None, Some(Kind::WebSocket));
        check(200, Some("text/event-stream"), Some(Kind::EventStream));
        check(200, Some("Text/Event-Stream ; charset=utf-8"), Some(Kind::EventStream));
        check(200, Some("text/event-streams"), None);
        check(200, Some("text/html"), None);
        check(200, None, None);
        check(404, Some("text/event-stream"), None);
    }

    #[test]
    fn ends_are_said_as_the_protocols_have_it() {
        assert_eq!(End::SignedOut.close_frame(), b"\x88\x0c\x03\xf0signed_out");
        assert_eq!(End::NoAccess.last_event(), "event: linkgate-end\ndata: {\"reason\":\"no_access\"}\n\n");
        let trailers = End::TooOld.trailers();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&HeaderValue::from_static("16"), &HeaderValue::from_static("too_old"),)
        );
    }
}
