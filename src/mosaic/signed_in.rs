//! What a successful login at Mosaic gives: tokens read, verified, and made into an identity.

use std::time::Duration;

use serde::Deserialize;

use super::call::Answer;
use super::error::Error;
use super::id_token::{self, Expected, IdToken, Unverified};
use super::users::{User, UserStatus};
use super::{Login, Mosaic, wire};
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
    /// How long the access token lives in all.
    pub access_lifetime: Duration,
    /// When the visitor last proved who they are.
    pub authenticated_at: Timestamp,
}

/// What a refresh token was exchanged for.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Whose tokens they are; the caller compares it with its own record.
    pub subject: Subject,
    /// What is known of the user now; `None` where the user record could not be had.
    pub identity: Option<Identity>,
    /// Whether the tokens said anything about groups and roles, which a refresh cannot ask for.
    pub tells_groups_and_roles: bool,
    /// Takes the place of the one that was used.
    pub refresh_token: Option<Secret<String>>,
    /// When Mosaic wants to be asked again.
    pub access_expires_at: Timestamp,
    /// How long the access token lives in all.
    pub access_lifetime: Duration,
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

impl Mosaic {
    /// Reads the answer to a login. What does not hold leaves no session behind, unless it was there before.
    pub(super) async fn logged_in(
        &self,
        answer: &Answer,
        login: &Login<'_>,
        asked_at: Timestamp,
    ) -> Result<SignedIn, Error> {
        let mut signed_in = self.signed_in(answer, login, asked_at).await;
        if let Ok(SignedIn { identity, .. }) = &mut signed_in
            && !identity.email_verified
        {
            identity.email_verified = self.has_just_proven(identity).await;
        }
        if login.session_id.is_none() && signed_in.as_ref().is_err_and(|error| !error.is_transient()) {
            self.let_go(answer).await;
        }
        signed_in
    }

    /// Whether the user record has the address as verified where the token does not. A first login proves the address,
    /// and Mosaic may have made the token before it noted that.
    async fn has_just_proven(&self, identity: &Identity) -> bool {
        match self.user(&identity.subject).await {
            Ok(user) => user.email_verified && user.email == identity.email,
            Err(error) => {
                tracing::debug!(%error, "failed to look whether an address is verified by now");
                false
            }
        }
    }

    /// A login in a session that is there may leave out the session's ID.
    pub(super) async fn signed_in(
        &self,
        answer: &Answer,
        login: &Login<'_>,
        asked_at: Timestamp,
    ) -> Result<SignedIn, Error> {
        let (tokens, id_token) = self.verified(answer).await?;
        if login.organization.is_some() && id_token.organization.as_deref() != login.organization {
            return Err(id_token::Error::Claim("organization").into());
        }
        let session_id = tokens.session_id.or_else(|| login.session_id.map(|id| Secret::new(id.to_owned())));
        Ok(SignedIn {
            session_id: session_id.ok_or_else(|| answer.unexpected("there is no session ID in it"))?,
            refresh_token: tokens.refresh_token,
            access_expires_at: asked_at.plus(tokens.expires_in),
            access_lifetime: tokens.expires_in,
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

    /// Reads the answer to a refresh, which names no session and cannot be asked for claims: the user record says
    /// what the tokens leave out, and whether the user may still sign in.
    pub(super) async fn refreshed(&self, answer: &Answer, asked_at: Timestamp) -> Result<Refreshed, Error> {
        let (tokens, id_token) = self.verified(answer).await?;
        let user = match self.user(&id_token.subject).await {
            Ok(user) if user.status == UserStatus::Disabled => return Err(Error::UserNotActive),
            Ok(user) => Some(user),
            Err(error) if error.is_about_the_user() => return Err(error),
            // The token that was used is gone: what it was exchanged for must be kept.
            Err(_) => None,
        };
        Ok(Refreshed {
            subject: id_token.subject.clone(),
            tells_groups_and_roles: id_token.groups.is_some() && id_token.roles.is_some(),
            identity: user.map(|user| completed(id_token, Some(user))),
            refresh_token: tokens.refresh_token,
            access_expires_at: asked_at.plus(tokens.expires_in),
            access_lifetime: tokens.expires_in,
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

    pub(super) fn expected(&self) -> Expected<'_> {
        let connection = self.connection();
        let (issuer, client_id) = (&connection.issuer, &connection.client_id);
        Expected { issuer, client_id, wording: self.wording(), now: self.now() }
    }

    /// The identity that the token states. Where it leaves the address or its proof open, the user record decides.
    async fn identity(&self, token: IdToken) -> Result<Identity, Error> {
        let is_complete = token.email.is_some() && token.email_verified.is_some();
        let user = if is_complete { None } else { Some(self.user(&token.subject).await?) };
        Ok(completed(token, user))
    }
}

/// What a token says, and what `user` says where it says nothing.
fn completed(token: IdToken, user: Option<User>) -> Identity {
    let subject = token.subject.clone();
    let user = user.unwrap_or_else(|| User::unknown(subject));
    let email_verified = match (&token.email, token.email_verified) {
        (Some(_), Some(verified)) => verified,
        // The record vouches for its own address only.
        (email, _) => user.email_verified && (email.is_none() || *email == user.email),
    };
    Identity {
        subject: token.subject,
        email: token.email.or(user.email),
        email_verified,
        name: token.name.or(user.name),
        username: token.username.or(user.username),
        groups: token.groups.unwrap_or_default(),
        roles: token.roles.unwrap_or_default(),
        phone_number: token.phone_number.or(user.phone_number),
        permissions: token.permissions.unwrap_or_default(),
        organization: token.organization,
        claims: token.extra,
    }
}
