//! One request on its way: what its phases tell each other, and what of it the upstream's answer is changed by.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::access::Pass;
use super::cors::Cors;
use super::decision::Target;
use super::edge::{Ongoing, UnderWay};
use super::headers::Present;
use super::leave::Leave;
use super::manner::Manner;
use super::objected::Objected;
use super::stream::{Kind, VisitorsEnd};
use super::upstream::Attempts;
use super::{Site, headers};
use crate::clock::Timestamp;
use crate::origin::Origin;
use crate::portal::answer::HSTS;
use crate::session::{Live, Place};
use crate::telemetry::OpenRequest;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// One request on its way.
pub struct Context {
    pub(super) site: Arc<Site>,
    pub(super) arrived_at: Timestamp,
    pub(super) request_id: HeaderValue,
    pub(super) client: IpAddr,
    pub(super) target: Option<Target>,
    pub(super) leave: Option<Arc<Leave>>,
    pub(super) under_way: Option<Arc<UnderWay>>,
    pub(super) ongoing: Option<Arc<Ongoing>>,
    /// Whether it is a call by HTTP/2, whose answer has trailers.
    pub(super) has_trailers: bool,
    pub(super) manner: Manner,
    pub(super) objected: Option<Objected>,
    /// What the upstream can check about the visitor, and the header's name.
    pub(super) assertion: Option<(HeaderName, HeaderValue)>,
    pub(super) verdict: &'static str,
    pub(super) attempts: Attempts,
    /// Whether the upstream has begun with an answer.
    pub(super) is_answered: bool,
    pub(super) body_bytes: u64,
    pub(super) body_begun_at: Option<Timestamp>,
    _open: OpenRequest,
}

impl Context {
    pub(super) fn new(site: Arc<Site>, arrived_at: Timestamp, open: OpenRequest) -> Self {
        Self {
            site,
            arrived_at,
            request_id: HeaderValue::from_static("-"),
            client: IpAddr::from([0, 0, 0, 0]),
            target: None,
            leave: None,
            under_way: None,
            ongoing: None,
            manner: Manner::default(),
            has_trailers: false,
            objected: None,
            assertion: None,
            verdict: "broken_off",
            attempts: Attempts::default(),
            is_answered: false,
            body_bytes: 0,
            body_begun_at: None,
            _open: open,
        }
    }

    pub(super) fn pass(&self) -> Option<&Pass> {
        self.leave.as_ref().map(|leave| &leave.pass)
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.leave.as_ref().map_or(self.target.as_ref(), |leave| Some(leave.target()))
    }

    /// Where the visitor is, as far as that is known.
    pub(super) fn origin(&self) -> Origin {
        self.target().map_or_else(|| self.site.terms.public_url.clone(), |target| self.site.origin(&target.host))
    }

    /// What the route says to pages of other sites.
    pub(super) fn cors(&self) -> Option<&Cors> {
        self.target()?.route.as_ref()?.cors.as_ref()
    }

    /// The session that the request's cookies name, where those can be remembered: they go out as they came but for ours,
    /// and are not remembered yet for the session as it is now.
    pub(super) fn memorable<'a>(
        &self,
        session: &Session,
        leave: &'a Leave,
        copy: &RequestHeader,
    ) -> Option<&'a Arc<Live>> {
        let (target, changes) = (leave.target(), &leave.pass.route().request_headers);
        let live = leave.pass.visitor()?.session()?;
        let is_known = target.remembered.as_ref().is_some_and(|remembered| Arc::ptr_eq(&remembered.live, live));
        if is_known || changes.concern(&header::COOKIE) {
            return None;
        }
        let cookies = session.req_header().headers.get_all(header::COOKIE);
        let is_memorable =
            self.site.place(&target.host) == Place::Public && copy.headers.get_all(header::COOKIE) == cookies;
        is_memorable.then_some(live)
    }

    /// Notes that the upstream answers.
    ///
    /// # Errors
    /// When it leaves HTTP without having been asked to.
    pub(super) fn is_answered_by(&mut self, response: &ResponseHeader) -> pingora::Result<()> {
        self.is_answered = true;
        self.attempts.answered();
        if response.status == 101 && !self.manner.is_websocket {
            return Err(
                Error::explain(ErrorType::InvalidHTTPHeader, "the upstream switched protocols unasked").into_up()
            );
        }
        Ok(())
    }

    /// Makes the header fields of an answer what the visitor gets.
    pub(super) fn write_answer(&self, session: &Session, fields: &mut HeaderMap, is_final: bool) {
        // Before ours, so that none of ours can be changed.
        if let Some(pass) = self.pass() {
            pass.route().response_headers.apply(fields);
        }
        let present = Present::of(fields);
        if present.cookies {
            headers::drop_own_cookies(fields);
        }
        if let Some(cors) = self.cors() {
            let (theirs, ours) = cors.answer(&session.req_header().headers, fields);
            for name in theirs {
                fields.remove(name);
            }
            for (name, value) in ours {
                fields.append(name, value);
            }
        }
        if !is_final {
            return;
        }
        if present.keep_alive {
            fields.remove(KEEP_ALIVE);
        }
        if self.pass().is_some_and(|pass| !pass.is_public()) {
            headers::make_private(fields, present);
        }
        if self.site.terms.public_url.is_secure() && !present.transport_security {
            fields.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
        fields.insert(headers::X_REQUEST_ID, self.request_id.clone());
    }

    pub(super) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Has the visitor's end of a stream say by itself why that ends.
    pub(super) fn open_stream(&self, session: &mut Session, kind: Kind, answer: Option<&ResponseHeader>) {
        if let Some(leave) = self.leave.as_ref().filter(|leave| !leave.ends_itself()) {
            leave.opens(kind);
            VisitorsEnd::replace(session, leave, kind, answer);
        }
    }

    /// An error once the request was told to end, unless it does that by itself.
    pub(super) fn must_go_on(&self) -> pingora::Result<()> {
        let is_withdrawn = self.leave.as_ref().is_some_and(|leave| leave.end().is_some() && !leave.ends_itself());
        if is_withdrawn || self.ongoing.as_ref().is_some_and(|ongoing| ongoing.is_over()) {
            return Error::e_explain(ErrorType::HTTPStatus(401), "the leave to pass is withdrawn");
        }
        Ok(())
    }
}
