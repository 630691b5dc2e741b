//! Assertions that a client signs in place of a secret (`private_key_jwt`; RFC 7523 section 3).

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::clock::Timestamp;
use crate::secret::from_base64url;

/// An assertion is for one call; one that lasts longer is as good as a password.
const LONGEST: Duration = Duration::from_secs(600);
/// How far apart two clocks may be.
const SKEW: Duration = Duration::from_secs(60);
/// Longer assertions are not looked at.
const LENGTH_LIMIT: usize = 16 * 1024;
/// Shorter RSA keys are broken sooner than anybody notices.
const SHORTEST_RSA_BITS: usize = 2048;
/// The curve P-256, as `AlgorithmIdentifier` names it.
const P256: &str = "1.2.840.10045.3.1.7";

/// Public keys of one client.
#[derive(Debug)]
pub(in crate::issuer) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    /// `kid`, where the file gives one.
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// Why a file holds no keys that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file must hold a public key in PEM, \"-----BEGIN PUBLIC KEY-----\", or a JWK set: RSA of {SHORTEST_RSA_BITS} bits \
     or more, or EC on P-256"
)]
pub(in crate::issuer) struct BadKeys;

/// What an assertion says, once its signature holds.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

impl Audiences {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(name) => name == audience,
            Self::Several(names) => names.iter().any(|name| name == audience),
        }
    }
}

/// What makes an assertion good for once only.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::issuer) struct Once {
    pub(in crate::issuer) id: String,
    pub(in crate::issuer) expires_at: Timestamp,
}

impl Keys {
    /// Reads a public key in PEM, or a JWK set (RFC 7517).
    pub(in crate::issuer) fn parse(text: &[u8]) -> Result<Self, BadKeys> {
        let keys = match serde_json::from_slice::<JwkSet>(text) {
            Ok(set) => set.keys.iter().map(Key::from_jwk).collect(),
            Err(_) => SubjectPublicKeyInfoDer::pem_slice_iter(text)
                .map(|der| Key::from_der(der.ok()?.as_ref()))
                .collect::<Option<Vec<_>>>(),
        };
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or(BadKeys)
    }

    /// Whether `assertion` is one that the client `id` made for one of `audiences` just now.
    pub(in crate::issuer) fn verify(
        &self,
        assertion: &str,
        id: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<Once> {
        let claims = self.claims(assertion)?;
        let expires_at = moment(claims.exp)?;
        let is_timely = now < expires_at
            && expires_at <= now.plus(LONGEST).plus(SKEW)
            && is_past(claims.iat, now)?
            && is_past(claims.nbf, now)?;
        let is_for_us = audiences.iter().any(|audience| claims.aud.names(audience));
        let is_theirs = claims.iss == id && claims.sub == id;
        let can_be_noted = !claims.jti.is_empty();
        let once = Once { id: claims.jti, expires_at };
        (is_timely && is_for_us && is_theirs && can_be_noted).then_some(once)
    }

    /// The claims, when one of the keys made the signature with an algorithm of its own kind.
    fn claims(&self, assertion: &str) -> Option<Claims> {
        if assertion.len() > LENGTH_LIMIT {
            return None;
        }
        let header = jsonwebtoken::decode_header(assertion).ok().filter(|header| header.crit.is_none())?;
        let may_fit = |key: &&Key| {
            let named = (&key.id, &header.kid);
            key.algorithms.contains(&header.alg) && !matches!(named, (Some(id), Some(wanted)) if id != wanted)
        };
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        self.0.iter().filter(may_fit).find_map(|key| {
            jsonwebtoken::decode::<Claims>(assertion, &key.key, &validation).ok().map(|decoded| decoded.claims)
        })
    }
}

impl Key {
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let fitting: &'static [Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if bits(&from_base64url(&rsa.n)?) >= SHORTEST_RSA_BITS => {
                &[Algorithm::RS256, Algorithm::PS256]
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => fitting,
            Some(KeyAlgorithm::RS256) if fitting.len() == 2 => &[Algorithm::RS256],
            Some(KeyAlgorithm::PS256) if fitting.len() == 2 => &[Algorithm::PS256],
            Some(KeyAlgorithm::ES256) if fitting.len() == 1 => fitting,
            Some(_) => return None,
        };
        Some(Self { id: jwk.common.key_id.clone(), algorithms, key: DecodingKey::from_jwk(jwk).ok()? })
    }

    /// A key as `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    fn from_der(der: &[u8]) -> Option<Self> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let (algorithms, key): (&'static [Algorithm], _) = match info.parsed().ok()? {
            PublicKey::RSA(rsa) if bits(rsa.modulus) >= SHORTEST_RSA_BITS => {
                let key = DecodingKey::from_rsa_raw_components(significant(rsa.modulus), significant(rsa.exponent));
                (&[Algorithm::RS256, Algorithm::PS256], key)
            }
            PublicKey::EC(point) if is_p256(&info) => (&[Algorithm::ES256], DecodingKey::from_ec_der(point.data())),
            _ => return None,
        };
        Some(Self { id: None, algorithms, key })
    }
}

fn is_p256(info: &SubjectPublicKeyInfo<'_>) -> bool {
    let parameters = info.algorithm.parameters.as_ref();
    parameters.and_then(|parameters| parameters.as_oid().ok()).is_some_and(|curve| curve.to_id_string() == P256)
}

/// A number without the zeros before it.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bits(number: &[u8]) -> usize {
    let number = significant(number);
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// A `NumericDate`, which may have a fraction (RFC 7519 section 2).
fn moment(seconds: f64) -> Option<Timestamp> {
    let is_sane = (0.0..1e12).contains(&seconds);
    #[expect(clippy::cast_possible_truncation, reason = "the line above keeps it far below 2^53 milliseconds")]
    is_sane.then(|| Timestamp::from_unix_millis((seconds * 1000.0) as i64))
}

/// Whether a moment, if there is one, has come; `None` when it is no moment.
fn is_past(seconds: Option<f64>, now: Timestamp) -> Option<bool> {
    let Some(seconds) = seconds else { return Some(true) };
    Some(moment(seconds)? <= now.plus(SKEW))
}
