//! Certificates and private keys in PEM files (RFC 7468).

use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a file has not what it should have.
#[derive(Debug, thiserror::Error)]
pub enum BadPem {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is no certificate in it, or one that is damaged.
    #[error("the file must hold certificates in PEM, \"-----BEGIN CERTIFICATE-----\"")]
    NoCertificate,
    /// The certificates cannot vouch for others.
    #[error("the file must hold certificates of authorities")]
    NotAuthorities,
    /// There is no private key in it.
    #[error("the file must hold a private key in PEM, \"-----BEGIN PRIVATE KEY-----\"")]
    NoPrivateKey,
}

/// The certificates in a file, at least one.
///
/// # Errors
/// When there is none, or one of them is damaged.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    let text = std::fs::read(path).map_err(BadPem::Unreadable)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|_| BadPem::NoCertificate)?;
    let are_whole = certificates.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok());
    if certificates.is_empty() || !are_whole { Err(BadPem::NoCertificate) } else { Ok(certificates) }
}

/// The certificates in a file as authorities that vouch for others.
///
/// # Errors
/// When there is none, or one of them cannot vouch.
pub fn authorities(path: &Path) -> Result<RootCertStore, BadPem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| BadPem::NotAuthorities)?;
    }
    Ok(roots)
}

/// The first private key in a file.
///
/// # Errors
/// When there is none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BadPem> {
    let text = std::fs::read(path).map_err(BadPem::Unreadable)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| BadPem::NoPrivateKey)
}
