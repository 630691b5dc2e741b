//! The proxy: pingora's phases in the order in which a request meets them.
//!
//! Each phase is a few lines here; what a request means, who may pass and what the upstream receives is decided in
//! the modules below. It has never heard of Mosaic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, header};
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, OrErr as _};

use crate::clock::Clock;
use crate::credential::Visitor;
use crate::portal::Visit;
use crate::telemetry::{ACCESS, FORWARDED, Metrics};

pub mod access;
mod bridge;
pub mod canonical;
mod challenge;
mod context;
pub mod cors;
mod decision;
mod direct;
pub mod edge;
pub mod explain;
mod failure;
mod forward;
mod handshake;
pub mod headers;
mod leave;
mod limits;
mod manner;
mod objected;
mod own;
mod question;
pub mod redirect;
pub mod refusal;
pub mod route;
mod site;
pub mod stream;
mod terms;
pub mod tls;
pub mod upstream;

use access::Pass;
pub use context::Context;
use decision::Decision;
use edge::Silence;
use failure::{Failure, failure_of, refusal_of};
use forward::Way;
use leave::Leave;
pub use limits::Limits;
use objected::Objected;
use question::Question;
pub use site::Site;
use stream::{End, Kind};
use terms::Source;
pub use terms::Terms;

/// The proxy: what it serves may be replaced while requests are on their way.
pub struct Proxy {
    /// What is served: each request keeps to what it found when it came.
    pub site: Arc<ArcSwap<Site>>,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What stays open.
    pub streams: stream::Registry,
    /// Makes the connections of requests that are carried here.
    pub connector: TransportConnector,
}

impl Proxy {
    /// Notes that a request may pass, and what is held against it on trial.
    fn let_pass(
        &self,
        context: &mut Context,
        pass: Pass,
        method: Method,
        longest_silence: Option<Duration>,
    ) -> pingora::Result<Arc<Leave>> {
        context.objected = Objected::observed(&pass);
        if let Some(objected) = &context.objected {
            objected.note(context.request_id(), &self.metrics);
        }
        let Some(target) = context.target.take() else {
            return Error::e_explain(ErrorType::InternalError, "leave to pass without a target");
        };
        Ok(Arc::clone(context.leave.insert(Arc::new(Leave::new(
            pass,
            target,
            method,
            context.client,
            context.arrived_at,
            longest_silence,
        )))))
    }

    /// Makes a request what the upstream gets, and remembers what that took for the next one on its connection.
    fn prepare(&self, session: &Session, request: &mut RequestHeader, context: &Context) -> pingora::Result<()> {
        let Some(leave) = &context.leave else {
            return Error::e_explain(ErrorType::InternalError, "a request without leave to pass");
        };
        let route = leave.pass.route();
        let path = route.rewrite.apply(&leave.target().path_and_query);
        if path.as_bytes() != request.raw_path() {
            request.set_raw_path(path.as_bytes())?;
        }
        let certificate = tls::Connection::of(session).and_then(tls::Connection::certificate);
        let memorable = context.memorable(session, leave, request);
        self.write_headers(request, context, leave, certificate)?;
        if let Some(live) = memorable {
            edge::remember(session, || edge::Remembered {
                cookies: session.req_header().headers.get_all(header::COOKIE).iter().cloned().collect(),
                live: Arc::clone(live),
                identity: live.headers().collect(),
                client: request.headers.get(headers::X_FORWARDED_FOR).map(|address| (context.client, address.clone())),
                others: request.headers.get(header::COOKIE).cloned(),
            });
        }
        Ok(())
    }

    /// Makes a request's header fields what the upstream gets.
    fn write_headers(
        &self,
        request: &mut RequestHeader,
        context: &Context,
        leave: &Leave,
        certificate: Option<&tls::ClientCertificate>,
    ) -> pingora::Result<()> {
        let server = context.attempts.authority();
        let source = Source {
            client: context.client,
            server,
            request_id: &context.request_id,
            certificate,
            assertion: context.assertion.as_ref(),
        };
        context.site.terms.write_headers(request, &leave.pass, leave.target(), &source)
    }

    /// Makes an answer's header what the visitor gets.
    fn finish_answer(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &Context,
    ) -> pingora::Result<()> {
        let is_final = !response.status.is_informational() || response.status == 101;
        headers::change_answer(response, |fields| context.write_answer(session, fields, is_final))?;
        if !is_final {
            return Ok(());
        }
        let opened = Kind::of_answer(response).filter(|_| session.req_header().method != Method::HEAD);
        if let (Some(kind), Some(leave)) = (opened, &context.leave) {
            context.open_stream(session, kind, Some(response));
            leave.lasts(&self.streams);
        }
        Ok(())
    }

