//! What a successful login at Mosaic gives: tokens read, verified, and made into an identity.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Answer;
use super::error::Error;
use super::id_token::{self, Expected, IdToken, Unverified};
use super::{Mosaic, wire};
use crate::clock::Timestamp;
use crate::identity::{Identity, Subject};
use crate::secret::Secret;

/// A visitor whom Mosaic knows.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who it is, from the verified ID token and, where that says too little, the user record.
    pub identity: Identity,
    /// Mosaic's session, for silent login and for ending it.
    pub session_id: Secret<String>,
    /// Gives new tokens once.
    pub refresh_token: Option<Secret<String>>,
    /// When Mosaic wants to be asked again.
    pub access_expires_at: Timestamp,
    /// When the visitor last proved who they are.
    pub authenticated_at: Timestamp,
}

/// What a refresh token was exchanged for.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Whose tokens they are; the caller compares it with its own record.
    pub subject: Subject,
    /// Takes the place of the one that was used.
    pub refresh_token: Option<Secret<String>>,
    /// When Mosaic wants to be asked again.
    pub access_expires_at: Timestamp,
}

/// The token response that all methods of the backend API share.
#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(deserialize_with = "wire::secret")]
    access_token: Secret<String>,
    #[serde(default, deserialize_with = "wire::optional_secret")]
    id_token: Option<Secret<String>>,
    #[serde(default, deserialize_with = "wire::optional_secret")]
    refresh_token: Option<Secret<String>>,
    #[serde(deserialize_with = "wire::seconds")]
    expires_in: Duration,
    #[serde(default, deserialize_with = "wire::optional_secret")]
    session_id: Option<Secret<String>>,
}

/// The claims to ask for: Mosaic promises none of them unasked.
pub(super) fn claims() -> Value {
    json!({"id_token": {
        "email": null, "email_verified": null, "groups": null, "roles": null, "role_values": null,
        "fname": null, "lname": null, "username": null,
    }})
}

impl Mosaic {
    /// Reads the answer to a login. A silent login may leave out the ID of the session that it was asked for.
    pub(super) async fn signed_in(
        &self,
        answer: &Answer,
        known_session: Option<&str>,
        asked_at: Timestamp,
    ) -> Result<SignedIn, Error> {
        let (tokens, id_token) = self.verified(answer).await?;
        let session_id = tokens.session_id.or_else(|| known_session.map(|id| Secret::new(id.to_owned())));
        Ok(SignedIn {
            session_id: session_id.ok_or_else(|| answer.unexpected("there is no session ID in it"))?,
            refresh_token: tokens.refresh_token,
            access_expires_at: asked_at.plus(tokens.expires_in),
            authenticated_at: id_token.authenticated_at.unwrap_or(asked_at),
            identity: self.identity(id_token).await?,
        })
    }

    /// Ends the session that came with tokens which do not hold: nobody else knows of it.
    pub(super) async fn let_go(&self, answer: &Answer) {
        #[derive(Deserialize)]
        struct Named {
            #[serde(deserialize_with = "wire::secret")]
            session_id: Secret<String>,
        }
        if let Ok(Named { session_id }) = answer.json()
            && let Err(error) = self.end_session(session_id.expose()).await
        {
            tracing::warn!(%error, "failed to end a session at Mosaic");
        }
    }

    /// Reads the answer to a refresh, which names no session and cannot be asked for claims.
    pub(super) async fn refreshed(&self, answer: &Answer, asked_at: Timestamp) -> Result<Refreshed, Error> {
        let (tokens, id_token) = self.verified(answer).await?;
        Ok(Refreshed {
            subject: id_token.subject,
            refresh_token: tokens.refresh_token,
            access_expires_at: asked_at.plus(tokens.expires_in),
        })
    }

    async fn verified(&self, answer: &Answer) -> Result<(TokenAnswer, IdToken), Error> {
        let tokens: TokenAnswer = answer.json()?;
        let id_token = tokens.id_token.as_ref().ok_or_else(|| answer.unexpected("there is no ID token in it"))?;
        let id_token = self.verify_id_token(id_token.expose()).await?;
        self.check_access_token(tokens.access_token.expose(), &id_token.subject).await?;
        Ok((tokens, id_token))
    }

    async fn verify_id_token(&self, token: &str) -> Result<IdToken, Error> {
        let token = Unverified::parse(token)?;
        self.keys().verify(token.key_id(), |key| token.id_token(key, self.expected())).await
    }

    /// Makes sure that an access token that can be read is the same user's. Nothing is taken from it.
    async fn check_access_token(&self, token: &str, subject: &Subject) -> Result<(), Error> {
        if token.split('.').count() != 3 {
            return Ok(());
        }
        let token = Unverified::parse(token)?;
        let found = self.keys().verify(token.key_id(), |key| token.access_token(key, self.expected())).await?;
        if found == *subject { Ok(()) } else { Err(id_token::Error::Claim("sub").into()) }
    }

    fn expected(&self) -> Expected<'_> {
        let connection = self.connection();
        Expected { issuer: &connection.issuer, client_id: &connection.client_id, now: self.now() }
    }

    /// The identity that the token states. Where it leaves the address or its proof open, the user record decides.
    async fn identity(&self, token: IdToken) -> Result<Identity, Error> {
        let IdToken { subject, email, email_verified, name, username, groups, roles, .. } = token;
        let (email, email_verified, name, username) = match (email, email_verified) {
            (Some(email), Some(verified)) => (Some(email), verified, name, username),
            (email, _) => {
                let user = self.user(&subject).await?;
                // The record vouches for its own address only.
                let verified = user.email_verified && (email.is_none() || email == user.email);
                (email.or(user.email), verified, name.or(user.name), username.or(user.username))
            }
        };
        Ok(Identity { subject, email, email_verified, name, username, groups, roles })
    }
}
