//! The statement by which a client with a private key proves who it is (RFC 7523 section 2.2).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use url::Url;
use x509_parser::der_parser::asn1_rs::{FromDer as _, Integer, OctetString, Sequence};

use super::{BadFile, read};
use crate::clock::Timestamp;
use crate::mosaic::connection::BadConnection;
use crate::mosaic::error::Error;
use crate::secret::{Secret, random_token};

/// How long a statement holds. It is used at once, and the clocks differ by less.
const LIFETIME: Duration = Duration::from_secs(60);

/// The private key of our client, with the name that Mosaic knows it by.
#[derive(Clone)]
pub struct AssertionKey {
    key_id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
}

impl AssertionKey {
    /// Reads an RSA or P-256 key from a PEM file. Without a name of its own it goes by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// When the file is not what it must be.
    pub fn read(file: &Path, key_id: Option<&str>) -> Result<Self, BadConnection> {
        let read = read(file).and_then(|pem| Self::parse(pem.expose(), key_id));
        read.map_err(|source| BadConnection::File { setting: "private_key_file", source })
    }

    pub(super) fn parse(pem: &[u8], key_id: Option<&str>) -> Result<Self, BadFile> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| BadFile::NoPrivateKey)?;
        let (algorithm, key) = match &der {
            PrivateKeyDer::Pkcs1(rsa) => (Algorithm::RS256, EncodingKey::from_rsa_der(rsa.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(any) => match rsa_inside(any.secret_pkcs8_der()) {
                Some(rsa) => (Algorithm::RS256, EncodingKey::from_rsa_der(rsa.expose())),
                None => (Algorithm::ES256, EncodingKey::from_ec_der(any.secret_pkcs8_der())),
            },
            _ => return Err(BadFile::UnusableKey),
        };
        // This takes the key apart, so what is no key of its algorithm does not get past.
        let public = Jwk::from_encoding_key(&key, algorithm).map_err(|_| BadFile::UnusableKey)?;
        let thumbprint = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| BadFile::UnusableKey)?;
        Ok(Self { key_id: key_id.map_or(thumbprint, str::to_owned), algorithm, key })
    }

    /// A statement for one request.
    pub(super) fn assertion(&self, client_id: &str, token_url: &Url, now: Timestamp) -> Result<Secret<String>, Error> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(self.algorithm) };
        let token_id = random_token();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: token_url.as_str(),
            iat: now.unix_seconds(),
            exp: now.plus(LIFETIME).unix_seconds(),
            jti: token_id.expose(),
        };
        jsonwebtoken::encode(&header, &claims, &self.key).map(Secret::new).map_err(|_| Error::ClientAssertion)
    }
}

/// The `RSAPrivateKey` inside a `PrivateKeyInfo` (RFC 5208 section 5), which is the form that jsonwebtoken signs with.
fn rsa_inside(pkcs8: &[u8]) -> Option<Secret<Vec<u8>>> {
    // rsaEncryption, 1.2.840.113549.1.1.1, as an OBJECT IDENTIFIER.
    const RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let (_, info) = Sequence::from_der(pkcs8).ok()?;
    let (rest, _version) = Integer::from_der(&info.content).ok()?;
    let (rest, algorithm) = Sequence::from_der(rest).ok()?;
    let (_, key) = OctetString::from_der(rest).ok()?;
    algorithm.content.starts_with(RSA).then(|| Secret::new(key.as_ref().to_vec()))
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
