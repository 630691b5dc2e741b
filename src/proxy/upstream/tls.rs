//! What a connection to an `https://` server shows and believes, read from its files when a configuration is read: the
//! framework takes what it is given later without a second look.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::setting::TlsSetting;

/// How servers prove who they are, and how the gateway does.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities that are trusted in place of those of the system.
    pub(super) authorities: Option<Arc<[WrappedX509]>>,
    /// The gateway's own certificate, with its key.
    pub(super) certificate: Option<Arc<CertKey>>,
    /// The name that is asked for and that the certificate must be for, in place of the URL's.
    pub(super) server_name: Option<String>,
    /// Whether the certificate is not judged.
    pub(super) unverified: bool,
    /// All of it in bytes, which tell connections apart that were made on other terms.
    pub(super) terms: Vec<u8>,
}

impl Tls {
    /// Reads the files, whose relative paths begin at `directory`.
    ///
    /// # Errors
    /// With the setting whose file is not what it must be.
    pub fn read(setting: &TlsSetting, directory: &Path) -> Result<Self, BadTls> {
        let authorities = match &setting.certificate_authority_file {
            Some(file) => Some(authorities(&directory.join(file)).map_err(BadTls::of("certificate_authority_file"))?),
            None => None,
        };
        let certificate = match (&setting.certificate_file, &setting.certificate_key_file) {
            (Some(certificate), Some(key)) => Some(own(&directory.join(certificate), &directory.join(key))?),
            (Some(_), None) => return Err(BadTls::of("certificate_key_file")(BadPem::Missing)),
            (None, Some(_)) => return Err(BadTls::of("certificate_file")(BadPem::Missing)),
            (None, None) => None,
        };
        let mut terms = vec![u8::from(setting.verify)];
        for known in authorities.iter().flatten() {
            terms.extend_from_slice(known.borrow_raw_cert());
        }
        terms.push(0);
        for shown in certificate.iter().flat_map(|own| std::iter::once(own.leaf()).chain(own.intermediates())) {
            terms.extend_from_slice(shown.borrow_raw_cert());
        }
        terms.extend(setting.server_name.iter().flat_map(|name| name.as_str().bytes()));
        Ok(Self {
            authorities: authorities.map(Arc::from),
            certificate: certificate.map(Arc::new),
            server_name: setting.server_name.as_ref().map(|name| name.as_str().to_owned()),
            unverified: !setting.verify,
            terms,
        })
    }
}

fn authorities(file: &Path) -> Result<Vec<WrappedX509>, BadPem> {
    let mut known = RootCertStore::empty();
    certificates(file)?
        .into_iter()
        .map(|certificate| {
            known.add(certificate.clone()).map_err(|_| BadPem::NoCertificate)?;
            Ok(WrappedX509::new(certificate.to_vec(), parse_x509))
        })
        .collect()
}

fn own(certificate: &Path, key: &Path) -> Result<CertKey, BadTls> {
    let chain = certificates(certificate).map_err(BadTls::of("certificate_file"))?;
    let of_key = BadTls::of("certificate_key_file");
    let pem = std::fs::read(key).map_err(|error| of_key(BadPem::Unreadable(error)))?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| of_key(BadPem::NoPrivateKey))?;
    let raw = private.secret_der().to_vec();
    // The framework tells the kind of a key by its bytes alone.
    if PrivateKeyDer::try_from(raw.as_slice()).is_err() {
        return Err(of_key(BadPem::UnusableKey));
    }
    CertifiedKey::from_der(chain.clone(), private, &default_provider()).map_err(|error| {
        of_key(match error {
            rustls::Error::InconsistentKeys(_) => BadPem::OtherKey,
            _ => BadPem::UnusableKey,
        })
    })?;
    Ok(CertKey::new(chain.into_iter().map(|certificate| certificate.to_vec()).collect(), raw))
}

/// The certificates of a PEM file, each of them one that the framework can read too.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    let pem = std::fs::read(file).map_err(BadPem::Unreadable)?;
    let found =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| BadPem::NoCertificate)?;
    let is_read = |certificate: &CertificateDer<'_>| X509Certificate::from_der(certificate).is_ok();
    if found.is_empty() || !found.iter().all(is_read) { Err(BadPem::NoCertificate) } else { Ok(found) }
}

/// A setting of `upstream_tls` whose file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("use `upstream_tls.{setting}`")]
pub struct BadTls {
    /// The setting.
    pub setting: &'static str,
    /// Why.
    #[source]
    pub cause: BadPem,
}

impl BadTls {
    fn of(setting: &'static str) -> impl Fn(BadPem) -> Self {
        move |cause| Self { setting, cause }
    }
}

/// Why a file of certificates or of a key cannot be used. The messages name nothing that the file holds.
#[derive(Debug, thiserror::Error)]
pub enum BadPem {
    /// The other half of a pair is not named.
    #[error("is missing: a certificate and its key go together")]
    Missing,
    /// The system does not give it.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// No certificate, or something else that says it is one.
    #[error("there is no certificate in it: expected PEM, \"-----BEGIN CERTIFICATE-----\"")]
    NoCertificate,
    /// No key.
    #[error("there is no private key in it: expected PEM without a passphrase, \"-----BEGIN PRIVATE KEY-----\"")]
    NoPrivateKey,
    /// A key of a kind that is not supported.
    #[error("expected an RSA key of 2048 to 8192 bits, or an EC or Ed25519 key in PKCS#8")]
    UnusableKey,
    /// The key of some other certificate.
    #[error("is the key of another certificate than the one in `certificate_file`")]
    OtherKey,
}
