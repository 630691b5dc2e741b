//! The visitor's end of a stream, in place of the framework's: it knows where in the stream it is, and when the leave to
//! pass is withdrawn it says so, where the protocol has words for it, and lets nothing more pass.
//!
//! The framework waits for either end, and only what it waits for can wake it. So a silent stream is ended by an error
//! where the visitor's next bytes are awaited, and [`VisitorsEnd::finish`] has the last word.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;
use pingora::{BError, Error, ErrorType, Result};
use tokio::time::timeout;

use super::{Course, End, Kind};
use crate::proxy::leave::Leave;

/// How long a visitor may take to close a WebSocket that was closed to them.
const LINGER: Duration = Duration::from_secs(1);

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A session of the framework's, and the leave that it is open by.
pub(in crate::proxy) struct VisitorsEnd {
    inner: ServerSession,
    leave: Arc<Leave>,
    course: Course,
    has_said_end: bool,
}

impl VisitorsEnd {
    /// Takes the place of the visitor's end of `session` before its answer is sent. `answer` is that answer, where it is
    /// known by now.
    pub(in crate::proxy) fn replace(
        session: &mut Session,
        leave: &Arc<Leave>,
        kind: Kind,
        answer: Option<&ResponseHeader>,
    ) {
        let nothing = ServerSession::new_custom(Box::new(()));
        let mut inner = std::mem::replace(&mut *session.downstream_session, nothing);
        // What has replaced a connection's session cannot give the connection back.
        inner.set_keepalive(None);
        let course = match kind {
            Kind::WebSocket => Course::frames(),
            Kind::EventStream if answer.is_some_and(|answer| takes_events(&answer.headers)) => Course::events(),
            Kind::Call => Course::messages(),
            Kind::EventStream | Kind::Other => Course::Sealed,
        };
        let end = Self { inner, leave: Arc::clone(leave), course, has_said_end: false };
        *session.downstream_session = ServerSession::new_custom(Box::new(end));
    }

    /// Sends the last words.
    async fn say_end(&mut self, end: End) -> Result<()> {
        if std::mem::replace(&mut self.has_said_end, true) || !self.course.is_between() {
            return Ok(());
        }
        match self.course {
            Course::Frames(_) if !self.course.is_closed() => {
                self.inner.write_response_body(end.close_frame().into(), false).await?;
                self.inner.shutdown().await;
                // Whoever still sends would lose the frame if the connection were gone at once (RFC 6455 section 7.1.1).
                let closed = async { while let Ok(Some(_)) = self.inner.read_request_body().await {} };
                timeout(LINGER, closed).await.ok();
            }
            Course::Events(_) => self.inner.write_response_body(end.last_event().into(), true).await?,
            Course::Messages(_) => self.inner.write_response_trailers(end.trailers()).await?,
            Course::Frames(_) | Course::Sealed => {}
        }
        Ok(())
    }

    /// What of `tasks` still passes once the leave is withdrawn: what is under way. Says whether that is all of it.
    fn last_of(&mut self, tasks: Vec<HttpTask>) -> (Vec<HttpTask>, bool) {
        let mut passing = Vec::with_capacity(tasks.len());
        for mut task in tasks {
            if let HttpTask::Body(Some(bytes), is_end) | HttpTask::UpgradedBody(Some(bytes), is_end) = &mut task {
                let rest = self.course.pass_rest(bytes);
                *is_end &= rest == bytes.len();
                bytes.truncate(rest);
                passing.push(task);
                if self.course.is_between() {
                    return (passing, true);
                }
            } else {
                passing.push(task);
            }
        }
        (passing, false)
    }

    fn note(&mut self, tasks: &[HttpTask]) {
        for task in tasks {
            if let HttpTask::Body(Some(bytes), _) | HttpTask::UpgradedBody(Some(bytes), _) = task {
                self.course.pass(bytes);
            }
        }
    }
}

/// Whether an event can be added: nobody has compressed the others, or counted them.
fn takes_events(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::CONTENT_LENGTH)
}

fn withdrawn() -> BError {
    Error::explain(ErrorType::ConnectionClosed, "the leave to pass is withdrawn").into_down()
}

#[async_trait]
impl CustomSession for VisitorsEnd {
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let Self { inner, leave, course, .. } = self;
        tokio::select! {
            biased;
            () = leave.over(), if course.is_between() => Err(withdrawn()),
            read = inner.read_body_or_idle(no_body_expected) => read,
        }
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let Some(end) = self.leave.end() else {
            self.note(&tasks);
            return self.inner.response_duplex_vec(tasks).await;
        };
        let (tasks, is_last) = self.last_of(tasks);
        let is_done = self.inner.response_duplex_vec(tasks).await?;
        if is_last && !is_done {
            self.say_end(end).await?;
            return Err(withdrawn());
        }
        Ok(is_done)
    }

    /// Ends it as the protocol has it: with the reason, where there is one to give.
    async fn finish(&mut self) -> Result<()> {
        if let Some(end) = self.leave.end() {
            self.say_end(end).await?;
        }
        self.inner.finish_body().await?;
        if !self.inner.is_http2() {
            self.inner.shutdown().await;
        }
        Ok(())
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.course.pass(&data);
        self.inner.write_response_body(data, end).await
    }

    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.inner.read_request_body().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    async fn write_response_header(&mut self, answer: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.inner.write_response_header(answer).await?;
        if end { self.inner.finish_body().await } else { Ok(()) }
    }

    async fn write_response_header_ref(&mut self, answer: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(answer.clone()), end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.inner.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.inner.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {
        self.inner.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inner.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.get_retry_buffer()
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
