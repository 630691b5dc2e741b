//! Whether a token from Mosaic holds, and what it says: signature, issuer, audience, times, and typed claims.
//!
//! A wrongly typed claim is an invalid claim, never a missing one.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Wording;
use super::key_set::PublicKey;
use crate::clock::Timestamp;
use crate::identity::{EmailAddress, Subject};

mod compact;

use compact::Compact;
pub(super) use compact::{Algorithm, KEY_ID_LIMIT};

/// How far the clocks of Mosaic and of this machine may differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// 9999-12-31T23:59:59Z; a later time is a mistake or a trick.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why a token does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than 16 KiB.
    #[error("read a token of more than 16 KiB")]
    TooLong,
    /// An encrypted token.
    #[error("read an encrypted token: turn ID token encryption off for this client in Mosaic")]
    Encrypted,
    /// Not three parts of base64url with JSON objects in them, or a member occurs twice.
    #[error("read the token: it is not a signed JWT in compact form")]
    Malformed,
    /// Not signed with RS256 or PS256, or not with the algorithm of its key.
    #[error("accept the token's algorithm: only RS256 and PS256 are, and only the one of the key")]
    Algorithm,
    /// An extension that must be understood.
    #[error("understand a critical header of the token")]
    CriticalHeader,
    /// No `kid`, or one that is not a name.
    #[error("read the token's key ID")]
    KeyId,
    /// The key set has no such key.
    #[error("find the token's key in the issuer's key set")]
    UnknownKey,
    /// The signature is another's.
    #[error("match the token's signature")]
    Signature,
    /// Signed by the tenant's key for another issuer.
    #[error("accept the issuer {found:?}: set `mosaic.issuer` to it if it is your tenant's")]
    Issuer {
        /// The `iss` of the token.
        found: String,
    },
    /// A claim is missing, of the wrong type, or not what it must be.
    #[error("accept the claim `{0}`")]
    Claim(&'static str),
    /// Its time is over.
    #[error("accept an expired token")]
    Expired,
    /// Its time has not come; most likely a clock is wrong.
    #[error("accept a token from the future: check this machine's clock")]
    NotYetValid,
    /// A token of another kind.
    #[error("accept a token of another kind")]
    WrongKind,
    /// A token that speaks for a client, not for a user.
    #[error("take a client's token for a user's")]
    ClientToken,
}

/// What a token must say to be for us, now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) wording: &'a Wording,
    pub(super) now: Timestamp,
}

/// A verified ID token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdToken {
    pub(super) subject: Subject,
    pub(super) authenticated_at: Option<Timestamp>,
    pub(super) email: Option<EmailAddress>,
    pub(super) email_verified: Option<bool>,
    pub(super) name: Option<String>,
    pub(super) username: Option<String>,
    /// `None` where the token does not say.
    pub(super) groups: Option<Vec<String>>,
    /// `None` where the token does not say.
    pub(super) roles: Option<Vec<String>>,
    pub(super) phone_number: Option<String>,
    pub(super) permissions: Option<Vec<String>>,
    pub(super) organization: Option<String>,
    /// The claims that were asked for beyond these.
    pub(super) extra: Map<String, Value>,
}

/// A token that is well formed and names its key.
#[derive(Debug)]
pub struct Unverified<'token>(Compact<'token>);

impl<'token> Unverified<'token> {
    /// Reads a token's outer form.
    ///
    /// # Errors
    /// When it is no signed token in compact form, or is signed in a way that we do not take.
    pub fn parse(token: &'token str) -> Result<Self, Error> {
        Compact::parse(token).map(Self)
    }

