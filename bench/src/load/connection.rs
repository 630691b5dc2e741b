//! One HTTP/1.1 connection that is kept, and made anew after the server has closed it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::Failure;

pub(super) struct Connection {
    /// `HOST:PORT`.
    server: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// A connection to the server of `url`, which is made with the first request.
    pub(super) fn to(url: &Url) -> Self {
        Self { server: server(url), sender: None }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        // After a failure the next request begins with a new connection.
        sender.ready().await.ok();
        self.sender = Some(sender);
        Ok(Response::from_parts(head, body))
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let (sender, connection) = handshake(TokioIo::new(connect(&self.server).await?)).await?;
        // What ends it is heard by whoever sends.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What `Host` says for a URL: without the port where that is the usual one.
pub(super) fn authority(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

/// Where the server of a URL is: always with a port.
pub(super) fn server(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// A TCP connection that sends at once what is written.
pub(super) async fn connect(server: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
