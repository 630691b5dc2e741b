//! Refresh tokens: opaque, rotated on use, in families that end when an old token comes back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api::{Body, CommonRefusals, LinkRefused, Refusal, Refused};
use super::client::{Audience, Caller, Client};
use super::sessions::{LIFETIME, Session};
use super::tenant::fresh_id;
use super::tokens::{ClaimsRequest, LIFETIME_SECONDS, TokenAnswer};
use super::users::User;
use super::{Inner, records};
use crate::clock::Timestamp;
use crate::secret::{fingerprint, random_token};
use crate::store;

/// Two tabs may use one token at the same moment; that is a race, not a theft.
const RACE: Duration = Duration::from_secs(2);

const INVALID: Refusal = Refusal::Numbered(StatusCode::BAD_REQUEST, "Invalid refresh token");

/// All refresh tokens that come from one sign-in.
#[derive(Serialize, Deserialize)]
struct Family {
    client_id: String,
    /// The session's name in the store: the family lives only while it does.
    session: String,
    claims: ClaimsRequest,
    #[serde(default)]
    audience: Audience,
    expires_at: Timestamp,
}

fn family_key(id: &str) -> String {
    format!("issuer/family/{id}")
}

/// Leads from a token to its family.
fn token_key(token: &str) -> String {
    format!("issuer/refresh/{}", fingerprint(token))
}

/// When a token was first used.
fn used_key(token: &str) -> String {
    format!("issuer/refreshed/{}", fingerprint(token))
}

impl Inner {
    /// The tokens of a sign-in, with a new family of refresh tokens.
    pub(super) async fn issue(
        &self,
        client: &Client,
        user: &User,
        session: &Session,
        claims: ClaimsRequest,
        audience: Audience,
    ) -> Result<TokenAnswer, Refusal> {
        let id = fresh_id();
        let family = Family {
            client_id: client.id.clone(),
            session: session.name(),
            claims,
            audience,
            expires_at: self.clock.now().plus(LIFETIME),
        };
        records::save(self.store.as_ref(), &family_key(&id), &family, family.expires_at).await?;
        let answer = self.answer(client, user, session, &id, &family).await?;
        Ok(TokenAnswer { session_id: Some(session.session_id.clone()), ..answer })
    }

    async fn answer(
        &self,
        client: &Client,
        user: &User,
        session: &Session,
        family_id: &str,
        family: &Family,
    ) -> Result<TokenAnswer, Refusal> {
        let refresh_token = random_token().expose().clone();
        let key = token_key(&refresh_token);
        records::save(self.store.as_ref(), &key, &family_id, family.expires_at).await?;
        Ok(TokenAnswer {
            access_token: self.user_access_token(client, &family.audience, user).await?,
            id_token: self.id_token(client, user, session, &family.claims).await?,
            refresh_token,
            token_type: "Bearer",
            expires_in: LIFETIME_SECONDS,
            session_id: None,
        })
    }

    /// Notes the use of a token; `false` when it was used before, and not just now.
    async fn spend_refresh_token(&self, token: &str, until: Timestamp) -> Result<bool, store::Error> {
        let (key, now) = (used_key(token), self.clock.now());
        if records::claim(self.store.as_ref(), &key, &now, until).await? {
            return Ok(true);
        }
        let first = records::load::<Timestamp>(self.store.as_ref(), &key).await?;
        Ok(first.is_some_and(|first| now.since(first) < RACE))
    }
}

/// A refresh token that is there, and its family.
pub(super) struct Found {
    id: String,
    family: Family,
}

/// What a refresh token leads to.
pub(super) async fn find(issuer: &Inner, token: &str) -> Result<Option<Found>, store::Error> {
    let store = issuer.store.as_ref();
    let Some(id) = records::load::<String>(store, &token_key(token)).await? else { return Ok(None) };
    let family = records::load::<Family>(store, &family_key(&id)).await?;
    Ok(family.map(|family| Found { id, family }))
}

impl Found {
    pub(super) fn client_id(&self) -> &str {
        &self.family.client_id
    }

    pub(super) const fn expires_at(&self) -> Timestamp {
        self.family.expires_at
    }

    /// Whose token it is, if it was not used yet and its session lives.
    pub(super) async fn user_id(&self, issuer: &Inner, token: &str) -> Result<Option<String>, store::Error> {
        if issuer.store.get(&used_key(token)).await?.is_some() {
            return Ok(None);
        }
        Ok(issuer.session_named(&self.family.session).await?.map(|session| session.user_id))
    }

    /// Ends the token with all others of its sign-in.
    pub(super) async fn end(&self, issuer: &Inner) -> Result<(), store::Error> {
        issuer.store.remove(&family_key(&self.id)).await
    }
}

/// Why a refresh token gives nothing.
pub(super) enum Unrefreshed {
    /// It never was, is another client's, or is over.
    Invalid,
    /// Its user may not sign in any more.
    Disabled,
    /// What has nothing to do with the token.
    Other(Refusal),
}

impl<E: Into<Refusal>> From<E> for Unrefreshed {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// New tokens for a refresh token, which is used up by that.
pub(super) async fn rotate(issuer: &Inner, client: &Client, token: &str) -> Result<TokenAnswer, Unrefreshed> {
    let found =
        find(issuer, token).await?.filter(|found| found.client_id() == client.id).ok_or(Unrefreshed::Invalid)?;
    if !issuer.spend_refresh_token(token, found.expires_at()).await? {
        // One of the two holders is a thief; nobody can tell which (RFC 9700 section 4.14.2).
        found.end(issuer).await?;
        tracing::warn!("a refresh token was used twice: its family is ended");
        return Err(Unrefreshed::Invalid);
    }
    let Found { id, family } = found;
    let session = issuer.session_named(&family.session).await?.ok_or(Unrefreshed::Invalid)?;
    let user = issuer.user(&session.user_id).await?.filter(|user| user.is_visible_to(client));
    let user = user.ok_or(Unrefreshed::Invalid)?;
    if !user.is_active() {
        return Err(Unrefreshed::Disabled);
    }
    Ok(issuer.answer(client, &user, &session, &id, &family).await?)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct RefreshCall {
    refresh_token: String,
}

/// New tokens, a new refresh token among them. The session stays as it is.
#[utoipa::path(
    post, path = "/cis/v1/auth/token/refresh", tag = "sessions", operation_id = "refreshBackendAuthToken",
    request_body = RefreshCall,
    responses(
        (status = 200, description = "The tokens, without `session_id`", body = TokenAnswer),
        (status = 400, description = "The refresh token is not valid, or a field is not what it should be",
            body = Refused),
        (status = 403, description = "The user is not active", body = LinkRefused),
        CommonRefusals,
    ),
)]
pub(super) async fn refresh(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(call): Body<RefreshCall>,
) -> Result<Json<TokenAnswer>, Refusal> {
    let answer = rotate(&issuer, &caller.client, &call.refresh_token).await;
    answer.map(Json).map_err(|refused| match refused {
        Unrefreshed::Invalid => INVALID,
        Unrefreshed::Disabled => Refusal::NOT_ACTIVE,
        Unrefreshed::Other(other) => other,
    })
}
