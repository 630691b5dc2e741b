//! Assertions that an application must refuse, so that its team can prove that it does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};

use super::Error;
use super::claims::Claims;
use super::keys::SigningKey;
use crate::clock::Timestamp;
use crate::secret::{base64url, from_base64url};

/// An assertion with one fault.
pub struct Wrong {
    /// What the fault is called.
    pub name: &'static str,
    /// Why it must be refused.
    pub why: &'static str,
    /// The assertion.
    pub assertion: String,
}

type Object = Map<String, Value>;

/// One for each fault.
pub(super) fn all(claims: &Claims<'_>, key: &SigningKey, now: Timestamp) -> Result<Vec<Wrong>, Error> {
    let maker = Maker::new(claims, key)?;
    let mut all = maker.with_other_claims(now.unix_seconds())?;
    all.extend(maker.with_other_headers()?);
    all.extend(maker.with_other_signatures()?);
    Ok(all)
}

/// What every one is made from: a header and claims without a fault, the key that signs, and one that nobody knows.
struct Maker<'a> {
    key: &'a SigningKey,
    stranger: SigningKey,
    header: Object,
    claims: Object,
}

impl<'a> Maker<'a> {
    fn new(claims: &Claims<'_>, key: &'a SigningKey) -> Result<Self, Error> {
        let header = object(json!({ "typ": "JWT", "alg": "ES256", "kid": key.id }));
        let claims = object(serde_json::to_value(claims).map_err(jsonwebtoken::errors::Error::from)?);
        Ok(Self { key, stranger: SigningKey::stranger()?, header, claims })
    }

    fn with_other_claims(&self, now: i64) -> Result<Vec<Wrong>, Error> {
        let moments = |from: i64, to: i64| json!({ "iat": from, "nbf": from, "exp": to });
        let aud = self.claims.get("aud").cloned().unwrap_or_default();
        let faults = [
            ("expired", "it was good until an hour ago", moments(now - 3_900, now - 3_600)),
            ("not-yet-valid", "it is good from an hour ahead", moments(now + 3_600, now + 3_900)),
            ("other-audience", "it is for another route", json!({ "aud": "elsewhere.example.com/" })),
            ("audience-begins-alike", "it is for a route whose name begins alike", json!({ "aud": extended(&aud) })),
            ("audience-among-others", "it is for other routes too", json!({ "aud": [aud, "elsewhere.example.com/"] })),
            ("other-issuer", "another gateway gave it", json!({ "iss": "https://elsewhere.example.com" })),
            ("no-expiry", "it would be good for ever", json!({ "exp": null })),
            ("no-audience", "it is for nobody", json!({ "aud": null })),
            ("no-issuer", "nobody gave it", json!({ "iss": null })),
            ("no-subject", "it is about nobody", json!({ "sub": null })),
            ("expiry-is-text", "its end is not a number", json!({ "exp": "never" })),
        ];
        let make = |(name, why, change)| {
            let message = message(&self.header, &changed(&self.claims, change));
            Ok(Wrong { name, why, assertion: format!("{message}.{}", self.key.sign_bytes(message.as_bytes())?) })
        };
        faults.into_iter().map(make).collect()
    }

    fn with_other_headers(&self) -> Result<Vec<Wrong>, Error> {
        let jwk = serde_json::to_value(&self.stranger.shown).map_err(jsonwebtoken::errors::Error::from)?;
        let url = "https://elsewhere.example.com/keys.json";
        let faults = [
            ("unknown-key", "a key signed it that is not in the key set", json!({ "kid": self.stranger.id })),
            ("known-key-id", "it names a key of the key set, and another signed it", json!({})),
            ("no-key-id", "it does not say which key signed it", json!({ "kid": null })),
            ("key-in-header", "it brings the key that signed it", json!({ "kid": self.stranger.id, "jwk": jwk })),
            ("key-elsewhere", "its key is in a key set of its own", json!({ "kid": self.stranger.id, "jku": url })),
        ];
        let make = |(name, why, change)| {
            let message = message(&changed(&self.header, change), &self.claims);
            Ok(Wrong { name, why, assertion: format!("{message}.{}", self.stranger.sign_bytes(message.as_bytes())?) })
        };
        let mut made: Vec<Wrong> = faults.into_iter().map(make).collect::<Result<_, Error>>()?;
        let critical = changed(&self.header, json!({ "crit": ["example"], "example": true }));
        let critical = message(&critical, &self.claims);
        let assertion = format!("{critical}.{}", self.key.sign_bytes(critical.as_bytes())?);
        made.push(Wrong {
            name: "critical-unknown",
            why: "it demands what nobody knows (RFC 7515 section 4.1.11)",
            assertion,
        });
        Ok(made)
    }

