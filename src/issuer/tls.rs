//! The listener of the API for other programs: TLS where it is configured, and what is known of the other end.
//!
//! A client may show any certificate whose key it holds. Whether it is a registered one, or one that an authority vouches
//! for, is asked when it authenticates: a self-signed certificate cannot be judged by itself (RFC 8705 section 2.2).

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::OptionalFromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::client::certificate::{self, Authorities, BadCertificates};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// Connections at one time; more wait to be accepted.
const CONNECTIONS: usize = 1000;
/// How long to wait when the system gives no connection, as when there are too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// `[issuer.tls]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub private_key: PathBuf,
    /// The authorities whose certificates `tls_client_auth` accepts, in PEM.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate.
    #[error("use `issuer.tls.certificate`: {0}")]
    Certificate(BadCertificates),
    /// The private key.
    #[error("use `issuer.tls.private_key`: {0}")]
    PrivateKey(&'static str),
    /// The authorities for clients.
    #[error("use `issuer.tls.client_ca`: {0}")]
    ClientCa(BadCertificates),
    /// The two do not belong together, or the key is of a kind that is not supported.
    #[error("use `issuer.tls.certificate` with `issuer.tls.private_key`")]
    Pair(#[source] rustls::Error),
}

impl Error {
    /// The setting at fault, as it is named below `[issuer.tls]`.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::PrivateKey(_) | Self::Pair(_) => "private_key",
            Self::ClientCa(_) => "client_ca",
        }
    }

    /// What is wrong with it.
    pub fn reason(&self) -> String {
        match self {
            Self::Certificate(error) | Self::ClientCa(error) => error.to_string(),
            Self::PrivateKey(reason) => (*reason).to_owned(),
            Self::Pair(_) => "does not belong to the certificate, or is of a kind that is not supported".to_owned(),
        }
    }
}

impl Config {
    /// The files that it names.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.certificate, &mut self.private_key].into_iter().chain(&mut self.client_ca)
    }

    /// What is wrong with the files, whose relative paths begin at `base_dir`.
    pub fn problem(&self, base_dir: &Path) -> Option<Error> {
        let authorities = self.client_ca.as_ref().map(|path| Authorities::read(&base_dir.join(path)));
        let authorities = authorities.transpose().err().map(Error::ClientCa);
        self.server(base_dir).err().or(authorities)
    }

    fn server(&self, base_dir: &Path) -> Result<ServerConfig, Error> {
        let chain = certificate::read(&base_dir.join(&self.certificate)).map_err(Error::Certificate)?;
        let key =
            fs::read(base_dir.join(&self.private_key)).map_err(|_| Error::PrivateKey("the file cannot be read"))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            Error::PrivateKey("the file must hold a private key in PEM, \"-----BEGIN PRIVATE KEY-----\"")
        })?;
        let provider = Arc::new(default_provider());
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?
            .with_client_cert_verifier(Arc::new(AnyHolder(provider)))
            .with_single_cert(chain, key)
            .map_err(Error::Pair)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(server)
    }
}

/// Accepts every certificate whose holder proves to have its key.
#[derive(Debug)]
struct AnyHolder(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

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
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certificates.first().map(AsRef::as_ref)
    }

    /// Who sent a request, where the listener told.
    pub(super) fn of(extensions: &Extensions) -> Option<&Self> {
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
