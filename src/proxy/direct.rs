//! The direct way of a request without a body to an HTTP/1.1 server, and of its answer back.
//!
//! The framework carries request and answer beside each other, each in a future of its own with a channel to the other,
//! because the body of the one may come while the other has begun. A request without a body has one direction after the
//! other, which takes neither. Reading and writing HTTP is the framework's here too, and all that is decided on the way is
//! what its phases decide.

use std::future::pending;

use futures_util::FutureExt as _;
use http::{Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::proxy::{ProxyHttp as _, Session};
use pingora::{Error, ErrorType};
use tokio::task::unconstrained;

use super::edge::Silence;
use super::forward::Way;
use super::leave::Leave;
use super::manner::{HopByHop, Manner};
use super::route::Route;
use super::{Context, Proxy};
use crate::round;

/// So many pieces of an answer are passed on at once.
const MOST_AT_ONCE: usize = 4;

/// Whether a request that may pass goes this way: one that can be sent again, to an HTTP/1.1 server.
pub(super) fn is_for(session: &mut Session, manner: Manner, route: &Route) -> bool {
    manner.hop_by_hop <= HopByHop::Usual
        && !manner.is_call
        && session.req_header().method.is_idempotent()
        && session.is_body_empty()
        && route.upstream.is_http1()
}

impl Proxy {
    /// Sends a request to its upstream, again where it may be, and the answer to the visitor.
    ///
    /// # Errors
    /// What went wrong in the end. The visitor may have got a part of the answer by then.
    pub(super) async fn carry(
        &self,
        session: &mut Session,
        context: &mut Box<Context>,
        leave: &Leave,
    ) -> pingora::Result<()> {
        round::together().await;
        loop {
            match self.try_to_carry(session, context, leave).await {
                Err(error) if error.retry() => {}
                carried => return carried,
            }
        }
    }

    /// Says in the error whether it may be tried again.
    async fn try_to_carry(
        &self,
        session: &mut Session,
        context: &mut Box<Context>,
        leave: &Leave,
    ) -> pingora::Result<()> {
        let kept = self.kept(&leave.pass, &mut context.attempts).await?;
        let was_kept = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => {
                let way = Way::of(session, context, leave);
                let peer = Box::pin(self.forward(&leave.pass, way, &mut context.attempts)).await?;
                match Box::pin(self.connector.new_stream(&*peer)).await {
                    Ok(stream) => stream,
                    Err(error) => return Err(self.fail_to_connect(session, &peer, context, error.into_up()).into_up()),
                }
            }
        };
        let mut server = Http1::new(stream);
        let longest = leave.pass.route().response_timeout;
        let is_untimed = context.manner.is_open_ended() || leave.longest_silence().is_some();
        server.read_timeout = (!is_untimed).then_some(longest);
        server.write_timeout = Some(longest);
        let carried = match self.exchange(session, context, &mut server).await {
            Ok(rest) => {
                // The next request need not wait until this visitor has taken the rest.
                server.respect_keepalive();
                if let Some(stream) = server.reuse().await {
                    context.attempts.keep(stream);
                }
                end(session, rest).await
            }
            Err(error) => Err(error),
        };
        carried.map_err(|error| {
            let at = context.attempts.authority().map_or("", |authority| authority.to_str().unwrap_or_default());
            self.break_off(session, error.more_context(format!("Server: {at}")), context, was_kept)
        })
    }

    /// Has the request answered. Gives what the visitor is still to get when the server has said all.
    async fn exchange(
        &self,
        session: &mut Session,
        context: &mut Context,
        server: &mut Http1,
    ) -> pingora::Result<Vec<HttpTask>> {
        let mut request = Box::new(session.req_header().clone());
        request.set_version(Version::HTTP_11);
        if context.manner.hop_by_hop != HopByHop::None {
            request.remove_header(&header::CONNECTION);
            request.remove_header(&header::TE);
        }
        self.prepare(session, &mut request, context)?;
        context.must_go_on()?;
        server.write_request_header(request).await.map_err(Error::into_up)?;
        let ongoing = context.ongoing.clone();
        loop {
            let silence = async {
                match &ongoing {
                    Some(ongoing) => ongoing.silence().await,
                    None => pending().await,
                }
            };
            let first = tokio::select! {
                biased;
                task = server.read_response_task() => task.map_err(Error::into_up)?,
                // Nothing more is to come from the visitor but the end.
                read = session.downstream_session.read_body_or_idle(true) => {
                    let gone = || Error::explain(ErrorType::ConnectionClosed, "the visitor is gone");
                    return Err(read.err().unwrap_or_else(gone).into_down());
                }
                () = silence => {
                    return Err(Error::explain(ErrorType::ReadTimedout, Silence.to_string()).into_up());
                }
            };
            let mut is_end = first.is_end();
            let mut tasks = Vec::with_capacity(MOST_AT_ONCE);
            tasks.push(self.pass_on(session, first, context)?);
            // What is there already goes out with it.
            while !is_end && tasks.len() < MOST_AT_ONCE {
                let Some(next) = unconstrained(server.read_response_task()).now_or_never() else { break };
                let next = next.unwrap_or_else(|error| HttpTask::Failed(error.into_up()));
                is_end = next.is_end();
                tasks.push(self.pass_on(session, next, context)?);
            }
            if is_end && !matches!(tasks.last(), Some(HttpTask::Failed(_))) {
                return Ok(tasks);
            }
            if session.write_response_tasks(tasks).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// Makes a part of the upstream's answer what the visitor gets.
    fn pass_on(&self, session: &mut Session, task: HttpTask, context: &mut Context) -> pingora::Result<HttpTask> {
        match task {
            HttpTask::Header(mut answer, is_end) => {
                context.is_answered_by(&answer)?;
                if !is_end && is_unframed(&session.req_header().method, &answer) {
                    // Its end was that of the connection; the visitor's goes on.
                    answer.set_version(Version::HTTP_11);
                    answer.insert_header(header::TRANSFER_ENCODING, "chunked")?;
                }
                self.finish_answer(session, &mut answer, context)?;
                Ok(HttpTask::Header(answer, is_end))
            }
            HttpTask::Body(bytes, is_end) => {
                context.must_go_on()?;
                Ok(HttpTask::Body(bytes, is_end))
            }
            task => Ok(task),
        }
    }
}

/// Writes the last of an answer.
async fn end(session: &mut Session, rest: Vec<HttpTask>) -> pingora::Result<()> {
    if !rest.is_empty() {
        session.write_response_tasks(rest).await?;
    }
    if session.as_mut().finish_body().await.is_err() {
        session.set_keepalive(None);
    }
    Ok(())
}

/// Whether an answer says neither that it has no body nor where that ends.
fn is_unframed(method: &Method, answer: &ResponseHeader) -> bool {
    let has_no_body = method == Method::HEAD
        || answer.status.is_informational()
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let fields = &answer.headers;
    !has_no_body && !fields.contains_key(header::TRANSFER_ENCODING) && !fields.contains_key(header::CONTENT_LENGTH)
}