    fn with_other_signatures(&self) -> Result<Vec<Wrong>, Error> {
        let good = message(&self.header, &self.claims);
        let signature = self.key.sign_bytes(good.as_bytes())?;
        let other = message(&self.header, &changed(&self.claims, json!({ "sub": "somebody-else" })));
        let none = |alg: &str| message(&changed(&self.header, json!({ "alg": alg })), &self.claims);
        let zeros = base64url(&[0; 64]);
        let mut made = vec![
            Wrong {
                name: "payload-changed",
                why: "what it says is not what was signed",
                assertion: format!("{other}.{signature}"),
            },
            Wrong {
                name: "signature-changed",
                why: "its signature is another",
                assertion: format!("{good}.{}", flipped(&signature)),
            },
            Wrong { name: "signature-empty", why: "it has no signature", assertion: format!("{good}.") },
            Wrong { name: "signature-missing", why: "it has two parts, not three", assertion: good.clone() },
            Wrong {
                name: "signature-zero",
                why: "its signature fits every key where zeros are not refused (CVE-2022-21449)",
                assertion: format!("{good}.{zeros}"),
            },
            Wrong {
                name: "algorithm-none",
                why: "it says that it needs no signature",
                assertion: format!("{}.", none("none")),
            },
            Wrong {
                name: "algorithm-none-in-capitals",
                why: "the same in another spelling",
                assertion: format!("{}.", none("NONE")),
            },
            Wrong {
                name: "four-parts",
                why: "there is something behind its signature",
                assertion: format!("{good}.{signature}.e30"),
            },
        ];
        let named = message(&changed(&self.header, json!({ "alg": "ES384" })), &self.claims);
        let assertion = format!("{named}.{}", self.key.sign_bytes(named.as_bytes())?);
        made.push(Wrong { name: "algorithm-other", why: "it names an algorithm that its key is not for", assertion });
        let hashed = message(&changed(&self.header, json!({ "alg": "HS256" })), &self.claims);
        let jwk = serde_json::to_string(&self.key.shown).map_err(jsonwebtoken::errors::Error::from)?;
        let secrets = [
            ("algorithm-hs256-pem", "the public key, as PEM, is its secret", pem(&self.key.shown)),
            ("algorithm-hs256-jwk", "the public key, as JWK, is its secret", Some(jwk)),
        ];
        for (name, why, secret) in secrets {
            let Some(secret) = secret else { continue };
            let secret = EncodingKey::from_secret(secret.as_bytes());
            let tag = jsonwebtoken::crypto::sign(hashed.as_bytes(), &secret, Algorithm::HS256)?;
            made.push(Wrong { name, why, assertion: format!("{hashed}.{tag}") });
        }
        Ok(made)
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// `object` with `changes`; null takes a member out.
fn changed(object: &Object, changes: Value) -> Object {
    let mut changed = object.clone();
    for (name, value) in self::object(changes) {
        if value.is_null() {
            changed.remove(&name);
        } else {
            changed.insert(name, value);
        }
    }
    changed
}

/// What a signature is over (RFC 7515 section 5.1).
fn message(header: &Object, claims: &Object) -> String {
    let part = |object: &Object| base64url(Value::Object(object.clone()).to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn extended(audience: &Value) -> String {
    format!("{}.elsewhere.example.com", audience.as_str().unwrap_or_default())
}

/// The signature with one bit the other way round.
fn flipped(signature: &str) -> String {
    let mut bytes = from_base64url(signature).unwrap_or_default();
    if let Some(byte) = bytes.get_mut(20) {
        *byte ^= 1;
    }
    base64url(&bytes)
}

/// A public P-256 key as `SubjectPublicKeyInfo` (RFC 5480 section 2) in PEM.
fn pem(key: &jsonwebtoken::jwk::Jwk) -> Option<String> {
    /// The algorithm, and the beginning of a point that is not compressed.
    const HEAD: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let shown = serde_json::to_value(key).ok()?;
    let coordinate = |name: &str| from_base64url(shown.get(name)?.as_str()?);
    let der = [HEAD.to_vec(), coordinate("x")?, coordinate("y")?].concat();
    let text = STANDARD.encode(der);
    let (first, rest) = text.split_at_checked(64)?;
    Some(format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n"))
}
