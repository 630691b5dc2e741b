//! The listener of the API for other programs: with TLS or without, and with what is known of the other end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::OptionalFromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{Config, Error};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// Connections at one time; more wait to be accepted.
const CONNECTIONS: usize = 1000;
/// How long to wait when the system gives no connection, as when there are too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// The certificate whose key it holds, and those that it sent to lead to an authority.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

impl Peer {
    /// Its own certificate.
    pub(in crate::issuer) fn certificate(&self) -> Option<&[u8]> {
        self.certificates.first().map(AsRef::as_ref)
    }

    /// Who sent a request, where the listener told.
    pub(in crate::issuer) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<ConnectInfo<Self>>().map(|ConnectInfo(peer)| peer)
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions).cloned())
    }
}

/// Accepts connections of other programs.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    /// A slow handshake holds up nobody else.
    handshakes: JoinSet<Option<(Connection, Peer)>>,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Listens on `tcp`, which must not block, with TLS where `tls` says so.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used, or the runtime refuses the listener.
    pub fn new(tcp: std::net::TcpListener, tls: Option<&Config>) -> Result<Self, ListenerError> {
        let tls = tls.map(|config| config.server(Path::new(""))).transpose()?;
        Ok(Self {
            tcp: TcpListener::from_std(tcp)?,
            tls: tls.map(|server| TlsAcceptor::from(Arc::new(server))),
            handshakes: JoinSet::new(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Without TLS it would be another one than was meant.
    #[error("prepare TLS for the issuer")]
    Tls(#[from] Error),
    /// The runtime refuses it.
    #[error("listen for the issuer's clients")]
    Runtime(#[from] io::Error),
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        loop {
            let (tcp, places) = (&self.tcp, &self.places);
            let next = async {
                let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
                (tcp.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(connection)) => return connection,
                    _ => continue,
                },
                accepted = next => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match &self.tls {
                None => {
                    let peer = Peer { address, certificates: Arc::new([]) };
                    return (Connection::new(Either::Left(stream), place), peer);
                }
                Some(acceptor) => {
                    self.handshakes.spawn(shake_hands(acceptor.clone(), stream, address, place));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.tcp.local_addr()?, certificates: Arc::new([]) })
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
) -> Option<(Connection, Peer)> {
    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?;
    let stream = shaken.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok()?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|der| der.clone().into_owned()).collect();
    Some((Connection::new(Either::Right(Box::new(stream)), place), Peer { address, certificates }))
}

/// A connection, which ends when it was silent for too long.
pub struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    silence: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Either<TcpStream, Box<TlsStream<TcpStream>>>, place: OwnedSemaphorePermit) -> Self {
        Self { stream, silence: Box::pin(tokio::time::sleep(IDLE)), _place: place }
    }

    /// It was not silent just now.
    fn stir(&mut self) {
        self.silence.set(tokio::time::sleep(IDLE));
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, into) {
            self.stir();
            return Poll::Ready(read);
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.stir();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
