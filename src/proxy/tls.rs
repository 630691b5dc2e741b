//! TLS towards visitors: the certificates, which of them a name gets, and the certificates of visitors.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::tls::server::handshake_with_callback;
use pingora::protocols::tls::{TlsRef, TlsStream};
use pingora::proxy::Session;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;

use super::edge::{Socket, Streams};
use crate::pem::{self, BadPem};
use crate::secret;

/// `[tls]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The certificate and those that lead to its authority, in PEM. It is shown to whoever names no host that another
    /// certificate is for.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub private_key: PathBuf,
    /// Certificates for other hosts.
    #[serde(default)]
    pub additional: Vec<Pair>,
    /// The authorities whose certificates visitors may show, in PEM.
    #[serde(default)]
    pub client_authorities: Option<PathBuf>,
    /// Whether visitors must show one.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
    /// Where plain HTTP is answered by a redirect to `public_url`'s scheme.
    #[serde(default)]
    pub redirect_from: Option<SocketAddr>,
}

/// `[[tls.additional]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub private_key: PathBuf,
}

/// `tls.client_certificates`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// Visitors may show one.
    #[default]
    Optional,
    /// Without one there is no connection.
    Required,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("use `tls.{key}`: {reason}")]
pub struct Error {
    /// The setting at fault, as it is named below `[tls]`.
    pub key: String,
    /// What is wrong with it.
    pub reason: BadTls,
}

/// What is wrong with a certificate, a key, or the two together.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// The file.
    #[error(transparent)]
    Pem(#[from] BadPem),
    /// The key is of a kind that is not supported, or not that of the certificate.
    #[error("the key does not belong to the certificate, or is of a kind that is not supported")]
    Pair,
    /// No host can be read in it.
    #[error("the certificate names no host (subject alternative name)")]
    Nameless,
    /// The authorities cannot be used.
    #[error("the file must hold certificates of authorities")]
    Authorities,
    /// The versions of TLS cannot be had.
    #[error("TLS cannot be set up")]
    Protocol,
}

impl Config {
    /// The files that it names.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let additional = self.additional.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.private_key]);
        [&mut self.certificate, &mut self.private_key].into_iter().chain(additional).chain(&mut self.client_authorities)
    }

    /// Everything that is wrong with the files, whose relative paths begin at `base_dir`.
    pub fn problems(&self, base_dir: &Path) -> Vec<Error> {
        let mut problems: Vec<Error> = self.pairs().filter_map(|pair| pair.read(base_dir).err()).collect();
        problems.extend(self.client_verifier(base_dir).err());
        problems
    }

    /// The host names that its certificates are for, as they are written there.
    pub fn names(&self, base_dir: &Path) -> Vec<String> {
        let read = self.pairs().filter_map(|pair| pair.read(base_dir).ok());
        read.flat_map(|(_, names)| names).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = Named<'_>> {
        let first = Named { certificate: &self.certificate, private_key: &self.private_key, section: String::new() };
        let additional = self.additional.iter().enumerate().map(|(at, pair)| Named {
            certificate: &pair.certificate,
            private_key: &pair.private_key,
            section: format!("additional[{at}]."),
        });
        [first].into_iter().chain(additional)
    }

    fn client_verifier(&self, base_dir: &Path) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        let Some(path) = &self.client_authorities else { return Ok(None) };
        let wrong = |reason| Error { key: "client_authorities".to_owned(), reason };
        let roots = pem::authorities(&base_dir.join(path)).map_err(|error| wrong(error.into()))?;
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let builder = match self.client_certificates {
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required => builder,
        };
        builder.build().map(Some).map_err(|_| wrong(BadTls::Authorities))
    }

    /// TLS as the files of this moment have it; paths are absolute by now.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn server(&self) -> Result<Server, Error> {
        let base_dir = Path::new("");
        let mut certificates = Certificates::default();
        for pair in self.pairs() {
            let (key, names) = pair.read(base_dir)?;
            certificates.add(&Arc::new(key), names);
        }
        let protocol = |_| Error { key: "certificate".to_owned(), reason: BadTls::Protocol };
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(protocol)?;
        let builder = match self.client_verifier(base_dir)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        // WebSockets need the older protocol, so it is always offered too.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Server { acceptor: Acceptor::from_server_config(Arc::new(config)) })
    }
}

/// A certificate with its key, and where the two are set.
struct Named<'a> {
    certificate: &'a Path,
    private_key: &'a Path,
    section: String,
}

impl Named<'_> {
    fn read(&self, base_dir: &Path) -> Result<(CertifiedKey, Vec<String>), Error> {
        let wrong = |name: &str, reason| Error { key: format!("{}{name}", self.section), reason };
        let chain = pem::certificates(&base_dir.join(self.certificate));
        let chain = chain.map_err(|error| wrong("certificate", error.into()))?;
        let key = pem::private_key(&base_dir.join(self.private_key));
        let key = key.map_err(|error| wrong("private_key", error.into()))?;
        let names = chain.first().map(|der| host_names(der)).unwrap_or_default();
        if names.is_empty() {
            return Err(wrong("certificate", BadTls::Nameless));
        }
        let key = sign::any_supported_type(&key).map_err(|_| wrong("private_key", BadTls::Pair))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| wrong("private_key", BadTls::Pair))?;
        Ok((certified, names))
    }
}

/// The names that a certificate is for: hosts in lower case, and addresses.
fn host_names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    });
    names.collect()
}

/// Certificates by the host that a visitor names (SNI, RFC 6066 section 3).
#[derive(Debug, Default)]
struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Of two certificates for one name the earlier one counts.
    fn add(&mut self, key: &Arc<CertifiedKey>, names: Vec<String>) {
        for name in names {
            self.by_name.entry(name).or_insert_with(|| Arc::clone(key));
        }
        self.first.get_or_insert_with(|| Arc::clone(key));
    }

    /// By the whole name, or with a star for its first label; else the first of all.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let starred = || name.split_once('.').and_then(|(_, rest)| self.by_name.get(&format!("*.{rest}")));
            self.by_name.get(&name).or_else(starred).cloned()
        });
        named.or_else(|| self.first.clone())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// Shakes hands with visitors.
pub struct Server {
    acceptor: Acceptor,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(super) async fn accept(&self, socket: Socket) -> pingora::Result<TlsStream<Socket>> {
        handshake_with_callback(&self.acceptor, socket, &Known).await
    }
}

/// What is known of a connection for as long as it lasts.
pub(super) struct Connection {
    certificate: Option<ClientCertificate>,
    streams: Streams,
}

impl Connection {
    /// The connection of a request.
    pub(super) fn of(session: &Session) -> Option<&Self> {
        session.digest()?.ssl_digest.as_ref()?.extension.get()
    }

    /// What its visitor showed.
    pub(super) const fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// Its requests, where it speaks HTTP/2.
    pub(super) const fn streams(&self) -> &Streams {
        &self.streams
    }
}

/// The certificate that a visitor showed, and that an authority of ours vouched for.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of it, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Its subject, in the order in which it was written.
    pub subject: String,
}

impl ClientCertificate {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let fingerprint = secret::sha256(der).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { fingerprint, subject: certificate.subject().to_string() })
    }
}

/// Makes what is known of a connection.
struct Known;

#[async_trait]
impl TlsAccept for Known {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let certificate = tls.peer_certificate_der().and_then(ClientCertificate::read);
        Some(Arc::new(Connection { certificate, streams: Streams::default() }))
    }
}
