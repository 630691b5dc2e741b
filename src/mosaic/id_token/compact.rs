//! A signed token's outer form: JWS compact serialization (RFC 7515 section 7.1), read strictly.

use std::fmt;

use jsonwebtoken::{DecodingKey, crypto};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Error;
use crate::mosaic::key_set::PublicKey;
use crate::secret::from_base64url;

/// Longer tokens are not looked at.
const LENGTH_LIMIT: usize = 16 * 1024;
/// A key ID is a name, not a text.
pub(in crate::mosaic) const KEY_ID_LIMIT: usize = 256;

/// The signatures that Mosaic makes (RFC 7518 section 3.1). There is no other, least of all `none` or an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mosaic) enum Algorithm {
    Rs256,
    Ps256,
}

impl Algorithm {
    /// Names are compared exactly, case included.
    pub(in crate::mosaic) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            _ => None,
        }
    }
}

/// A token whose header is read and whose signature is not yet checked; the payload stays closed until it is.
#[derive(Debug)]
pub(super) struct Compact<'token> {
    pub(super) key_id: String,
    pub(super) kind: Option<String>,
    algorithm: Algorithm,
    signed: &'token str,
    payload: &'token str,
    signature: &'token str,
}

impl<'token> Compact<'token> {
    pub(super) fn parse(token: &'token str) -> Result<Self, Error> {
        if token.len() > LENGTH_LIMIT {
            return Err(Error::TooLong);
        }
        let parts: Vec<_> = token.split('.').collect();
        let (header, payload, signature) = match parts[..] {
            [header, payload, signature] => (header, payload, signature),
            [_, _, _, _, _] => return Err(Error::Encrypted),
            _ => return Err(Error::Malformed),
        };
        // Where a header names its own key (`jku`, `jwk`, `x5u`, `x5c`), it is not listened to: keys come from the set.
        let fields = object(header)?;
        let algorithm = fields.get("alg").and_then(Value::as_str).and_then(Algorithm::named).ok_or(Error::Algorithm)?;
        // We understand no extension, so each one that must be understood is one too many (RFC 7515 section 4.1.11).
        if fields.contains_key("crit") {
            return Err(Error::CriticalHeader);
        }
        let key_id = fields.get("kid").and_then(Value::as_str).ok_or(Error::KeyId)?;
        if key_id.is_empty() || key_id.len() > KEY_ID_LIMIT {
            return Err(Error::KeyId);
        }
        let kind = match fields.get("typ") {
            None => None,
            Some(Value::String(kind)) => Some(kind.to_ascii_lowercase()),
            Some(_) => return Err(Error::WrongKind),
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        Ok(Self { key_id: key_id.to_owned(), kind, algorithm, signed, payload, signature })
    }

    /// The payload as it is claimed, good only to turn a token away.
    pub(super) fn peek(&self) -> Result<Map<String, Value>, Error> {
        object(self.payload)
    }

    /// The payload, when `key` made the signature.
    pub(super) fn open(&self, key: &PublicKey) -> Result<Map<String, Value>, Error> {
        if key.algorithm.is_some_and(|only| only != self.algorithm) {
            return Err(Error::Algorithm);
        }
        let algorithm = match self.algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        };
        let decoding_key = DecodingKey::from_rsa_raw_components(&key.modulus, &key.exponent);
        match crypto::verify(self.signature, self.signed.as_bytes(), &decoding_key, algorithm) {
            Ok(true) => object(self.payload),
            Ok(false) | Err(_) => Err(Error::Signature),
        }
    }
}

/// The JSON object behind one part of a token.
fn object(part: &str) -> Result<Map<String, Value>, Error> {
    let bytes = from_base64url(part).ok_or(Error::Malformed)?;
    match serde_json::from_slice(&bytes) {
        Ok(Unambiguous(Value::Object(members))) => Ok(members),
        _ => Err(Error::Malformed),
    }
}

/// JSON in which no object names a member twice: two readers could each believe another one (RFC 8725 section 2.4).
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unambiguous(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unambiguous(value))) = entries.next_entry::<String, _>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(members))
    }
}
