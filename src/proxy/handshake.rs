//! WebSocket handshakes: what one is, and the connections that they go out on.
//!
//! The framework waits for an upstream's answer and for the end of the request at the same time, and takes one by
//! chance where both are there. An upstream that switches protocols before the end of the empty request was seen
//! finds its tunnel closed (pingora issue 946). On these connections the answer is never there first.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, header};
use pingora::connectors::L4Connect;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::portal::answer::Refusal;

/// Other upgrades are not passed on: the framework takes them out of the request.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A WebSocket handshake is whole or it is none (RFC 6455 section 4.2.1).
pub(super) fn check_upgrade(request: &RequestHeader) -> Result<(), Refusal> {
    let headers = &request.headers;
    let tokens = headers.get_all(header::CONNECTION).into_iter().filter_map(|field| field.to_str().ok());
    let connected = tokens.flat_map(|field| field.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let whole = request.method == Method::GET
        && request.version == http::Version::HTTP_11
        && connected
        && headers.get("sec-websocket-version").is_some_and(|version| version == "13")
        && headers.get("sec-websocket-key").is_some_and(|key| key.len() == 24)
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if whole { Ok(()) } else { Err(Refusal::BadRequest) }
}

/// Makes `peer` one for a handshake: its connections are no other request's.
pub(super) fn prepare(peer: &mut HttpPeer) {
    peer.group_key = peer.group_key.wrapping_add(1);
    peer.options.custom_l4 = Some(Arc::new(Connector));
    // There is no handshake like this in the HTTP/2 that servers commonly speak (RFC 8441 is an extension).
    peer.options.alpn = ALPN::H1;
    // What is left of a refused handshake is not kept.
    peer.options.idle_timeout = Some(Duration::ZERO);
}

#[derive(Debug)]
struct Connector;

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        const FOR: &str = "for a WebSocket handshake";
        let socket: Box<dyn VirtualSocket> = match address {
            SocketAddr::Inet(address) => {
                let stream = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, FOR)?;
                stream.set_nodelay(true).or_err(ErrorType::SocketError, FOR)?;
                Box::new(Socket { stream, rests: 0 })
            }
            SocketAddr::Unix(address) => {
                let Some(path) = address.as_pathname() else {
                    return Error::e_explain(ErrorType::ConnectNoRoute, "the socket of the upstream has no path");
                };
                let stream = UnixStream::connect(path).await.or_err(ErrorType::ConnectError, FOR)?;
                Box::new(Socket { stream, rests: 0 })
            }
        };
        Ok(VirtualSocketStream::new(socket).into())
    }
}

/// A socket that lets everything else have its turn between a write and the next read.
#[derive(Debug)]
struct Socket<S> {
    stream: S,
    rests: u8,
}

/// One turn is enough, unless the runtime breaks in just there.
const RESTS: u8 = 3;

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(rests) = self.rests.checked_sub(1) {
            self.rests = rests;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.rests = RESTS;
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send + Sync> VirtualSocket for Socket<S> {
    /// Everything was set when the connection was made.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}
