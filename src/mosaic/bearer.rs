//! Access tokens of users that programs show: whether one holds, whose it is, and what is known of them.

use serde::Deserialize;

use super::call::Repeat;
use super::error::{Error, Refusal};
use super::id_token::{self, AccessToken, Unverified};
use super::users::UserStatus;
use super::{Mosaic, below};
use crate::clock::Timestamp;
use crate::identity::{Identity, Subject};

/// An access token that holds.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Whose it is. Groups, like everything that the token does not say, are those of now.
    pub identity: Identity,
    /// When they last proved who they are, where the token says so. When it was issued says nothing about that.
    pub authenticated_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Groups {
    result: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

impl Mosaic {
    /// Whose access token `token` is. What can be refuted here is refuted before anybody is asked: a token that does not
    /// even claim to be for us has no key fetched for it.
    ///
    /// # Errors
    /// Why the token does not hold, or why that could not be found out.
    pub async fn bearer(&self, token: &str) -> Result<Bearer, Error> {
        self.might_be_bearer(token)?;
        let (token, expected) = (Unverified::parse(token)?, self.expected());
        let key = self.keys().known(token.key_id()).await?;
        let AccessToken { subject, roles, authenticated_at, expires_at } = token.bearer_token(&key, expected)?;
        let identity = self.identity_now(&subject, roles).await?;
        Ok(Bearer { identity, authenticated_at, expires_at })
    }

    /// A user as they are now, with roles that are known from elsewhere: no record of a user tells them.
    ///
    /// # Errors
    /// When the user is not there, may not sign in, or cannot be looked up.
    pub async fn identity_now(&self, subject: &Subject, roles: Vec<String>) -> Result<Identity, Error> {
        let user = self.user(subject).await?;
        if user.status == UserStatus::Disabled {
            return Err(Error::UserNotActive);
        }
        let extra = self.wording().claims.extra().iter();
        let claims = extra.filter_map(|name| Some((name.clone(), user.record.get(name)?.clone()))).collect();
        Ok(Identity {
            groups: self.groups_of(subject).await?,
            roles,
            email: user.email,
            email_verified: user.email_verified,
            name: user.name,
            username: user.username,
            phone_number: user.phone_number,
            claims,
            ..Identity::new(subject.clone())
        })
    }

    /// Whether `token` says of itself that it is a user's access token for us, now. Nobody is asked, and no signature
    /// checked.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn might_be_bearer(&self, token: &str) -> Result<(), Error> {
        Ok(Unverified::parse(token)?.claims_to_be_an_access_token(self.expected())?)
    }

    /// The names of the groups that a user is in.
    ///
    /// # Errors
    /// When Mosaic does not say.
    pub async fn groups_of(&self, subject: &Subject) -> Result<Vec<String>, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "users", subject.as_str(), "groups"]);
        let answer = self.call("user_groups", Repeat::Once, |http| http.get(&url)).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_error)?;
        Ok(answer.json::<Groups>()?.result.into_iter().map(|group| group.name).collect())
    }
}

impl Error {
    /// Why a token that was shown does not hold, in a word for programs; nothing where that was not found out.
    pub fn refutes_token(&self) -> Option<&'static str> {
        use id_token::Error as Fault;
        Some(match self {
            Self::Token(Fault::Expired) => "expired",
            Self::Token(Fault::NotYetValid) => "not_yet_valid",
            Self::Token(Fault::Signature | Fault::Algorithm) => "bad_signature",
            Self::Token(Fault::UnknownKey | Fault::KeyId) => "unknown_key",
            Self::Token(Fault::Issuer { .. }) => "wrong_issuer",
            Self::Token(Fault::Claim("aud")) => "wrong_audience",
            Self::Token(Fault::Claim("client_id")) => "other_client",
            Self::Token(Fault::ClientToken) => "client_token",
            Self::Token(Fault::WrongKind | Fault::Encrypted) => "wrong_kind",
            Self::Token(_) => "malformed",
            Self::UserNotFound => "unknown_user",
            Self::UserNotActive => "inactive_user",
            _ => return None,
        })
    }
}
