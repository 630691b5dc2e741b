//! TLS for other programs that call the API.
//!
//! A client may show any certificate whose key it holds. Whether it is a registered one, or one that an authority vouches
//! for, is asked when it authenticates: a self-signed certificate cannot be judged by itself (RFC 8705 section 2.2).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use serde::{Deserialize, Serialize};

use super::client::certificate::Authorities;
use crate::pem::{self, BadPem};

mod listener;

pub use listener::{Connection, Listener, ListenerError, Peer};

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
    Certificate(BadPem),
    /// The private key.
    #[error("use `issuer.tls.private_key`: {0}")]
    PrivateKey(BadPem),
    /// The authorities for clients.
    #[error("use `issuer.tls.client_ca`: {0}")]
    ClientCa(BadPem),
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
            Self::Certificate(error) | Self::PrivateKey(error) | Self::ClientCa(error) => error.to_string(),
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
        self.server(base_dir, true).err().or(authorities)
    }

    fn server(&self, base_dir: &Path, asks_for_certificates: bool) -> Result<ServerConfig, Error> {
        let chain = pem::certificates(&base_dir.join(&self.certificate)).map_err(Error::Certificate)?;
        let key = pem::private_key(&base_dir.join(&self.private_key)).map_err(Error::PrivateKey)?;
        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?;
        let server = match asks_for_certificates {
            true => server.with_client_cert_verifier(Arc::new(AnyHolder(provider))),
            false => server.with_no_client_auth(),
        };
        let mut server = server.with_single_cert(chain, key).map_err(Error::Pair)?;
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