    /// The name of the key that is said to have signed it.
    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// Whether the owner of `key` signed it, whatever it says.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.0.open(key).is_ok()
    }

    /// Verifies an ID token (OpenID Connect Core section 3.1.3.7).
    pub(super) fn id_token(&self, key: &PublicKey, expected: Expected<'_>) -> Result<IdToken, Error> {
        // An access token or a logout token says so (RFC 8725 section 3.11).
        if self.0.kind.as_ref().is_some_and(|kind| kind.ends_with("+jwt")) {
            return Err(Error::WrongKind);
        }
        let claims = Claims(self.0.open(key)?);
        let subject = claims.subject(expected)?;
        claims.check_audience(expected.client_id)?;
        let authenticated_at = claims.time("auth_time")?;
        if authenticated_at.is_some_and(|time| time > expected.now.plus(LEEWAY)) {
            return Err(Error::NotYetValid);
        }
        let names = [claims.profile_text("fname")?, claims.profile_text("lname")?];
        let name = names.iter().flatten().map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = name.collect::<Vec<_>>().join(" ");
        let (role_names, role_ids) = (claims.profile_list("role_values")?, claims.profile_list("roles")?);
        Ok(IdToken {
            subject,
            authenticated_at,
            email: claims.email()?,
            email_verified: claims.profile_flag("email_verified")?,
            name: (!name.is_empty()).then_some(name),
            username: claims.some_text("username")?,
            groups: claims.profile_list("groups")?,
            roles: role_names.or(role_ids),
            phone_number: claims.some_text("phone_number")?,
            permissions: claims.profile_list("permissions")?,
            organization: claims.some_text("organization")?,
            extra: claims.extra(expected.wording.claims.extra()),
        })
    }

    /// Whether a token that nobody has vouched for says itself that it is a user's access token for us, now. It takes no
    /// key to find that it does not.
    pub(super) fn claims_to_be_an_access_token(&self, expected: Expected<'_>) -> Result<(), Error> {
        Claims(self.0.peek()?).bearer(expected).map(drop)
    }

    /// Verifies an access token that a program shows. Unlike an ID token it names the client.
    pub(super) fn bearer_token(&self, key: &PublicKey, expected: Expected<'_>) -> Result<AccessToken, Error> {
        Claims(self.0.open(key)?).bearer(expected)
    }

    /// Verifies a user's access token, whose audience is some resource, and says whose it is.
    pub(super) fn access_token(&self, key: &PublicKey, expected: Expected<'_>) -> Result<Subject, Error> {
        let claims = Claims(self.0.open(key)?);
        let subject = claims.subject(expected)?;
        match &expected.wording.resource {
            Some(resource) if !claims.is_for(resource) => Err(Error::Claim("aud")),
            _ => Ok(subject),
        }
    }
}

/// What a verified access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessToken {
    pub(super) subject: Subject,
    pub(super) roles: Vec<String>,
    pub(super) authenticated_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

/// The claims of a token whose signature was checked.
struct Claims(Map<String, Value>);

impl Claims {
    /// What every token of a user has: our issuer, a time that is now, a tenant, and a user who is not a client.
    fn subject(&self, expected: Expected<'_>) -> Result<Subject, Error> {
        let subject = self.user(expected)?;
        if self.0.get("client_id").is_some_and(|client| client.as_str() != Some(expected.client_id)) {
            return Err(Error::Claim("client_id"));
        }
        Ok(subject)
    }

    /// The same whatever client the token was made for.
    fn user(&self, expected: Expected<'_>) -> Result<Subject, Error> {
        let issuer = self.text("iss")?;
        if issuer != expected.issuer {
            return Err(Error::Issuer { found: issuer.to_owned() });
        }
        self.check_times(expected.now)?;
        let tenant = self.text("tid")?;
        if expected.wording.tenant_id.as_ref().is_some_and(|ours| ours != tenant) {
            return Err(Error::Claim("tid"));
        }
        let subject = Subject::try_from(self.text("sub")?.to_owned()).map_err(|_| Error::Claim("sub"))?;
        // Client and user tokens share issuer and default audience; only this tells them apart.
        if self.0.get("client_id").is_some_and(|client| client.as_str() == Some(subject.as_str()))
            || subject.as_str() == expected.client_id
        {
            return Err(Error::ClientToken);
        }
        Ok(subject)
    }

