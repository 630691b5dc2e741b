//! What whoever looks for a fault in the set-up wants to know beyond whether a call works. Nothing here is verified, and
//! nothing is relied on; none of it is secret.

use reqwest::header::DATE;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::call::Repeat;
use super::error::{Error, Refusal};
use super::id_token::Unverified;
use super::{Mosaic, below, key_set};
use crate::clock::Timestamp;
use crate::secret::from_base64url;

/// Bytes of a key set.
const KEY_SET_LIMIT: usize = 256 * 1024;
/// RSA keys below this size verify nothing here.
const STRONG_BITS: usize = 2048;

/// What the access token of our own client says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClientClaims {
    /// `iss`: who signs the tokens of the tenant.
    #[serde(rename = "iss")]
    pub issuer: Option<String>,
    /// The client that it was given to.
    pub client_id: Option<String>,
    /// `tid`
    #[serde(rename = "tid")]
    pub tenant_id: Option<String>,
    /// `iat`, in seconds.
    #[serde(rename = "iat")]
    issued_at: Option<i64>,
}

impl ClientClaims {
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, claims) = (parts.next()?, parts.next()?);
        let claims: Map<String, Value> = serde_json::from_slice(&from_base64url(claims)?).ok()?;
        serde_json::from_value(claims.into()).ok()
    }

    /// `iat`: what Mosaic's clock said when it made the token.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at.map(Timestamp::from_unix_seconds)
    }
}

/// What came back for a token that nobody gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeUpToken {
    /// The status: 401 or 403 from whoever checks tokens.
    pub status: u16,
    /// What the other side's clock said (`Date`).
    pub date: Option<Timestamp>,
}

/// What is at the address of the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFound {
    /// Something else.
    NoKeySet,
    /// A key set (RFC 7517).
    KeySet {
        /// Keys that verify tokens here.
        usable: usize,
        /// RSA keys that are too small to.
        weak: usize,
        /// All keys.
        all: usize,
        /// Whether one of them signed the access token of our client; `None` without one of the expected issuer that
        /// names its key.
        signed: Option<bool>,
    },
}

impl Mosaic {
    /// What the access token of our client says; `None` when it is not one that can be read.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn client_claims(&self) -> Result<Option<ClientClaims>, Error> {
        Ok(ClientClaims::read(self.0.client_tokens.get().await?.expose()))
    }

    /// Makes a call with a token that nobody gave.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_made_up_token(&self) -> Result<MadeUpToken, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "users", "linkgate-doctor"]);
        let answer = self.0.http.get(&url).bearer_auth("linkgate-doctor-made-this-up").send().await?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        Ok(MadeUpToken { status: answer.status().as_u16(), date: date.and_then(Timestamp::from_http_date) })
    }

    /// Looks at the key set as it is now.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn look_at_keys(&self) -> Result<KeySetFound, Error> {
        let url = &self.connection().key_set_url;
        let answer = self.0.http.send("key_set", Repeat::Once, KEY_SET_LIMIT, || Ok(self.0.http.get(url))).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_error)?;
        let token = self.0.client_tokens.get().await.ok();
        // Where the application's tokens have an issuer of their own, other keys may sign those of the client.
        let token = token.as_ref().map(|token| token.expose().as_str()).filter(|token| {
            ClientClaims::read(token).is_some_and(|claims| claims.issuer.as_deref() == Some(self.expected_issuer()))
        });
        Ok(found(answer.body(), token))
    }

    /// What `iss` must be in the tokens of the tenant.
    pub fn expected_issuer(&self) -> &str {
        &self.connection().issuer
    }

    /// The client that calls.
    pub fn client_id(&self) -> &str {
        &self.connection().client_id
    }
}

fn found(body: &[u8], token: Option<&str>) -> KeySetFound {
    let set: Value = serde_json::from_slice(body).unwrap_or_default();
    let (Some(keys), Some(usable)) = (set["keys"].as_array(), key_set::parse(body)) else {
        return KeySetFound::NoKeySet;
    };
    let weak = keys.iter().filter(|key| is_weak(key)).count();
    let token = token.and_then(|token| Unverified::parse(token).ok());
    let signed = token.map(|token| usable.get(token.key_id()).is_some_and(|key| token.is_signed_by(key)));
    KeySetFound::KeySet { usable: usable.len(), weak, all: keys.len(), signed }
}

fn is_weak(key: &Value) -> bool {
    let modulus = key["n"].as_str().and_then(from_base64url).unwrap_or_default();
    let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
    key["kty"] == "RSA" && bytes < STRONG_BITS / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::base64url;

    #[test]
    fn a_token_is_read_without_trust_and_anything_else_is_none() {
        let token = |claims: &str| format!("e30.{}.x", base64url(claims.as_bytes()));
        let claims = ClientClaims::read(&token(r#"{"iss":"https://i.test","client_id":"c","iat":7}"#)).unwrap();
        assert_eq!((claims.issuer.as_deref(), claims.client_id.as_deref()), (Some("https://i.test"), Some("c")));
        assert_eq!(claims.issued_at(), Some(Timestamp::from_unix_seconds(7)));
        assert_eq!(ClientClaims::read(&token("{}")), Some(ClientClaims::default()));
        for opaque in ["", "opaque", "a.b.c", "a.!.c", &token("[]"), &token(r#"{"iat":"soon"}"#)] {
            assert_eq!(ClientClaims::read(opaque), None, "{opaque}");
        }
    }

    #[test]
    fn weak_keys_are_told_from_other_kinds() {
        let key = |kind: &str, bytes: usize| {
            format!(r#"{{"kty":"{kind}","kid":"{kind}{bytes}","n":"{}","e":"AQAB"}}"#, base64url(&vec![0xff; bytes]))
        };
        let set = format!(r#"{{"keys":[{},{},{}]}}"#, key("RSA", 256), key("RSA", 128), key("EC", 32));
        let expected = |signed| KeySetFound::KeySet { usable: 1, weak: 1, all: 3, signed };
        assert_eq!(found(set.as_bytes(), None), expected(None));
        assert_eq!(found(set.as_bytes(), Some("opaque")), expected(None));
        for other in ["", "<html>", "{}", r#"{"keys":{}}"#] {
            assert_eq!(found(other.as_bytes(), None), KeySetFound::NoKeySet, "{other}");
        }
    }
}
