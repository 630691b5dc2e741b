//! The issuer's RS256 keys: made once, kept in the store, shared by every instance.
//!
//! A ring holds a list so that a new key can sign while tokens of the old one still verify.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroize;

use super::records;
use crate::clock::{Clock, Timestamp};
use crate::secret::{base64url, from_base64url};
use crate::store::{self, Store};

const KEY: &str = "issuer/signing_keys";

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
}

/// One key as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// `RSAPrivateKey` of RFC 8017 appendix A.1.2, base64url.
    der: String,
    created_at: Timestamp,
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.der.zeroize();
    }
}

struct SigningKey {
    id: String,
    private: EncodingKey,
    public: DecodingKey,
    shown: Jwk,
}

/// The keys: the first signs, all of them verify.
pub(super) struct KeyRing(Vec<SigningKey>);

impl KeyRing {
    /// The keys of the store; the first instance makes them.
    pub(super) async fn load(store: &store::Shared, clock: &Clock) -> Result<Self, Error> {
        let store: &dyn Store = store.as_ref();
        let stored = match records::load::<Vec<StoredKey>>(store, KEY).await? {
            Some(stored) => stored,
            None => make(store, clock.now()).await?,
        };
        let keys = stored.iter().map(SigningKey::from_stored).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(store::Error::Corrupt(KEY.to_owned()).into()) } else { Ok(Self(keys)) }
    }

    /// A compact JWS over `claims`.
    pub(super) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        let key = &self.0[0];
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, claims, &key.private)?)
    }

    /// The claims of a token that this ring signed for `audience` in the name of `issuer`.
    /// Its `exp` is left to the caller, who has the clock.
    pub(super) fn verify<T: DeserializeOwned>(&self, token: &str, issuer: &str, audience: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.0.iter().find(|key| Some(&key.id) == header.kid.as_ref())?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        jsonwebtoken::decode(token, &key.public, &validation).ok().map(|verified| verified.claims)
    }

    /// The public halves (RFC 7517 section 5).
    pub(super) fn key_set(&self) -> Value {
        json!({ "keys": self.0.iter().map(|key| &key.shown).collect::<Vec<_>>() })
    }
}

impl SigningKey {
    fn from_stored(stored: &StoredKey) -> Result<Self, Error> {
        let der = from_base64url(&stored.der).ok_or_else(|| store::Error::Corrupt(KEY.to_owned()))?;
        let private = EncodingKey::from_rsa_der(&der);
        let mut shown = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        // The thumbprint of RFC 7638 is the same on every instance and after every restart.
        let id = shown.thumbprint(ThumbprintHash::SHA256)?;
        shown.common.key_id = Some(id.clone());
        shown.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { id, private, public: DecodingKey::from_jwk(&shown)?, shown })
    }
}

async fn make(store: &dyn Store, now: Timestamp) -> Result<Vec<StoredKey>, Error> {
    // A 2048-bit key takes long enough to hold up everything else on this thread.
    let der = tokio::task::spawn_blocking(generate).await.map_err(|_| Error::Generate)??;
    let fresh = vec![StoredKey { der, created_at: now }];
    if records::claim(store, KEY, &fresh, Timestamp::NEVER).await? {
        return Ok(fresh);
    }
    records::load(store, KEY).await?.ok_or_else(|| store::Error::Corrupt(KEY.to_owned()).into())
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