    /// Something was sent. What may be repeated (RFC 9110 section 9.2.2), and can be because its body is still at hand,
    /// is sent again where the connection ended before there was an answer; all else is not.
    fn break_off(&self, session: &Session, mut error: Box<Error>, context: &mut Context, was_kept: bool) -> Box<Error> {
        let is_upstreams = matches!(error.esource(), ErrorSource::Upstream) || Silence::is_behind(&error);
        let is_upstreams = is_upstreams && !context.is_answered;
        let now = self.clock.now();
        let may_repeat = match failure_of(&error) {
            _ if !is_upstreams => false,
            Failure::BrokenOff => {
                let request = session.req_header();
                let is_repeatable = request.method.is_idempotent()
                    && !context.manner.is_websocket
                    && !session.as_ref().retry_buffer_truncated();
                let retries = context.pass().map_or(0, |pass| pass.route().retries);
                context.attempts.broken_off(was_kept, retries, now) && is_repeatable
            }
            Failure::TimedOut => {
                context.attempts.timed_out(now);
                false
            }
            Failure::Other => false,
        };
        if may_repeat {
            let request_id = context.request_id.to_str().unwrap_or_default();
            tracing::warn!(request.id = request_id, %error, "sent a request again: its connection ended unanswered");
        }
        error.set_retry(may_repeat);
        error
    }