    fn bearer(&self, expected: Expected<'_>) -> Result<AccessToken, Error> {
        let subject = self.user(expected)?;
        let client = self.0.get("client_id").ok_or(Error::WrongKind)?;
        let others = expected.wording.bearer_clients.iter().map(String::as_str);
        if !others.chain([expected.client_id]).any(|ours| client.as_str() == Some(ours)) {
            return Err(Error::Claim("client_id"));
        }
        if expected.wording.resource.as_ref().is_some_and(|resource| !self.is_for(resource)) {
            return Err(Error::Claim("aud"));
        }
        // Somebody else acts for the user: what that one may do is not ours to tell.
        if self.0.contains_key("act") {
            return Err(Error::WrongKind);
        }
        Ok(AccessToken {
            subject,
            roles: self.profile_list("roles")?.unwrap_or_default(),
            authenticated_at: self.time("auth_time")?,
            expires_at: self.time("exp")?.ok_or(Error::Claim("exp"))?,
        })
    }

    fn check_times(&self, now: Timestamp) -> Result<(), Error> {
        let expires_at = self.time("exp")?.ok_or(Error::Claim("exp"))?;
        let issued_at = self.time("iat")?.ok_or(Error::Claim("iat"))?;
        if now >= expires_at.plus(LEEWAY) {
            return Err(Error::Expired);
        }
        let not_before = self.time("nbf")?.unwrap_or(issued_at).max(issued_at);
        if not_before > now.plus(LEEWAY) { Err(Error::NotYetValid) } else { Ok(()) }
    }

    /// The audience is our client; where it is not the only one, the token was made for our client (`azp`).
    fn check_audience(&self, client_id: &str) -> Result<(), Error> {
        let is_ours = |value: &Value| value.as_str() == Some(client_id);
        let (is_meant, is_shared) = match self.0.get("aud") {
            Some(one @ Value::String(_)) => (is_ours(one), false),
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => (all.iter().any(is_ours), all.len() > 1),
            _ => (false, false),
        };
        if !is_meant {
            return Err(Error::Claim("aud"));
        }
        match self.0.get("azp") {
            None if !is_shared => Ok(()),
            Some(party) if is_ours(party) => Ok(()),
            _ => Err(Error::Claim("azp")),
        }
    }

    /// Whether `audience` is the only one.
    fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::Array(all)) => matches!(&all[..], [only] if only.as_str() == Some(audience)),
            Some(one) => one.as_str() == Some(audience),
            None => false,
        }
    }

    /// A string that must be there and say something.
    fn text(&self, name: &'static str) -> Result<&str, Error> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(Error::Claim(name))
    }

    /// A NumericDate (RFC 7519 section 2), where there is one.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let since_epoch = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let since_epoch = since_epoch.filter(|span| span.as_secs() <= LAST_SECOND).ok_or(Error::Claim(name))?;
        Ok(Some(Timestamp::from_unix_seconds(0).plus(since_epoch)))
    }

    fn email(&self) -> Result<Option<EmailAddress>, Error> {
        let address = self.profile_text("email")?.map(EmailAddress::parse);
        address.transpose().map_err(|_| Error::Claim("email"))
    }

    fn profile_text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        self.profile(name, Value::as_str)
    }

    /// A text that says something; an empty one is how a user without one is told.
    fn some_text(&self, name: &'static str) -> Result<Option<String>, Error> {
        Ok(self.profile_text(name)?.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// What was asked for and given, as it came.
    fn extra(&self, names: &[String]) -> Map<String, Value> {
        let given = names.iter().filter_map(|name| Some((name.clone(), self.0.get(name)?.clone())));
        given.filter(|(_, value)| !value.is_null()).collect()
    }

    fn profile_flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        self.profile(name, Value::as_bool)
    }

    fn profile_list(&self, name: &'static str) -> Result<Option<Vec<String>>, Error> {
        self.profile(name, |value| {
            value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        })
    }

    /// A claim about the user that we asked for. Null is how a user without one is told.
    fn profile<'a, T>(&'a self, name: &'static str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, Error> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or(Error::Claim(name)),
        }
    }
}

#[cfg(test)]
mod tests;
