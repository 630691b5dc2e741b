//! Certificates of clients: what they are compared by, and who vouches for them (RFC 8705 section 2).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::distinguished_name::DistinguishedName;
use crate::clock::Timestamp;
use crate::pem::{self, BadPem};
use crate::secret::{base64url, sha256};

/// `x5t#S256` of a certificate (RFC 8705 section 3.1).
pub(in crate::issuer) fn thumbprint(certificate: &[u8]) -> String {
    base64url(&sha256(certificate))
}

/// The subject of a certificate.
pub(in crate::issuer) fn subject(certificate: &[u8]) -> Option<DistinguishedName> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    DistinguishedName::of(certificate.subject())
}

/// The authorities whose certificates `tls_client_auth` accepts.
#[derive(Clone, Debug)]
pub(in crate::issuer) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// The authorities in a PEM file.
    pub(in crate::issuer) fn read(path: &Path) -> Result<Self, BadPem> {
        let roots = pem::authorities(path)?;
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(Self).map_err(|_| BadPem::NotAuthorities)
    }

    /// Whether one of them vouches for the first of `certificates` now, by way of the others.
    pub(in crate::issuer) fn vouch_for(&self, certificates: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some((first, others)) = certificates.split_first() else { return false };
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.0.verify_client_cert(first, others, now).is_ok()
    }
}