    fn peer(session: &Session) -> SocketAddr {
        let peer = session.client_addr().and_then(|address| address.as_inet().copied());
        peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

/// Every write to a visitor, and what they send after an answer that did not wait for it.
const VISITOR_TIMEOUT: Duration = Duration::from_secs(60);
/// The rate of a body is judged once it had this long.
const BODY_GRACE: Duration = Duration::from_secs(30);

#[async_trait]
impl ProxyHttp for Proxy {
    /// The framework moves it about.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new(self.site.load_full(), self.clock.now(), self.metrics.begin()))
    }

    /// The default registers a compression module that linkgate does not use.
    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Box<Context>) -> pingora::Result<()> {
        context.under_way = edge::header_arrived(session);
        let peer = Self::peer(session);
        let trusted = context.site.is_trusted(peer.ip());
        let headers = &session.req_header().headers;
        context.client = canonical::client_address(peer, headers, &context.site.terms.trusted_proxies);
        context.request_id = headers::request_id(headers, trusted);
        headers::let_go_of_spelling(session.req_header_mut())?;
        // Where the framework has decided to close the connection, that stands.
        if session.get_keepalive().is_some() {
            // Without a limit of the framework's, which would be a timer for each request: `edge` has one.
            session.set_keepalive(Some(0));
        }
        session.set_read_timeout(Some(VISITOR_TIMEOUT));
        session.set_write_timeout(Some(VISITOR_TIMEOUT));
        session.set_total_drain_timeout(Some(VISITOR_TIMEOUT));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Box<Context>) -> pingora::Result<bool> {
        let site = Arc::clone(&context.site);
        let asking = session.req_header();
        let target = std::str::from_utf8(asking.raw_path()).unwrap_or_default();
        if let Some(question) = Question::read(target, site.terms.oauth2_proxy_paths) {
            let answer = Box::pin(self.answer_proxy(asking, Self::peer(session).ip(), context, question)).await?;
            Box::pin(refusal::write(session, &site, answer)).await?;
            return Ok(true);
        }
        let answer = match site.decide(session, context).await {
            Ok(pass) => {
                let method = session.req_header().method.clone();
                let is_body_empty = session.is_body_empty();
                let manner = context.target.as_ref().map(|target| target.manner).unwrap_or_default();
                let may_wait = is_body_empty && !manner.is_open_ended();
                let is_direct = direct::is_for(session, manner, pass.route());
                let longest_silence = Some(pass.route().response_timeout);
                let longest_silence =
                    longest_silence.filter(|longest| may_wait && edge::gives_up(session, *longest, is_direct));
                let leave = self.let_pass(context, pass, method, longest_silence)?;
                context.verdict = FORWARDED;
                context.manner = manner;
                // The two ends of a call may both be silent for long.
                let is_call = manner.is_call;
                let is_patient = is_call || is_body_empty;
                context.has_trailers = is_call && session.is_http2();
                context.ongoing = edge::forwarded(session, &leave, is_patient, context.arrived_at);
                if !is_direct {
                    return Ok(false);
                }
                self.carry(session, context, &leave).await?;
                return Ok(true);
            }
            Err(Decision::Portal) => {
                context.verdict = "portal";
                let target = context.target().map_or("/", |target| &target.path_and_query);
                let uri = target.parse().or_err(ErrorType::InternalError, "a canonical path is a URI")?;
                let (client, origin) = (context.client, context.origin());
                let request_id = context.request_id().to_owned();
                let reader = site.reader(session.req_header(), target);
                let visit = Visit { client, request_id, is_public: origin == site.terms.public_url, origin, reader };
                Box::pin(bridge::call(session, &site, uri, visit, self.clock.now())).await?;
                return Ok(true);
            }
            Err(decision) => self.refuse(context, session.req_header(), decision),
        };
        Box::pin(refusal::write(session, &site, answer)).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Box<Context>) -> pingora::Result<Box<HttpPeer>> {
        let Some(leave) = context.leave.clone() else {
            return Error::e_explain(ErrorType::InternalError, "a request without leave to pass");
        };
        // What was read of the body is sent again, and counted again.
        (context.body_bytes, context.body_begun_at) = (0, None);
        let way = Way::of(session, context, &leave);
        self.forward(&leave.pass, way, &mut context.attempts).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Box<Context>,
    ) -> pingora::Result<()> {
        self.prepare(session, request, context)?;
        // A call may be silent before its answer begins.
        if context.has_trailers {
            context.open_stream(session, Kind::Call, None);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Box<Context>,
    ) -> pingora::Result<()> {
        // An empty last chunk would be written as a second terminator (pingora issue 935).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        // A tunnel is no body: it may be as long, and as quiet, as its two ends like.
        if session.was_upgraded() {
            return Ok(());
        }
        // Most requests have no body, and end at once.
        if body.is_none() && context.body_bytes == 0 && context.ongoing.is_none() {
            return context.must_go_on();
        }
        let now = self.clock.now();
        if let Some(ongoing) = &context.ongoing {
            ongoing.body_arrived(end_of_stream, now);
        }
        context.must_go_on()?;
        let begun_at = *context.body_begun_at.get_or_insert(now);
        context.body_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let most = context.pass().and_then(|pass| context.site.terms.most_body_bytes(pass.route()));
        if most.is_some_and(|most| context.body_bytes > most) {
            return Error::e_explain(ErrorType::HTTPStatus(413), "the request body is beyond its limit");
        }
        let took = now.since(begun_at);
        let least = took.as_secs() * context.site.terms.limits.body_bytes_per_second as u64;
        let is_slow = body.is_some() && took > BODY_GRACE && context.body_bytes < least;
        if is_slow && !context.manner.is_call {
            // Where the framework does not end the stream by this, the edge does.
            if let Some(ongoing) = &context.ongoing {
                ongoing.end();
            }
            return Error::e_explain(ErrorType::HTTPStatus(408), "the request body is too slow");
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Box<Context>,
    ) -> pingora::Result<()> {
        context.is_answered_by(response)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Box<Context>,
    ) -> pingora::Result<()> {
        self.finish_answer(session, response, context)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Box<Context>,
    ) -> pingora::Result<Option<Duration>> {
        context.must_go_on().map(|()| None)
    }

    /// Nothing was sent yet, so another address of the upstream may be tried.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(context.attempts.not_connected(self.clock.now()));
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Box<Context>,
        was_kept: bool,
    ) -> Box<Error> {
        self.break_off(session, error.more_context(format!("Peer: {peer}")), context, was_kept)
    }

    /// `error_while_proxy` has logged it, with the ID of the request.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Context>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Box<Context>) -> FailToProxy {
        let end = context.leave.as_ref().and_then(|leave| leave.end());
        if let Some(end) = end
            && context.leave.as_ref().is_some_and(|leave| leave.ends_itself())
            && session.response_written().is_some()
        {
            context.verdict = end.code();
            // Nobody may be left to hear it.
            session.as_mut().finish_body().await.ok();
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let refusal = end.map(End::refusal).or_else(|| refusal_of(error));
        let mut status = 0;
        if let Some(refusal) = refusal {
            context.verdict = refusal.code();
            let request_id = context.request_id.to_str().unwrap_or_default();
            tracing::warn!(request.id = request_id, %error, "failed to forward a request");
            if session.response_written().is_none() {
                status = refusal.status().as_u16();
                let site = &context.site;
                let origin = context.origin();
                let request = session.req_header();
                let target = context.target().map_or("/", |target| &target.path_and_query);
                let refuser = site.refuser(&origin, request_id, site.reader(request, target), self.clock.now());
                let answer = refuser.answer(refusal, &request.headers);
                session.set_keepalive(None);
                if let Err(error) = refusal::write(session, site, answer).await {
                    tracing::debug!(request.id = request_id, %error, "failed to answer a visitor");
                }
            }
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    /// `fail_to_proxy` has logged what matters, in one line.
    fn suppress_error_log(&self, _session: &Session, _context: &Box<Context>, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, context: &mut Box<Context>) {
        edge::answered();
        let request = session.req_header();
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let took = self.clock.now().since(context.arrived_at);
        self.metrics.answered(context.verdict, status, took);
        let visitor = context.pass().and_then(Pass::visitor);
        let objected = context.objected.as_ref();
        tracing::info!(
            target: ACCESS,
            { request.id = context.request_id.to_str().unwrap_or_default(),
            client.address = %context.client,
            http.method = request.method.as_str(),
            http.host = context.target().map(|target| &*target.authority),
            http.path = context.target().map(|target| target.path.as_str()),
            http.status = status,
            verdict = context.verdict,
            credential = visitor.filter(|visitor| visitor.session().is_none()).map(Visitor::kind),
            route = context.pass().map(|pass| pass.route().name.as_str()).or(objected.map(Objected::route)),
            granted = context.pass().and_then(Pass::granted).map(|_| true),
            reason = objected.map(Objected::reason),
            rule = objected.and_then(Objected::rule),
            subject = visitor.map(Visitor::subject).or(objected.and_then(Objected::subject)).map(tracing::field::display),
            bytes_sent = session.body_bytes_sent(),
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX) },
            "request"
        );
    }
}
