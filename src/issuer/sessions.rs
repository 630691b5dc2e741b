//! Backend sessions: named by `session_id`, two weeks long, extended whenever tokens are issued in them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Body, Refusal, Segment};
use super::client::Caller;
use super::link::Claims;
use super::tokens::TokenAnswer;
use super::users::{Status, User};
use super::{Inner, records};
use crate::clock::Timestamp;
use crate::secret::{fingerprint, random_token};
use crate::store;

pub(super) const LIFETIME: Duration = Duration::from_secs(14 * 86_400);

/// The ID stays in the record because the list of a user's sessions must name it.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) session_id: String,
    pub(super) user_id: String,
    /// When the user last proved who they are.
    pub(super) auth_time: Timestamp,
    /// How they did (`eml`: a link by mail).
    pub(super) amr: Vec<String>,
    pub(super) started_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Session {
    /// Its name in the store.
    pub(super) fn name(&self) -> String {
        fingerprint(&self.session_id)
    }

    /// Another proof in the same session.
    pub(super) fn add_proof(&mut self, method: &str, now: Timestamp) {
        self.auth_time = now;
        if !self.amr.iter().any(|known| known == method) {
            self.amr.push(method.to_owned());
        }
    }
}

fn session_key(name: &str) -> String {
    format!("issuer/session/{name}")
}

fn sessions_of(user_id: &str) -> String {
    format!("issuer/sessions_of/{user_id}")
}

impl Inner {
    pub(super) async fn open_session(&self, user: &User, method: &str) -> Result<Session, store::Error> {
        let now = self.clock.now();
        let session = Session {
            session_id: random_token().expose().clone(),
            user_id: user.user_id.clone(),
            auth_time: now,
            amr: vec![method.to_owned()],
            started_at: now,
            expires_at: now.plus(LIFETIME),
        };
        self.store.index_add(&sessions_of(&user.user_id), &session.name(), session.expires_at).await?;
        records::save(self.store.as_ref(), &session_key(&session.name()), &session, session.expires_at).await?;
        Ok(session)
    }

    pub(super) async fn session(&self, session_id: &str) -> Result<Option<Session>, store::Error> {
        self.session_named(&fingerprint(session_id)).await
    }

    pub(super) async fn session_named(&self, name: &str) -> Result<Option<Session>, store::Error> {
        records::load(self.store.as_ref(), &session_key(name)).await
    }

    /// Gives the session its full length again; `false` when it ended meanwhile.
    pub(super) async fn extend_session(&self, session: &mut Session) -> Result<bool, store::Error> {
        session.expires_at = self.clock.now().plus(LIFETIME);
        let key = session_key(&session.name());
        if !records::replace(self.store.as_ref(), &key, session, session.expires_at).await? {
            return Ok(false);
        }
        self.store.index_add(&sessions_of(&session.user_id), &session.name(), session.expires_at).await?;
        Ok(true)
    }

    /// Ends the session and with it its refresh tokens, which live only while it does; `false` when there was none.
    pub(super) async fn end_session(&self, name: &str) -> Result<bool, store::Error> {
        let Some(session) = records::take::<Session>(self.store.as_ref(), &session_key(name)).await? else {
            return Ok(false);
        };
        self.store.index_remove(&sessions_of(&session.user_id), name).await?;
        Ok(true)
    }

    /// Ends all sessions of the user, and says how many there were.
    pub(super) async fn end_sessions_of(&self, user: &User) -> Result<usize, store::Error> {
        let mut ended = 0;
        for name in self.store.index_members(&sessions_of(&user.user_id)).await? {
            ended += usize::from(self.end_session(&name).await?);
        }
        Ok(ended)
    }

    /// Whether the user may sign in.
    pub(super) fn require_active(user: &User) -> Result<(), Refusal> {
        match user.status {
            Status::Active | Status::Pending => Ok(()),
            Status::Disabled => Err(Refusal::Worded(StatusCode::FORBIDDEN, "User is not active")),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SessionLogin {
    session_id: String,
    #[serde(default)]
    claims: Option<Claims>,
    resource: Option<String>,
}

/// `POST /cis/v1/auth/session/authenticate`: new tokens in a session that lives.
pub(super) async fn authenticate(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(login): Body<SessionLogin>,
) -> Result<Json<TokenAnswer>, Refusal> {
    let audience = caller.client.audience(login.resource.as_deref())?;
    let mut session = issuer.session(&login.session_id).await?.ok_or(Refusal::NO_SESSION)?;
    let user = issuer.user(&session.user_id).await?.ok_or(Refusal::NO_SESSION)?;
    Inner::require_active(&user)?;
    if !issuer.extend_session(&mut session).await? {
        return Err(Refusal::NO_SESSION);
    }
    let claims = login.claims.unwrap_or_default().asked();
    Ok(Json(issuer.issue(&caller.client, &user, &session, claims, audience).await?))
}

#[derive(Deserialize)]
pub(super) struct Logout {
    session_id: String,
}

/// `POST /cis/v1/auth/session/logout`
pub(super) async fn logout(
    State(issuer): State<Arc<Inner>>,
    Body(logout): Body<Logout>,
) -> Result<StatusCode, Refusal> {
    let ended = issuer.end_session(&fingerprint(&logout.session_id)).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NO_SESSION) }
}

/// `GET /cis/v1/auth/users/{user_id}/sessions`: a bare array.
pub(super) async fn list(State(issuer): State<Arc<Inner>>, Segment(user_id): Segment) -> Result<Json<Value>, Refusal> {
    let user = issuer.user(&user_id).await?.ok_or(Refusal::NO_USER)?;
    let mut sessions = Vec::new();
    for name in issuer.store.index_members(&sessions_of(&user.user_id)).await? {
        sessions.extend(issuer.session_named(&name).await?);
    }
    sessions.sort_by_key(|session| session.started_at);
    let shown = sessions.iter().map(|session| {
        json!({
            "session_id": session.session_id,
            "start_time": session.started_at.to_string(),
            "expiration_time": session.expires_at.to_string(),
        })
    });
    Ok(Json(shown.collect()))
}

/// `DELETE /cis/v1/auth/users/{user_id}/sessions`
pub(super) async fn end_all(
    State(issuer): State<Arc<Inner>>,
    Segment(user_id): Segment,
) -> Result<StatusCode, Refusal> {
    let user = issuer.user(&user_id).await?.ok_or(Refusal::NO_USER)?;
    issuer.end_sessions_of(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}
