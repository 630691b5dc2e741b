//! How our client proves at the token endpoint that it is the one: a secret, a signed statement, or a certificate.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::connection::BadConnection;
use super::error::Error;
use crate::clock::Timestamp;
use crate::secret::Secret;

mod assertion;

pub use assertion::AssertionKey;

/// `client_authentication`: the methods that a client of Mosaic can be set to, by the names of RFC 8414.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The secret in the form.
    #[default]
    ClientSecretPost,
    /// The secret in HTTP Basic (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// A statement that is signed with the client's private key (RFC 7523).
    PrivateKeyJwt,
    /// A certificate that an authority made (RFC 8705 section 2.1).
    TlsClientAuth,
    /// A certificate that Mosaic was given beforehand (RFC 8705 section 2.2).
    SelfSignedTlsClientAuth,
}

impl Method {
    /// Its name in gateway.toml.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// Whether `setting` belongs to it.
    pub fn uses(self, setting: &str) -> bool {
        let of_its_own: &[&str] = match self {
            Self::ClientSecretPost | Self::ClientSecretBasic => &["client_secret_file", "client_secret_env"],
            Self::PrivateKeyJwt => &["private_key_file", "private_key_id"],
            Self::TlsClientAuth | Self::SelfSignedTlsClientAuth => &["certificate_file", "certificate_key_file"],
        };
        of_its_own.contains(&setting)
    }
}

/// A method with what it needs.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// The secret in the form.
    SecretPost(Secret<String>),
    /// The secret in HTTP Basic.
    SecretBasic(Secret<String>),
    /// A statement that is signed anew for each request.
    PrivateKeyJwt(AssertionKey),
    /// A certificate that every connection shows; the form names the client without proving anything.
    Certificate(ClientCertificate),
}

impl ClientAuthentication {
    /// The request for a client access token (RFC 6749 section 4.4.2).
    pub(super) fn token_request(
        &self,
        request: RequestBuilder,
        client_id: &str,
        token_url: &Url,
        now: Timestamp,
    ) -> Result<RequestBuilder, Error> {
        const GRANT: (&str, &str) = ("grant_type", "client_credentials");
        let client = ("client_id", client_id);
        Ok(match self {
            Self::SecretPost(secret) => request.form(&[GRANT, client, ("client_secret", secret.expose())]),
            Self::SecretBasic(secret) => {
                let value = http::HeaderValue::try_from(basic(client_id, secret));
                let mut value = value.expect("base64 is printable ASCII");
                value.set_sensitive(true);
                // Mosaic lists `client_id` as a field of every request.
                request.header(http::header::AUTHORIZATION, value).form(&[GRANT, ("client_id", client_id)])
            }
            Self::PrivateKeyJwt(key) => {
                let assertion = key.assertion(client_id, token_url, now)?;
                let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                request.form(&[GRANT, client, kind, ("client_assertion", assertion.expose())])
            }
            Self::Certificate(_) => request.form(&[GRANT, client]),
        })
    }
}

/// The credentials for HTTP Basic, whose halves are encoded as in a form, so that a colon in one is none between them.
fn basic(client_id: &str, secret: &Secret<String>) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    format!("Basic {}", STANDARD.encode(pair.expose()))
}

/// A certificate with its chain and its private key, which belong together.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Secret<Vec<u8>>);

impl ClientCertificate {
    /// Reads both from PEM files.
    ///
    /// # Errors
    /// With the setting whose file is not what it must be.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, BadConnection> {
        let of_certificate = |source| BadConnection::File { setting: "certificate_file", source };
        let of_key = |source| BadConnection::File { setting: "certificate_key_file", source };
        let certificate = read(certificate).map_err(of_certificate)?;
        let chain = certificates(certificate.expose()).map_err(of_certificate)?;
        let pem = read(key).map_err(of_key)?;
        let private = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| of_key(BadFile::NoPrivateKey))?;
        CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| {
            of_key(match error {
                rustls::Error::InconsistentKeys(_) => BadFile::OtherKey,
                _ => BadFile::UnusableKey,
            })
        })?;
        Ok(Self(Secret::new([certificate.expose().as_slice(), b"\n", pem.expose()].concat())))
    }

    /// What connections show.
    pub(super) fn identity(&self) -> Result<reqwest::Identity, reqwest::Error> {
        reqwest::Identity::from_pem(self.0.expose())
    }
}

/// Reads certificates of authorities from a PEM file.
pub(super) fn read_authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, BadConnection> {
    let refused = |source| BadConnection::File { setting: "certificate_authority_file", source };
    let pem = read(file).map_err(refused)?;
    let mut known = RootCertStore::empty();
    certificates(pem.expose())
        .map_err(refused)?
        .into_iter()
        .map(|certificate| {
            known.add(certificate.clone()).map_err(|_| refused(BadFile::NoCertificate))?;
            reqwest::Certificate::from_der(&certificate).map_err(|_| refused(BadFile::NoCertificate))
        })
        .collect()
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty()).ok_or(BadFile::NoCertificate)
}

fn read(path: &Path) -> Result<Secret<Vec<u8>>, BadFile> {
    std::fs::read(path).map(Secret::new).map_err(BadFile::Unreadable)
}

/// Why a file of keys or certificates cannot be used. The messages name nothing that the file holds.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// The system does not give it.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// No key.
    #[error("there is no private key in it: expected PEM without a passphrase")]
    NoPrivateKey,
    /// Some other key.
    #[error("expected an RSA key of 2048 to 8192 bits, or an EC key on P-256 in PKCS#8")]
    UnusableKey,
    /// No certificate, or something else that says it is one.
    #[error("there is no certificate in it: expected PEM")]
    NoCertificate,
    /// The key of some other certificate.
    #[error("is the key of another certificate than the one in `certificate_file`")]
    OtherKey,
}

#[cfg(test)]
mod tests;
