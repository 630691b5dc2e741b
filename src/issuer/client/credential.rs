//! How a client proves that it is itself: one method for each, with what the proof is compared with.

use std::fmt;
use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::Config;
use super::assertion::{BadKeys, Keys};
use super::distinguished_name::DistinguishedName;
use crate::pem::{self, BadPem};
use crate::secret::{same, sha256};
use crate::setting::{BadSecret, SecretSource};

/// How a client authenticates (RFC 8414, `token_endpoint_auth_methods_supported`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By a secret, in the `Authorization` header or in the form.
    #[default]
    ClientSecretBasic,
    /// By a statement that it signs (RFC 7523).
    PrivateKeyJwt,
    /// By a certificate that an authority vouches for (RFC 8705 section 2.1).
    TlsClientAuth,
    /// By the one certificate that is registered for it (RFC 8705 section 2.2).
    SelfSignedTlsClientAuth,
}

impl Method {
    /// Whether the proof is a certificate.
    pub const fn is_by_certificate(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }

    /// Whether an authority must vouch for the certificate.
    pub const fn needs_authority(self) -> bool {
        matches!(self, Self::TlsClientAuth)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }
}

/// As it is written in gateway.toml.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a proof is compared with.
#[derive(Debug)]
pub(in crate::issuer) enum Credential {
    /// SHA-256 of the secret: all are equally long, and compared in equal time.
    Secret([u8; 32]),
    Keys(Keys),
    Certificate(CertificateDer<'static>),
    Subject(DistinguishedName),
}

/// Why a client's credential cannot be used: the setting at fault, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` {reason}")]
pub struct BadCredential {
    /// The setting, as it is named below `[[issuer.client]]`.
    pub key: &'static str,
    /// What is wrong with it, in words for the operator.
    pub reason: String,
}

impl BadCredential {
    fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into() }
    }
}

impl Credential {
    /// SHA-256 of a secret that nobody has.
    pub(in crate::issuer) fn of_secret(secret: &str) -> Self {
        Self::Secret(sha256(secret.as_bytes()))
    }

    /// Whether `secret` is the client's; takes the same time for a client without one.
    pub(in crate::issuer) fn is_secret(credential: Option<&Self>, secret: &str) -> bool {
        let (expected, has_one) = match credential {
            Some(Self::Secret(expected)) => (*expected, true),
            _ => ([0; 32], false),
        };
        same(&sha256(secret.as_bytes()), &expected) & has_one
    }

    /// The credential that `config` describes, whose relative paths begin at `base_dir`.
    pub(in crate::issuer) fn load(config: &Config, base_dir: &Path) -> Result<Self, BadCredential> {
        config.needs_no_other()?;
        match config.authentication {
            Method::ClientSecretBasic => secret(config, base_dir),
            Method::PrivateKeyJwt => {
                let path = base_dir.join(needed("public_key_file", config.public_key_file.as_ref(), config)?);
                let text = fs::read(path).map_err(|error| {
                    BadCredential::new("public_key_file", format!("the file cannot be read: {error}"))
                })?;
                let bad = |error: BadKeys| BadCredential::new("public_key_file", error.to_string());
                Keys::parse(&text).map(Self::Keys).map_err(bad)
            }
            Method::SelfSignedTlsClientAuth => {
                let path = base_dir.join(needed("certificate_file", config.certificate_file.as_ref(), config)?);
                let bad = |error: BadPem| BadCredential::new("certificate_file", error.to_string());
                let certificate = pem::certificates(&path).map_err(bad)?.into_iter().next();
                certificate
                    .map(Self::Certificate)
                    .ok_or_else(|| BadCredential::new("certificate_file", BadPem::NoCertificate.to_string()))
            }
            Method::TlsClientAuth => {
                let text = needed("certificate_subject", config.certificate_subject.as_ref(), config)?;
                let bad = || {
                    BadCredential::new(
                        "certificate_subject",
                        "expected a name as RFC 4514 writes it, like \"CN=intranet,O=Example\"",
                    )
                };
                DistinguishedName::parse(text).map(Self::Subject).ok_or_else(bad)
            }
        }
    }
}

fn needed<'c, T>(key: &'static str, value: Option<&'c T>, config: &Config) -> Result<&'c T, BadCredential> {
    value.ok_or_else(|| BadCredential::new(key, format!("is missing: `{}` needs it", config.authentication)))
}

fn secret(config: &Config, base_dir: &Path) -> Result<Credential, BadCredential> {
    /// As long as 192 random bits in base64: nobody guesses that.
    const SHORTEST: usize = 32;
    let (key, source) = match (&config.secret_file, &config.secret_env) {
        (Some(_), Some(_)) => {
            let message = "stands beside `secret_file`, and there is only one secret";
            return Err(BadCredential::new("secret_env", message));
        }
        (Some(path), None) => ("secret_file", SecretSource::File(base_dir.join(path))),
        (None, Some(name)) => ("secret_env", SecretSource::Environment(name.clone())),
        (None, None) => return Err(BadCredential::new("secret_file", "is missing")),
    };
    // Without the name: it may be the secret itself, pasted into the wrong setting.
    let secret = source.read().map_err(|error| match error {
        BadSecret::File { source, .. } => BadCredential::new(key, format!("the file cannot be read: {source}")),
        BadSecret::Environment { .. } => BadCredential::new(key, "there is no such environment variable"),
        BadSecret::Empty => BadCredential::new(key, "the secret is empty"),
    })?;
    if secret.expose().len() < SHORTEST {
        return Err(BadCredential::new(key, format!("the secret is shorter than {SHORTEST} characters")));
    }
    Ok(Credential::of_secret(secret.expose()))
}

impl Config {
    /// A setting of another method would be believed to protect something.
    fn needs_no_other(&self) -> Result<(), BadCredential> {
        let settings = [
            ("secret_file", self.secret_file.is_some(), Method::ClientSecretBasic),
            ("secret_env", self.secret_env.is_some(), Method::ClientSecretBasic),
            ("public_key_file", self.public_key_file.is_some(), Method::PrivateKeyJwt),
            ("certificate_file", self.certificate_file.is_some(), Method::SelfSignedTlsClientAuth),
            ("certificate_subject", self.certificate_subject.is_some(), Method::TlsClientAuth),
        ];
        match settings.into_iter().find(|(_, is_set, method)| *is_set && *method != self.authentication) {
            Some((key, _, method)) => {
                let message = format!("belongs to `{method}`, and `authentication` is `{}`", self.authentication);
                Err(BadCredential::new(key, message))
            }
            None => Ok(()),
        }
    }
}
