//! One RS256 key: how it is made, kept, shown, and what it signs and checks.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize;

use crate::clock::Timestamp;
use crate::secret::{base64url, from_base64url};
use crate::store;

/// Why there is no key, or a key does not sign.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer.
    #[error("read or write the signing keys")]
    Store(#[from] store::Error),
    /// No key could be generated.
    #[error("generate an RSA key")]
    Generate,
    /// A stored key is not an RSA private key, or signing with it fails.
    #[error("use an RSA key")]
    Unusable(#[from] jsonwebtoken::errors::Error),
    /// Another instance changes the keys at this moment.
    #[error("change the signing keys while another instance does; try again in a minute")]
    Busy,
}

/// One key as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredKey {
    /// `RSAPrivateKey` of RFC 8017 appendix A.1.2, base64url.
    der: String,
    created_at: Timestamp,
    /// When it begins to sign; until then it is only shown.
    #[serde(default)]
    signs_from: Option<Timestamp>,
}

impl StoredKey {
    /// A new key.
    pub(super) async fn make(now: Timestamp, signs_from: Timestamp) -> Result<Self, Error> {
        // A 2048-bit key takes long enough to hold up everything else on this thread.
        let der = tokio::task::spawn_blocking(generate).await.map_err(|_| Error::Generate)??;
        Ok(Self { der, created_at: now, signs_from: Some(signs_from) })
    }

    pub(super) fn signs_from(&self) -> Timestamp {
        self.signs_from.unwrap_or(self.created_at)
    }

    /// The same key, which begins to sign at `moment`.
    pub(super) const fn signing_from(mut self, moment: Timestamp) -> Self {
        self.signs_from = Some(moment);
        self
    }
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.der.zeroize();
    }
}

/// A key that is ready for use.
pub(super) struct SigningKey {
    pub(super) id: String,
    pub(super) signs_from: Timestamp,
    private: EncodingKey,
    public: DecodingKey,
    /// The public half (RFC 7517).
    shown: Jwk,
}

impl SigningKey {
    /// The key in a record of the name `record`.
    pub(super) fn from_stored(stored: &StoredKey, record: &str) -> Result<Self, Error> {
        let der = from_base64url(&stored.der).ok_or_else(|| store::Error::Corrupt(record.to_owned()))?;
        let private = EncodingKey::from_rsa_der(&der);
        let mut shown = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        // The thumbprint of RFC 7638 is the same on every instance and after every restart.
        let id = shown.thumbprint(ThumbprintHash::SHA256)?;
        shown.common.key_id = Some(id.clone());
        shown.common.public_key_use = Some(PublicKeyUse::Signature);
        let signs_from = stored.signs_from();
        Ok(Self { id, signs_from, private, public: DecodingKey::from_jwk(&shown)?, shown })
    }

    /// A compact JWS over `claims`.
    pub(super) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, claims, &self.private)?)
    }

    /// The claims of a token that this key signed in the name of `issuer`, for `audience` if it matters.
    /// Its `exp` is left to the caller, who has the clock.
    pub(super) fn verify<T: DeserializeOwned>(&self, token: &str, issuer: &str, audience: Option<&str>) -> Option<T> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        match audience {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        jsonwebtoken::decode(token, &self.public, &validation).ok().map(|verified| verified.claims)
    }
}

fn generate() -> Result<String, Error> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Generate)?;
    let wrapped: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Error::Generate)?;
    unwrap_pkcs8(wrapped.as_ref()).map(base64url).ok_or(Error::Generate)
}

/// The `RSAPrivateKey` inside a `PrivateKeyInfo` (RFC 5208 section 5), which is the form that jsonwebtoken signs with.
fn unwrap_pkcs8(der: &[u8]) -> Option<&[u8]> {
    // SEQUENCE of two length bytes, version 0, rsaEncryption, OCTET STRING of two length bytes.
    const VERSION_AND_ALGORITHM: &[u8] =
        &[2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0, 4, 0x82];
    let rest = der.strip_prefix(&[0x30, 0x82])?.get(2..)?.strip_prefix(VERSION_AND_ALGORITHM)?;
    let (length, key) = rest.split_first_chunk::<2>()?;
    (usize::from(u16::from_be_bytes(*length)) == key.len()).then_some(key)
}

/// The name of the key that signed a token, as the token has it.
pub(super) fn key_id(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// What everybody may know of the keys (RFC 7517 section 5).
#[derive(Serialize, ToSchema)]
pub(super) struct KeySet {
    #[schema(value_type = Vec<ShownKey>)]
    keys: Vec<Jwk>,
}

impl KeySet {
    pub(super) fn of(keys: &[SigningKey]) -> Self {
        Self { keys: keys.iter().map(|key| key.shown.clone()).collect() }
    }
}

/// The public half of a key (RFC 7517 section 4, RFC 7518 section 6.3.1).
#[derive(ToSchema)]
#[schema(as = Key)]
#[expect(dead_code, reason = "this is for the document; `Jwk` is what is answered")]
struct ShownKey {
    #[schema(pattern = "^RSA$")]
    kty: String,
    #[schema(pattern = "^sig$")]
    r#use: String,
    #[schema(pattern = "^RS256$")]
    alg: String,
    kid: String,
    n: String,
    e: String,
}
